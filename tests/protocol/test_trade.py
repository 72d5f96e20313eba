"""A trade up to its handover: every rule, and every way round it that somebody might try."""

from __future__ import annotations

import pytest
from tests.protocol.chains import (
    CONFIRM_BY,
    DAY,
    HANDOVER_UNTIL,
    HOUR,
    MINUTE,
    RESPOND_BY,
    T0,
    Deal,
    Party,
    digest,
)
from tests.protocol.expectations import expect, may

from passby.protocol.trade import OPEN_STATES, TAKER, TIMEOUTS, State, fold
from passby.protocol.types import EntryType

# --- the straight way ------------------------------------------------------------------


def test_two_parties_go_from_propose_to_settled(deal: Deal) -> None:
    expect(deal, State.PROPOSED)
    deal.reserve(1)
    expect(deal, State.RESERVED)
    deal.confirm()
    expect(deal, State.RESERVED)
    deal.commit(1)
    expect(deal, State.CONFIRMED)
    deal.handover(1)
    expect(deal, State.IN_CUSTODY)
    deal.goods(1)
    expect(deal, State.DELIVERED)
    deal.money(1)
    expect(deal, State.SETTLED)


def test_a_gift_settles_with_a_money_receipt_of_nothing(deal: Deal) -> None:
    deal.agree().handover(1)
    deal.goods(1)
    deal.money(1, minor=0)
    expect(deal, State.SETTLED)


def test_goods_go_from_giver_over_carrier_to_taker(carried: Deal) -> None:
    carried.agree()
    expect(carried, State.CONFIRMED)
    carried.handover(1)
    trade = expect(carried, State.IN_CUSTODY)
    assert may(trade, carried.party(2), EntryType.HANDOVER)
    carried.goods(1)
    carried.handover(2)
    expect(carried, State.IN_CUSTODY)
    carried.goods(2)
    expect(carried, State.DELIVERED)
    carried.money(1)
    expect(carried, State.DELIVERED)
    carried.money(2)
    expect(carried, State.SETTLED)


def test_two_carriers_in_a_row_hand_on(carried: Deal) -> None:
    deal = Deal.between(Party("b"), [Party("a"), Party("c"), Party("d")], [3, TAKER, 2])
    deal.agree()
    for number in (1, 3, 2):
        deal.handover(number)
        deal.goods(number)
        deal.money(number)
    expect(deal, State.SETTLED)


def test_silence_of_the_receiver_is_delivery_a_day_after_the_window(deal: Deal) -> None:
    deal.agree().handover(1)
    expect(deal, State.IN_CUSTODY, HANDOVER_UNTIL + DAY)
    expect(deal, State.DELIVERED, HANDOVER_UNTIL + DAY + 1)


def test_silence_of_the_receiver_is_delivery_a_day_after_a_late_handover(deal: Deal) -> None:
    at_ms = HANDOVER_UNTIL + 3 * HOUR
    deal.agree().handover(1, at_ms=at_ms)
    expect(deal, State.IN_CUSTODY, at_ms + DAY)
    expect(deal, State.DELIVERED, at_ms + DAY + 1)


def test_less_may_be_handed_over_than_was_reserved(deal: Deal) -> None:
    deal.agree().handover(1, amount=100)
    deal.goods(1, amount=100)
    deal.money(1)
    expect(deal, State.SETTLED)


# --- exits -----------------------------------------------------------------------------


def test_a_lister_declines_by_a_cancel_instead_of_a_reserve(deal: Deal) -> None:
    deal.cancel(by=deal.party(1))
    expect(deal, State.DECLINED)


def test_one_refusal_ends_a_propose_of_several_lots(two: Deal) -> None:
    two.reserve(1)
    two.cancel(by=two.party(2))
    trade = expect(two, State.DECLINED)
    assert may(trade, two.party(1), EntryType.RELEASE)[0].automatic


def test_a_listers_cancel_after_its_reserve_says_nothing(deal: Deal) -> None:
    deal.reserve(1)
    deal.cancel(by=deal.party(1))
    expect(deal, State.RESERVED)


def test_reserving_after_declining_is_proven_by_the_two(deal: Deal) -> None:
    cancel = deal.cancel(by=deal.party(1))
    reserve = deal.reserve(1)
    trade = expect(deal, State.DECLINED, faults={"reserved after declining"})
    assert trade.faults[0].evidence == (cancel.id, reserve.id)
    assert trade.legs[0].reserve is None


