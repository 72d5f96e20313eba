"""What the book keeps of each lot, in rows of numbers: by how often a question reads it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from passby.protocol.payloads import Condition
from passby.protocol.units import Unit

UNITS: Final = tuple(Unit)
UNIT_NUMBER: Final = {unit: number for number, unit in enumerate(UNITS)}
CONDITIONS: Final = (None, Condition.DAMAGED, Condition.USED, Condition.REFURBISHED, Condition.NEW)
"""From the worst to the best, after none. A request that names none takes any."""
CONDITION_RANK: Final = {condition: rank for rank, condition in enumerate(CONDITIONS)}
WORST: Final = CONDITION_RANK[Condition.DAMAGED]
"""What is to be expected of an offer that names none."""
CURVED: Final = 1
"""Flag of a hot row whose price has knots."""
SECONDS_MAX: Final = 2**32 - 1
"""Hot times are seconds in 32 bits; this stands for never and for anything after 2106."""
NEVER_MS: Final = 2**62

Rows = NDArray[np.void]
HOT: Final = np.dtype(
    {
        "names": ["x", "y", "z", "radius_m", "spread_m", "price", "last_s", "unit", "flags"],
        "formats": [*["f4"] * 6, "u4", "u1", "u1"],
        # Half a cache line: what a question costs is mostly waiting for memory.
        "itemsize": 32,
    }
)
"""Place on the unit sphere; how far its author goes, its cell's spread apart; minor units for one
base unit, without knots; the last second in which anything can come of it."""
COLD: Final = np.dtype(
    {
        "names": [
            "at_ms", "until_ms", "remaining", "minimum", "step", "minor", "per_amount",
            "from_ms", "last_ms", "day_ms",
            "x", "y", "z",
            "author", "radius_m", "spread_m", "margin_s",
            "currency", "condition",
        ],
        "formats": [*["i8"] * 10, *["f8"] * 3, *["i4"] * 4, "u2", "u1"],
        "itemsize": 128,
    }
)  # fmt: skip
"""`last_ms`: until when it can be handed over, before `day_ms`: best before; of a request, needed
until. NEVER_MS stands for no such day. Two cache lines."""
REST: Final = np.dtype(
    [
        ("cell", np.uint64),
        ("window_until_ms", np.int64),
        ("gtin", np.int64),
        ("category", np.uint32),
        ("brand", np.uint32),
        ("radius_m", np.int32),  # -1: none is named
    ]
)
_CACHE_LINE: Final = 64


def aligned(size: int, kind: np.dtype[np.void]) -> Rows:
    """Return empty rows that begin with a cache line, so that each lies in as few as can be."""
    room = np.zeros(size * kind.itemsize + _CACHE_LINE, np.uint8)
    skip = -room.ctypes.data % _CACHE_LINE
    return room[skip : skip + size * kind.itemsize].view(kind)
