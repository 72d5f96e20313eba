"""Own ways of the next hours, planned or habitual, and what lies beside them.

Nothing of a way leaves this node. A ride is matched here, against the cells that lots publish.
All that neighbours can learn is that this node listens to the topics which the way passes
through, as any node there does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec
import trio
from msgspec import Meta

from passby.geo.book import EVERYTHING, subtree_label
from passby.geo.categories import takes_in
from passby.geo.commute import Commute, learn
from passby.geo.corridor import (
    LIKELY,
    Fix,
    Meeting,
    Way,
    farthest_m,
    meeting,
    planned,
    recorded,
    stretches,
    topics_along,
)
from passby.geo.lots import BookLot
from passby.node.clock import Clock
from passby.node.market import Market
from passby.node.private import PrivateFile
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.limits import (
    COMMUTES_MAX,
    EXPIRE_EVERY_S,
    RIDE_DETOUR_MAX_S,
    RIDE_LOTS_MAX,
    RIDE_PLACES_MAX,
    RIDES_MAX,
    WAY_FIXES_MAX,
)
from passby.protocol.payloads import Window

_LOOK_RESOLUTION: Final = 7
"""A way is looked along in steps of such cells, some 2.4 km wide."""
_LOOK_SPREAD_M: Final = 1_500
"""How far from the middle of such a cell the way in it may be."""

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 24 * 3_600_000

Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]


class Vehicle(StrEnum):
    """What the way is made with."""

    FOOT = "foot"
    BICYCLE = "bicycle"
    CAR = "car"


SPEED_KM_H: Final = {Vehicle.FOOT: 5.0, Vehicle.BICYCLE: 15.0, Vehicle.CAR: 30.0}
"""In a town, stops and all."""


class Ride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way that somebody here is going to make.

    Attributes:
        id: to name it by; drawn when it is added.
        places: where it leads, degrees; or empty, with `track`.
        track: recorded fixes whose way and times it keeps: latitude, longitude, Unix ms.
        depart_ms: when it begins; a track says so itself.
        limit_s: the detour that is worth it.
        category: only lots under it.
    """

    places: Annotated[tuple[tuple[Latitude, Longitude], ...], Meta(max_length=RIDE_PLACES_MAX)] = ()
    track: Annotated[
        tuple[tuple[Latitude, Longitude, int], ...], Meta(max_length=WAY_FIXES_MAX)
    ] = ()
    depart_ms: Annotated[int, Meta(ge=0, le=2**48)] = 0
    vehicle: Vehicle = Vehicle.CAR
    limit_s: Annotated[int, Meta(ge=0, le=RIDE_DETOUR_MAX_S)] = 300
    category: Annotated[str, Meta(max_length=120)] | None = None
    id: Annotated[str, Meta(max_length=12)] = ""

    def way(self) -> Way:
        """Return its points and times.

        Raises:
            UsageError: it leads nowhere.
        """
        if self.track:
            fixes: tuple[Fix, ...] = self.track
            return recorded(fixes)
        if not self.places:
            raise UsageError("This ride has no way.", "Name its places with --from and --to.")
        return planned(self.places, self.depart_ms, SPEED_KM_H[self.vehicle])


class Stop(msgspec.Struct, frozen=True):
    """A lot beside a way, and what stopping for it costs."""

    ride: Ride
    lot: BookLot
    meeting: Meeting


class Kept(msgspec.Struct, frozen=True):
    """What is kept of own ways: rides to come, and habits."""

    rides: tuple[Ride, ...] = ()
    commutes: tuple[Commute, ...] = ()


