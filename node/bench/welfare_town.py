"""A town for one day: who lists what, who wants what, and who passes by where.

Drawn from one seed out of real products and real trips. Lots and wishes are entered before
OPENS_MS and in the hour after it; goods change hands in the course of the day. Half of the people
pass by on a real trip, moved to this day; the others go from home and back.

What a trade is worth is said here alone, in `welfare_minor`: the solver that sees everything, the
nodes and the baseline all count by it.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from passby.geo.cells import cell_at, distance_m
from passby.geo.corridor import (
    CIRCUITY,
    Fix,
    Meeting,
    Way,
    detours_m,
    meeting,
    place_on_sphere,
    recorded,
)
from passby.node.bench.passing import trips
from passby.protocol.errors import UsageError
from passby.protocol.limits import CELL_RESOLUTION_MAX
from passby.protocol.payloads import Offer, Request, Window
from passby.protocol.price import Price
from passby.protocol.units import Unit

PEOPLE: Final = 200
LOTS: Final = 120
DEMAND: Final = 1.5
"""Pieces wanted for each piece there is."""
WORDS: Final = ("chocolate", "cheese", "miel", "jus", "chips", "tea", "confiture", "milk")
"""A product whose name has one of these is of that category."""
PRODUCTS_EACH: Final = 5
LOT_PIECES: Final = (1, 6)
WISH_PIECES: Final = (1, 3)
BY_PRODUCT: Final = 0.25
"""The share of wishes for one product, where the others are for a category."""
WORTH_MINOR: Final = 300
WORTH_SPREAD: Final = 0.7
"""Of the logarithm of what a piece is worth, whose median is WORTH_MINOR."""
ASKED_MINOR: Final = (0, 200)
WAY_MINOR_PER_KM: Final = 40
SPEED_KM_H: Final = 30.0
DETOUR_MAX_S: Final = 1_800
RADIUS_M: Final = 8_000
FADES_PER_DAY: Final = 0.5
"""The share of a thing's worth that is gone if it comes a day later."""
PUBLISHED: Final = 8
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MIDNIGHT_MS: Final = 1_750_003_200_000 - 8 * HOUR_MS
"""In the town of the trips."""
OPENS_MS: Final = MIDNIGHT_MS + 5 * HOUR_MS
STARTS_MS: Final = MIDNIGHT_MS + 7 * HOUR_MS
"""Goods change hands from here on."""
ENTERED_WITHIN_MS: Final = HOUR_MS // 2
OPEN_MS: Final = 8 * HOUR_MS
"""How long each lot can be had."""
_JITTER_M: Final = 500
_BOX: Final = ((39.95, 40.03), (116.27, 116.40))
"""Trips that stay within it are used: a town, and no journeys."""
_DEGREE_M: Final = 111_195

Place = tuple[float, float]


class Lot(NamedTuple):
    """What a lister has: the offer that it publishes, and what only it knows."""

    lister: int
    offer: Offer
    pieces: int
    until_ms: int
    entered_ms: int
    place: Place


class Wish(NamedTuple):
    """What a taker wants; `request.price` is what a piece at once is truly worth to it."""

    taker: int
    request: Request
    until_ms: int
    entered_ms: int


class Person(NamedTuple):
    """Where somebody lives, and the way of today, None for who stays."""

    home: Place
    way: Way | None


class Trip(NamedTuple):
    """What a taker's way to a lot costs, and when it is there."""

    way_minor: int
    at_ms: int


class Town(NamedTuple):
    """Everything there is, as nobody in it sees it."""

    seed: int
    people: list[Person]
    lots: list[Lot]
    wishes: list[Wish]


def welfare_minor(wish: Wish, asked_minor: int, trip: Trip, pieces: int) -> int:
    """Return what a trade is worth to the two together, in minor units.

    What the pieces are worth to the taker when it has them, less what the lister would not have
    given them away for, less the way.
    """
    return pieces * (worth_minor(wish, trip.at_ms) - asked_minor) - trip.way_minor


def worth_minor(wish: Wish, at_ms: int) -> int:
    """Return what a piece is worth to its taker that has it at `at_ms`."""
    late_ms = max(at_ms - STARTS_MS, 0)
    gone = round(wish.request.price.minor * FADES_PER_DAY * late_ms / DAY_MS)
    return wish.request.price.minor - gone


def build(seed: int, data: Path) -> Town:
    """Return the town of a seed.

    Raises:
        UsageError: the data are not there.
    """
    dice = random.Random(seed)  # noqa: S311  # a workload, not a secret
    usable = _usable_trips(data)
    products = _assortment(data, dice)
    people = [_person(dice, usable) for _ in range(PEOPLE)]
    lots = [_lot(dice, people, products) for _ in range(LOTS)]
    supply = sum(lot.pieces for lot in lots)
    wishes: list[Wish] = []
    while (wanted := sum(wish.request.amount for wish in wishes)) < DEMAND * supply:
        wishes.append(_wish(dice, people, lots, math.ceil(DEMAND * supply) - wanted))
    return Town(seed, people, lots, wishes)


def true_trip(town: Town, wish: Wish, lot: Lot, now_ms: int = OPENS_MS) -> Trip | None:
    """Return the way to where the lot is, None where one cannot be there in time."""
    person, window = town.people[wish.taker], _window(lot, now_ms)
    if window is None:
        return None
    if person.way is None:
        return _from_home(distance_m(_fine(person.home), _fine(lot.place)), window)
    extra_m, left_at = detours_m(person.way, place_on_sphere(*lot.place), window, SPEED_KM_H)
    if extra_m[0] == math.inf:
        return None
    return Trip(_way_minor(float(extra_m[0])), int(person.way.at_ms[left_at[0]]))


