"""The price rule."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.protocol.price import KNOTS_MAX, Price

minors = st.integers(0, 10**9)


@given(minors, st.integers(1, 10**6), st.integers(0, 10**9))
def test_a_total_is_rounded_up_once_on_the_whole_amount(minor: int, per: int, amount: int) -> None:
    expected = ceil(Fraction(amount * minor, per))
    assert Price(minor, per, "EUR").total_minor(amount, 0) == expected


def test_half_a_quart_costs_half_rounded_up() -> None:
    assert Price(399, 946, "EUR").total_minor(473, 0) == 200


def test_a_gift_costs_nothing() -> None:
    assert Price(0, 1, "EUR").total_minor(10**9, 0) == 0


def test_a_curve_is_linear_between_knots_floored_and_constant_outside() -> None:
    price = Price(7, 1, "EUR", ((10, 100), (20, 50), (23, 0)))
    at = {0: 100, 10: 100, 11: 95, 19: 55, 20: 50, 21: 33, 22: 16, 23: 0, 99: 0}
    assert {when: price.minor_at(when) for when in at} == at


@given(st.lists(minors, min_size=2, max_size=5), st.integers(-5, 60))
def test_a_curve_stays_between_its_knots(knots: list[int], at_ms: int) -> None:
    price = Price(0, 1, "EUR", tuple((10 * place, minor) for place, minor in enumerate(knots)))
    assert min(knots) <= price.minor_at(at_ms) <= max(knots)
    for (start, low), (end, high) in pairwise(price.knots):
        if start <= at_ms <= end:
            exact = low + Fraction((high - low) * (at_ms - start), end - start)
            assert exact - 1 < price.minor_at(at_ms) <= exact


@pytest.mark.parametrize(
    ("minor", "per", "currency", "knots"),
    [
        (-1, 1, "EUR", ()),
        (2**53, 1, "EUR", ()),
        (1, 0, "EUR", ()),
        (1, 1, "eur", ()),
        (1, 1, "EURO", ()),
        (1, 1, "ÄÖÜ", ()),
        (1, 1, "EUR", ((2, 1), (1, 1))),
        (1, 1, "EUR", ((1, 1), (1, 1))),
        (1, 1, "EUR", ((1, -1),)),
        (1, 1, "EUR", tuple((at, 1) for at in range(KNOTS_MAX + 1))),
    ],
)
def test_a_price_that_no_honest_node_writes_is_refused(
    minor: int, per: int, currency: str, knots: tuple[tuple[int, int], ...]
) -> None:
    with pytest.raises(ValueError, match=r"price|currency|knot"):
        Price(minor, per, currency, knots)
