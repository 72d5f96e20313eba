"""Ways made again and again, learnt from the own tracks.

Trips that begin near each other, end near each other and start at about the same time of day
are one habit once there are enough of them. What is kept of a habit is one of its tracks, the
one that sets out at the median time: a way that somebody really made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import h3.api.basic_int as h3
import msgspec

from passby.geo.corridor import Fix

NEAR_M: Final = 500
"""Trips whose ends lie so near each other lead to the same place: a car is parked where it can."""
ABOUT_MIN: Final = 60
"""Trips that set out within so many minutes of the habit's first are at the same time of day."""
TRIPS_MIN: Final = 3
"""Twice may be chance."""
_DAY_MIN: Final = 24 * 60

Local = Callable[[int], tuple[int, int]]
"""Returns weekday (Monday is 0) and minute of the day of Unix milliseconds, on the wall clock."""


class Commute(msgspec.Struct, frozen=True):
    """A habit.

    Attributes:
        weekdays: on which it was seen, Monday is 0.
        minute: of the day, local, at which it sets out: the median.
        trips: how many made it.
        track: one of them; its times are that trip's own.
    """

    weekdays: tuple[int, ...]
    minute: int
    trips: int
    track: tuple[Fix, ...]


def learn(trips: Sequence[Sequence[Fix]], local: Local) -> list[Commute]:
    """Return the habits in `trips`, those of the most trips first.

    Args:
        trips: the fixes of each, in order of time.
        local: tells the wall clock's time.
    """
    habits: list[list[Sequence[Fix]]] = []
    for trip in sorted((trip for trip in trips if trip), key=lambda trip: trip[0][2]):
        for habit in habits:
            if _alike(habit[0], trip, local):
                habit.append(trip)
                break
        else:
            habits.append([trip])
    found = [_commute(habit, local) for habit in habits if len(habit) >= TRIPS_MIN]
    return sorted(found, key=lambda commute: (-commute.trips, commute.minute, commute.track[0]))


def _alike(one: Sequence[Fix], other: Sequence[Fix], local: Local) -> bool:
    apart_min = abs(local(one[0][2])[1] - local(other[0][2])[1])
    return (
        min(apart_min, _DAY_MIN - apart_min) <= ABOUT_MIN
        and _apart_m(one[0], other[0]) <= NEAR_M
        and _apart_m(one[-1], other[-1]) <= NEAR_M
    )


def _apart_m(one: Fix, other: Fix) -> float:
    metres: float = h3.great_circle_distance(one[:2], other[:2], "m")
    return metres


def _commute(habit: Sequence[Sequence[Fix]], local: Local) -> Commute:
    first_min = local(habit[0][0][2])[1]

    def late_min(trip: Sequence[Fix]) -> int:
        """Return minutes after the habit's first trip, before it below 0, across midnight too."""
        ahead = (local(trip[0][2])[1] - first_min) % _DAY_MIN
        return ahead - _DAY_MIN if ahead > _DAY_MIN // 2 else ahead

    middle = sorted(habit, key=lambda trip: (late_min(trip), trip[0][2]))[len(habit) // 2]
    days = sorted({local(trip[0][2])[0] for trip in habit})
    return Commute(tuple(days), local(middle[0][2])[1], len(habit), tuple(middle))
