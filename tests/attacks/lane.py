"""Ann and Ben trade over real TCP with real ledgers; Mallory speaks raw bytes to Ann."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path

import trio
from tests.node.networks import Libp2pMaker, eventually
from tests.node.street import HOME, Household, street

from passby.geo.cells import topic_cell
from passby.node.net import PeerId, Stream
from passby.node.net_libp2p import Libp2pNetwork
from passby.node.participant import NETWORK_ID
from passby.node.replicate import SYNC_PROTOCOL
from passby.protocol.errors import RemoteError
from passby.protocol.messages import (
    FrameReader,
    Head,
    Heads,
    Hello,
    Kind,
    Listed,
    Message,
    decode_message,
    encode_message,
)
from passby.protocol.topics import topic_for

TOPIC = topic_for(topic_cell(HOME))
# No clock is told: a time read here would be that of the import, minutes before the test.
HELLO = encode_message(Hello(NETWORK_ID))
LISTED = encode_message(Listed())
MIB = 2**20


class Mallory:
    """A peer that Ann lets open sync streams, and that may say anything on them."""

    def __init__(self, network: Libp2pNetwork, victim: PeerId) -> None:
        self.network = network
        self.victim = victim
        self.stream: Stream | None = None
        self._reader = FrameReader()

    async def say(self, data: bytes) -> bool:
        """Send bytes on the sync stream, opened when there is none; False once it is gone."""
        try:
            if self.stream is None:
                self.stream = await self.network.open_stream(self.victim, SYNC_PROTOCOL)
                self._reader = FrameReader()
            await self.stream.send_all(data)
        except RemoteError:
            self.stream = None
            return False
        return True

    async def hear(self, kind: Kind) -> Message:
        """Return the next message of that kind; others are passed over."""
        assert self.stream is not None
        with trio.fail_after(60):
            while True:
                while (taken := self._reader.take()) is not None:
                    if taken[0] == kind:
                        return decode_message(*taken)
                self._reader.feed(await self.stream.receive_some(self._reader.room))

    async def is_cut_off(self) -> None:
        """Wait until Ann has ended the stream."""
        if self.stream is not None:
            with trio.fail_after(60), suppress(RemoteError):
                while await self.stream.receive_some():
                    pass
            self.stream = None

    async def names(self, author: bytes, seq: int, short_id: bytes = b"anything") -> None:
        """Meet Ann and name a head."""
        await self.say(HELLO + encode_message(Heads((Head(author, seq, short_id),))) + LISTED)

    async def hang_up(self) -> None:
        if self.stream is not None:
            await self.stream.reset()
            self.stream = None


class Lane:
    """The three, and what is to be said of them."""

    def __init__(self, ann: Household, ben: Household, mallory: Mallory) -> None:
        self.ann = ann
        self.ben = ben
        self.mallory = mallory

    @property
    def score(self) -> float:
        """What Ann thinks of Mallory, connected or not."""
        network = self.ann.network
        assert isinstance(network, Libp2pNetwork)
        return network._standing.score(self.mallory.network.peer_id, trio.current_time())

    def forgive(self) -> None:
        """Let Ann forget what Mallory did, so that more can be tried."""
        network = self.ann.network
        assert isinstance(network, Libp2pNetwork)
        network._standing._faults.clear()

    async def is_penalised(self) -> None:
        await eventually(lambda: self.score < 0)

    async def lives_on(self) -> None:
        """New lots still go both ways between the honest two."""
        for one, other in ((self.ann, self.ben), (self.ben, self.ann)):
            lot = await one.list()
            await eventually(lambda lot=lot, other=other: other.has_lot(lot))
        assert self.ben.network.peer_id in self.ann.network.peers()

    def holds(self, author: bytes) -> int:
        """Return how many of an author's entries Ann holds."""
        return self.ann.participant.chains.head_seq(author)


def new_mallory(victim: PeerId, name: str = "mallory") -> Mallory:
    """Make a peer whose id is below the victim's, as who opens the stream must be."""
    for number in range(1000):
        seed = sha256(f"{name} {number}".encode()).digest()
        network = Libp2pNetwork(seed, ["/ip4/127.0.0.1/tcp/0"])
        if network.peer_id < victim:
            return Mallory(network, victim)
    raise AssertionError("no key found")


@asynccontextmanager
async def lane(folder: Path) -> AsyncIterator[Lane]:
    async with street(Libp2pMaker(), folder) as here:
        ann, ben = await here.settle("ann", "ben")
        await ann.vouch(ben)
        await ben.vouch(ann)
        mallory = new_mallory(ann.network.peer_id)
        async with mallory.network.run():
            await mallory.network.subscribe(TOPIC)
            await mallory.network.connect(ann.address)
            three = Lane(ann, ben, mallory)
            await three.lives_on()
            yield three
            await three.lives_on()
            assert ann.participant.replication.synced_peers[ben.network.peer_id]


def peak_rss() -> int:
    """Return the most memory this process has ever taken, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
