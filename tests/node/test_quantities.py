from __future__ import annotations

import contextlib
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.node.gtin import parse_gtin
from passby.node.prices import (
    DECIMALS,
    TypedPrice,
    parse_price,
    show_money,
    show_price,
    to_minor,
)
from passby.node.quantities import (
    AmbiguousMeasure,
    Amount,
    Measure,
    amount_in,
    parse_amount,
    show_amount,
)
from passby.protocol.errors import UsageError
from passby.protocol.limits import AMOUNT_MAX
from passby.protocol.price import Price
from passby.protocol.units import TO_BASE, Unit

ML, G, PC, MIN, SEAT = Unit.MILLILITRE, Unit.GRAM, Unit.PIECE, Unit.MINUTE, Unit.SEAT


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("473 ml", 473, ML),
        ("473ml", 473, ML),
        ("0.5 l", 500, ML),
        ("0,5 L", 500, ML),
        ("1/2 l", 500, ML),
        ("1 1/2 l", 1500, ML),
        ("1½ l", 1500, ML),
        ("two and a half litres", 2500, ML),
        ("three quarters of a litre", 750, ML),
        ("2 LTR", 2000, ML),
        ("2 m³", 2_000_000, ML),
        ("2 kg", 2000, G),
        ("12 oz wt", 340, G),
        ("1 kg 200 g", 1200, G),
        ("3 pieces", 3, PC),
        ("3", 3, PC),
        ("a dozen", 12, PC),
        ("half a dozen", 6, PC),
        ("a pair", 2, PC),
        ("2 H87", 2, PC),
        ("2 h", 120, MIN),
        ("2 hours", 120, MIN),
        ("2 h 30 min", 150, MIN),
        ("quarter of an hour", 15, MIN),
        ("2 seats", 2, SEAT),
        ("1.5 km", 1500, Unit.METRE),
    ],
)
def test_an_amount_is_read_as_people_write_it(text: str, value: int, unit: Unit) -> None:
    assert parse_amount(text) == Amount(value, unit)


@pytest.mark.parametrize(
    ("text", "us", "imperial"),
    [
        ("a quart", 946, 1137),
        ("half a quart", 473, 568),
        ("half a pint", 237, 284),
        ("1 gallon", 3785, 4546),
        ("12 fl oz", 355, 341),
        ("12fl. oz.", 355, 341),
    ],
)
def test_a_quart_is_asked_about_and_then_known(text: str, us: int, imperial: int) -> None:
    with pytest.raises(AmbiguousMeasure) as asked:
        parse_amount(text)
    assert "--measure us" in asked.value.hint
    assert "imperial" in asked.value.hint
    assert parse_amount(text, measure="us") == Amount(us, ML)
    assert parse_amount(text, measure="imperial") == Amount(imperial, ML)


def test_a_code_of_the_united_nations_is_not_asked_about() -> None:
    assert parse_amount("1 QT") == Amount(946, ML)
    assert parse_amount("1 QTI") == Amount(1137, ML)


