"""A way through places and time, and what a stop beside it costs.

Whoever passes by knows its own way exactly, and of a lot the cell that it publishes. So what
can be said of a stop is how likely it is within the detour that is worth it: the share of the
points of the lot's cell for which it is. Nothing of this leaves the node.

A detour leaves the way at one point and comes back at the same or a later one. What it costs is
the way there and on, as straight distances times a circuity factor, less what is left out of
the own way, which is never more than the straight distances: a round trip is no shortcut past
its own far end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import h3.api.basic_int as h3
import msgspec
import numpy as np
from numpy.typing import NDArray

from passby.geo.cells import (
    EARTH_RADIUS_M,
    cell_at,
    centre_of,
    reach_of_cell_m,
    resolution_of,
    topic_cell,
)
from passby.geo.rings import cover
from passby.protocol.limits import (
    CELL_RESOLUTION_MAX,
    TOPIC_RESOLUTION,
    WAY_POINTS_MAX,
    WISH_CELLS_MAX,
)
from passby.protocol.payloads import Window

CIRCUITY: Final = 1.3
"""Roads between two points of a town, by the straight distance between them."""
STEP_M: Final = 100
"""Between two points of a way; finer would tell nothing more about cells of 500 m."""
REJOIN_MAX_M: Final = 2_000
"""How far ahead on the way a detour may come back: beyond, it would be another way."""
LIKELY: Final = 0.55
"""The share of a cell's points from which on a lot in it is called a meeting: on real trips,
with lots at resolution 8, that finds nine of ten and is wrong about one of twelve."""
_SAMPLE_LEVELS: Final = 2
"""A cell is looked at in the centres of its children so many resolutions finer: 49 points."""
_LOOK_RESOLUTION: Final = 7
"""Surroundings of a way are looked at in steps of such cells, some 2.4 km wide."""
_HOUR_MS: Final = 3_600_000
_NEVER: Final = np.inf

Floats = NDArray[np.float64]
Fix = tuple[float, float, int]
"""Latitude and longitude in degrees, Unix milliseconds."""


class Way:
    """Points of a way in the order of passing, at most STEP_M apart.

    Attributes:
        at: shape (n, 3), on the unit sphere.
        at_ms: shape (n,), when each is passed.
        way_m: shape (n,), metres of road from the first.
    """

    def __init__(self, at: Floats, at_ms: NDArray[np.int64], way_m: Floats) -> None:
        self.at = at
        self.at_ms = at_ms
        self.way_m = way_m

    def __len__(self) -> int:
        return len(self.at)


class Stretch(msgspec.Struct, frozen=True):
    """A cell that a way passes through, and when."""

    cell: int
    from_ms: int
    until_ms: int


class Meeting(msgspec.Struct, frozen=True):
    """A stop at a lot beside the way.

    Attributes:
        likelihood: the share of the cell's points for which the detour is within the limit.
        detour_s: what it costs from the middling of those points, seconds.
        passing_ms: when the way is left for it.
    """

    likelihood: float
    detour_s: int
    passing_ms: int


def recorded(fixes: Iterable[Fix]) -> Way:
    """Return the way along recorded fixes, in the order of their times.

    Raises:
        ValueError: fewer than one fix.
    """
    kept = sorted(fixes, key=lambda fix: fix[2])
    if not kept:
        raise ValueError("a way without a point")
    at = _on_sphere(np.array([(latitude, longitude) for latitude, longitude, _ in kept]))
    at_ms = np.array([at_ms for *_, at_ms in kept], np.int64)
    steps = np.concatenate(([0.0], _arc_m(at[1:], at[:-1])))
    return _resampled(at, at_ms, np.cumsum(steps))


def planned(places: Sequence[tuple[float, float]], depart_ms: int, speed_km_h: float) -> Way:
    """Return the way from place to place (degrees) at a constant speed, on roads of CIRCUITY."""
    at = _on_sphere(np.array(places))
    legs = np.concatenate(([0.0], _arc_m(at[1:], at[:-1]))) * CIRCUITY
    way_m = np.cumsum(legs)
    at_ms = depart_ms + np.round(way_m / _metres_per_ms(speed_km_h)).astype(np.int64)
    return _resampled(at, at_ms, way_m)


def ahead(
    place: tuple[float, float], heading_deg: float, speed_km_h: float, from_ms: int, for_s: int
) -> Way:
    """Return the way of someone on the move: straight on, by heading (0 is north) and speed."""
    reach_m = speed_km_h / 3.6 * for_s / CIRCUITY
    latitude, longitude = np.radians(place)
    angle, heading = reach_m / EARTH_RADIUS_M, np.radians(heading_deg)
    there = np.arcsin(
        np.sin(latitude) * np.cos(angle) + np.cos(latitude) * np.sin(angle) * np.cos(heading)
    )
    across = longitude + np.arctan2(
        np.sin(heading) * np.sin(angle) * np.cos(latitude),
        np.cos(angle) - np.sin(latitude) * np.sin(there),
    )
    end = (float(np.degrees(there)), float((np.degrees(across) + 540) % 360 - 180))
    return planned([place, end], from_ms, speed_km_h)


def stretches(way: Way, resolution: int) -> list[Stretch]:
    """Return the cells of `resolution` that the way passes through, in order, with the times."""
    found: list[Stretch] = []
    for at, at_ms in zip(way.at, way.at_ms.tolist(), strict=True):
        latitude = float(np.degrees(np.arcsin(np.clip(at[2], -1, 1))))
        longitude = float(np.degrees(np.arctan2(at[1], at[0])))
        cell = cell_at(latitude, longitude, resolution)
        if found and found[-1].cell == cell:
            found[-1] = msgspec.structs.replace(found[-1], until_ms=at_ms)
        else:
            found.append(Stretch(cell, at_ms, at_ms))
    return found


def topics_along(way: Way, aside_m: int) -> frozenset[int]:
    """Return the topic cells of all lots that lie within `aside_m` of the way.

    A few more are among them. Cells within a coarser one stick out over its edge, so the topic
    in which a point lies need not be that of a lot there.
    """
    around_m = aside_m + round(reach_of_cell_m(_LOOK_RESOLUTION))
    return frozenset(
        topic_cell(near)
        for cell in {stretch.cell for stretch in stretches(way, _LOOK_RESOLUTION)}
        for near in cover(cell, around_m) or (cell,)
    )


def farthest_m(limit_s: int, speed_km_h: float) -> int:
    """Return how far from the way a stop can be at most; what is farther costs more."""
    return round((limit_s * speed_km_h / 3.6 + REJOIN_MAX_M) / (2 * CIRCUITY))


def meeting(
    way: Way, cell: int, window: Window | None, limit_s: int, speed_km_h: float
) -> Meeting | None:
    """Return the stop at a lot that publishes `cell`, None where no point of it is in reach.

    Args:
        way: the own.
        cell: where the lot says it is; anywhere in it with the same likelihood.
        window: when it can be had; None for any time.
        limit_s: the detour that is worth it, seconds.
        speed_km_h: on the detour.
    """
    extra_m, left_at = detours_m(way, _points_of(cell), window, speed_km_h)
    cost_s = extra_m / (speed_km_h / 3.6)
    near = np.flatnonzero(cost_s <= limit_s)
    if not len(near):
        return None
    middle = near[np.argsort(cost_s[near], kind="stable")[len(near) // 2]]
    return Meeting(
        likelihood=len(near) / len(cost_s),
        detour_s=round(float(cost_s[middle])),
        passing_ms=int(way.at_ms[left_at[middle]]),
    )


def detours_m(
    way: Way, points: Floats, window: Window | None, speed_km_h: float
) -> tuple[Floats, NDArray[np.intp]]:
    """Return metres of detour to each point, and the number of the way's point to leave it at.

    Infinite where no detour arrives within the window.

    Args:
        way: the own, of n points.
        points: shape (m, 3), on the unit sphere.
        window: when one may arrive there; None for any time.
        speed_km_h: on the detour.
    """
    away_m = _arc_m(way.at[:, None, :], points[None, :, :])
    leaving = away_m * CIRCUITY
    if window is not None:
        arrives_ms = way.at_ms[:, None] + leaving / _metres_per_ms(speed_km_h)
        in_time = (arrives_ms >= window.from_ms) & (arrives_ms <= window.until_ms)
        leaving = np.where(in_time, leaving, _NEVER)
    best = leaving + away_m * CIRCUITY
    for ahead_by in range(1, min(REJOIN_MAX_M // (STEP_M // 2), len(way))):
        left_out = (way.way_m[ahead_by:] - way.way_m[:-ahead_by])[:, None]
        if left_out.min() > REJOIN_MAX_M:
            break
        straight = away_m[:-ahead_by] + away_m[ahead_by:]
        extra = leaving[:-ahead_by] + away_m[ahead_by:] * CIRCUITY - left_out
        fits = (left_out <= straight) & (left_out <= REJOIN_MAX_M)
        np.minimum(best[:-ahead_by], np.where(fits, extra, _NEVER), out=best[:-ahead_by])
    left_at = np.argmin(best, axis=0)
    return best[left_at, np.arange(len(points))], left_at


def wishes(way: Way) -> list[Stretch]:
    """Return what a published wish along the way says: topic cells, and whole hours.

    One for each topic cell, WISH_CELLS_MAX at most, in the order of passing. Times are widened
    to whole hours, so that they do not tell the minute either.
    """
    seen: dict[int, Stretch] = {}
    for stretch in stretches(way, TOPIC_RESOLUTION):
        first = seen.get(stretch.cell, stretch)
        seen[stretch.cell] = Stretch(stretch.cell, first.from_ms, stretch.until_ms)
    return [
        Stretch(
            one.cell,
            one.from_ms // _HOUR_MS * _HOUR_MS,
            (one.until_ms // _HOUR_MS + 1) * _HOUR_MS,
        )
        for one in list(seen.values())[:WISH_CELLS_MAX]
    ]


def place_on_sphere(latitude: float, longitude: float) -> Floats:
    """Return one point in degrees as `detours_m` takes points: shape (1, 3)."""
    return _on_sphere(np.array([(latitude, longitude)]))


@lru_cache(maxsize=4096)
def _points_of(cell: int) -> Floats:
    finer = min(resolution_of(cell) + _SAMPLE_LEVELS, CELL_RESOLUTION_MAX)
    return _on_sphere(np.array([centre_of(at) for at in h3.cell_to_children(cell, finer)]))


def _on_sphere(degrees: Floats) -> Floats:
    latitude, longitude = np.radians(degrees[:, 0]), np.radians(degrees[:, 1])
    ring = np.cos(latitude)
    return np.stack((ring * np.cos(longitude), ring * np.sin(longitude), np.sin(latitude)), axis=1)


def _arc_m(one: Floats, other: Floats) -> Floats:
    """Return metres along the great circle. By difference: a cosine near 1 loses metres."""
    chord = np.sqrt(((one - other) ** 2).sum(axis=-1))
    arc: Floats = 2 * EARTH_RADIUS_M * np.arcsin(np.minimum(chord / 2, 1.0))
    return arc


def _metres_per_ms(speed_km_h: float) -> float:
    return speed_km_h / 3600


def _resampled(at: Floats, at_ms: NDArray[np.int64], way_m: Floats) -> Way:
    """Return the way with points about STEP_M apart, or farther on a way of many."""
    whole_m = float(way_m[-1])
    count = min(int(whole_m // STEP_M) + 2, WAY_POINTS_MAX)
    wanted = np.linspace(0.0, whole_m, count)
    axes = [np.interp(wanted, way_m, at[:, axis]) for axis in range(3)]
    points = np.stack(axes, axis=1)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    when = np.round(np.interp(wanted, way_m, at_ms)).astype(np.int64)
    return Way(points, when, wanted)
