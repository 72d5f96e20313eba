"""The quick pass over candidates: what plainly cannot fit goes, so that few are left to look at.

Columns hold 32-bit floats and whole seconds, so every test here errs on the side of letting
through. `rank` and `match.fit` decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from passby.geo.book import Book
from passby.geo.cells import EARTH_RADIUS_M, spread_m, unit_vector
from passby.geo.columns import Slots
from passby.geo.lots import BookLot, Side
from passby.geo.rows import SECONDS_MAX, UNIT_NUMBER, Rows
from passby.protocol.limits import DEFAULT_RADIUS_M

_PLACE_SLACK_M: Final = 4.0
"""Unit vectors in 32 bits are wrong by a metre or so."""
_RATIO_SLACK: Final = 1e-5
"""Prices in 32 bits are wrong by 1.2e-7 of themselves."""

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
    return slots.take(np.flatnonzero(_in_reach(rows, lot, radius_m)))


def _may_suit(rows: Rows, lot: BookLot, now_ms: int) -> Mask:
    """Return which rows are open, of the lot's unit, and not too dear: most are not."""
    price = rows["price"]
    suiting: Mask = rows["unit"] == UNIT_NUMBER[lot.unit]
    suiting &= rows["last_s"] >= min(now_ms // 1000, SECONDS_MAX)
    ours = lot.price.minor_at(now_ms) / lot.price.per_amount
    # Totals are rounded up: for a unit of each the dearer costs at most one more.
    if lot.side == Side.REQUEST:
        fair = price <= (ours + 1) * (1 + _RATIO_SLACK)
    else:
        fair = price >= (ours * (1 - _RATIO_SLACK) - 1) / (1 + _RATIO_SLACK)
    suiting &= fair | (rows["flags"] != 0)
    return suiting


def _in_reach(rows: Rows, lot: BookLot, radius_m: int) -> Mask:
    """By the chord, which is shorter than the way; a cosine near 1 in 32 bits is kilometres."""
    x, y, z = unit_vector(lot.cell)
    # In 64 bits: squares of metres over the earth's radius lose what 32 bits have left.
    squares = (rows["x"] - np.float64(x)) ** 2
    squares += (rows["y"] - np.float64(y)) ** 2
    squares += (rows["z"] - np.float64(z)) ** 2
    reach = np.maximum(rows["radius_m"], radius_m) + rows["spread_m"]
    reach += spread_m(lot.cell) + _PLACE_SLACK_M
    reach *= (1 + _RATIO_SLACK) / EARTH_RADIUS_M
    within: Mask = squares <= reach * reach
    return within
