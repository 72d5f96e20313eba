"""Twenty nodes in bad weather: the node's own code, on virtual time, from one seed."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
import trio
from tests.sim.schedule import simulate
from tests.sim.village import Village

from passby.node.net_memory import MemoryWorld, Weather
from passby.protocol.errors import RefusedError

SIZE = 20
STORM = Weather(delay_s=(0.005, 0.2), loss=0.1, duplication=0.05, stream_break=0.002)


class Diary:
    """A hash over everything that crossed the network, in order."""

    def __init__(self) -> None:
        self.digest = sha256()
        self.lines = 0

    def __call__(self, at_s: float, what: str, source: str, target: str, size: int) -> None:
        self.digest.update(f"{at_s:.9f} {what} {source} {target} {size}\n".encode())
        self.lines += 1


async def storm(seed: int, dice: random.Random, diary: Diary) -> tuple[Village, set[bytes]]:
    """Offers in bad weather, a partition, a crash; return when all have calmed down."""
    world = MemoryWorld(seed, STORM, diary)
    village = Village(world, dice, SIZE)
    acknowledged: set[bytes] = set()

    async def chatter(rounds: int) -> None:
        for turn in range(rounds):
            for villager in dice.sample(village.villagers, 6):
                if not villager.scope.cancel_called:
                    acknowledged.add(await villager.offer(f"thing {turn}"))
            await trio.sleep(dice.uniform(0.1, 1.0))

    async with trio.open_nursery() as nursery:
        await village.settle(nursery, degree=3)
        await chatter(4)
        names = [villager.name for villager in village.villagers]
        world.partition([names[: SIZE // 2], names[SIZE // 2 :]])
        await chatter(4)
        victim = dice.choice(village.villagers)
        acknowledged.add(await victim.offer("said just before the crash"))
        victim.crash()
        await chatter(3)
        assert not village.converged()
        world.heal()
        await victim.start(nursery)
        others = [villager for villager in village.villagers if villager is not victim]
        await victim.join(*dice.sample(others, 2))
        await chatter(2)
        await village.until_converged(within_s=180)
        nursery.cancel_scope.cancel()
    return village, acknowledged


def play(seed: int) -> tuple[Village, set[bytes], Diary]:
    diary = Diary()

    async def story(dice: random.Random) -> tuple[Village, set[bytes]]:
        return await storm(seed, dice, diary)

    village, acknowledged = simulate(seed, story)
    return village, acknowledged, diary


def test_twenty_nodes_converge_after_loss_a_partition_and_a_crash() -> None:
    village, acknowledged, _ = play(seed=7)
    assert village.converged()
    for villager in village.villagers:
        held = {
            record.entry.id
            for author, head in villager.store.heads()
            for record in villager.store.log(author, None, head.seq)
        }
        assert acknowledged <= held
        assert not villager.store.frozen()


def test_the_same_seed_gives_the_same_trace() -> None:
    first, _, diary = play(seed=11)
    second, _, again = play(seed=11)
    assert diary.lines == again.lines > 3_000
    assert diary.digest.hexdigest() == again.digest.hexdigest()
    assert first.villagers[0].heads() == second.villagers[0].heads()
    _, _, other = play(seed=12)
    assert other.digest.hexdigest() != diary.digest.hexdigest()


def test_a_node_whose_clock_is_hours_off_signs_nothing_until_its_owner_says_so() -> None:
    async def story(dice: random.Random) -> None:
        village = Village(MemoryWorld(3), dice, 4)
        village.villagers[3].skew_ms = 3 * 3_600_000
        late = village.villagers[3]
        async with trio.open_nursery() as nursery:
            for villager in village.villagers:
                await villager.start(nursery)
            one, two, three = village.villagers[:3]
            await two.join(one)
            await three.join(one, two)
            await late.join(one, two, three)
            await trio.sleep(5)
            said = late.store.head(late.key.public)
            with pytest.raises(RefusedError, match="3 h ahead of the neighbours'") as refused:
                await late.offer("a thing from the future")
            assert "passby doctor --accept-clock" in refused.value.hint
            assert late.store.head(late.key.public) == said
            await one.offer("a thing of today")
            late.participant.chains.clock_guard.accept()
            await late.offer("a thing from the future, on purpose")
            nursery.cancel_scope.cancel()

    simulate(5, story)
