"""The demo's end: whatever ends it, none of its five nodes stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from passby.node.home import Home
from passby.protocol.errors import LocalError

WITHIN_S = 60.0


def _pids(folder: Path) -> list[int]:
    found = []
    for lock in folder.glob("passby-demo-*/*/daemon.lock"):
        try:
            pid = Home.open(lock.parent).daemon_pid()
        except LocalError:
            continue  # going already
        if pid:
            found.append(pid)
    return found


def _wait(what: str, until: object, folder: Path) -> None:
    assert callable(until)
    give_up_s = time.monotonic() + WITHIN_S
    while not until():
        assert time.monotonic() < give_up_s, f"{what}; left: {list(folder.rglob('*'))}"
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_however_the_demo_ends_its_nodes_and_homes_go_too(
    tmp_path: Path, how: signal.Signals
) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "passby.node.cli", "demo", "--exit"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait("five nodes", lambda: len(_pids(tmp_path)) == 5 or demo.poll() is not None, tmp_path)
        pids = _pids(tmp_path)
        assert len(pids) == 5
    finally:
        demo.send_signal(how)
        demo.wait()
    _wait("the nodes to go", lambda: not any(map(_lives, pids)), tmp_path)
    _wait("the homes to go", lambda: not list(tmp_path.iterdir()), tmp_path)
