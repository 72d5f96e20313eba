"""Neighbours who witness each other, and buyers who ask for a quorum, over both networks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from tests.node.networks import Libp2pMaker, Maker, MemoryMaker, eventually
from tests.node.street import MINUTE_MS, Household, Street, street

from passby.ledger.checkpoint import origin_of
from passby.ledger.policy import Policy, k_of
from passby.ledger.tree import root_at
from passby.node.api.witnesses import Witnesses
from passby.node.quorum import Cover, NoQuorumError
from passby.protocol.errors import ConfigError, RefusedError
from passby.protocol.trade import State


@pytest.fixture(params=["memory", "libp2p"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Maker, Path | None]:
    """Give a network and where the ledgers are: all in memory, or all real."""
    return (MemoryMaker(), None) if request.param == "memory" else (Libp2pMaker(), tmp_path)


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    """Give a street in memory, with nothing but time and threads real."""
    async with street(MemoryMaker()) as here:
        yield here


def policy(k: int, *witnesses: Household) -> Policy:
    """Ask for `k` of households, which go by their own names."""
    keys = {one.participant.witnessing.verifier: one.name for one in witnesses}
    asked = k_of(k, list(keys))
    named = {keys[key]: key for key in asked.witnesses.values()}
    group = asked.groups["quorum"]
    return Policy(named, {"quorum": type(group)(group.k, tuple(named))}, "quorum")


async def reserved(ann: Household, ben: Household) -> bytes:
    """Let Ann list and accept what Ben proposes; return the trade."""
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    trade = await ben.participant.desk.propose(lot, 473)
    await ann.sees(trade.id, State.PROPOSED)
    await ann.participant.desk.accept(trade.id)
    await eventually(lambda: (seen := ben.trade(trade.id)) and seen.legs[0].reserve)
    return trade.id


def cover(taker: Household, trade: bytes) -> Cover:
    found = taker.participant.quorum.cover(taker.participant.desk.trade(trade))
    assert found is not None
    return found


async def test_a_buyer_confirms_once_two_of_three_witnesses_have_cosigned(
    place: tuple[Maker, Path | None],
) -> None:
    async with street(*place) as here:
        ann, ben, *witnesses = await here.settle("ann", "ben", "carl", "dora", "emil")
        ben.policy = policy(2, *witnesses)
        trade = await reserved(ann, ben)
        await ben.sees(trade, State.CONFIRMED)
        vouched = cover(ben, trade)
        assert vouched.reached
        assert len(vouched.cosigned) >= 2
        held = [
            one.participant.chains.reader.witnessed(origin_of(ann.author))
            for one in witnesses
            if one.name in vouched.cosigned
        ]
        for tree in held:
            assert tree.size >= 3
            assert tree.root == root_at(ben.participant.chains.reader.tree(ann.author), tree.size)


async def test_a_buyer_without_a_policy_waits_for_nobody(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    trade = await reserved(ann, ben)
    await ben.sees(trade, State.CONFIRMED)
    assert ben.participant.quorum.cover(ben.participant.desk.trade(trade)) is None


async def test_a_buyer_who_is_cut_off_from_the_witnesses_waits_and_names_who_is_lacking(
    lane: Street,
) -> None:
    ann, ben, carl, dora = await lane.settle("ann", "ben", "carl", "dora")
    ben.policy = policy(2, carl, dora)
    await dora.stop()
    trade = await reserved(ann, ben)
    await eventually(lambda: cover(ben, trade).cosigned == ("carl",))
    assert not cover(ben, trade).reached
    assert cover(ben, trade).lacking == ("dora",)
    assert ben.trade(trade).state is State.RESERVED
    await dora.start()
    await dora.join(ann, ben, carl)
    await ben.sees(trade, State.CONFIRMED)


async def test_what_no_quorum_vouched_for_lapses_and_binds_nobody(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    carl.participant.witnessing.is_on = False
    trade = await reserved(ann, ben)
    lane.pass_time(16 * MINUTE_MS, ann, ben)
    await ben.sees(trade, State.LAPSED)
    assert not ben.trade(trade).confirms
    await eventually(lambda: ann.trade(trade).legs[0].releases)


async def test_a_node_that_is_a_witness_of_its_own_policy_cosigns_for_itself(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    ben.policy = policy(1, ben)
    trade = await reserved(ann, ben)
    await ben.sees(trade, State.CONFIRMED)
    assert cover(ben, trade).cosigned == ("ben",)


async def test_a_neighbour_gives_the_checkpoint_of_a_lister_that_is_asleep(lane: Street) -> None:
    ann, ben, carl, dora = await lane.settle("ann", "ben", "carl", "dora")
    carl.policy = policy(1, dora)
    # Carl buys as well, a little later: his witness has then seen what Ben's needs.
    ben.policy = policy(1, await lane.open("late"))
    trade = await reserved(ann, ben)
    await carl.sees(trade, State.RESERVED)
    await carl.participant.quorum.renew(carl.participant.desk.trade(trade), 0)
    await ann.stop()
    ben.policy = policy(1, dora)
    await eventually(lambda: cover(ben, trade).reached)
    await eventually(lambda: ben.trade(trade).confirm)


async def test_witnesses_that_were_not_needed_once_are_asked_the_next_time(lane: Street) -> None:
    ann, ida, ben, *witnesses = await lane.settle("ann", "ida", "ben", "carl", "dora", "emil")
    ben.policy = policy(1, *witnesses)
    trade = await reserved(ann, ben)
    await ben.sees(trade, State.CONFIRMED)
    ben.policy = policy(3, *witnesses)
    trade = await reserved(ida, ben)
    await ben.sees(trade, State.CONFIRMED)
    assert len(cover(ben, trade).cosigned) == 3


async def test_a_policy_that_cannot_be_read_confirms_nothing(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")

    def broken() -> Policy:
        raise ConfigError("Line 1 of the policy: nonsense.")

    ben.participant.quorum._read_policy = broken
    trade = await reserved(ann, ben)
    await ann.sees(trade, State.RESERVED)
    ben.participant.desk.look()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert not ben.trade(trade).confirms
    ben.participant.quorum._read_policy = lambda: policy(1, carl)
    ben.participant.desk.look()
    await ben.sees(trade, State.CONFIRMED)


# --- before paying in advance ------------------------------------------------------------


async def test_before_paying_in_advance_old_cosignatures_do_not_count(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    trade = await reserved(ann, ben)
    await ben.sees(trade, State.CONFIRMED)
    witnesses = Witnesses(ben.participant)
    assert (await witnesses.check(trade)).state is State.CONFIRMED
    lane.pass_time(10 * MINUTE_MS, ann, ben, carl)
    await carl.stop()
    with pytest.raises(NoQuorumError, match="0 of 1 witnesses have cosigned; lacking: carl"):
        await witnesses.check(trade)
    await carl.start()
    await carl.join(ann, ben)
    await eventually(lambda: carl.network.peer_id in ben.network.peers())
    before = carl.participant.chains.reader.witnessed(origin_of(ann.author))
    assert (await witnesses.check(trade)).state is State.CONFIRMED
    after = carl.participant.chains.reader.witnessed(origin_of(ann.author))
    assert after.at_s >= before.at_s + 600


async def test_a_lister_that_sleeps_after_its_commit_keeps_nobody_from_asking(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    trade = await reserved(ann, ben)
    seen = await ben.sees(trade, State.CONFIRMED)
    commit = seen.legs[0].commit
    assert commit is not None

    def covers_the_commit() -> bool:
        kept = ben.participant.chains.reader.checkpoint(ann.author)
        return kept is not None and kept.head.size >= commit.seq

    await eventually(covers_the_commit)
    await ann.stop()
    lane.pass_time(MINUTE_MS * 10, ben, carl)
    assert (await Witnesses(ben.participant).check(trade)).state is State.CONFIRMED


async def test_before_the_lister_is_bound_nothing_is_to_be_paid(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    with pytest.raises(RefusedError, match="does not know whom to ask"):
        await Witnesses(ben.participant).check(bytes(32))
    ben.policy = policy(1, carl)
    carl.participant.witnessing.is_on = False
    trade = await reserved(ann, ben)
    with pytest.raises(RefusedError, match="nothing is to be paid"):
        await Witnesses(ben.participant).check(trade)


# --- who is a witness ----------------------------------------------------------------------


async def test_a_node_shows_what_it_cosigned_and_the_witnesses_it_knows(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    trade = await reserved(ann, ben)
    await ben.sees(trade, State.CONFIRMED)
    shown = await Witnesses(carl.participant).show()
    assert [chain["author"] for chain in shown["cosigned"]] == [ann.author.hex()]
    shown = await Witnesses(ben.participant).show()
    assert {(one["peer"], one["policy_name"]) for one in shown["witnesses"]} == {
        (carl.network.peer_id, "carl"),
        (ann.network.peer_id, None),
    }
