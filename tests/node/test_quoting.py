"""Quotes and bids: a price agreed on beside the ledger, and held to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import MINUTE_MS, Household, Street, street

from passby.node.trades import terms_in
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.talk import Kind, Message, Quote, Status, compose
from passby.protocol.trade import State

WISH = {"side": "request", "amount": 473}


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


def record(who: Household, entry: bytes) -> Record:
    found = who.participant.chains.reader.record(entry)
    assert found is not None
    return found


async def wish_and_lot(ann: Household, ben: Household) -> tuple[bytes, bytes]:
    """Let Ben wish for what Ann lists, and both hear of it."""
    lot, wish = await ann.list(), await ben.list(**WISH)
    await eventually(lambda: ben.has_lot(lot))
    await eventually(lambda: wish in ann.participant.market.requests)
    return lot, wish


async def quoted(ann: Household, ben: Household, minor: int, for_ms: int = MINUTE_MS) -> Message:
    lot, wish = await wish_and_lot(ann, ben)
    about, until_ms = record(ann, wish), ann.clock() + for_ms
    ann.participant.quoting.quote(about, record(ann, lot), None, minor, until_ms, "half a bottle")
    await eventually(lambda: len(ben.participant.quoting.standing()) == 1)
    return ben.participant.quoting.standing()[0]


async def take(ben: Household, message: Message, minor: int | None = None) -> bytes:
    body = message.body
    assert isinstance(body, Quote)
    total = body.total_minor if minor is None else minor
    trade = await ben.participant.desk.propose(body.lot, body.amount, quoted_minor=total)
    return trade.id


async def test_what_was_quoted_is_accepted_by_itself_at_the_quoted_price(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    message = await quoted(ann, ben, 150)
    trade = await take(ben, message)
    done = await ben.sees(trade, State.CONFIRMED)
    terms = terms_in(ben.participant.chains, done)
    assert terms is not None
    assert [lot.total_minor for lot in terms.lots] == [150]


async def test_a_bid_is_answered_by_a_quote_and_an_unasked_quote_for_a_lot_is_refused(
    lane: Street,
) -> None:
    ann, ben, cem = await lane.settle("ann", "ben", "cem")
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot) and cem.has_lot(lot))
    with pytest.raises(UsageError, match="EUR"):
        ben.participant.quoting.bid(record(ben, lot), 473, 120, "USD", None)
    with pytest.raises(RefusedError):
        ann.participant.quoting.bid(record(ann, lot), 473, 120, "EUR", None)
    ben.participant.quoting.bid(record(ben, lot), 473, 120, "EUR", "it is open already")
    await eventually(lambda: len(ann.participant.quoting.bids()) == 1)
    (bid,) = ann.participant.quoting.bids()
    own, until_ms = record(ann, lot), ann.clock() + MINUTE_MS
    ann.participant.quoting.quote(own, own, 473, 130, until_ms, None, to=bid.author)
    await eventually(lambda: len(ben.participant.quoting.standing()) == 1)
    trade = await take(ben, ben.participant.quoting.standing()[0])
    await ben.sees(trade, State.CONFIRMED)
    key = ann.participant.identity.key
    body = ben.participant.quoting.standing()[0].body
    unasked = compose(key, cem.author, ann.clock(), bytes(16), Kind.QUOTE, lot, body)
    assert cem.participant.talk._take(unasked) is Status.REFUSED


# --- attacks -----------------------------------------------------------------------------


async def test_a_price_below_what_was_quoted_is_not_accepted(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    message = await quoted(ann, ben, 150)
    trade = await take(ben, message, 149)
    await ann.sees(trade, State.PROPOSED)
    with pytest.raises(RefusedError, match="terms differ"):
        await ann.participant.desk.accept(trade)


async def test_a_quote_to_one_is_no_quote_to_another(lane: Street) -> None:
    ann, ben, eve = await lane.settle("ann", "ben", "eve")
    message = await quoted(ann, ben, 150)
    assert isinstance(message.body, Quote)
    await eventually(lambda: eve.has_lot(message.body.lot))  # type: ignore[union-attr]  # narrowed above, not within the lambda
    trade = await take(eve, message)
    await ann.sees(trade, State.PROPOSED)
    with pytest.raises(RefusedError, match="terms differ"):
        await ann.participant.desk.accept(trade)


async def test_a_quote_that_is_over_binds_nobody(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    message = await quoted(ann, ben, 150)
    lane.pass_time(2 * MINUTE_MS, ann, ben)
    assert ben.participant.quoting.standing() == []
    trade = await take(ben, message)
    await ann.sees(trade, State.PROPOSED)
    with pytest.raises(RefusedError, match="terms differ"):
        await ann.participant.desk.accept(trade)


async def test_price_bait_a_dearer_offer_listed_after_the_propose_changes_nothing(
    lane: Street,
) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    trade = await ben.participant.desk.propose(lot, 473)
    await ann.list(price={"minor": 900, "per_amount": 946, "currency": "EUR"})
    await ann.sees(trade.id, State.PROPOSED)
    await ann.participant.desk.accept(trade.id)
    done = await ben.sees(trade.id, State.CONFIRMED)
    terms = terms_in(ben.participant.chains, done)
    assert terms is not None
    assert [lot.total_minor for lot in terms.lots] == [200]
