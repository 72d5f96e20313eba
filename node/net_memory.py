"""The Network contract inside one process, on trio's clock, with weather from one seed.

For simulations: many nodes on a `MockClock`, where messages are lost, late, doubled and out
of order, the net is partitioned and nodes crash. All chance comes from the world's dice and
all time from trio, so that one seed gives one run (with `tests/sim/schedule.py`).

What the weather does: gossip is lost, doubled and delayed message by message, so that it also
overtakes itself. Streams are delayed and stay in order, as TCP makes them; instead of losing
bytes a stream breaks (GONE at both ends), by chance, at a partition or at a crash.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import trio

from passby.node.keeper import Keeper
from passby.node.net import (
    GossipVerdict,
    Judge,
    NetEvent,
    PeerConnected,
    PeerConnection,
    PeerDisconnected,
    PeerId,
    StreamHandler,
    judge_safely,
    serve_stream,
)
from passby.node.net_weather import MessageId, Post, Seen, Weather
from passby.node.standing import Standing
from passby.protocol import limits
from passby.protocol.errors import Code, LocalError, RemoteError, UsageError

__all__ = ["MemoryNetwork", "MemoryStream", "MemoryWorld", "Weather"]

_WINDOW: Final = 256 * 1024
"""Bytes of a stream under way or unread; yamux begins with the same."""
Trace = Callable[[float, str, PeerId, PeerId, int], None]
"""(at_s, what, from, to, bytes): gossip, stream, up, down."""


class MemoryWorld:
    """Everybody there is, and who reaches whom."""

    def __init__(
        self, seed: int, weather: Weather | None = None, trace: Trace | None = None
    ) -> None:
        self.weather = weather or Weather()
        self.dice = random.Random(seed)  # noqa: S311  # weather, not a secret
        self._trace = trace
        self._up: dict[PeerId, MemoryNetwork] = {}
        self._group: dict[PeerId, int] = {}

    def node(self, peer_id: PeerId) -> MemoryNetwork:
        """Make a node; a new one may take the id of one that left or crashed."""
        return MemoryNetwork(self, peer_id)

    def partition(self, groups: Iterable[Iterable[PeerId]]) -> None:
        """Cut the links between the groups; whoever is in none is in one more group."""
        self._group = {peer: n for n, group in enumerate(groups, 1) for peer in group}
        for node in list(self._up.values()):
            for peer in list(node.links):
                if not self.reaches(node.peer_id, peer):
                    node.links[peer].cut()

    def heal(self) -> None:
        """Let everybody reach everybody; kept peers find each other by redialling."""
        self._group = {}

    def crash(self, peer: PeerId) -> None:
        """Take a node off the net without a goodbye. Its tasks are for its owner to cancel."""
        node = self._up.pop(peer, None)
        if node is not None:
            node.fall_silent()

    def reaches(self, one: PeerId, other: PeerId) -> bool:
        """Whether no partition lies between the two."""
        return self._group.get(one, 0) == self._group.get(other, 0)

    def find(self, peer: PeerId) -> MemoryNetwork | None:
        """Return the node of that id which is up."""
        return self._up.get(peer)

    def enter(self, node: MemoryNetwork) -> None:
        """Bring a node up.

        Raises:
            LocalError: its id is in use.
        """
        if node.peer_id in self._up:
            raise LocalError(f"{node.peer_id} is up already.", "stop the other node first")
        self._up[node.peer_id] = node

    def leave(self, node: MemoryNetwork) -> None:
        """Take a node down, if it is up."""
        if self._up.get(node.peer_id) is node:
            del self._up[node.peer_id]

    def delay_s(self) -> float:
        """Roll how long something is under way."""
        return self.dice.uniform(*self.weather.delay_s)

    def happens(self, chance: float) -> bool:
        """Roll whether something of that chance happens; no chance takes no roll."""
        return chance > 0 and self.dice.random() < chance

    def note(self, what: str, source: PeerId, target: PeerId, size: int = 0) -> None:
        """Tell the trace."""
        if self._trace is not None:
            self._trace(trio.current_time(), what, source, target, size)


class _Link:
    """A connection between two nodes, and the streams on it."""

    def __init__(self, dialler: MemoryNetwork, dialled: MemoryNetwork) -> None:
        self.dialler = dialler
        self.dialled = dialled
        self.since_s = trio.current_time()
        # A dict, since the order of a set would differ from run to run.
        self.streams: dict[MemoryStream, None] = {}
        self.is_up = True

    def other(self, node: MemoryNetwork) -> MemoryNetwork:
        return self.dialled if node is self.dialler else self.dialler

    def cut(self) -> None:
        if not self.is_up:
            return
        self.is_up = False
        for stream in list(self.streams):
            stream.snap()
        for node in (self.dialler, self.dialled):
            node.link_down(self, self.other(node).peer_id)


class MemoryStream:
    """One end of a stream; see `passby.node.net.Stream`."""

    def __init__(self, node: MemoryNetwork, link: _Link, protocol: str) -> None:
        self.peer = link.other(node).peer_id
        self.protocol = protocol
        self.partner: MemoryStream | None = None
        self._node = node
        self._link = link
        self._writing = trio.Lock()
        self._changed = trio.Event()
        self._buffer = bytearray()
        self.under_way = 0
        self._last_due_s = 0.0
        self._is_eof = False
        self._is_closed = False
        self._is_broken = False
        link.streams[self] = None

    async def receive_some(self, max_bytes: int = limits.STREAM_READ_MAX) -> bytes:
        """See `passby.node.net.Stream`."""
        if max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await trio.lowlevel.checkpoint()
        while not (self._buffer or self._is_eof or self._is_broken):
            await self._wait_change()
        if self._buffer:
            most = min(max_bytes, limits.STREAM_READ_MAX)
            data = bytes(self._buffer[:most])
            del self._buffer[:most]
            if self.partner is not None:
                self.partner.wake()
            return data
        if self._is_broken:
            raise self._gone()
        return b""

    async def send_all(self, data: bytes) -> None:
        """See `passby.node.net.Stream`."""
        async with self._writing:
            try:
                for start in range(0, len(data), limits.STREAM_WRITE_MAX):
                    await self._send_piece(data[start : start + limits.STREAM_WRITE_MAX])
            except BaseException:
                await self.reset()
                raise

    async def _send_piece(self, piece: bytes) -> None:
        partner = self.partner
        assert partner is not None
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(limits.STREAM_STALL_S):
            while self.can_send() and partner.is_full():
                await self._wait_change()
        world = self._node.world
        if not self.can_send() or partner.is_full() or world.happens(world.weather.stream_break):
            raise self._gone()
        world.note("stream", self._node.peer_id, self.peer, len(piece))
        self._post(partial(partner.take, piece))
        partner.under_way += len(piece)

    def _post(self, deliver: Callable[[], None]) -> None:
        """Put something on its way, behind all that went before it."""
        due_s = max(self._last_due_s, trio.current_time() + self._node.world.delay_s())
        self._last_due_s = due_s
        self._link.other(self._node).post.put(due_s, deliver)

    async def close(self) -> None:
        """See `passby.node.net.Stream`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_closed or self._is_broken:
            return
        self._is_closed = True
        self.wake()
        assert self.partner is not None
        self._post(self.partner.end)
        self._let_go()

    async def reset(self) -> None:
        """See `passby.node.net.Stream`."""
        if self._is_broken:
            return
        was_whole = not (self._is_closed and self._is_eof)
        self.broken()
        if was_whole and self.partner is not None:
            self._post(self.partner.broken)

    async def finish(self) -> None:
        """See `passby.node.net.ServedStream`."""
        await self.close()
        with trio.move_on_after(limits.STREAM_LINGER_S):
            try:
                while await self.receive_some():
                    pass
            except RemoteError:
                return
        if not self._is_eof:
            await self.reset()

    def can_send(self) -> bool:
        """Whether neither end has broken it nor we have closed it."""
        return not (self._is_closed or self._is_broken)

    def is_full(self) -> bool:
        """Whether this end has as much unread as it may."""
        return self.under_way + len(self._buffer) >= _WINDOW

    def take(self, piece: bytes) -> None:
        """Let a piece arrive."""
        self.under_way -= len(piece)
        if not self._is_broken:
            self._buffer += piece
            self.wake()

    def end(self) -> None:
        """Let the other end's close arrive."""
        self._is_eof = True
        self.wake()
        self._let_go()

    def snap(self) -> None:
        """Break with the link, unread bytes and all."""
        self._buffer.clear()
        self.broken()

    def broken(self) -> None:
        """Let a reset arrive."""
        self._is_broken = True
        self._link.streams.pop(self, None)
        self.wake()
        if self.partner is not None:
            self.partner.wake()

    def _let_go(self) -> None:
        if self._is_closed and self._is_eof:
            self._link.streams.pop(self, None)

    def wake(self) -> None:
        """Let whoever waits on this end look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def _wait_change(self) -> None:
        await self._changed.wait()

    def _gone(self) -> RemoteError:
        return RemoteError(Code.GONE, f"{self.protocol} with {self.peer}: broken", penalty=0)


class MemoryNetwork:
    """A node of a `MemoryWorld`; see `passby.node.net.Network` for what it promises."""

    def __init__(self, world: MemoryWorld, peer_id: PeerId) -> None:
        self.world = world
        self.peer_id = peer_id
        self.post = Post()
        self.links: dict[PeerId, _Link] = {}
        self.topics: set[str] = set()
        self._handlers: dict[str, StreamHandler] = {}
        self._judge: Judge | None = None
        self._standing = Standing()
        self._seen = Seen()
        self._published = 0
        self._serving: Counter[PeerId] = Counter()
        self._events_in, self.events = trio.open_memory_channel[NetEvent](limits.NET_EVENTS_MAX)
        self._keeper = Keeper(self._dial, self.links.__contains__, world.dice)
        self._nursery: trio.Nursery | None = None
        self._has_run = False

    # --- running -----------------------------------------------------------------------

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `passby.node.net.Network`."""
        if self._has_run:
            raise RuntimeError("a network runs once")
        self._has_run = True
        self.world.enter(self)
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.post.carry)
                self._nursery = nursery
                self._keeper.start(nursery)
                try:
                    yield
                except Exception as error:  # noqa: BLE001  # raised again, outside a group
                    failure = error
                finally:
                    self.world.leave(self)
                    # Before the nursery closes: a cut link would start a redial in it.
                    self.fall_silent()
                    nursery.cancel_scope.cancel()
        finally:
            self._events_in.close()
        if failure is not None:
            raise failure

    def fall_silent(self) -> None:
        """Cut every link and do nothing more."""
        self._nursery = None
        self._keeper.stop()
        for link in list(self.links.values()):
            link.cut()

    def addresses(self) -> list[str]:
        """See `passby.node.net.Network`."""
        return [f"/memory/{self.peer_id}/p2p/{self.peer_id}"] if self._nursery else []

    # --- peers -------------------------------------------------------------------------

    async def connect(self, address: str) -> PeerId:
        """See `passby.node.net.Network`."""
        self._running()
        peer = _peer_in(address)
        if peer == self.peer_id:
            raise UsageError("That is this node's own address.", "give a neighbour's")
        if self._is_muted(peer):
            raise LocalError(f"{peer} broke the rules and is kept out.", "try again in an hour")
        if peer not in self.links:
            await self._dial(address)
        self._keeper.keep(peer, address)
        return peer

    async def _dial(self, address: str) -> None:
        peer = _peer_in(address)
        await trio.sleep(2 * self.world.delay_s())
        target = self.world.find(peer)
        if target is None or not self.world.reaches(self.peer_id, peer) or target.refuses(self):
            raise LocalError(
                f"Nobody who speaks passby answers at {address}.",
                "check that the neighbour is up and reachable from here",
            )
        # Both may have dialled at once: one link is enough.
        if peer not in self.links:
            link = _Link(self, target)
            self.world.note("up", self.peer_id, peer)
            self.link_up(link, peer, address)
            target.link_up(link, self.peer_id, None)

    def refuses(self, other: MemoryNetwork) -> bool:
        """Whether the node is kept out."""
        return self._is_muted(other.peer_id)

    def link_up(self, link: _Link, peer: PeerId, address: str | None) -> None:
        """Learn that a link stands."""
        self.links[peer] = link
        self._tell(PeerConnected(peer, address, outbound=link.dialler is self))

    def link_down(self, link: _Link, peer: PeerId) -> None:
        """Learn that a link is gone."""
        if self.links.get(peer) is link:
            del self.links[peer]
            self.world.note("down", self.peer_id, peer)
            self._tell(PeerDisconnected(peer))
            self._keeper.lost(peer)

    def _tell(self, event: NetEvent) -> None:
        with suppress(trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            self._events_in.send_nowait(event)

    async def disconnect(self, peer: PeerId) -> None:
        """See `passby.node.net.Network`."""
        self._keeper.forget(peer)
        link = self.links.get(peer)
        if link is not None:
            link.cut()
        await trio.lowlevel.checkpoint()

    def peers(self) -> dict[PeerId, PeerConnection]:
        """See `passby.node.net.Network`."""
        now_s = trio.current_time()
        return {
            peer: PeerConnection(
                addresses=tuple(link.other(self).addresses()),
                outbound=link.dialler is self,
                since_s=link.since_s,
                rtt_ms=sum(self.world.weather.delay_s) * 1000,
                score=self._standing.score(peer, now_s),
            )
            for peer, link in self.links.items()
        }

    def penalise(self, peer: PeerId, amount: float) -> None:
        """See `passby.node.net.Network`."""
        score = self._standing.penalise(peer, amount, trio.current_time())
        if score <= limits.SCORE_CUT and self._nursery is not None:
            self._nursery.start_soon(self.disconnect, peer)

    def _is_muted(self, peer: PeerId) -> bool:
        return self._standing.is_muted(peer, trio.current_time())

    # --- streams -----------------------------------------------------------------------

    async def open_stream(self, peer: PeerId, protocol: str) -> MemoryStream:
        """See `passby.node.net.Network`."""
        self._running()
        link = self.links.get(peer)
        if link is not None:
            await trio.sleep(2 * self.world.delay_s())
        if link is None or not link.is_up:
            raise RemoteError(Code.GONE, f"{peer} is not connected", penalty=0)
        far = link.other(self)
        if not far.speaks(protocol):
            raise RemoteError(Code.VERSION, f"{peer} does not speak {protocol}", penalty=0)
        near_end = MemoryStream(self, link, protocol)
        far_end = MemoryStream(far, link, protocol)
        near_end.partner, far_end.partner = far_end, near_end
        if not far.serve(far_end):
            near_end.snap()
            far_end.snap()
            raise RemoteError(Code.GONE, f"{peer} has no room for a stream", penalty=0)
        return near_end

    def speaks(self, protocol: str) -> bool:
        """Whether there is a handler."""
        return protocol in self._handlers

    def serve(self, stream: MemoryStream) -> bool:
        """Start the handler of a stream that a peer opened, if there is room."""
        if self._nursery is None or self._serving[stream.peer] >= limits.STREAMS_PER_PEER_MAX:
            return False
        self._serving[stream.peer] += 1
        self._nursery.start_soon(self._serve, stream)
        return True

    async def _serve(self, stream: MemoryStream) -> None:
        try:
            await serve_stream(stream, self._handlers[stream.protocol], self.penalise)
        finally:
            self._serving[stream.peer] -= 1

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        """See `passby.node.net.Network`."""
        self._handlers[protocol] = handler

    # --- gossip ------------------------------------------------------------------------

    async def subscribe(self, topic: str) -> None:
        """See `passby.node.net.Network`."""
        self._running()
        self.topics.add(topic)
        await trio.lowlevel.checkpoint()

    async def unsubscribe(self, topic: str) -> None:
        """See `passby.node.net.Network`."""
        self._running()
        self.topics.discard(topic)
        await trio.lowlevel.checkpoint()

    async def publish(self, topic: str, data: bytes) -> None:
        """See `passby.node.net.Network`."""
        if not self._has_run:
            self._running()
        # Of a node that has crashed the tasks run on until their owner's cancel reaches them;
        # it has no links by then, and nobody hears.
        if len(data) > limits.GOSSIP_BUNDLE_MAX:
            raise ValueError("a gossip message is at most GOSSIP_BUNDLE_MAX")
        self._published += 1
        # With the time, or a node that returns would begin again with ids that were seen.
        message = (self.peer_id, self._published + int(trio.current_time() * 1_000_000))
        self._seen.is_new(message, trio.current_time())
        self._spread(message, topic, data, came_from=self.peer_id)
        await trio.lowlevel.checkpoint()

    def _spread(self, message: MessageId, topic: str, data: bytes, came_from: PeerId) -> None:
        world = self.world
        for peer, link in self.links.items():
            if peer in (came_from, message[0]) or topic not in link.other(self).topics:
                continue
            copies = 1 + world.happens(world.weather.duplication)
            if world.happens(world.weather.loss):
                copies -= 1
            for _ in range(copies):
                at_s = trio.current_time() + world.delay_s()
                hear = partial(link.other(self).hear, link, message, topic, data, self.peer_id)
                link.other(self).post.put(at_s, hear)

    def hear(
        self, link: _Link, message: MessageId, topic: str, data: bytes, sender: PeerId
    ) -> None:
        """Let a gossip message arrive."""
        if not link.is_up or topic not in self.topics or self._is_muted(sender):
            return
        if not self._seen.is_new(message, trio.current_time()):
            return
        self.world.note("gossip", sender, self.peer_id, len(data))
        verdict = judge_safely(self._judge, topic, data, sender)
        if verdict is GossipVerdict.ACCEPT:
            self._spread(message, topic, data, came_from=sender)
        elif verdict is GossipVerdict.REJECT:
            self.penalise(sender, limits.SCORE_REJECT)

    def on_gossip(self, judge: Judge) -> None:
        """See `passby.node.net.Network`."""
        self._judge = judge

    def _running(self) -> None:
        if self._nursery is None:
            raise RuntimeError("the network is not running")


def _peer_in(address: str) -> PeerId:
    head, found, peer = address.rpartition("/p2p/")
    if not found or not peer or head != f"/memory/{peer}":
        raise UsageError(f"{address!r} is no address of a peer.", "/memory/NAME/p2p/NAME")
    return peer
