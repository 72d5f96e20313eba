"""Receipts and evidence: what is printed of a trade, and that nobody's words steer it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, Street, street

from passby.node.api.shown import Shown
from passby.node.api.talking import Talking
from passby.node.cli import show
from passby.node.cli.receipts import evidence_lines
from passby.node.report.receipt import in_words, receipt, spelled
from passby.protocol.trade import State

NOW_MS = 1_767_225_600_000
EVIL = '<script>alert(1)</script>"\x1b[2J\u202e'


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


def shown(who: Household, trade: bytes) -> dict[str, Any]:
    node = who.participant
    made = Shown(node.chains, node.market, node.desk, node.names, node.clock)
    told = made.trade(node.desk.trade(trade), entries=True)
    return {**told, "talk": Talking(node).about(trade)}


async def handed(ann: Household, ben: Household, **listed: Any) -> bytes:
    lot = await ann.list(**listed)
    await eventually(lambda: ben.has_lot(lot))
    trade = await ben.participant.desk.propose(lot, 473)
    await ann.sees(trade.id, State.PROPOSED)
    await ann.participant.desk.accept(trade.id)
    await ann.sees(trade.id, State.CONFIRMED)
    await ben.sees(trade.id, State.CONFIRMED)
    await ann.participant.desk.handover(trade.id, ben.code(trade.id), None)
    await ben.sees(trade.id, State.IN_CUSTODY)
    return trade.id


def page_of(told: dict[str, Any]) -> str:
    return receipt(told, NOW_MS, amount=show.amount, money=show.money)


async def test_a_receipt_holds_amounts_price_parties_and_every_signed_entry(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    trade = await handed(ann, ben)
    assert "no receipt yet" in page_of(shown(ben, trade))
    await ben.participant.desk.receive(trade, None)
    await ann.sees(trade, State.DELIVERED)
    await ann.participant.desk.paid(trade, None)
    await ben.sees(trade, State.SETTLED)
    told = shown(ben, trade)
    page = page_of(told)
    assert "no receipt yet" not in page
    assert "two and 00/100 EUR" in page
    assert page.count("473 ml") == 3
    assert page.count("2.00 EUR") == 3
    for entry in told["entries"]:
        assert entry["id"] in page
    for party in (ann.author, ben.author):
        assert party.hex() in page
    assert page == page_of(shown(ben, trade))


async def test_what_others_wrote_is_text_in_a_receipt_and_in_a_terminal(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    trade = await handed(ann, ben, name="Oil <b>x</b>")
    told = shown(ben, trade)
    told["taker_name"] = told["legs"][0]["lister_name"] = EVIL
    told["entries"][0] |= {"words": EVIL, "text": EVIL}
    page = page_of(told)
    for markup in ("<script", "<b>", "\x1b", "\u202e"):
        assert markup not in page
    assert "default-src &#x27;none&#x27;" in page
    assert not any(mark in line for line in evidence_lines(told) for mark in "\x1b\u202e")


async def test_a_dispute_shows_what_each_side_signed_and_said(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    trade = await handed(ann, ben)
    await ben.participant.desk.receive(trade, 100)
    Talking(ben.participant).say(trade, "The bottle had leaked")
    await ann.sees(trade, State.DISPUTED)
    await eventually(lambda: len(ann.participant.talk.about(trade)) == 1)
    lines = evidence_lines(shown(ann, trade))
    assert "DISPUTED" in lines[0]
    assert "agreed 473 ml, handed over 473 ml, received 100 ml (disputed)" in lines[1]
    assert "leaked" in "\n".join(lines)
    assert "No rule was broken" in lines[-1]
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (19, "nineteen"),
        (20, "twenty"),
        (99, "ninety-nine"),
        (100, "one hundred"),
        (1101, "one thousand one hundred one"),
        (1_000_000, "one million"),
        (2 * 10**15 + 17 * 10**6 + 340, "two quadrillion seventeen million three hundred forty"),
    ],
)
def test_numbers_in_words(number: int, words: str) -> None:
    assert spelled(number) == words


def test_money_in_words_is_as_on_a_cheque() -> None:
    assert in_words(405, "EUR") == "four and 05/100 EUR"
    assert in_words(405, "JPY") == "four hundred five JPY"
    assert in_words(1, "XQQ") == "one minor units of XQQ"
