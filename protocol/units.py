"""Base units, by UN/CEFACT Recommendation 20 code: every amount is an integer in one of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Unit(StrEnum):
    """A base unit. Two amounts compare only when their units are the same."""

    MILLILITRE = "MLT"
    GRAM = "GRM"
    PIECE = "H87"
    MINUTE = "MIN"
    SEAT = "IE"
    METRE = "MTR"


SYMBOL: Final[dict[Unit, str]] = {
    Unit.MILLILITRE: "ml",
    Unit.GRAM: "g",
    Unit.PIECE: "pc",
    Unit.MINUTE: "min",
    Unit.SEAT: "seat",
    Unit.METRE: "m",
}
"""What people read behind an amount."""

TO_BASE: Final[dict[str, tuple[Unit, int, int]]] = {
    "MLT": (Unit.MILLILITRE, 1, 1),
    "CLT": (Unit.MILLILITRE, 10, 1),
    "DLT": (Unit.MILLILITRE, 100, 1),
    "LTR": (Unit.MILLILITRE, 1000, 1),
    "MTQ": (Unit.MILLILITRE, 1_000_000, 1),
    "QT": (Unit.MILLILITRE, 946_352_946, 1_000_000),
    "QTI": (Unit.MILLILITRE, 1_136_522_500, 1_000_000),
    "PT": (Unit.MILLILITRE, 473_176_473, 1_000_000),
    "PTI": (Unit.MILLILITRE, 568_261_250, 1_000_000),
    "GLL": (Unit.MILLILITRE, 3_785_411_784, 1_000_000),
    "GLI": (Unit.MILLILITRE, 4_546_090_000, 1_000_000),
    "OZA": (Unit.MILLILITRE, 29_573_530, 1_000_000),
    "OZI": (Unit.MILLILITRE, 28_413_063, 1_000_000),
    "GRM": (Unit.GRAM, 1, 1),
    "KGM": (Unit.GRAM, 1000, 1),
    "TNE": (Unit.GRAM, 1_000_000, 1),
    "LBR": (Unit.GRAM, 453_592_370, 1_000_000),
    "ONZ": (Unit.GRAM, 28_349_523, 1_000_000),
    "H87": (Unit.PIECE, 1, 1),
    "C62": (Unit.PIECE, 1, 1),
    "EA": (Unit.PIECE, 1, 1),
    "DZN": (Unit.PIECE, 12, 1),
    "PR": (Unit.PIECE, 2, 1),
    "MIN": (Unit.MINUTE, 1, 1),
    "HUR": (Unit.MINUTE, 60, 1),
    "DAY": (Unit.MINUTE, 1440, 1),
    "IE": (Unit.SEAT, 1, 1),
    "MTR": (Unit.METRE, 1, 1),
    "KMT": (Unit.METRE, 1000, 1),
}
"""Rec 20 code -> (base unit, numerator, denominator); amount in base = x * num / den."""


def to_base(code: str, numerator: int, denominator: int) -> tuple[Unit, int]:
    """Return (base unit, amount) for the fraction of Rec 20 unit `code`, rounded half up.

    Raises:
        KeyError: a code that is not in `TO_BASE`.
    """
    unit, num, den = TO_BASE[code]
    top, bottom = numerator * num, denominator * den
    return unit, (2 * top + bottom) // (2 * bottom)
