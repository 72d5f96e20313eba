"""The quick pass over candidates: what plainly cannot fit goes, so that few are left to look at.

Columns hold 32-bit floats and whole seconds, so every test here errs on the side of letting
through. `rank` and `match.fit` decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from passby.geo.book import CONDITION_RANK, CURVED, SECONDS_MAX, UNITS, WORST, Book, Rows
from passby.geo.cells import EARTH_RADIUS_M, spread_at_m, spread_m, unit_vector
from passby.geo.columns import Slots
from passby.geo.lots import BookLot, Side
from passby.protocol.limits import DEFAULT_RADIUS_M

_SPREAD_M: Final = np.array([spread_at_m(resolution) for resolution in range(16)], np.float32)
_PLACE_SLACK_M: Final = 4.0
"""Unit vectors in 32 bits are wrong by a metre or so."""
_RATIO_SLACK: Final = 1e-5
"""Amounts and prices in 32 bits are wrong by 1.2e-7 of themselves, and are multiplied."""

Mask = NDArray[np.bool_]


def sieve(book: Book, labels: Sequence[str], lot: BookLot, now_ms: int) -> Slots:
    """Return the slots of whatever may fit `lot`; whatever does fit is among them.

    Args:
        book: of the other side.
        labels: under which the other side's lots are looked for.
        lot: the one to find company for.
        now_ms: the moment.
    """
    radius_m = DEFAULT_RADIUS_M if lot.radius_m is None else lot.radius_m
    slots = book.near(labels, lot.cell, radius_m)
    rows = book.rows(slots)
    # Indexing rows of many fields copies field by field; `take` copies rows, ten times as fast.
    kept = np.flatnonzero(_may_suit(rows, lot, now_ms))
    slots, rows = slots.take(kept), rows.take(kept)
    kept = np.flatnonzero(_in_reach(rows, lot, radius_m) & _in_time(rows, lot, now_ms))
    return slots.take(kept)


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


def _in_reach(rows: Rows, lot: BookLot, radius_m: int) -> Mask:
    """By difference of points on the sphere: a cosine near 1 in 32 bits is kilometres."""
    squares = np.zeros(len(rows), np.float64)
    for axis, at in zip("xyz", unit_vector(lot.cell), strict=True):
        away = rows[axis] - np.float64(at)
        squares += away * away
    apart_m = 2 * EARTH_RADIUS_M * np.arcsin(np.minimum(np.sqrt(squares) / 2, 1.0))
    slack_m = spread_m(lot.cell) + _PLACE_SLACK_M
    within: Mask = apart_m <= (
        np.maximum(rows["reach_m"], radius_m) + _SPREAD_M[rows["resolution"]] + slack_m
    )
    return within


def _in_time(rows: Rows, lot: BookLot, now_ms: int) -> Mask:
    """Return which rows can be handed over in time, in a condition and amount that suit."""
    window, until_ms = lot.window, lot.until_ms
    from_s = np.maximum(rows["from_s"], _clip_s(now_ms if window is None else window.from_ms))
    from_s = np.maximum(from_s, _clip_s(now_ms))
    fitting: Mask = from_s <= rows["until_s"]
    fitting &= from_s <= _clip_s(until_ms if window is None else window.until_ms)
    most = np.minimum(rows["remaining"], lot.remaining) * (1 + _RATIO_SLACK)
    fitting &= most >= np.maximum(rows["minimum"], lot.minimum)
    rank = CONDITION_RANK[lot.condition]
    day_s = rows["day_s"]
    if lot.side == Side.REQUEST:
        if rank > WORST:
            fitting &= rows["condition"] >= rank
        fitting &= (day_s == SECONDS_MAX) | (from_s.astype(np.int64) + lot.margin_s <= day_s)
    else:
        fitting &= rows["condition"] <= max(rank, WORST)
        fitting &= from_s <= day_s
    return fitting


def _clip_s(at_ms: int) -> int:
    return min(at_ms // 1000, SECONDS_MAX)
