"""The quick pass over candidates: what cannot fit goes, what may gets a bound on its score.

Columns hold 32-bit floats and whole seconds, so every test here errs on the side of letting
through, and every bound on the side of too high. `match.fit` decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from passby.geo.book import (
    CONDITION_RANK,
    CURVED,
    SECONDS_MAX,
    UNITS,
    WORST,
    Book,
    Rows,
    product_tag,
)
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

_SPREAD_M: Final = np.array([spread_at_m(resolution) for resolution in range(16)], np.float32)
_PLACE_SLACK_M: Final = 4.0
"""Unit vectors in 32 bits are wrong by a metre or so."""
_RATIO_SLACK: Final = 1e-5
"""Amounts and prices in 32 bits are wrong by 1.2e-7 of themselves, and are multiplied."""
_FIRST_MORE: Final = 8
"""Beyond those asked for: bounds are close, and so few more are never needed."""
_POINTS_SLACK: Final = 1.0
"""What the floors of exact points and the rounding here may differ by, upward."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def sieve(
    book: Book,
    labels: Sequence[str],
    products: Sequence[str],
    lot: BookLot,
    now_ms: int,
    trust: Mapping[bytes, float],
    at_once: int,
) -> Iterator[tuple[Slots, Floats]]:
    """Yield (slots, bounds) of whatever may fit `lot`.

    No exact score is above its bound, and whatever does fit is among them. They come in two
    pieces, each in no order: the highest bounds, a few more than `at_once`, then the others.

    Args:
        book: of the other side.
        labels: under which the other side's lots are looked for.
        products: GTINs that count as the lot's own, where it names one.
        lot: the one to find company for.
        now_ms: the moment.
        trust: in authors, 0 to 1.
        at_once: how many are wanted.
    """
    radius_m = DEFAULT_RADIUS_M if lot.radius_m is None else lot.radius_m
    slots = book.near(labels, lot.cell, radius_m)
    rows = book.rows(slots)
    # Indexing rows of many fields copies field by field; `take` copies rows, ten times as fast.
    kept = np.flatnonzero(_may_suit(rows, lot, now_ms))
    slots, rows = slots.take(kept), rows.take(kept)
    apart_m = _apart_m(rows, lot.cell)
    kept = np.flatnonzero(
        _in_reach(rows, apart_m, lot, radius_m) & _may_fit(rows, book, products, lot, now_ms)
    )
    slots, rows, apart_m = slots.take(kept), rows.take(kept), apart_m.take(kept)
    cost, limit = _prices(book, slots, rows, lot, now_ms)
    least = _least_amounts(book, slots, rows, lot)
    kept = np.flatnonzero(_may_afford(rows, cost, limit, least, book, lot))
    share = _surplus_share(cost.take(kept), limit.take(kept), least.take(kept))
    bounds = _bounds(book, rows.take(kept), apart_m.take(kept), share, lot, now_ms, trust)
    slots = slots.take(kept)
    first = at_once + at_once // 4 + _FIRST_MORE
    if len(slots) <= first:
        yield slots, bounds
        return
    highest = np.argpartition(-bounds, first)
    for piece in (highest[:first], highest[first:]):
        yield slots.take(piece), bounds.take(piece)


def _may_suit(rows: Rows, lot: BookLot, now_ms: int) -> Mask:
    """Return which rows are open, of the lot's unit, and not too dear: most are not."""
    price = rows["price"]
    suiting: Mask = rows["unit"] == UNITS.index(lot.unit)
    suiting &= rows["open_s"] >= _clip_s(now_ms)
    ours = lot.price.minor_at(now_ms) / lot.price.per_amount
    # Totals are rounded up: for a unit of each the dearer costs at most one more.
    if lot.side == Side.REQUEST:
        fair = price <= (ours + 1) * (1 + _RATIO_SLACK)
    else:
        fair = price * (1 + _RATIO_SLACK) + 1 >= ours * (1 - _RATIO_SLACK)
    suiting &= fair | (rows["flags"] & CURVED != 0)
    return suiting


def _apart_m(rows: Rows, cell: int) -> Floats:
    """Return metres to each row. By difference, since a cosine near 1 in 32 bits is kilometres."""
    squares = np.zeros(len(rows), np.float64)
    for axis, at in zip("xyz", unit_vector(cell), strict=True):
        away = rows[axis] - np.float64(at)
        squares += away * away
    apart_m: Floats = 2 * EARTH_RADIUS_M * np.arcsin(np.minimum(np.sqrt(squares) / 2, 1.0))
    return apart_m


def _in_reach(rows: Rows, apart_m: Floats, lot: BookLot, radius_m: int) -> Mask:
    slack_m = spread_m(lot.cell) + _PLACE_SLACK_M
    within: Mask = apart_m <= (
        np.maximum(rows["reach_m"], radius_m) + _SPREAD_M[rows["resolution"]] + slack_m
    )
    return within


