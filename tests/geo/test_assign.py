"""Several at once: every small case against trying everything out."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.geo.lots_made import NOW_MS, hash_of, offer, request

from passby.geo.assign import Bid, around, common_points, floors, share, suggest, takes
from passby.geo.book import Book
from passby.geo.lots import Side
from passby.geo.match import Match, fit
from passby.protocol.price import Price

needs = st.tuples(st.integers(0, 4), st.integers(0, 3)).filter(any)
bids = st.lists(st.tuples(needs, st.integers(-3, 30)), max_size=7).map(
    lambda many: [Bid(hash_of(f"{at}"), *each) for at, each in enumerate(many)]
)


def fits(chosen: Any, capacity: tuple[int, int]) -> bool:
    return all(sum(bid.needs[place] for bid in chosen) <= capacity[place] for place in (0, 1))


def best_by_trying(capacity: tuple[int, int], offered: list[Bid]) -> int:
    tried = (
        chosen
        for count in range(len(offered) + 1)
        for chosen in combinations(offered, count)
        if fits(chosen, capacity)
    )
    return max(sum(bid.worth for bid in chosen) for chosen in tried)


@given(st.tuples(st.integers(0, 6), st.integers(0, 4)), bids)
def test_a_cars_seats_and_boot_go_to_those_who_together_are_worth_most(
    capacity: tuple[int, int], offered: list[Bid]
) -> None:
    won = share(capacity, offered)
    assert fits(won, capacity)
    assert len(set(won)) == len(won)
    assert sum(bid.worth for bid in won) == best_by_trying(capacity, offered)


@given(st.tuples(st.integers(0, 6), st.integers(0, 4)), bids, st.randoms())
def test_a_share_does_not_depend_on_the_order_of_the_bids(
    capacity: tuple[int, int], offered: list[Bid], dice: Any
) -> None:
    shuffled = list(offered)
    dice.shuffle(shuffled)
    assert share(capacity, shuffled) == share(capacity, offered)


@given(st.tuples(st.integers(1, 6), st.integers(1, 4)), bids, needs)
def test_who_bids_more_than_the_floor_gets_in_and_who_bids_less_does_not(
    capacity: tuple[int, int], offered: list[Bid], asked: tuple[int, int]
) -> None:
    (floor,) = floors(capacity, offered, [asked])
    if floor is None:
        assert not fits([Bid(b"", asked, 1)], capacity)
        return
    over, under = (Bid(hash_of("99"), asked, floor + more) for more in (1, -1))
    assert over in share(capacity, [*offered, over])
    assert under not in share(capacity, [*offered, under])


gains = st.lists(
    st.dictionaries(st.integers(1, 4), st.integers(-5, 30), max_size=3), max_size=4
).map(lambda many: {hash_of(f"{at}"): each for at, each in enumerate(many)})


@given(st.integers(0, 8), gains)
def test_a_wish_is_served_from_the_lots_that_gain_it_most(
    wanted: int, lots: dict[bytes, dict[int, int]]
) -> None:
    gained, plan = takes(wanted, lots)
    assert sum(take.amount for take in plan) <= wanted
    assert len({take.lot for take in plan}) == len(plan)
    assert gained == sum(lots[take.lot][take.amount] for take in plan)
    choices = [[(0, 0), *each.items()] for each in lots.values()]
    tried = [
        sum(gain for _, gain in chosen)
        for chosen in product(*choices)
        if sum(amount for amount, _ in chosen) <= wanted
    ]
    assert gained == max(tried)


def test_six_wheel_nuts_come_from_three_drawers() -> None:
    drawers = {hash_of(f"{at}"): {1: 5, 2: 9} for at in range(3)}
    gained, plan = takes(6, drawers)
    assert gained == 27
    assert [take.amount for take in plan] == [2, 2, 2]


# --- a whole set -----------------------------------------------------------------------


def matches_of(remaining: list[int], wanted: list[int], prices: list[int]) -> list[Match]:
    offers = [
        offer(
            id=hash_of(f"{at}"),
            author=hash_of(f"{50 + at}"),
            remaining=left,
            price=Price(price, 1, "EUR"),
        )
        for at, (left, price) in enumerate(zip(remaining, prices, strict=False))
    ]
    requests = [
        request(
            id=hash_of(f"{20 + at}"),
            author=hash_of(f"{80 + at}"),
            remaining=amount,
            price=Price(400 + 100 * at, 1, "EUR"),
        )
        for at, amount in enumerate(wanted)
    ]
    found = [fit(one, other, NOW_MS) for one in offers for other in requests]
    return [match for match in found if isinstance(match, Match)]


def points_by_trying(matches: list[Match]) -> int:
    best = 0
    ranges = [range(min(m.offer.remaining, m.request.remaining) + 1) for m in matches]
    for amounts in product(*ranges):
        given_: dict[bytes, int] = {}
        for match, amount in zip(matches, amounts, strict=True):
            for lot in (match.offer, match.request):
                given_[lot.id] = given_.get(lot.id, 0) + amount
        if all(
            given_[lot.id] <= lot.remaining
            for match in matches
            for lot in (match.offer, match.request)
        ):
            points = [common_points(m) * a for m, a in zip(matches, amounts, strict=True)]
            best = max(best, sum(points))
    return best


some = st.lists(st.integers(1, 3), min_size=1, max_size=2)


@given(some, some, st.lists(st.integers(0, 700), min_size=2, max_size=2))
def test_a_suggestion_is_the_best_of_all_and_oversells_nothing(
    remaining: list[int], wanted: list[int], prices: list[int]
) -> None:
    matches = matches_of(remaining, wanted, prices)
    found = suggest(matches)
    for side in Side:
        given_: dict[bytes, int] = {}
        for match, amount in found:
            lot = match.offer if side is Side.OFFER else match.request
            given_[lot.id] = given_.get(lot.id, 0) + amount
            assert 0 < given_[lot.id] <= lot.remaining
    assert sum(common_points(m) * amount for m, amount in found) == points_by_trying(matches)


def test_giver_and_taker_arrive_at_the_same_suggestion() -> None:
    seen = matches_of([3, 2, 5], [4, 4, 1], [100, 300, 250])
    judged_by_giver = [
        fit(match.offer, match.request, NOW_MS, judging=Side.OFFER, trust=0.9)
        for match in reversed(seen)
    ]
    theirs = [match for match in judged_by_giver if isinstance(match, Match)]

    def told(matches: list[Match]) -> list[tuple[bytes, bytes, int]]:
        return [(m.offer.id, m.request.id, amount) for m, amount in suggest(matches)]

    assert told(seen) == told(theirs)
    assert len(told(seen)) >= 3


def test_from_a_books_either_end_the_same_lots_are_shared_out() -> None:
    offers, requests = Book(Side.OFFER), Book(Side.REQUEST)
    for match in matches_of([3, 2, 5], [4, 4, 1], [100, 300, 250]):
        offers.insert(match.offer)
        requests.insert(match.request)
    views = [around(offers, requests, lot, NOW_MS) for book in (offers, requests) for lot in book]
    told = [[(m.offer.id, m.request.id, much) for m, much in suggest(view)] for view in views]
    assert len(told) == 6
    assert all(each == told[0] for each in told)
    assert sum(much for *_, much in told[0]) == 9


def test_what_steps_forbid_is_not_suggested() -> None:
    sold_in_threes = offer(remaining=7, minimum=3, step=3)
    match = fit(sold_in_threes, request(remaining=5), NOW_MS)
    assert isinstance(match, Match)
    assert [amount for _, amount in suggest([match])] == [3]
