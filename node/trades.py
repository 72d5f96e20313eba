"""Trades as this node holds them: the fold of a trade, its offers and its terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from passby.ledger.standing import stands_among
from passby.node.chains import Chains
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import RefusedError, RemoteError
from passby.protocol.legs import causes
from passby.protocol.limits import ABOVE_SEAL_MAX, LOT_ENTRIES_BEHIND_MAX, TRADE_STEPS_MAX
from passby.protocol.payloads import Offer, Propose, Terms, decode_payload
from passby.protocol.terms import terms_hash
from passby.protocol.trade import Leg, Trade, fold
from passby.protocol.types import TRADE_TYPES, EntryType, Receipted

_ENDING: Final = frozenset({EntryType.RELEASE, EntryType.CANCEL})


def fold_of(chains: Chains, trade_id: bytes, now_ms: int) -> Trade:
    """Return the fold of a trade from what is held; what strangers say about it is not read.

    Raises:
        RefusedError: no propose with this id is held.
    """
    propose, offers = _opening(chains, trade_id)
    known = {entry.id: entry for entry in (propose, *offers)}
    for party in _authors(propose, offers):
        for record in chains.reader.steps(trade_id, party, TRADE_STEPS_MAX):
            known[record.entry.id] = record.entry
    for offer in offers:
        for adjust in _adjusts(chains, offer, known):
            known[adjust.id] = adjust
    # What a party names as its cause may be anybody's.
    ending = [entry for entry in known.values() if entry.body.type in _ENDING]
    for cause in {cause for entry in ending for cause in causes(entry)} - known.keys():
        found = chains.reader.record(cause)
        if found is not None:
            known[cause] = found.entry
    sealed_away = _sealed_away(chains, known.values()) - {trade_id}
    return fold(propose, [one for one in known.values() if one.id not in sealed_away], now_ms)


def _sealed_away(chains: Chains, entries: Iterable[Entry]) -> set[bytes]:
    """Return those that came before the seal of their chain below them, and bind nobody.

    Where another person has relied on one step above the seal, those behind it in the trade stay
    too: who held a commit must not lose it to a seal.
    """
    reader = chains.reader
    above: dict[bytes, list[Entry]] = {}
    for entry in entries:
        sealed_at = chains.sealed.get(entry.author)
        if sealed_at is not None and entry.seq > sealed_at and entry.body.type in TRADE_TYPES:
            above.setdefault(entry.author, []).append(entry)
    gone: set[bytes] = set()
    for author, found in above.items():
        if any(stands_among(entry, reader.trade, reader.person_of) for entry in found):
            continue
        lowest = min(entry.seq for entry in found)
        obliged_to = _obliged_to(chains, author, lowest)
        gone.update(entry.id for entry in found if entry.seq > obliged_to)
    return gone


def _obliged_to(chains: Chains, author: bytes, lowest: int) -> int:
    """Return up to which seq, from `lowest` on, the author is held to what it said.

    An entry that binds it to somebody else stands with all before it in the chain. Where too much
    was said above the seal to look at, all of it stands.
    """
    reader, head_seq = chains.reader, chains.head_seq(author)
    if head_seq - lowest >= ABOVE_SEAL_MAX:
        return head_seq
    for seq in range(head_seq, lowest - 1, -1):
        held = reader.record_at(author, seq)
        if held is not None and stands_among(held.entry, reader.trade, reader.person_of):
            return seq
    return 0


def _adjusts(chains: Chains, offer: Entry, known: dict[bytes, Entry]) -> Iterator[Entry]:
    """Return adjusts of a lot that may answer a return or a complaint, newest first.

    They name neither the trade nor each other: the lot's own links lead back to them.
    """
    mine = [entry for entry in known.values() if entry.author == offer.author]
    reserves = [e.seq for e in mine if e.body.type == EntryType.RESERVE and offer.id in e.body.refs]
    stock = chains.reader.lot(offer.id)
    if stock is None or not reserves or not any(map(_asks_for_answer, known.values())):
        return
    seq = stock.last_seq
    for _ in range(LOT_ENTRIES_BEHIND_MAX):
        record = chains.reader.record_at(offer.author, seq) if seq > min(reserves) else None
        if record is None or not record.entry.body.stock:
            return
        if record.entry.body.type == EntryType.ADJUST and len(record.entry.body.refs) > 1:
            yield record.entry
        seq = record.entry.body.stock[1]


def _asks_for_answer(entry: Entry) -> bool:
    """Tell whether an adjust may answer this: a return, or any receipt of goods."""
    if entry.body.type == EntryType.HANDOVER:
        return not entry.body.stock
    return entry.body.type == EntryType.RECEIPT and entry.body.facts[0] == Receipted.GOODS


def parties_of(chains: Chains, trade_id: bytes) -> set[bytes]:
    """Return the keys of a trade's parties, as far as their offers are held; cheaper than a fold.

    Raises:
        RefusedError: no propose with this id is held.
    """
    return _authors(*_opening(chains, trade_id))


def _opening(chains: Chains, trade_id: bytes) -> tuple[Entry, list[Entry]]:
    """Return a trade's propose and the offers that it names, where they are held."""
    record = chains.reader.record(trade_id)
    if record is None or record.entry.body.type != EntryType.PROPOSE:
        raise RefusedError("No trade with this id is known.", "`passby trade list` shows yours.")
    named = (chains.reader.record(lot) for lot in record.entry.body.refs)
    offers = [
        lot.entry for lot in named if lot is not None and lot.entry.body.type == EntryType.OFFER
    ]
    return record.entry, offers


def _authors(propose: Entry, offers: list[Entry]) -> set[bytes]:
    return {propose.author, *(offer.author for offer in offers)}


def offer_of(record: Record) -> Offer:
    """Return the offer that a record carries.

    Raises:
        RefusedError: it is no offer, or its payload is not held or cannot be read.
    """
    if record.entry.body.type != EntryType.OFFER:
        raise RefusedError("This is not an offer.", "`passby book` lists offers.")
    if record.payload is None:
        raise RefusedError("What this offer says is not held here (erased, or not arrived).")
    try:
        return decode_payload(record.payload, Offer)
    except RemoteError as error:
        raise RefusedError(f"What this offer says cannot be read: {error.detail}.") from None


def is_lent(chains: Chains, leg: Leg) -> bool:
    """Tell whether a leg's goods are to come back, as far as its offer can be read."""
    record = chains.reader.record(leg.lot)
    try:
        return record is not None and offer_of(record).lent_s is not None
    except RefusedError:
        return False


def terms_in(chains: Chains, trade: Trade) -> Terms | None:
    """Return a trade's terms where they are held and are those its propose commits to."""
    record = chains.reader.record(trade.id)
    if record is None or record.payload is None:
        return None
    try:
        payload = decode_payload(record.payload, Propose)
    except RemoteError:
        return None
    if terms_hash(payload.terms_salt, payload.terms) != trade.propose.body.facts[0]:
        return None
    return payload.terms


def owed_minor(chains: Chains, trade: Trade, leg: Leg) -> int:
    """Return what the terms say this leg costs; 0 where they cannot be read."""
    terms = terms_in(chains, trade)
    if terms is None or len(terms.lots) < leg.number:
        return 0
    return terms.lots[leg.number - 1].total_minor
