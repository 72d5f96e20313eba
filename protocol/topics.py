"""Gossip topics: one per cell of resolution 5, and how a cell's bits say where it lies.

Only the bit layout of H3 indexes is used here (its specification, "H3 Index Bit Layout"),
so that a judge needs no library to hold a cell against a topic.
"""

from __future__ import annotations

from typing import Final

TOPIC_RESOLUTION: Final = 5
"""About 250 km²: all that subscribing tells a peer."""
TOPIC_PREFIX: Final = "passby/1/"
_FINEST: Final = 15
_MODE_CELL: Final = 1


def topic_for(cell: int) -> str:
    """Return the topic of a resolution-5 `cell`."""
    return f"{TOPIC_PREFIX}{cell:x}"


def topic_cell(topic: str) -> int | None:
    """Return the cell that `topic` names, or None where it is not one of ours."""
    text = topic.removeprefix(TOPIC_PREFIX)
    if text == topic or len(text) != 15 or not set(text) <= set("0123456789abcdef"):
        return None
    cell = int(text, 16)
    return cell if is_cell_at(cell, TOPIC_RESOLUTION) else None


def is_cell_at(cell: int, resolution: int) -> bool:
    """Tell whether `cell` has the bit layout of a cell at `resolution`.

    The mode and the resolution are right, the base cell exists, every digit above the
    resolution is a child and every digit below it is unused.
    """
    if cell >> 59 != _MODE_CELL or cell >> 52 & 0xF != resolution or cell >> 56 & 7:
        return False
    if cell >> 45 & 0x7F > 121:
        return False
    for level in range(1, _FINEST + 1):
        digit = cell >> 3 * (_FINEST - level) & 7
        if (digit == 7) != (level > resolution):
            return False
    return True


def resolution_of(cell: int) -> int:
    """Return the resolution field of `cell`."""
    return cell >> 52 & 0xF
