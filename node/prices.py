"""Prices as people write them, and back: whole minor units of an ISO 4217 currency."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from passby.node.quantities import Amount, Measure, parse_amount, parse_number, show_amount, shown
from passby.protocol.errors import UsageError
from passby.protocol.limits import AMOUNT_MAX, TYPED_MAX
from passby.protocol.price import Price
from passby.protocol.units import Unit


class TypedPrice(NamedTuple):
    """What was typed: `minor` of `currency`, and for how much.

    `per` is an amount where one was named, "all" for "in all", None where nothing was said.
    """

    minor: int
    currency: str
    per: Amount | Literal["all"] | None = None

    def price(self, amount: Amount) -> Price:
        """Return the price rule for a lot of `amount`.

        Where nothing was said, pieces and seats are priced each, and what is measured
        (millilitres, grams, minutes, metres) as a whole.

        Raises:
            UsageError: the price is per a unit that `amount` is not in.
        """
        if self.per is None:
            each = amount.unit in (Unit.PIECE, Unit.SEAT)
            return Price(self.minor, 1 if each else amount.value, self.currency)
        if self.per == "all":
            return Price(self.minor, amount.value, self.currency)
        if self.per.unit is not amount.unit:
            raise UsageError(
                f"the price is per {show_amount(self.per)}, the amount is {show_amount(amount)}",
                "give the price for an amount of the same kind, or for all of it: 4EUR in all",
            )
        return Price(self.minor, self.per.value, self.currency)


DECIMALS: Final = {
    "AUD": 2, "BRL": 2, "CAD": 2, "CHF": 2, "CNY": 2, "CZK": 2, "DKK": 2, "EUR": 2, "GBP": 2,
    "HUF": 2, "INR": 2, "JPY": 0, "KRW": 0, "MXN": 2, "NOK": 2, "NZD": 2, "PLN": 2, "RON": 2,
    "SEK": 2, "SGD": 2, "TRY": 2, "USD": 2, "ZAR": 2,
}  # fmt: skip
"""The currencies most typed, so that reading one need not load the whole ISO 4217 table."""

_SIGNS: Final = {"€": "EUR", "£": "GBP", "₹": "INR", "₺": "TRY", "zł": "PLN"}
_UNCLEAR_SIGNS: Final = {"$": "USD", "¥": "JPY", "kr": "SEK"}
_GIFTS: Final = frozenset({"free", "gift", "a gift", "for free", "nothing"})
_LIKE: Final = 'write it like "4EUR", "4.50 EUR per l" or "free"'
_PRICE: Final = re.compile(
    r"(?P<before>[^\W\d_]+|[$€£¥₹₺])?\s*(?P<number>[0-9]+(?:[.,][0-9]+)?)\s*"
    r"(?P<after>(?!(?:per|each|in|for)\b)[^\W\d_]+|[$€£¥₹₺])?\s*"
    r"(?:(?:per\b|/)\s*(?P<per>\S.*)|(?P<each>each|a piece)|(?P<whole>in all|for all|in total))?",
    re.IGNORECASE,
)


def decimals_of(currency: str) -> int:
    """Return how many decimals the ISO 4217 `currency` has: EUR 2, JPY 0, KWD 3.

    Raises:
        UsageError: no such currency, or one that nobody pays in (gold, test codes).
    """
    if currency in DECIMALS:
        return DECIMALS[currency]
    from iso4217 import Currency  # 40 ms: it reads the published table anew

    try:
        exponent = Currency(currency).exponent
    except ValueError:
        exponent = None
    if not isinstance(exponent, int):
        raise UsageError(
            f'"{shown(currency)}" is not a currency',
            "use an ISO 4217 code of three letters, such as EUR, GBP or USD",
        )
    return exponent


def parse_price(
    text: str, default_currency: str | None = None, measure: Measure | None = None
) -> TypedPrice:
    """Return the price that `text` names, exactly.

    Understands "4EUR", "EUR 4.50", "€4", "4EUR per l", "4EUR/100ml", "4EUR each", "4EUR in
    all", "free" and "0". A number alone is in `default_currency`.

    Raises:
        UsageError: an unknown currency, or none; more decimals than it has; too much.
        AmbiguousMeasure: a price per quart, pint, gallon or fluid ounce without a `measure`.
    """
    plain = text.strip()
    if plain.casefold() in _GIFTS:
        return TypedPrice(0, _currency("", default_currency or "EUR"))
    found = _PRICE.fullmatch(plain) if len(plain) <= TYPED_MAX else None
    if found is None or (found["before"] and found["after"]):
        raise UsageError(f'"{shown(text)}" is not a price', _LIKE)
    number = parse_number(found["number"])
    word = found["before"] or found["after"] or ""
    currency = _currency(word, default_currency or (None if number else "EUR"))
    per: Amount | Literal["all"] | None = None
    if found["per"]:
        each = found["per"]
        per = parse_amount(each if each[0].isdecimal() else f"1 {each}", measure)
    elif found["each"]:
        per = Amount(1, Unit.PIECE)
    elif found["whole"]:
        per = "all"
    return TypedPrice(to_minor(number, currency), currency, per)


def to_minor(number: Fraction, currency: str) -> int:
    """Return `number` of `currency` in its minor units, exactly.

    Raises:
        UsageError: an unknown currency, a negative number, too much, or a part of a minor unit.
    """
    decimals = decimals_of(currency)
    minor = number * 10**decimals
    if minor.denominator != 1:
        have = {0: "no decimals", 1: "one decimal"}.get(decimals, f"{decimals} decimals")
        raise UsageError(
            f"{currency} has {have}, the price has more",
            'round it, or give the price of a larger amount, as in "4.99 EUR per 10 pieces"',
        )
    if not 0 <= minor <= AMOUNT_MAX:
        raise UsageError("a price below nothing or beyond counting", _LIKE)
    return int(minor)


def show_money(minor: int, currency: str) -> str:
    """Return `minor` units of `currency` for people: "4.00 EUR", "400 JPY"; "free" for 0."""
    if minor == 0:
        return "free"
    decimals = decimals_of(currency)
    whole, rest = divmod(minor, 10**decimals)
    return f"{whole}.{rest:0{decimals}} {currency}" if decimals else f"{whole} {currency}"


def show_price(price: Price, unit: Unit, at_ms: int) -> str:
    """Return `price` as it is at `at_ms`: "4.00 EUR per 946 ml", "2.00 EUR each", "free"."""
    money = show_money(price.minor_at(at_ms), price.currency)
    if money == "free":
        return money
    if price.per_amount == 1 and unit is Unit.PIECE:
        return f"{money} each"
    return f"{money} per {show_amount(Amount(price.per_amount, unit)).removeprefix('1 ')}"


def _currency(word: str, default: str | None) -> str:
    """Return the ISO 4217 code that `word` names, or the default where it is empty."""
    if word in _UNCLEAR_SIGNS:
        raise UsageError(
            f'"{word}" stands for several currencies',
            f"write the code of three letters, such as {_UNCLEAR_SIGNS[word]}",
        )
    code = _SIGNS.get(word, word.upper()) if word else default
    if code is None:
        raise UsageError("the price names no currency", _LIKE)
    decimals_of(code)
    return code