def test_a_propose_lapses_when_nobody_reserves_in_time(deal: Deal) -> None:
    expect(deal, State.PROPOSED, RESPOND_BY)
    expect(deal, State.LAPSED, RESPOND_BY + 1)


def test_a_propose_lapses_when_one_of_two_does_not_reserve(two: Deal) -> None:
    two.reserve(1)
    expect(two, State.PROPOSED, RESPOND_BY)
    trade = expect(two, State.LAPSED, RESPOND_BY + 1)
    assert may(trade, two.party(1), EntryType.RELEASE, RESPOND_BY + 1)


def test_a_reserve_that_arrives_late_but_is_dated_in_time_counts(deal: Deal) -> None:
    expect(deal, State.LAPSED, RESPOND_BY + 1)
    deal.reserve(1, at_ms=RESPOND_BY)
    expect(deal, State.RESERVED, RESPOND_BY + 1)


def test_a_reserve_dated_after_the_deadline_is_void(deal: Deal) -> None:
    deal.reserve(1, at_ms=RESPOND_BY + 1)
    expect(deal, State.LAPSED, RESPOND_BY + 1)


def test_reserves_lapse_without_a_confirm_by_the_least_deadline(two: Deal) -> None:
    two.reserve(1, confirm_by=CONFIRM_BY - MINUTE)
    two.reserve(2)
    expect(two, State.RESERVED, CONFIRM_BY - MINUTE)
    trade = expect(two, State.LAPSED, CONFIRM_BY - MINUTE + 1)
    assert trade.commit_by_ms == CONFIRM_BY - MINUTE


def test_a_confirmed_trade_lapses_when_a_commit_is_missing(two: Deal) -> None:
    two.reserve(1)
    two.reserve(2)
    two.confirm()
    two.commit(1)
    expect(two, State.RESERVED, CONFIRM_BY)
    trade = expect(two, State.LAPSED, CONFIRM_BY + 1)
    assert not may(trade, two.party(1), EntryType.RELEASE, CONFIRM_BY + 1)
    assert may(trade, two.taker, EntryType.CANCEL, CONFIRM_BY + 1)[0].automatic


def test_a_lister_withdraws_freely_before_its_commit(deal: Deal) -> None:
    deal.reserve(1)
    deal.release(1)
    expect(deal, State.WITHDRAWN)


def test_a_withdrawal_stays_one_when_others_release_after_it(two: Deal) -> None:
    two.reserve(1)
    two.reserve(2)
    two.confirm()
    two.commit(1)
    first = two.release(2)
    expect(two, State.WITHDRAWN)
    two.release(1, first.id)
    expect(two, State.WITHDRAWN)


def test_releasing_after_the_lapse_is_still_a_lapse(deal: Deal) -> None:
    deal.reserve(1)
    deal.release(1, at_ms=CONFIRM_BY + 1)
    expect(deal, State.LAPSED, CONFIRM_BY + 2)


def test_a_taker_cancels_freely_before_its_confirm(deal: Deal) -> None:
    deal.cancel()
    expect(deal, State.CANCELLED)


def test_a_taker_cancels_freely_what_is_reserved_but_not_confirmed(deal: Deal) -> None:
    deal.reserve(1)
    deal.cancel()
    trade = expect(deal, State.CANCELLED)
    assert may(trade, deal.party(1), EntryType.RELEASE)[0].automatic


def test_no_handover_in_the_window_is_a_no_show_and_nobodys_fault(deal: Deal) -> None:
    deal.agree()
    expect(deal, State.CONFIRMED, HANDOVER_UNTIL)
    expect(deal, State.NO_SHOW, HANDOVER_UNTIL + 1)
    deal.release(1, at_ms=HANDOVER_UNTIL + 1)
    expect(deal, State.NO_SHOW, HANDOVER_UNTIL + 2)


def test_goods_that_all_came_back_are_returned_and_put_back(deal: Deal) -> None:
    deal.agree().handover(1)
    back = deal.give_back(1)
    trade = expect(deal, State.RETURNED)
    assert may(trade, deal.party(1), EntryType.ADJUST)
    adjust = deal.adjust(1, 473, back.id)
    trade = expect(deal, State.RETURNED)
    assert trade.legs[0].put_back == adjust
    assert not may(trade, deal.party(1), EntryType.ADJUST)


