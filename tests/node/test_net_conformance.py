"""What every network promises, kept by both: libp2p over loopback, and the one in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import pytest
import trio
from tests.node.networks import (
    Ear,
    Libp2pMaker,
    Maker,
    MemoryMaker,
    echo,
    eventually,
    read_all,
)

from passby.node.net import (
    GossipVerdict,
    NetEvent,
    Network,
    PeerConnected,
    PeerDisconnected,
    Stream,
)
from passby.protocol import limits
from passby.protocol.errors import Code, LocalError, RemoteError, UsageError

ECHO = "/passby/test-echo/1"
TOPIC = "passby/test"


@pytest.fixture(params=["memory", "libp2p"])
def maker(request: pytest.FixtureRequest) -> Maker:
    return MemoryMaker() if request.param == "memory" else Libp2pMaker()


@asynccontextmanager
async def running(*networks: Network) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for network in networks:
            await stack.enter_async_context(network.run())
        yield


@asynccontextmanager
async def pair(maker: Maker) -> AsyncIterator[tuple[Network, Network]]:
    """Two connected nodes, of which the second echoes."""
    a, b = maker.node("a"), maker.node("b")
    b.handle(ECHO, echo)
    async with running(a, b):
        await a.connect(b.addresses()[0])
        await eventually(lambda: a.peer_id in b.peers())
        yield a, b


def told(network: Network) -> list[NetEvent]:
    events: list[NetEvent] = []
    while True:
        try:
            events.append(network.events.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return events


async def test_connect_returns_the_peer_and_both_ends_know_each_other(maker: Maker) -> None:
    a, b = maker.node("a"), maker.node("b")
    async with running(a, b):
        (address,) = b.addresses()
        assert await a.connect(address) == b.peer_id
        await eventually(lambda: a.peer_id in b.peers())
        assert a.peers()[b.peer_id].outbound
        assert not b.peers()[a.peer_id].outbound
        assert told(a) == [PeerConnected(b.peer_id, address, outbound=True)]
        assert told(b) == [PeerConnected(a.peer_id, None, outbound=False)]
        assert await a.connect(address) == b.peer_id
        assert told(a) == []


async def test_an_address_that_is_none_is_a_usage_error(maker: Maker) -> None:
    a = maker.node("a")
    async with running(a):
        for text in ("", "nonsense", "/p2p/", "/ip4/127.0.0.1/tcp/1", a.addresses()[0], "\0"):
            with pytest.raises(UsageError):
                await a.connect(text)


async def test_a_peer_that_is_down_is_a_local_error_that_says_what_to_do(maker: Maker) -> None:
    a, b = maker.node("a"), maker.node("b")
    async with running(a):
        async with running(b):
            address = b.addresses()[0]
        with pytest.raises(LocalError) as caught:
            await a.connect(address)
        assert caught.value.hint
        assert a.peers() == {}


async def test_a_stream_echoes(maker: Maker) -> None:
    async with pair(maker) as (a, b):
        stream = await a.open_stream(b.peer_id, ECHO)
        assert (stream.peer, stream.protocol) == (b.peer_id, ECHO)
        await stream.send_all(b"quart")
        await stream.close()
        assert await read_all(stream) == b"quart"
        assert await stream.receive_some() == b""


async def test_a_mebibyte_comes_back_whole(maker: Maker) -> None:
    async with pair(maker) as (a, b):
        stream = await a.open_stream(b.peer_id, ECHO)
        sent = bytes(range(256)) * 4096

        async def send() -> None:
            await stream.send_all(sent)
            await stream.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await read_all(stream) == sent


async def test_writes_of_two_tasks_do_not_mix(maker: Maker) -> None:
    a, b = maker.node("a"), maker.node("b")
    got: list[bytes] = []

    async def collect(stream: Stream) -> None:
        got.append(await read_all(stream))

    b.handle(ECHO, collect)
    async with running(a, b):
        stream = await a.open_stream(await a.connect(b.addresses()[0]), ECHO)
        size = 3 * limits.STREAM_WRITE_MAX
        async with trio.open_nursery() as nursery:
            for letter in (b"x", b"y"):
                nursery.start_soon(stream.send_all, letter * size)
        await stream.close()
        await eventually(lambda: got)
        assert got[0] in (b"x" * size + b"y" * size, b"y" * size + b"x" * size)


async def test_a_read_returns_at_most_what_was_asked_for(maker: Maker) -> None:
    async with pair(maker) as (a, b):
        stream = await a.open_stream(b.peer_id, ECHO)
        await stream.send_all(b"0123456789")
        await stream.close()
        pieces = [await stream.receive_some(4)]
        while pieces[-1]:
            pieces.append(await stream.receive_some(4))
        assert b"".join(pieces) == b"0123456789"
        assert max(map(len, pieces)) <= 4


async def test_a_cancelled_read_loses_nothing(maker: Maker) -> None:
    async with pair(maker) as (a, b):
        stream = await a.open_stream(b.peer_id, ECHO)
        with trio.move_on_after(0.02) as patience:
            await stream.receive_some()
        assert patience.cancelled_caught
        await stream.send_all(b"late")
        assert await stream.receive_some() == b"late"


async def test_a_reset_is_seen_as_gone_and_nobody_is_blamed(maker: Maker) -> None:
    a, b = maker.node("a"), maker.node("b")
    seen: list[RemoteError] = []

    async def wait(stream: Stream) -> None:
        try:
            await read_all(stream)
        except RemoteError as error:
            seen.append(error)
            raise

    b.handle(ECHO, wait)
    async with running(a, b):
        stream = await a.open_stream(await a.connect(b.addresses()[0]), ECHO)
        await stream.send_all(b"half of")
        await stream.reset()
        await stream.reset()
        await eventually(lambda: seen)
        assert (seen[0].code, seen[0].penalty) == (Code.GONE, 0)
        for attempt in (stream.receive_some(), stream.send_all(b"more")):
            with pytest.raises(RemoteError) as caught:
                await attempt
            assert (caught.value.code, caught.value.penalty) == (Code.GONE, 0)
        assert b.peers()[a.peer_id].score == 0


async def test_a_write_that_is_cancelled_halfway_resets_its_stream_alone(maker: Maker) -> None:
    a, b = maker.node("a"), maker.node("b")
    never = trio.Event()

    async def deaf(_: Stream) -> None:
        await never.wait()

    b.handle("/passby/test-deaf/1", deaf)
    b.handle(ECHO, echo)
    async with running(a, b):
        await a.connect(b.addresses()[0])
        stuck = await a.open_stream(b.peer_id, "/passby/test-deaf/1")
        with trio.move_on_after(0.2) as patience:
            await stuck.send_all(bytes(8 * 1024 * 1024))
        assert patience.cancelled_caught
        with pytest.raises(RemoteError):
            await stuck.send_all(b"more")
        other = await a.open_stream(b.peer_id, ECHO)
        await other.send_all(b"still here")
        assert await other.receive_some() == b"still here"


async def test_a_protocol_nobody_serves_is_refused(maker: Maker) -> None:
    async with pair(maker) as (a, b):
        with pytest.raises(RemoteError) as caught:
            await a.open_stream(b.peer_id, "/passby/unheard-of/9")
        assert (caught.value.code, caught.value.penalty) == (Code.VERSION, 0)


async def test_a_stream_to_a_stranger_is_gone_before_it_began(maker: Maker) -> None:
    a, b = maker.node("a"), maker.node("b")
    async with running(a, b):
        with pytest.raises(RemoteError) as caught:
            await a.open_stream(b.peer_id, ECHO)
        assert (caught.value.code, caught.value.penalty) == (Code.GONE, 0)


async def test_a_disconnect_is_seen_at_both_ends_and_ends_the_streams(maker: Maker) -> None:
    async with pair(maker) as (a, b):
        told(a), told(b)
        stream = await a.open_stream(b.peer_id, ECHO)
        await a.disconnect(b.peer_id)
        await eventually(lambda: not a.peers() and not b.peers())
        with pytest.raises(RemoteError) as caught:
            await stream.receive_some()
        assert caught.value.code is Code.GONE
        assert told(a) == [PeerDisconnected(b.peer_id)]
        assert told(b) == [PeerDisconnected(a.peer_id)]


async def test_a_peer_that_returns_on_its_port_is_redialled(maker: Maker) -> None:
    a, b = maker.node("a"), maker.node("b")
    async with running(a):
        async with running(b):
            address = b.addresses()[0]
            await a.connect(address)
        await eventually(lambda: not a.peers())
        async with running(maker.again(address)):
            await eventually(lambda: b.peer_id in a.peers())
        await eventually(lambda: not a.peers())
        kinds = [type(event) for event in told(a)]
        assert kinds == [PeerConnected, PeerDisconnected] * 2


async def test_a_peer_that_was_disconnected_on_purpose_is_left_alone(maker: Maker) -> None:
    async with pair(maker) as (a, b):
        await a.disconnect(b.peer_id)
        await eventually(lambda: not b.peers())
        with trio.move_on_after(3 * limits.REDIAL_FIRST_S):
            await eventually(a.peers)
        assert a.peers() == {}


@asynccontextmanager
async def line(maker: Maker, *judges: Ear) -> AsyncIterator[list[Network]]:
    """Nodes in a row, each subscribed and judging, the first connected to the second..."""
    nodes = [maker.node(f"n{i}") for i in range(len(judges))]
    async with running(*nodes):
        for node, judge in zip(nodes, judges, strict=True):
            node.on_gossip(judge)
            await node.subscribe(TOPIC)
        for left, right in pairwise(nodes):
            await left.connect(right.addresses()[0])
        yield nodes


async def test_gossip_reaches_the_end_of_a_line_once(maker: Maker) -> None:
    ears = [Ear(), Ear(), Ear()]
    async with line(maker, *ears) as (first, middle, _):
        await first.publish(TOPIC, b"news")
        await eventually(ears[2].data)
        assert ears[0].data() == []
        assert ears[1].heard == [(TOPIC, b"news", first.peer_id)]
        assert ears[2].heard == [(TOPIC, b"news", middle.peer_id)]


async def test_a_burst_of_gossip_is_not_dropped_in_silence(maker: Maker) -> None:
    ears = [Ear(), Ear()]
    async with line(maker, *ears) as (first, _):
        await first.publish(TOPIC, b"0")
        await eventually(ears[1].data)
        sent = [str(n).encode() for n in range(1, 10 * limits.GOSSIP_PUBLISH_PER_S)]
        for data in sent:
            await first.publish(TOPIC, data)
        await eventually(lambda: sorted(ears[1].data()) == sorted([b"0", *sent]))


@pytest.mark.parametrize("verdict", [GossipVerdict.IGNORE, GossipVerdict.REJECT])
async def test_what_is_ignored_or_rejected_goes_no_further(
    maker: Maker, verdict: GossipVerdict
) -> None:
    ears = [Ear(), Ear(), Ear()]
    async with line(maker, *ears) as (first, middle, _):
        await first.publish(TOPIC, b"good")
        await eventually(ears[2].data)
        ears[1].verdict = verdict
        await first.publish(TOPIC, b"bad")
        await eventually(lambda: b"bad" in ears[1].data())
        ears[1].verdict = GossipVerdict.ACCEPT
        await first.publish(TOPIC, b"good again")
        await eventually(lambda: b"good again" in ears[2].data())
        assert ears[2].data() == [b"good", b"good again"]
        assert ears[1].data() == [b"good", b"bad", b"good again"]
        score = middle.peers()[first.peer_id].score
        assert score < 0 if verdict is GossipVerdict.REJECT else score == 0


async def test_who_is_rejected_again_and_again_is_cut_off(maker: Maker) -> None:
    ears = [Ear(), Ear(GossipVerdict.REJECT)]
    async with line(maker, *ears) as (first, second):
        for n in range(4):
            await first.publish(TOPIC, b"bad %d" % n)
        await eventually(lambda: len(ears[1].heard) == 4)
        second.penalise(first.peer_id, 100)
        await eventually(lambda: not second.peers())
        with pytest.raises(LocalError):
            await second.connect(first.addresses()[0])


async def test_an_unsubscribed_topic_is_silent(maker: Maker) -> None:
    ears = [Ear(), Ear()]
    async with line(maker, *ears) as (first, second):
        await second.subscribe("passby/other")
        await first.publish(TOPIC, b"one")
        await eventually(ears[1].data)
        await second.unsubscribe(TOPIC)
        await second.unsubscribe(TOPIC)
        await first.publish(TOPIC, b"two")
        await first.publish("passby/other", b"three")
        await eventually(lambda: b"three" in ears[1].data())
        assert ears[1].data() == [b"one", b"three"]


async def test_a_handler_that_raises_costs_its_stream_and_nothing_else(
    maker: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = maker.node("a"), maker.node("b")

    async def broken(_: Stream) -> None:
        raise ZeroDivisionError("a bug")

    async def angry(_: Stream) -> None:
        raise RemoteError(Code.MALFORMED, "nonsense", penalty=7)

    b.handle("/passby/test-broken/1", broken)
    b.handle("/passby/test-angry/1", angry)
    b.handle(ECHO, echo)
    async with running(a, b):
        await a.connect(b.addresses()[0])
        for protocol in ("/passby/test-broken/1", "/passby/test-angry/1"):
            # It may be reset before or after both have agreed on the protocol.
            with pytest.raises(RemoteError) as caught:
                await read_all(await a.open_stream(b.peer_id, protocol))
            assert caught.value.code is Code.GONE
        stream = await a.open_stream(b.peer_id, ECHO)
        await stream.send_all(b"alive")
        assert await stream.receive_some() == b"alive"
        await eventually(lambda: b.peers()[a.peer_id].score < 0)
        assert b.peers()[a.peer_id].score == pytest.approx(-7, abs=0.1)
    assert "a bug in the handler" in caplog.text


async def test_a_judge_that_raises_ignores_and_lives(
    maker: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Ear):
        def __call__(self, topic: str, data: bytes, sender: str) -> GossipVerdict:
            super().__call__(topic, data, sender)
            if data == b"one":
                raise ZeroDivisionError("a bug")
            return self.verdict

    ears = [Ear(), Broken(), Ear()]
    async with line(maker, *ears) as (first, middle, _):
        for data in (b"zero", b"one", b"two"):
            await first.publish(TOPIC, data)
            await eventually(lambda data=data: data in ears[1].data())
        await eventually(lambda: b"two" in ears[2].data())
        assert ears[2].data() == [b"zero", b"two"]
        assert middle.peers()[first.peer_id].score == 0
    assert "a bug in the judge" in caplog.text


async def test_streams_beyond_the_bound_are_refused_and_the_others_live(maker: Maker) -> None:
    a, b = maker.node("a"), maker.node("b")
    held = trio.Event()

    async def hold(stream: Stream) -> None:
        await held.wait()
        await stream.send_all(b"held")

    b.handle(ECHO, hold)
    async with running(a, b):
        await a.connect(b.addresses()[0])
        # A neighbour's own gossip streams count as well.
        opened = [
            await a.open_stream(b.peer_id, ECHO) for _ in range(limits.STREAMS_PER_PEER_MAX - 2)
        ]
        with pytest.raises(RemoteError) as caught:
            await open_too_many(a, b.peer_id)
        assert caught.value.code is Code.GONE
        held.set()
        for stream in opened:
            assert await stream.receive_some() == b"held"
            await stream.close()
        await eventually_opens(a, b.peer_id)


async def open_too_many(network: Network, peer: str) -> None:
    for _ in range(3):
        await network.open_stream(peer, ECHO)


async def eventually_opens(network: Network, peer: str) -> None:
    with trio.fail_after(60):
        while True:
            try:
                stream = await network.open_stream(peer, ECHO)
            except RemoteError:
                await trio.sleep(0.01)
            else:
                await stream.reset()
                return


async def test_leaving_with_streams_and_handlers_under_way_is_clean(maker: Maker) -> None:
    a, b = maker.node("a"), maker.node("b")

    async def hold(stream: Stream) -> None:
        await stream.send_all(b"hello")
        await trio.sleep_forever()

    b.handle(ECHO, hold)
    with trio.fail_after(60):
        async with running(a):
            async with running(b):
                await a.connect(b.addresses()[0])
                stream = await a.open_stream(b.peer_id, ECHO)
                assert await stream.receive_some() == b"hello"
            with pytest.raises(RemoteError):
                await stream.receive_some()
    assert told(b)[-1:] in ([PeerDisconnected(a.peer_id)], [PeerConnected(a.peer_id, None, False)])


async def test_what_the_block_raises_comes_out_as_it_is(maker: Maker) -> None:
    with pytest.raises(ZeroDivisionError):
        async with maker.node("a").run():
            raise ZeroDivisionError


async def test_a_cancelled_network_leaves_and_its_address_is_free_again(maker: Maker) -> None:
    a = maker.node("a")
    with trio.CancelScope() as scope:
        async with a.run():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    with pytest.raises(RuntimeError):
        async with a.run():
            pass
