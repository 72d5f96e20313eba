"""Hours, seats and loans: what is no thing to keep is traded by the same rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, Street, street

from passby.node.clock import machine_clock
from passby.node.swaps import swaps
from passby.protocol.trade import State

HOUR_MS = 3_600_000


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


async def agreed(lister: Household, taker: Household, lot: bytes, amount: int) -> bytes:
    await eventually(lambda: taker.has_lot(lot))
    trade = (await taker.participant.desk.propose(lot, amount)).id
    await lister.sees(trade, State.PROPOSED)
    await lister.participant.desk.accept(trade)
    for household in (lister, taker):
        await household.sees(trade, State.CONFIRMED)
    return trade


async def fulfilled(lister: Household, taker: Household, trade: bytes) -> None:
    await lister.participant.desk.handover(trade, taker.code(trade), None)
    await taker.sees(trade, State.IN_CUSTODY)
    await taker.participant.desk.receive(trade, None)
    await lister.sees(trade, State.DELIVERED)
    await lister.participant.desk.paid(trade, None)
    for household in (lister, taker):
        await household.sees(trade, State.SETTLED)


async def test_a_plumbers_afternoon_is_taken_by_the_hour_and_only_while_it_lasts(
    lane: Street,
) -> None:
    ann, ben = await lane.settle("ann", "ben")
    now_ms = machine_clock()
    window = {"from_ms": now_ms + HOUR_MS, "until_ms": now_ms + 5 * HOUR_MS}
    hours: dict[str, Any] = {
        "name": "Plumber",
        "category": "services/plumber",
        "unit": "MIN",
        "price": {"minor": 6000, "per_amount": 60, "currency": "EUR"},
        "window": window,
    }
    lot = await ann.list(**hours, amount=240, minimum=60, step=30)
    asked = await ben.list(**hours, side="request", amount=100)
    later = {"from_ms": now_ms + 6 * HOUR_MS, "until_ms": now_ms + 7 * HOUR_MS}
    too_late = await ben.list(**hours | {"window": later}, side="request", amount=100)
    await eventually(lambda: ben.has_lot(lot))
    (match,) = ben.participant.market.matches(asked, 5)
    assert (match.offer.id, match.amount, match.total_minor) == (lot, 90, 9000)
    assert (match.handover.from_ms, match.handover.until_ms) == tuple(window.values())
    assert ben.participant.market.matches(too_late, 5) == []
    trade = await agreed(ann, ben, lot, match.amount)
    await eventually(lambda: ben.remaining(lot) == 150)
    await fulfilled(ann, ben, trade)


async def test_seats_go_to_several_until_the_car_is_full(lane: Street) -> None:
    ann, ben, cyd = await lane.settle("ann", "ben", "cyd")
    lot = await ann.list(
        name="To Utrecht",
        category="rides",
        unit="IE",
        amount=3,
        price={"minor": 500, "per_amount": 1, "currency": "EUR"},
    )
    for taker, seats, left in ((ben, 2, 1), (cyd, 1, 0)):
        await agreed(ann, taker, lot, seats)
        stock = ann.participant.chains.reader.lot(lot)
        assert stock is not None
        assert stock.remaining == left


async def test_a_tool_that_is_lent_comes_back_by_a_second_hand_over_and_is_on_offer_again(
    lane: Street,
) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list(
        name="Drill",
        category="tools/drill",
        unit="H87",
        amount=1,
        price={"minor": 500, "per_amount": 1, "currency": "EUR"},
        lent_s=24 * 3600,
    )
    trade = await agreed(ann, ben, lot, 1)
    await fulfilled(ann, ben, trade)
    desk = ann.participant.desk
    code = desk.return_code(desk.trade(trade))
    assert code is not None, "the words of the return are there while it is out"
    assert ben.participant.desk.return_code(ben.participant.desk.trade(trade)) is None
    await ben.participant.desk.give_back(trade, code)
    for household in (ann, ben):
        await household.sees(trade, State.RETURNED)
    await desk.put_back(trade, None)
    await eventually(lambda: ben.remaining(lot) == 1)
    # Lent, paid and brought back is a fulfilled trade, for both.
    for one, other in ((ann, ben), (ben, ann)):
        await eventually(
            lambda one=one, other=other: one.participant.reputations.trust == {other.author: 1.0}
        )


async def test_what_is_sold_is_asked_back_by_nobody(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    trade = await agreed(ann, ben, lot, 946)
    await fulfilled(ann, ben, trade)
    desk = ann.participant.desk
    assert desk.return_code(desk.trade(trade)) is None


async def test_two_offers_that_want_each_other_are_a_swap_and_no_others(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    free = {"minor": 0, "per_amount": 1, "currency": "EUR"}
    jam: dict[str, Any] = {"name": "Jam", "category": "food/jam", "unit": "H87", "price": free}
    eggs = jam | {"name": "Eggs", "category": "food/eggs", "amount": 12}
    for_eggs = [{"category": "food/eggs", "unit": "H87", "amount": 6}]
    for_jam = [{"category": "food", "unit": "H87", "amount": 1}]
    own = await ann.list(**jam, amount=2, swap=for_eggs)
    await ann.list(**jam, amount=2)
    wanting = await ben.list(**eggs, swap=for_jam)
    plain = await ben.list(**eggs)
    dear = await ben.list(**eggs, swap=[{"category": "food/jam", "unit": "H87", "amount": 3}])
    await eventually(lambda: all(map(ann.has_lot, (wanting, plain, dear))))
    (swap,) = swaps(ann.participant.chains, ann.participant.market, 10)
    assert (swap.own.id, swap.other.id, swap.gives, swap.gets) == (own, wanting, 1, 6)
    await eventually(lambda: ben.has_lot(own))
    (mirrored,) = swaps(ben.participant.chains, ben.participant.market, 10)
    assert (mirrored.own.id, mirrored.gives, mirrored.gets) == (wanting, 6, 1)