def test_every_timeout_names_a_state_that_the_fold_reaches() -> None:
    assert set(TIMEOUTS) == OPEN_STATES - {State.DELIVERED}


# --- what does not count, and doubles ---------------------------------------------------


def test_a_commit_dated_after_commit_by_is_void(deal: Deal) -> None:
    deal.reserve(1)
    deal.confirm()
    deal.commit(1, at_ms=CONFIRM_BY + 1)
    expect(deal, State.LAPSED, CONFIRM_BY + 1)


def test_a_confirm_that_leaves_out_a_reserve_is_void(two: Deal) -> None:
    two.reserve(1)
    reserve = two.reserve(2)
    del two.reserves[2]
    two.confirm()
    two.reserves[2] = reserve
    assert two.fold(T0).confirm is None


def test_a_confirm_with_another_deadline_than_the_least_is_void(two: Deal) -> None:
    two.reserve(1, confirm_by=CONFIRM_BY - MINUTE)
    two.reserve(2)
    two.confirm(commit_by=CONFIRM_BY)
    assert two.fold(T0).confirm is None


def test_a_confirm_dated_after_commit_by_is_void(deal: Deal) -> None:
    deal.reserve(1)
    deal.confirm(at_ms=CONFIRM_BY + 1)
    assert deal.fold(T0).confirm is None


def test_a_confirm_without_every_givers_secret_is_void(two: Deal) -> None:
    two.reserve(1)
    two.reserve(2)
    refs = (two.propose.id, two.reserves[1].id, two.reserves[2].id)
    two.add(two.taker.write(EntryType.CONFIRM, refs, facts=(CONFIRM_BY, digest("one"))))
    assert two.fold(T0).confirm is None


def test_a_reserve_of_another_amount_is_void_but_can_be_released(deal: Deal) -> None:
    deal.reserve(1, amount=472)
    trade = expect(deal, State.PROPOSED)
    assert not may(trade, deal.party(1), EntryType.RESERVE)
    assert may(trade, deal.party(1), EntryType.RELEASE)


def test_a_carriers_reserve_without_a_hash_for_the_return_to_it_is_void(carried: Deal) -> None:
    carried.reserve(2, hashes=(digest("only the giver"),))
    assert carried.fold(T0).legs[1].reserve is None


def test_a_strangers_steps_are_passed_over(deal: Deal) -> None:
    stranger = Party("mallory")
    deal.reserve(1, by=stranger)
    expect(deal, State.PROPOSED)
    deal.cancel(by=stranger)
    expect(deal, State.PROPOSED)


def test_the_taker_cannot_reserve_for_a_lister(deal: Deal) -> None:
    deal.reserve(1, by=deal.taker)
    expect(deal, State.PROPOSED)


def test_a_strangers_confirm_commit_and_receipts_are_passed_over(deal: Deal) -> None:
    stranger = Party("mallory")
    deal.agree()
    handover = deal.handover(1)
    stranger.write(EntryType.COMMIT, [digest(1), digest(2), digest(3)])
    deal.goods(1, amount=0, by=stranger)
    deal.goods(1, amount=0, by=deal.party(1))
    deal.money(1, by=stranger)
    deal.money(1, by=deal.taker)
    trade = expect(deal, State.IN_CUSTODY)
    assert trade.legs[0].handover == handover
    assert trade.legs[0].goods_receipt is None
    assert trade.legs[0].money_receipt is None


def test_entries_of_another_trade_are_passed_over(deal: Deal) -> None:
    other = Deal.between(Party("ben2"), [Party("anna2")]).agree()
    deal.entries += other.entries
    expect(deal, State.PROPOSED)


def test_without_the_offer_nobody_speaks_for_the_lot(deal: Deal) -> None:
    deal.agree()
    trade = deal.fold(T0, deal.entries[1:])
    assert trade.state is State.PROPOSED
    assert trade.party(1) is None


def test_a_request_is_no_lot_to_propose_on(deal: Deal) -> None:
    request = Party("anna").write(EntryType.REQUEST, facts=(0x85196953FFFFFFF, T0))
    facts = (digest("terms"), RESPOND_BY, 1, 0, HANDOVER_UNTIL)
    propose = deal.taker.write(EntryType.PROPOSE, [request.id], facts=facts)
    assert fold(propose, [request], T0).legs[0].lister is None


