"""The stock rule, line by line of its table, and each cheat with its proof."""

from __future__ import annotations

import hashlib

import pytest

from passby.protocol.entry import Body, Entry
from passby.protocol.stock import (
    LotStock,
    Reserve,
    Rule,
    StockBreach,
    StockStep,
    apply,
    carries_stock,
)
from passby.protocol.types import EntryType

AUTHOR = b"a" * 32
LOT = b"L" * 32
RESERVED = b"R" * 32
PROPOSE = b"P" * 32


def entry(
    type_: EntryType, seq: int, stock: tuple[int, ...], refs: tuple[bytes, ...] = ()
) -> Entry:
    body = Body(AUTHOR, seq, b"p" * 32, 0, type_, refs, stock)
    return Entry(b"", hashlib.sha256(repr(body).encode()).digest(), body)


lot = LotStock(LOT, 2, 7, 60, 40)
"""Offer of 100 at 2, a reserve of 40 at 5, last touched at 7."""
reserve = Reserve(RESERVED, PROPOSE, 5, 2, 40)


def test_an_offer_opens_a_lot() -> None:
    offer = entry(EntryType.OFFER, 2, (2, 0, 0, 100, 100, 0))
    assert apply(None, None, offer) == StockStep(LotStock(offer.id, 2, 2, 100, 0))


def test_a_reserve_moves_from_remaining_to_reserved() -> None:
    taken = entry(EntryType.RESERVE, 9, (2, 7, 0, 10, 50, 50), (PROPOSE, LOT))
    assert apply(lot, None, taken) == StockStep(
        LotStock(LOT, 2, 9, 50, 50), Reserve(taken.id, PROPOSE, 9, 2, 10)
    )


def test_a_release_gives_all_of_its_reserve_back() -> None:
    released = entry(EntryType.RELEASE, 9, (2, 7, 5, 40, 100, 0), (PROPOSE, RESERVED))
    assert apply(lot, reserve, released) == StockStep(
        LotStock(LOT, 2, 9, 100, 0), Reserve(RESERVED, PROPOSE, 5, 2, 40, 9)
    )


@pytest.mark.parametrize(("handed", "remaining"), [(40, 60), (25, 75), (1, 99)])
def test_a_handover_resolves_the_whole_reserve(handed: int, remaining: int) -> None:
    given = entry(
        EntryType.HANDOVER, 9, (2, 7, 5, handed, remaining, 0), (PROPOSE, b"c" * 32, b"r" * 32)
    )
    step = apply(lot, reserve, given)
    assert isinstance(step, StockStep)
    assert (step.lot.remaining, step.lot.reserved) == (remaining, 0)
    assert step.reserve is not None
    assert step.reserve.resolved_seq == 9


@pytest.mark.parametrize(("remaining", "change"), [(70, 10), (0, 60)])
def test_an_adjust_takes_its_sign_from_what_remains(remaining: int, change: int) -> None:
    changed = entry(EntryType.ADJUST, 9, (2, 7, 0, change, remaining, 40), (LOT,))
    assert apply(lot, None, changed) == StockStep(LotStock(LOT, 2, 9, remaining, 40))


def test_a_close_ends_a_lot_of_which_nothing_is_reserved() -> None:
    idle = LotStock(LOT, 2, 7, 60, 0)
    closed = entry(EntryType.CLOSE, 9, (2, 7, 0, 60, 0, 0), (LOT,))
    assert apply(idle, None, closed) == StockStep(LotStock(LOT, 2, 9, 0, 0, closed=True))


def test_an_empty_lot_can_be_closed() -> None:
    closed = entry(EntryType.CLOSE, 9, (2, 7, 0, 0, 0, 0), (LOT,))
    assert isinstance(apply(LotStock(LOT, 2, 7, 0, 0), None, closed), StockStep)


def test_a_return_changes_no_lot() -> None:
    assert not carries_stock(entry(EntryType.HANDOVER, 9, (), (PROPOSE,)))


