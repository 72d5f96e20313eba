"""Flipped bits and torn pages: found, and healed from a neighbour. More: tests/crash/flips.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.crash.flips import check
from tests.crash.healing import Case, Healing, contents, findings

from passby.node.mending import mend


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    made = Case(tmp_path_factory.mktemp("flips"))
    yield made
    made.peer.close()


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_a_ledger_damaged_anywhere_is_healed_from_a_neighbour(case: Case, seed: int) -> None:
    check(case, seed)


def test_mending_a_sound_ledger_changes_nothing(case: Case) -> None:
    path = case.killed("sound")
    mended = mend(path)
    assert mended.salvaged.unreadable == 0
    healed = Healing(path, case.own)
    assert contents(healed.store) == case.whole
    assert healed.writer.refusal is None
    healed.close()


def test_the_damaged_file_is_kept_as_it_was(case: Case) -> None:
    path = case.killed("kept")
    damaged = path.read_bytes()[:5000]
    path.write_bytes(damaged)
    first, second = mend(path), mend(path)
    assert first.kept.read_bytes() == damaged
    assert second.kept != first.kept


def test_without_neighbours_a_cut_own_chain_refuses_to_go_on(case: Case) -> None:
    path = case.killed("alone")
    path.write_bytes(b"")
    path.with_name(path.name + "-wal").unlink()
    mend(path)
    node = Healing(path, case.own)
    assert node.writer.refusal is not None
    assert node.sync_from(case.peer) > 0
    assert node.writer.refusal is None
    node.close()


def test_a_log_cut_off_at_any_frame_is_an_older_ledger_and_no_fork(case: Case) -> None:
    for at in (0, 31, 32, 4000, 5000, case.sizes["-wal"] // 2, case.sizes["-wal"] - 1):
        path = case.killed(f"cut-{at}")
        log = path.with_name(path.name + "-wal")
        log.write_bytes(log.read_bytes()[:at])
        node = Healing(path, case.own)
        own = node.store.head(case.own)
        whole = case.whole[case.own][0]
        assert (node.writer.refusal is None) == (own == whole)
        node.sync_from(case.peer)
        assert node.writer.refusal is None
        assert contents(node.store) == case.whole
        node.close()


def test_a_damaged_chain_is_cut_and_fetched_again_while_the_node_runs(case: Case) -> None:
    path = case.killed("running")
    node = Healing(path, case.own)
    store = node.store
    for number, (author, (head, *_)) in enumerate(case.whole.items()):
        place = store._number(author) << 32 | head.seq // 2
        column = ("raw", "carried")[number % 2]
        (found,) = store._one(f"SELECT {column} FROM entries WHERE place = ?", (place,))  # noqa: S608
        flipped = bytearray(found or b"\x01")
        flipped[len(flipped) // 2] ^= 4
        store._db.execute(f"UPDATE entries SET {column} = ? WHERE place = ?", (flipped, place))  # noqa: S608
    assert findings(path) != case.said
    for author, (head, *_) in case.whole.items():
        left = node.writer.quarantine(author)
        assert left is None or left.seq < head.seq
    assert node.writer.refusal is not None
    node.sync_from(case.peer)
    assert node.writer.refusal is None
    assert contents(store) == case.whole
    node.close()
    assert findings(path) == case.said
