"""Trades as this node holds them: the fold of a trade, its offers and its terms."""

from __future__ import annotations

from passby.node.chains import Chains
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError, RemoteError
from passby.protocol.payloads import Offer, Propose, Terms, decode_payload
from passby.protocol.terms import terms_hash
from passby.protocol.trade import Leg, Trade, fold
from passby.protocol.types import EntryType


def fold_of(chains: Chains, trade_id: bytes, now_ms: int) -> Trade:
    """Return the fold of a trade from what is held.

    Raises:
        RefusedError: no propose with this id is held.
    """
    records = chains.reader.trade(trade_id)
    propose = next((r.entry for r in records if r.entry.id == trade_id), None)
    if propose is None or propose.body.type != EntryType.PROPOSE:
        raise RefusedError("No trade with this id is known.", "`passby trade list` shows yours.")
    entries = [record.entry for record in records]
    for lot in propose.body.refs:
        offer = chains.reader.record(lot)
        if offer is not None:
            entries.append(offer.entry)
    return fold(propose, entries, now_ms)


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
