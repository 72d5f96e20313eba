"""An audit finds each kind of damage and each kind of lie, and nothing in an honest ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.ledger.audit import (
    AuditExit,
    AuditSource,
    AuthorScope,
    LotScope,
    Report,
    Severity,
    TradeScope,
    audit,
)
from passby.ledger.chain import Evidence, Head, Proof
from passby.ledger.draft import Change, Close, Draft, OpenLot, Reserve, Resolve, compose
from passby.ledger.ingest import Appended, Batch, Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import Body, Entry, Record, entry_id, sign
from passby.protocol.keys import SIGNATURE_BYTES, Certificate, SigningKey, certificate_commitment
from passby.protocol.limits import FINDINGS_MAX
from passby.protocol.payloads import Genesis, LotTerms, Propose, Terms, encode_payload
from passby.protocol.secret import secret_hash
from passby.protocol.terms import terms_hash
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

LISTER, TAKER, OTHER = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
ROOT = SigningKey(b"r" * 32)
SALT = b"s" * 16
SECRET = b"secret, 16 bytes"
NOW = 2_000_000_000_000
LATER = NOW + 3_600_000
FREE = cast("EntryType", 200)
"""A type of a later version."""


class World:
    """A store, and honest people who write into it."""

    def __init__(self, store: MemoryStore | SqliteStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.now_ms = NOW

    def say(self, key: SigningKey, *drafts: Draft) -> list[Record]:
        view = self.store.view([])
        head = self.store.head(key.public)
        if head is None:
            drafts = (self.opening(key), *drafts)
        self.now_ms += 1000
        records = compose(key, view, drafts, self.now_ms, lambda size: SALT[:size])
        self.store.commit([admit(view, records, Check.RUNS)], durable=False)
        return records

    @staticmethod
    def opening(key: SigningKey) -> Draft:
        certificate = Certificate.issue(ROOT, key.public, NOW).raw
        shown = Genesis("somebody", certificate, SALT)
        return Draft(
            EntryType.GENESIS,
            facts=(certificate_commitment(SALT, certificate),),
            payload=encode_payload(shown),
        )

    def offer(self, key: SigningKey, amount: int = 10) -> Record:
        draft = Draft(EntryType.OFFER, facts=(1, LATER), payload=b"\x80", move=OpenLot(amount))
        return self.say(key, draft)[-1]

    def trade(self, lot: Record, amount: int = 4) -> list[Record]:
        """One trade from propose to both receipts."""
        offer = lot.entry
        lister, taker = offer.author, TAKER.public
        terms = Terms((LotTerms(offer.id, amount, Unit.PIECE, 100, "EUR"),))
        (propose,) = self.say(
            TAKER,
            Draft(
                EntryType.PROPOSE,
                (offer.id,),
                (terms_hash(SALT, terms), LATER, amount, 0, LATER),
                encode_payload(Propose(terms, SALT)),
            ),
        )[-1:]
        trade = propose.entry.id
        back, onward = (
            secret_hash(trade, *parties, SECRET) for parties in ((taker, lister), (lister, taker))
        )
        (reserve,) = self.say(
            LISTER,
            Draft(
                EntryType.RESERVE, (trade, offer.id), (LATER, back), move=Reserve(offer.seq, amount)
            ),
        )
        (confirm,) = self.say(
            TAKER, Draft(EntryType.CONFIRM, (trade, reserve.entry.id), (LATER, onward))
        )
        (commit,) = self.say(
            LISTER, Draft(EntryType.COMMIT, (trade, confirm.entry.id, reserve.entry.id))
        )
        (handover,) = self.say(
            LISTER,
            Draft(
                EntryType.HANDOVER,
                (trade, commit.entry.id, confirm.entry.id),
                (SECRET, amount),
                move=Resolve(offer.seq, reserve.entry.seq, amount, amount),
            ),
        )
        (goods,) = self.say(
            TAKER, Draft(EntryType.RECEIPT, (trade, handover.entry.id), (1, amount))
        )
        (money,) = self.say(LISTER, Draft(EntryType.RECEIPT, (trade, handover.entry.id), (2, 100)))
        return [propose, reserve, confirm, commit, handover, goods, money]

    def audit(self, *, signatures: bool = False) -> Report:
        return audit(self.store, LATER, signatures=signatures)


def store_raw(store: MemoryStore, record: Record) -> None:
    """Put a record into a store that did not look at it."""
    store.commit([Batch(appended=[Appended(record, checked=True)])], durable=False)


def replace(store: MemoryStore | SqliteStore, key: SigningKey, seq: int, record: Record) -> None:
    assert isinstance(store, MemoryStore)
    store._chains[key.public][seq - 1] = record


def flip(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def texts(report: Report, severity: Severity) -> list[str]:
    return [finding.text for finding in report.findings if finding.severity is severity]


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "ledger.db")
    yield World(store)
    store.close()


def whole_trade(world: World) -> list[Record]:
    lot = world.offer(LISTER)
    return [lot, *world.trade(lot)]


# --- honest ----------------------------------------------------------------------------


def test_an_empty_ledger_is_clean() -> None:
    assert World().audit() == Report()


@pytest.mark.parametrize("signatures", [False, True])
def test_a_whole_trade_is_clean_on_both_sides(world: World, signatures: bool) -> None:
    whole_trade(world)
    report = world.audit(signatures=signatures)
    assert report.findings == []
    assert report.exit_code is AuditExit.CLEAN
    assert (report.verified, report.unverified, report.missing) == (10, 0, 0)
    assert (report.chains, report.trades) == (2, 1)
    assert report.erased == 0


@given(
    st.lists(st.tuples(st.sampled_from(["offer", "change", "close", "trade"]), st.integers(0, 9)))
)
def test_an_honest_random_history_is_clean(steps: list[tuple[str, int]]) -> None:
    world = World()
    lots: list[Record] = []
    for step, number in steps:
        lot = lots[number % len(lots)] if lots else None
        stock = world.store.lot(lot.entry.id) if lot else None
        if step == "offer" or lot is None or stock is None:
            lots.append(world.offer(LISTER, 1 + number))
        elif step == "trade" and stock.remaining:
            world.trade(lot, 1 + number % stock.remaining)
        elif step == "change" and not stock.closed and stock.remaining != number + 1:
            move = Change(stock.lot_seq, number + 1)
            world.say(LISTER, Draft(EntryType.ADJUST, (lot.entry.id,), move=move))
        elif step == "close" and not stock.closed:
            world.say(LISTER, Draft(EntryType.CLOSE, (lot.entry.id,), move=Close(stock.lot_seq)))
    report = world.audit()
    assert report.findings == []
    assert report.exit_code is AuditExit.CLEAN


def test_an_erased_payload_is_counted_and_leaves_nothing_open(world: World) -> None:
    entries = whole_trade(world)
    world.store.erase_payload(entries[0].entry.id)
    report = world.audit()
    assert report.erased == 1
    assert report.exit_code is AuditExit.CLEAN


def test_progress_is_told_of_every_entry() -> None:
    world = World()
    whole_trade(world)
    seen: list[int] = []
    audit(world.store, LATER, progress=seen.append)
    assert sum(seen) == 10


def test_the_default_checks_the_ends_of_runs_and_the_full_audit_each_signature() -> None:
    world = World()
    drafts = [Draft(FREE)] * 700
    world.say(LISTER, *drafts)
    assert world.audit().signatures == 3
    assert world.audit(signatures=True).signatures == 701


# --- damage ----------------------------------------------------------------------------


def damaged_reports(key: SigningKey, seq: int, *, signatures: bool) -> Iterator[tuple[int, Report]]:
    world = World()
    whole_trade(world)
    record = world.store.record_at(key.public, seq)
    assert record is not None
    entry = record.entry
    for bit in range(0, 8 * len(entry.raw), 7):
        damaged = Entry(flip(entry.raw, bit), entry.id, entry.body)
        replace(world.store, key, seq, Record(damaged, record.salt, record.payload))
        yield bit // 8, world.audit(signatures=signatures)
    if record.payload is None or record.salt is None:
        return
    for bit in range(0, 8 * len(record.payload), 7):
        payload = flip(record.payload, bit)
        replace(world.store, key, seq, Record(entry, record.salt, payload))
        yield len(entry.raw), world.audit(signatures=signatures)
    for bit in range(0, 8 * len(record.salt), 7):
        replace(world.store, key, seq, Record(entry, flip(record.salt, bit), record.payload))
        yield len(entry.raw), world.audit(signatures=signatures)


@pytest.mark.parametrize("seq", [1, 2, 3, 6])
def test_a_flipped_bit_anywhere_is_corrupt_and_accuses_nobody(seq: int) -> None:
    for at, report in damaged_reports(LISTER, seq, signatures=True):
        assert report.exit_code is AuditExit.CORRUPT, at
        assert not texts(report, Severity.PROVEN), at


@pytest.mark.parametrize("seq", [2, 4])
def test_the_default_audit_misses_no_flipped_bit_but_in_inner_signatures(seq: int) -> None:
    for at, report in damaged_reports(TAKER, seq, signatures=False):
        assert not texts(report, Severity.PROVEN), at
        inner = seq == 2 and at < SIGNATURE_BYTES
        assert report.exit_code is (AuditExit.CLEAN if inner else AuditExit.CORRUPT), at


def test_garbage_in_an_inner_signature_is_found_when_every_one_is_checked() -> None:
    world = World()
    records = world.say(LISTER, *[Draft(FREE)] * 5)
    entry = records[2].entry
    swapped = Entry(bytes(64) + entry.raw[64:], entry.id, entry.body)
    replace(world.store, LISTER, 3, Record(swapped))
    assert world.audit().exit_code is AuditExit.CLEAN
    report = world.audit(signatures=True)
    assert report.exit_code is AuditExit.CORRUPT
    # What links to it is signed, so it is authentic all the same.
    assert (report.verified, report.unverified) == (6, 0)


@pytest.mark.parametrize("column", ["raw", "carried"])
@pytest.mark.parametrize("seq", [2, 3])
def test_a_flipped_bit_in_the_file_is_corrupt(tmp_path: Path, column: str, seq: int) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    world = World(store)
    entries = [world.offer(LISTER) for _ in range(4)]
    assert len(entries) == 4
    (number,) = store._one("SELECT number FROM authors")
    place = number << 32 | seq
    (stored,) = store._one(f"SELECT {column} FROM entries WHERE place = ?", (place,))  # noqa: S608  # of two
    for bit in range(64 * 8 if column == "raw" else 0, 8 * len(stored), 11):
        store._all(
            f"UPDATE entries SET {column} = ? WHERE place = ?",  # noqa: S608  # of two
            (flip(stored, bit), place),
        )
        report = world.audit()
        assert report.exit_code is AuditExit.CORRUPT, bit
        assert not texts(report, Severity.PROVEN), bit
    store.close()


@pytest.mark.parametrize("seq", [1, 3, 5])
def test_a_missing_entry_makes_the_audit_incomplete(tmp_path: Path, seq: int) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    world = World(store)
    for _ in range(4):
        world.offer(LISTER)
    (number,) = store._one("SELECT number FROM authors")
    store._all("DELETE FROM entries WHERE place = ?", (number << 32 | seq,))
    report = world.audit()
    assert report.missing == 1
    assert report.verified == 4
    assert report.exit_code is AuditExit.INCOMPLETE
    assert report.findings[0].seqs == (seq,)
    store.close()


def test_a_stored_head_of_four_thousand_million_ends_the_search() -> None:
    world = World()
    world.offer(LISTER)

    class Lying(MemoryStore):
        def heads(self) -> Iterator[tuple[bytes, Head]]:
            for author, head in world.store.heads():
                yield author, msgspec.structs.replace(head, seq=2**32 - 1)

    lying = Lying()
    lying.__dict__ |= world.store.__dict__
    report = audit(lying, LATER)
    assert report.missing == 2**32 - 1 - 2
    assert report.exit_code is AuditExit.INCOMPLETE


def test_a_swapped_payload_is_corrupt() -> None:
    world = World()
    first, second = world.offer(LISTER), whole_trade(world)[1]
    replace(world.store, LISTER, 2, Record(first.entry, second.salt, second.payload))
    report = world.audit()
    assert texts(report, Severity.CORRUPT) == ["the payload of entry 2 is not the one it names"]


def test_an_entry_that_names_another_one_before_it_is_corrupt() -> None:
    world = World()
    world.offer(LISTER)
    world.offer(LISTER)
    body = world.offer(LISTER).entry.body
    other = msgspec.structs.replace(body, prev=b"p" * 32)
    replace(world.store, LISTER, 4, Record(sign(LISTER, other)))
    report = world.audit()
    assert "entry 4 does not name the one before it" in texts(report, Severity.CORRUPT)
    assert report.exit_code is AuditExit.CORRUPT


def test_an_entry_of_somebody_else_in_a_chain_is_corrupt() -> None:
    world = World()
    world.offer(LISTER)
    stranger = world.offer(OTHER)
    replace(world.store, LISTER, 2, stranger)
    assert world.audit().exit_code is AuditExit.CORRUPT


def test_a_derived_table_that_disagrees_is_corrupt(world: World) -> None:
    lot = world.offer(LISTER)
    held = world.store.lot(lot.entry.id)
    assert held is not None
    wrong = msgspec.structs.replace(held, remaining=9)
    world.store.commit([Batch(lots={(LISTER.public, 2): wrong})], durable=False)
    report = world.audit()
    assert texts(report, Severity.CORRUPT) == [
        "what is stored of its lots is not what its entries say"
    ]
    world.store.rebuild()
    assert world.audit().exit_code is AuditExit.CLEAN


def test_a_vouch_that_is_stored_otherwise_than_it_was_given_is_corrupt() -> None:
    world = World()
    world.say(LISTER, Draft(EntryType.VOUCH, facts=(OTHER.public, 1)))
    assert world.audit().exit_code is AuditExit.CLEAN
    assert isinstance(world.store, MemoryStore)
    world.store._vouches[LISTER.public] = {}
    assert texts(world.audit(), Severity.CORRUPT) == [
        "what is stored of its vouches is not what its entries say"
    ]


def test_a_trade_that_lost_an_entry_from_its_list_is_corrupt() -> None:
    world = World()
    propose = whole_trade(world)[1]
    assert isinstance(world.store, MemoryStore)
    world.store._trades[propose.entry.id].pop()
    assert world.audit().exit_code is AuditExit.CORRUPT


# --- lies ------------------------------------------------------------------------------


def lie(key: SigningKey, after: Entry, **fields: object) -> Record:
    """Sign an entry behind `after` that an honest node would not."""
    body = msgspec.structs.replace(
        after.body,
        seq=after.seq + 1,
        prev=after.id,
        payload_len=0,
        payload_hash=None,
        **fields,
    )
    return Record(sign(key, body))


def oversell(lot: Entry) -> Record:
    return lie(
        LISTER,
        lot,
        type=EntryType.ADJUST,
        refs=(lot.id,),
        facts=(),
        stock=(lot.seq, lot.seq, 0, 1, 99, 0),
    )


def test_overselling_in_a_stored_chain_is_proven_by_its_two_entries() -> None:
    world = World()
    lot = world.offer(LISTER).entry
    assert isinstance(world.store, MemoryStore)
    store_raw(world.store, oversell(lot))
    report = world.audit()
    assert report.exit_code is AuditExit.PROVEN
    (finding,) = report.findings
    assert finding.author == LISTER.public
    assert finding.seqs == (2, 3)


def test_overselling_kept_as_evidence_is_proven(world: World) -> None:
    lot = world.offer(LISTER).entry
    bad = oversell(lot)
    world.store.commit([admit(world.store.view([bad]), [bad], Check.EACH)], durable=False)
    report = world.audit()
    assert report.exit_code is AuditExit.PROVEN
    (finding,) = report.findings
    assert bad.entry.id in finding.entries


def test_a_fork_kept_as_evidence_is_proven(world: World) -> None:
    world.offer(LISTER)
    lot = world.offer(LISTER).entry
    fork = Record(sign(LISTER, msgspec.structs.replace(lot.body, payload_len=0, payload_hash=None)))
    world.store.commit([admit(world.store.view([fork]), [fork], Check.EACH)], durable=False)
    report = world.audit()
    assert report.exit_code is AuditExit.PROVEN
    (finding,) = report.findings
    assert finding.author == LISTER.public
    assert set(finding.entries) == {lot.id, fork.entry.id}


def test_going_back_in_time_kept_as_evidence_is_proven(world: World) -> None:
    lot = world.offer(LISTER).entry
    bad = lie(LISTER, lot, at_ms=lot.at_ms - 1, type=FREE, facts=(), stock=(), refs=())
    world.store.commit([admit(world.store.view([bad]), [bad], Check.EACH)], durable=False)
    report = world.audit()
    assert report.exit_code is AuditExit.PROVEN
    assert world.audit(signatures=True).exit_code is AuditExit.PROVEN


def test_a_stored_proof_that_proves_nothing_is_corrupt_and_accuses_nobody() -> None:
    world = World()
    first, second = world.offer(LISTER).entry, world.offer(LISTER).entry
    for elements in (((first,), (second,)), ((first,), (first,)), ((first,),), ()):
        evidence = Evidence(LISTER.public, 3, Proof.FORK, "two entries at one seq", elements)
        assert isinstance(world.store, MemoryStore)
        world.store._evidence = {LISTER.public: evidence}
        report = world.audit()
        assert report.exit_code is AuditExit.CORRUPT
        assert not texts(report, Severity.PROVEN)


def test_a_breach_of_a_trade_is_proven_against_its_author() -> None:
    world = World()
    lot = world.offer(LISTER)
    trade = world.trade(lot)
    propose, reserve = trade[0].entry, trade[1].entry
    # A second reserve for the same lot and propose.
    world.say(
        LISTER,
        Draft(
            EntryType.RESERVE,
            (propose.id, lot.entry.id),
            reserve.body.facts,
            move=Reserve(lot.entry.seq, 4),
        ),
    )
    report = world.audit()
    assert report.exit_code is AuditExit.PROVEN
    assert {finding.author for finding in report.findings} == {LISTER.public}


def test_terms_that_are_not_those_of_the_hash_are_proven() -> None:
    world = World()
    lot = world.offer(LISTER).entry
    terms = Terms((LotTerms(lot.id, 1, Unit.PIECE, 100, "EUR"),))
    facts = (b"h" * 32, LATER, 1, 0, LATER)
    payload = encode_payload(Propose(terms, SALT))
    world.say(TAKER, Draft(EntryType.PROPOSE, (lot.id,), facts, payload))
    report = world.audit()
    assert report.exit_code is AuditExit.PROVEN
    assert report.findings[0].author == TAKER.public


def test_a_certificate_of_another_device_is_proven() -> None:
    world = World()
    stolen = World.opening(TAKER)
    world.store.commit(
        [
            admit(
                world.store.view([]),
                compose(LISTER, world.store.view([]), [stolen], NOW, lambda size: SALT[:size]),
                Check.RUNS,
            )
        ],
        durable=False,
    )
    assert world.audit().exit_code is AuditExit.PROVEN


def test_damage_before_misbehaviour_before_gaps() -> None:
    world = World()
    lot = world.offer(LISTER).entry
    assert isinstance(world.store, MemoryStore)
    world.store._chains[OTHER.public] = []
    world.say(TAKER, Draft(EntryType.RECEIPT, (b"p" * 32, b"h" * 32), (1, 1)))
    assert world.audit().exit_code is AuditExit.INCOMPLETE
    store_raw(world.store, oversell(lot))
    assert world.audit().exit_code is AuditExit.PROVEN
    held = world.store.record_at(TAKER.public, 1)
    assert held is not None
    replace(world.store, TAKER, 1, Record(held.entry, SALT, b"\x80"))
    assert world.audit().exit_code is AuditExit.CORRUPT


def test_findings_are_bounded_and_still_counted() -> None:
    world = World()
    world.say(LISTER, *[Draft(FREE, payload=b"\x80")] * (FINDINGS_MAX + 50))
    assert isinstance(world.store, MemoryStore)
    for seq in range(2, FINDINGS_MAX + 52):
        held = world.store.record_at(LISTER.public, seq)
        assert held is not None
        replace(world.store, LISTER, seq, Record(held.entry, SALT, b"\x81"))
    report = world.audit()
    assert len(report.findings) == FINDINGS_MAX
    assert report.unlisted == 50


# --- scopes ----------------------------------------------------------------------------


def two_people_and_a_liar() -> tuple[World, list[Record]]:
    world = World()
    entries = whole_trade(world)
    stranger = world.offer(OTHER).entry
    assert isinstance(world.store, MemoryStore)
    bad = msgspec.structs.replace(
        stranger.body,
        seq=3,
        prev=stranger.id,
        type=EntryType.ADJUST,
        refs=(stranger.id,),
        facts=(),
        stock=(2, 2, 0, 1, 99, 0),
        payload_len=0,
        payload_hash=None,
    )
    store_raw(world.store, Record(sign(OTHER, bad)))
    return world, entries


def test_a_scope_looks_at_what_it_names_and_no_further() -> None:
    world, (offer, propose, *_) = two_people_and_a_liar()
    source: AuditSource = world.store
    assert audit(source, LATER).exit_code is AuditExit.PROVEN
    assert audit(source, LATER, AuthorScope(OTHER.public)).exit_code is AuditExit.PROVEN
    clean = audit(source, LATER, AuthorScope(LISTER.public))
    assert (clean.exit_code, clean.chains, clean.trades) == (AuditExit.CLEAN, 1, 0)
    lot = audit(source, LATER, LotScope(offer.entry.id))
    assert (lot.exit_code, lot.chains) == (AuditExit.CLEAN, 1)
    trade = audit(source, LATER, TradeScope(propose.entry.id))
    assert (trade.exit_code, trade.chains, trade.trades) == (AuditExit.CLEAN, 2, 1)


@pytest.mark.parametrize(
    "scope", [AuthorScope(b"a" * 32), LotScope(b"l" * 32), TradeScope(b"t" * 32)], ids=repr
)
def test_what_is_not_held_is_incomplete(scope: AuthorScope | LotScope | TradeScope) -> None:
    report = audit(World().store, LATER, scope)
    assert report.exit_code is AuditExit.INCOMPLETE


def test_a_ledger_of_a_hundred_thousand_entries_is_read_run_by_run() -> None:
    """The signatures inside the runs are garbage: what links to a valid one is authentic."""
    count = 100_000
    chain: list[Record] = []
    prev = None
    for seq in range(1, count + 1):
        kind, facts = (1, (b"c" * 32,)) if seq == 1 else (FREE, ())
        body = Body(LISTER.public, seq, prev, NOW, kind, facts=facts)
        signed = b"\x00PB1" + msgspec.msgpack.encode(body)
        ends = seq % 256 == 0 or seq == count
        signature = LISTER.sign(signed) if ends else bytes(64)
        record = Record(Entry(signature + signed, entry_id(signed), body))
        chain.append(record)
        prev = record.entry.id
    store = MemoryStore()
    store._chains[LISTER.public] = chain
    store._checked[LISTER.public] = {*range(256, count, 256), count}
    report = audit(store, LATER)
    assert report.findings == []
    assert report.verified == count
    assert report.signatures == -(-count // 256)
