"""A lot's queue and its takers: who holds a place, and who goes on to where."""

from __future__ import annotations

from tests.geo.lots_made import hash_of

from passby.geo.places import STEP, FirstCome, Moves, Queue, Seeker

ANNA, BEN, CARA = hash_of("1"), hash_of("2"), hash_of("3")
NEAR, FAR = hash_of("11"), hash_of("12")
LIMIT = 16


def test_the_better_bid_takes_the_place_and_the_other_hears_what_it_would_cost() -> None:
    queue = Queue(2, LIMIT)
    assert queue.bid(ANNA, 2, 50) == []
    assert queue.bid(BEN, 2, 40) == [BEN]
    assert queue.floors(2) == {1: 50, 2: 50}
    assert queue.bid(BEN, 2, 60) == [ANNA]
    assert [bid.who for bid in queue.held] == [BEN]


def test_two_small_takers_are_worth_more_than_a_large_one() -> None:
    queue = Queue(3, LIMIT)
    queue.bid(ANNA, 3, 50)
    assert queue.bid(BEN, 1, 30) == [BEN]
    assert queue.floors(3) == {1: 50, 2: 50, 3: 50}
    queue.leave(ANNA)
    assert queue.bid(BEN, 1, 30) == []
    assert queue.bid(CARA, 2, 30) == []
    assert queue.bid(ANNA, 3, 50) == [ANNA]


def test_a_queue_never_holds_more_than_the_lot() -> None:
    queue = Queue(5, LIMIT)
    for at in range(40):
        queue.bid(hash_of(f"{at}"), 1 + at % 3, 10 + at * 7 % 31)
        assert sum(bid.needs[0] for bid in queue.held) <= 5


def test_a_bid_for_nothing_or_for_more_than_there_is_changes_nothing() -> None:
    queue = Queue(2, LIMIT)
    for amount, worth in ((0, 10), (3, 10), (1, 0), (1, -5)):
        assert queue.bid(ANNA, amount, worth) == [ANNA]
    assert queue.held == []


def test_first_come_keeps_its_place_whatever_others_bid() -> None:
    queue = FirstCome(2, LIMIT)
    assert queue.bid(ANNA, 2, 1) == []
    assert queue.bid(BEN, 1, 1_000) == [BEN]
    assert queue.floors(2) == {}


def test_a_beaten_taker_goes_to_the_next_best_and_back_when_that_is_dearer() -> None:
    seeker = Seeker(1)
    seeker.knows(NEAR, {1: 100})
    seeker.knows(FAR, {1: 70})
    assert set(seeker.moves(ANNA).bids) == {NEAR}
    seeker.beaten(NEAR, {1: 50})
    assert set(seeker.moves(ANNA).bids) == {FAR}
    seeker.beaten(FAR, {1: 40})
    moves = seeker.moves(ANNA)
    assert [(lot, bid.worth) for lot, bid in moves.bids.items()] == [(NEAR, 50 + STEP)]
    seeker.beaten(NEAR, {1: 200})
    seeker.beaten(FAR, {1: 200})
    assert seeker.moves(ANNA) == Moves([], {})


def test_a_place_is_given_up_for_something_plainly_better_but_not_once_agreed() -> None:
    seeker = Seeker(1)
    seeker.knows(FAR, {1: 60})
    seeker.moves(ANNA)
    seeker.knows(NEAR, {1: 400})
    moves = seeker.moves(ANNA)
    assert moves.leave == [FAR]
    assert set(moves.bids) == {NEAR}
    seeker.bind(NEAR)
    seeker.knows(FAR, {1: 4_000})
    assert seeker.moves(ANNA) == Moves([], {})


def test_a_wish_for_three_takes_places_in_two_queues() -> None:
    seeker = Seeker(3)
    seeker.knows(NEAR, {1: 50, 2: 120})
    seeker.knows(FAR, {1: 60})
    assert {lot: bid.needs for lot, bid in seeker.moves(ANNA).bids.items()} == {
        NEAR: (2,),
        FAR: (1,),
    }
    assert seeker.lacking == 0
