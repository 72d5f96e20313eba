"""Two buyers who trust the same honest witnesses are never both sold one lot by a forked lister."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from tests.sim.schedule import simulate
from tests.sim.village import Village, Villager

from passby.ledger.policy import k_of
from passby.node.net_memory import MemoryWorld, Weather
from passby.protocol.errors import LocalError
from passby.protocol.trade import State

BAD_DAY = Weather(delay_s=(0.005, 0.3), loss=0.1, duplication=0.05, stream_break=0.005)
SEEDS = range(12, 24)


async def sell(seller: Villager, buyer: Villager, lot: bytes) -> bytes:
    """Let the buyer take all of a lot, and the seller accept; return the trade."""
    trade = await buyer.participant.desk.propose(lot, None, respond_within_s=600)
    with trio.fail_after(60):
        while True:
            with suppress(LocalError):
                await seller.participant.desk.accept(trade.id)
                return trade.id
            await trio.sleep(0.25)


async def two_histories(seed: int, dice: random.Random) -> list[bool]:
    """Sell one lot in two histories, while witnesses come and go; tell which buyer confirmed."""
    world = MemoryWorld(seed, BAD_DAY)
    count = dice.randrange(3, 6)
    village = Village(world, dice, 4 + count)
    liar, again, one, other = village.villagers[:4]
    witnesses = village.villagers[4:]

    async def part() -> None:
        """Let each witness be on one side or the other, or on neither."""
        sides = [[liar.name, one.name], [again.name, other.name], []]
        for witness in witnesses:
            dice.choice(sides).append(witness.name)
        world.partition(sides)
        for witness in witnesses:
            with suppress(LocalError):
                await again.join(witness)

    async with trio.open_nursery() as nursery:
        for villager in (liar, one, other, *witnesses):
            await villager.start(nursery)
        keys = [witness.participant.witnessing.verifier for witness in witnesses]
        policy = k_of(count // 2 + 1, keys)
        for buyer in (one, other):
            buyer.participant.quorum._read_policy = lambda: policy
            await buyer.join(liar, *witnesses)
        for witness in witnesses:
            await witness.join(liar)
        lot = await liar.offer("sold twice")
        with trio.fail_after(60):
            while not all(lot in b.participant.market.offers for b in (one, other)):  # noqa: ASYNC110  # virtual time
                await trio.sleep(0.25)
        again.key, again.store = liar.key, copy.deepcopy(liar.store)
        world.partition([[liar.name, one.name], [again.name, other.name]])
        await again.start(nursery)
        await again.join(other)
        trades = [await sell(liar, one, lot), await sell(again, other, lot)]
        for _ in range(8):
            await part()
            await trio.sleep(dice.uniform(1, 20))
        world.heal()
        await trio.sleep(60)
        ends = [b.participant.desk.trade(t) for b, t in zip((one, other), trades, strict=True)]
        nursery.cancel_scope.cancel()
    assert all(end.confirms or end.state is State.RESERVED for end in ends)
    return [bool(end.confirms) for end in ends]


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads' work be done at once: virtual time would not wait for it."""

    async def run_sync(work: Callable[..., Any], *given: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return work(*given)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


def test_a_forked_lister_never_has_both_buyers_confirm() -> None:
    found = [simulate(seed, lambda dice, s=seed: two_histories(s, dice)) for seed in SEEDS]
    assert all(sum(confirmed) <= 1 for confirmed in found)
    # It is no empty promise: a buyer whose side has the witnesses does confirm.
    assert [True, False] in found
    assert [False, True] in found
