"""Attacks on the sync streams of a participant: what one peer opens must not grow or stall."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import trio
from tests.node.networks import Libp2pMaker, MemoryMaker, eventually
from tests.node.street import street

from passby.node.net import Stream
from passby.node.net_memory import Weather
from passby.node.replicate import SYNC_PROTOCOL
from passby.protocol.errors import RemoteError

STREAMS = 16


async def test_streams_opened_all_at_once_leave_one_sync_session(tmp_path: Path) -> None:
    async with street(Libp2pMaker(), tmp_path) as here:
        ann = await here.open("ann")
        # Of two peers the one with the smaller id is the one to open sync streams.
        tried = (here.maker.node(f"stranger {number}") for number in range(64))
        stranger = next(node for node in tried if node.peer_id < ann.network.peer_id)
        opened: list[Stream] = []
        ended: list[Stream] = []

        async def open_one() -> None:
            stream = await stranger.open_stream(ann.network.peer_id, SYNC_PROTOCOL)
            opened.append(stream)
            try:
                while await stream.receive_some():
                    pass
            except RemoteError:
                pass
            ended.append(stream)

        async with stranger.run(), trio.open_nursery() as nursery:
            await stranger.connect(ann.network.addresses()[0])
            for _ in range(STREAMS):
                nursery.start_soon(open_one)
            await eventually(lambda: len(opened) == STREAMS and len(ended) == STREAMS - 1)
            assert stranger.peer_id in ann.participant.replication.synced_peers
            nursery.cancel_scope.cancel()


async def test_a_second_stream_of_a_neighbour_does_not_end_what_comes_through_it() -> None:
    maker = MemoryMaker()
    maker.world.weather = Weather(delay_s=(0.0005, 0.002), loss=1)
    async with street(maker) as here:
        ann, ben = await here.settle("ann", "ben")
        first = await ann.list()
        await eventually(lambda: ben.has_lot(first))
        opener, other = sorted((ann, ben), key=lambda each: each.network.peer_id)
        stream = await opener.network.open_stream(other.network.peer_id, SYNC_PROTOCOL)

        async def both_have(lot: bytes) -> None:
            await eventually(lambda: ann.has_lot(lot) and ben.has_lot(lot))

        async def converse() -> None:
            with suppress(RemoteError):
                await opener.participant.replication._converse(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(converse)
            for household in (ann, ben):
                await both_have(await household.list())
            nursery.cancel_scope.cancel()
