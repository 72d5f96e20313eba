"""A bundle proves, with nothing but itself, what one store holds; no bit of it can be changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.ledger.authors import Author, replace_stock
from tests.ledger.people import Person
from tests.protocol.chains import CONFIRM_BY, T0, Deal, Party

from passby.ledger.bundle import (
    About,
    Bundle,
    Checked,
    check_bundle,
    decode_bundle,
    encode_bundle,
)
from passby.ledger.findings import AuditExit, Severity
from passby.ledger.gather import gather
from passby.ledger.ingest import Check, admit
from passby.ledger.proof import ProofKind
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import HASH_BYTES, Record
from passby.protocol.errors import DamagedError, RefusedError, RemoteError
from passby.protocol.trade import State

Store = MemoryStore | SqliteStore


def bring(store: Store, records: list[Record], check: Check = Check.EACH) -> None:
    store.commit([admit(store.view(records), records, check)], durable=False)


def held(*parties: Party | Author, store: Store | None = None) -> Store:
    """Return a store that was brought each party's chain."""
    store = store or MemoryStore()
    for party in parties:
        chain = [Record(e) for e in party.chain] if isinstance(party, Party) else party.records
        bring(store, chain)
    return store


def made(store: Store, about: About, subject: bytes) -> bytes:
    return encode_bundle(gather(store, about, subject))


def checked(store: Store, about: About, subject: bytes) -> Checked:
    """Go by way of the file."""
    data = made(store, about, subject)
    bundle = decode_bundle(data)
    assert encode_bundle(bundle) == data
    assert (bundle.about, bundle.subject) == (about, subject)
    return check_bundle(data, T0)


def shop() -> tuple[Author, Record]:
    """A lot with moves among other entries."""
    anna = Author("anna")
    anna.genesis()
    anna.note()
    lot = anna.offer(10)
    reserve = anna.reserve(lot, 4)
    anna.note()
    anna.adjust(lot, 3)
    anna.release(lot, reserve)
    anna.note()
    return anna, lot


def deal() -> Deal:
    return Deal.between(Party("ben"), [Party("anna")]).agree()


def parties(of: Deal) -> list[Party]:
    return [of.taker, *of.listers]


# --- what they show ----------------------------------------------------------------------


@pytest.mark.parametrize("sqlite", [False, True], ids=["memory", "sqlite"])
def test_a_lot_is_shown_from_its_offer_to_its_last_entry(tmp_path: Path, sqlite: bool) -> None:
    anna, lot = shop()
    store = held(anna, store=SqliteStore.open(tmp_path / "db") if sqlite else None)
    try:
        shown = checked(store, About.LOT, lot.entry.id)
        assert shown.lots == (store.lot(lot.entry.id),)
    finally:
        store.close()
    assert shown.report.exit_code is AuditExit.CLEAN
    seqs = [record.entry.seq for run in shown.bundle.runs for record in run]
    assert seqs == [1, 3, 4, 6, 7]


def test_an_entry_brings_its_payload_and_its_genesis() -> None:
    anna, _ = shop()
    shown = checked(held(anna), About.ENTRY, anna.records[4].entry.id)
    records = [record for run in shown.bundle.runs for record in run]
    assert [record.entry.seq for record in records] == [1, 5]
    assert records[1].payload == b"\x80"
    assert shown.report.erased == 0


def test_an_erased_payload_is_counted_and_leaves_nothing_unproven() -> None:
    anna, _ = shop()
    store = held(anna)
    assert store.erase_payload(anna.records[4].entry.id)
    shown = checked(store, About.ENTRY, anna.records[4].entry.id)
    assert shown.report.erased == 1
    assert shown.report.exit_code is AuditExit.CLEAN


def test_an_entry_inside_a_run_brings_the_run_that_vouches_for_it() -> None:
    anna, _ = shop()
    store = MemoryStore()
    bring(store, anna.records, Check.RUNS)
    shown = checked(store, About.ENTRY, anna.records[4].entry.id)
    assert [[record.entry.seq for record in run] for run in shown.bundle.runs] == [
        list(range(1, 9))
    ]
    assert shown.report.signatures == 1


def test_a_trade_is_shown_with_its_offers_and_its_state() -> None:
    agreed = deal()
    shown = checked(held(*parties(agreed)), About.TRADE, agreed.propose.id)
    assert shown.state is State.CONFIRMED
    assert shown.report.exit_code is AuditExit.CLEAN
    assert shown.report.trades == 1
    ids = {record.entry.id for run in shown.bundle.runs for record in run}
    assert ids >= {entry.id for entry in agreed.entries}


def test_a_trade_whose_offer_is_not_held_is_incomplete() -> None:
    agreed = deal()
    shown = checked(held(agreed.taker), About.TRADE, agreed.propose.id)
    assert shown.report.exit_code is AuditExit.INCOMPLETE
    assert shown.report.missing == 1


