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

from passby.geo.book import Book
from passby.geo.cells import EARTH_RADIUS_M, spread_m, unit_vector
from passby.geo.columns import Slots
from passby.geo.lots import BookLot, Side
from passby.geo.rows import CONDITION_RANK, NEVER_MS, WORST, Rows
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
_TOTAL_MAX: Final = 2**53
"""Totals up to here, times a weight, stay within 64 bits."""

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
    rows = book.cold_rows(slots)
    wanting = lot.side == Side.REQUEST
    amount, good = _amounts(rows, lot)
    most = int(amount.max(initial=0))
    price = lot.price
    theirs, odd = _totals(amount, most, rows["minor"], rows["per_amount"])
    ours, odd_ours = _totals(amount, most, price.minor_at(now_ms), price.per_amount)
    total, limit = (theirs, ours) if wanting else (ours, theirs)
    spoken = rows["currency"] == book.currencies.find(price.currency)
    good &= (spoken | (total == 0)) & (total <= limit) & (rows["until_ms"] >= now_ms)
    suits = (rows["author"] != book.authors.find(lot.author)) & _in_time(rows, lot, now_ms)
    suits &= _condition_suits(rows, lot)
    if lot.brand is not None or lot.gtin is not None:
        suits &= _same_product(book, book.other_rows(slots), lot, products)
    apart_m = _apart_m(rows, lot.cell)
    suits &= apart_m <= _reach_m(rows, lot)
    found: Points = (
        WEIGHTS[Part.SURPLUS] * (limit - total) // np.maximum(limit, 1)
        + WEIGHTS[Part.DISTANCE] * DISTANCE_HALF_M // (DISTANCE_HALF_M + apart_m)
        + _expiry_points(rows, lot, now_ms)
        + WEIGHTS[Part.FRESHNESS]
        * FRESHNESS_HALF_S
        // (FRESHNESS_HALF_S + np.maximum(now_ms - rows["at_ms"], 0) // 1000)
    )
    if trust:
        found += _trust_points(book, rows, trust)
    found[~(good & suits)] = REFUSED
    unknown = book.curved(slots)
    if odd is not None:
        unknown |= odd
    if odd_ours is not None:
        unknown |= odd_ours
    found[unknown & suits] = UNKNOWN
    return found


def _condition_suits(rows: Rows, lot: BookLot) -> Mask | bool:
    """As `match.fit`: what names no condition may be the worst, and asks for none."""
    rank = CONDITION_RANK[lot.condition]
    if lot.side == Side.OFFER:
        least: Mask = rows["condition"] <= max(rank, WORST)
        return least
    if rank <= WORST:
        return True
    better: Mask = rows["condition"] >= rank
    return better


def _same_product(book: Book, rows: Rows, lot: BookLot, products: Sequence[str]) -> Mask:
    """As `match.same_product`, of lots that stand under the labels of `lot`."""
    same: Mask = np.ones(len(rows), np.bool_)
    if lot.brand is not None:
        brand = book.brands.find(lot.brand)
        same = (rows["brand"] == 0) | (rows["brand"] == (brand or _NOBODYS_BRAND))
    if lot.gtin is None:
        return same
    # Under the label of a product stand lots of any category.
    same &= np.isin(rows["category"], book.categories_with(lot))
    named = rows["gtin"] >= 0
    own: Mask = np.isin(rows["gtin"], [int(gtin) for gtin in products])
    same[named] = own[named]
    return same


def _amounts(rows: Rows, lot: BookLot) -> tuple[Points, Mask]:
    """Return the most that suits both, as `match.amount_to_take`, and whether anything does."""
    most = np.minimum(rows["remaining"], lot.remaining)
    if lot.side == Side.REQUEST:
        minimum = rows["minimum"]
        amount = most - (most - minimum) % rows["step"]
        return amount, (most >= minimum) & (amount >= lot.minimum)
    amount = most - (most - lot.minimum) % lot.step if lot.step > 1 else most
    return amount, (most >= lot.minimum) & (amount >= rows["minimum"])


def _totals(
    amount: Points, most: int, minor: Points | int, per: Points | int
) -> tuple[Points, Mask | None]:
    """Return ceil(amount x minor / per), and which are too large for that, if any.

    Args:
        amount: of each.
        most: the largest of them.
        minor: of each, or of all.
        per: of each, or of all.
    """
    dearest = minor if isinstance(minor, int) else int(minor.max(initial=0))
    odd: Mask | None = None
    if most * dearest >= _TOTAL_MAX:
        odd = amount.astype(np.float64) * minor >= _TOTAL_MAX
        amount, minor = np.where(odd, 0, amount), np.where(odd, 0, minor)
    total: Points = amount * minor
    if not (isinstance(per, int) and per == 1):
        total = -(-total // per)
    return total, odd


def _in_time(rows: Rows, lot: BookLot, now_ms: int) -> Mask:
    """As `match.handover_window`."""
    start_ms = now_ms if lot.window is None else max(now_ms, lot.window.from_ms)
    last_ms = lot.until_ms if lot.window is None else lot.window.until_ms
    if lot.side == Side.REQUEST:
        if lot.needed_until_ms is not None:
            last_ms = min(last_ms, lot.needed_until_ms)
        until = np.minimum(rows["last_ms"], rows["day_ms"] - 1000 * lot.margin_s)
    else:
        best_ms = NEVER_MS if lot.best_before_ms is None else lot.best_before_ms
        until = np.minimum(rows["last_ms"], best_ms - 1000 * rows["margin_s"].astype(np.int64))
    within: Mask = np.minimum(until, last_ms) >= np.maximum(rows["from_ms"], start_ms)
    return within


def _apart_m(rows: Rows, cell: int) -> Points:
    """Return whole metres, as `cells.distance_m`.

    The two may differ in the last bit before rounding, so once in some thousand million.
    """
    x, y, z = unit_vector(cell)
    squares = (rows["x"] - x) ** 2 + (rows["y"] - y) ** 2 + (rows["z"] - z) ** 2
    arc = 2 * EARTH_RADIUS_M * np.arcsin(np.minimum(np.sqrt(squares) / 2, 1.0))
    apart: Points = np.rint(arc).astype(np.int64)
    return apart


def _reach_m(rows: Rows, lot: BookLot) -> Points:
    own_m = DEFAULT_RADIUS_M if lot.radius_m is None else lot.radius_m
    reach: Points = np.maximum(rows["radius_m"], own_m) + rows["spread_m"] + spread_m(lot.cell)
    return reach


def _expiry_points(rows: Rows, lot: BookLot, now_ms: int) -> Points | int:
    weight = WEIGHTS[Part.EXPIRY] * EXPIRY_HALF_S
    if lot.side == Side.OFFER:
        if lot.best_before_ms is None:
            return 0
        return weight // (EXPIRY_HALF_S + (lot.best_before_ms - now_ms) // 1000)
    # What never spoils is so far off that nothing is left to gain.
    gained: Points = weight // (EXPIRY_HALF_S + np.maximum(rows["day_ms"] - now_ms, 0) // 1000)
    return gained


def _trust_points(book: Book, rows: Rows, trust: Mapping[bytes, float]) -> Points:
    gained = []
    for number in rows["author"].tolist():
        author = book.authors.word(number)
        assert author is not None
        share = trust_in_thousandths(trust.get(author, 0.0))
        gained.append(WEIGHTS[Part.TRUST] * share // TRUST_SCALE)
    return np.array(gained, np.int64)
