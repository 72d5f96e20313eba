"""Attacks on the sync stream of a real participant, over real TCP, with a real ledger."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from tests.attacks.forgeries import FORGERIES, SMALL_ORDER, genesis, small_order_genesis
from tests.attacks.lane import HELLO, LISTED, MIB, lane, new_mallory, peak_rss
from tests.ledger.authors import Author
from tests.node.networks import eventually
from tests.node.street import BRAKE_FLUID, HOME

from passby.node.clock import machine_clock
from passby.node.listing import draft_of, read_listed
from passby.node.participant import NETWORK_ID
from passby.protocol.codec import encode_uvarint
from passby.protocol.entry import encode_record
from passby.protocol.keys import SigningKey
from passby.protocol.limits import (
    FRAME_MAX,
    RUN_MAX,
    SCORE_CUT,
    SEQ_MAX,
    SMALL_FRAMES_MAX,
    UNKNOWN_FRAMES_MAX,
)
from passby.protocol.messages import (
    Credit,
    End,
    Head,
    Heads,
    Hello,
    Kind,
    Want,
    Wants,
    encode_message,
    frame,
)

FORGER = SigningKey(b"forger" + bytes(26))


async def test_garbage_bytes_cost_the_sender_and_nobody_else(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        await here.mallory.say(random.Random(1).randbytes(10_000))
        await here.is_penalised()
        await here.mallory.is_cut_off()


async def test_an_endless_stream_is_cut_and_not_kept(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        before = peak_rss()
        piece = bytes(65_000)
        endless = encode_uvarint(FRAME_MAX - 1) + bytes([99])
        await here.mallory.say(HELLO + LISTED + endless)
        for _ in range(3000):
            if not await here.mallory.say(piece):
                break
        else:
            pytest.fail("200 MB were taken")
        await here.is_penalised()
        assert peak_rss() - before < 64 * MIB


@pytest.mark.parametrize("kind", [99, Kind.LISTED, Kind.CREDIT])
async def test_a_flood_of_tiny_messages_is_cut(tmp_path: Path, kind: int) -> None:
    async with lane(tmp_path) as here:
        body = (1).to_bytes(4, "big") if kind == Kind.CREDIT else b""
        flood = frame(kind, body) * (SMALL_FRAMES_MAX + UNKNOWN_FRAMES_MAX + 2)
        await here.mallory.say(HELLO + flood)
        await here.is_penalised()
        await here.mallory.is_cut_off()


async def test_a_slow_reader_holds_nobody_up_and_costs_little(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        long = BRAKE_FLUID | {"text": "x" * 1400}
        draft = draft_of(read_listed(long), HOME, here.ann.clock())
        for _ in range(10):
            records = await here.ann.participant.say([draft] * 200)
        last = records[-1].entry.id
        await eventually(lambda: here.ben.has_lot(last))
        before = peak_rss()
        want = encode_message(Wants((Want(here.ann.author, 1, SEQ_MAX),)))
        for _ in range(20):
            await here.mallory.say(HELLO + LISTED + want)
            here.mallory.stream = None
        await here.lives_on()
        assert peak_rss() - before < 64 * MIB


async def test_a_peer_that_says_hello_and_falls_silent_is_no_trouble(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        await here.mallory.say(HELLO)
        await eventually(
            lambda: here.mallory.network.peer_id in here.ann.participant.replication.synced_peers
        )
        await here.lives_on()
        assert here.score == 0


async def test_liars_who_name_heads_they_do_not_send_hold_nobody_up(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        ann, ben = here.ann, here.ben
        second = new_mallory(ann.network.peer_id, "second")
        async with second.network.run():
            await second.network.connect(ann.address)
            await ben.stop()
            await eventually(lambda: ben.network.peer_id not in ann.network.peers())
            for liar in (here.mallory, second):
                await liar.names(ben.author, 10**6)
            replication = ann.participant.replication
            await eventually(lambda: replication._eager.get(ben.author) is not None)
            await ben.start()
            lot = await ben.list()
            await ben.join(ann)
            await eventually(lambda: ann.has_lot(lot))
            # And again, by whoever is followed now.
            lot = await ben.list()
            await eventually(lambda: ann.has_lot(lot))


async def test_entries_nobody_asked_for_are_not_taken(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        record = genesis(FORGER, machine_clock())
        await here.mallory.say(HELLO + LISTED + frame(Kind.ENTRIES, encode_record(record)))
        await here.is_penalised()
        await here.mallory.is_cut_off()
        assert here.holds(FORGER.public) == 0


async def test_a_garbage_bulk_chain_wastes_one_frame(tmp_path: Path) -> None:
    author = Author("bulk")
    author.genesis()
    for _ in range(RUN_MAX - 1):
        author.note()
    last = author.records[-1]
    raw = bytearray(encode_record(last))
    raw[10] ^= 1
    body = b"".join(encode_record(record) for record in author.records[:-1]) + bytes(raw)
    async with lane(tmp_path) as here:
        await here.mallory.names(author.public, 10**6)
        await here.mallory.hear(Kind.WANT)
        await here.mallory.say(frame(Kind.ENTRIES, body))
        await here.is_penalised()
        await here.mallory.is_cut_off()
        assert here.holds(author.public) == 0


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_entry_is_rejected(tmp_path: Path, name: str) -> None:
    async with lane(tmp_path) as here:
        first = genesis(FORGER, machine_clock())
        await here.mallory.names(FORGER.public, 2)
        await here.mallory.hear(Kind.WANT)
        await here.mallory.say(frame(Kind.ENTRIES, encode_record(first)))
        await eventually(lambda: here.holds(FORGER.public) == 1)
        assert here.score == 0
        await here.mallory.say(frame(Kind.ENTRIES, FORGERIES[name](FORGER, first)))
        await here.is_penalised()
        await here.mallory.is_cut_off()
        assert here.holds(FORGER.public) == 1


async def test_a_key_of_small_order_owns_no_chain(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        await here.mallory.names(SMALL_ORDER, 1)
        await here.mallory.hear(Kind.WANT)
        await here.mallory.say(frame(Kind.ENTRIES, small_order_genesis()))
        await here.is_penalised()
        assert here.holds(SMALL_ORDER) == 0


async def test_whoever_goes_on_breaking_the_rules_is_disconnected(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        with trio.fail_after(60):
            while here.score > SCORE_CUT:
                await here.mallory.say(b"\xff" * 100)
                await here.mallory.is_cut_off()
        peer = here.mallory.network.peer_id
        await eventually(lambda: peer not in here.ann.network.peers())


async def test_a_lying_clock_alone_stops_nobody_from_signing(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        await here.mallory.say(encode_message(Hello(NETWORK_ID, at_ms=2**47)) + LISTED)
        await eventually(
            lambda: here.mallory.network.peer_id in here.ann.participant.replication.synced_peers
        )
        await here.lives_on()


async def test_fuzzed_conversations_end_nothing(tmp_path: Path) -> None:
    dice = random.Random(20)
    author = Author("fuzzed")
    author.genesis()
    for _ in range(20):
        author.note()
    records = [encode_record(record) for record in author.records]
    async with lane(tmp_path) as here:
        ann = here.ann.author
        head = here.ann.participant.chains.heads[ann]
        pieces = [
            HELLO,
            LISTED,
            encode_message(Heads((Head(author.public, 21, author.records[-1].entry.id[:8]),))),
            encode_message(Heads((Head(ann, head.seq, b"notthisone"[:8]),))),
            encode_message(Heads((Head(ann, 2**32 - 1, bytes(8)),))),
            encode_message(Wants((Want(ann, 1, SEQ_MAX),))),
            encode_message(Wants((Want(ann, 0, 0), Want(ann, 2, 3)))),
            frame(Kind.ENTRIES, b"".join(records)),
            frame(Kind.ENTRIES, records[3]),
            encode_message(End(author.public, 1)),
            encode_message(Credit(70_000)),
            frame(Kind.DONE, b""),
            frame(17, b"x" * 100),
        ]
        for _ in range(150):
            talk = bytearray(HELLO)
            for _ in range(dice.randrange(1, 8)):
                talk += dice.choice(pieces)
            for _ in range(dice.choice((0, 0, 1, 3))):
                talk[dice.randrange(len(talk))] ^= 1 << dice.randrange(8)
            if dice.random() < 0.2:
                del talk[dice.randrange(len(talk)) :]
            await here.mallory.say(bytes(talk))
            with trio.move_on_after(dice.choice((0, 0.01, 0.05))):
                await here.mallory.is_cut_off()
            await here.mallory.hang_up()
            here.forgive()
        assert not here.ann.participant.chains.is_frozen(ann)
