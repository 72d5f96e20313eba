"""Collect from a store what a bundle about an entry, a lot, a trade or a liar holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import assert_never

from passby.ledger.bundle import About, Bundle
from passby.ledger.proof import NO_SIGNATURE, Element, Proof
from passby.ledger.prove import prove_evidence, prove_fault
from passby.ledger.store import Reader
from passby.ledger.tree import block_of
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import DamagedError, RefusedError
from passby.protocol.keys import SIGNATURE_BYTES
from passby.protocol.limits import BUNDLE_PROOFS_MAX, BUNDLE_TRADES_MAX, CREDIT_MAX
from passby.protocol.stock import carries_stock
from passby.protocol.trade import fold
from passby.protocol.types import EntryType


def gather(reader: Reader, about: About, subject: bytes) -> Bundle:
    """Collect what `reader` holds of the subject.

    With each chain's entries goes its genesis, with each chain that is proven false its proof.

    Raises:
        LocalError: the subject is not held, there is nothing to prove, or the store is damaged.
    """
    wanted: dict[bytes, set[int]] = {}
    proofs: list[Proof] = []
    match about:
        case About.ENTRY:
            _want(wanted, _held(reader, subject))
        case About.LOT:
            for entry in _lot_entries(reader, subject):
                _want(wanted, entry)
        case About.TRADE:
            for entry in _trade_entries(reader, subject):
                _want(wanted, entry)
        case About.AUTHOR:
            wanted[subject] = set()
            proofs = _breaches(reader, subject)
        case _:
            assert_never(about)
    # A fork that its root has healed is held against nobody.
    for author in sorted(wanted.keys() & reader.frozen().keys()):
        proofs += [
            proof for proof in map(prove_evidence, reader.evidence(author)) if proof is not None
        ]
    if about is About.AUTHOR and not proofs:
        raise RefusedError("Nothing is proven against this author.", "passby audit looks for more.")
    runs = [run for author in sorted(wanted) for run in _runs(reader, author, wanted[author])]
    return Bundle(about, subject, tuple(runs), tuple(proofs[:BUNDLE_PROOFS_MAX]))


def _want(wanted: dict[bytes, set[int]], entry: Entry) -> None:
    wanted.setdefault(entry.author, set()).add(entry.seq)


def _held(reader: Reader, entry_id: bytes) -> Entry:
    record = reader.record(entry_id)
    if record is None:
        raise RefusedError(f"No entry {entry_id.hex()[:8]} is held here.", "Check the id.")
    return record.entry


def _lot_entries(reader: Reader, offer_id: bytes) -> Iterator[Entry]:
    """Yield the lot's entries from the last to the offer, each naming the one before it."""
    offer, lot = _held(reader, offer_id), reader.lot(offer_id)
    if lot is None:
        raise RefusedError(f"{offer_id.hex()[:8]} is no lot.", "Give the id of an offer.")
    at = lot.last_seq
    while at > offer.seq:
        record = reader.record_at(offer.author, at)
        if record is None and block_of(at) in reader.pruned(offer.author).blocks:
            raise RefusedError(
                "Some of the lot's entries were pruned here.", "Their author holds them all."
            )
        if record is None or not carries_stock(record.entry) or record.entry.body.stock[1] >= at:
            raise DamagedError(
                "The lot's entries are not all there.", "passby doctor shows what is wrong."
            )
        yield record.entry
        at = record.entry.body.stock[1]
    yield offer


def _trade_entries(reader: Reader, propose_id: bytes) -> Iterator[Entry]:
    propose = _held(reader, propose_id)
    if propose.body.type != EntryType.PROPOSE:
        raise RefusedError(f"{propose_id.hex()[:8]} is no trade.", "Give the id of a propose.")
    entries = [record.entry for record in reader.trade(propose_id)]
    yield propose
    yield from entries
    ids = {entry.id for entry in entries}
    for lot in propose.body.refs:
        record = reader.record(lot)
        if record is None:
            continue
        yield record.entry
        pruned = reader.pruned(record.entry.author).lots
        if record.entry.seq not in pruned and reader.lot(lot) is not None:
            # Goods put back, and disputes answered, stand in adjusts that name what they answer.
            for entry in _lot_entries(reader, lot):
                if entry.body.type == EntryType.ADJUST and ids & set(entry.body.refs[1:]):
                    yield entry


def _breaches(reader: Reader, author: bytes) -> list[Proof]:
    """Return proofs of what the author broke in trades, the newest of them first."""
    found: list[Proof] = []

    def element(entry: Entry) -> Element:
        run = reader.run(entry.author, entry.seq, entry.seq, CREDIT_MAX)
        return tuple(record.entry for record in run) or (entry,)

    for propose_id in reader.trades(0)[:BUNDLE_TRADES_MAX]:
        known = {record.entry.id: record.entry for record in reader.trade(propose_id)}
        propose = known.get(propose_id)
        if propose is None or author not in {entry.author for entry in known.values()}:
            continue
        offers = (reader.record(lot) for lot in propose.body.refs)
        known |= {offer.entry.id: offer.entry for offer in offers if offer is not None}
        for fault in fold(propose, known.values(), 0).faults:
            if fault.accused == author:
                proof = prove_fault(fault, propose, known.values(), element)
                found += [proof] if proof is not None else []
        if len(found) >= BUNDLE_PROOFS_MAX:
            break
    return found


def _runs(reader: Reader, author: bytes, seqs: set[int]) -> Iterator[tuple[Record, ...]]:
    if reader.record_at(author, 1) is not None:
        seqs.add(1)
    covered = 0
    for _, group in groupby(enumerate(sorted(seqs)), lambda at: at[1] - at[0]):
        places = [seq for _, seq in group]
        first, last = max(places[0], covered + 1), places[-1]
        while first <= last:
            run = reader.run(author, first, last, CREDIT_MAX)
            if not run:
                raise DamagedError(
                    "An entry is not held with what vouches for it.",
                    "passby doctor shows what is wrong.",
                )
            yield _stripped(run)
            covered = run[-1].entry.seq
            first = covered + 1


def _stripped(run: Sequence[Record]) -> tuple[Record, ...]:
    """Return the records with no signature but the last one's, as the file has them."""
    inner = (
        Record(
            Entry(
                NO_SIGNATURE + record.entry.raw[SIGNATURE_BYTES:],
                record.entry.id,
                record.entry.body,
            ),
            record.salt,
            record.payload,
        )
        for record in run[:-1]
    )
    return (*inner, run[-1])
