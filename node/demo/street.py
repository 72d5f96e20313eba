"""A street of real nodes on this machine: homes, processes, and ears on what they say."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from passby.node.client import Client
from passby.node.config import Config
from passby.node.home import Home
from passby.protocol.errors import LocalError

T = TypeVar("T")

START_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 15.0
WAIT_WITHIN_S: Final = 60.0
POLL_S: Final = 0.05


class Neighbour:
    """One household: a home folder, and the daemon process that runs on it."""

    def __init__(self, folder: Path, name: str, cell: str, port: int, now_ms: int) -> None:
        config = Config(name=name, cell=cell, listen=(f"/ip4/127.0.0.1/tcp/{port}",), mdns=False)
        self.name = name
        self.cell = cell
        self.home, _words = Home.create(folder, config, now_ms=now_ms)
        self.client = Client(self.home, f"passby up --home {folder}")
        self.address = ""
        self.heard: dict[str, float] = {}
        self.acknowledged: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon; it may not answer yet when this returns."""
        with self.home.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-m", "passby.node.cli", "--home", str(self.home.path), "up"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the demo, which then stops its nodes in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """The daemon's process, while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running else None

    def wait_until_up(self) -> None:
        """Return once the daemon answers.

        Raises:
            LocalError: it ended, or does not answer in time.
        """
        until_s = time.monotonic() + START_WITHIN_S
        while time.monotonic() < until_s:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                self.address = self.get("/v1/id")["addresses"][0]
            except (LocalError, IndexError):
                time.sleep(POLL_S)
            else:
                threading.Thread(target=self._listen, daemon=True).start()
                return
        raise LocalError(f"{self.name}'s node does not come up.", f"See {self.home.log_path}.")

    def _listen(self) -> None:
        """Note when the node told of each lot, until it is gone."""
        try:
            for line in self.client.lines("/v1/events"):
                if line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    if "lot" in event:
                        self.heard.setdefault(event["lot"], time.monotonic())
        except LocalError:
            return

    def get(self, path: str, **query: Any) -> Any:
        """Ask the node."""
        return self.client.call("GET", path, query=query)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Tell the node."""
        return self.client.call("POST", path, body=body or {})

    def kill(self) -> None:
        """End the daemon as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> int | None:
        """End the daemon as its owner would; return its exit code."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def audit(self) -> dict[str, Any]:
        """Return what `passby audit` says of everything this node holds, and its exit code."""
        done = subprocess.run(  # noqa: S603  # as above
            [
                sys.executable,
                "-m",
                "passby.node.cli",
                "--home",
                str(self.home.path),
                "audit",
                "--all",
                "--json",
            ],
            capture_output=True,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
        try:
            report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            raise LocalError(
                f"{self.name}'s audit says nothing.", done.stderr.decode(errors="replace")[-500:]
            ) from None
        return {**report, "exit": done.returncode}


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_for(what: str, look: Callable[[], T | None], within_s: float = WAIT_WITHIN_S) -> T:
    """Return the first true answer of `look`.

    Raises:
        LocalError: none came in time; `what` names what was waited for.
    """
    until_s = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until_s:
            raise LocalError(f"Waited {within_s:.0f} s in vain: {what}.")
        time.sleep(POLL_S)