def test_ounces_may_be_poured_or_weighed_and_the_hint_names_both() -> None:
    with pytest.raises(UsageError) as asked:
        parse_amount("12 oz", measure="us")
    assert "fl oz" in asked.value.hint
    assert "oz wt" in asked.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("0", "least amount"),
        ("0 l", "least amount"),
        ("0.1 ml", "least amount"),
        ("-3 l", "not an amount"),
        ("1,000 ml", "1000 or 1.000"),
        ("3 furlongs", '"furlongs" is not a unit'),
        ("3 l of beer", "no number before"),
        ("1/0 l", "divided by 0"),
        ("1 kg 3 ml", "adds ml to g"),
        ("half", "counted whole"),
        ("1.5 seats", "counted whole"),
        ("1 2 l", "not a unit"),
        ("9" * 40 + " l", "more than passby can count"),
        ("9" * 5000, "5000 characters"),
        ("\x00 3", "not an amount"),
    ],
)
def test_an_amount_that_cannot_be_read_says_why_and_what_to_write(text: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_amount(text)
    assert says in refused.value.message
    assert refused.value.hint


def test_an_unknown_unit_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(UsageError) as refused:
        parse_amount("3 furlongs")
    assert "ml" in refused.value.hint
    assert "LTR" in refused.value.hint


def test_every_code_of_the_unit_table_is_read() -> None:
    for code, (unit, _num, _den) in TO_BASE.items():
        assert parse_amount(f"4 {code}").unit is unit


@given(st.integers(1, AMOUNT_MAX), st.sampled_from(Unit))
def test_a_shown_amount_is_read_back_exactly(value: int, unit: Unit) -> None:
    assert parse_amount(show_amount(Amount(value, unit))) == Amount(value, unit)


@given(st.text(max_size=200), st.sampled_from(["us", "imperial", None]))
def test_no_text_raises_anything_but_a_usage_error(text: str, measure: Measure | None) -> None:
    for parse in (parse_amount, parse_price):
        with contextlib.suppress(UsageError):
            parse(text, measure=measure)
    with contextlib.suppress(UsageError):
        parse_gtin(text, padded=True)


_KNOWN = "half|a|an|quart|of|and|dozen|1|2|,|.|/|½|three|l|kg|fl|oz|h|min|EUR|per"


@given(
    st.lists(st.sampled_from(_KNOWN.split("|")), max_size=8),
    st.sampled_from([" ", ""]),
)
def test_no_mixture_of_known_words_raises_anything_else(words: list[str], between: str) -> None:
    text = between.join(words)
    for parse in (parse_amount, parse_price):
        try:
            parse(text)
        except UsageError:
            continue


def test_amounts_are_shown_as_people_write_them() -> None:
    shown = [(473, ML), (946, ML), (1500, ML), (2000, G), (1, PC), (150, MIN), (45, MIN)]
    assert [show_amount(Amount(*each)) for each in shown] == [
        "473 ml",
        "946 ml",
        "1.5 l",
        "2 kg",
        "1 pc",
        "2 h 30 min",
        "45 min",
    ]
    assert show_amount(Amount(1, SEAT)) == "1 seat"
    assert show_amount(Amount(2, SEAT)) == "2 seats"


def test_a_file_names_its_unit_beside_its_number() -> None:
    assert amount_in(Fraction(1, 2), "LTR") == Amount(500, ML)
    with pytest.raises(UsageError, match="0 ml"):
        amount_in(Fraction(0), "LTR")
    with pytest.raises(UsageError, match="not a unit"):
        amount_in(Fraction(1), "XYZ")


# --- prices ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "minor", "currency"),
    [
        ("4EUR", 400, "EUR"),
        ("4.50 EUR", 450, "EUR"),
        ("4,50 €", 450, "EUR"),
        ("EUR 4", 400, "EUR"),
        ("eur 4", 400, "EUR"),
        ("£4", 400, "GBP"),
        ("400 JPY", 400, "JPY"),
        ("1.234 KWD", 1234, "KWD"),
        ("free", 0, "USD"),
        ("0", 0, "USD"),
        ("4", 400, "USD"),
    ],
)
def test_a_price_is_read_in_minor_units(text: str, minor: int, currency: str) -> None:
    assert parse_price(text, "USD") == TypedPrice(minor, currency)


def test_a_price_may_be_for_an_amount_for_each_or_for_all() -> None:
    assert parse_price("4EUR per l").per == Amount(1000, ML)
    assert parse_price("4EUR/100ml").per == Amount(100, ML)
    assert parse_price("4 EUR per hour").per == Amount(60, MIN)
    assert parse_price("4 EUR each").per == Amount(1, PC)
    assert parse_price("4EUR in all").per == "all"
    with pytest.raises(AmbiguousMeasure):
        parse_price("4EUR per quart")
    assert parse_price("4EUR per quart", measure="us").per == Amount(946, ML)


