"""Shares: how much of a lot one person may have, in all and in a day."""

from __future__ import annotations

from collections.abc import Iterator

from passby.ledger.standing import certificate_in
from passby.node.chains import Chains
from passby.node.quantities import Amount, show_amount
from passby.node.trades import fold_of, offer_of
from passby.protocol.errors import RefusedError
from passby.protocol.trade import Leg, Trade

_DAY_MS = 24 * 3_600_000


def check_shares(chains: Chains, trade: Trade, now_ms: int) -> None:
    """Refuse a trade that gives its taker more of an own lot than the offer gives one person.

    What was set aside and let go again counts for nothing. Devices that show one root are one
    person; keys are free, so this holds honest people apart and not whoever makes up keys.

    Raises:
        RefusedError: with this the person would have more than its share.
    """
    for leg in trade.legs:
        record = chains.reader.record(leg.lot) if leg.lister == chains.author else None
        if record is None:
            continue
        offer = offer_of(record)
        if offer.per_person is None and offer.per_day is None:
            continue
        had = list(_had(chains, trade, leg, now_ms))
        for most, since_ms, words in (
            (offer.per_person, 0, "to one person"),
            (offer.per_day, now_ms - _DAY_MS, "to one person in a day"),
        ):
            taken = leg.amount + sum(amount for at_ms, amount in had if at_ms >= since_ms)
            if most is not None and taken > most:
                raise RefusedError(
                    f"At most {show_amount(Amount(most, offer.unit))} of this goes {words}; with"
                    f" this it would be {show_amount(Amount(taken, offer.unit))}.",
                    "Decline with `passby cancel`; others may still take it.",
                )


def _had(chains: Chains, trade: Trade, leg: Leg, now_ms: int) -> Iterator[tuple[int, int]]:
    """Yield when and how much of a lot was set aside for the taker's person before, and kept."""
    person = _person(chains, trade.taker)
    since_ms = leg.offer.at_ms if leg.offer else 0
    for trade_id in chains.reader.trades(since_ms):
        record = chains.reader.record(trade_id)
        if record is None or trade_id == trade.id or leg.lot not in record.entry.body.refs:
            continue
        if _person(chains, record.entry.author) != person:
            continue
        for other in fold_of(chains, trade_id, now_ms).legs:
            if other.lot == leg.lot and other.reserves and (other.handovers or not other.releases):
                yield other.reserves[0].at_ms, other.amount


def _person(chains: Chains, author: bytes) -> bytes:
    certificate = certificate_in(chains.reader.record_at(author, 1))
    return author if certificate is None else certificate.root
