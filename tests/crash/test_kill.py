"""A process that appends is killed, again and again, on one ledger: nothing said is lost.

CRASH_ROUNDS=200 in the environment runs a night's worth, as `python -m tests.crash.kill` does.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from tests.crash.kill import Victim, run_until_killed

from passby.ledger.store_sqlite import SqliteStore


@pytest.fixture(scope="module")
def rounds() -> int:
    return int(os.environ.get("CRASH_ROUNDS", "6"))


def test_nothing_acknowledged_is_lost_to_kill_9_while_appending_and_syncing(
    tmp_path: Path, rounds: int
) -> None:
    victim = Victim(tmp_path, random.Random())
    for _ in range(rounds):
        # The next round's processes start on what this one left, their logs and all.
        victim.round()
    victim.finish()


def test_the_folds_a_kill_leaves_are_those_made_from_the_entries(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    run_until_killed(path, 40)
    store = SqliteStore(path)
    tables = ("lots", "reserves", "requests", "proposes", "trades", "vouches", "authors")

    def folds() -> list[object]:
        return [store._all(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]  # noqa: S608

    left = folds()
    store.rebuild()
    assert folds() == left
    store.close()
