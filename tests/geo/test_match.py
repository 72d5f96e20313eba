"""Which offers and requests fit, rule by rule, and in which order they are suggested."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.geo.lots_made import DAY_MS, GTINS, HOME, HOUR_MS, NOW_MS, hash_of, lots, offer, request
from tests.geo.lots_made import places as near_home

from passby.geo.book import Book
from passby.geo.categories import ancestors, is_category, parse_category, peer_category, takes_in
from passby.geo.cells import cell_at, parent_at
from passby.geo.lots import Side, offered, wanted
from passby.geo.match import (
    Fit,
    Match,
    Refusal,
    amount_to_take,
    fit,
    matches_for_offer,
    matches_for_request,
)
from passby.geo.score import WEIGHTS, Features, Part, explain, score
from passby.protocol.errors import RemoteError, UsageError
from passby.protocol.payloads import Condition, Offer, Request, Window
from passby.protocol.price import Price
from passby.protocol.units import Unit

TWO_KM_OFF = cell_at(52.393, 4.884)
FIVE_KM_OFF = cell_at(52.42, 4.884)


def held(offer_: dict[str, Any], request_: dict[str, Any], **how: Any) -> Match | Refusal:
    return fit(offer(**offer_), request(**request_), NOW_MS, **how)


def matched(offer_: dict[str, Any], request_: dict[str, Any], **how: Any) -> Match:
    found = held(offer_, request_, **how)
    assert isinstance(found, Match), found
    return found


def at(days: float) -> int:
    return NOW_MS + int(days * DAY_MS)


EUR = Price(800, 500, "EUR")
FITTING: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a wider category", {}, {"category": "fluids"}),
    ("the same product in another category", {"gtin": GTINS[0], "category": "misc"},
     {"gtin": GTINS[0]}),
    ("a product asked for, none named", {}, {"gtin": GTINS[0]}),
    ("another brand of the same product", {"gtin": GTINS[0], "brand": "ate"},
     {"gtin": GTINS[0], "brand": "bosch"}),
    ("the brand asked for", {"brand": "ate"}, {"brand": "ate"}),
    ("no brand named", {}, {"brand": "ate"}),
    ("a gift in another currency", {"price": Price(0, 1, "EUR")},
     {"price": Price(5, 1, "USD")}),
    ("a gift to who would pay nothing", {"price": Price(0, 1, "EUR")},
     {"price": Price(0, 1, "USD")}),
    ("exactly the limit", {}, {"price": EUR}),
    ("dearer by less than rounding", {"price": Price(801, 500_000, "EUR")},
     {"price": Price(800, 500_000, "EUR")}),
    ("better than asked", {"condition": Condition.NEW}, {"condition": Condition.USED}),
    ("nothing said, the worst will do", {}, {"condition": Condition.DAMAGED}),
    ("windows that touch", {"window": Window(at(1), at(2))}, {"window": Window(at(2), at(3))}),
    ("good for just long enough", {"best_before_ms": at(5)}, {"margin_s": 5 * 24 * 3600}),
    ("the asker would go further", {"cell": FIVE_KM_OFF}, {"radius_m": 6_000}),
    ("the giver would come", {"cell": FIVE_KM_OFF, "radius_m": 6_000}, {"radius_m": 0}),
    ("within the usual radius", {"cell": TWO_KM_OFF}, {}),
    ("somewhere in a coarse cell", {"cell": parent_at(FIVE_KM_OFF, 6)}, {}),
    ("less than wanted, but enough", {"remaining": 100}, {"minimum": 100}),
]  # fmt: skip
REFUSED: list[tuple[Refusal, dict[str, Any], dict[str, Any]]] = [
    (Refusal.OWN, {"author": hash_of("me")}, {"author": hash_of("me")}),
    (Refusal.CLOSED, {"until_ms": NOW_MS - 1}, {}),
    (Refusal.CLOSED, {}, {"until_ms": NOW_MS - 1}),
    (Refusal.PRODUCT, {"category": "fluids/brake"}, {}),
    (Refusal.PRODUCT, {"category": "fluids"}, {"category": "fluids/brake-fluid"}),
    (Refusal.PRODUCT, {"gtin": GTINS[1]}, {"gtin": GTINS[0]}),
    (Refusal.PRODUCT, {"brand": "ate"}, {"brand": "bosch"}),
    (Refusal.UNIT, {"unit": Unit.GRAM}, {}),
    (Refusal.AMOUNT, {"remaining": 99, "minimum": 100}, {}),
    (Refusal.AMOUNT, {"minimum": 501, "remaining": 900}, {}),
    (Refusal.AMOUNT, {"remaining": 99}, {"minimum": 100}),
    (Refusal.AMOUNT, {"minimum": 200, "step": 400, "remaining": 500}, {"minimum": 201}),
    (Refusal.AMOUNT, {"remaining": 0}, {}),
    (Refusal.CURRENCY, {"price": Price(800, 500, "USD")}, {}),
    (Refusal.PRICE, {}, {"price": Price(799, 500, "EUR")}),
    (Refusal.PRICE, {}, {"price": Price(0, 1, "EUR")}),
    (Refusal.CONDITION, {"condition": Condition.USED}, {"condition": Condition.REFURBISHED}),
    (Refusal.CONDITION, {}, {"condition": Condition.USED}),
    (Refusal.WINDOW, {"window": Window(at(1), at(2))}, {"window": Window(at(2) + 1, at(3))}),
    (Refusal.WINDOW, {"window": Window(at(-2), at(-1))}, {}),
    (Refusal.WINDOW, {"window": Window(at(2), at(3))}, {"needed_until_ms": at(1)}),
    (Refusal.BEST_BEFORE, {"best_before_ms": at(5) - 1}, {"margin_s": 5 * 24 * 3600}),
    (Refusal.BEST_BEFORE, {"best_before_ms": at(5)}, {"window": Window(at(6), at(7))}),
    (Refusal.REACH, {"cell": FIVE_KM_OFF}, {}),
    (Refusal.REACH, {"cell": TWO_KM_OFF, "radius_m": 0}, {"radius_m": 1_000}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "offer_", "request_"), FITTING, ids=[why for why, *_ in FITTING])
def test_they_fit_and_the_book_says_so(
    why: str, offer_: dict[str, Any], request_: dict[str, Any]
) -> None:
    match = matched(offer_, request_)
    assert match.total_minor <= match.limit_minor, why
    offers, requests = Book(Side.OFFER), Book(Side.REQUEST)
    offers.insert(match.offer)
    requests.insert(match.request)
    assert matches_for_request(offers, match.request, NOW_MS, 5) == [match]
    [seen_by_giver] = matches_for_offer(requests, match.offer, NOW_MS, 5)
    assert seen_by_giver._replace(features=match.features, points=match.points) == match


@pytest.mark.parametrize(("rule", "offer_", "request_"), REFUSED)
def test_one_rule_keeps_them_apart_and_the_book_obeys(
    rule: Refusal, offer_: dict[str, Any], request_: dict[str, Any]
) -> None:
    assert held(offer_, request_) is rule
    offers, requests = Book(Side.OFFER), Book(Side.REQUEST)
    offers.insert(offer(**offer_))
    requests.insert(request(**request_))
    assert matches_for_request(offers, request(**request_), NOW_MS, 5) == []
    assert matches_for_offer(requests, offer(**offer_), NOW_MS, 5) == []


def test_every_rule_of_the_market_has_a_case() -> None:
    assert {rule for rule, *_ in REFUSED} == set(Refusal)


def test_only_an_agreed_substitute_stands_in_for_a_product() -> None:
    agreed = {GTINS[0]: frozenset({GTINS[1]})}
    named, other = {"gtin": GTINS[0]}, {"gtin": GTINS[1], "category": "elsewhere"}
    assert matched(other, named, substitutes=agreed).by is Fit.SUBSTITUTE
    assert held(named, {"gtin": GTINS[1]}, substitutes=agreed) is Refusal.PRODUCT
    offers, requests = Book(Side.OFFER), Book(Side.REQUEST)
    offers.insert(offer(**other))
    requests.insert(request(**named))
    for found in (
        matches_for_request(offers, request(**named), NOW_MS, 5, substitutes=agreed),
        matches_for_offer(requests, offer(**other), NOW_MS, 5, substitutes=agreed),
    ):
        assert [match.by for match in found] == [Fit.SUBSTITUTE]


def test_a_curve_is_held_against_the_limit_at_the_moment_asked_about() -> None:
    falling = Price(0, 500, "EUR", ((NOW_MS, 1600), (at(2), 0)))
    offers = Book(Side.OFFER)
    offers.insert(offer(price=falling))
    assert matches_for_request(offers, request(), at(1) - HOUR_MS, 5) == []
    [match] = matches_for_request(offers, request(), at(1), 5)
    assert (match.total_minor, match.limit_minor) == (800, 800)
    [gift] = matches_for_request(offers, request(price=Price(1, 1, "USD")), at(2), 5)
    assert gift.total_minor == 0


def test_a_part_is_taken_where_less_is_wanted_or_left() -> None:
    assert matched({"remaining": 2_000}, {"remaining": 473}).amount == 473
    assert matched({"remaining": 473}, {"remaining": 2_000}).amount == 473
    assert matched({"minimum": 100, "step": 150}, {}).amount == 400


@given(lots(Side.OFFER, st.just(0), st.just(HOME)), lots(Side.REQUEST, st.just(1), st.just(HOME)))
def test_the_amount_taken_is_the_most_that_suits_both(offer_: Any, request_: Any) -> None:
    taken = amount_to_take(offer_, request_)
    most = min(offer_.remaining, request_.remaining)
    if taken:
        assert offer_.minimum <= taken <= most
        assert request_.minimum <= taken
        assert (taken - offer_.minimum) % offer_.step == 0
        assert taken + offer_.step > most
    elif most < 10_000:
        steps = range(offer_.minimum, most + 1, offer_.step)
        assert not any(amount >= request_.minimum for amount in steps)


def test_the_hand_over_is_early_enough_to_use_the_goods() -> None:
    match = matched({"best_before_ms": at(5)}, {"margin_s": 24 * 3600})
    assert match.handover == Window(NOW_MS, at(4))


def test_without_windows_the_hand_over_is_while_both_are_open() -> None:
    assert matched({"until_ms": at(3)}, {"until_ms": at(2)}).handover == Window(NOW_MS, at(2))


@given(lots(Side.OFFER, st.just(0), near_home()), lots(Side.REQUEST, st.just(1), near_home()))
def test_the_reasons_add_up_to_the_points(offer_: Any, request_: Any) -> None:
    match = fit(offer_, request_, NOW_MS, trust=0.7)
    if isinstance(match, Match):
        reasons = match.explain()
        assert [reason.part for reason in reasons] == list(Part)
        assert sum(reason.points for reason in reasons) == match.points
        assert all(0 <= reason.points <= reason.weight for reason in reasons)
        assert all(reason.words for reason in reasons)


def test_a_score_is_told_in_words_and_numbers() -> None:
    match = matched(
        {"price": Price(480, 500, "EUR"), "cell": TWO_KM_OFF, "best_before_ms": at(14)},
        {},
        trust=0.4,
    )
    told = {reason.part: (reason.points, reason.words) for reason in match.explain()}
    assert told[Part.SURPLUS] == (120, "40 % below the limit")
    assert told[Part.EXPIRY] == (100, "best before 14 days from now")
    assert told[Part.TRUST] == (60, "trusted 40 %")
    assert told[Part.FRESHNESS] == (96, "listed 1 hour ago")
    assert told[Part.DISTANCE][1].endswith(" km away")


MIDDLING = Features(
    total_minor=400, limit_minor=800, distance_m=1000, left_s=10**6, trust=500, age_s=10**5
)


@pytest.mark.parametrize(
    ("part", "better"),
    [
        (Part.SURPLUS, {"total_minor": 300}),
        (Part.DISTANCE, {"distance_m": 500}),
        (Part.EXPIRY, {"left_s": 10**5}),
        (Part.TRUST, {"trust": 900}),
        (Part.FRESHNESS, {"age_s": 10**4}),
    ],
)
def test_cheaper_nearer_sooner_spoilt_trusted_and_newer_each_rank_higher(
    part: Part, better: dict[str, int]
) -> None:
    improved = MIDDLING._replace(**better)
    assert score(improved) > score(MIDDLING)
    before, after = explain(MIDDLING), explain(improved)
    assert [new.part for old, new in zip(before, after, strict=True) if new != old] == [part]


def test_the_best_there_could_be_has_a_thousand_points() -> None:
    assert sum(WEIGHTS.values()) == 1000
    assert score(Features(0, 1, 0, 0, 1000, 0)) == 1000
    assert score(Features(0, 0, 10**8, None, 0, 10**12)) == 0


def test_equal_points_go_by_id_whatever_the_order_of_arrival() -> None:
    names = [f"bottle {number}" for number in range(12)]
    orders = []
    for arrival in (names, names[::-1]):
        book = Book(Side.OFFER)
        for name in arrival:
            book.insert(offer(name))
        orders.append([match.offer.id for match in matches_for_request(book, request(), NOW_MS, 5)])
    assert orders[0] == orders[1] == sorted(map(hash_of, names))[:5]


def test_trust_is_asked_for_by_author() -> None:
    book = Book(Side.OFFER)
    for name in "abc":
        book.insert(offer(name))
    trust = {hash_of("author of b"): 0.9, hash_of("author of nobody"): 1.0}
    first = matches_for_request(book, request(), NOW_MS, 3, trust=trust)[0]
    assert first.offer.id == hash_of("b")
    assert first.features.trust == 900


def test_none_are_found_for_a_closed_request_or_a_limit_of_none() -> None:
    book = Book(Side.OFFER)
    book.insert(offer())
    assert matches_for_request(book, request(until_ms=NOW_MS - 1), NOW_MS, 5) == []
    assert matches_for_request(book, request(), NOW_MS, 0) == []


# --- what peers and people write --------------------------------------------------------------


OFFER = Offer(
    name="Brake fluid DOT 4", category="fluids/brake-fluid", unit=Unit.MILLILITRE,
    price=EUR, cell=HOME, gtin="4006633123457", brand="ATE",
)  # fmt: skip
REQUEST = Request(
    name="brake fluid", category="fluids", unit=Unit.MILLILITRE, amount=500,
    price=EUR, cell=HOME, gtin="04006633123457", brand="ate",
)  # fmt: skip


def test_payloads_become_lots_that_match_by_the_same_product() -> None:
    given_ = offered(hash_of("a"), hash_of("giver"), NOW_MS, at(1), 473, OFFER)
    asked = wanted(hash_of("b"), hash_of("asker"), NOW_MS, at(1), 500, REQUEST)
    match = fit(given_, asked, NOW_MS)
    assert isinstance(match, Match)
    assert (match.by, match.amount) == (Fit.PRODUCT, 473)


@pytest.mark.parametrize(
    "bad", [{"cell": 5}, {"cell": 2**64}, {"cell": parent_at(HOME, 4)}, {"category": "Fluids"}]
)
def test_a_peers_bad_payload_is_a_remote_error(bad: dict[str, Any]) -> None:
    with pytest.raises(RemoteError):
        offered(hash_of("a"), hash_of("b"), 0, 1, 5, msgspec.structs.replace(OFFER, **bad))
    with pytest.raises(RemoteError):
        wanted(hash_of("a"), hash_of("b"), 0, 1, 5, msgspec.structs.replace(REQUEST, **bad))


@pytest.mark.parametrize("facts", [(-1, 1, 1), (0, 2**64 - 1, 1), (0, 1, 2**60), (0, 1, -1)])
def test_facts_beyond_what_columns_hold_are_a_remote_error(facts: tuple[int, int, int]) -> None:
    with pytest.raises(RemoteError):
        offered(hash_of("a"), hash_of("b"), *facts, OFFER)


@given(st.text(max_size=70))
def test_a_category_is_accepted_or_refused_and_nothing_else(text: str) -> None:
    if is_category(text):
        assert peer_category(text) == parse_category(text) == text
        assert all(takes_in(above, text) for above in ancestors(text))
    else:
        with pytest.raises(RemoteError):
            peer_category(text)


def test_people_may_write_categories_as_they_like() -> None:
    assert parse_category("Fluids / Brake  fluid") == "fluids/brake-fluid"
    for nothing in ("", "a//b", "a/b/c/d/e", "50%", "x" * 65):
        with pytest.raises(UsageError):
            parse_category(nothing)


def test_a_category_takes_in_whole_segments_only() -> None:
    assert takes_in("fluids", "fluids/brake-fluid")
    assert not takes_in("fluids", "fluidscales")
    assert not takes_in("fluids/brake-fluid", "fluids")