def test_a_bare_price_is_for_each_piece_and_for_all_of_what_is_measured() -> None:
    four = parse_price("4EUR")
    assert four.price(Amount(6, PC)) == Price(400, 1, "EUR")
    assert four.price(Amount(2, SEAT)) == Price(400, 1, "EUR")
    assert four.price(Amount(946, ML)) == Price(400, 946, "EUR")
    assert parse_price("4EUR in all").price(Amount(6, PC)) == Price(400, 6, "EUR")
    assert parse_price("4EUR per l").price(Amount(946, ML)) == Price(400, 1000, "EUR")
    with pytest.raises(UsageError, match="the price is per 1 l, the amount is 6 pc"):
        parse_price("4EUR per l").price(Amount(6, PC))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("4", "names no currency"),
        ("4.505 EUR", "EUR has 2 decimals"),
        ("4.5 JPY", "JPY has no decimals"),
        ("1.2345 KWD", "KWD has 3 decimals"),
        ("4 ABC", '"ABC" is not a currency'),
        ("4 XAU", '"XAU" is not a currency'),
        ("$4", "several currencies"),
        ("-4 EUR", "not a price"),
        ("four EUR", "not a price"),
        ("EUR 4 USD", "not a price"),
        ("1,000 EUR", "may be 1000 or 1.000"),
        ("9" * 20 + " EUR", "beyond counting"),
        ("4 EUR per furlong", "not a unit"),
    ],
)
def test_a_price_that_cannot_be_read_says_why_and_what_to_write(text: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_price(text)
    assert says in refused.value.message
    assert refused.value.hint


def test_the_short_table_of_currencies_agrees_with_iso_4217() -> None:
    from iso4217 import Currency

    assert {code: Currency(code).exponent for code in DECIMALS} == DECIMALS


@given(st.integers(1, 10**12), st.sampled_from(["EUR", "JPY", "KWD", "USD"]))
def test_shown_money_is_read_back_exactly(minor: int, currency: str) -> None:
    assert parse_price(show_money(minor, currency)) == TypedPrice(minor, currency)


def test_prices_are_shown_with_what_they_are_for() -> None:
    assert show_price(Price(400, 946, "EUR"), ML, 0) == "4.00 EUR per 946 ml"
    assert show_price(Price(400, 1000, "EUR"), ML, 0) == "4.00 EUR per l"
    assert show_price(Price(250, 1, "EUR"), PC, 0) == "2.50 EUR each"
    assert show_price(Price(250, 1, "EUR"), SEAT, 0) == "2.50 EUR per seat"
    assert show_price(Price(250, 60, "EUR"), MIN, 0) == "2.50 EUR per h"
    assert show_price(Price(0, 1, "EUR"), PC, 0) == "free"


def test_money_is_never_rounded_by_way_of_a_float() -> None:
    assert to_minor(Fraction("0.29"), "EUR") == 29
    assert parse_price("45035996273704.97 EUR").minor == 4503599627370497


# --- product codes -----------------------------------------------------------------------


def test_a_product_has_one_code_however_it_is_written() -> None:
    assert parse_gtin("4006381333931") == "4006381333931"
    assert parse_gtin("4-006381-333931") == "4006381333931"
    assert parse_gtin("613668024006") == parse_gtin("0613668024006") == "0613668024006"
    assert parse_gtin("00114042") == parse_gtin("0000000114042") == "00114042"
    assert parse_gtin("98412345678908") == "98412345678908"


def test_zeros_that_a_spreadsheet_dropped_are_put_back_where_asked() -> None:
    assert parse_gtin("114042", padded=True) == "00114042"
    assert parse_gtin("11300006739", padded=True) == "0011300006739"
    with pytest.raises(UsageError, match="11 digits"):
        parse_gtin("11300006739")


def test_a_wrong_check_digit_is_told_the_right_one() -> None:
    with pytest.raises(UsageError, match="ends in 2, where its check digit would be 1"):
        parse_gtin("4006381333932")


@pytest.mark.parametrize("text", ["", "x", "12", "0000000000000", "123456789012345", "٤" * 13])
def test_what_is_no_product_code_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_gtin(text, padded=True)


def test_reading_words_loads_nothing_heavy() -> None:
    code = (
        "import sys, passby.node.quantities, passby.node.prices, passby.node.times,"
        " passby.node.gtin, passby.node.imports\n"
        "from passby.node.prices import parse_price\n"
        "parse_price('4EUR')\n"
        "print(sorted({'numpy', 'libp2p', 'h3', 'trio', 'iso4217'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
