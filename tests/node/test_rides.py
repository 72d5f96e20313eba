"""Own rides against the book: what lies beside them, what they keep, and what leaves the node."""

from __future__ import annotations

import math
from datetime import UTC
from pathlib import Path

import pytest

from passby.geo.cells import cell_at, topic_cell
from passby.ledger.draft import Draft, OpenLot
from passby.ledger.store_memory import MemoryStore
from passby.node.net_memory import MemoryWorld
from passby.node.participant import Identity, Participant
from passby.node.rides import Ride, Rides, Stop, Vehicle
from passby.node.storage import InlineStorage
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.keys import Certificate, SigningKey
from passby.protocol.limits import RIDES_MAX
from passby.protocol.payloads import Offer, Window, encode_payload
from passby.protocol.price import Price
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

EPOCH_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
HERE = (52.37, 4.89)
DEGREE_M = 111_195


def aside(east_m: float, north_m: float = 0) -> tuple[float, float]:
    across = east_m / DEGREE_M / math.cos(math.radians(HERE[0]))
    return HERE[0] + north_m / DEGREE_M, HERE[1] + across


class Passer:
    """A node without neighbours, whose book is filled by hand."""

    def __init__(self, path: Path | None = None) -> None:
        key = SigningKey(b"passer".ljust(32))
        certificate = Certificate.issue(SigningKey(bytes(32)), key.public, EPOCH_MS)
        self.now_ms = EPOCH_MS
        self.clock = lambda: self.now_ms
        self.participant = Participant(
            Identity(key, "passer", certificate.raw, bytes(16), bytes(32)),
            cell_at(*HERE),
            InlineStorage(MemoryStore(), key.public),
            MemoryWorld(1).node("passer"),
            self.clock,
            bytes,
        )
        # Own lots are no stop, so the rides are somebody else's.
        self.rides = Rides(path, self.participant.market, bytes(32), self.clock, UTC)

    async def lists(
        self, place: tuple[float, float], window: Window | None = None, category: str = "food/eggs"
    ) -> bytes:
        cell = cell_at(*place)
        offer = Offer(
            name="Eggs",
            category=category,
            unit=Unit.PIECE,
            price=Price(100, 1, "EUR"),
            cell=cell,
            window=window,
        )
        until_ms = EPOCH_MS + 48 * HOUR_MS
        draft = Draft(
            EntryType.OFFER,
            facts=(topic_cell(cell), until_ms),
            payload=encode_payload(offer),
            move=OpenLot(6),
        )
        begun = self.participant.chains.head_seq(self.participant.chains.author)
        genesis = [] if begun else [self.participant.identity.genesis()]
        records = await self.participant.say([*genesis, draft])
        return records[-1].entry.id


def eastward(**changes: object) -> Ride:
    places = (HERE, aside(6_000))
    return Ride(**{"places": places, "depart_ms": EPOCH_MS + HOUR_MS} | changes)  # type: ignore[arg-type]


async def test_what_lies_beside_the_way_comes_with_its_detour_the_least_first() -> None:
    passer = Passer()
    near = await passer.lists(aside(3_000, 100))
    farther = await passer.lists(aside(2_000, 900))
    await passer.lists(aside(3_000, 9_000))
    stops = passer.rides.stops(passer.rides.add(eastward()), 10)
    assert [stop.lot.id for stop in stops] == [near, farther]
    assert stops[0].meeting.detour_s < stops[1].meeting.detour_s <= 300
    start_ms = EPOCH_MS + HOUR_MS
    assert start_ms < stops[0].meeting.passing_ms < start_ms + HOUR_MS


