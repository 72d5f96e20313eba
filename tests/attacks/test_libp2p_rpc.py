"""Attacks with malformed gossip RPCs, each of which ended the process of a stock py-libp2p."""

from __future__ import annotations

import random
from hashlib import sha256

import trio
from libp2p.pubsub.pb import rpc_pb2
from tests.attacks.village import TOPIC, new_network, village
from tests.node.networks import eventually

from passby.node.net import Stream
from passby.protocol import limits
from passby.protocol.errors import RemoteError


def message(**fields: object) -> bytes:
    """Build an RPC with one message; what is not given is well-formed nonsense."""
    whole: dict[str, object] = {
        "from_id": b"\x12\x20" + sha256(b"nobody").digest(),
        "seqno": b"12345678",
        "data": b"forged",
        "topicIDs": [TOPIC],
        "signature": bytes(64),
        "key": b"",
    }
    rpc = rpc_pb2.RPC(publish=[rpc_pb2.Message(**(whole | fields))])
    return rpc.SerializeToString()


async def is_reset(stream: Stream) -> bool:
    try:
        with trio.fail_after(60):
            while await stream.receive_some():
                pass
    except RemoteError:
        return True
    return False


async def test_bytes_that_are_no_rpc_cost_the_sender_and_nobody_else() -> None:
    async with village() as here:
        await here.send_rpc(b"\xff" * 64)
        await eventually(lambda: here.score(here.attacker.peer_id) < 0)
        await here.lives_on()


async def test_random_bytes_on_the_gossip_stream_end_nothing() -> None:
    dice = random.Random(7)
    async with village() as here:
        # Few enough that the score does not cut the attacker off before the end.
        for _ in range(4):
            await here.send_rpc(dice.randbytes(dice.randrange(1, 2000)))
            await here.lives_on()


async def test_a_key_that_is_no_key_ends_nothing() -> None:
    async with village() as here:
        await here.send_rpc(message(key=b"\x08\x09garbage"))
        await eventually(lambda: here.score(here.attacker.peer_id) < 0)
        assert b"forged" not in here.heard.data()


async def test_an_unsigned_message_under_anothers_name_is_not_heard() -> None:
    async with village() as here:
        author = here.honest._host.get_id().to_bytes()
        await here.send_rpc(message(from_id=author, signature=b""))
        await here.send_rpc(message(from_id=author, seqno=b"12345679"))
        await eventually(lambda: here.score(here.attacker.peer_id) <= -2 * limits.SCORE_REJECT + 1)
        assert b"forged" not in here.heard.data()


async def test_a_message_for_several_topics_is_not_heard() -> None:
    async with village() as here:
        await here.send_rpc(message(topicIDs=[TOPIC, "passby/other"]))
        await eventually(lambda: here.score(here.attacker.peer_id) < 0)
        assert b"forged" not in here.heard.data()


async def test_an_rpc_that_claims_a_gibibyte_is_not_waited_for() -> None:
    async with village() as here:
        assert await is_reset(await here.send_rpc(b"x" * 1000, length=1 << 29))


async def test_an_rpc_over_the_cap_is_not_parsed() -> None:
    async with village() as here:
        flood = rpc_pb2.RPC()
        flood.ParseFromString(message(data=bytes(limits.GOSSIP_RPC_MAX)))
        assert await is_reset(await here.send_rpc(flood.SerializeToString()))


async def test_prunes_for_made_up_topics_are_not_remembered() -> None:
    async with village() as here:
        before = dict(here.victim._router.back_off)
        prunes = [rpc_pb2.ControlPrune(topicID=f"made-up/{n}", backoff=9999) for n in range(1500)]
        rpc = rpc_pb2.RPC(control=rpc_pb2.ControlMessage(prune=prunes))
        await here.send_rpc(rpc.SerializeToString())
        await here.send_rpc(message(key=b"\x08\x09garbage"))
        await eventually(lambda: here.score(here.attacker.peer_id) < 0)
        remembered = set(here.victim._router.back_off) - set(before)
        assert not [topic for topic in remembered if topic.startswith("made-up")]


async def test_a_signed_record_that_is_garbage_ends_nothing() -> None:
    async with village() as here:
        await here.send_rpc(rpc_pb2.RPC(senderRecord=b"\x0a\xff garbage").SerializeToString())
        await here.lives_on()


async def test_messages_during_shutdown_end_only_what_was_ending() -> None:
    sender, leaver, stayer = (new_network(name) for name in ("sender", "leaver", "stayer"))
    async with sender.run(), stayer.run():
        for network in (sender, stayer):
            await network.subscribe(TOPIC)
        await sender.connect(stayer.addresses()[0])
        is_leaving = trio.Event()

        async def flood() -> None:
            for n in range(10_000):
                await sender.publish(TOPIC, b"%d" % n)
                if is_leaving.is_set() and not sender.peers().get(leaver.peer_id):
                    return

        async with trio.open_nursery() as nursery, leaver.run():
            await leaver.subscribe(TOPIC)
            await sender.connect(leaver.addresses()[0])
            nursery.start_soon(flood)
            await trio.sleep(0.1)
            is_leaving.set()
        assert stayer.peer_id in sender.peers()
        await eventually(lambda: leaver.peer_id not in sender.peers())
