"""Real daemons: how they start, refuse to, stop, and survive what ends a process."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from passby.geo.cells import cell_at, cell_text
from passby.node.client import Client
from passby.node.config import Config
from passby.node.demo.street import wait_for
from passby.node.home import Home
from passby.protocol.errors import Exit, LocalError
from passby.protocol.limits import API_LOTS_MAX

CELL = cell_text(cell_at(52.375, 4.884))
ANYWHERE = "/ip4/127.0.0.1/tcp/0"
LOT: dict[str, Any] = {
    "side": "offer",
    "name": "Brake fluid",
    "category": "fluids",
    "unit": "MLT",
    "amount": 946,
    "price": {"minor": 400, "per_amount": 946, "currency": "EUR"},
    "text": "x" * 1000,
}


class Daemon:
    """`passby up` on one home, as a user starts it."""

    def __init__(self, folder: Path) -> None:
        self.home, _words = Home.create(
            folder,
            Config(name="ann", cell=CELL, listen=(ANYWHERE,), mdns=False),
            now_ms=time.time_ns() // 1_000_000,
        )
        self.client = Client(self.home, "passby up")
        self.passby = [sys.executable, "-m", "passby.node.cli", "--home", str(folder)]
        self.process: subprocess.Popen[bytes] | None = None
        self.processes: list[subprocess.Popen[bytes]] = []
        self.heard = ""

    def start(
        self, *options: str, before: Callable[[], None] | None = None
    ) -> subprocess.Popen[bytes]:
        self.heard = self.said()
        with self.home.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.passby, "up", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=before,  # noqa: PLW1509  # one thread, and only a limit is set
                start_new_session=True,
            )
        self.processes.append(self.process)
        return self.process

    def said(self) -> str:
        """Return the log."""
        path = self.home.log_path
        return path.read_text() if path.exists() else ""

    def ended(self) -> str:
        """Wait until it has ended by itself; return what it said since it started."""
        assert self.process is not None
        self.process.wait(60)
        return self.said().removeprefix(self.heard)

    def up(
        self, *options: str, before: Callable[[], None] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start it and wait until it answers."""
        process = self.start(*options, before=before)

        def answers() -> bool:
            assert process.poll() is None, self.said()
            with suppress(LocalError):
                return bool(self.client.call("GET", "/healthz"))
            return False

        wait_for("the daemon", answers)
        return process

    def refusal(self, *options: str) -> tuple[int, str, str]:
        """Start it where it must not start; return its exit code, message and hint."""
        process = self.start("--json", *options)
        said = self.ended()
        assert "Traceback" not in said
        error = json.loads(said.splitlines()[-1])["error"]
        return process.returncode, error["message"], error["hint"]

    def offer(self, count: int = 1) -> list[str]:
        """List lots; return the ids that were acknowledged."""
        answer = self.client.call("POST", "/v1/lots", body={"lots": [LOT] * count})
        return [result["id"] for result in answer["results"]]

    def holds(self, lots: list[str]) -> bool:
        return all(self.client.call("GET", f"/v1/ledger/entries/{lot}") for lot in lots)

    def audit(self) -> int:
        return subprocess.run(
            [*self.passby, "audit"],
            capture_output=True,
            check=False,
        ).returncode


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    found = Daemon(tmp_path / "ann")
    yield found
    for process in found.processes:
        process.kill()
        process.wait()


def test_it_stops_cleanly_on_sigterm_while_somebody_listens(daemon: Daemon) -> None:
    process = daemon.up()
    assert daemon.home.daemon_pid() == process.pid
    lines = daemon.client.lines("/v1/events")
    next(lines)
    process.terminate()
    said = daemon.ended()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert not daemon.home.socket_path.exists()
    assert daemon.home.daemon_pid() is None
    with suppress(LocalError):
        list(lines)


def test_it_stops_cleanly_on_ctrl_c_and_comes_back_with_what_it_held(daemon: Daemon) -> None:
    process = daemon.up()
    lots = daemon.offer(3)
    os.killpg(process.pid, signal.SIGINT)
    said = daemon.ended()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert not daemon.home.socket_path.exists()
    daemon.up()
    assert daemon.holds(lots)
    book = daemon.client.call("GET", "/v1/book")
    assert sorted(lot["id"] for lot in book["lots"]) == sorted(lots)
    # Whoever tells it to stop over the socket is answered.
    assert daemon.client.call("POST", "/v1/shutdown") == {}
    assert daemon.process is not None
    assert daemon.process.wait(60) == 0