async def test_a_lot_whose_hours_are_over_before_one_passes_is_no_stop() -> None:
    passer = Passer()
    await passer.lists(aside(3_000), Window(EPOCH_MS, EPOCH_MS + HOUR_MS // 2))
    later = await passer.lists(aside(3_000), Window(EPOCH_MS, EPOCH_MS + 3 * HOUR_MS))
    stops = passer.rides.stops(passer.rides.add(eastward()), 10)
    assert [stop.lot.id for stop in stops] == [later]


async def test_only_the_category_asked_for_counts() -> None:
    passer = Passer()
    await passer.lists(aside(3_000))
    milk = await passer.lists(aside(3_000), category="food/milk")
    ride = passer.rides.add(eastward(category="food/milk"))
    assert [stop.lot.id for stop in passer.rides.stops(ride, 10)] == [milk]


async def test_a_walker_goes_less_far_out_of_the_way_than_a_driver() -> None:
    passer = Passer()
    await passer.lists(aside(3_000, 900))
    assert passer.rides.stops(passer.rides.add(eastward()), 10)
    assert not passer.rides.stops(passer.rides.add(eastward(vehicle=Vehicle.FOOT)), 10)


async def test_own_lots_are_no_stop() -> None:
    passer = Passer()
    await passer.lists(aside(3_000))
    own = Rides(None, passer.participant.market, passer.participant.chains.author, passer.clock)
    assert not own.stops(own.add(eastward()), 10)


async def test_a_lot_that_is_listed_while_the_ride_is_planned_is_told_of() -> None:
    passer = Passer()
    told: list[Stop] = []
    passer.rides.on_stop(told.append)
    ride = passer.rides.add(eastward())
    lot = await passer.lists(aside(3_000))
    await passer.lists(aside(3_000, 9_000))
    assert [(stop.ride, stop.lot.id) for stop in told] == [(ride, lot)]


async def test_rides_outlive_a_restart_and_leave_when_they_are_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rides.json"
    ride = Passer(path).rides.add(eastward())
    again = Passer(path)
    assert again.rides.planned() == [ride]
    again.now_ms += 24 * HOUR_MS
    assert again.rides.planned() == []


async def test_the_topics_of_all_ways_are_told_and_taken_back() -> None:
    passer = Passer()
    told: list[frozenset[int]] = []
    passer.rides.on_topics(told.append)
    ride = passer.rides.add(eastward())
    assert told == [told[0]]
    assert {topic_cell(cell_at(*HERE)), topic_cell(cell_at(*aside(6_000)))} <= told[0]
    passer.rides.stop(ride.id[:4])
    assert told[1:] == [frozenset()]


async def test_a_ride_without_a_way_or_in_the_past_is_refused() -> None:
    rides = Passer().rides
    with pytest.raises(UsageError, match="no way"):
        rides.add(Ride())
    with pytest.raises(UsageError, match="over already"):
        rides.add(eastward(depart_ms=1))


async def test_there_are_only_so_many_rides() -> None:
    rides = Passer().rides
    for _ in range(RIDES_MAX):
        rides.add(eastward())
    with pytest.raises(RefusedError, match="planned already"):
        rides.add(eastward())


@pytest.mark.parametrize("ride_id", ["", "zz", "0" * 8])
async def test_a_ride_that_is_not_there_cannot_be_stopped(ride_id: str) -> None:
    rides = Passer().rides
    with pytest.raises(RefusedError, match="No rides"):
        rides.stop(ride_id)


async def test_a_recorded_way_is_as_good_as_a_planned_one() -> None:
    passer = Passer()
    lot = await passer.lists(aside(3_000, 100))
    track = tuple((*aside(at), EPOCH_MS + HOUR_MS + at * 120) for at in range(0, 6_001, 100))
    ride = passer.rides.add(Ride(track=track))
    assert [stop.lot.id for stop in passer.rides.stops(ride, 10)] == [lot]


async def test_a_habit_is_a_ride_on_its_days_and_outlives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "rides.json"
    passer = Passer(path)
    lot = await passer.lists(aside(3_000, 100))
    week_ms = 7 * 24 * HOUR_MS
    trips = [
        [
            (*aside(at), EPOCH_MS + HOUR_MS - week * week_ms + at * 120)
            for at in range(0, 6_001, 100)
        ]
        for week in (1, 2, 3)
    ]
    (commute,) = passer.rides.learn(trips)
    assert commute.trips == 3
    (ride,) = passer.rides.planned()
    assert passer.rides.times_ms(ride)[0] == EPOCH_MS + HOUR_MS
    assert [stop.lot.id for stop in passer.rides.stops(ride, 10)] == [lot]
    again = Passer(path)
    assert again.rides.commutes() == (commute,)
    again.now_ms += 3 * 24 * HOUR_MS
    assert again.rides.planned() == []
    again.rides.learn([])
    assert again.rides.commutes() == ()
