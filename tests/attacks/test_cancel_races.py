"""Cancelling against accepting, at one moment: nobody is framed, and no stock is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import MINUTE_MS, Household, Street, street

from passby.protocol.errors import RefusedError
from passby.protocol.limits import CONFIRM_WITHIN_S
from passby.protocol.trade import OPEN_STATES, State


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancel_that_crosses_an_accept_frames_nobody(lane: Street, steps: int) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    trade = (await ben.participant.desk.propose(lot, 473)).id
    await ann.sees(trade, State.PROPOSED)

    async def cancel(who: Household, after: int) -> None:
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        # Refused where it would be a breach by now: that is the point.
        with suppress(RefusedError):
            await who.participant.desk.cancel(trade)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ann.participant.desk.accept, trade)
        nursery.start_soon(cancel, ben, steps * 7)
        nursery.start_soon(cancel, ann, steps * 11 + 40)
    lane.pass_time(CONFIRM_WITHIN_S * 1000 + MINUTE_MS, ann, ben)

    def agreed() -> bool:
        mine, theirs = (who.participant.desk.trade(trade) for who in (ann, ben))
        kept = 473 if mine.state in OPEN_STATES else 946
        return mine.state is theirs.state and ann.remaining(lot) == ben.remaining(lot) == kept

    await eventually(agreed)
    for who in (ann, ben):
        seen = who.participant.desk.trade(trade)
        assert not seen.faults
        assert seen.state is not State.RESERVED
