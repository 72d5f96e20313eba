"""Lots to test with: one by one with what matters named, or any that Hypothesis thinks of."""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

from hypothesis import strategies as st

from passby.geo.cells import cell_at, parent_at
from passby.geo.lots import BookLot, Side
from passby.protocol.payloads import Condition, Window
from passby.protocol.price import Price
from passby.protocol.units import Unit

T = TypeVar("T")
NOW_MS = 1_750_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HOME = cell_at(52.375, 4.884, 8)
GTINS = ("04006633123457", "04006633999991", "00000096385074")


def hash_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def lot(side: Side, name: str, **given: Any) -> BookLot:
    """Return a lot that fits any other made here unless `given` says otherwise."""
    fields: dict[str, Any] = {
        "id": hash_of(name),
        "author": hash_of(f"author of {name}"),
        "at_ms": NOW_MS - HOUR_MS,
        "until_ms": NOW_MS + 7 * DAY_MS,
        "category": "fluids/brake-fluid",
        "unit": Unit.MILLILITRE,
        "remaining": 500,
        "price": Price(800, 500, "EUR"),
        "cell": HOME,
    }
    return BookLot(side=side, **(fields | given))


def offer(name: str = "offer", **given: Any) -> BookLot:
    return lot(Side.OFFER, name, **given)


def request(name: str = "request", **given: Any) -> BookLot:
    return lot(Side.REQUEST, name, **given)


def mostly(
    usual: st.SearchStrategy[T], rare: st.SearchStrategy[T], times_in_ten: int = 8
) -> st.SearchStrategy[T]:
    """Draw from `usual`, now and then from `rare`: of rules in a row each must seldom refuse."""
    return st.integers(0, 9).flatmap(lambda at: usual if at < times_in_ten else rare)


amounts = mostly(st.integers(15, 30), st.integers(1, 20) | st.integers(1, 2**53 - 1))
times = st.integers(NOW_MS - 3 * DAY_MS, NOW_MS + 5 * DAY_MS)
windows = st.tuples(times, st.integers(0, 3 * DAY_MS)).map(lambda at: Window(at[0], sum(at)))
knots = st.lists(times, min_size=1, max_size=3, unique=True).flatmap(
    lambda at: st.tuples(*(st.tuples(st.just(one), st.integers(0, 20)) for one in sorted(at)))
)
prices = st.builds(
    Price,
    st.integers(0, 20) | st.integers(0, 2**53 - 1),
    st.sampled_from([1, 1, 2, 3, 7, 1000]),
    mostly(st.just("EUR"), st.just("USD")),
    mostly(st.just(()), knots, 6),
)


def places(latitude: float = 52.375, longitude: float = 4.884) -> st.SearchStrategy[int]:
    """Cells of all published resolutions within some 60 km, most of them close by."""

    def near(reach: float) -> st.SearchStrategy[int]:
        around = st.floats(-reach, reach)
        return st.builds(
            lambda north, east, resolution: parent_at(
                cell_at(
                    max(-90, min(90, latitude + north)),
                    (longitude + east + 180) % 360 - 180,
                    15,
                ),
                resolution,
            ),
            around,
            around,
            st.sampled_from([8, 8, 8, 5, 6, 7, 9, 12]),
        )

    return near(0.01) | near(0.05) | near(0.5)


def lots(
    side: Side, number: st.SearchStrategy[int], where: st.SearchStrategy[int]
) -> st.SearchStrategy[BookLot]:
    """Lots of `side`; those of one number have one id."""
    is_offer = side == Side.OFFER
    late = st.integers(NOW_MS + 2 * DAY_MS, NOW_MS + 9 * DAY_MS)
    day = mostly(st.none() | late, times)
    categories = ["fluids", "fluids/brake-fluid", "fluids/brake", "food"]
    return st.builds(
        BookLot,
        side=st.just(side),
        id=number.map(lambda at: hash_of(f"{side}{at}")),
        author=st.integers(0, 9).map(lambda at: hash_of(f"author{at}")),
        at_ms=st.integers(NOW_MS - 30 * DAY_MS, NOW_MS + HOUR_MS),
        until_ms=mostly(late, times),
        category=mostly(st.just(categories[is_offer]), st.sampled_from(categories)),
        unit=mostly(st.just(Unit.MILLILITRE), st.just(Unit.PIECE), 9),
        remaining=mostly(amounts, st.just(0), 9),
        price=prices,
        cell=where,
        minimum=mostly(st.just(1), st.integers(1, 10)),
        step=mostly(st.just(1), st.integers(1, 10)) if is_offer else st.just(1),
        gtin=mostly(st.none() | st.just(GTINS[0]), st.sampled_from(GTINS)),
        brand=mostly(st.none(), st.sampled_from(["ate", "bosch"])),
        condition=mostly(st.none(), st.sampled_from(list(Condition))),
        window=mostly(st.none(), windows),
        radius_m=st.none() | st.sampled_from([0, 500, 5_000, 30_000, 200_000]),
        best_before_ms=day if is_offer else st.none(),
        needed_until_ms=st.none() if is_offer else day,
        margin_s=st.just(0) if is_offer else st.sampled_from([0, 3600, 24 * 3600]),
    )