@pytest.mark.parametrize(
    ("step", "rule", "number"),
    [("reserve", "reserved twice", 1), ("confirm", "confirmed twice", 0),
     ("commit", "committed twice", 1)],
)  # fmt: skip
def test_a_second_one_is_a_fault_and_the_first_counts(
    deal: Deal, step: str, rule: str, number: int
) -> None:
    deal.agree()
    again = getattr(deal, step)(*([number] if number else []))
    trade = expect(deal, State.CONFIRMED, faults={rule})
    assert trade.faults[0].accused == deal.party(number).public
    assert again.id in trade.faults[0].evidence
    assert len(trade.faults[0].evidence) == 2


def test_a_second_reserve_brought_out_first_still_is_a_fault_later(deal: Deal) -> None:
    first = deal.reserve(1)
    second = deal.reserve(1)
    assert deal.fold(T0, [*deal.offers, second]).legs[0].reserve == second
    assert deal.fold(T0, [*deal.offers, second, first]).legs[0].reserve == first
    expect(deal, State.RESERVED, faults={"reserved twice"})


# --- release against commit -------------------------------------------------------------


def test_a_release_after_the_commit_is_proven_by_the_two(deal: Deal) -> None:
    deal.agree()
    release = deal.release(1)
    trade = expect(deal, State.CANCELLED, faults={"released after commit"})
    fault = trade.faults[0]
    assert fault.accused == deal.party(1).public
    assert fault.evidence == (deal.commits[1].id, release.id)


def test_a_release_at_the_last_moment_of_the_window_is_still_a_breach(deal: Deal) -> None:
    deal.agree()
    deal.release(1, at_ms=HANDOVER_UNTIL)
    expect(deal, State.CANCELLED, faults={"released after commit"})


def test_a_release_looks_at_the_window_of_its_own_lot() -> None:
    until = [HANDOVER_UNTIL, HANDOVER_UNTIL + HOUR]
    deal = Deal.between(Party("ben"), [Party("anna"), Party("cleo")], until=until).agree()
    deal.release(1, at_ms=HANDOVER_UNTIL + 1)
    expect(deal, State.NO_SHOW, HANDOVER_UNTIL + 2)
    deal.release(2, at_ms=HANDOVER_UNTIL + 1)
    expect(deal, State.CANCELLED, HANDOVER_UNTIL + 2, {"released after commit"})


def test_a_commit_after_the_own_release_is_void_and_a_fault(deal: Deal) -> None:
    deal.reserve(1)
    deal.confirm()
    deal.release(1)
    deal.commit(1)
    trade = expect(deal, State.CANCELLED, faults={"committed after releasing"})
    assert trade.legs[0].commit is None


def test_a_release_that_follows_the_takers_cancel_is_lawful(deal: Deal) -> None:
    deal.agree()
    cancel = deal.cancel(deal.commits[1].id, at_ms=CONFIRM_BY + 1)
    deal.release(1, cancel.id)
    trade = expect(deal, State.CANCELLED, faults={"cancelled after confirming"})
    assert trade.faults[0].accused == deal.taker.public


def test_a_release_that_follows_anothers_release_is_lawful(two: Deal) -> None:
    two.agree()
    first = two.release(1)
    two.release(2, first.id)
    trade = expect(two, State.CANCELLED, faults={"released after commit"})
    assert [fault.accused for fault in trade.faults] == [two.party(1).public]


def test_a_release_by_a_second_identity_is_no_cause(deal: Deal) -> None:
    deal.agree()
    sybil = deal.release(1, by=Party("anna's other key"))
    deal.release(1, sybil.id)
    expect(deal, State.CANCELLED, faults={"released after commit"})


def test_a_cancel_by_a_second_identity_is_no_cause(deal: Deal) -> None:
    deal.agree()
    sybil = deal.cancel(by=Party("anna's other key"))
    deal.release(1, sybil.id)
    expect(deal, State.CANCELLED, faults={"released after commit"})


def test_the_own_release_of_another_lot_is_no_cause() -> None:
    anna = Party("anna")
    deal = Deal.between(Party("ben"), [anna, anna]).agree()
    first = deal.release(1, at_ms=HANDOVER_UNTIL + 1)
    deal.release(2, first.id, at_ms=HANDOVER_UNTIL)
    expect(deal, State.NO_SHOW, HANDOVER_UNTIL + 1, {"released after commit"})


