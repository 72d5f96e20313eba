"""A trade from its handover on: custody, returns, receipts, disputes."""

from __future__ import annotations

from tests.protocol.chains import (
    CONFIRM_BY,
    DAY,
    HANDOVER_UNTIL,
    HOUR,
    T0,
    Deal,
    Party,
)
from tests.protocol.expectations import expect, may

from passby.protocol.trade import TAKER, State
from passby.protocol.turns import release_causes
from passby.protocol.types import EntryType

DISPUTE = 72 * HOUR


# --- handover, custody, returns ---------------------------------------------------------


def test_a_handover_beats_cancel_and_release(deal: Deal) -> None:
    deal.agree()
    cancel = deal.cancel(at_ms=CONFIRM_BY + 1)
    deal.handover(1)
    expect(deal, State.IN_CUSTODY)
    deal.release(1, cancel.id)
    expect(deal, State.IN_CUSTODY)


def test_a_handover_needs_the_receivers_secret(deal: Deal) -> None:
    deal.agree().handover(1, secret=bytes(16))
    expect(deal, State.CONFIRMED)


def test_a_handover_with_another_givers_secret_is_refused(two: Deal) -> None:
    two.agree()
    two.handover(1, secret=two.secrets[2, TAKER])
    expect(two, State.CONFIRMED)


def test_a_handover_with_the_secret_of_a_return_is_refused(carried: Deal) -> None:
    carried.agree().handover(2, secret=carried.secrets[2, 1])
    expect(carried, State.CONFIRMED)


def test_a_secret_overheard_does_not_let_a_stranger_hand_over(deal: Deal) -> None:
    deal.agree().handover(1, by=Party("mallory"))
    expect(deal, State.CONFIRMED)


def test_a_handover_without_a_commit_proves_custody_all_the_same(deal: Deal) -> None:
    deal.reserve(1)
    deal.confirm()
    deal.handover(1)
    expect(deal, State.IN_CUSTODY)


def test_an_older_confirm_brought_out_later_does_not_undo_a_handover(deal: Deal) -> None:
    deal.reserve(1)
    hidden = deal.confirm()
    deal.entries.remove(hidden)
    deal.confirm()
    deal.commit(1)
    deal.handover(1)
    deal.add(hidden)
    expect(deal, State.IN_CUSTODY, faults={"confirmed twice"})


def test_a_giver_that_hides_its_handover_does_not_undo_the_carriers(carried: Deal) -> None:
    carried.agree()
    carried.goods(1, about=carried.commits[1])
    carried.handover(2)
    assert carried.fold(T0).legs[1].handover
    carried.handover(1)
    trade = carried.fold(T0)
    assert trade.legs[0].handover
    assert trade.legs[1].handover


def test_a_carrier_may_hand_on_what_it_receipted_though_the_giver_is_silent(carried: Deal) -> None:
    carried.agree()
    trade = carried.fold(T0)
    assert not may(trade, carried.party(2), EntryType.HANDOVER)
    carried.goods(1, about=carried.commits[1])
    trade = carried.fold(T0)
    assert may(trade, carried.party(2), EntryType.HANDOVER)


def test_a_carrier_that_releases_with_the_goods_is_proven(carried: Deal) -> None:
    carried.agree()
    handover = carried.handover(1)
    release = carried.release(2, at_ms=carried.until[1] + DISPUTE - 1)
    rule = "released with goods in custody"
    trade = expect(carried, State.DISPUTED, carried.until[1] + DISPUTE, {rule})
    assert trade.faults[0].evidence == (handover.id, carried.reserves[2].id, release.id)


def test_a_carrier_cannot_excuse_keeping_the_goods_by_a_cancel(carried: Deal) -> None:
    carried.agree().handover(1)
    cancel = carried.cancel(at_ms=CONFIRM_BY + 1)
    carried.release(2, cancel.id, at_ms=carried.until[1] + 1)
    expect(carried, State.DISPUTED, faults={"released with goods in custody"})


