"""What a question to the book costs, with a million open lots in one city.

A city of LOTS / DENSITY_KM2 square kilometres with as many open offers, in CATEGORIES categories
of which the first is the commonest. A wish is answered with the ids of the twenty best by all
hard rules and the ranking, in process; of ROUNDS rounds the quietest counts. The reference, in the
same run, is one pass of numpy over one column of all lots. `growth` is the median's ratio to that
of a city of a tenth of the lots.
"""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from passby.geo.book import Book
from passby.geo.cells import cell_at
from passby.geo.lots import BookLot, Side
from passby.geo.match import best_for_request
from passby.protocol.price import Price
from passby.protocol.units import Unit

LOTS: Final = 1_000_000
DENSITY_KM2: Final = 1_000
CATEGORIES: Final = 25
PER_AUTHOR: Final = 50
TOP: Final = 20
WISHES: Final = 500
ROUNDS: Final = 5
INSERTS: Final = 20_000
CENTRE: Final = (52.52, 13.4)
RESOLUTIONS: Final = (8, 9)
NOW_MS: Final = 1_750_000_000_000
DAY_MS: Final = 86_400_000
_DEGREE_M: Final = 111_195
_PAGE: Final = 4096


class _City(NamedTuple):
    """Where lots are drawn: a square of so many metres around CENTRE."""

    dice: random.Random
    side_m: float
    authors: list[bytes]
    resolution: int

    def lot(self, side: Side) -> BookLot:
        dice = self.dice
        aside = self.side_m / _DEGREE_M
        latitude = CENTRE[0] + (dice.random() - 0.5) * aside
        longitude = CENTRE[1] + (dice.random() - 0.5) * aside / math.cos(math.radians(CENTRE[0]))
        is_offer = side is Side.OFFER
        return BookLot(
            side=side,
            id=dice.randbytes(32),
            author=dice.choice(self.authors),
            at_ms=NOW_MS - dice.randrange(30 * DAY_MS),
            until_ms=NOW_MS + dice.randrange(DAY_MS, 30 * DAY_MS),
            category=dice.choices(_CATEGORIES, _WEIGHTS)[0],
            unit=Unit.PIECE if dice.random() < 0.7 else Unit.GRAM,
            remaining=dice.randint(1, 40),
            price=Price(dice.randrange(2_000) if is_offer else 1_000, 1, "EUR"),
            cell=cell_at(latitude, longitude, self.resolution),
            best_before_ms=NOW_MS + dice.randrange(40 * DAY_MS)
            if is_offer and dice.random() < 0.5
            else None,
        )


_CATEGORIES: Final = [f"goods-{at % 8}/kind-{at}" for at in range(CATEGORIES)]
_WEIGHTS: Final = [1 / (at + 2) for at in range(CATEGORIES)]


def figures() -> dict[str, Any]:
    """Return the figures at each resolution, and those at the first as the headline."""
    found = {str(resolution): _at(LOTS, resolution) for resolution in RESOLUTIONS}
    small = _at(LOTS // 10, RESOLUTIONS[0])
    headline = found[str(RESOLUTIONS[0])]
    return {
        **headline,
        "growth": round(headline["query_us"]["p50"] / small["query_us"]["p50"], 2),
        "by_resolution": found,
    }


def _at(lots: int, resolution: int) -> dict[str, Any]:
    dice = random.Random(lots + resolution)  # noqa: S311  # a workload, not a secret
    side_m = math.sqrt(lots / DENSITY_KM2) * 1000
    authors = [dice.randbytes(32) for _ in range(lots // PER_AUTHOR)]
    city = _City(dice, side_m, authors, resolution)
    gc.collect()
    before = _resident()
    book = Book(Side.OFFER)
    inserting: list[float] = []
    filling: list[float] = []
    for start in range(0, lots, INSERTS):
        fresh = [city.lot(Side.OFFER) for _ in range(min(INSERTS, lots - start))]
        started = time.perf_counter()
        for lot in fresh:
            book.insert(lot)
        inserting.append((time.perf_counter() - started) / len(fresh))
        started = time.perf_counter()
        for lot in fresh:
            book.set_remaining(lot.id, lot.remaining)
        filling.append((time.perf_counter() - started) / len(fresh))
        del fresh
    gc.collect()
    grown = _resident() - before
    wishes = [city.lot(Side.REQUEST) for _ in range(2 * WISHES)]
    for wish in wishes[:WISHES]:
        best_for_request(book, wish, NOW_MS, TOP)
    asking = min(
        (_asked(book, wishes[WISHES:]) for _ in range(ROUNDS)),
        key=statistics.median,
    )
    column = np.arange(lots, dtype=np.float32)
    passing = []
    for _ in range(50):
        started = time.perf_counter()
        np.flatnonzero(column < 0)
        passing.append(time.perf_counter() - started)
    return {
        "lots": lots,
        "query_us": {"p50": _us(statistics.median(asking)), "p99": _us(_p99(asking))},
        "reference_pass_us": _us(statistics.median(passing)),
        "insert_us": _us(statistics.median(inserting)),
        "partial_us": _us(statistics.median(filling)),
        "memory_mib": round(grown / 2**20),
    }


def _asked(book: Book, wishes: Sequence[BookLot]) -> list[float]:
    """Return how long each took: another each time, so that little of it is still in a cache."""
    asking = []
    for wish in wishes:
        started = time.perf_counter()
        best_for_request(book, wish, NOW_MS, TOP)
        asking.append(time.perf_counter() - started)
    return asking


def _resident() -> int:
    """Return the bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123  # no file of ours
        return int(statm.read().split()[1]) * _PAGE


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 1)


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]
