"""Attack 30: a person promises goods, regrets it, and seals the device below the promise."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.attacks.test_stolen_device import seal
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, Street, street

from passby.protocol.trade import State


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


async def promised(phone: Household, bo: Household) -> bytes:
    """Let the phone's owner promise goods to Bo; return the trade."""
    lot = await phone.list()
    await eventually(lambda: bo.has_lot(lot))
    trade = await bo.participant.desk.propose(lot, 473)
    await phone.sees(trade.id, State.PROPOSED)
    await phone.participant.desk.accept(trade.id)
    await bo.sees(trade.id, State.CONFIRMED)
    return trade.id


async def test_a_debt_stands_for_whoever_held_it(lane: Street) -> None:
    phone, bo = await lane.settle("phone", "bo")
    laptop = await lane.open("laptop", of=phone)
    await laptop.join(phone, bo)
    trade = await promised(phone, bo)
    await seal(phone, laptop, 2)
    await eventually(lambda: bo.participant.chains.is_closed(phone.author))
    await bo.sees(trade, State.CONFIRMED)


async def test_a_debt_stands_for_whoever_hears_of_the_seal_before_the_promise(
    lane: Street,
) -> None:
    phone, bo = await lane.settle("phone", "bo")
    laptop = await lane.open("laptop", of=phone)
    await laptop.join(phone, bo)
    trade = await promised(phone, bo)
    await seal(phone, laptop, 2)
    reserve = next(
        record.entry
        for record in bo.participant.chains.reader.trade(trade)
        if record.entry.author == phone.author
    )
    cleo = await lane.open("cleo")
    # First from a side that tells of the seal, then from the one who is owed.
    await cleo.join(laptop)
    await eventually(lambda: cleo.participant.chains.is_closed(phone.author))
    await cleo.join(bo)
    await eventually(lambda: cleo.participant.chains.reader.record(reserve.id) is not None)
    lot = cleo.participant.chains.reader.lot(reserve.body.refs[1])
    assert lot is not None
    assert lot.reserved == 473


async def test_what_binds_nobody_is_gone_with_the_seal(lane: Street) -> None:
    phone, bo = await lane.settle("phone", "bo")
    laptop = await lane.open("laptop", of=phone)
    await laptop.join(phone, bo)
    trade = await promised(phone, bo)
    await phone.list(name="Later")
    held = bo.participant.chains
    last = max(
        record.entry.seq
        for record in phone.participant.chains.reader.trade(trade)
        if record.entry.author == phone.author
    )
    await eventually(lambda: held.head_seq(phone.author) > last)
    await seal(phone, laptop, 2)
    cleo = await lane.open("cleo")
    await cleo.join(laptop, bo)
    await eventually(
        lambda: (
            bool(cleo.participant.chains.sealed)
            and cleo.participant.chains.head_seq(phone.author) >= last - 1
        )
    )
    for lot in cleo.participant.market.offers:
        assert cleo.participant.chains.reader.record(lot).entry.author != phone.author  # type: ignore[union-attr]  # it is held
