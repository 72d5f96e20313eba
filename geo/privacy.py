"""How finely a place may be told: never finer than a crowd to stand in.

A cell in which only one author is ever seen names that author's house. So a lot goes out at
the finest cell, from the default upward, in which enough authors are visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from passby.geo.cells import PUBLISHED_RESOLUTION, cell_text, parent_at, resolution_of
from passby.protocol.limits import TOPIC_RESOLUTION

LEVELS: Final = tuple(range(PUBLISHED_RESOLUTION, TOPIC_RESOLUTION - 1, -1))
"""Resolutions tried, the finest first. Topics are of the last, so nothing coarser is tried."""


@dataclass(frozen=True, slots=True)
class Coarsened:
    """The cell to publish, how many authors share it, and why it is that one."""

    cell: int
    resolution: int
    authors: int
    enough: bool
    reason: str


def authors_by_cell(sightings: Iterable[tuple[int, bytes]]) -> dict[int, int]:
    """Return how many authors are visible in each cell of each level.

    Args:
        sightings: (published cell, author); an author seen twice counts once. One published
            at a coarse cell counts in that and in the coarser, being nowhere finer.
    """
    seen: dict[int, set[bytes]] = {}
    for cell, author in sightings:
        for level in LEVELS:
            if level <= resolution_of(cell):
                seen.setdefault(parent_at(cell, level), set()).add(author)
    return {cell: len(authors) for cell, authors in seen.items()}


def coarsen(cell: int, authors: Mapping[int, int], k_authors: int) -> Coarsened:
    """Return the finest cell above `cell` in which at least `k_authors` authors are visible.

    Args:
        cell: where the lot is; cells finer than the default are raised to it first.
        authors: authors by cell, as `authors_by_cell` counts them; a missing cell has none.
        k_authors: how many make a crowd.
    """
    start = parent_at(cell, PUBLISHED_RESOLUTION)
    finest = resolution_of(start)
    for level in LEVELS:
        if level > finest:
            continue
        at = parent_at(start, level)
        count = authors.get(at, 0)
        if count >= k_authors:
            reason = (
                f"{count} authors are visible in cell {cell_text(at)}, at least the {k_authors} "
                "asked for"
            )
            if level < finest:
                below = parent_at(start, level + 1)
                reason += f"; one level finer there are {authors.get(below, 0)}"
            return Coarsened(at, level, count, enough=True, reason=reason)
    widest = parent_at(start, TOPIC_RESOLUTION)
    count = authors.get(widest, 0)
    return Coarsened(
        widest,
        resolution_of(widest),
        count,
        enough=False,
        reason=(
            f"only {count} of the {k_authors} authors asked for are visible even in the topic's "
            f"cell {cell_text(widest)}, the widest there is"
        ),
    )
