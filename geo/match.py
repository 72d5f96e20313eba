"""Which offers and requests fit, and which of them to suggest first.

`fit` holds one offer against one request by every hard rule and returns the match or the
rule that forbids it. `matches_for_request` and `matches_for_offer` ask the book: the sieve
throws out what plainly cannot fit, `rank` gives the rest their exact points, and `fit` explains
the best of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from passby.geo.book import Book, gtin_label, subtree_label
from passby.geo.categories import ancestors, takes_in
from passby.geo.cells import distance_m, spread_m
from passby.geo.lots import BookLot, Side
from passby.geo.rank import REFUSED, UNKNOWN, points
from passby.geo.rows import CONDITION_RANK, WORST
from passby.geo.score import Features, Reason, explain, score, trust_in_thousandths
from passby.geo.sieve import sieve
from passby.protocol.limits import DEFAULT_RADIUS_M, MATCHES_MAX
from passby.protocol.payloads import Window

Substitutes = Mapping[str, frozenset[str]]
"""For a product asked for, those that its asker takes as well; GTINs of fourteen digits."""
Trust = Mapping[bytes, float]
"""Authors and how far they are trusted, 0 to 1; who is missing has 0."""
NO_SUBSTITUTES: Final[Substitutes] = {}
NO_TRUST: Final[Trust] = {}


class Fit(StrEnum):
    """By what an offer is what a request asks for."""

    PRODUCT = "product"
    SUBSTITUTE = "substitute"
    CATEGORY = "category"


class Refusal(StrEnum):
    """The rule that keeps an offer and a request apart."""

    OWN = "both are of the same author"
    CLOSED = "one of them is no longer open"
    PRODUCT = "another product than the one asked for"
    UNIT = "measured in another unit"
    AMOUNT = "no amount suits both"
    CURRENCY = "priced in another currency"
    PRICE = "costs more than the limit"
    CONDITION = "in a worse condition than asked for"
    WINDOW = "no time suits both"
    BEST_BEFORE = "spoils before it would be used up"
    REACH = "too far for both"


class Match(NamedTuple):
    """An offer and a request that fit at `at_ms`, and the trade that they suggest.

    Attributes:
        amount: base units to take, the most that suits both.
        total_minor: what they cost at `at_ms`; limit_minor: the most that would be paid.
        handover: when they can be handed over.
        features: what the score is made of.
        points: the score, 0 to 1000.
    """

    offer: BookLot
    request: BookLot
    at_ms: int
    by: Fit
    amount: int
    total_minor: int
    limit_minor: int
    distance_m: int
    handover: Window
    features: Features
    points: int

    def explain(self) -> list[Reason]:
        """Return why it has its points, part by part."""
        return explain(self.features)


def fit(
    offer: BookLot,
    request: BookLot,
    at_ms: int,
    *,
    judging: Side = Side.REQUEST,
    trust: float = 0.0,
    substitutes: Substitutes = NO_SUBSTITUTES,
) -> Match | Refusal:
    """Hold `offer` against `request` at `at_ms` by every hard rule.

    Args:
        offer: what may be had.
        request: what is wanted.
        at_ms: the moment; prices and windows depend on it.
        judging: the side that looks; trust and freshness are the other side's.
        trust: in the other side's author, 0 to 1.
        substitutes: what the asker takes instead.
    """
    if offer.author == request.author:
        return Refusal.OWN
    if offer.until_ms < at_ms or request.until_ms < at_ms:
        return Refusal.CLOSED
    by = same_product(offer, request, substitutes)
    if by is None:
        return Refusal.PRODUCT
    if offer.unit != request.unit:
        return Refusal.UNIT
    amount = amount_to_take(offer, request)
    if amount == 0:
        return Refusal.AMOUNT
    total_minor = offer.price.total_minor(amount, at_ms)
    limit_minor = request.price.total_minor(amount, at_ms)
    # A gift has no currency worth speaking of.
    if total_minor and offer.price.currency != request.price.currency:
        return Refusal.CURRENCY
    if total_minor > limit_minor:
        return Refusal.PRICE
    if max(CONDITION_RANK[offer.condition], WORST) < CONDITION_RANK[request.condition]:
        return Refusal.CONDITION
    handover = handover_window(offer, request, at_ms)
    if isinstance(handover, Refusal):
        return handover
    apart_m = distance_m(offer.cell, request.cell)
    if apart_m > reach_m(offer, request):
        return Refusal.REACH
    other = offer if judging == Side.REQUEST else request
    features = Features(
        total_minor=total_minor,
        limit_minor=limit_minor,
        distance_m=apart_m,
        left_s=None if offer.best_before_ms is None else (offer.best_before_ms - at_ms) // 1000,
        trust=trust_in_thousandths(trust),
        age_s=max(at_ms - other.at_ms, 0) // 1000,
    )
    return Match(
        offer, request, at_ms, by, amount, total_minor, limit_minor, apart_m, handover, features,
        score(features),
    )  # fmt: skip


def same_product(offer: BookLot, request: BookLot, substitutes: Substitutes) -> Fit | None:
    """Return by what `offer` is what `request` asks for, None where it is not.

    A product asked for by GTIN is met by that product, whatever category it is listed in, by
    an agreed substitute, or by an offer of the category that names no product: one that
    names another is known to be something else. Likewise a brand. Similar names are nothing.
    """
    if request.gtin is not None and offer.gtin is not None:
        if offer.gtin == request.gtin:
            return Fit.PRODUCT
        return Fit.SUBSTITUTE if offer.gtin in substitutes.get(request.gtin, ()) else None
    if request.brand is not None and offer.brand is not None and request.brand != offer.brand:
        return None
    return Fit.CATEGORY if takes_in(request.category, offer.category) else None


def amount_to_take(offer: BookLot, request: BookLot) -> int:
    """Return the most that suits both, 0 where nothing does.

    Amounts are the offer's minimum and whole steps above it, up to what remains.
    """
    most = min(offer.remaining, request.remaining)
    if most < offer.minimum:
        return 0
    amount = most - (most - offer.minimum) % offer.step
    return amount if amount >= request.minimum else 0


def handover_window(offer: BookLot, request: BookLot, at_ms: int) -> Window | Refusal:
    """Return when, from `at_ms` on, the goods can change hands.

    A lot without a window is to be had while it is open. Goods change hands early enough to
    be used for the asker's margin before they are past their best.
    """
    start_ms, until_ms = at_ms, request.needed_until_ms
    for lot in (offer, request):
        window = lot.window
        if window is not None:
            start_ms = max(start_ms, window.from_ms)
        last_ms = lot.until_ms if window is None else window.until_ms
        until_ms = last_ms if until_ms is None else min(until_ms, last_ms)
    assert until_ms is not None
    if until_ms < start_ms:
        return Refusal.WINDOW
    if offer.best_before_ms is not None:
        until_ms = min(until_ms, offer.best_before_ms - 1000 * request.margin_s)
        if until_ms < start_ms:
            return Refusal.BEST_BEFORE
    return Window(start_ms, until_ms)


def reach_m(offer: BookLot, request: BookLot) -> int:
    """Return how far apart the two may be: as far as the readier of them would go.

    Coarse cells add their own width, since their lots may be anywhere inside.
    """
    radii = (DEFAULT_RADIUS_M if lot.radius_m is None else lot.radius_m for lot in (offer, request))
    return max(radii) + spread_m(offer.cell) + spread_m(request.cell)


def matches_for_request(
    book: Book,
    request: BookLot,
    now_ms: int,
    limit: int,
    *,
    trust: Trust = NO_TRUST,
    substitutes: Substitutes = NO_SUBSTITUTES,
) -> list[Match]:
    """Return the best `limit` offers in `book` for `request`, the best first.

    Equal points go by the offer's id, so that every node with the same book, the same trust
    and the same clock lists the same.
    """
    assert book.side == Side.OFFER
    assert request.side == Side.REQUEST
    products = _products(request, substitutes)
    labels = [subtree_label(request.category), *map(gtin_label, products)]
    return _search(book, labels, products, request, now_ms, limit, trust, substitutes)


def best_for_request(
    book: Book,
    request: BookLot,
    now_ms: int,
    limit: int,
    *,
    trust: Trust = NO_TRUST,
    substitutes: Substitutes = NO_SUBSTITUTES,
) -> list[bytes]:
    """Return the ids of what `matches_for_request` does, in its order; `fit` explains each."""
    products = _products(request, substitutes)
    labels = [subtree_label(request.category), *map(gtin_label, products)]
    slots = _best(book, labels, products, request, now_ms, limit, trust, substitutes)
    return [book.id_at(slot) for slot in slots]


def matches_for_offer(
    book: Book,
    offer: BookLot,
    now_ms: int,
    limit: int,
    *,
    trust: Trust = NO_TRUST,
    substitutes: Substitutes = NO_SUBSTITUTES,
) -> list[Match]:
    """Return the best `limit` requests in `book` for `offer`, the best first; ties as above."""
    assert book.side == Side.REQUEST
    assert offer.side == Side.OFFER
    products: list[str] = []
    if offer.gtin is not None:
        asked = sorted(asked for asked, taken in substitutes.items() if offer.gtin in taken)
        products = [offer.gtin, *asked]
    labels = [*ancestors(offer.category), *map(gtin_label, products)]
    return _search(book, labels, products, offer, now_ms, limit, trust, substitutes)


def _products(request: BookLot, substitutes: Substitutes) -> list[str]:
    if request.gtin is None:
        return []
    return [request.gtin, *sorted(substitutes.get(request.gtin, ()))]


def _search(
    book: Book,
    labels: list[str],
    products: list[str],
    lot: BookLot,
    now_ms: int,
    limit: int,
    trust: Trust,
    substitutes: Substitutes,
) -> list[Match]:
    found = (
        _fit_at(book, slot, lot, now_ms, trust, substitutes)
        for slot in _best(book, labels, products, lot, now_ms, limit, trust, substitutes)
    )
    return [match for match in found if isinstance(match, Match)]


def _best(
    book: Book,
    labels: list[str],
    products: list[str],
    lot: BookLot,
    now_ms: int,
    limit: int,
    trust: Trust,
    substitutes: Substitutes,
) -> list[int]:
    """Return the slots of the best `limit`, the best first."""
    limit = min(limit, MATCHES_MAX)
    if limit <= 0 or lot.until_ms < now_ms:
        return []
    slots = sieve(book, labels, lot, now_ms)
    gained = points(book, slots, lot, products, now_ms, trust)
    for at in np.flatnonzero(gained == UNKNOWN).tolist():
        match = _fit_at(book, int(slots[at]), lot, now_ms, trust, substitutes)
        gained[at] = match.points if isinstance(match, Match) else REFUSED
    least = 0
    if len(gained) > limit:
        least = max(least, int(np.partition(gained, -limit)[-limit]))
    kept = np.flatnonzero(gained >= least)
    best = list(zip((-gained[kept]).tolist(), slots[kept].tolist(), strict=True))
    # Equal points go by the id.
    best.sort(key=lambda found: (found[0], book.id_at(found[1])))
    return [slot for _, slot in best[:limit]]


def _fit_at(
    book: Book, slot: int, lot: BookLot, now_ms: int, trust: Trust, substitutes: Substitutes
) -> Match | Refusal:
    other = book.lot_at(slot)
    offer, request = (other, lot) if book.side == Side.OFFER else (lot, other)
    return fit(
        offer, request, now_ms,
        judging=lot.side, trust=trust.get(other.author, 0.0), substitutes=substitutes,
    )  # fmt: skip
