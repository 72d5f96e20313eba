"""Each verdict, and what a batch of records from a peer comes to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

import msgspec
import pytest
from tests.ledger.authors import Author, replace_stock

from passby.ledger.chain import (
    Append,
    Breach,
    ChainRule,
    Duplicate,
    Fork,
    Frozen,
    Missing,
    Outcome,
    Proof,
    Rejected,
)
from passby.ledger.ingest import Batch, Check, admit, runs
from passby.ledger.prove import prove_evidence
from passby.ledger.store_memory import MemoryStore
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import verify
from passby.protocol.limits import RUN_MAX
from passby.protocol.stock import Rule


def take(store: MemoryStore, records: Sequence[Record], check: Check = Check.EACH) -> Batch:
    batch = admit(store.view(records), records, check)
    store.commit([batch], durable=False)
    return batch


def kinds(outcomes: Sequence[Outcome]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


def unsigned(record: Record) -> Record:
    """Return the record with a signature that a relay made up."""
    raw = b"\x01" * 64 + record.entry.raw[64:]
    return Record(Entry(raw, record.entry.id, record.entry.body), record.salt, record.payload)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def ada() -> Author:
    """A chain of twelve with a lot that has seen everything."""
    ada = Author("ada")
    ada.genesis()
    lot = ada.offer(100)
    first, second = ada.reserve(lot, 40), ada.reserve(lot, 10)
    ada.note()
    ada.release(lot, second)
    ada.adjust(lot, -5)
    commit = ada.commit(first)
    ada.handover(lot, first, 30, commit)
    ada.adjust(lot, 7)
    ada.close(lot)
    ada.note()
    return ada


@pytest.mark.parametrize("check", list(Check))
def test_an_honest_chain_is_appended_in_one_piece(
    store: MemoryStore, ada: Author, check: Check
) -> None:
    batch = take(store, ada.records, check)
    assert kinds(batch.outcomes) == [Append] * 12
    head = store.head(ada.public)
    assert head is not None
    assert (head.seq, head.id) == (12, ada.records[-1].entry.id)
    lot = store.lot(ada.records[1].entry.id)
    assert lot is not None
    assert lot.closed
    assert store.frozen() == {}


@pytest.mark.parametrize("check", list(Check))
def test_what_is_held_is_a_duplicate_and_writes_nothing(
    store: MemoryStore, ada: Author, check: Check
) -> None:
    take(store, ada.records)
    batch = take(store, ada.records, check)
    assert kinds(batch.outcomes) == [Duplicate] * 12
    assert batch.appended == []
    assert batch.heads == {}


def test_signing_again_does_not_look_like_a_fork(store: MemoryStore, ada: Author) -> None:
    take(store, ada.records)
    assert kinds(take(store, [unsigned(ada.records[4])]).outcomes) == [Duplicate]


@pytest.mark.parametrize("check", list(Check))
def test_a_gap_names_what_is_missing(store: MemoryStore, ada: Author, check: Check) -> None:
    take(store, ada.records[:3])
    batch = take(store, ada.records[5:7], check)
    assert batch.outcomes == [Missing(ada.public, 4, 5), Missing(ada.public, 4, 6)]


def test_a_stranger_whose_chain_is_seen_midway_is_missing_from_one(
    store: MemoryStore, ada: Author
) -> None:
    assert take(store, ada.records[5:6]).outcomes == [Missing(ada.public, 1, 5)]


@pytest.mark.parametrize("check", list(Check))
def test_two_entries_at_one_seq_are_a_fork_and_both_are_kept(
    store: MemoryStore, ada: Author, check: Check
) -> None:
    other = ada.fork(5)
    other.note(b"\x81\xa1a\x01")
    take(store, ada.records[:8])
    batch = take(store, other.records[4:], check)
    assert batch.outcomes == [
        Fork(ada.public, 5, ada.records[4].entry.id, other.records[4].entry.id)
    ]
    assert store.frozen() == {ada.public: 5}
    (evidence,) = store.evidence()
    assert evidence.proof == Proof.FORK
    assert {entry.id for element in evidence.elements for entry in element} == {
        ada.records[4].entry.id,
        other.records[4].entry.id,
    }


def test_a_frozen_author_is_not_followed_further(store: MemoryStore, ada: Author) -> None:
    other = ada.fork(5)
    other.note(b"\x81\xa1a\x01")
    take(store, ada.records[:8])
    take(store, other.records[4:])
    assert take(store, ada.records[8:9]).outcomes == [Frozen(ada.public, 5)]
    assert len(store.log(ada.public, None, 100)) == 8


def test_an_earlier_fork_replaces_the_proof_of_a_later_one(store: MemoryStore, ada: Author) -> None:
    take(store, ada.records)
    for at in (8, 3, 5):
        other = ada.fork(at)
        other.note(b"\x81\xa1a\x01")
        take(store, other.records[-1:])
    assert store.frozen() == {ada.public: 3}
    assert [found.seq for found in store.evidence()] == [3]


def test_both_branches_in_one_frame_are_a_fork(store: MemoryStore, ada: Author) -> None:
    other = ada.fork(5)
    other.note(b"\x81\xa1a\x01")
    batch = take(store, [*ada.records[:8], *other.records[4:]], Check.RUNS)
    assert kinds(batch.outcomes) == [Append] * 8 + [Fork]
    assert store.frozen() == {ada.public: 5}


def test_an_entry_with_another_predecessor_asks_for_that_one(
    store: MemoryStore, ada: Author
) -> None:
    other = ada.fork(5)
    other.note(b"\x81\xa1a\x01")
    other.note()
    take(store, ada.records[:5])
    assert take(store, other.records[5:]).outcomes == [Missing(ada.public, 5, 5)]
    assert kinds(take(store, other.records[4:5]).outcomes) == [Fork]


def test_time_that_runs_backwards_is_proven_by_two_entries(store: MemoryStore) -> None:
    bob = Author("bob")
    first = bob.genesis()
    bob.say(200, at_ms=first.entry.at_ms - 1)
    bob.note()
    batch = take(store, bob.records, Check.RUNS)
    assert batch.outcomes[1] == Breach(bob.public, ChainRule.TIME, (1, 2))
    assert kinds(batch.outcomes) == [Append, Breach, Frozen]
    (evidence,) = store.evidence(bob.public)
    assert [element[0].seq for element in evidence.elements] == [1, 2]
    assert store.frozen() == {bob.public: 2}


def test_equal_times_are_in_order(store: MemoryStore) -> None:
    bob = Author("bob")
    first = bob.genesis()
    bob.say(200, at_ms=first.entry.at_ms)
    assert kinds(take(store, bob.records).outcomes) == [Append, Append]


@pytest.mark.parametrize("check", list(Check))
def test_an_oversold_lot_freezes_its_author_and_leaves_what_came_before(
    store: MemoryStore, check: Check
) -> None:
    bob = Author("bob")
    bob.genesis()
    lot = bob.offer(100)
    bob.reserve(lot, 60)
    bob.reserve(lot, 40)
    replace_stock(bob, -1, amount=60, remaining=0)
    bob.note()
    batch = take(store, bob.records, check)
    assert kinds(batch.outcomes) == [Append, Append, Append, Breach, Frozen]
    assert batch.outcomes[3] == Breach(bob.public, Rule.ARITHMETIC, (3, 4))
    assert store.head(bob.public) is not None
    assert len(store.log(bob.public, None, 9)) == 3
    (evidence,) = store.evidence()
    assert evidence.proof == Proof.STOCK
    assert [[entry.seq for entry in element] for element in evidence.elements] == [[3], [4]]


def test_a_double_release_is_proven_by_both_releases(store: MemoryStore) -> None:
    bob = Author("bob")
    bob.genesis()
    lot = bob.offer(100)
    first = bob.reserve(lot, 30)
    bob.reserve(lot, 60)
    bob.release(lot, first)
    bob.release(lot, first)
    batch = take(store, bob.records)
    assert batch.outcomes[-1] == Breach(bob.public, Rule.RESOLVED, (5, 6))


def test_a_bad_signature_rejects_one_record_of_gossip(store: MemoryStore, ada: Author) -> None:
    records = [*ada.records[:3], unsigned(ada.records[3])]
    batch = take(store, records)
    assert kinds(batch.outcomes) == [Append] * 3 + [Rejected]
    rejected = batch.outcomes[3]
    assert isinstance(rejected, Rejected)
    assert rejected.error.code == Code.BAD_SIGNATURE


def test_a_run_needs_only_its_last_signature(store: MemoryStore, ada: Author) -> None:
    records = [*map(unsigned, ada.records[:-1]), ada.records[-1]]
    batch = take(store, records, Check.RUNS)
    assert kinds(batch.outcomes) == [Append] * 12
    assert [appended.checked for appended in batch.appended] == [False] * 11 + [True]
    assert store.run(ada.public, 1, 3, 10**6)[-1].entry.seq == 12


def test_a_run_without_its_last_signature_refuses_the_frame(
    store: MemoryStore, ada: Author
) -> None:
    bob = Author("bob")
    bob.genesis()
    records = [*bob.records, *ada.records[:-1], unsigned(ada.records[-1])]
    with pytest.raises(RemoteError) as caught:
        take(store, records, Check.RUNS)
    assert caught.value.code == Code.BAD_SIGNATURE
    assert store.counts().entries == 0


@pytest.mark.parametrize("held", [1, 5, 11])
def test_a_run_whose_tail_is_new_appends_the_tail(
    store: MemoryStore, ada: Author, held: int
) -> None:
    take(store, ada.records[:held])
    records = [*map(unsigned, ada.records[:-1]), ada.records[-1]]
    batch = take(store, records, Check.RUNS)
    assert kinds(batch.outcomes) == [Duplicate] * held + [Append] * (12 - held)


def test_a_broken_link_makes_two_runs_that_are_each_checked(
    store: MemoryStore, ada: Author
) -> None:
    records = [*ada.records[:3], *ada.records[4:]]
    assert [len(run) for run in runs(records)] == [3, 8]
    swapped = [unsigned(record) if record is records[2] else record for record in records]
    with pytest.raises(RemoteError):
        take(store, swapped, Check.RUNS)


def test_a_run_ends_at_its_limit() -> None:
    bob = Author("bob")
    bob.genesis()
    for _ in range(RUN_MAX + 3):
        bob.note(None)
    assert [len(run) for run in runs(bob.records)] == [RUN_MAX, 4]


def test_a_run_cut_short_by_a_breach_still_ends_in_a_checked_signature(
    store: MemoryStore,
) -> None:
    bob = Author("bob")
    bob.genesis()
    lot = bob.offer(100)
    bob.note()
    bob.reserve(lot, 40)
    replace_stock(bob, -1, remaining=100)
    bob.note()
    garbled = [unsigned(record) if record.entry.seq in (1, 2) else record for record in bob.records]
    batch = take(store, garbled, Check.RUNS)
    assert kinds(batch.outcomes) == [Append] * 3 + [Breach, Frozen]
    assert [appended.checked for appended in batch.appended] == [False, False, True]
    # The offer, whose own signature is garbage, is shown with the run that vouches for it.
    (evidence,) = store.evidence()
    assert [[entry.seq for entry in element] for element in evidence.elements] == [[2, 3], [4]]
    for element in evidence.elements:
        assert verify(bob.public, element[-1].raw)


@pytest.mark.parametrize("breach", ["time", "stock"])
def test_whichever_inner_signatures_a_relay_swaps_a_breach_is_proven(breach: str) -> None:
    bob = Author("bob")
    bob.genesis()
    lot = bob.offer(100)
    bob.note()
    reserve = bob.reserve(lot, 40)
    if breach == "time":
        bob.say(200, at_ms=0)
    else:
        bob.release(lot, reserve)
        replace_stock(bob, -1, remaining=101)
    bob.note()
    bob.note()
    ben = Author("ben")
    ben.genesis()
    inner = [1, 2, 3, 4, 5, 6]
    for swapped in chain.from_iterable(combinations(inner, many) for many in range(7)):
        garbled = [unsigned(one) if one.entry.seq in swapped else one for one in bob.records]
        store = MemoryStore()
        batch = take(store, [*garbled, *ben.records], Check.RUNS)
        (evidence,) = store.evidence()
        assert prove_evidence(evidence) is not None
        # What is stored ends in a signature that holds, or others could not be convinced of it.
        kept = max((seq for seq in range(1, 5) if seq not in swapped), default=0)
        held = [record.entry.seq for record in store.log(bob.public, None, 9)]
        assert held == list(range(kept, 0, -1))
        assert kinds(batch.outcomes) == (
            [Append] * kept + [Frozen] * (4 - kept) + [Breach, Frozen, Frozen] + [Append]
        )
        left = store.lot(lot.entry.id)
        assert (left.last_seq if left else 0) == {0: 0, 1: 0, 2: 2, 3: 2, 4: 4}[kept]
        if kept:
            assert len(store.run(bob.public, 1, kept, 10**6)) == kept


def test_a_run_above_a_freeze_is_cut_at_its_last_good_signature(
    store: MemoryStore, ada: Author
) -> None:
    other = ada.fork(6)
    other.note(b"\x81\xa1a\x01")
    take(store, ada.records[:1])
    fork = admit(store, [*ada.records[1:6], *other.records[5:]], Check.RUNS)
    store.commit([Batch(evidence=fork.evidence)], durable=False)
    garbled = [unsigned(one) if one.entry.seq in (4, 5) else one for one in ada.records]
    batch = take(store, garbled[1:], Check.RUNS)
    assert kinds(batch.outcomes) == [Append] * 2 + [Frozen] * 9
    assert [one.checked for one in batch.appended] == [False, True]


def test_an_accusing_entry_with_a_garbled_signature_is_shown_with_its_run(
    store: MemoryStore,
) -> None:
    bob = Author("bob")
    bob.genesis()
    bob.say(200, at_ms=0)
    bob.note()
    bob.note()
    garbled = [unsigned(record) if record.entry.seq == 2 else record for record in bob.records]
    take(store, garbled, Check.RUNS)
    (evidence,) = store.evidence()
    assert [[entry.seq for entry in element] for element in evidence.elements] == [[1], [2, 3]]


def test_an_author_that_is_no_curve_point_is_rejected(store: MemoryStore) -> None:
    bob = Author("bob")
    bob.public = bytes(32)
    bob.genesis()
    (outcome,) = take(store, bob.records).outcomes
    assert isinstance(outcome, Rejected)
    assert outcome.error.code == Code.BAD_KEY
    with pytest.raises(RemoteError, match="curve point"):
        take(store, bob.records, Check.RUNS)


def test_an_entry_out_of_shape_is_rejected(store: MemoryStore) -> None:
    bob = Author("bob")
    bob.genesis()
    bob.say(2, facts=(1, 2))
    batch = take(store, bob.records)
    assert kinds(batch.outcomes) == [Append, Rejected]
    with pytest.raises(RemoteError, match="amiss"):
        take(store, bob.records, Check.RUNS)


def test_a_payload_that_comes_with_a_later_copy_is_kept(store: MemoryStore, ada: Author) -> None:
    bare = [msgspec.structs.replace(record, salt=None, payload=None) for record in ada.records]
    take(store, bare, Check.RUNS)
    assert store.record(ada.records[1].entry.id) == bare[1]
    take(store, ada.records, Check.RUNS)
    assert store.record(ada.records[1].entry.id) == ada.records[1]
