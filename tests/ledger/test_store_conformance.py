"""What every store must do alike; each test runs against memory and against SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import msgspec
import pytest
from tests.ledger.authors import CELL, NOW_MS, SALT, UNTIL_MS, Author, ids, named

from passby.ledger import reader_sqlite, store_memory
from passby.ledger.chain import Head
from passby.ledger.ingest import Batch, Check, Overlay, admit
from passby.ledger.store import (
    HELD_ASKED_MAX,
    AmbiguousError,
    Derived,
    Footprint,
    Reader,
    Store,
    id8,
)
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteReader, SqliteStore
from passby.protocol.entry import Record
from passby.protocol.errors import RemoteError, UsageError
from passby.protocol.limits import NOTED_MAX, RUN_MAX, SPOKEN_CELLS_MAX
from passby.protocol.stock import LotStock
from passby.protocol.types import EntryType


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "l.db")
    yield made
    made.close()


@pytest.fixture(params=["memory", "sqlite", "sqlite beside its writer"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Reader]]:
    """Yield a store and who reads it: itself, or a second connection."""
    if request.param == "memory":
        memory = MemoryStore()
        yield memory, memory
        return
    sqlite = SqliteStore(tmp_path / "l.db")
    reader = sqlite if request.param == "sqlite" else SqliteReader.open(tmp_path / "l.db")
    yield sqlite, reader
    reader.close()
    sqlite.close()


def take(store: Store, records: Sequence[Record], check: Check = Check.EACH) -> Batch:
    batch = admit(store.view(records), records, check)
    store.commit([batch], durable=False)
    return batch


def lister(name: str = "ada") -> Author:
    author = Author(name)
    author.genesis()
    return author


def test_an_empty_store_holds_nothing(pair: tuple[Store, Reader]) -> None:
    _, reader = pair
    author, entry_id = named("author"), named("entry")
    assert reader.head(author) is None
    assert list(reader.heads()) == []
    assert reader.record(entry_id) is None
    assert reader.find("abcdef") is None
    assert reader.record_at(author, 1) is None
    assert reader.run(author, 1, 9, 10**6) == []
    assert reader.log(author, None, 9) == []
    assert reader.evidence() == []
    assert reader.frozen() == {}
    assert reader.lot(entry_id) is None
    assert list(reader.open_lots(0)) == []
    assert list(reader.open_requests(0)) == []
    assert reader.trade(entry_id) == []
    assert reader.trades(0) == []
    assert reader.counts().entries == 0
    assert reader.integrity() == []


def test_of_many_ids_those_that_are_held_are_told(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    author = lister()
    lot = author.offer(3)
    take(store, author.records)
    asked = [named(f"entry {number}") for number in range(HELD_ASKED_MAX - 1)]
    assert reader.may_hold(asked) == set()
    assert reader.may_hold([*asked, lot.entry.id]) == {lot.entry.id}
    assert reader.may_hold([]) == set()


def test_what_was_committed_is_read_back(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada, bob = lister(), lister("bob")
    for _ in range(5):
        ada.note()
        bob.note(None)
    take(store, [*ada.records, *bob.records])
    for author in (ada, bob):
        last = author.records[-1].entry
        assert reader.head(author.public) == Head(6, last.id, last.at_ms)
        for record in author.records:
            assert reader.record(record.entry.id) == record
            assert reader.record_at(author.public, record.entry.seq) == record
        assert reader.record_at(author.public, 0) is None
        assert reader.record_at(author.public, 7) is None
    assert [author for author, _ in reader.heads()] == sorted([ada.public, bob.public])
    counts = reader.counts()
    assert (counts.authors, counts.entries) == (2, 12)
    assert counts.bytes > 0
    assert reader.integrity() == []


def test_batches_of_one_commit_may_build_on_each_other(store: Store) -> None:
    ada = lister()
    lot = ada.offer(100)
    first = ada.reserve(lot, 10)
    ada.release(lot, first)
    view = Overlay(store.view(ada.records))
    batches = []
    for record in ada.records:
        batch = admit(view, [record], Check.EACH)
        view.absorb(batch)
        batches.append(batch)
    store.commit(batches, durable=True)
    assert store.lot(lot.entry.id) == LotStock(lot.entry.id, 2, 4, 100, 0)
    assert store.counts().entries == 4


def test_stock_goes_on_over_commits(store: Store) -> None:
    ada = lister()
    lot = ada.offer(100)
    first, second = ada.reserve(lot, 10), ada.reserve(lot, 20)
    ada.release(lot, first)
    ada.handover(lot, second, 15, ada.commit(second))
    for record in ada.records:
        take(store, [record])
    assert store.lot(lot.entry.id) == LotStock(lot.entry.id, 2, 7, 85, 0)
    assert store.frozen() == {}


def test_a_view_that_was_not_read_ahead_says_the_same(store: Store) -> None:
    ada = lister()
    lot = ada.offer(100)
    first = ada.reserve(lot, 10)
    take(store, ada.records)
    view = store.view([])
    assert view.head(ada.public) == store.head(ada.public)
    assert view.lot_at(ada.public, 2) == store.lot(lot.entry.id)
    assert view.lot_at(ada.public, 3) is None
    assert view.lot_at(ada.public, 2**53 - 1) is None
    held = view.reserve_at(ada.public, 3)
    assert held is not None
    assert (held.id, held.amount, held.resolved_seq) == (first.entry.id, 10, 0)
    assert view.reserve_at(ada.public, 2) is None
    assert view.reserve_at(ada.public, 2**53 - 1) is None
    assert view.frozen_from(ada.public) is None
    assert view.head(named("stranger")) is None
    assert view.lot_at(named("stranger"), 2) is None


def test_a_lot_number_that_reaches_into_another_chain_finds_nothing(store: Store) -> None:
    ada, bob = lister(), lister("bob")
    for author in (ada, bob):
        author.offer(100)
    take(store, [*ada.records, *bob.records])
    for number in range(1, 4):
        assert store.view([]).lot_at(ada.public, (number << 32) | 2) is None
        stock = (number << 32 | 2, number << 32 | 2, 0, 1, 99, 1)
        ada.say(7, refs=(named("p"), named("l")), stock=stock, facts=(1, named("s")))
        batch = admit(store.view(ada.records[-1:]), ada.records[-1:], Check.EACH)
        assert batch.appended == []
        ada.records.pop()


def test_an_id_is_found_by_its_first_digits(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    for _ in range(300):
        ada.note(None)
    take(store, ada.records, Check.RUNS)
    for record in ada.records[::50]:
        digits = record.entry.id.hex()
        for length in (12, 15, 16, 17, 40, 64):
            assert reader.find(digits[:length]) == record
        assert reader.find(digits[:12].upper()) == record
        wrong = digits[:20] + ("0" if digits[20] != "0" else "1")
        assert reader.find(wrong) is None


def test_digits_that_several_share_are_ambiguous(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    by_prefix: dict[str, list[bytes]] = {}
    while not any(len(found) > 1 for found in by_prefix.values()):
        entry_id = ada.note(None).entry.id
        by_prefix.setdefault(entry_id.hex()[:4], []).append(entry_id)
    take(store, ada.records, Check.RUNS)
    prefix, both = next(item for item in by_prefix.items() if len(item[1]) > 1)
    with pytest.raises(AmbiguousError) as caught:
        reader.find(prefix)
    assert sorted(caught.value.ids) == sorted(both)
    assert all(found.hex()[:8] in caught.value.hint for found in both)


@pytest.mark.parametrize("prefix", ["", "abc", "wxyz", "0x12", "ab cd", "a" * 65, "ä" * 4])
def test_what_is_no_id_is_said_to_be_none(pair: tuple[Store, Reader], prefix: str) -> None:
    with pytest.raises(UsageError, match="is no id"):
        pair[1].find(prefix)


def test_a_run_stops_at_its_bounds(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    for _ in range(RUN_MAX + 50):
        ada.note()
    take(store, ada.records)
    key = ada.public
    assert reader.run(key, 3, 7, 10**6) == ada.records[2:7]
    assert reader.run(key, 1, 10**6, 10**6) == ada.records[:RUN_MAX]
    assert reader.run(key, RUN_MAX + 40, 10**6, 10**6) == ada.records[RUN_MAX + 39 :]
    assert reader.run(key, 999, 1000, 10**6) == []
    size = sum(record.size for record in ada.records[:4])
    assert reader.run(key, 1, 100, size) == ada.records[:4]
    assert reader.run(key, 1, 100, size - 1) == ada.records[:3]
    assert reader.run(key, 1, 100, 10) == []


def test_a_run_ends_in_a_checked_signature(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    for _ in range(19):
        ada.note()
    take(store, ada.records[:10], Check.RUNS)
    take(store, ada.records[10:], Check.RUNS)
    key = ada.public
    assert reader.run(key, 1, 3, 10**6) == ada.records[:10]
    assert reader.run(key, 1, 15, 10**6) == ada.records[:10]
    assert reader.run(key, 12, 13, 10**6) == ada.records[11:]
    short = sum(record.size for record in ada.records[:15])
    assert reader.run(key, 1, 20, short) == ada.records[:10]
    assert reader.run(key, 11, 20, short // 3) == []


def test_a_log_is_newest_first_and_goes_on(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    for _ in range(9):
        ada.note()
    take(store, ada.records)
    newest = ada.records[::-1]
    assert reader.log(ada.public, None, 4) == newest[:4]
    assert reader.log(ada.public, newest[3].entry.seq, 4) == newest[4:8]
    assert reader.log(ada.public, 3, 100) == newest[8:]
    assert reader.log(ada.public, 1, 100) == []


def test_open_lots_are_those_with_something_left_and_time(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada, bob = lister(), lister("bob")
    open_lot = ada.offer(100)
    ada.reserve(open_lot, 30)
    ada.offer(5, until_ms=NOW_MS)
    sold = ada.offer(7)
    ada.reserve(sold, 7)
    closed = ada.offer(8)
    ada.close(closed)
    bare = bob.offer(9, payload=None)
    take(store, [*ada.records, *bob.records])
    found = {held.record.entry.id: held for held in reader.open_lots(NOW_MS)}
    assert set(found) == {open_lot.entry.id, bare.entry.id}
    assert found[open_lot.entry.id].stock == LotStock(open_lot.entry.id, 2, 3, 70, 30)
    assert found[open_lot.entry.id].record == open_lot
    assert found[bare.entry.id].record.payload is None
    assert list(reader.open_lots(UNTIL_MS)) == []


def test_open_requests_are_those_with_time(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    wanted = ada.request()
    ada.request(until_ms=NOW_MS)
    for_ever = ada.request(until_ms=2**64 - 1)
    take(store, ada.records)
    found = ids(list(reader.open_requests(NOW_MS)))
    assert sorted(found) == sorted(ids([wanted, for_ever]))


def test_what_is_noted_of_an_entry_is_found_by_who_noted_it(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada, bob = lister(), Author("bob")
    wanted = ada.request()
    bob.genesis()
    said = [ada.say(EntryType.WITHDRAW, refs=(wanted.entry.id,), facts=(2,)) for _ in range(6)]
    theirs = bob.say(EntryType.WITHDRAW, refs=(wanted.entry.id,), facts=(2,))
    stars = bob.say(EntryType.RATING, b"\x80", refs=(wanted.entry.id,), facts=(5,))
    take(store, [*ada.records, *bob.records])
    found = reader.noted(EntryType.WITHDRAW, wanted.entry.id, ada.public)
    assert found == said[:NOTED_MAX]
    assert reader.noted(EntryType.WITHDRAW, wanted.entry.id, bob.public) == [theirs]
    assert reader.noted(EntryType.RATING, wanted.entry.id, bob.public) == [stars]
    assert reader.noted(EntryType.RATING, wanted.entry.id, ada.public) == []
    assert reader.noted(EntryType.RATING, theirs.entry.id, bob.public) == []
    assert reader.trade(wanted.entry.id) == []


def test_what_is_open_can_be_read_while_more_is_written(store: Store) -> None:
    ada = lister()
    for _ in range(1200):
        ada.offer(5)
    take(store, ada.records, Check.RUNS)
    bob = lister("bob")
    seen = []
    for number, held in enumerate(store.open_lots(NOW_MS)):
        seen.append(held.record.entry.id)
        if number % 400 == 0:
            bob.note()
            take(store, bob.records[-2 if number == 0 else -1 :])
    assert sorted(seen) == sorted(ids(ada.records[1:]))


def test_a_frozen_author_s_lots_and_requests_are_hidden(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    ada.offer(5)
    ada.request()
    other = ada.fork(3)
    other.note()
    take(store, ada.records)
    take(store, other.records[2:])
    assert reader.frozen() == {ada.public: 3}
    assert list(reader.open_lots(0)) == []
    assert list(reader.open_requests(0)) == []
    (evidence,) = reader.evidence(ada.public)
    assert reader.evidence() == [evidence]
    assert evidence.elements == ((ada.records[2].entry,), (other.records[2].entry,))
    assert reader.evidence(named("somebody")) == []


def test_a_trade_is_all_that_names_its_propose(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada, bob = lister(), lister("bob")
    lot = ada.offer(10)
    propose = bob.propose(lot)
    reserve = ada.reserve(lot, 1, propose.entry.id)
    cancel = bob.say(13, refs=(propose.entry.id,), facts=(1,))
    release = ada.release(lot, reserve)
    other = bob.propose(lot)
    # The lister's side first: trades do not wait for the propose.
    take(store, ada.records)
    assert ids(reader.trade(propose.entry.id)) == ids([reserve, release])
    take(store, bob.records)
    found = reader.trade(propose.entry.id)
    assert sorted(ids(found)) == sorted(ids([propose, reserve, cancel, release]))
    assert reader.trade(other.entry.id) == [other]
    assert reader.trade(lot.entry.id) == []


def test_the_steps_of_a_party_are_its_own_first_entries_of_a_trade(
    pair: tuple[Store, Reader],
) -> None:
    store, reader = pair
    ada, bob = lister(), lister("bob")
    lot = ada.offer(10)
    propose = bob.propose(lot)
    reserve = ada.reserve(lot, 1, propose.entry.id)
    cancels = [bob.say(13, refs=(propose.entry.id,), facts=(1,)) for _ in range(3)]
    bob.propose(lot)
    take(store, ada.records)
    take(store, bob.records)
    trade = propose.entry.id
    assert reader.steps(trade, ada.public, 9) == [reserve]
    assert reader.steps(trade, bob.public, 9) == [propose, *cancels]
    assert reader.steps(trade, bob.public, 2) == [propose, cancels[0]]
    assert reader.steps(trade, named("somebody"), 9) == []
    assert reader.steps(lot.entry.id, ada.public, 9) == []


def test_trades_come_newest_first(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada, bob = lister(), lister("bob")
    lot = ada.offer(10)
    proposes = [
        author.propose(lot, at_ms=NOW_MS + 1000 * at)
        for at, author in enumerate([ada, bob, ada, bob], 1)
    ]
    take(store, [*ada.records, *bob.records])
    assert reader.trades(0) == ids(proposes[::-1])
    assert reader.trades(NOW_MS + 3000) == ids([proposes[3], proposes[2]])
    assert reader.trades(NOW_MS + 9000) == []


def test_a_payload_may_come_later_but_only_the_right_one(store: Store) -> None:
    ada = lister()
    note = ada.note(b"\x81\xa1a\x01")
    bare = [msgspec.structs.replace(record, salt=None, payload=None) for record in ada.records]
    take(store, bare)
    for salt, payload in [(SALT, b"\x80"), (b"t" * 16, b"\x81\xa1a\x01"), (b"", b"\x81\xa1a\x01")]:
        with pytest.raises(RemoteError):
            store.add_payload(note.entry.id, salt, payload)
    assert store.record(note.entry.id) == bare[1]
    assert store.add_payload(note.entry.id, SALT, b"\x81\xa1a\x01")
    assert store.record(note.entry.id) == note
    assert not store.add_payload(named("unknown"), SALT, b"\x80")


def test_an_erased_payload_stays_erased(store: Store) -> None:
    ada = lister()
    note = ada.note()
    take(store, ada.records)
    assert store.erase_payload(note.entry.id)
    assert store.record(note.entry.id) == Record(note.entry)
    assert not store.add_payload(note.entry.id, SALT, b"\x80")
    take(store, ada.records)
    assert store.record(note.entry.id) == Record(note.entry)
    assert not store.erase_payload(named("unknown"))


def test_folds_that_are_made_again_are_the_same(store: Store) -> None:
    ada, bob = lister(), lister("bob")
    lot = ada.offer(100)
    propose = bob.propose(lot)
    reserve = ada.reserve(lot, 10, propose.entry.id)
    second = ada.reserve(lot, 5)
    ada.handover(lot, reserve, 4, ada.commit(reserve))
    ada.adjust(lot, -3)
    bob.request()
    ada.vouch(bob.public)
    bob.vouch(ada.public)
    bob.vouch(ada.public, stands=False)
    take(store, [*ada.records, *bob.records])

    def folds() -> object:
        view = store.view([])
        return (
            [view.lot_at(ada.public, seq) for seq in range(1, 9)],
            [view.reserve_at(ada.public, seq) for seq in range(1, 9)],
            list(store.open_lots(NOW_MS)),
            list(store.open_requests(NOW_MS)),
            sorted(ids(store.trade(propose.entry.id))),
            sorted(ids(store.trade(second.entry.body.refs[0]))),
            store.trades(0),
            list(store.heads()),
            store.vouched_by(ada.public),
            store.vouched_by(bob.public),
            store.derived(bob.public).vouches,
            store.spoken(ada.public),
            store.spoken(bob.public),
        )

    before = folds()
    store.rebuild()
    assert folds() == before
    ada.release(lot, second)
    assert take(store, ada.records[-1:]).appended


def test_evidence_survives_the_making_of_folds(store: Store) -> None:
    ada = lister()
    ada.note()
    other = ada.fork(2)
    other.note(None)
    take(store, ada.records)
    take(store, other.records[1:])
    store.rebuild()
    assert store.frozen() == {ada.public: 2}
    assert len(store.evidence()) == 1


def test_of_endless_vouches_only_the_newest_are_read(
    pair: tuple[Store, Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, reader = pair
    for module in (store_memory, reader_sqlite):
        monkeypatch.setattr(module, "VOUCHES_READ_MAX", 4)
    ada = lister("ada")
    people = [named(f"friend {number}") for number in range(4)]
    for person in people:
        ada.vouch(person)
    ada.vouch(people[3], stands=False)
    ada.vouch(people[3])
    take(store, ada.records)
    assert reader.vouched_by(ada.public) == [people[2], people[3]]


def test_vouches_are_read_in_the_order_of_those_that_stand(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    people = [named(name) for name in ("bob", "cleo", "dirk")]
    for person in people:
        ada.vouch(person)
    ada.vouch(people[1], stands=False)
    ada.vouch(people[0], stands=False)
    ada.vouch(people[0])
    take(store, ada.records)
    assert reader.vouched_by(ada.public) == [people[2], people[0]]
    assert reader.vouched_by(people[0]) == []
    store.cut(ada.public, 3, "for a test")
    assert reader.vouched_by(ada.public) == people[:2]


def test_a_footprint_is_the_bytes_held_and_the_first_cell(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada, bob, nobody = lister(), lister("bob"), named("nobody")
    ada.note()
    ada.request()
    ada.offer(3)
    take(store, [*ada.records, *bob.records])
    assert reader.footprint(ada.public) == Footprint(sum(r.size for r in ada.records), CELL)
    assert reader.footprint(bob.public) == Footprint(bob.records[0].size, None)
    assert reader.footprint(nobody) == Footprint(0, None)


def test_a_forgotten_chain_is_gone_and_may_come_again(store: Store) -> None:
    ada, bob = lister(), lister("bob")
    lot = ada.offer(100)
    ada.reserve(lot, 10)
    ada.vouch(bob.public)
    bob.note()
    take(store, [*ada.records, *bob.records])
    store.erase_payload(lot.entry.id)
    bob.request()
    take(store, bob.records[-1:])
    assert store.forget([ada.public, named("nobody")]) == [lot.entry.id]
    assert [author for author, _ in store.heads()] == [bob.public]
    assert store.record(lot.entry.id) is None
    assert store.lot(lot.entry.id) is None
    assert store.derived(ada.public) == Derived()
    assert store.vouched_by(ada.public) == []
    assert store.footprint(ada.public) == Footprint(0, None)
    assert store.integrity() == []
    take(store, ada.records)
    held = store.record(lot.entry.id)
    assert held == Record(lot.entry)
    assert store.erased(ada.public) == {2}
    assert store.vouched_by(ada.public) == [bob.public]


def test_a_forgotten_liar_is_forgotten_with_its_proof(store: Store) -> None:
    ada = lister()
    fork = ada.fork(2)
    ada.note()
    fork.note(None)
    take(store, ada.records)
    take(store, fork.records[1:])
    assert store.frozen() == {ada.public: 2}
    store.forget([ada.public])
    assert store.frozen() == {}
    assert store.evidence() == []
    take(store, ada.records)
    take(store, fork.records[1:])
    assert store.frozen() == {ada.public: 2}


# --- in which cells an author speaks ---------------------------------------------------


def carried() -> tuple[Author, Author, Author]:
    """Return a lister and a carrier of two cells, and a taker who proposes to take from both."""
    ada, carrier, bob = lister(), lister("carrier"), lister("bob")
    lot, ride = ada.offer(10, cell=11), carrier.offer(4, cell=22)
    propose = bob.propose(lot, ride)
    ada.reserve(lot, 1, propose.entry.id)
    carrier.reserve(ride, 1, propose.entry.id)
    return ada, carrier, bob


def test_an_author_speaks_where_it_lists_and_asks(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    first, last = ada.offer(3, cell=11), [ada.request(cell=22), ada.offer(5, cell=11)][-1]
    ada.request(cell=2**63)
    take(store, ada.records[:2])
    assert reader.spoken(ada.public) == {11: first.entry.at_ms}
    (told,) = reader.spoken_since(0)
    assert told[1:] == (ada.public, 11)
    take(store, ada.records[2:])
    assert reader.spoken(ada.public) == {11: last.entry.at_ms, 22: last.entry.at_ms - 1}
    assert [pair[1:] for pair in reader.spoken_since(told[0])] == [(ada.public, 22)]
    assert reader.spoken(named("nobody")) == {}


def test_a_propose_speaks_where_its_lots_are_and_a_reserve_where_its_propose_does(
    pair: tuple[Store, Reader],
) -> None:
    store, reader = pair
    ada, carrier, bob = carried()
    take(store, [*ada.records, *carrier.records, *bob.records])
    for author in (ada, carrier, bob):
        assert set(reader.spoken(author.public)) == {11, 22}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_whatever_order_chains_come_their_authors_speak_in_the_same_cells(
    store: Store, order: tuple[int, ...]
) -> None:
    authors = carried()
    for number in order:
        take(store, authors[number].records)
    came = [store.spoken(author.public) for author in authors]
    assert [set(cells) for cells in came] == [{11, 22}] * 3
    store.rebuild()
    assert [store.spoken(author.public) for author in authors] == came


def test_a_chain_that_is_cut_speaks_where_what_is_left_of_it_does(store: Store) -> None:
    ada, carrier, bob = carried()
    take(store, [*ada.records, *carrier.records, *bob.records])
    store.cut(ada.public, 2, "for a test")
    assert set(store.spoken(ada.public)) == {11}
    assert set(store.spoken(bob.public)) == {11, 22}
    store.forget([bob.public])
    assert store.spoken(bob.public) == {}
    store.rebuild()
    # Its propose is not held any more.
    assert set(store.spoken(carrier.public)) == {22}
    take(store, bob.records)
    assert set(store.spoken(carrier.public)) == {11, 22}


def test_of_an_author_the_cells_are_kept_that_it_spoke_in_last(store: Store) -> None:
    ada = lister()
    for cell in range(1, SPOKEN_CELLS_MAX + 3):
        ada.request(cell=cell)
    ada.request(cell=1)
    take(store, ada.records)
    kept = {1, *range(4, SPOKEN_CELLS_MAX + 3)}
    assert set(store.spoken(ada.public)) == kept
    assert {cell for _, _, cell in store.spoken_since(0)} == kept
    store.rebuild()
    assert set(store.spoken(ada.public)) == kept


def test_what_is_stored_is_given_as_it_lies_there(pair: tuple[Store, Reader]) -> None:
    store, reader = pair
    ada = lister()
    for _ in range(4):
        ada.offer(10)
    take(store, ada.records, Check.RUNS)
    store.erase_payload(ada.records[2].entry.id)
    found = reader.stored(ada.public, 2, 3)
    assert [row[0] for row in found] == [2, 3, 4]
    for (_, raw, carried, head8, checked), record in zip(found, ada.records[1:4], strict=True):
        assert raw == record.entry.raw
        assert head8 == id8(record.entry.id)
        assert not checked
        if record is ada.records[2]:
            assert not carried
        else:
            assert record.salt is not None
            assert record.payload is not None
            assert carried == record.salt + record.payload
    assert [bool(row[4]) for row in reader.stored(ada.public, 5, 9)] == [True]
    assert reader.stored(ada.public, 6, 9) == reader.stored(named("nobody"), 1, 9) == []
