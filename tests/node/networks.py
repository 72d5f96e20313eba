"""Both networks behind one face, for the tests that both must pass."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

import trio

from passby.node.net import GossipVerdict, Network, PeerId, Stream
from passby.node.net_memory import MemoryWorld
from passby.node.net_weather import Weather


class Maker(Protocol):
    def node(self, name: str) -> Network:
        """Make a node that listens on a port of its own."""

    def again(self, address: str) -> Network:
        """Make a node that left anew, with the same id and the same address."""


class MemoryMaker:
    def __init__(self) -> None:
        self.world = MemoryWorld(1, Weather(delay_s=(0.0005, 0.002)))

    def node(self, name: str) -> Network:
        return self.world.node(name)

    def again(self, address: str) -> Network:
        return self.world.node(address.rpartition("/")[2])


class Libp2pMaker:
    def __init__(self) -> None:
        self._seeds: dict[PeerId, bytes] = {}

    def node(self, name: str) -> Network:
        return self._make(sha256(name.encode()).digest(), "/ip4/127.0.0.1/tcp/0")

    def again(self, address: str) -> Network:
        listening, _, peer = address.partition("/p2p/")
        return self._make(self._seeds[peer], listening)

    def _make(self, seed: bytes, listen: str) -> Network:
        from passby.node.net_libp2p import Libp2pNetwork

        network = Libp2pNetwork(seed, [listen])
        self._seeds[network.peer_id] = seed
        return network


class Ear:
    """A judge that remembers what it was asked, and says what it was told to say."""

    def __init__(self, verdict: GossipVerdict = GossipVerdict.ACCEPT) -> None:
        self.verdict = verdict
        self.heard: list[tuple[str, bytes, PeerId]] = []

    def __call__(self, topic: str, data: bytes, sender: PeerId) -> GossipVerdict:
        self.heard.append((topic, data, sender))
        return self.verdict

    def data(self) -> list[bytes]:
        return [data for _, data, _ in self.heard]


async def eventually(holds: Callable[[], object]) -> None:
    """Wait until something holds; a minute means never."""
    with trio.fail_after(60):
        while not holds():  # noqa: ASYNC110  # what is waited for is all over two networks
            await trio.sleep(0.005)


async def echo(stream: Stream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


async def read_all(stream: Stream) -> bytes:
    data = bytearray()
    while piece := await stream.receive_some():
        data += piece
    return bytes(data)
