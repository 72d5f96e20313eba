"""Deliveries by three and four: giver, carriers and taker, each with a node of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.node.delivery import ACROSS, HOUR_MS, ROOM, Delivery
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import HOME, Street, street

from passby.geo.cells import cell_text
from passby.node.api.shown import Shown
from passby.node.custody import custody_of
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.trade import State


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


async def test_goods_go_from_hand_to_hand_and_each_is_paid(lane: Street) -> None:
    delivery = await Delivery.confirmed(lane)
    ann, ben, cyd = delivery.all
    await delivery.stock_is(goods=(473, 473), room=(4527, 473))
    assert ann.participant.desk.code(delivery.trade()) is None
    assert ben.code(delivery.id) != cyd.code(delivery.id)
    with pytest.raises(RefusedError, match="not the receiver's code"):
        await ann.participant.desk.handover(delivery.id, ben.code(delivery.id), None)
    with pytest.raises(RefusedError, match="turn"):
        await cyd.participant.desk.handover(delivery.id, ben.code(delivery.id), None)
    await ann.participant.desk.handover(delivery.id, cyd.code(delivery.id), None)
    await delivery.all_see(State.IN_CUSTODY)
    (held,) = custody_of(delivery.trade())
    assert held.holder == 2
    assert not held.is_back
    await cyd.participant.desk.handover(delivery.id, ben.code(delivery.id), None)
    await eventually(lambda: custody_of(delivery.trade())[0].holder == 0)
    await ben.participant.desk.receive(delivery.id, None)
    await delivery.all_see(State.DELIVERED)
    await ann.participant.desk.paid(delivery.id, None)
    await delivery.all_see(State.DELIVERED)
    await cyd.participant.desk.paid(delivery.id, None)
    await delivery.all_see(State.SETTLED)
    assert [leg["total_minor"] for leg in delivery.shown(ben)["legs"]] == [200, 100]
    await delivery.stock_is(goods=(473, 0), room=(4527, 0))


async def test_goods_can_go_through_two_carriers(lane: Street) -> None:
    ann, ben, cyd, dan = await lane.settle("ann", "ben", "cyd", "dan")
    goods = await ann.list()
    rooms = [await cyd.list(**ROOM), await dan.list(**(ROOM | {"unit": "H87", "amount": 2}))]
    everybody = (ann, ben, cyd, dan)
    for household in everybody:
        await eventually(lambda it=household: all(map(it.has_lot, (goods, *rooms))))
    desk = ben.participant.desk
    trade = await desk.propose(goods, 400, carriers=[(rooms[0], None), (rooms[1], None)])
    assert [leg.amount for leg in trade.legs] == [400, 400, 1]
    for household in (ann, cyd, dan):
        await household.sees(trade.id, State.PROPOSED)
        await household.participant.desk.accept(trade.id)
    for household in everybody:
        await household.sees(trade.id, State.CONFIRMED)
    for giver, receiver, number in ((ann, cyd, 1), (cyd, dan, 2), (dan, ben, 3)):
        await giver.participant.desk.handover(trade.id, receiver.code(trade.id), None)
        for household in everybody:
            await eventually(
                lambda it=household, number=number: (
                    it.participant.desk.trade(trade.id).legs[number - 1].handover
                )
            )
    await desk.receive(trade.id, None)
    for household in (ann, cyd, dan):
        await household.sees(trade.id, State.DELIVERED)
    for household in (ann, cyd, dan):
        await household.participant.desk.paid(trade.id, None)
    settled = await ben.sees(trade.id, State.SETTLED)
    assert settled.legs[2].handover is not None
    assert settled.legs[2].handover.body.facts[1] == 400


# --- one leg fails, all fail ------------------------------------------------------------


async def test_a_carrier_that_declines_frees_the_givers_goods(lane: Street) -> None:
    delivery = await Delivery.proposed(lane)
    await delivery.ann.participant.desk.accept(delivery.id)
    await delivery.cyd.participant.desk.cancel(delivery.id, "The car is broken.")
    await delivery.all_see(State.DECLINED)
    await delivery.stock_is(goods=(946, 0), room=(5000, 0))


async def test_a_carrier_that_never_answers_frees_the_givers_goods(lane: Street) -> None:
    delivery = await Delivery.proposed(lane)
    await delivery.ann.participant.desk.accept(delivery.id)
    await delivery.cyd.stop()
    lane.pass_time(HOUR_MS, delivery.ann, delivery.ben)
    await delivery.ben.sees(delivery.id, State.LAPSED)
    await eventually(lambda: delivery.ann.remaining(delivery.goods) == 946)


async def test_a_carrier_that_never_comes_is_no_ones_fault_and_all_is_free_again(
    lane: Street,
) -> None:
    delivery = await Delivery.confirmed(lane)
    delivery.pass_time(5 * HOUR_MS)
    await delivery.all_see(State.NO_SHOW)
    await delivery.stock_is(goods=(946, 0), room=(5000, 0))


# --- on the way -------------------------------------------------------------------------


async def test_goods_that_nobody_takes_go_back_and_are_on_offer_again(lane: Street) -> None:
    delivery = await Delivery.under_way(lane)
    ann, ben, cyd = delivery.all
    code = ann.participant.desk.return_code(delivery.trade())
    assert code is not None
    assert ben.participant.desk.return_code(delivery.trade()) is None
    with pytest.raises(RefusedError, match="not the giver's code"):
        await cyd.participant.desk.give_back(delivery.id, ben.code(delivery.id))
    with pytest.raises(RefusedError, match="Nothing of this trade"):
        await ben.participant.desk.give_back(delivery.id, code)
    await cyd.participant.desk.give_back(delivery.id, code)
    await delivery.all_see(State.RETURNED)
    await delivery.stock_is(goods=(473, 0), room=(5000, 0))
    assert "back with ann" in delivery.shown(ben)["custody"][0]["words"]
    with pytest.raises(RefusedError, match="473 came back, not 474"):
        await ann.participant.desk.put_back(delivery.id, 474)
    await ann.participant.desk.put_back(delivery.id, None)
    await delivery.stock_is(goods=(946, 0), room=(5000, 0))
    with pytest.raises(RefusedError, match="has come back"):
        await ann.participant.desk.put_back(delivery.id, None)
    await delivery.all_see(State.RETURNED)


async def test_each_party_is_told_whose_turn_it_is_and_where_the_goods_are(lane: Street) -> None:
    delivery = await Delivery.confirmed(lane)
    ann, ben, cyd = delivery.all
    told = delivery.shown(ann)
    assert told["role"] == "lister"
    assert told["custody"][0]["words"] == "with ann, who gives it"
    assert [turn["words"] for turn in told["your_turn"]] == [
        "to hand over to cyd, who carries it on"
    ]
    assert [(w["name"], w["words"]) for w in delivery.shown(ben)["waiting_for"]] == [
        ("ann", "to hand over to cyd, who carries it on")
    ]
    await ann.participant.desk.handover(delivery.id, cyd.code(delivery.id), None)
    await delivery.all_see(State.IN_CUSTODY)
    told = delivery.shown(cyd)
    assert told["role"] == "carrier"
    assert told["custody"][0]["words"] == "with cyd, who carries it"
    assert told["custody"][0]["holder"] == cyd.author.hex()
    assert {turn["words"] for turn in told["your_turn"]} == {
        "to hand over to ben",
        "to say that what ann gives came",
        "to give it back to ann, if nobody takes it",
    }
    assert delivery.shown(ann)["return_code"] is not None


# --- what is not proposed, and not accepted -------------------------------------------------


async def test_only_room_carries_and_only_what_fits_in_it(lane: Street) -> None:
    ann, ben, cyd = await lane.settle("ann", "ben", "cyd")
    goods, more = await ann.list(), await cyd.list(name="Oil")
    small = await cyd.list(**(ROOM | {"amount": 100}))
    heavy = await cyd.list(**(ROOM | {"unit": "GRM"}))
    own = await ann.list(**ROOM)
    await eventually(lambda: all(map(ben.has_lot, (goods, more, small, heavy, own))))
    desk = ben.participant.desk
    with pytest.raises(RefusedError, match="goods, and no room"):
        await desk.propose(goods, 473, carriers=[(more, None)])
    with pytest.raises(RefusedError, match="Only 100 ml is left"):
        await desk.propose(goods, 473, carriers=[(small, None)])
    with pytest.raises(UsageError, match="counted in ml, the room in g"):
        await desk.propose(goods, 473, carriers=[(heavy, None)])
    with pytest.raises(RefusedError, match="carry to itself"):
        await desk.propose(goods, 473, carriers=[(own, None)])
    trade = await desk.propose(goods, 473, carriers=[(heavy, 450)])
    assert [leg.amount for leg in trade.legs] == [473, 450]


async def test_a_carrier_that_leaves_before_the_goods_are_there_is_not_proposed(
    lane: Street,
) -> None:
    ann, ben, cyd = await lane.settle("ann", "ben", "cyd")
    now_ms = lane.clock()
    late = {"from_ms": now_ms + 8 * HOUR_MS, "until_ms": now_ms + 9 * HOUR_MS}
    soon = {"from_ms": now_ms + HOUR_MS, "until_ms": now_ms + 2 * HOUR_MS}
    goods, room = await ann.list(window=late), await cyd.list(**ROOM, window=soon)
    await eventually(lambda: ben.has_lot(goods) and ben.has_lot(room))
    with pytest.raises(RefusedError, match="only after its carrier is on the way"):
        await ben.participant.desk.propose(goods, 473, carriers=[(room, None)])


async def test_room_is_found_in_the_book_with_where_it_goes(lane: Street) -> None:
    cyd = await lane.open("cyd")
    lot = await cyd.list(**ROOM)
    node = cyd.participant
    shown = Shown(node.chains, node.market, node.desk, node.names, node.clock)
    found = node.market.offers.get(lot)
    assert found is not None
    assert shown.lot(found)["carry_to"] == ACROSS
    assert shown.lot(found)["cell"] == cell_text(HOME)
    with pytest.raises(UsageError, match="carries nothing"):
        await cyd.list(side="request", carry_to=ACROSS)
