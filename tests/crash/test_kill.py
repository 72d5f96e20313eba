"""A process that appends is killed, again and again, on one ledger: nothing said is lost.

CRASH_ROUNDS=500 in the environment runs a night's worth.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.crash.appender import KEY

from passby.ledger.ingest import Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import Record

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rounds() -> int:
    return int(os.environ.get("CRASH_ROUNDS", "10"))


def run_until_killed(path: Path, acknowledged: int) -> dict[int, str]:
    """Start the appender, kill it after so many lines, and return what it said: seq -> id."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.appender", str(path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    said = bytearray()
    try:
        while said.count(b"\n") < acknowledged:
            more = child.stdout.read1(65536)  # type: ignore[attr-defined]  # a BufferedReader
            assert more, f"the appender ended by itself, with {child.wait()}"
            said += more
    finally:
        child.kill()
        said += child.stdout.read()
        child.stdout.close()
        child.wait()
    # What was said while the kill was on its way counts; half a line was not said.
    whole = bytes(said[: said.rfind(b"\n") + 1]).decode()
    return {int(seq): entry_id for seq, entry_id in map(str.split, whole.splitlines())}


def own_chain(store: SqliteStore) -> list[Record]:
    head = store.head(KEY.public)
    assert head is not None
    return store.log(KEY.public, None, head.seq)[::-1]


def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path: Path, rounds: int) -> None:
    path = tmp_path / "ledger.db"
    dice = random.Random()
    said: dict[int, str] = {}
    for _ in range(rounds):
        # The next round's process starts on what this one left, its log and all.
        said |= run_until_killed(path, dice.randint(1, 60))
        store = SqliteStore(path)
        chain = own_chain(store)
        assert store.integrity() == []
        store.close()
        held = {record.entry.seq: record.entry.id.hex() for record in chain}
        assert said.items() <= held.items()
    # Whoever takes the chain in anew finds every link, signature and sum in order.
    fresh = MemoryStore()
    batch = admit(fresh.view(chain), chain, Check.EACH)
    assert len(batch.appended) == len(chain)


def test_the_folds_a_kill_leaves_are_those_made_from_the_entries(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    run_until_killed(path, 40)
    store = SqliteStore(path)
    tables = ("lots", "reserves", "requests", "proposes", "trades", "authors")

    def folds() -> list[object]:
        return [store._all(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]  # noqa: S608

    left = folds()
    store.rebuild()
    assert folds() == left
    store.close()
