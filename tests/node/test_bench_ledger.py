"""The benchmark measures honest work: nothing in it is refused, and each figure is told."""

from __future__ import annotations

from passby.ledger.chain import Append
from passby.ledger.ingest import Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.node.bench import halves
from passby.node.bench.ledger import AUTHORS, workload


def test_every_entry_of_the_workload_is_appended() -> None:
    for run in (1, 64):
        records = workload(640, run)
        outcomes = admit(MemoryStore(), records, Check.EACH).outcomes
        assert all(isinstance(outcome, Append) for outcome in outcomes)


def test_the_workload_is_an_ordinary_mix() -> None:
    records = workload(2000, 1)
    bodies = [record.entry.body for record in records]
    assert len({body.author for body in bodies}) == AUTHORS
    assert {2, 3, 4, 7, 12, 13} <= {body.type for body in bodies}
    assert 0.5 < sum(bool(body.stock) for body in bodies) / len(bodies) < 0.9
    assert 250 <= sum(record.size for record in records) / len(records) <= 350
    assert sum(record.payload is not None for record in records) > len(records) / 2


def test_the_same_seed_gives_the_same_work() -> None:
    assert workload(50, 5) == workload(50, 5)


def test_two_processes_take_all_entries_into_one_ledger() -> None:
    found = halves.figures(workload(320, 1), group=64, pairs=1)
    assert set(found) == {
        "two_process_ratio",
        "two_process_per_s",
        "two_process_reference_per_s",
    }