def test_a_breach_of_a_trade_is_shown_with_it() -> None:
    broken = deal()
    broken.release(1)
    store = held(*parties(broken))
    shown = checked(store, About.TRADE, broken.propose.id)
    assert shown.report.exit_code is AuditExit.PROVEN
    assert [finding.text for finding in shown.report.findings] == ["released after commit"]


def test_a_goods_return_brings_the_adjust_that_puts_it_back() -> None:
    back = deal()
    back.handover(1)
    returned = back.give_back(1)
    back.adjust(1, 473, returned.id)
    shown = checked(held(*parties(back)), About.TRADE, back.propose.id)
    assert shown.state is State.RETURNED
    ids = {record.entry.id for run in shown.bundle.runs for record in run}
    assert back.entries[-1].id in ids


def test_a_liar_is_shown_with_every_proof_there_is() -> None:
    broken = deal()
    broken.release(1)
    anna = broken.listers[0]
    fork = Party("anna")
    store = held(*parties(broken))
    bring(store, [Record(fork.chain[0]), Record(fork.write(200))])
    shown = checked(store, About.AUTHOR, anna.public)
    assert {(at.author, at.kind) for at in shown.proven} == {
        (anna.public, ProofKind.FORK),
        (anna.public, ProofKind.TRADE),
    }
    assert shown.report.exit_code is AuditExit.PROVEN


def test_an_oversold_lot_brings_the_proof_against_its_author() -> None:
    anna, lot = shop()
    anna.adjust(lot, 1)
    replace_stock(anna, -1, remaining=99)
    shown = checked(held(anna), About.LOT, lot.entry.id)
    assert [at.kind for at in shown.proven] == [ProofKind.STOCK]
    assert shown.report.exit_code is AuditExit.PROVEN


def test_nothing_is_made_of_what_is_not_there() -> None:
    anna, lot = shop()
    store = held(anna)
    cases = [
        (About.AUTHOR, anna.public),
        (About.ENTRY, bytes(32)),
        (About.LOT, anna.records[0].entry.id),
        (About.TRADE, lot.entry.id),
    ]
    for about, subject in cases:
        with pytest.raises(RefusedError):
            gather(store, about, subject)


def test_a_store_with_holes_makes_no_bundle() -> None:
    anna, lot = shop()
    store = held(anna)

    class Holed:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def record_at(self, author: bytes, seq: int) -> Record | None:
            return None if seq == 6 else store.record_at(author, seq)

    with pytest.raises(DamagedError):
        gather(Holed(), About.LOT, lot.entry.id)  # type: ignore[arg-type]  # a reader by delegation


# --- what is refused ---------------------------------------------------------------------


def sealed(content: bytes) -> bytes:
    """Return a file whose hash at the end is right, as a forger would make it."""
    return content + hashlib.sha256(content).digest()


def samples() -> dict[str, bytes]:
    """Small bundles: a lot over a run with garbage signatures, a trade, a liar."""
    anna = Author("anna")
    anna.genesis()
    lot = anna.offer(10)
    anna.note()
    runs = MemoryStore()
    bring(runs, anna.records, Check.RUNS)
    anna, other = (Author("anna") for _ in range(2))
    for author in (anna, other):
        author.genesis()
    anna.note()
    other.note(None)
    liar = held(anna, other)
    broken = deal()
    broken.release(1)
    store = held(*parties(broken))
    return {
        "lot": made(runs, About.LOT, lot.entry.id),
        "fork": made(liar, About.AUTHOR, anna.public),
        "breach of a trade": made(store, About.AUTHOR, broken.listers[0].public),
    }


SAMPLES = samples()


@pytest.mark.parametrize("name", list(SAMPLES))
def test_every_flipped_bit_of_a_file_is_refused(name: str) -> None:
    data = SAMPLES[name]
    check_bundle(data, T0)
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            with pytest.raises(RemoteError):
                check_bundle(bytes(changed), T0)


@pytest.mark.parametrize("name", list(SAMPLES))
def test_every_flipped_bit_is_refused_even_where_the_hash_is_made_again(name: str) -> None:
    data = SAMPLES[name][:-HASH_BYTES]
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            try:
                shown = check_bundle(sealed(bytes(changed)), T0)
            except RemoteError:
                continue
            # Which question a bundle answers is the asker's; what it holds stands.
            assert at == len(b"passby bundle 1\n")
            assert msgspec.structs.replace(
                shown.bundle, about=decode_bundle(SAMPLES[name]).about
            ) == decode_bundle(SAMPLES[name])


