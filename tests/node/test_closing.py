"""Off the market before the last day, and what is said of a trade afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.node.networks import Libp2pMaker, MemoryMaker, eventually
from tests.node.street import Household, Street, street

from passby.ledger.draft import Draft
from passby.node.closing import close
from passby.node.rating import Rating, rate, ratings_of
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.trade import State
from passby.protocol.types import EntryType

WISH = {"side": "request", "amount": 473}


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


async def shut(who: Household, lot: bytes) -> None:
    record = who.participant.chains.reader.record(lot)
    assert record is not None
    await close(who.participant.chains, record)


def wants(who: Household, wish: bytes) -> bool:
    return wish in who.participant.market.requests


async def settled(ann: Household, ben: Household) -> bytes:
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    trade = await ben.participant.desk.propose(lot, 473)
    await ann.sees(trade.id, State.PROPOSED)
    await ann.participant.desk.accept(trade.id)
    await ann.sees(trade.id, State.CONFIRMED)
    await ben.sees(trade.id, State.CONFIRMED)
    with pytest.raises(RefusedError, match="settled"):
        await rate(ben.participant.chains, ben.participant.desk.trade(trade.id), 5, None)
    await ann.participant.desk.handover(trade.id, ben.code(trade.id), None)
    await ben.sees(trade.id, State.IN_CUSTODY)
    await ben.participant.desk.receive(trade.id, None)
    await ann.sees(trade.id, State.DELIVERED)
    await ann.participant.desk.paid(trade.id, None)
    await ben.sees(trade.id, State.SETTLED)
    return trade.id


async def test_a_withdrawn_request_leaves_every_book_and_stays_away_after_a_restart(
    tmp_path: Path,
) -> None:
    async with street(Libp2pMaker(), tmp_path) as here:
        ann, ben = await here.settle("ann", "ben")
        wish, other = await ben.list(**WISH), await ben.list(**WISH)
        await eventually(lambda: wants(ann, wish) and wants(ann, other))
        await shut(ben, wish)
        assert not wants(ben, wish)
        await eventually(lambda: not wants(ann, wish))
        with pytest.raises(RefusedError, match="already"):
            await shut(ben, wish)
        await ann.restart(ben)
        await eventually(lambda: wants(ann, other))
        assert not wants(ann, wish)


async def test_a_closed_offer_leaves_the_book_and_nobody_closes_another_s(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot, wish = await ann.list(), await ben.list(**WISH)
    await eventually(lambda: ben.has_lot(lot) and wants(ann, wish))
    for one in (lot, wish):
        thief = ben if one == lot else ann
        with pytest.raises(RefusedError, match="yours"):
            await shut(thief, one)
    await ann.participant.say([Draft(EntryType.WITHDRAW, (wish,), (2,))])
    await shut(ann, lot)
    await eventually(lambda: not ben.has_lot(lot))
    assert wants(ben, wish)
    assert wants(ann, wish)


async def test_each_side_of_a_settled_trade_rates_it_once_and_outsiders_do_not_count(
    lane: Street,
) -> None:
    ann, ben, eve = await lane.settle("ann", "ben", "eve")
    trade = await settled(ann, ben)
    chains = ben.participant.chains
    with pytest.raises(UsageError):
        await rate(chains, ben.participant.desk.trade(trade), 6, None)
    await rate(chains, ben.participant.desk.trade(trade), 4, "as described")
    with pytest.raises(RefusedError, match="first word"):
        await rate(chains, ben.participant.desk.trade(trade), 1, "no, wait")
    with pytest.raises(RefusedError, match="no party"):
        await rate(eve.participant.chains, ben.participant.desk.trade(trade), 5, None)
    # Whoever writes past the rules is not heard: a second word, and one by an outsider.
    for who in (ben, eve):
        await who.participant.say([Draft(EntryType.RATING, (trade,), (1,))])

    def seen() -> list[Rating]:
        return ratings_of(ann.participant.chains, ann.participant.desk.trade(trade))

    await eventually(lambda: len(seen()) == 1)
    assert [(one.author, one.stars, one.text) for one in seen()] == [
        (ben.author, 4, "as described")
    ]