def _may_fit(rows: Rows, book: Book, products: Sequence[str], lot: BookLot, now_ms: int) -> Mask:
    """Return which rows fit by everything but distance and price."""
    window, until_ms = lot.window, lot.until_ms
    from_s = np.maximum(rows["from_s"], _clip_s(now_ms if window is None else window.from_ms))
    from_s = np.maximum(from_s, _clip_s(now_ms))
    fitting: Mask = rows["author"] != book.authors.find(lot.author)
    fitting &= from_s <= rows["until_s"]
    fitting &= from_s <= _clip_s(until_ms if window is None else window.until_ms)
    most = np.minimum(rows["remaining"], lot.remaining) * (1 + _RATIO_SLACK)
    fitting &= most >= np.maximum(rows["minimum"], lot.minimum)
    rank = CONDITION_RANK[lot.condition]
    day_s = rows["day_s"]
    if lot.side == Side.REQUEST:
        if rank > WORST:
            fitting &= rows["condition"] >= rank
        fitting &= (day_s == SECONDS_MAX) | (from_s.astype(np.int64) + lot.margin_s <= day_s)
        last_ms = lot.needed_until_ms
    else:
        fitting &= rows["condition"] <= max(rank, WORST)
        fitting &= from_s <= day_s
        last_ms = lot.best_before_ms
    if last_ms is not None:
        fitting &= from_s <= _clip_s(last_ms)
    if lot.gtin is not None:
        named = rows["product"]
        fitting &= (named == 0) | np.isin(named, [product_tag(gtin) for gtin in products])
    if lot.brand is not None:
        branded = rows["brand"]
        brand = book.brands.find(lot.brand)
        same = (branded == 0) | (branded == brand if brand else False)
        fitting &= same | (rows["product"] != 0) if lot.gtin is not None else same
    return fitting


def _prices(
    book: Book, slots: Slots, rows: Rows, lot: BookLot, now_ms: int
) -> tuple[Floats, Floats]:
    """Return, for one base unit of each row, what it costs and the most that is paid."""
    theirs = rows["price"].astype(np.float64)
    for at in np.flatnonzero(rows["flags"] & CURVED).tolist():
        price = book.curve_at(int(slots[at]))
        theirs[at] = price.minor_at(now_ms) / price.per_amount
    ours = np.full(len(rows), lot.price.minor_at(now_ms) / lot.price.per_amount)
    return (theirs, ours) if lot.side == Side.REQUEST else (ours, theirs)


def _least_amounts(book: Book, slots: Slots, rows: Rows, lot: BookLot) -> Floats:
    """Return an amount for each row that the exact one is not below; 1 or more."""
    steps = book.steps(slots) if lot.side == Side.REQUEST else lot.step
    most = np.minimum(rows["remaining"].astype(np.float64), lot.remaining)
    least = most * (1 - _RATIO_SLACK) - steps
    floor = np.maximum(rows["minimum"] * (1 - _RATIO_SLACK), lot.minimum * (1 - _RATIO_SLACK))
    amounts: Floats = np.maximum(np.maximum(least, floor), 1.0)
    return amounts


def _may_afford(
    rows: Rows, cost: Floats, limit: Floats, least: Floats, book: Book, lot: BookLot
) -> Mask:
    """Both totals are rounded up, so that the dearer of two may cost the same."""
    affordable: Mask = cost * (1 - _RATIO_SLACK) <= limit * (1 + _RATIO_SLACK) + 1 / least
    spoken = rows["currency"] == book.currencies.find(lot.price.currency)
    affordable &= spoken | (cost == 0)
    return affordable


def _surplus_share(cost: Floats, limit: Floats, least: Floats) -> Floats:
    """Return the most of its limit that a trade can leave over, 0 to 1."""
    most = 1 - cost * (1 - _RATIO_SLACK) / (limit * (1 + _RATIO_SLACK) + 1 / least)
    return np.where(limit > 0, most, 0.0)


def _bounds(
    book: Book,
    rows: Rows,
    apart_m: Floats,
    share: Floats,
    lot: BookLot,
    now_ms: int,
    trust: Mapping[bytes, float],
) -> Floats:
    now_s = now_ms // 1000
    near_m = np.maximum(apart_m - _PLACE_SLACK_M, 0.0)
    age_s = np.maximum(now_s - 1 - rows["at_s"].astype(np.float64), 0.0)
    bounds: Floats = (
        _POINTS_SLACK
        + WEIGHTS[Part.SURPLUS] * share
        + WEIGHTS[Part.DISTANCE] * DISTANCE_HALF_M / (DISTANCE_HALF_M + near_m)
        + WEIGHTS[Part.FRESHNESS] * FRESHNESS_HALF_S / (FRESHNESS_HALF_S + age_s)
    )
    weight = WEIGHTS[Part.EXPIRY] * EXPIRY_HALF_S
    if lot.side == Side.REQUEST:
        day_s = rows["day_s"].astype(np.float64)
        left_s = np.maximum(day_s - now_s - 1, 0.0)
        bounds += np.where(day_s == SECONDS_MAX, 0.0, weight / (EXPIRY_HALF_S + left_s))
    elif lot.best_before_ms is not None:
        bounds += weight / (EXPIRY_HALF_S + max(lot.best_before_ms // 1000 - now_s - 1, 0))
    if trust:
        authors, whose = np.unique(rows["author"], return_inverse=True)
        points = [
            WEIGHTS[Part.TRUST] * trust_in_thousandths(trust.get(_author(book, number), 0.0))
            / TRUST_SCALE
            for number in authors.tolist()
        ]  # fmt: skip
        bounds += np.array(points, np.float64)[whose]
    return bounds


def _author(book: Book, number: int) -> bytes:
    author = book.authors.word(number)
    assert author is not None
    return author


def _clip_s(at_ms: int) -> int:
    return min(at_ms // 1000, SECONDS_MAX)
