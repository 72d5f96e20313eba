"""The exact points of many lots at once, from the book's columns.

`match.fit` says what the rules are, for two lots; this is the same in arrays, for what the sieve
lets through, and agrees with it in every case. Rows that whole numbers of 64 bits cannot hold,
and prices that change over time, are left to `fit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from passby.geo.book import CURVED, Book, Rows
from passby.geo.cells import EARTH_RADIUS_M, spread_at_m, spread_m, unit_vector
from passby.geo.columns import Slots
from passby.geo.lots import BookLot, Side
from passby.geo.score import (
    DISTANCE_HALF_M,
    EXPIRY_HALF_S,
    FRESHNESS_HALF_S,
    TRUST_SCALE,
    WEIGHTS,
    Part,
    trust_in_thousandths,
)
from passby.protocol.limits import DEFAULT_RADIUS_M

REFUSED: Final = -1
"""Instead of points: a hard rule forbids it."""
UNKNOWN: Final = -2
"""Instead of points: ask `fit`."""
_NOBODYS_BRAND: Final = 2**32 - 1
_SPREAD_M: Final = np.array([spread_at_m(resolution) for resolution in range(16)], np.int64)
_TOTAL_MAX: Final = 2.0**53
"""Totals up to here, times a weight, stay within 64 bits."""
_NEVER_MS: Final = 2**62

Points = NDArray[np.int64]
Mask = NDArray[np.bool_]


def points(
    book: Book,
    slots: Slots,
    lot: BookLot,
    products: Sequence[str],
    now_ms: int,
    trust: Mapping[bytes, float],
) -> Points:
    """Return the points of each slot as a match for `lot`, REFUSED or UNKNOWN.

    Args:
        book: of the other side.
        slots: lots that `sieve` let through.
        lot: the one to find company for, open at `now_ms`.
        products: GTINs that count as the lot's own, where it names one.
        now_ms: the moment.
        trust: in authors, 0 to 1.
    """
    hot, cold = book.rows(slots), book.cold_rows(slots)
    wanting = lot.side == Side.REQUEST
    amount, good = _amounts(cold, lot)
    theirs, odd = _totals(amount, cold["minor"], cold["per_amount"])
    ours, odd_ours = _totals(
        amount, np.int64(lot.price.minor_at(now_ms)), np.int64(lot.price.per_amount)
    )
    odd |= odd_ours | (hot["flags"] & CURVED != 0)
    total, limit = (theirs, ours) if wanting else (ours, theirs)
    spoken = hot["currency"] == book.currencies.find(lot.price.currency)
    good &= (spoken | (total == 0)) & (total <= limit) & (cold["until_ms"] >= now_ms)
    suits = (hot["author"] != book.authors.find(lot.author)) & _same_product(
        book, hot, cold, lot, products
    )
    suits &= _in_time(cold, lot, now_ms)
    apart_m = _apart_m(cold, lot.cell)
    suits &= apart_m <= _reach_m(hot, cold, lot)
    found: Points = (
        WEIGHTS[Part.SURPLUS] * (limit - total) // np.maximum(limit, 1)
        + WEIGHTS[Part.DISTANCE] * DISTANCE_HALF_M // (DISTANCE_HALF_M + apart_m)
        + _expiry_points(cold, lot, now_ms)
        + WEIGHTS[Part.FRESHNESS]
        * FRESHNESS_HALF_S
        // (FRESHNESS_HALF_S + np.maximum(now_ms - cold["at_ms"], 0) // 1000)
    )
    if trust:
        found += _trust_points(book, hot, trust)
    found[~(good & suits)] = REFUSED
    found[odd & suits] = UNKNOWN
    return found


def _same_product(book: Book, hot: Rows, cold: Rows, lot: BookLot, products: Sequence[str]) -> Mask:
    """As `match.same_product`, of lots that stand under the labels of `lot`."""
    same: Mask = np.ones(len(hot), np.bool_)
    if lot.brand is not None:
        brand = book.brands.find(lot.brand)
        same = (hot["brand"] == 0) | (hot["brand"] == (brand or _NOBODYS_BRAND))
    if lot.gtin is None:
        return same
    # Under the label of a product stand lots of any category.
    same &= np.isin(cold["category"], book.categories_with(lot))
    named = cold["gtin"] >= 0
    own: Mask = np.isin(cold["gtin"], [int(gtin) for gtin in products])
    same[named] = own[named]
    return same


def _amounts(cold: Rows, lot: BookLot) -> tuple[Points, Mask]:
    """Return the most that suits both, as `match.amount_to_take`, and whether anything does."""
    most = np.minimum(cold["remaining"], lot.remaining)
    if lot.side == Side.REQUEST:
        amount = most - (most - cold["minimum"]) % cold["step"]
        return amount, (most >= cold["minimum"]) & (amount >= lot.minimum)
    amount = most - (most - lot.minimum) % lot.step
    return amount, (most >= lot.minimum) & (amount >= cold["minimum"])


def _totals(
    amount: Points, minor: Points | np.int64, per: Points | np.int64
) -> tuple[Points, Mask]:
    """Return ceil(amount x minor / per), and which are too large for that."""
    odd: Mask = amount.astype(np.float64) * minor >= _TOTAL_MAX
    total: Points = -(-np.where(odd, 0, amount) * minor // per)
    return total, odd


def _in_time(cold: Rows, lot: BookLot, now_ms: int) -> Mask:
    """As `match.handover_window`."""
    wanting = lot.side == Side.REQUEST
    start_ms = now_ms if lot.window is None else max(now_ms, lot.window.from_ms)
    start = np.maximum(cold["from_ms"], start_ms)
    last_ms = lot.until_ms if lot.window is None else lot.window.until_ms
    until = np.where(cold["from_ms"] < 0, cold["until_ms"], cold["window_until_ms"])
    until = np.minimum(until, last_ms)
    day = np.where(cold["day_ms"] < 0, _NEVER_MS, cold["day_ms"])
    if wanting:
        needed_ms = _NEVER_MS if lot.needed_until_ms is None else lot.needed_until_ms
        until = np.minimum(np.minimum(until, needed_ms), day - 1000 * lot.margin_s)
    else:
        best_ms = _NEVER_MS if lot.best_before_ms is None else lot.best_before_ms
        margin_ms = 1000 * cold["margin_s"].astype(np.int64)
        until = np.minimum(np.minimum(until, day), best_ms - margin_ms)
    within: Mask = until >= start
    return within


def _apart_m(cold: Rows, cell: int) -> Points:
    """Return whole metres, as `cells.distance_m`.

    The two may differ in the last bit before rounding, so once in some thousand million.
    """
    x, y, z = unit_vector(cell)
    squares = (cold["x"] - x) ** 2 + (cold["y"] - y) ** 2 + (cold["z"] - z) ** 2
    arc = 2 * EARTH_RADIUS_M * np.arcsin(np.minimum(np.sqrt(squares) / 2, 1.0))
    apart: Points = np.rint(arc).astype(np.int64)
    return apart


def _reach_m(hot: Rows, cold: Rows, lot: BookLot) -> Points:
    own_m = DEFAULT_RADIUS_M if lot.radius_m is None else lot.radius_m
    radius = np.where(cold["radius_m"] < 0, DEFAULT_RADIUS_M, cold["radius_m"])
    reach: Points = np.maximum(radius, own_m) + _SPREAD_M[hot["resolution"]] + spread_m(lot.cell)
    return reach


def _expiry_points(cold: Rows, lot: BookLot, now_ms: int) -> Points | int:
    weight = WEIGHTS[Part.EXPIRY] * EXPIRY_HALF_S
    if lot.side == Side.OFFER:
        if lot.best_before_ms is None:
            return 0
        return weight // (EXPIRY_HALF_S + (lot.best_before_ms - now_ms) // 1000)
    day_ms = cold["day_ms"]
    left_s = np.maximum(day_ms - now_ms, 0) // 1000
    gained: Points = np.where(day_ms < 0, 0, weight // (EXPIRY_HALF_S + left_s))
    return gained


def _trust_points(book: Book, hot: Rows, trust: Mapping[bytes, float]) -> Points:
    gained = []
    for number in hot["author"].tolist():
        author = book.authors.word(number)
        assert author is not None
        share = trust_in_thousandths(trust.get(author, 0.0))
        gained.append(WEIGHTS[Part.TRUST] * share // TRUST_SCALE)
    return np.array(gained, np.int64)