def test_after_three_days_a_carriers_release_is_a_dispute_and_no_fault(carried: Deal) -> None:
    carried.agree().handover(1)
    at_ms = carried.until[1] + DISPUTE
    trade = carried.fold(at_ms - 1)
    assert not may(trade, carried.party(2), EntryType.RELEASE, at_ms - 1)
    trade = carried.fold(at_ms)
    assert may(trade, carried.party(2), EntryType.RELEASE, at_ms)
    carried.release(2, at_ms=at_ms)
    expect(carried, State.DISPUTED, at_ms + 1)


def test_a_carrier_that_returned_the_goods_releases_naming_the_return(carried: Deal) -> None:
    carried.agree().handover(1)
    back = carried.give_back(1)
    trade = expect(carried, State.RETURNED)
    assert release_causes(trade, trade.legs[1]) == (back.id,)
    carried.release(2, back.id)
    expect(carried, State.RETURNED)


def test_a_release_that_hides_the_return_still_waits_for_three_days(carried: Deal) -> None:
    carried.agree().handover(1)
    carried.give_back(1)
    carried.release(2, at_ms=carried.until[1] + 1)
    expect(carried, State.RETURNED, faults={"released with goods in custody"})


def test_a_return_needs_the_givers_secret(carried: Deal) -> None:
    carried.agree().handover(1)
    carried.give_back(1, secret=carried.secrets[1, 2])
    expect(carried, State.IN_CUSTODY)


def test_a_return_is_the_receivers_to_make(carried: Deal) -> None:
    carried.agree().handover(1)
    carried.give_back(1, by=carried.taker)
    expect(carried, State.IN_CUSTODY)


def test_a_return_counts_even_after_a_release(carried: Deal) -> None:
    carried.agree().handover(1)
    at_ms = carried.until[1] + DISPUTE
    carried.release(2, at_ms=at_ms)
    carried.give_back(1, at_ms=at_ms + 1)
    expect(carried, State.RETURNED, at_ms + 2)


def test_a_second_handover_brought_out_later_does_not_frame_who_returned(carried: Deal) -> None:
    carried.agree().handover(1)
    back = carried.give_back(1)
    carried.release(2, back.id)
    carried.handover(1)
    expect(carried, State.RETURNED)


def test_goods_returned_half_the_way_are_still_in_custody(carried: Deal) -> None:
    carried.agree().handover(1)
    carried.handover(2)
    carried.give_back(2)
    trade = expect(carried, State.IN_CUSTODY)
    assert [step.number for step in may(trade, carried.party(2), EntryType.HANDOVER)] == [1]
    carried.give_back(1)
    expect(carried, State.RETURNED)


def test_one_giver_that_does_not_come_holds_up_nobody_else(two: Deal) -> None:
    two.agree().handover(1)
    two.goods(1)
    two.money(1)
    expect(two, State.IN_CUSTODY, HANDOVER_UNTIL)
    trade = expect(two, State.SETTLED, HANDOVER_UNTIL + 1)
    assert may(trade, two.party(2), EntryType.RELEASE, HANDOVER_UNTIL + 1)[0].automatic


# --- receipts and disputes --------------------------------------------------------------


def test_a_receipt_that_differs_is_a_dispute(deal: Deal) -> None:
    deal.agree().handover(1)
    deal.goods(1, amount=400)
    deal.money(1)
    expect(deal, State.DISPUTED)


def test_a_dispute_ends_when_the_newest_receipt_equals_the_handover(deal: Deal) -> None:
    deal.agree().handover(1)
    deal.goods(1, amount=400)
    deal.goods(1)
    deal.money(1)
    expect(deal, State.SETTLED)


def test_a_dispute_ends_when_the_givers_adjust_names_the_receipt(deal: Deal) -> None:
    deal.agree().handover(1)
    receipt = deal.goods(1, amount=400)
    deal.adjust(1, 73, receipt.id)
    expect(deal, State.DELIVERED)


def test_a_dispute_ends_when_the_givers_money_receipt_names_the_receipt(deal: Deal) -> None:
    deal.agree().handover(1)
    receipt = deal.goods(1, amount=400)
    deal.money(1, about=receipt)
    expect(deal, State.SETTLED)