def guessed_trip(town: Town, wish: Wish, lot: Lot, now_ms: int = OPENS_MS) -> Trip | None:
    """Return the way as the taker's node knows it, from the cell that the lot publishes.

    None where nobody can be there in time, or where it is out of the taker's reach.
    """
    person, window = town.people[wish.taker], _window(lot, now_ms)
    if window is None:
        return None
    if person.way is None:
        apart_m = distance_m(_fine(person.home), lot.offer.cell)
        return _from_home(apart_m, window) if apart_m <= RADIUS_M else None
    stop = _stop(town.seed, wish.taker, person.way, lot.offer.cell, window)
    if stop is None:
        return None
    return Trip(_way_minor(stop.detour_s * SPEED_KM_H / 3.6), stop.passing_ms)


_STOPS: Final[dict[tuple[int, int, int, Window], Meeting | None]] = {}


def _stop(seed: int, taker: int, way: Way, cell: int, window: Window) -> Meeting | None:
    """Return `meeting`, remembered, since every run over one town asks for the same."""
    key = (seed, taker, cell, window)
    if key not in _STOPS:
        _STOPS[key] = meeting(way, cell, window, DETOUR_MAX_S, SPEED_KM_H)
    return _STOPS[key]


def _window(lot: Lot, now_ms: int) -> Window | None:
    """Return when one may still arrive at a lot."""
    window = lot.offer.window
    assert window is not None
    if now_ms > window.until_ms:
        return None
    return Window(max(window.from_ms, now_ms), window.until_ms)


def _from_home(apart_m: int, window: Window) -> Trip:
    return Trip(_way_minor(2 * apart_m * CIRCUITY), max(window.from_ms, STARTS_MS))


def _way_minor(metres: float) -> int:
    return round(metres * WAY_MINOR_PER_KM / 1000)


def _fine(place: Place) -> int:
    return cell_at(*place, CELL_RESOLUTION_MAX)


# --- drawing ---------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _usable_trips(data: Path) -> list[list[Fix]]:
    (south, north), (west, east) = _BOX
    found = []
    for fixes in trips(data):
        if not all(south < fix[0] < north and west < fix[1] < east for fix in fixes):
            continue
        shift_ms = MIDNIGHT_MS - (fixes[0][2] - MIDNIGHT_MS) // DAY_MS * DAY_MS - MIDNIGHT_MS
        moved = [(fix[0], fix[1], fix[2] + shift_ms) for fix in fixes]
        if moved[0][2] >= STARTS_MS:
            found.append(moved)
    return found


def _assortment(data: Path, dice: random.Random) -> list[tuple[str, str, str]]:
    """Return (GTIN, name, category) of the products that people have and want."""
    path = data / "products.csv"
    found: dict[str, list[tuple[str, str, str]]] = {word: [] for word in WORDS}
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                named = row["name"].lower().replace(",", " ").split()
                for word in WORDS:
                    if word in named:
                        found[word].append((row["gtin"], row["name"][:80], f"food/{word}"))
                        break
    except OSError as error:
        raise UsageError(f"{path} cannot be read.", "Name its folder with --data.") from error
    return [product for word in WORDS for product in dice.sample(found[word], PRODUCTS_EACH)]


def _person(dice: random.Random, usable: Sequence[list[Fix]]) -> Person:
    latitude, longitude, _ = dice.choice(dice.choice(usable))
    aside = _JITTER_M / _DEGREE_M
    home = (
        dice.gauss(latitude, aside),
        dice.gauss(longitude, aside / math.cos(math.radians(latitude))),
    )
    return Person(home, recorded(dice.choice(usable)) if dice.random() < 0.5 else None)


def _lot(
    dice: random.Random, people: Sequence[Person], products: Sequence[tuple[str, str, str]]
) -> Lot:
    lister = dice.randrange(len(people))
    gtin, name, category = dice.choice(products)
    place = people[lister].home
    from_ms = STARTS_MS + dice.randrange(8 * HOUR_MS)
    offer = Offer(
        name=name,
        category=category,
        unit=Unit.PIECE,
        price=Price(dice.randint(*ASKED_MINOR), 1, "EUR"),
        cell=cell_at(*place, PUBLISHED),
        gtin=gtin,
        window=Window(from_ms, from_ms + OPEN_MS),
    )
    return Lot(
        lister, offer, dice.randint(*LOT_PIECES), from_ms + OPEN_MS, _entered_ms(dice), place
    )


def _wish(dice: random.Random, people: Sequence[Person], lots: Sequence[Lot], most: int) -> Wish:
    like = dice.choice(lots).offer
    taker = dice.randrange(len(people))
    request = Request(
        name=like.category,
        category=like.category,
        unit=Unit.PIECE,
        amount=min(dice.randint(*WISH_PIECES), most),
        price=Price(round(WORTH_MINOR * math.exp(dice.gauss(0, WORTH_SPREAD))), 1, "EUR"),
        cell=cell_at(*people[taker].home, PUBLISHED),
        gtin=like.gtin if dice.random() < BY_PRODUCT else None,
        radius_m=RADIUS_M,
    )
    return Wish(taker, request, MIDNIGHT_MS + DAY_MS, _entered_ms(dice))


def _entered_ms(dice: random.Random) -> int:
    return OPENS_MS + dice.randrange(ENTERED_WITHIN_MS)
