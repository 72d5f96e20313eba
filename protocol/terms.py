"""Terms: what a propose asks for and costs, fixed at its own time and committed to by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from passby.protocol.codec import encode
from passby.protocol.payloads import LotTerms, Offer, Terms, to_value


def terms_hash(salt: bytes, terms: Terms) -> bytes:
    """Return SHA-256(0x03 ‖ salt16 ‖ terms), the terms in canonical form."""
    return hashlib.sha256(b"\x03" + salt + encode(to_value(terms))).digest()


def terms_of(offers: Iterable[tuple[bytes, Offer, int]], at_ms: int, text: str | None) -> Terms:
    """Return the terms for (lot id, offer, amount) at the propose's time."""
    return Terms(
        tuple(
            LotTerms(
                lot,
                amount,
                offer.unit,
                offer.price.total_minor(amount, at_ms),
                offer.price.currency,
            )
            for lot, offer, amount in offers
        ),
        text,
    )


def at_quoted(terms: Terms, quoted: Mapping[bytes, int]) -> Terms:
    """Return `terms` with the totals that were quoted, in minor units, for these lots."""
    lots = (
        msgspec.structs.replace(lot, total_minor=quoted.get(lot.lot, lot.total_minor))
        for lot in terms.lots
    )
    return Terms(tuple(lots), terms.text)
