"""A liar shown to one honest node is proven a liar to all that hold the chain, and can be."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio
from tests.attacks.forgeries import genesis, offer
from tests.ledger.authors import Author, replace_stock
from tests.sim.schedule import simulate
from tests.sim.village import EPOCH_MS, Village, Villager

from passby.ledger.audit import AuditExit, AuthorScope, audit
from passby.ledger.chain import Evidence
from passby.ledger.ingest import Check
from passby.ledger.prove import prove_evidence
from passby.node.net_memory import MemoryWorld, Weather
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError
from passby.protocol.keys import SigningKey
from passby.protocol.stock import Rule

MALLORY = SigningKey(b"mallory" + bytes(25))
SIZE = 9
Story = Callable[[Village, trio.Nursery], Awaitable[None]]


def in_a_row(story: Story, seed: int = 1, weather: Weather | None = None) -> None:
    """Run a story in a village where each knows only the neighbours on either side."""

    async def run(dice: random.Random) -> None:
        village = Village(MemoryWorld(seed, weather or Weather()), dice, SIZE)
        async with trio.open_nursery() as nursery:
            for villager in village.villagers:
                await villager.start(nursery)
            for one, other in zip(village.villagers, village.villagers[1:], strict=False):
                await other.join(one)
            await village.until_converged(60)
            await story(village, nursery)
            nursery.cancel_scope.cancel()

    simulate(seed, run)


async def until(there: Callable[[], bool], within_s: float = 60) -> None:
    """Wait, on virtual time."""
    with trio.fail_after(within_s):
        while not there():  # noqa: ASYNC110  # nobody can tell of this; time is virtual
            await trio.sleep(0.25)


async def show(villager: Villager, records: Sequence[Record]) -> None:
    """Bring records to one villager, as a peer would; everybody wants to hear of their author."""
    for other in villager.village.villagers:
        other.following.add(records[0].entry.author, EPOCH_MS)
    await villager.participant.chains.admit(records, Check.EACH)


def holds(villagers: Sequence[Villager], author: bytes, seq: int) -> bool:
    heads = [villager.participant.chains.head_seq(author) for villager in villagers]
    return min(heads) >= seq


def frozen(villagers: Sequence[Villager], author: bytes) -> bool:
    return all(villager.participant.chains.is_frozen(author) for villager in villagers)


def evidence(villager: Villager, author: bytes) -> Evidence:
    """Return what a villager can prove, from its bytes."""
    (found,) = villager.store.evidence(author)
    assert prove_evidence(found) is not None
    assert audit(villager.store, EPOCH_MS, AuthorScope(author)).exit_code is AuditExit.PROVEN
    return found


def test_a_fork_shown_to_two_buyers_is_proven_in_the_whole_street() -> None:
    begun = genesis(MALLORY, EPOCH_MS)
    one, other = (offer(MALLORY, begun, EPOCH_MS, name) for name in ("a bike", "the bike"))

    async def story(village: Village, _: trio.Nursery) -> None:
        first, *_, last = village.villagers
        first.village.world.partition(
            [
                [one.name for one in village.villagers[:4]],
                [one.name for one in village.villagers[4:]],
            ]
        )
        await show(first, [begun, one])
        await show(last, [begun, other])
        await until(lambda: holds(village.villagers, MALLORY.public, 2))
        assert one.entry.id in first.participant.market.offers
        assert other.entry.id in last.participant.market.offers
        village.world.heal()
        for left, right in zip(village.villagers, village.villagers[1:], strict=False):
            await right.join(left)
        await until(lambda: frozen(village.villagers, MALLORY.public))
        for villager in village.villagers:
            found = evidence(villager, MALLORY.public)
            assert {element[0].id for element in found.elements} == {one.entry.id, other.entry.id}
            for lot in (one, other):
                assert lot.entry.id not in villager.participant.market.offers
            held = villager.store.record_at(MALLORY.public, 2)
            assert held is not None
            with pytest.raises(RefusedError, match="forking"):
                await villager.participant.desk.propose(held.entry.id, 1)

    in_a_row(story)


def oversold() -> tuple[Author, str]:
    mallory = Author("mallory")
    mallory.genesis()
    lot = mallory.offer(10)
    reserve = mallory.reserve(lot, 4)
    mallory.note()
    mallory.adjust(lot, 1)
    # What was reserved comes back, and a bottle more: three entries show that it does not add up.
    mallory.release(lot, reserve)
    replace_stock(mallory, -1, remaining=12)
    return mallory, Rule.ARITHMETIC


def released_twice() -> tuple[Author, str]:
    mallory = Author("mallory")
    mallory.genesis()
    lot = mallory.offer(10)
    reserve = mallory.reserve(lot, 4)
    mallory.release(lot, reserve)
    mallory.release(lot, reserve)
    replace_stock(mallory, -1, reserved=0)
    return mallory, Rule.RESOLVED


@pytest.mark.parametrize(
    ("lie", "elements"), [(oversold, 3), (released_twice, 2)], ids=["overselling", "double release"]
)
def test_a_broken_stock_rule_shown_to_one_is_proven_to_all(
    lie: Callable[[], tuple[Author, str]], elements: int
) -> None:
    mallory, rule = lie()
    honest = len(mallory.records) - 1

    async def story(village: Village, _: trio.Nursery) -> None:
        middle = village.villagers[SIZE // 2]
        await show(middle, mallory.records[:honest])
        await until(lambda: holds(village.villagers, mallory.public, honest))
        await show(middle, mallory.records)
        await until(lambda: frozen(village.villagers, mallory.public))
        for villager in village.villagers:
            found = evidence(villager, mallory.public)
            assert (found.rule, found.seq, len(found.elements)) == (rule, honest + 1, elements)
            # The lie itself is no part of any chain.
            assert villager.participant.chains.head_seq(mallory.public) == honest

    in_a_row(story)


def test_whoever_was_away_is_told_when_it_is_back_and_strangers_are_not_bothered() -> None:
    mallory = Author("mallory")
    mallory.genesis()
    mallory.note()
    other = mallory.fork(2)
    other.say(201)

    async def story(village: Village, nursery: trio.Nursery) -> None:
        first, *_, last = village.villagers
        await show(first, mallory.records)
        await until(lambda: holds(village.villagers, mallory.public, 2))
        # One has crashed, and one has only lost its neighbours for a while.
        last.crash()
        lost = village.villagers[-2]
        await lost.network.disconnect(village.villagers[-3].network.peer_id)
        await show(first, other.records[1:])
        await until(lambda: frozen(village.villagers[:-2], mallory.public))
        await trio.sleep(5)
        assert not lost.participant.chains.is_frozen(mallory.public)
        await lost.join(village.villagers[-3])
        await last.start(nursery)
        await last.join(lost)
        newcomer = Villager(village, "newcomer")
        newcomer.following.add(mallory.public, EPOCH_MS)
        await newcomer.start(nursery)
        await newcomer.join(first)
        known = [*village.villagers, newcomer]
        # The newcomer learns of the chain, and with it of the lie.
        await until(lambda: frozen(known, mallory.public))
        for villager in known:
            evidence(villager, mallory.public)

    in_a_row(story)


def test_an_earlier_lie_takes_the_place_of_a_later_one_everywhere() -> None:
    mallory = Author("mallory")
    mallory.genesis()
    for _ in range(6):
        mallory.note()
    late, early = mallory.fork(6), mallory.fork(3)
    late.say(201)
    early.say(201)

    async def story(village: Village, _: trio.Nursery) -> None:
        first, *_, last = village.villagers
        await show(first, mallory.records)
        await until(lambda: holds(village.villagers, mallory.public, 7))
        await show(first, late.records[5:])
        await until(lambda: frozen(village.villagers, mallory.public))
        assert {one.store.frozen()[mallory.public] for one in village.villagers} == {6}
        await show(last, early.records[2:])
        await until(
            lambda: all(one.store.frozen() == {mallory.public: 3} for one in village.villagers)
        )

    in_a_row(story)


@pytest.mark.parametrize("seed", range(6))
def test_every_pair_of_a_fork_in_honest_hands_becomes_a_proof_wherever_there_is_a_way(
    seed: int,
) -> None:
    async def run(dice: random.Random) -> None:
        weather = Weather(delay_s=(0.005, 0.2), loss=0.1, duplication=0.05, stream_break=0.002)
        village = Village(MemoryWorld(seed, weather), dice, 12)
        async with trio.open_nursery() as nursery:
            await village.settle(nursery, degree=2)
            await village.until_converged(120)
            liars: list[tuple[bytes, int]] = []
            for number in range(4):
                liar = Author(f"liar {number}")
                liar.genesis()
                for _ in range(dice.randint(1, 8)):
                    liar.note()
                at = dice.randint(2, len(liar.records))
                other = liar.fork(at)
                for _ in range(dice.randint(1, 3)):
                    other.say(dice.randint(200, 250))
                liars.append((liar.public, at))
                one, two = dice.sample(village.villagers, 2)
                await show(one, liar.records)
                if dice.random() < 0.5:
                    await until(lambda liar=liar: holds(village.villagers, liar.public, 1))
                await show(two, other.records)
            await until(lambda: all(frozen(village.villagers, public) for public, _ in liars), 300)
            for villager in village.villagers:
                assert villager.store.frozen() == dict(liars)
                for public, seq in liars:
                    assert evidence(villager, public).seq == seq
            nursery.cancel_scope.cancel()

    simulate(seed, run)
