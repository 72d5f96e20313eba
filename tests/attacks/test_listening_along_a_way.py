"""A neighbour who reads all that a passer-by sends, to learn where it goes."""

from __future__ import annotations

import random

import pytest
import trio
from tests.sim.schedule import simulate
from tests.sim.village import EPOCH_MS, HOME, Village

from passby.geo.cells import centre_of, topic_cell
from passby.geo.corridor import farthest_m, topics_along
from passby.node.net_memory import MemoryNetwork, MemoryStream, MemoryWorld
from passby.node.rides import SPEED_KM_H, Ride, Rides, Vehicle

HOUR_MS = 3_600_000
LATITUDE, LONGITUDE = centre_of(HOME)
PAST_THE_LOTS = ((LATITUDE, LONGITUDE - 0.01), (LATITUDE, LONGITUDE + 0.005))
ELSEWHERE = ((LATITUDE, LONGITUDE - 0.06), (LATITUDE, LONGITUDE - 0.045))


def overheard(
    places: tuple[tuple[float, float], ...], patch: pytest.MonkeyPatch
) -> tuple[list[bytes], int]:
    """Return all that the passer-by sent, and how many stops it found."""
    sent: list[bytes] = []
    send_all, publish = MemoryStream.send_all, MemoryNetwork.publish

    async def story(dice: random.Random) -> int:
        village = Village(MemoryWorld(3), dice, 3)
        passer, *others = village.villagers

        async def listening(stream: MemoryStream, data: bytes) -> None:
            if stream in [each for link in passer.network.links.values() for each in link.streams]:
                sent.append(bytes(data))
            await send_all(stream, data)

        async def hearing(network: MemoryNetwork, topic: str, data: bytes) -> None:
            if network is passer.network:
                sent.append(topic.encode() + data)
            await publish(network, topic, data)

        patch.setattr(MemoryStream, "send_all", listening)
        patch.setattr(MemoryNetwork, "publish", hearing)
        async with trio.open_nursery() as nursery:
            await village.settle(nursery, 2)
            participant = passer.participant
            rides = Rides(None, participant.market, passer.key.public, participant.clock)
            rides.on_topics(participant.interest.travel)
            ride = rides.add(Ride(places=places, depart_ms=EPOCH_MS + HOUR_MS))
            for other in others:
                for number in range(3):
                    await other.offer(f"thing {number}")
                    await trio.sleep(2)
            await trio.sleep(30)
            found = len(rides.stops(ride, 10))
            nursery.cancel_scope.cancel()
        return found

    found = simulate(9, story)
    patch.undo()
    return sent, found


def test_two_ways_through_the_same_topics_send_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics = [
        topics_along(Ride(places=places).way(), farthest_m(300, SPEED_KM_H[Vehicle.CAR]))
        for places in (PAST_THE_LOTS, ELSEWHERE)
    ]
    assert topics[0] == topics[1]
    assert topic_cell(HOME) in topics[0]
    one, stops = overheard(PAST_THE_LOTS, monkeypatch)
    other, none = overheard(ELSEWHERE, monkeypatch)
    assert stops == 6
    assert none == 0
    assert len(one) > 10
    assert one == other
