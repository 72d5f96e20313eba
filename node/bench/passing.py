"""Passing by: of the stops that are worth it, how many a passer-by's own node finds.

Real trips, each with LISTERS lots placed by seed around it. Whoever knew every lot's exact point
would find the stops within LIMIT_S of detour and within the lot's hours; that is the reference. The
passer-by's node knows its own track and the cell that each lot publishes. `recall` is the share of
the reference that it finds, `false` the share of what it finds that is none.

`published` is the other choice, a wish told to everybody: what it gives away of where the trip
began and ended, as the distance from the middle of the cell told to the true point.
"""

from __future__ import annotations

import csv
import gzip
import math
import random
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from passby.geo.cells import cell_at, distance_m
from passby.geo.corridor import (
    LIKELY,
    Fix,
    Way,
    detours_m,
    meeting,
    place_on_sphere,
    recorded,
    wishes,
)
from passby.protocol.errors import UsageError
from passby.protocol.limits import CELL_RESOLUTION_MAX
from passby.protocol.payloads import Window

LISTERS: Final = 6
AROUND_M: Final = 2_000
"""Lots lie in the trip's bounding box, so much wider on each side."""
SPEED_KM_H: Final = 30.0
LIMIT_S: Final = 300
HOURS_MS: Final = 2 * 3_600_000
"""How long each lot can be had; when that begins is drawn around the trip."""
RESOLUTIONS: Final = (7, 8, 9)
PUBLISHED: Final = 8
SEED: Final = 1
_DEGREE_M: Final = 111_195


def trips(data: Path) -> Iterator[list[Fix]]:
    """Yield the fixes of each trip of `tracks.csv.gz`.

    Raises:
        UsageError: the file is not there.
    """
    path = data / "tracks.csv.gz"
    found: dict[str, list[Fix]] = {}
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                at = datetime.strptime(row["time"], "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)
                fix = (float(row["lat"]), float(row["lon"]), int(at.timestamp()) * 1000)
                found.setdefault(row["trip"], []).append(fix)
    except OSError as error:
        raise UsageError(f"{path} cannot be read.", "Name its folder with --data.") from error
    yield from found.values()


def figures(data: Path) -> dict[str, Any]:
    """Return `recall` and `false` at the resolution that lots publish, and the curve around it.

    Raises:
        UsageError: the trips are not there.
    """
    dice = random.Random(SEED)  # noqa: S311  # a workload, not a secret
    true = 0
    found = dict.fromkeys(RESOLUTIONS, 0)
    wrong = dict.fromkeys(RESOLUTIONS, 0)
    told: list[int] = []
    cells: list[int] = []
    count = 0
    for fixes in trips(data):
        count += 1
        way = recorded(fixes)
        for latitude, longitude, window in _lots(fixes, dice):
            is_meeting = _is_meeting(way, latitude, longitude, window)
            true += is_meeting
            for resolution in RESOLUTIONS:
                cell = cell_at(latitude, longitude, resolution)
                seen = meeting(way, cell, window, LIMIT_S, SPEED_KM_H)
                if seen is not None and seen.likelihood >= LIKELY:
                    found[resolution] += is_meeting
                    wrong[resolution] += not is_meeting
        said = wishes(way)
        cells.append(len(said))
        for one, (latitude, longitude, _) in ((said[0], fixes[0]), (said[-1], fixes[-1])):
            told.append(distance_m(one.cell, cell_at(latitude, longitude, CELL_RESOLUTION_MAX)))
    curve = {
        str(resolution): {
            "recall": round(found[resolution] / true, 3),
            "false": round(wrong[resolution] / max(found[resolution] + wrong[resolution], 1), 3),
        }
        for resolution in RESOLUTIONS
    }
    return {
        **curve[str(PUBLISHED)],
        "trips": count,
        "meetings": true,
        "curve": curve,
        "published": {
            "cells_p50": statistics.median(cells),
            "ends_off_p50_m": round(statistics.median(told)),
            "ends_off_p10_m": round(statistics.quantiles(told, n=10)[0]),
        },
    }


def _lots(fixes: list[Fix], dice: random.Random) -> Iterator[tuple[float, float, Window]]:
    latitudes = [fix[0] for fix in fixes]
    longitudes = [fix[1] for fix in fixes]
    aside = AROUND_M / _DEGREE_M
    for _ in range(LISTERS):
        latitude = dice.uniform(min(latitudes) - aside, max(latitudes) + aside)
        across = aside / math.cos(math.radians(latitude))
        longitude = dice.uniform(min(longitudes) - across, max(longitudes) + across)
        from_ms = dice.randrange(fixes[0][2] - HOURS_MS, fixes[-1][2] + 1)
        yield latitude, longitude, Window(from_ms, from_ms + HOURS_MS)


def _is_meeting(way: Way, latitude: float, longitude: float, window: Window) -> bool:
    extra_m, _ = detours_m(way, place_on_sphere(latitude, longitude), window, SPEED_KM_H)
    return bool(extra_m[0] / (SPEED_KM_H / 3.6) <= LIMIT_S)
