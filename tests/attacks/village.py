"""A victim, an honest neighbour and an attacker, over real TCP on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256

import trio
from tests.node.networks import Ear, echo, eventually

from passby.node.net import PeerId, Stream
from passby.node.net_libp2p import Libp2pNetwork
from passby.protocol.errors import RemoteError

TOPIC = "passby/test"
ECHO = "/passby/test-echo/1"
GOSSIP = "/meshsub/1.1.0"


def new_network(name: str) -> Libp2pNetwork:
    return Libp2pNetwork(sha256(name.encode()).digest(), ["/ip4/127.0.0.1/tcp/0"])


@dataclass
class Village:
    victim: Libp2pNetwork
    honest: Libp2pNetwork
    attacker: Libp2pNetwork
    heard: Ear
    """What the victim's judge was asked."""
    news: int = 0

    @property
    def port(self) -> int:
        return int(self.victim.addresses()[0].split("/")[4])

    def score(self, peer: PeerId) -> float:
        return self.victim._standing.score(peer, trio.current_time())

    async def lives_on(self) -> None:
        """Gossip and streams still flow between the honest two, on the connection they had."""
        assert self.honest.peer_id in self.victim.peers()
        self.news += 1
        data = b"news %d" % self.news
        await self.honest.publish(TOPIC, data)
        await eventually(lambda: data in self.heard.data())
        stream = await self.honest.open_stream(self.victim.peer_id, ECHO)
        await stream.send_all(data)
        assert await stream.receive_some() == data
        await stream.reset()

    async def send_rpc(self, body: bytes, length: int | None = None) -> Stream:
        """Send bytes as a pubsub RPC, under a length that may be a lie."""
        stream = await self.attacker.open_stream(self.victim.peer_id, GOSSIP)
        with suppress(RemoteError):  # The victim may have had enough already.
            await stream.send_all(varint(len(body) if length is None else length) + body)
        return stream


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@asynccontextmanager
async def village() -> AsyncIterator[Village]:
    victim, honest, attacker = (new_network(name) for name in ("victim", "honest", "attacker"))
    heard = Ear()
    victim.on_gossip(heard)
    victim.handle(ECHO, echo)
    async with victim.run(), honest.run(), attacker.run():
        for network in (victim, honest, attacker):
            await network.subscribe(TOPIC)
        for network in (honest, attacker):
            await network.connect(victim.addresses()[0])
        await eventually(lambda: len(victim.peers()) == 2)
        here = Village(victim, honest, attacker, heard)
        await here.lives_on()
        yield here
        await here.lives_on()
