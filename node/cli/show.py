"""What people read: tables, times, money, distances and short ids."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from passby.node.cli.frame import clean
from passby.protocol.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX_MIN: Final = 6
"""Hex digits of a shortened id that are understood."""
SHORT_ID: Final = 8
"""Hex digits of an id in a table: any unique six are understood."""
MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400
FAR_M: Final = 1000


def now_ms() -> int:
    """Return the time, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def short(identity: str) -> str:
    """Return the beginning of an id."""
    return clean(identity[:SHORT_ID])


def who(name: str | None, key: str | None) -> str:
    """Return a neighbour's name, or the beginning of its key."""
    return clean(name) if name else short(key) if key else "somebody"


def amount(value: int, unit: str) -> str:
    """Return an amount with its unit: "473 ml", "1.5 l"."""
    from passby.node.quantities import Amount, show_amount
    from passby.protocol.units import Unit

    try:
        return show_amount(Amount(value, Unit(unit)))
    except ValueError:
        return f"{value} {clean(unit)}"


def money(minor: int, currency: str) -> str:
    """Return money with its currency: "4.00 EUR", "free"."""
    from passby.node.prices import show_money

    try:
        return show_money(minor, currency)
    except UsageError:  # a peer's currency may be anything of three letters
        return f"{minor} minor units of {clean(currency)}"


def price(terms: dict[str, Any], unit: str) -> str:
    """Return a price with what it is for: "4.00 EUR per 946 ml", "2.00 EUR each", "free".

    One that moves is as it is now, with where it goes: "2.00 EUR each, free in 3 days".
    """
    knots = terms.get("knots") or []
    ahead = [knot for knot in knots if knot[0] > now_ms()]
    minor = terms["minor"]
    if knots:
        from passby.protocol.price import Price

        curve = Price(minor, terms["per_amount"], terms["currency"], tuple(map(tuple, knots)))
        minor = curve.minor_at(now_ms())
    paid = money(minor, terms["currency"])
    then = f", {money(ahead[-1][1], terms['currency'])} {until(ahead[-1][0])}" if ahead else ""
    if not minor:
        return paid + then
    per = amount(terms["per_amount"], unit)
    return (f"{paid} each" if per == "1 pc" else f"{paid} per {per.removeprefix('1 ')}") + then


def distance(metres: int | None) -> str:
    """Return a distance: "350 m", "1.4 km"."""
    if metres is None:
        return ""
    if metres < FAR_M:
        return f"{metres} m"
    # Cut and not rounded, as in the reasons of a match: both are read side by side.
    return f"{metres // FAR_M}.{metres % FAR_M // 100} km"


def span(seconds: float) -> str:
    """Return a span of time in its two largest words: "3 min", "5 weeks"."""
    whole = max(0, round(seconds))
    for size, word in (
        (7 * DAY_S, "week"),
        (DAY_S, "day"),
        (HOUR_S, "h"),
        (MINUTE_S, "min"),
        (1, "s"),
    ):
        count = round(whole / size)
        if count >= 2 or (whole >= size and word != "week"):
            plural = "s" if count != 1 and word in {"week", "day"} else ""
            return f"{count} {word}{plural}"
    return "0 s"


def moment(at_ms: int) -> str:
    """Return a time of day for today, else a date with it, in the machine's own zone."""
    at = time.localtime(at_ms / 1000)
    today = time.localtime()
    same = (at.tm_year, at.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M", at)


def until(at_ms: int | None) -> str:
    """Return how long it is until then: "in 5 weeks", or "over"."""
    if at_ms is None:
        return ""
    left_s = at_ms / 1000 - time.time()
    return f"in {span(left_s)}" if left_s > 0 else "over"


def width(text: str) -> int:
    """Return how many columns `text` takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
    )


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, squeeze: int | None = None
) -> list[str]:
    """Return aligned lines, a row each under the head.

    Args:
        head: the columns' names; one that starts with ">" is aligned to the right.
        rows: the cells.
        squeeze: the column that gives way where the terminal is too narrow.
    """
    titles = [name.lstrip(">") for name in head]
    widths = [
        max(width(title), *(width(row[at]) for row in rows)) if rows else width(title)
        for at, title in enumerate(titles)
    ]
    if squeeze is not None and sys.stdout.isatty():
        import shutil

        over = sum(widths) + 2 * (len(widths) - 1) - shutil.get_terminal_size().columns
        if over > 0:
            widths[squeeze] = max(12, widths[squeeze] - over)

    def line(cells: Sequence[str]) -> str:
        parts = []
        for at, cell in enumerate(cells):
            fitted = _cut(cell, widths[at])
            pad = " " * (widths[at] - width(fitted))
            parts.append(pad + fitted if head[at].startswith(">") else fitted + pad)
        return "  ".join(parts).rstrip()

    return [click.style(line(titles), bold=True), *(line(row) for row in rows)]


def facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return lines of a label and what it is; pairs without a value are left out."""
    kept = [(label, value) for label, value in pairs if value]
    wide = max((width(label) for label, _ in kept), default=0)
    return [
        f"  {click.style(label, dim=True)}{' ' * (wide - width(label))}  {value}"
        for label, value in kept
    ]


def count(number: int, one: str, many: str = "") -> str:
    """Return "1 peer", "2 peers"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _cut(text: str, columns: int) -> str:
    if width(text) <= columns:
        return text
    cut = ""
    for letter in text:
        if width(cut + letter) >= columns:
            break
        cut += letter
    return cut + "…"