class Rides:
    """The rides that are planned or under way, and the stops beside them.

    Args:
        path: the private file that keeps them; None keeps them in memory.
        market: whose offers are looked at.
        me: this device's key; its own lots are no stop.
        clock: for what is over.
        zone: the person's, for habits; None for the machine's.
    """

    def __init__(
        self, path: Path | None, market: Market, me: bytes, clock: Clock, zone: tzinfo | None = None
    ) -> None:
        self._file = PrivateFile(path, Kept, Kept())
        self._zone = zone
        self._market = market
        self._me = me
        self._clock = clock
        self._ways: dict[str, Way] = {}
        self._on_topics: list[Callable[[frozenset[int]], None]] = []
        self._on_stop: list[Callable[[Stop], None]] = []
        self._topics: frozenset[int] = frozenset()
        market.on_lot(self._heard_lot)

    def on_topics(self, tell: Callable[[frozenset[int]], None]) -> None:
        """Call `tell` with the topic cells of all ways whenever they change."""
        self._on_topics.append(tell)

    def on_stop(self, tell: Callable[[Stop], None]) -> None:
        """Call `tell` with each stop that a newly listed lot makes."""
        self._on_stop.append(tell)

    async def run(self) -> None:
        """Let go of rides that are over, until cancelled."""
        while True:
            self._look_at_topics()
            await trio.sleep(EXPIRE_EVERY_S)

    # --- the person's --------------------------------------------------------------------

    def planned(self) -> Sequence[Ride]:
        """Return the rides that are not over, the next one first.

        Raises:
            ConfigError: their file cannot be read.
        """
        now_ms = self._clock()
        kept = self._file.read()
        rides = (*kept.rides, *self._habitual(kept.commutes, now_ms))
        held = [ride for ride in rides if self.times_ms(ride)[1] >= now_ms]
        return sorted(held, key=lambda ride: (self.times_ms(ride), ride.id))

    def add(self, ride: Ride) -> Ride:
        """Keep a ride; returns it with its id.

        Raises:
            UsageError: it leads nowhere, or is over.
            RefusedError: there are RIDES_MAX already.
            LocalError: the disk.
        """
        named = msgspec.structs.replace(ride, id=secrets.token_hex(4))
        if self.times_ms(named)[1] < self._clock():
            raise UsageError("This ride is over already.", "Give its time with --at.")
        kept = self._own()
        if len(kept.rides) >= RIDES_MAX:
            raise RefusedError(
                f"{RIDES_MAX} rides are planned already.", "End one: `passby ride --stop ID`."
            )
        self._file.write(msgspec.structs.replace(kept, rides=(*kept.rides, named)))
        self._look_at_topics()
        return named

    def stop(self, ride_id: str) -> Ride:
        """Forget a ride, by its id or the beginning of it.

        Raises:
            RefusedError: there is none, or several.
        """
        kept = self._own()
        found = [ride for ride in kept.rides if ride_id and ride.id.startswith(ride_id)]
        if len(found) != 1:
            raise RefusedError(
                f"{len(found) or 'No'} rides have an id that begins with “{ride_id[:20]}”.",
                "`passby ride` lists them.",
            )
        left = tuple(ride for ride in kept.rides if ride is not found[0])
        self._file.write(msgspec.structs.replace(kept, rides=left))
        self._look_at_topics()
        return found[0]

    def learn(self, trips: Sequence[Sequence[Fix]]) -> Sequence[Commute]:
        """Learn habits from recorded trips, instead of those learnt before; returns them.

        Raises:
            LocalError: the disk.
        """
        found = tuple(learn(trips, self._local)[:COMMUTES_MAX])
        self._file.write(msgspec.structs.replace(self._own(), commutes=found))
        self._look_at_topics()
        return found

    def commutes(self) -> Sequence[Commute]:
        """Return the habits that were learnt."""
        return self._file.read().commutes

    def stops(self, ride: Ride, limit: int) -> list[Stop]:
        """Return the stops beside the ride's way, the least detour first.

        Of lots beside it the RIDE_LOTS_MAX that lie nearest to its beginning are looked at.
        """
        around_m = self._farthest_m(ride) + _LOOK_SPREAD_M
        label = EVERYTHING if ride.category is None else subtree_label(ride.category)
        offers = self._market.offers
        slots: dict[int, None] = {}
        for stretch in stretches(self._way(ride), _LOOK_RESOLUTION):
            near = offers.near([label], stretch.cell, around_m)
            slots.update(dict.fromkeys(near.tolist()))
            if len(slots) >= RIDE_LOTS_MAX:
                break
        lots = (offers.lot_at(slot) for slot in list(slots)[:RIDE_LOTS_MAX])
        found = [stop for lot in lots if (stop := self._stop_at(ride, lot)) is not None]
        found.sort(key=lambda stop: (stop.meeting.detour_s, stop.meeting.passing_ms, stop.lot.id))
        return found[:limit]

    def times_ms(self, ride: Ride) -> tuple[int, int]:
        """Return when the ride begins and ends."""
        at_ms = self._way(ride).at_ms
        return int(at_ms[0]), int(at_ms[-1])

    # --- within --------------------------------------------------------------------------

    def _own(self) -> Kept:
        """Return what is kept, without rides that are over."""
        kept, now_ms = self._file.read(), self._clock()
        rides = tuple(ride for ride in kept.rides if self.times_ms(ride)[1] >= now_ms)
        return msgspec.structs.replace(kept, rides=rides)

    def _local(self, at_ms: int) -> tuple[int, int]:
        at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self._zone)
        return at.weekday(), at.hour * 60 + at.minute

    def _habitual(self, commutes: Sequence[Commute], now_ms: int) -> Iterator[Ride]:
        """Yield the rides that habits make likely: those of today and tomorrow."""
        for day in (0, 1):
            weekday, minute = self._local(now_ms + day * _DAY_MS)
            midnight_ms = now_ms + day * _DAY_MS - minute * _MINUTE_MS - now_ms % _MINUTE_MS
            for number, commute in enumerate(commutes):
                if weekday not in commute.weekdays:
                    continue
                depart_ms = midnight_ms + commute.minute * _MINUTE_MS
                later_ms = depart_ms - commute.track[0][2]
                track = tuple((lat, lon, at_ms + later_ms) for lat, lon, at_ms in commute.track)
                # Named by its day too: the way is remembered by its name.
                yield Ride(track=track, id=f"c{number}-{depart_ms // _DAY_MS % 100_000}")

    def _heard_lot(self, lot: BookLot) -> None:
        if lot.id not in self._market.offers or not self._on_stop:
            return
        for ride in self.planned():
            if (stop := self._stop_at(ride, lot)) is not None:
                for tell in self._on_stop:
                    tell(stop)

    def _stop_at(self, ride: Ride, lot: BookLot) -> Stop | None:
        if lot.author == self._me or lot.remaining <= 0:
            return None
        if ride.category is not None and not takes_in(ride.category, lot.category):
            return None
        window = lot.window or Window(0, lot.until_ms)
        found = meeting(self._way(ride), lot.cell, window, ride.limit_s, SPEED_KM_H[ride.vehicle])
        if found is None or found.likelihood < LIKELY:
            return None
        return Stop(ride, lot, found)

    def _way(self, ride: Ride) -> Way:
        way = self._ways.get(ride.id)
        if way is None:
            way = ride.way()
            if ride.id:
                self._ways[ride.id] = way
        return way

    def _farthest_m(self, ride: Ride) -> int:
        return farthest_m(ride.limit_s, SPEED_KM_H[ride.vehicle])

    def _look_at_topics(self) -> None:
        rides = self.planned()
        self._ways = {ride.id: self._way(ride) for ride in rides}
        topics = frozenset(
            topic
            for ride in rides
            for topic in topics_along(self._way(ride), self._farthest_m(ride))
        )
        if topics != self._topics:
            self._topics = topics
            for tell in self._on_topics:
                tell(topics)
