"""Amounts as people write them, and back.

Numbers are exact fractions until the one rounding to an integer in a base unit. Everything
here is pure, and light to import: the command line reads its arguments with it.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, Literal, NamedTuple, assert_never

from passby.protocol.errors import UsageError
from passby.protocol.limits import AMOUNT_MAX, TYPED_MAX
from passby.protocol.units import SYMBOL, TO_BASE, Unit, to_base

Measure = Literal["us", "imperial"]
"""Whose quart, pint, gallon and fluid ounce."""


class Amount(NamedTuple):
    """`value` base units of `unit`."""

    value: int
    unit: Unit


class AmbiguousMeasure(UsageError):  # noqa: N818 - a question to the user more than an error
    """A unit that is one size in the US and another in Britain."""

    def __init__(self, word: str, us_ml: int, imperial_ml: int) -> None:
        super().__init__(
            f'a "{word}" is {us_ml} ml in the US and {imperial_ml} ml in Britain',
            "say which with --measure us or --measure imperial, or write millilitres",
        )
        self.word = word


_THOUSANDS: Final = {Unit.MILLILITRE: "l", Unit.GRAM: "kg", Unit.METRE: "km"}
UNDERSTOOD: Final = (
    "ml, cl, dl, l, g, kg, piece, dozen, pair, min, hour, day, seat, m, km, "
    "quart, pint, gallon, fl oz, lb, or a UN/CEFACT code such as LTR"
)
"""The units to name when one is not known."""

_WORDS: Final = {
    "MLT": "ml millilitre millilitres milliliter milliliters cc",
    "CLT": "cl centilitre centilitres centiliter centiliters",
    "DLT": "dl decilitre decilitres deciliter deciliters",
    "LTR": "l litre litres liter liters",
    "MTQ": "m3 m³",
    "GRM": "g gr gram grams gramme grammes",
    "KGM": "kg kilo kilos kilogram kilograms",
    "TNE": "t tonne tonnes",
    "LBR": "lb lbs pound pounds",
    "H87": "pc pcs piece pieces item items each x",
    "DZN": "dozen dozens dz",
    "PR": "pair pairs",
    "MIN": "min mins minute minutes",
    "HUR": "h hr hrs hour hours",
    "DAY": "d day days",
    "IE": "seat seats person persons people place places",
    "MTR": "m metre metres meter meters",
    "KMT": "km kilometre kilometres kilometer kilometers",
    "ONZ": "weightounce",
}
_CODES: Final = {word: code for code, words in _WORDS.items() for word in words.split()}
_TWO_SIZES: Final = {
    word: codes
    for codes, words in {
        ("QT", "QTI"): "quart quarts qt qts",
        ("PT", "PTI"): "pint pints pt pts",
        ("GLL", "GLI"): "gallon gallons gal gals",
        ("OZA", "OZI"): "fluidounce",
    }.items()
    for word in words.split()
}
_OUNCES: Final = frozenset({"oz", "ounce", "ounces"})

_NUMBER_WORDS: Final = {
    word: Fraction(value)
    for value, words in {
        1: "a an one",
        2: "two",
        3: "three",
        4: "four",
        5: "five",
        6: "six",
        7: "seven",
        8: "eight",
        9: "nine",
        10: "ten",
        11: "eleven",
        12: "twelve",
        20: "twenty",
    }.items()
    for word in words.split()
}
_PART_WORDS: Final = {
    "half": Fraction(1, 2),
    "halves": Fraction(1, 2),
    "third": Fraction(1, 3),
    "thirds": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "quarters": Fraction(1, 4),
}
_PARTS: Final = _PART_WORDS | {
    "½": Fraction(1, 2),
    "⅓": Fraction(1, 3),
    "⅔": Fraction(2, 3),
    "¼": Fraction(1, 4),
    "¾": Fraction(3, 4),
}
_TOKEN: Final = re.compile(
    r"\s*([0-9]+(?:[.,][0-9]+)?|[½⅓⅔¼¾/⁄]|m[3³](?![0-9])|[A-Z][0-9]{2}(?![0-9A-Za-z])|[^\W\d_]+)"
)
_PHRASES: Final = (
    (
        re.compile(r"(?<![a-z])(?:fluid|fl)\.?\s*(?:ounces?|oz)(?![a-z])\.?", re.IGNORECASE),
        " fluidounce ",
    ),
    (
        re.compile(r"(?<![a-z])(?:oz|ounces?)\.?\s*(?:wt|by weight)(?![a-z])\.?", re.IGNORECASE),
        " weightounce ",
    ),
)
_LIKE: Final = 'write it like "473 ml", "half a litre" or "3 pieces"'


def parse_number(text: str) -> Fraction:
    """Return the decimal number in `text`, a point or a comma before its decimals.

    Raises:
        UsageError: not such a number, or one like 1,000 that means two things.
    """
    text = text.strip()
    if len(text) > TYPED_MAX or not re.fullmatch(r"[0-9]+(?:[.,][0-9]+)?", text):
        raise UsageError(f'"{shown(text)}" is not a number', 'write it like "3" or "0.5"')
    if re.fullmatch(r"[1-9][0-9]{0,2},[0-9]{3}", text):
        whole = text.replace(",", "")
        raise UsageError(
            f'"{text}" may be {whole} or {text.replace(",", ".")}',
            f'write "{whole}" or "{text.replace(",", ".")}"',
        )
    return Fraction(text.replace(",", "."))


def parse_amount(text: str, measure: Measure | None = None) -> Amount:
    """Return the amount that `text` names, rounded half up to a base unit.

    Understands "473 ml", "1/2 l", "half a quart", "a dozen", "2 h 30 min", "2 LTR"; a bare
    number is pieces. `measure` says whose quarts are meant.

    Raises:
        AmbiguousMeasure: quarts, pints, gallons or fluid ounces without a `measure`.
        UsageError: an unknown unit, no number, nothing, or too much.
    """
    tokens = _tokens(text)
    total: Amount | None = None
    at = 0
    while at < len(tokens):
        number, at = _read_number(tokens, at, text)
        code = _code(tokens[at], measure) if at < len(tokens) else "H87"
        at += 1
        unit, value = _base(code, number)
        if total is not None and total.unit is not unit:
            raise UsageError(
                f'"{shown(text)}" adds {SYMBOL[unit]} to {SYMBOL[total.unit]}',
                "give one amount, in units of one kind",
            )
        total = Amount(value + (total.value if total else 0), unit)
    if total is None:
        raise UsageError("the amount is empty", _LIKE)
    if total.value == 0:
        raise UsageError(
            f'"{shown(text)}" is less than the least amount, 1 {SYMBOL[total.unit]}',
            "give a larger amount",
        )
    if total.value > AMOUNT_MAX:
        raise UsageError(f'"{shown(text)}" is more than passby can count', "give less")
    return total


def amount_in(number: Fraction, code: str, measure: Measure | None = None) -> Amount:
    """Return `number` of the unit `code`: a UN/CEFACT code, or a word for a unit.

    Raises:
        UsageError: as `parse_amount`.
    """
    known = code if code in TO_BASE else _code(code.strip(), measure)
    unit, value = _base(known, number)
    if not 1 <= value <= AMOUNT_MAX:
        raise UsageError(
            f"the amount comes to {value} {SYMBOL[unit]}",
            f"give at least 1 {SYMBOL[unit]}" if value < 1 else "give less",
        )
    return Amount(value, unit)


def show_amount(amount: Amount) -> str:
    """Return `amount` for people, exactly: "473 ml", "1.5 l", "2 h 30 min", "2 seats".

    `parse_amount` reads it back as the same amount.
    """
    value, unit = amount
    match unit:
        case Unit.MINUTE:
            hours, minutes = divmod(value, 60)
            parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0 or not hours)
            return " ".join(parts)
        case Unit.SEAT:
            return f"{value} seat" if value == 1 else f"{value} seats"
        case Unit.PIECE:
            return f"{value} pc"
        case Unit.MILLILITRE | Unit.GRAM | Unit.METRE:
            whole, rest = divmod(value, 1000)
            if not whole:
                return f"{value} {SYMBOL[unit]}"
            decimals = f".{rest:03}".rstrip("0").rstrip(".")
            return f"{whole}{decimals} {_THOUSANDS[unit]}"
        case _:
            assert_never(unit)


def _tokens(text: str) -> list[str]:
    if len(text) > TYPED_MAX:
        raise UsageError(f"an amount of {len(text)} characters", 'write it like "473 ml"')
    plain = text
    for phrase, word in _PHRASES:
        plain = phrase.sub(word, plain)
    plain = plain.rstrip()
    tokens: list[str] = []
    at = 0
    while at < len(plain):
        found = _TOKEN.match(plain, at)
        if found is None:
            raise UsageError(f'"{shown(text)}" is not an amount', _LIKE)
        at = found.end()
        tokens.append(found[1])
    return tokens


def _word(tokens: list[str], at: int) -> str:
    return tokens[at].casefold() if at < len(tokens) else ""


def _read_number(tokens: list[str], at: int, text: str) -> tuple[Fraction, int]:
    """Return the number at `at` and where it ends: "2", "1 1/2", "1½", "two and a half"."""
    at += at > 0 and tokens[at] == "and"
    total, at = _read_part(tokens, at)
    if total is None:
        raise UsageError(f'"{shown(text)}" has no number before "{_word(tokens, at)}"', _LIKE)
    if total.denominator == 1:
        joined = at + (_word(tokens, at) == "and")
        part, end = _read_part(tokens, joined)
        if part is not None and part < 1 and part.denominator != 1:
            return total + part, end
    return total, at


def _read_part(tokens: list[str], at: int) -> tuple[Fraction | None, int]:
    """Return one number or fraction at `at`, None where there is none, and where it ends."""
    word = _word(tokens, at)
    if word[:1].isdecimal():
        value = parse_number(word)
    elif word in _NUMBER_WORDS or word in _PARTS:
        value = _NUMBER_WORDS[word] if word in _NUMBER_WORDS else _PARTS[word]
    else:
        return None, at
    at += 1
    if _word(tokens, at) in ("/", "⁄") and _word(tokens, at + 1)[:1].isdecimal():
        below = parse_number(tokens[at + 1])
        if not below:
            raise UsageError("an amount divided by 0", _LIKE)
        value, at = value / below, at + 2
    elif value.denominator == 1 and _word(tokens, at) in _PART_WORDS:
        value, at = value * _PARTS[_word(tokens, at)], at + 1
    if value.denominator != 1:
        at += _word(tokens, at) == "of"
        at += _word(tokens, at) in ("a", "an")
    return value, at


def _base(code: str, number: Fraction) -> tuple[Unit, int]:
    unit, value = to_base(code, number.numerator, number.denominator)
    if unit in (Unit.PIECE, Unit.SEAT) and number * to_base(code, 1, 1)[1] != value:
        name = "pieces" if unit is Unit.PIECE else "seats"
        raise UsageError(f"{name} are counted whole", "give a whole number, or another unit")
    return unit, value


def _code(word: str, measure: Measure | None) -> str:
    """Return the UN/CEFACT code for `word`."""
    if word in TO_BASE:
        return word
    low = word.casefold()
    if low in _CODES:
        return _CODES[low]
    if low in _TWO_SIZES:
        us, imperial = _TWO_SIZES[low]
        match measure:
            case "us":
                return us
            case "imperial":
                return imperial
            case None:
                name = "fl oz" if low == "fluidounce" else low
                raise AmbiguousMeasure(name, to_base(us, 1, 1)[1], to_base(imperial, 1, 1)[1])
    if low in _OUNCES:
        raise UsageError(
            f'"{word}" may be a fluid ounce or one by weight',
            'write "fl oz" for what is poured, "oz wt" for what is weighed',
        )
    if word.upper() in TO_BASE:
        return word.upper()
    raise UsageError(f'"{shown(word)}" is not a unit passby knows', f"use {UNDERSTOOD}")


def shown(text: str) -> str:
    """Return `text` short enough, and printable, to be quoted in an error."""
    short = text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in short
    )


_SHOWN_MAX: Final = 60
