"""Rings of cells: who is near, and which topics a home listens to.

Twelve cells of each resolution are pentagons. `grid_disk` walks round them where the faster
ring functions give up, so everything here is made of disks.
"""

from __future__ import annotations

from typing import Final

import h3.api.basic_int as h3

from passby.geo.cells import edge_m, reach_of_cell_m, resolution_of, topic_cell
from passby.protocol.limits import RING_K_MAX, TOPIC_RING_K

_SPACING_MAX: Final = 1.12 * 3**0.5
"""Centres of neighbours, in average edges: at most 1.103 x sqrt(3) apart in 20,000 cells."""


def disk(cell: int, ring_k: int) -> tuple[int, ...]:
    """Return the cells within `ring_k` steps of `cell`, itself among them, ascending."""
    assert 0 <= ring_k <= RING_K_MAX
    return tuple(sorted(h3.grid_disk(cell, ring_k)))


def ring(cell: int, ring_k: int) -> tuple[int, ...]:
    """Return the cells exactly `ring_k` steps from `cell`, ascending."""
    if ring_k == 0:
        return (cell,)
    inner = set(h3.grid_disk(cell, ring_k - 1))
    return tuple(at for at in disk(cell, ring_k) if at not in inner)


def topics_around(home: int) -> tuple[int, ...]:
    """Return the topic cells that a node at `home` subscribes to: its own and the ring around."""
    return disk(topic_cell(home), TOPIC_RING_K)


def cover(cell: int, radius_m: int) -> tuple[int, ...] | None:
    """Return the cells of the resolution of `cell` with a point within `radius_m` of its centre.

    A few that miss the circle by less than their own size are among them. None where that
    takes more than `RING_K_MAX` rings: looking through everything is then the cheaper way.

    A way to a point in the circle crosses every ring before the point's own, inside the
    circle, so the first ring that has nothing of it ends the search.
    """
    farthest_m = radius_m + reach_of_cell_m(resolution_of(cell))
    if farthest_m > RING_K_MAX * _SPACING_MAX * edge_m(resolution_of(cell)):
        return None
    centre = h3.cell_to_latlng(cell)
    found: list[int] = []
    inner: set[int] = set()
    for ring_k in range(RING_K_MAX + 1):
        within = set(h3.grid_disk(cell, ring_k))
        near = [
            at
            for at in within - inner
            if h3.great_circle_distance(centre, h3.cell_to_latlng(at), "m") <= farthest_m
        ]
        if not near:
            return tuple(found)
        found.extend(near)
        inner = within
    return None
