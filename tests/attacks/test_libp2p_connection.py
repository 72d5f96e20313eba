"""Attacks on connections and streams below gossip, over real TCP."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID
from tests.attacks.village import TOPIC, Village, new_network, varint, village
from tests.node.networks import Ear, eventually

from passby.node.net import PeerConnected, PeerDisconnected, Stream
from passby.protocol import limits
from passby.protocol.errors import LocalError, UsageError


def line(text: str) -> bytes:
    """Build a line of multistream-select."""
    return varint(len(text) + 1) + text.encode() + b"\n"


async def read_until(stream: trio.SocketStream, wanted: bytes) -> bytes:
    got = b""
    with trio.fail_after(30):
        while wanted not in got:
            piece = await stream.receive_some()
            if not piece:
                break
            got += piece
    return got


async def until_closed(stream: trio.SocketStream) -> None:
    with trio.fail_after(30):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass


@pytest.mark.parametrize("protocol", ["/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0"])
async def test_a_dial_without_noise_is_refused(protocol: str) -> None:
    async with village() as here:
        stream = await trio.open_tcp_stream("127.0.0.1", here.port)
        async with stream:
            await stream.send_all(line("/multistream/1.0.0") + line(protocol))
            assert b"na\n" in await read_until(stream, b"na\n")
        assert len(here.victim.peers()) == 2


async def test_garbage_instead_of_a_noise_handshake_ends_its_connection_alone() -> None:
    dice = random.Random(3)
    async with village() as here:
        for opening in (b"", line("/multistream/1.0.0") + line("/noise")):
            stream = await trio.open_tcp_stream("127.0.0.1", here.port)
            async with stream:
                await stream.send_all(opening)
                if opening:
                    await read_until(stream, b"/noise\n")
                await stream.send_all(dice.randbytes(4096))
                await stream.send_eof()
                await until_closed(stream)
            await here.lives_on()


async def test_another_nodes_address_under_a_wrong_id_is_noticed() -> None:
    stranger, here, other = (new_network(name) for name in ("stranger", "here", "other"))
    async with stranger.run(), here.run():
        where = stranger.addresses()[0].partition("/p2p/")[0]
        with pytest.raises(LocalError, match="Somebody else"):
            await here.connect(f"{where}/p2p/{other.peer_id}")
        assert here.peers() == {}


async def test_idle_connections_from_one_address_are_bounded_before_the_handshake() -> None:
    async with village() as here:
        idle = [
            await trio.open_tcp_stream("127.0.0.1", here.port)
            for _ in range(limits.HANDSHAKES_PER_ADDRESS_MAX + 4)
        ]
        await until_closed(idle[-1])
        with trio.move_on_after(0.05) as patience:
            await until_closed(idle[0])
        assert patience.cancelled_caught, "the early ones keep their time for the handshake"
        for stream in idle:
            await stream.aclose()
        newcomer = new_network("newcomer")
        async with newcomer.run():
            await eventually(lambda: not here.victim._swarm._shaking)
            await newcomer.connect(here.victim.addresses()[0])


async def test_hundreds_of_redials_leave_room_for_the_next_one() -> None:
    async with village() as here:
        address = here.victim.addresses()[0]
        tokens = here.victim._swarm._inbound_limiter
        for _ in range(5):
            await here.attacker.disconnect(here.victim.peer_id)
            await eventually(lambda: here.attacker.peer_id not in here.victim.peers())
            await here.attacker.connect(address)
            await eventually(lambda: here.attacker.peer_id in here.victim.peers())
        await eventually(lambda: tokens.borrowed_tokens == 2)


async def raw_stream(here: Village) -> Any:
    """Open a stream on which no protocol was agreed."""
    return await here.attacker._swarm.new_stream(ID.from_base58(here.victim.peer_id))


async def test_garbage_instead_of_a_protocol_ends_its_stream_alone() -> None:
    dice = random.Random(5)
    async with village() as here:
        for _ in range(8):
            stream = await raw_stream(here)
            await stream.write(dice.randbytes(500))
            await stream.close()
        await here.lives_on()
        assert here.attacker.peer_id in here.victim.peers()


async def test_a_thousand_streams_leave_a_bounded_number_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Or they would be gone for saying nothing before they are counted.
    monkeypatch.setattr(limits, "STREAM_NEGOTIATE_S", 600)
    async with village() as here:
        (muxer,) = [one.muxed_conn for one in here.victim._connections(here.attacker.peer_id)]
        (theirs,) = [one.muxed_conn for one in here.attacker._connections(here.victim.peer_id)]
        for n in range(1000):
            await theirs._write_frame(struct.pack("!BBHII", 0, 1, 1, 100_001 + 2 * n, 0))
        # The answer to a ping comes after everything before it was read.
        theirs._ping_event = trio.Event()
        await theirs._write_frame(struct.pack("!BBHII", 0, 2, 1, 0, 7))
        await theirs._ping_event.wait()
        await eventually(lambda: len(muxer.streams) <= limits.STREAMS_PER_PEER_MAX + 8)


async def test_a_peer_that_writes_past_its_window_is_disconnected() -> None:
    victim, attacker = new_network("victim"), new_network("attacker")
    never = trio.Event()

    async def deaf(_: Stream) -> None:
        await never.wait()

    victim.handle("/passby/test-deaf/1", deaf)
    async with victim.run(), attacker.run():
        await attacker.connect(victim.addresses()[0])
        stream = await attacker.open_stream(victim.peer_id, "/passby/test-deaf/1")
        muxer = stream._connection
        piece = struct.pack("!BBHII", 0, 0, 0, stream._mux.stream_id, 65_000) + bytes(65_000)
        with suppress(IOException):
            for _ in range(2 * limits.STREAM_UNREAD_MAX // 65_000):
                await muxer._write_frame(piece)
        # It redials what it loses; what counts is that it lost it.
        with trio.fail_after(60):
            assert isinstance(await victim.events.receive(), PeerConnected)
            assert await victim.events.receive() == PeerDisconnected(attacker.peer_id)


async def test_a_peer_that_does_not_answer_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PING_EVERY_S", 0.1)
    monkeypatch.setattr(limits, "PING_WITHIN_S", 0.2)
    async with village() as here:
        (connection,) = here.attacker._connections(here.victim.peer_id)
        write = connection.muxed_conn._write_frame

        async def frozen(data: bytes) -> None:
            if data[1] != 2:  # anything but a ping or its answer
                await write(data)

        monkeypatch.setattr(connection.muxed_conn, "_write_frame", frozen)
        since_s = here.victim.peers()[here.attacker.peer_id].since_s
        # The frozen one redials what it loses; what counts is that this connection went.
        await eventually(
            lambda: (
                here.attacker.peer_id not in here.victim.peers()
                or here.victim.peers()[here.attacker.peer_id].since_s > since_s
            )
        )


async def test_a_taken_port_is_named() -> None:
    first = new_network("first")
    async with first.run():
        listening = first.addresses()[0].partition("/p2p/")[0]
        port = listening.rpartition("/")[2]
        from passby.node.net_libp2p import Libp2pNetwork

        with pytest.raises(LocalError, match=port) as caught:
            async with Libp2pNetwork(bytes(32), [listening]).run():
                pass
        assert "another port" in caught.value.hint
        with pytest.raises(UsageError):
            Libp2pNetwork(bytes(32), ["/ip4/127.0.0.1"])


async def test_a_muted_peer_is_neither_heard_nor_let_in() -> None:
    victim, attacker = new_network("victim"), new_network("attacker")
    ear = Ear()
    victim.on_gossip(ear)
    async with victim.run(), attacker.run():
        for network in (victim, attacker):
            await network.subscribe(TOPIC)
        await attacker.connect(victim.addresses()[0])
        await eventually(lambda: attacker.peer_id in victim.peers())
        victim.penalise(attacker.peer_id, 60)
        await attacker.publish(TOPIC, b"unheard")
        await trio.testing.wait_all_tasks_blocked(0.05)
        victim.penalise(attacker.peer_id, 60)
        await eventually(lambda: attacker.peer_id not in victim.peers())
        assert ear.data() == []