def test_a_differing_receipt_in_time_counts_whenever_it_arrives(deal: Deal) -> None:
    deal.agree().handover(1)
    expect(deal, State.DELIVERED, HANDOVER_UNTIL + 9 * DAY)
    deal.goods(1, amount=0, at_ms=HANDOVER_UNTIL + DAY)
    expect(deal, State.DISPUTED, HANDOVER_UNTIL + 9 * DAY)


def test_a_differing_receipt_dated_too_late_changes_nothing(deal: Deal) -> None:
    deal.agree().handover(1)
    deal.goods(1, amount=0, at_ms=HANDOVER_UNTIL + DAY + 1)
    expect(deal, State.DELIVERED, HANDOVER_UNTIL + 9 * DAY)


def test_a_giver_that_keeps_its_handover_back_is_answered_by_naming_the_commit(deal: Deal) -> None:
    deal.agree()
    deal.goods(1, about=deal.commits[1])
    expect(deal, State.DISPUTED)
    deal.handover(1)
    expect(deal, State.DELIVERED)


def test_a_receipt_of_nothing_for_a_commit_is_no_delivery(deal: Deal) -> None:
    deal.agree()
    deal.goods(1, amount=0, about=deal.commits[1])
    expect(deal, State.CONFIRMED)
    expect(deal, State.NO_SHOW, HANDOVER_UNTIL + 1)


def test_a_receipt_without_a_handover_does_not_hold_the_givers_stock(deal: Deal) -> None:
    deal.agree()
    deal.goods(1, about=deal.commits[1])
    trade = deal.fold(HANDOVER_UNTIL + 1)
    assert may(trade, deal.party(1), EntryType.RELEASE, HANDOVER_UNTIL + 1)


def test_a_secret_for_one_lot_does_not_hand_over_another_of_the_same_giver() -> None:
    anna = Party("anna")
    deal = Deal.between(Party("ben"), [anna, anna]).agree()
    deal.handover(2, secret=deal.secrets[1, TAKER])
    expect(deal, State.CONFIRMED)


def test_a_return_names_the_handover_that_brought_the_goods(carried: Deal) -> None:
    carried.agree()
    handover = carried.handover(1)
    carried.handovers[1] = carried.commits[1]
    carried.give_back(1)
    assert carried.fold(T0).legs[0].handover == handover
    expect(carried, State.IN_CUSTODY)


def test_an_answer_to_an_older_complaint_does_not_end_a_newer_one(deal: Deal) -> None:
    deal.agree().handover(1)
    older = deal.goods(1, amount=472)
    deal.money(1, about=older)
    expect(deal, State.SETTLED)
    newer = deal.goods(1, amount=0)
    expect(deal, State.DISPUTED)
    deal.adjust(1, 473, newer.id)
    expect(deal, State.SETTLED)


def test_who_took_the_goods_back_need_not_be_paid(two: Deal) -> None:
    two.agree()
    for number in (1, 2):
        two.handover(number)
    two.give_back(1)
    two.goods(2)
    two.money(2)
    expect(two, State.SETTLED)


def test_goods_that_the_carrier_keeps_past_its_window_are_in_custody(carried: Deal) -> None:
    carried.agree().handover(1)
    carried.goods(1)
    expect(carried, State.IN_CUSTODY, carried.until[1] + DAY)


def test_goods_that_a_carrier_keeps_too_long_are_in_dispute_until_they_move(carried: Deal) -> None:
    carried.agree().handover(1)
    late_ms = carried.until[1] + 3 * DAY
    expect(carried, State.IN_CUSTODY, late_ms)
    expect(carried, State.DISPUTED, late_ms + 1)
    # Who carries it can still mend that.
    back = carried.copy()
    back.give_back(1, at_ms=late_ms + 1)
    expect(back, State.RETURNED, late_ms + 1)
    carried.handover(2, at_ms=late_ms + 1)
    expect(carried, State.IN_CUSTODY, late_ms + 1)
