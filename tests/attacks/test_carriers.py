"""Attacks on deliveries: carriers that vanish, and takers that make carriers of others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.node.delivery import HOUR_MS, Delivery
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Street, street

from passby.ledger.draft import Draft
from passby.node.custody import custody_of
from passby.node.trades import offer_of
from passby.protocol.errors import RefusedError
from passby.protocol.payloads import Propose, encode_payload
from passby.protocol.terms import terms_hash, terms_of
from passby.protocol.trade import State
from passby.protocol.types import EntryType


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


async def test_a_carrier_that_vanishes_with_the_goods_is_the_only_one_who_owes(
    lane: Street,
) -> None:
    delivery = await Delivery.under_way(lane)
    ann, ben, cyd = delivery.all
    await cyd.stop()
    for hours in (20, 20, 20, 20):
        for household in (ann, ben):
            household.participant.chains.clock_guard.accept()
        lane.pass_time(hours * HOUR_MS, ann, ben)
    for household in (ann, ben):
        trade = await household.sees(delivery.id, State.DISPUTED)
        (held,) = custody_of(trade)
        assert trade.party(held.holder) == cyd.author
        assert held.by is not None
        # What Cyd told Ann is in it: that is Cyd's signature for the goods.
        assert held.by.author == ann.author
        assert not trade.faults
        assert household.participant.desk.open_trades() == []
    assert ann.remaining(delivery.goods) == 473
    # Ben says that nothing came, and owes nothing.
    await ben.participant.desk.receive(delivery.id, 0)
    assert delivery.trade().state is State.DISPUTED
    assert not [leg for leg in delivery.trade().legs if leg.to == 0 and leg.received]
    assert not delivery.trade().faults


async def test_goods_are_not_led_through_the_hands_of_who_offers_no_carriage(
    lane: Street,
) -> None:
    ann, ben, cyd = await lane.settle("ann", "ben", "cyd")
    goods, trap = await ann.list(), await cyd.list(name="A bucket", unit="H87", amount=1)
    await eventually(
        lambda: all(it.has_lot(lot) for it in (ann, ben, cyd) for lot in (goods, trap))
    )
    reader = ben.participant.chains.reader
    offers = []
    for lot, amount in ((goods, 473), (trap, 1)):
        record = reader.record(lot)
        assert record is not None
        offers.append((lot, offer_of(record), amount))
    until_ms = lane.clock() + HOUR_MS

    def hostile(at_ms: int) -> list[Draft]:
        terms = terms_of(offers, at_ms, None)
        facts = (terms_hash(bytes(16), terms), until_ms, 473, 2, until_ms, 1, 0, until_ms)
        payload = encode_payload(Propose(terms, bytes(16)))
        return [Draft(EntryType.PROPOSE, (goods, trap), facts, payload)]

    (record,) = await ben.participant.chains.say(hostile)
    for household in (ann, cyd):
        await household.sees(record.entry.id, State.PROPOSED)
        with pytest.raises(RefusedError, match="offers no carriage"):
            await household.participant.desk.accept(record.entry.id)
