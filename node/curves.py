"""Prices that move with time, as people write them: "4EUR falling to 0 by friday"."""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import Final

from passby.node.prices import TypedPrice, parse_price
from passby.node.quantities import Amount, Measure, shown
from passby.node.times import parse_moment
from passby.protocol.errors import UsageError
from passby.protocol.limits import TYPED_MAX
from passby.protocol.price import KNOTS_MAX, Price

_LIKE: Final = (
    'write it like "4EUR falling to 0 by friday" or '
    '"4EUR falling from tomorrow to 2EUR by friday, then 0 by sunday"'
)
_MOVES: Final = re.compile(r"\s+(?:falling|rising|going)\s+(?=(?:from|to)\s)", re.IGNORECASE)
_STEPS: Final = re.compile(r"\s*,?\s+then\s+(?:to\s+)?", re.IGNORECASE)
_STEP: Final = re.compile(r"(?P<price>.+?)\s+by\s+(?P<by>.+)", re.IGNORECASE)
_FROM: Final = re.compile(r"from\s+(?P<start>.+?)\s+to\s+(?P<rest>.+)", re.IGNORECASE)


def parse_terms(
    text: str,
    amount: Amount,
    now_ms: int,
    tz: tzinfo,
    default_currency: str | None = None,
    measure: Measure | None = None,
) -> Price:
    """Return the price rule for a lot of `amount`: one price, or a curve of them.

    A price moves in straight lines from now, or from where "from TIME" says, through each
    "PRICE by TIME". Later prices are in the currency and for the amount of the first.

    Raises:
        UsageError: no such price or time, times that do not rise, or too many of them.
        AmbiguousMeasure: a price per quart, pint, gallon or fluid ounce without a `measure`.
    """
    plain = text.strip()
    if len(plain) > TYPED_MAX:
        raise UsageError(f'"{shown(text)}" is not a price', _LIKE)
    first_text, *moves = _MOVES.split(plain, maxsplit=1)
    first = parse_price(first_text, default_currency, measure)
    if not moves:
        return first.price(amount)
    start_ms, rest = now_ms, re.sub(r"^to\s+", "", moves[0], flags=re.IGNORECASE)
    begins = _FROM.fullmatch(moves[0])
    if begins:
        start_ms, rest = parse_moment(begins["start"], now_ms, tz), begins["rest"]
    knots = [(start_ms, first.minor)]
    for step_text in _STEPS.split(rest):
        step = _STEP.fullmatch(step_text)
        if step is None:
            raise UsageError(f'"{shown(step_text)}" says no price by some time', _LIKE)
        at_ms = parse_moment(step["by"], now_ms, tz)
        if at_ms <= knots[-1][0]:
            raise UsageError(
                f'"{shown(step["by"])}" is not after the time before it',
                "give times that come one after the other",
            )
        knots.append((at_ms, _later(step["price"], first, measure)))
    if len(knots) > KNOTS_MAX:
        raise UsageError(f"a price moves at most {KNOTS_MAX - 1} times", "name fewer times")
    base = first.price(amount)
    return Price(base.minor, base.per_amount, base.currency, tuple(knots))


def _later(text: str, first: TypedPrice, measure: Measure | None) -> int:
    """Return the minor units of a later price, in the first one's currency and measure."""
    later = parse_price(text, first.currency, measure)
    if later.per not in (None, first.per):
        raise UsageError(f'"{shown(text)}" is for another amount than before', "name it once")
    if later.currency != first.currency and later.minor:
        raise UsageError(f'"{shown(text)}" is in another currency', "use one throughout")
    return later.minor