def test_a_second_daemon_on_one_home_and_a_taken_port_are_refused(
    daemon: Daemon, tmp_path: Path
) -> None:
    process = daemon.up()
    code, message, hint = daemon.refusal()
    assert code == Exit.FAILED
    assert f"already runs on {daemon.home.path}, process {process.pid}" in message
    assert hint
    other = Daemon(tmp_path / "ben")
    address = daemon.client.call("GET", "/v1/id")["addresses"][0].partition("/p2p/")[0]
    code, message, hint = other.refusal("--listen", address)
    assert code == Exit.FAILED
    assert address.split("/")[4] in message
    assert hint
    assert other.home.daemon_pid() is None
    assert daemon.client.call("GET", "/healthz")


@pytest.mark.parametrize("damage", ["garbage", "header", "cut"])
def test_a_damaged_database_is_named_set_aside_whole_and_forks_nothing(
    daemon: Daemon, damage: str
) -> None:
    daemon.up()
    (lot,) = daemon.offer()
    daemon.client.call("POST", "/v1/shutdown")
    daemon.ended()
    path = daemon.home.database_path
    from passby.ledger.store_sqlite import SqliteStore

    SqliteStore(path).close()
    if damage == "garbage":
        path.write_bytes(b"no database at all" * 1000)
    else:
        whole = bytearray(path.read_bytes())
        if damage == "header":
            whole[3] ^= 0x40
        path.write_bytes(whole if damage == "header" else whole[:4096])
    # A write-ahead log that is whole would mend the file by itself.
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    before = path.read_bytes()
    daemon.up()
    assert "is damaged" in daemon.said()
    assert path.with_name("passby.db.damaged-1").read_bytes() == before
    # The lot is in the file set aside and with neighbours; without it nothing new is signed.
    status = daemon.client.call("GET", "/v1/status")
    assert status["read_only"]
    assert status["notes"]
    with pytest.raises(LocalError):
        daemon.client.call("GET", f"/v1/ledger/entries/{lot}")
    with pytest.raises(LocalError, match="not the one last written"):
        daemon.offer()


def test_a_home_open_to_others_is_refused(daemon: Daemon) -> None:
    for path, mode in ((daemon.home.path, 0o755), (daemon.home.key_paths[0], 0o640)):
        kept = path.stat().st_mode
        path.chmod(mode)
        code, message, hint = daemon.refusal()
        assert (code, hint) == (Exit.BAD_CONFIG, f"chmod {kept & 0o777:o} {path}")
        assert "open to other users" in message
        path.chmod(kept)


def test_an_invite_that_is_none_is_refused(daemon: Daemon) -> None:
    code, message, _ = daemon.refusal("--join", "passby://join/garbage")
    assert (code, message) == (Exit.USAGE, "This invite cannot be read.")


def test_kill_9_loses_nothing_that_was_acknowledged(daemon: Daemon) -> None:
    lots: list[str] = []
    for _ in range(2):
        process = daemon.up()
        assert daemon.holds(lots)
        lots += [lot for _ in range(20) for lot in daemon.offer(2)]
        process.send_signal(signal.SIGKILL)
        process.wait()
    daemon.up()
    assert daemon.holds(lots)
    assert daemon.audit() == 0
    # The socket of the killed one was in the way of nobody.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(str(daemon.home.socket_path))


def test_a_full_disk_is_said_loses_nothing_and_the_node_lives(daemon: Daemon) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))

    process = daemon.up(before=little_room)
    lots: list[str] = []

    def fill() -> None:
        while True:
            lots.extend(daemon.offer(API_LOTS_MAX))

    with pytest.raises(LocalError) as caught:
        fill()
    assert lots
    assert caught.value.exit_code is Exit.IO
    assert caught.value.hint
    with pytest.raises(LocalError, match=r"ledger|disk|space"):
        daemon.offer(API_LOTS_MAX)
    assert daemon.client.call("GET", "/v1/status")["entries"] == len(lots) + 1
    assert daemon.holds(lots[:5] + lots[-5:])
    process.terminate()
    assert process.wait(60) == 0
    daemon.up()
    assert daemon.holds(lots[:5] + lots[-5:])
    assert len(daemon.offer()) == 1
    assert daemon.audit() == 0
