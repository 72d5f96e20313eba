"""The part of the sync benchmark that needs no second process."""

from __future__ import annotations

from passby.node.bench.reconcile import CHANGED, run


def test_who_comes_back_hears_of_a_hundred_changes_in_one_round_trip_and_8_kib() -> None:
    found = run()
    assert found["round_trips"] == 1
    assert CHANGED * 44 < found["bytes"] < 8192
    assert found["first_contact_bytes"] > 10_000 * 44
