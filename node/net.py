"""What the rest of the node may ask of a network, whichever one it is.

Two implementations keep this contract: `net_libp2p` over real sockets, `net_memory` inside
one process on virtual time. Both pass `tests/node/test_net_conformance.py`.

A network announces (gossip: unordered, may be lost, may be late) and carries (streams:
ordered, reliable until they break). Losing any gossip message must cost nothing but time.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeAlias

import trio

from passby.protocol import limits
from passby.protocol.errors import LocalError, RemoteError

_log = logging.getLogger("passby.net")

PeerId: TypeAlias = str
"""A peer's libp2p id in base58: the hash or copy of its transport key."""


class GossipVerdict(Enum):
    """What becomes of a gossip message that was seen for the first time."""

    ACCEPT = auto()
    """Forward it."""
    IGNORE = auto()
    """Do not forward it; nobody is to blame."""
    REJECT = auto()
    """Do not forward it; whoever sent it pays."""


Judge: TypeAlias = Callable[[str, bytes, PeerId], GossipVerdict]
"""(topic, data, the neighbour that sent it) -> verdict. Synchronous and cheap."""


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """A first connection to the peer stands."""

    peer: PeerId
    address: str | None
    """Where it was dialled; None when it came to us."""
    outbound: bool


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """The last connection to the peer is gone."""

    peer: PeerId


NetEvent: TypeAlias = PeerConnected | PeerDisconnected


@dataclass(frozen=True, slots=True)
class PeerConnection:
    """A connected peer, as of the moment of asking."""

    addresses: tuple[str, ...]
    """Remote ends of its connections; of an inbound one the port is not where it listens."""
    outbound: bool
    since_s: float
    """`trio.current_time()` of the first connection."""
    rtt_ms: float | None
    """None until the first answer to a ping."""
    score: float


class Stream(Protocol):
    """An ordered, reliable stream of bytes to one peer.

    Let it go with `close` at both ends, or with `reset` at one. Cancelling a read loses
    nothing. Cancelling a write resets the stream, since nobody could tell how much of it left.
    """

    @property
    def peer(self) -> PeerId:
        """Whom it leads to; proven by the handshake."""

    @property
    def protocol(self) -> str:
        """What both ends agreed to speak."""

    async def receive_some(self, max_bytes: int = limits.STREAM_READ_MAX) -> bytes:
        """Return at least one byte, at most `max_bytes`; b"" when the peer has closed its end.

        Raises:
            RemoteError: GONE, penalty 0, when the stream was reset or the peer went away.
        """

    async def send_all(self, data: bytes) -> None:
        """Send `data`, never mixed with another task's; returns when it has left, not arrived.

        A peer that does not read for STREAM_STALL_S loses the stream.

        Raises:
            RemoteError: GONE, penalty 0.
        """

    async def close(self) -> None:
        """Send no more. The peer's last bytes can still be read. Never raises."""

    async def reset(self) -> None:
        """Break the stream at both ends. Never raises."""


StreamHandler: TypeAlias = Callable[[Stream], Awaitable[None]]


class Network(Protocol):
    """Neighbours, streams to them and gossip among them. Runs once."""

    @property
    def peer_id(self) -> PeerId:
        """Our own."""

    @property
    def events(self) -> trio.MemoryReceiveChannel[NetEvent]:
        """Comings and goings, for one reader. When NET_EVENTS_MAX wait, new ones are dropped."""

    def addresses(self) -> list[str]:
        """Where we can be dialled, as full multiaddrs; empty unless running."""

    def run(self) -> AbstractAsyncContextManager[None]:
        """Listen, and keep the peers, until the block is left; owns every task of the network.

        Raises:
            LocalError: it cannot listen there; the text names the port.
        """

    async def connect(self, address: str) -> PeerId:
        """Dial, prove the peer's id, and from then on redial it whenever it is lost.

        Returns at once when the peer is connected already; the address is kept all the same.

        Raises:
            UsageError: no multiaddr that ends in /p2p/ID, or our own.
            LocalError: nobody answers there, somebody else does, or its score is too low.
        """

    async def disconnect(self, peer: PeerId) -> None:
        """Close every connection to the peer and forget its addresses. Never raises."""

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        """Open a stream to a connected peer.

        Raises:
            RemoteError: GONE when it is not connected or goes away, VERSION when it does not
                speak the protocol; penalty 0 both.
        """

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        """Serve streams of a protocol that peers open; call it before `run`.

        When the handler returns the stream is closed; when it raises, the stream is reset
        and a RemoteError's penalty is taken from the peer's score.
        """

    async def subscribe(self, topic: str) -> None:
        """Take part in a topic. Again is the same."""

    async def unsubscribe(self, topic: str) -> None:
        """Leave a topic. Again is the same."""

    async def publish(self, topic: str, data: bytes) -> None:
        """Announce to the topic's neighbours, at most GOSSIP_PUBLISH_PER_S on average.

        Our own messages are not judged. Nobody promises that anybody hears it.
        """

    def on_gossip(self, judge: Judge) -> None:
        """Let `judge` decide on each new message; without a judge all are ignored.

        Called once a message, for subscribed topics only. When it raises, the message is
        ignored and the log tells.
        """

    def peers(self) -> dict[PeerId, PeerConnection]:
        """Who is connected now."""

    def penalise(self, peer: PeerId, amount: float) -> None:
        """Lower a peer's score; at SCORE_CUT it is disconnected and kept out for a while."""


class PortTakenError(LocalError):
    """Somebody else listens on our port."""


class ServedStream(Stream, Protocol):
    """A stream that a peer opened, as the implementations hold it."""

    async def finish(self) -> None:
        """Close, wait at most STREAM_LINGER_S for the peer's end, and reset if it stays."""


async def serve_stream(
    stream: ServedStream, handler: StreamHandler, penalise: Callable[[PeerId, float], None]
) -> None:
    """Run a handler on a stream; whatever it raises costs this stream and nothing else."""
    try:
        await handler(stream)
    except RemoteError as error:
        _log.info("%s with %s: %s", stream.protocol, stream.peer, error)
        await stream.reset()
        if error.penalty:
            penalise(stream.peer, error.penalty)
    except Exception:  # noqa: BLE001  # ours or a library's bug, and not worth the node
        _log.exception("a bug in the handler of %s", stream.protocol)
        await stream.reset()
    else:
        await stream.finish()


def judge_safely(judge: Judge | None, topic: str, data: bytes, sender: PeerId) -> GossipVerdict:
    """Ask the judge; without one, or when it fails, the message is ignored."""
    if judge is None:
        return GossipVerdict.IGNORE
    try:
        return judge(topic, data, sender)
    except Exception:  # noqa: BLE001  # as above
        _log.exception("a bug in the judge of gossip")
        return GossipVerdict.IGNORE
