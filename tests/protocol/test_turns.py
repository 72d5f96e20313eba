"""Whose turn it is in a trade, and what is said to who comes out of turn."""

from __future__ import annotations

from tests.protocol.chains import (
    T0,
    Deal,
    Party,
)
from tests.protocol.expectations import expect, may

from passby.protocol.trade import State
from passby.protocol.turns import cancel_names, why_not
from passby.protocol.types import EntryType

# --- whose turn it is -------------------------------------------------------------------


def test_a_step_out_of_turn_is_told_whose_turn_it_is(deal: Deal) -> None:
    lister = deal.party(1)
    words = why_not(deal.fold(T0), deal.taker.public, EntryType.HANDOVER, T0)
    assert words == (
        f"It is the lister's turn ({lister.public.hex()[:4]}…): "
        "accept or decline by 2023-11-14T22:15:20Z."
    )
    words = why_not(deal.fold(T0), lister.public, EntryType.HANDOVER, T0)
    assert words == "It is your own turn: accept or decline by 2023-11-14T22:15:20Z."
    assert why_not(deal.fold(T0), lister.public, EntryType.RESERVE, T0) == ""


def test_a_stranger_is_told_so(deal: Deal) -> None:
    words = why_not(deal.fold(T0), Party("m").public, EntryType.RESERVE, T0)
    assert words == "You are no party to this trade."


def test_a_step_in_an_ended_trade_is_told_how_it_ended(deal: Deal) -> None:
    deal.reserve(1)
    deal.cancel()
    assert why_not(deal.fold(T0), deal.taker.public, EntryType.CONFIRM, T0) == (
        "This trade has ended: CANCELLED."
    )
    assert why_not(deal.fold(T0), deal.party(1).public, EntryType.COMMIT, T0) == (
        "This trade has ended: CANCELLED. You may still release what is reserved."
    )


def test_a_cancel_names_the_commits_seen_or_a_release(two: Deal) -> None:
    two.reserve(1)
    two.reserve(2)
    two.confirm()
    commit = two.commit(2)
    assert cancel_names(two.fold(T0)) == (commit.id,)
    release = two.release(1)
    assert cancel_names(two.fold(T0)) == (release.id,)


def test_no_goods_are_brought_to_a_carrier_that_has_released(carried: Deal) -> None:
    carried.agree()
    assert may(carried.fold(T0), carried.party(1), EntryType.HANDOVER)
    carried.release(2, at_ms=carried.until[1] + 1)
    carried.goods(2, about=carried.commits[2])
    assert not may(carried.fold(T0), carried.party(1), EntryType.HANDOVER)


def test_goods_that_went_back_are_not_handed_on(carried: Deal) -> None:
    carried.agree().handover(1)
    assert may(carried.fold(T0), carried.party(2), EntryType.HANDOVER)
    carried.give_back(1)
    assert not may(carried.fold(T0), carried.party(2), EntryType.HANDOVER)


def test_a_confirm_voided_by_a_listers_hidden_reserve_is_not_written_again(two: Deal) -> None:
    two.reserve(1)
    hidden = two.reserve(2)
    two.entries.remove(hidden)
    two.reserves[2] = two.reserve(2)
    two.confirm()
    assert two.fold(T0).confirm
    two.add(hidden)
    trade = expect(two, State.RESERVED, faults={"reserved twice"})
    assert trade.confirm is None
    assert not may(trade, two.taker, EntryType.CONFIRM)
