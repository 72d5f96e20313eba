"""Attacks by gossip on a real participant, over real TCP, with a real ledger."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from tests.attacks.forgeries import (
    FORGERIES,
    SMALL_ORDER,
    genesis,
    offer,
    small_order_genesis,
)
from tests.attacks.lane import TOPIC, Lane, lane
from tests.node.networks import eventually

from passby.ledger.ingest import Check
from passby.node.clock import machine_clock
from passby.protocol.entry import encode_record
from passby.protocol.keys import SigningKey
from passby.protocol.limits import GOSSIP_BUNDLE_MAX, GOSSIP_RECORDS_MAX

FORGER = SigningKey(b"forger" + bytes(26))


async def until_heard(here: Lane, data: bytes, holds: str) -> None:
    """Publish until Ann has acted on it: the mesh takes a moment to form."""
    with trio.fail_after(60):
        while True:
            # Past our own network's bounds, which Mallory has taken out.
            await here.mallory.network._pubsub.publish(TOPIC, data)
            await trio.sleep(0.1)
            if here.score < 0 if holds == "penalised" else here.holds(FORGER.public) == 2:
                return


async def known_forger(here: Lane) -> None:
    """Let Ann hold the forger's genesis, so that what follows it is not a gap."""
    await here.ann.participant.chains.admit([FIRST], Check.EACH)


FIRST = genesis(FORGER, machine_clock() - 60_000)


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_entry_is_rejected_and_charged(tmp_path: Path, name: str) -> None:
    async with lane(tmp_path) as here:
        await known_forger(here)
        await until_heard(here, FORGERIES[name](FORGER, FIRST), "penalised")
        assert here.holds(FORGER.public) == 1


BAD_MESSAGES: dict[str, bytes] = {
    "nothing": b"",
    "garbage": random.Random(3).randbytes(500),
    "small order": small_order_genesis(),
    "a type that is not gossiped": encode_record(FIRST),
    "too large": bytes(GOSSIP_BUNDLE_MAX + 1),
    "trailing bytes": encode_record(offer(FORGER, FIRST, machine_clock())) + b"\x01",
    "too many": encode_record(offer(FORGER, FIRST, machine_clock())) * (GOSSIP_RECORDS_MAX + 1),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
async def test_a_message_no_honest_node_sends_is_charged(tmp_path: Path, name: str) -> None:
    async with lane(tmp_path) as here:
        await known_forger(here)
        await until_heard(here, BAD_MESSAGES[name], "penalised")
        assert here.holds(FORGER.public) == 1
        assert here.holds(SMALL_ORDER) == 0


async def test_replayed_gossip_is_ignored_and_charged_to_nobody(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        await known_forger(here)
        data = encode_record(offer(FORGER, FIRST, machine_clock()))
        await until_heard(here, data, "held")
        entries = here.ann.participant.chains.reader.counts().entries
        for _ in range(30):
            await here.mallory.network.publish(TOPIC, data)
        await here.lives_on()
        assert here.score == 0
        # Two lots of each of the honest came since; nothing else did.
        assert here.ann.participant.chains.reader.counts().entries == entries + 2


async def test_an_entry_from_the_future_is_not_taken_until_it_is_due(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        await known_forger(here)
        record = offer(FORGER, FIRST, machine_clock() + 3_600_000)
        for _ in range(30):
            await here.mallory.network.publish(TOPIC, encode_record(record))
        await here.lives_on()
        assert here.score == 0
        assert here.holds(FORGER.public) == 1
        here.ann.street.clock.ahead_ms = 3_600_000
        here.ann.participant.chains.clock_guard.accept()
        here.ben.participant.chains.clock_guard.accept()
        await until_heard(here, encode_record(record), "held")


async def test_a_flood_of_gossip_holds_nobody_up(tmp_path: Path) -> None:
    async with lane(tmp_path) as here:
        for number in range(300):
            key = SigningKey(number.to_bytes(32, "big"))
            await here.mallory.network.publish(
                TOPIC, encode_record(offer(key, genesis(key, machine_clock()), machine_clock()))
            )
        await here.lives_on()


async def test_fuzzed_gossip_ends_nothing(tmp_path: Path) -> None:
    dice = random.Random(33)
    async with lane(tmp_path) as here:
        await known_forger(here)
        for _ in range(200):
            data = bytearray(encode_record(offer(FORGER, FIRST, machine_clock())))
            for _ in range(dice.randrange(1, 5)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            await here.mallory.network.publish(TOPIC, bytes(data))
            here.forgive()
        await eventually(lambda: not here.ann.participant.chains.is_frozen(here.ann.author))