def test_a_cause_that_nobody_has_shown_waits_and_is_listed(deal: Deal) -> None:
    deal.agree()
    cancel = deal.cancel(at_ms=CONFIRM_BY + 1)
    deal.release(1, cancel.id)
    deal.entries.remove(cancel)
    trade = deal.fold(T0)
    assert not trade.faults
    assert trade.unshown == {cancel.id}
    deal.entries.append(cancel)
    trade = expect(deal, State.CANCELLED)
    assert not trade.unshown


def test_a_hidden_older_confirm_frames_no_lister(deal: Deal) -> None:
    deal.reserve(1)
    hidden = deal.confirm()
    deal.entries.remove(hidden)
    deal.confirm()
    deal.commit(1)
    expect(deal, State.CONFIRMED)
    deal.add(hidden)
    trade = expect(deal, State.RESERVED, faults={"confirmed twice"})
    assert not may(trade, deal.party(1), EntryType.COMMIT)
    trade = deal.fold(CONFIRM_BY + 1)
    assert not may(trade, deal.party(1), EntryType.RELEASE, CONFIRM_BY + 1)
    trade = deal.fold(HANDOVER_UNTIL + 1)
    assert may(trade, deal.party(1), EntryType.RELEASE, HANDOVER_UNTIL + 1)


# --- the taker's cancel -----------------------------------------------------------------


def test_a_cancel_before_commit_by_is_proven_by_confirm_and_cancel(deal: Deal) -> None:
    deal.reserve(1)
    confirm = deal.confirm()
    cancel = deal.cancel(at_ms=CONFIRM_BY)
    trade = expect(deal, State.CANCELLED, faults={"cancelled after confirming"})
    assert trade.faults[0].evidence == (confirm.id, cancel.id)


def test_a_cancel_after_commit_by_that_saw_too_few_commits_is_lawful(two: Deal) -> None:
    two.reserve(1)
    two.reserve(2)
    two.confirm()
    commit = two.commit(1)
    two.cancel(commit.id, at_ms=CONFIRM_BY + 1)
    expect(two, State.CANCELLED, CONFIRM_BY + 1)
    two.commit(2, at_ms=CONFIRM_BY)
    expect(two, State.CANCELLED, CONFIRM_BY + 1)


def test_a_cancel_that_names_every_commit_is_proven_by_all_of_them(two: Deal) -> None:
    two.agree()
    commits = (two.commits[1].id, two.commits[2].id)
    cancel = two.cancel(*commits, at_ms=CONFIRM_BY + 1)
    trade = expect(two, State.CANCELLED, CONFIRM_BY + 1, {"cancelled after confirming"})
    assert two.confirmed is not None
    assert trade.faults[0].evidence == (two.confirmed.id, cancel.id, *commits)


def test_a_late_commit_is_none_that_a_cancel_could_name(deal: Deal) -> None:
    deal.reserve(1)
    deal.confirm()
    commit = deal.commit(1, at_ms=CONFIRM_BY + 1)
    deal.cancel(commit.id, at_ms=CONFIRM_BY + 2)
    expect(deal, State.CANCELLED, CONFIRM_BY + 2)


def test_a_cancel_that_names_a_listers_release_is_lawful_at_once(two: Deal) -> None:
    two.reserve(1)
    two.reserve(2)
    two.confirm()
    two.commit(1)
    release = two.release(2)
    two.cancel(release.id)
    expect(two, State.CANCELLED)


def test_a_cancel_that_names_a_strangers_release_is_a_breach(deal: Deal) -> None:
    deal.agree()
    sybil = deal.release(1, by=Party("ben's other key"))
    deal.cancel(sybil.id)
    expect(deal, State.CANCELLED, faults={"cancelled after confirming"})


def test_confirming_after_cancelling_is_void_and_a_fault(deal: Deal) -> None:
    deal.reserve(1)
    deal.cancel()
    deal.confirm()
    trade = expect(deal, State.CANCELLED, faults={"confirmed after cancelling"})
    assert trade.confirm is None


def test_a_counted_cancel_beats_commits(two: Deal) -> None:
    two.agree()
    two.cancel(two.commits[1].id, at_ms=CONFIRM_BY + 1)
    expect(two, State.CANCELLED)