@pytest.mark.parametrize("name", list(SAMPLES))
def test_a_file_cut_short_or_with_bytes_behind_it_is_refused(name: str) -> None:
    data = SAMPLES[name]
    content = data[:-HASH_BYTES]
    for end in range(len(data)):
        with pytest.raises(RemoteError):
            check_bundle(data[:end], T0)
    for end in range(len(content)):
        with pytest.raises(RemoteError):
            check_bundle(sealed(content[:end]), T0)
    for more in (b"\x00", b"\x01", content):
        with pytest.raises(RemoteError):
            check_bundle(data + more, T0)
        with pytest.raises(RemoteError):
            check_bundle(sealed(content + more), T0)


def swapped(bundle: Bundle) -> Bundle:
    return msgspec.structs.replace(bundle, runs=tuple(reversed(bundle.runs)))


def twice(bundle: Bundle) -> Bundle:
    return msgspec.structs.replace(bundle, runs=bundle.runs + bundle.runs[-1:])


def shuffled(bundle: Bundle) -> Bundle:
    run = max(bundle.runs, key=len)
    runs = tuple(tuple(reversed(run)) if at is run else at for at in bundle.runs)
    return msgspec.structs.replace(bundle, runs=runs)


def hollow(bundle: Bundle) -> Bundle:
    run = max(bundle.runs, key=len)
    runs = tuple((run[0], *run[2:]) if at is run else at for at in bundle.runs)
    return msgspec.structs.replace(bundle, runs=runs)


def shortened(bundle: Bundle) -> Bundle:
    run = max(bundle.runs, key=len)
    runs = tuple(run[:-1] if at is run else at for at in bundle.runs)
    return msgspec.structs.replace(bundle, runs=runs)


def about_another(bundle: Bundle) -> Bundle:
    return msgspec.structs.replace(bundle, subject=bytes(32))


@pytest.mark.parametrize("change", [swapped, twice, shuffled, hollow, shortened, about_another])
def test_entries_in_another_order_or_left_out_are_refused(
    change: Callable[[Bundle], Bundle],
) -> None:
    agreed = deal()
    store = MemoryStore()
    for party in parties(agreed):
        bring(store, [Record(entry) for entry in party.chain], Check.RUNS)
    bundle = gather(store, About.TRADE, agreed.propose.id)
    assert len(bundle.runs) > 1
    check_bundle(encode_bundle(bundle), T0)
    with pytest.raises(RemoteError):
        check_bundle(encode_bundle(change(bundle)), T0)


def test_a_whole_run_left_out_shows_less_and_nothing_false() -> None:
    anna, lot = shop()
    bundle = gather(held(anna), About.LOT, lot.entry.id)
    for at in range(len(bundle.runs)):
        less = msgspec.structs.replace(bundle, runs=bundle.runs[:at] + bundle.runs[at + 1 :])
        try:
            shown = check_bundle(encode_bundle(less), T0)
        except RemoteError:
            continue
        severities = {finding.severity for finding in shown.report.findings}
        assert severities <= {Severity.INCOMPLETE}


def test_two_branches_of_a_chain_are_no_bundle() -> None:
    anna, _ = shop()
    other = anna.fork(5)
    other.note(b"\x81\xa1a\x01")
    bundles = [
        gather(held(author), About.ENTRY, author.records[at].entry.id)
        for author, at in ((anna, 3), (other, 4))
    ]
    one, two = bundles
    mixed = msgspec.structs.replace(two, runs=one.runs + two.runs[1:])
    check_bundle(encode_bundle(mixed), T0)
    later = gather(held(anna), About.ENTRY, anna.records[5].entry.id)
    mixed = msgspec.structs.replace(two, runs=two.runs + later.runs[1:])
    with pytest.raises(RemoteError):
        check_bundle(encode_bundle(mixed), T0)


def test_a_trades_state_moves_with_the_clock_and_its_faults_do_not() -> None:
    broken = deal()
    broken.cancel(broken.commits[1].id, at_ms=CONFIRM_BY + 1)
    data = made(held(*parties(broken)), About.TRADE, broken.propose.id)
    early, late = check_bundle(data, T0), check_bundle(data, T0 * 2)
    assert early.report.findings == late.report.findings
    assert early.report.exit_code is AuditExit.PROVEN


def test_a_healed_fork_is_in_no_bundle() -> None:
    person = Person("ada")
    phone = person.device("phone")
    kept = phone.note()
    other = phone.fork(2)
    other.say(201)
    store = MemoryStore()
    for records in (phone.records, other.records[1:]):
        store.commit([admit(store.view(records), records, Check.EACH)], durable=False)
    assert gather(store, About.AUTHOR, phone.public).proofs
    assert gather(store, About.ENTRY, kept.entry.id).proofs
    store.add_statement(person.heal(kept))
    assert not gather(store, About.ENTRY, kept.entry.id).proofs
    with pytest.raises(RefusedError, match="Nothing is proven"):
        gather(store, About.AUTHOR, phone.public)
