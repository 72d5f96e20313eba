"""Prices that move: what is typed becomes knots, and every node reads the same price from them."""

from __future__ import annotations

from datetime import UTC

import pytest

from passby.node.cli import show
from passby.node.curves import parse_terms
from passby.node.listing import draft_of, read_listed
from passby.node.quantities import Amount
from passby.protocol.errors import UsageError
from passby.protocol.payloads import Offer, decode_payload
from passby.protocol.price import Price
from passby.protocol.units import Unit

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
EGGS = Amount(6, Unit.PIECE)


def terms(text: str, amount: Amount = EGGS) -> Price:
    return parse_terms(text, amount, NOW_MS, UTC, "EUR")


def test_a_price_that_falls_to_nothing_is_halfway_there_in_half_the_time() -> None:
    price = terms("4EUR falling to 0 by 2 days")
    assert price.knots == ((NOW_MS, 400), (NOW_MS + 2 * DAY_MS, 0))
    assert price.minor_at(NOW_MS + DAY_MS) == 200
    assert price.minor_at(NOW_MS + 9 * DAY_MS) == 0


def test_a_price_may_wait_and_then_move_in_several_steps() -> None:
    price = terms("4 EUR falling from 1 day to 2EUR by 2 days, then free by 4 days")
    assert price.knots == (
        (NOW_MS + DAY_MS, 400),
        (NOW_MS + 2 * DAY_MS, 200),
        (NOW_MS + 4 * DAY_MS, 0),
    )
    assert price.minor_at(NOW_MS) == 400


def test_a_moving_price_is_for_the_amount_that_its_first_price_names() -> None:
    price = terms("4EUR per l falling to 1EUR by 1 day", Amount(500, Unit.MILLILITRE))
    assert (price.per_amount, price.total_minor(500, NOW_MS)) == (1000, 200)


def test_a_price_that_does_not_move_has_no_knots() -> None:
    assert terms("4EUR each") == Price(400, 1, "EUR")


@pytest.mark.parametrize(
    "text",
    [
        "4EUR falling to 0",
        "4EUR falling to 0 by yesterday",
        "4EUR falling to 2EUR by 2 days, then 0 by 1 day",
        "4EUR falling to 2USD by 2 days",
        "4EUR each falling to 2EUR per l by 2 days",
        "4EUR falling to 2EUR by 1 day" + "".join(f", then 1EUR by {n} days" for n in range(2, 20)),
    ],
)
def test_a_curve_that_cannot_be_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        terms(text)
    assert refused.value.hint


def test_a_listed_curve_is_in_the_signed_payload() -> None:
    knots = [[NOW_MS, 400], [NOW_MS + DAY_MS, 0]]
    listed = read_listed(
        {
            "side": "offer",
            "name": "Eggs",
            "category": "food/eggs",
            "unit": "H87",
            "amount": 6,
            "price": {"minor": 400, "per_amount": 1, "currency": "EUR", "knots": knots},
        }
    )
    payload = draft_of(listed, 0x881969531BFFFFF, NOW_MS).payload
    assert payload is not None
    assert [list(knot) for knot in decode_payload(payload, Offer).price.knots] == knots


def test_knots_that_do_not_rise_are_refused() -> None:
    price = {"minor": 4, "per_amount": 1, "currency": "EUR", "knots": [[9, 1], [9, 0]]}
    lot = {"side": "offer", "name": "A", "category": "a", "unit": "H87", "amount": 1}
    with pytest.raises(UsageError):
        draft_of(read_listed({**lot, "price": price}), 0x881969531BFFFFF, NOW_MS)


def test_people_see_the_price_now_and_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = show.now_ms()
    knots = [[now_ms - DAY_MS, 400], [now_ms + DAY_MS, 0]]
    monkeypatch.setattr(show, "now_ms", lambda: now_ms)
    shown = show.price({"minor": 400, "per_amount": 1, "currency": "EUR", "knots": knots}, "H87")
    assert shown.startswith("2.00 EUR each, free in ")
