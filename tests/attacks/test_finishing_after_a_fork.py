"""Somebody is caught forking in the middle of a trade: the other side loses nothing by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, street

from passby.ledger.ingest import Check
from passby.node.api.shown import Shown
from passby.protocol.entry import Body, Record, sign
from passby.protocol.errors import RefusedError
from passby.protocol.trade import State
from passby.protocol.types import EntryType


def other_second_entry(house: Household) -> Record:
    """Return what the house's key says elsewhere of its second entry."""
    first = house.participant.chains.reader.record_at(house.author, 1)
    assert first is not None
    body = Body(house.author, 2, first.entry.id, first.entry.at_ms, 200)
    return Record(sign(house.key, body))


async def caught(liar: Household, *street_: Household) -> None:
    """Show another branch to the last of the street; return when all know of it."""
    await street_[-1].participant.chains.admit([other_second_entry(liar)], Check.EACH)
    await eventually(
        lambda: all(house.participant.chains.is_frozen(liar.author) for house in street_)
    )


def after_fork(house: Household, trade: bytes) -> list[str]:
    """Return which steps of the trade are marked."""
    me = house.participant
    shown = Shown(me.chains, me.market, me.desk, me.names, me.clock)
    entries = shown.trade(me.desk.trade(trade), entries=True)["entries"]
    return [entry["type"] for entry in entries if entry["after_fork"]]


@asynccontextmanager
async def agreed() -> AsyncIterator[tuple[Household, Household, Household, bytes]]:
    """Anna gives Bo brake fluid; Cleo lives next door."""
    async with street(MemoryMaker()) as lane:
        anna, bo, cleo = await lane.settle("anna", "bo", "cleo")
        lot = await anna.list()
        await eventually(lambda: bo.has_lot(lot) and cleo.has_lot(lot))
        trade = (await bo.participant.desk.propose(lot, 473)).id
        await anna.sees(trade, State.PROPOSED)
        await anna.participant.desk.accept(trade)
        for house in (anna, bo):
            await house.sees(trade, State.CONFIRMED)
        yield anna, bo, cleo, trade


@pytest.mark.parametrize("liar", ["lister", "taker"])
async def test_what_was_agreed_before_the_fork_is_finished_and_marked(liar: str) -> None:
    async with agreed() as (anna, bo, cleo, trade):
        false, honest = (anna, bo) if liar == "lister" else (bo, anna)
        told = honest.participant.events.listen()
        await caught(false, anna, bo, cleo)
        with trio.fail_after(10):
            async for event in told:
                if event["kind"] == "warning":
                    break
        assert event == {
            "kind": "warning",
            "trade": trade.hex(),
            "author": false.author.hex(),
            "false_from": 2,
            "rule": "two entries at one seq",
        }
        with pytest.raises(RefusedError, match="forked"):
            await false.list(name="More of it")
        await anna.participant.desk.handover(trade, bo.code(trade), None)
        await bo.sees(trade, State.IN_CUSTODY)
        await bo.participant.desk.receive(trade, None)
        for house in (anna, bo):
            await house.sees(trade, State.DELIVERED)
        await anna.participant.desk.paid(trade, None)
        for house in (anna, bo):
            seen = await house.sees(trade, State.SETTLED)
            assert not seen.faults
            assert set(after_fork(house, trade)) >= (
                {"handover"} if liar == "lister" else {"receipt"}
            )
        # Who is no party takes nothing of it.
        assert cleo.participant.chains.head_seq(false.author) < false.participant.chains.head_seq(
            false.author
        )


async def test_a_forker_may_step_back_and_so_may_the_other_side() -> None:
    async with agreed() as (anna, bo, cleo, trade):
        await caught(anna, anna, bo, cleo)
        anna.street.pass_time(8 * 24 * 3600 * 1000)
        for house in (anna, bo):
            house.participant.chains.clock_guard.accept()
            house.look_at_the_clock()
        await bo.sees(trade, State.NO_SHOW)
        lot = bo.participant.desk.trade(trade).legs[0].lot

        def free() -> bool:
            stock = bo.participant.chains.reader.lot(lot)
            return stock is not None and stock.reserved == 0

        # Anna's node lets go of what it set aside, and Bo's takes that in.
        await eventually(free)
        assert not bo.participant.desk.trade(trade).faults


async def test_nothing_more_is_agreed_to_with_somebody_who_was_caught() -> None:
    async with street(MemoryMaker()) as lane:
        anna, bo, cleo = await lane.settle("anna", "bo", "cleo")
        lot = await anna.list()
        await eventually(lambda: bo.has_lot(lot) and cleo.has_lot(lot))
        trade = (await bo.participant.desk.propose(lot, 473)).id
        await anna.sees(trade, State.PROPOSED)
        await caught(bo, anna, bo, cleo)
        with pytest.raises(RefusedError, match="two histories"):
            await anna.participant.desk.accept(trade)
        # A cancel is taken of whoever it is that has written in the trade.
        await anna.participant.desk.cancel(trade)
        await bo.sees(trade, State.DECLINED)


async def test_a_forker_says_nothing_above_its_fork_but_the_end_of_open_trades() -> None:
    async with agreed() as (anna, bo, cleo, trade):
        await caught(anna, anna, bo, cleo)
        chains = bo.participant.chains
        head = chains.heads[anna.author]
        opened = bo.participant.desk.trade(trade)
        reserve, confirm = opened.legs[0].reserve, opened.confirm
        assert reserve is not None
        assert confirm is not None

        def said(
            kind: int, refs: tuple[bytes, ...], facts: tuple[int, ...] = (), prev: bytes = head.id
        ) -> Record:
            body = Body(anna.author, head.seq + 1, prev, head.at_ms, kind, refs=refs, facts=facts)
            return Record(sign(anna.key, body))

        receipt = (int(EntryType.RECEIPT), (trade, confirm.id))
        for record in (
            said(200, ()),
            said(EntryType.COMMIT, (trade, confirm.id, reserve.id)),
            # Of a trade that nobody here has heard of.
            said(EntryType.RECEIPT, (b"t" * 32, confirm.id), facts=(2, 1)),
            # Not linked to the branch that is held.
            said(*receipt, facts=(2, 1), prev=b"p" * 32),
        ):
            await chains.admit([record], Check.EACH)
            assert chains.head_seq(anna.author) == head.seq
        await chains.admit([said(*receipt, facts=(2, 1))], Check.EACH)
        assert chains.head_seq(anna.author) == head.seq + 1
