"""Attacks on the desk: what strangers write about trades binds nobody and crowds nobody out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.ledger.authors import Author, named
from tests.node.networks import MemoryMaker
from tests.node.street import HOME, Household, Street, street

from passby.geo.cells import topic_cell
from passby.ledger.ingest import Check
from passby.node.cli import show
from passby.node.clock import machine_clock
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.limits import TRADE_STEPS_MAX, TRADES_ASKED_MAX
from passby.protocol.payloads import Offer, encode_payload
from passby.protocol.price import Price
from passby.protocol.trade import State
from passby.protocol.types import UINT64_MAX, EntryType
from passby.protocol.units import Unit

DAY_MS = 24 * 3_600_000


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


def stranger() -> Author:
    author = Author("stranger")
    author.genesis()
    return author


def propose(author: Author, lot: bytes, handover_until_ms: int) -> Record:
    now_ms = machine_clock()
    return author.say(
        EntryType.PROPOSE,
        refs=(lot,),
        facts=(named("terms"), now_ms + DAY_MS, 1, 0, handover_until_ms),
        at_ms=now_ms,
    )


async def tell(household: Household, author: Author, *, since: int = 0) -> None:
    await household.participant.chains.admit(author.records[since:], Check.RUNS)


async def test_a_handover_put_off_for_ever_is_not_accepted(lane: Street) -> None:
    ann = await lane.open("ann")
    lot = await ann.list()
    taker = stranger()
    trade = propose(taker, lot, UINT64_MAX).entry.id
    await tell(ann, taker)
    with pytest.raises(RefusedError, match="more than a year"):
        await ann.participant.desk.accept(trade)
    assert ann.remaining(lot) == 946
    await ann.participant.desk.cancel(trade)
    assert ann.participant.desk.trade(trade).state is State.DECLINED


async def test_nobody_proposes_a_handover_years_ahead(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    await tell(ben, _copy_of(ann))
    with pytest.raises(UsageError, match="a year ahead"):
        await ben.participant.desk.propose(
            lot, 473, handover_until_ms=machine_clock() + 400 * DAY_MS
        )


def _copy_of(household: Household) -> Author:
    author = Author(household.name)
    reader = household.participant.chains.reader
    head = household.participant.chains.head_seq(household.author)
    author.records = reader.run(household.author, 1, head, 10**6)
    return author


def test_a_deadline_beyond_all_calendars_can_still_be_shown() -> None:
    assert show.moment(UINT64_MAX)
    assert show.until(UINT64_MAX)


async def test_a_reserve_that_would_bind_the_taker_for_ever_is_not_confirmed(
    lane: Street,
) -> None:
    ben = await lane.open("ben")
    lister = stranger()
    offer = Offer(
        name="a ladder", category="tools", unit=Unit.PIECE, price=Price(1, 1, "EUR"), cell=HOME
    )
    lot = lister.say(
        EntryType.OFFER,
        encode_payload(offer),
        stock=(2, 0, 0, 5, 5, 0),
        facts=(topic_cell(HOME), machine_clock() + DAY_MS),
    )
    await tell(ben, lister)
    trade = (await ben.participant.desk.propose(lot.entry.id, 1)).id
    lister.say(
        EntryType.RESERVE,
        refs=(trade, lot.entry.id),
        stock=(2, 2, 0, 1, 4, 1),
        facts=(UINT64_MAX, named("secret")),
        at_ms=machine_clock(),
    )
    await tell(ben, lister, since=2)
    # The desk takes its own steps before it is asked again: one look, then the person's.
    await ben.participant.desk._advance(trade)
    assert ben.participant.desk.trade(trade).confirm is None
    await ben.participant.desk.cancel(trade)
    assert ben.participant.desk.trade(trade).state is State.CANCELLED


async def test_proposes_of_strangers_do_not_crowd_out_a_trade_that_binds(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    await tell(ben, _copy_of(ann))
    trade = (await ben.participant.desk.propose(lot, 473)).id
    await ann.sees(trade, State.PROPOSED)
    await ann.participant.desk.accept(trade)
    taker = stranger()
    for _ in range(TRADES_ASKED_MAX + 20):
        propose(taker, lot, machine_clock() + DAY_MS)
    await tell(ann, taker)
    open_trades = [found.id for found in ann.participant.desk.open_trades()]
    assert len(open_trades) == TRADES_ASKED_MAX + 1
    assert trade in open_trades
    # Nor do they after a restart.
    await ann.restart(ben)
    await ann.sees(trade, State.CONFIRMED)
    assert trade in [found.id for found in ann.participant.desk.open_trades()]


async def test_a_frame_of_entries_about_one_trade_is_one_look_at_it(lane: Street) -> None:
    ann = await lane.open("ann")
    lot = await ann.list()
    taker = stranger()
    trade = propose(taker, lot, machine_clock() + DAY_MS).entry.id
    for _ in range(2 * TRADE_STEPS_MAX):
        taker.say(EntryType.CANCEL, refs=(trade,), facts=(1,))
    looks: list[bytes] = []
    desk = ann.participant.desk
    ask = desk._concerns_me

    def count(trade_id: bytes) -> bool:
        looks.append(trade_id)
        return ask(trade_id)

    desk._concerns_me = count  # type: ignore[method-assign]  # it still asks, and counts
    await tell(ann, taker)
    assert looks == [trade]
    # Its propose is the first of the taker's entries.
    assert len(desk.trade(trade).cancels) == TRADE_STEPS_MAX - 1


async def test_what_strangers_say_about_a_trade_is_not_read(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    await tell(ben, _copy_of(ann))
    trade = (await ben.participant.desk.propose(lot, 473)).id
    await ann.sees(trade, State.PROPOSED)
    meddler = stranger()
    for _ in range(3):
        meddler.say(EntryType.CANCEL, refs=(trade,), facts=(1,), at_ms=machine_clock())
    await tell(ann, meddler)
    read = ann.participant.chains.reader.steps(trade, meddler.public, TRADE_STEPS_MAX)
    assert len(read) == 3
    assert ann.participant.desk.trade(trade).state is State.PROPOSED
    await ann.participant.desk.accept(trade)
    await ben.sees(trade, State.CONFIRMED)
