"""A lot as the book knows it: what matching asks of an offer or a request, and no more.

Names, texts and ways of paying stay with whoever stores the entries; they are fetched by id
for the few lots that are shown.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from passby.geo.categories import peer_category
from passby.geo.cells import peer_cell
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import AMOUNT_MAX
from passby.protocol.payloads import Condition, Offer, Request, Window
from passby.protocol.price import Price
from passby.protocol.units import Unit

GTIN_DIGITS: Final = 14


class Side(IntEnum):
    """Which of the two a lot is."""

    OFFER = 0
    REQUEST = 1


class BookLot(msgspec.Struct, frozen=True, kw_only=True):
    """An open offer or request.

    Attributes:
        id: of the entry that opened it; author: the key of its chain; both 32 bytes.
        at_ms: when the entry says it was written.
        until_ms: the last moment it is open, as the entry's facts say.
        remaining: base units left to give, or still wanted.
        minimum, step: a trade takes `minimum` plus a whole number of `step`s.
        price: asked for by an offer, the most paid by a request.
        gtin: padded to 14 digits, so that one product's shorter forms are equal.
        brand: case-folded.
        best_before_ms: of an offer's goods; margin_s: how long a request wants to use them.
        needed_until_ms: the last moment at which a hand-over serves a request.
    """

    side: Side
    id: bytes
    author: bytes
    at_ms: int
    until_ms: int
    category: str
    unit: Unit
    remaining: int
    price: Price
    cell: int
    minimum: int = 1
    step: int = 1
    gtin: str | None = None
    brand: str | None = None
    condition: Condition | None = None
    window: Window | None = None
    radius_m: int | None = None
    best_before_ms: int | None = None
    needed_until_ms: int | None = None
    margin_s: int = 0


def gtin14(gtin: str) -> str:
    """Return `gtin` (8, 12, 13 or 14 digits) padded to fourteen."""
    return gtin.zfill(GTIN_DIGITS)


def offered(
    lot_id: bytes, author: bytes, at_ms: int, until_ms: int, remaining: int, offer: Offer
) -> BookLot:
    """Return the lot of a peer's `offer`; id, times and what remains come from its entries.

    Raises:
        RemoteError: a place or a category that no honest node writes.
    """
    _check(at_ms, until_ms, remaining)
    if offer.carriage is not None:
        peer_cell(offer.carriage.to)
    return BookLot(
        side=Side.OFFER,
        id=lot_id,
        author=author,
        at_ms=at_ms,
        until_ms=until_ms,
        category=peer_category(offer.category),
        unit=offer.unit,
        remaining=remaining,
        price=offer.price,
        cell=peer_cell(offer.cell),
        minimum=offer.minimum,
        step=offer.step,
        gtin=None if offer.gtin is None else gtin14(offer.gtin),
        brand=None if offer.brand is None else offer.brand.casefold(),
        condition=offer.condition,
        window=offer.window,
        radius_m=offer.radius_m,
        best_before_ms=offer.best_before_ms,
    )


def wanted(
    lot_id: bytes, author: bytes, at_ms: int, until_ms: int, remaining: int, request: Request
) -> BookLot:
    """Return the lot of a peer's `request`, of which `remaining` is still wanted.

    Raises:
        RemoteError: a place or a category that no honest node writes.
    """
    _check(at_ms, until_ms, remaining)
    return BookLot(
        side=Side.REQUEST,
        id=lot_id,
        author=author,
        at_ms=at_ms,
        until_ms=until_ms,
        category=peer_category(request.category),
        unit=request.unit,
        remaining=min(remaining, request.amount),
        price=request.price,
        cell=peer_cell(request.cell),
        minimum=request.minimum,
        gtin=None if request.gtin is None else gtin14(request.gtin),
        brand=None if request.brand is None else request.brand.casefold(),
        condition=request.condition,
        window=request.window,
        radius_m=request.radius_m,
        needed_until_ms=request.needed_until_ms,
        margin_s=request.margin_s,
    )


def _check(at_ms: int, until_ms: int, remaining: int) -> None:
    """Facts are any number up to 64 bits; columns hold 63."""
    if not (0 <= at_ms <= AMOUNT_MAX and 0 <= until_ms <= AMOUNT_MAX):
        raise RemoteError(Code.BAD_FIELD, "a time beyond all calendars")
    if not 0 <= remaining <= AMOUNT_MAX:
        raise RemoteError(Code.BAD_FIELD, "an amount out of range")