R = EntryType.RESERVE
REFS = (PROPOSE, LOT)
RELEASING = (PROPOSE, RESERVED)
HANDING = (PROPOSE, b"c" * 32, b"r" * 32)
resolved = Reserve(RESERVED, PROPOSE, 5, 2, 40, 6)
elsewhere = Reserve(RESERVED, PROPOSE, 5, 3, 40)
ended = LotStock(LOT, 2, 7, 0, 0, closed=True)
idle = LotStock(LOT, 2, 7, 60, 0)


@pytest.mark.parametrize(
    ("sentence", "held", "named", "cheat", "breach"),
    [
        ("an offer of another seq", None, None, entry(EntryType.OFFER, 2, (3, 0, 0, 1, 1, 0)),
         StockBreach(Rule.RANGE, (2,))),
        ("an offer of nothing", None, None, entry(EntryType.OFFER, 2, (2, 0, 0, 0, 0, 0)),
         StockBreach(Rule.RANGE, (2,))),
        ("an offer of less than remains", None, None,
         entry(EntryType.OFFER, 2, (2, 0, 0, 1, 2, 0)), StockBreach(Rule.RANGE, (2,))),
        ("an offer with something reserved", None, None,
         entry(EntryType.OFFER, 2, (2, 0, 0, 1, 1, 1)), StockBreach(Rule.RANGE, (2,))),
        ("a previous before the lot", lot, None, entry(R, 9, (2, 1, 0, 10, 50, 50), REFS),
         StockBreach(Rule.RANGE, (9,))),
        ("a previous that is itself", lot, None, entry(R, 9, (2, 9, 0, 10, 50, 50), REFS),
         StockBreach(Rule.RANGE, (9,))),
        ("a lot number of nought", None, None, entry(R, 9, (0, 0, 0, 10, 50, 50), REFS),
         StockBreach(Rule.RANGE, (9,))),
        ("a reserve that names a reserve", lot, None, entry(R, 9, (2, 7, 5, 10, 50, 50), REFS),
         StockBreach(Rule.RANGE, (9,))),
        ("a reserve of nothing", lot, None, entry(R, 9, (2, 7, 0, 0, 60, 40), REFS),
         StockBreach(Rule.RANGE, (9,))),
        ("a release that names no reserve", lot, None,
         entry(EntryType.RELEASE, 9, (2, 7, 0, 40, 100, 0), RELEASING),
         StockBreach(Rule.RANGE, (9,))),
        ("a release of the offer", lot, None,
         entry(EntryType.RELEASE, 9, (2, 7, 2, 40, 100, 0), RELEASING),
         StockBreach(Rule.RANGE, (9,))),
        ("a release of what comes later", lot, None,
         entry(EntryType.RELEASE, 9, (2, 7, 8, 40, 100, 0), RELEASING),
         StockBreach(Rule.RANGE, (9,))),
        ("an adjust by nothing", lot, None,
         entry(EntryType.ADJUST, 9, (2, 7, 0, 0, 60, 40), (LOT,)),
         StockBreach(Rule.RANGE, (9,))),
        ("a close that leaves something", idle, None,
         entry(EntryType.CLOSE, 9, (2, 7, 0, 60, 1, 0), (LOT,)), StockBreach(Rule.RANGE, (9,))),
        ("a lot that is none", None, None, entry(R, 9, (2, 7, 0, 10, 50, 50), REFS),
         StockBreach(Rule.NO_LOT, (2, 9))),
        ("a previous used twice", lot, None, entry(R, 9, (2, 5, 0, 10, 50, 50), REFS),
         StockBreach(Rule.PREVIOUS, (7, 9))),
        ("a previous of no lot", lot, None, entry(R, 9, (2, 8, 0, 10, 50, 50), REFS),
         StockBreach(Rule.PREVIOUS, (8, 9))),
        ("more sold than there is", lot, None, entry(R, 9, (2, 7, 0, 61, 0, 101), REFS),
         StockBreach(Rule.ARITHMETIC, (7, 9))),
        ("less taken away than sold", lot, None, entry(R, 9, (2, 7, 0, 10, 60, 50), REFS),
         StockBreach(Rule.ARITHMETIC, (7, 9))),
        ("less reserved than sold", lot, None, entry(R, 9, (2, 7, 0, 10, 50, 40), REFS),
         StockBreach(Rule.ARITHMETIC, (7, 9))),
        ("an adjust that touches reserves", lot, None,
         entry(EntryType.ADJUST, 9, (2, 7, 0, 10, 70, 30), (LOT,)),
         StockBreach(Rule.ARITHMETIC, (7, 9))),
        ("a close over reserves", lot, None,
         entry(EntryType.CLOSE, 9, (2, 7, 0, 60, 0, 0), (LOT,)),
         StockBreach(Rule.ARITHMETIC, (7, 9))),
        ("a release that gives back more", lot, reserve,
         entry(EntryType.RELEASE, 9, (2, 7, 5, 40, 101, 0), RELEASING),
         StockBreach(Rule.ARITHMETIC, (5, 7, 9))),
        ("a handover that gives back more", lot, reserve,
         entry(EntryType.HANDOVER, 9, (2, 7, 5, 40, 100, 0), HANDING),
         StockBreach(Rule.ARITHMETIC, (5, 7, 9))),
        ("a release of what is no reserve", lot, None,
         entry(EntryType.RELEASE, 9, (2, 7, 6, 40, 100, 0), RELEASING),
         StockBreach(Rule.NO_RESERVE, (6, 9))),
        ("a release of another lot's reserve", lot, elsewhere,
         entry(EntryType.RELEASE, 9, (2, 7, 5, 40, 100, 0), RELEASING),
         StockBreach(Rule.NO_RESERVE, (5, 9))),
        ("a reserve released twice", lot, resolved,
         entry(EntryType.RELEASE, 9, (2, 7, 5, 40, 100, 0), RELEASING),
         StockBreach(Rule.RESOLVED, (6, 9))),
        ("a release of a part", lot, reserve,
         entry(EntryType.RELEASE, 9, (2, 7, 5, 39, 99, 1), RELEASING),
         StockBreach(Rule.AMOUNT, (5, 9))),
        ("a handover of more than reserved", lot, reserve,
         entry(EntryType.HANDOVER, 9, (2, 7, 5, 41, 59, 0), HANDING),
         StockBreach(Rule.AMOUNT, (5, 9))),
        ("a handover of nothing", lot, reserve,
         entry(EntryType.HANDOVER, 9, (2, 7, 5, 0, 100, 0), HANDING),
         StockBreach(Rule.AMOUNT, (5, 9))),
        ("an entry after the close", ended, None, entry(R, 9, (2, 7, 0, 1, 0, 1), REFS),
         StockBreach(Rule.CLOSED, (7, 9))),
        ("a reserve whose refs name another lot", lot, None,
         entry(R, 9, (2, 7, 0, 10, 50, 50), (PROPOSE, b"x" * 32)),
         StockBreach(Rule.REFS, (2, 9))),
        ("an adjust whose refs name another lot", lot, None,
         entry(EntryType.ADJUST, 9, (2, 7, 0, 10, 70, 40), (b"x" * 32,)),
         StockBreach(Rule.REFS, (2, 9))),
        ("a close whose refs name another lot", idle, None,
         entry(EntryType.CLOSE, 9, (2, 7, 0, 60, 0, 0), (b"x" * 32,)),
         StockBreach(Rule.REFS, (2, 9))),
        ("a release whose refs name another reserve", lot, reserve,
         entry(EntryType.RELEASE, 9, (2, 7, 5, 40, 100, 0), (PROPOSE, b"x" * 32)),
         StockBreach(Rule.REFS, (5, 9))),
        ("a handover in another trade", lot, reserve,
         entry(EntryType.HANDOVER, 9, (2, 7, 5, 40, 60, 0), (b"x" * 32, b"c" * 32, b"r" * 32)),
         StockBreach(Rule.REFS, (5, 9))),
    ],
)  # fmt: skip
def test_each_cheat_has_a_proof_of_at_most_three_entries(
    sentence: str, held: LotStock | None, named: Reserve | None, cheat: Entry, breach: StockBreach
) -> None:
    assert apply(held, named, cheat) == breach, sentence
    assert len(breach.accused) <= 3
    assert breach.accused[-1] == cheat.seq
