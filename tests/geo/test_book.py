"""The book against a plain dict: whatever is put in, filled, removed or expired, both agree."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.geo.lots_made import (
    DAY_MS,
    GTINS,
    HOME,
    HOUR_MS,
    NOW_MS,
    amounts,
    hash_of,
    lots,
    mostly,
    offer,
    places,
    request,
    times,
)

from passby.geo import book as book_module
from passby.geo.book import EVERYTHING, Book, Put, gtin_label, subtree_label
from passby.geo.categories import takes_in
from passby.geo.cells import distance_m, spread_m
from passby.geo.columns import Numbers, SlotById, SlotsByKey
from passby.geo.lots import BookLot, Side
from passby.geo.match import Match, fit, matches_for_offer, matches_for_request
from passby.protocol.limits import DEFAULT_RADIUS_M

SUBSTITUTES = {GTINS[0]: frozenset({GTINS[1]})}
TRUST = {hash_of("author1"): 0.5, hash_of("author2"): 1.0, hash_of("nobody here"): 0.3}
NUMBERS = st.integers(0, 25)
AROUND = {
    "a town": (52.375, 4.884),
    "the pole": (90.0, 0.0),
    "the antimeridian": (-17.0, 180.0),
    "a pentagon": (39.1, 122.3),
}


def other(side: Side) -> Side:
    return Side.REQUEST if side == Side.OFFER else Side.OFFER


def naive(lots_open: dict[bytes, BookLot], asker: BookLot, now_ms: int) -> list[Match]:
    """Every match, the best first, by going through all."""
    found = []
    for one in lots_open.values():
        pair = (one, asker) if asker.side == Side.REQUEST else (asker, one)
        got = fit(
            *pair, now_ms, judging=asker.side, trust=TRUST.get(one.author, 0.0),
            substitutes=SUBSTITUTES,
        )  # fmt: skip
        if isinstance(got, Match):
            found.append((-got.points, one.id, got))
    return [got for _, _, got in sorted(found, key=lambda item: item[:2])]


class BookAgainstDict(RuleBasedStateMachine):
    """Drives both and compares them after every step."""

    @initialize(side=st.sampled_from(Side), around=st.sampled_from(sorted(AROUND)))
    def start(self, side: Side, around: str) -> None:
        self.book = Book(side)
        self.model: dict[bytes, BookLot] = {}
        self.side = side
        self.where = places(*AROUND[around])

    @rule(data=st.data(), count=st.integers(1, 8))
    def put_some_in(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            lot = data.draw(lots(self.side, NUMBERS, self.where))
            put = self.book.insert(lot)
            assert put == (Put.REPLACED if lot.id in self.model else Put.ADDED)
            self.model[lot.id] = lot

    @rule(number=NUMBERS, remaining=amounts | st.just(0))
    def fill(self, number: int, remaining: int) -> None:
        lot_id = hash_of(f"{self.side}{number}")
        assert self.book.set_remaining(lot_id, remaining) == (lot_id in self.model)
        if lot_id in self.model:
            self.model[lot_id] = msgspec.structs.replace(self.model[lot_id], remaining=remaining)

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        lot_id = hash_of(f"{self.side}{number}")
        assert self.book.remove(lot_id) == (self.model.pop(lot_id, None) is not None)

    @rule()
    def put_away_and_take_out(self) -> None:
        self.book = Book.unpack(self.side, self.book.packed())

    @rule(now_ms=times)
    def expire(self, now_ms: int) -> None:
        due = {lot_id for lot_id, lot in self.model.items() if lot.until_ms < now_ms}
        assert set(self.book.expire(now_ms)) == due
        self.model = {lot_id: lot for lot_id, lot in self.model.items() if lot_id not in due}

    @rule(data=st.data(), now_ms=mostly(st.just(NOW_MS), times), limit=st.integers(1, 10))
    def ask(self, data: st.DataObject, now_ms: int, limit: int) -> None:
        asker = data.draw(lots(other(self.side), NUMBERS, self.where))
        ask = matches_for_request if asker.side == Side.REQUEST else matches_for_offer
        got = ask(self.book, asker, now_ms, limit, trust=TRUST, substitutes=SUBSTITUTES)
        assert got == naive(self.model, asker, now_ms)[:limit]

    @invariant()
    def they_hold_the_same(self) -> None:
        assert len(self.book) == len(self.model)
        assert {lot.id: lot for lot in self.book} == self.model
        for lot_id, lot in self.model.items():
            assert lot_id in self.book
            assert self.book.get(lot_id) == lot


TestTheBookAgreesWithADict = BookAgainstDict.TestCase
TestTheBookAgreesWithADict.settings = settings(max_examples=60, stateful_step_count=20)


@pytest.mark.parametrize("around", sorted(AROUND))
@given(data=st.data())
@settings(max_examples=40)
def test_nothing_in_reach_is_missing(around: str, data: st.DataObject) -> None:
    where = places(*AROUND[around])
    book = Book(Side.OFFER)
    put_in = data.draw(st.lists(lots(Side.OFFER, NUMBERS, where), max_size=12, unique_by=by_id))
    for lot in put_in:
        book.insert(lot)
    cell, radius_m = data.draw(where), data.draw(st.sampled_from([0, 1_000, 20_000, 10**7]))
    category = data.draw(st.sampled_from(["fluids", "fluids/brake", "food"]))
    slots = book.near([subtree_label(category), gtin_label(GTINS[0])], cell, radius_m).tolist()
    assert len(slots) == len(set(slots))
    found = {book.id_at(slot) for slot in slots}
    for lot in put_in:
        labelled = takes_in(category, lot.category) or lot.gtin == GTINS[0]
        reach_m = max(DEFAULT_RADIUS_M if lot.radius_m is None else lot.radius_m, radius_m)
        reach_m += spread_m(cell) + spread_m(lot.cell)
        if labelled and distance_m(cell, lot.cell) <= reach_m:
            assert lot.id in found
        if not labelled:
            assert lot.id not in found


def by_id(lot: BookLot) -> bytes:
    return lot.id


def test_everything_near_can_be_asked_for_at_once() -> None:
    for book, lot in ((Book(Side.OFFER), offer()), (Book(Side.REQUEST), request())):
        book.insert(lot)
        for radius_m in (1_000, 10**7):
            assert [book.id_at(int(at)) for at in book.near([EVERYTHING], HOME, radius_m)] == [
                lot.id
            ]


def test_the_slot_of_a_removed_lot_is_used_again() -> None:
    book = Book(Side.OFFER)
    for round_ in range(5):
        for number in range(100):
            book.insert(offer(f"{round_} {number}"))
        for number in range(100):
            assert book.remove(hash_of(f"{round_} {number}"))
    assert len(book) == 0
    assert book._high == 100
    assert len(book._buckets) == len(book._due) == len(book.authors) == len(book._labels) == 0


def test_a_full_book_refuses_and_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "BOOK_LOTS_MAX", 2)
    book = Book(Side.OFFER)
    assert [book.insert(offer(name)) for name in "ab"] == [Put.ADDED, Put.ADDED]
    assert book.insert(offer("c")) == Put.FULL
    assert book.insert(offer("a", remaining=7)) == Put.REPLACED
    assert {lot.id: lot.remaining for lot in book} == {hash_of("a"): 7, hash_of("b"): 500}


def test_a_lot_is_open_through_its_last_millisecond() -> None:
    book = Book(Side.OFFER)
    book.insert(offer(until_ms=NOW_MS))
    assert book.expire(NOW_MS) == []
    assert book.expire(NOW_MS + 1) == [hash_of("offer")]
    assert book.expire(NOW_MS + HOUR_MS) == []


def test_a_sold_out_lot_stays_until_something_comes_back() -> None:
    book = Book(Side.OFFER)
    book.insert(offer())
    book.set_remaining(hash_of("offer"), 0)
    assert matches_for_request(book, request(), NOW_MS, 5) == []
    book.set_remaining(hash_of("offer"), 250)
    [match] = matches_for_request(book, request(), NOW_MS, 5)
    assert match.amount == 250


def test_times_past_2106_are_kept_exactly() -> None:
    book = Book(Side.OFFER)
    far = 2**48
    lot = offer(until_ms=far, best_before_ms=far, at_ms=far - DAY_MS)
    book.insert(lot)
    assert book.get(lot.id) == lot
    assert book.expire(far) == []
    assert book.expire(far + 1) == [lot.id]


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=300))
def test_ids_find_their_slots_whatever_came_and_went(steps: list[tuple[int, bool]]) -> None:
    ids, model = SlotById(), dict[bytes, int]()
    for number, put in steps:
        lot_id = hash_of(str(number))
        if put and lot_id not in model:
            ids.put(lot_id, number)
            model[lot_id] = number
        elif not put and lot_id in model:
            ids.drop(lot_id)
            del model[lot_id]
        assert len(ids) == len(model)
    for number in range(41):
        lot_id = hash_of(str(number))
        assert ids.find(lot_id) == model.get(lot_id, -1)
    assert all(ids.id_of(slot) == lot_id for lot_id, slot in model.items())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=100))
def test_buckets_hold_what_was_put_in_and_not_taken_out(steps: list[tuple[int, int]]) -> None:
    buckets, model = SlotsByKey(), set[tuple[int, int]]()
    for key, slot in steps:
        if (key, slot) in model:
            buckets.remove(key, slot)
        else:
            buckets.add(key, slot)
        model ^= {(key, slot)}
    for key in range(4):
        held = {slot for at, slot in model if at == key}
        assert sorted(buckets.gather([key]).tolist()) == sorted(held)
        assert (key in buckets) == bool(held)


def test_a_word_keeps_its_number_while_it_is_held() -> None:
    words: Numbers[str] = Numbers()
    number = words.hold("eur")
    assert words.hold("eur") == words.find("eur") == number
    words.let_go(number)
    assert words.find("eur") == number
    words.let_go(number)
    assert words.find("eur") == 0
    assert words.hold("usd") == number


@pytest.mark.parametrize("given_", [{"gtin": GTINS[2]}, {"category": "food"}, {"radius_m": 10**7}])
def test_a_request_with_a_wide_radius_finds_the_same(given_: dict[str, Any]) -> None:
    book = Book(Side.OFFER)
    book.insert(offer(**given_))
    near = request(**given_ | {"radius_m": 1_000})
    wide = request(**given_ | {"radius_m": 20_000_000})
    assert matches_for_request(book, near, NOW_MS, 5)
    assert matches_for_request(book, wide, NOW_MS, 5)
