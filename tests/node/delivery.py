"""A delivery for tests: Ann's brake fluid goes with Cyd to Ben."""

from __future__ import annotations

from typing import Any

from tests.node.networks import eventually
from tests.node.street import MINUTE_MS, Household, Street

from passby.geo.cells import cell_at, cell_text
from passby.node.api.shown import Shown
from passby.protocol.trade import State, Trade

HOUR_MS = 60 * MINUTE_MS
ACROSS = cell_text(cell_at(52.35, 4.95))
ROOM: dict[str, Any] = {
    "name": "Room in the car",
    "category": "carriage",
    "unit": "MLT",
    "amount": 5000,
    "price": {"minor": 100, "per_amount": 473, "currency": "EUR"},
    "carry_to": ACROSS,
}


class Delivery:
    """Ann's brake fluid goes with Cyd to Ben."""

    def __init__(self, lane: Street, ann: Household, ben: Household, cyd: Household) -> None:
        self.lane = lane
        self.ann, self.ben, self.cyd = ann, ben, cyd
        self.all = (ann, ben, cyd)
        self.goods = b""
        self.room = b""
        self.id = b""

    @classmethod
    async def proposed(cls, lane: Street, **room: Any) -> Delivery:
        found = cls(lane, *await lane.settle("ann", "ben", "cyd"))
        ann, ben, cyd = found.all
        found.goods, found.room = await ann.list(), await cyd.list(**(ROOM | room))
        await eventually(lambda: ben.has_lot(found.goods) and ben.has_lot(found.room))
        await eventually(lambda: ann.has_lot(found.room) and cyd.has_lot(found.goods))
        trade = await ben.participant.desk.propose(
            found.goods,
            473,
            carriers=[(found.room, None)],
            handover_until_ms=lane.clock() + 2 * HOUR_MS,
        )
        found.id = trade.id
        for household in (ann, cyd):
            await household.sees(trade.id, State.PROPOSED)
        return found

    @classmethod
    async def confirmed(cls, lane: Street, **room: Any) -> Delivery:
        found = await cls.proposed(lane, **room)
        for household in (found.ann, found.cyd):
            await household.participant.desk.accept(found.id)
        await found.all_see(State.CONFIRMED)
        return found

    @classmethod
    async def under_way(cls, lane: Street) -> Delivery:
        """Cyd has the goods."""
        found = await cls.confirmed(lane)
        await found.ann.participant.desk.handover(found.id, found.cyd.code(found.id), None)
        await found.all_see(State.IN_CUSTODY)
        return found

    async def all_see(self, state: State) -> None:
        for household in self.all:
            assert not (await household.sees(self.id, state)).faults

    def pass_time(self, ms: int) -> None:
        """Turn the clock on; who is asked says that it is right."""
        for household in self.all:
            household.participant.chains.clock_guard.accept()
        self.lane.pass_time(ms, *self.all)

    def trade(self) -> Trade:
        return self.ben.participant.desk.trade(self.id)

    def shown(self, household: Household) -> dict[str, Any]:
        node = household.participant
        shown = Shown(node.chains, node.market, node.desk, node.names, node.clock)
        return shown.trade(household.participant.desk.trade(self.id), entries=True)

    async def stock_is(self, goods: tuple[int, int], room: tuple[int, int]) -> None:
        """Wait until all see the same (remaining, reserved) of both lots."""
        for household in self.all:
            reader = household.participant.chains.reader
            for lot, wanted in ((self.goods, goods), (self.room, room)):

                def holds(
                    reader: Any = reader, lot: bytes = lot, wanted: tuple[int, int] = wanted
                ) -> bool:
                    stock = reader.lot(lot)
                    return stock is not None and (stock.remaining, stock.reserved) == wanted

                await eventually(holds)
