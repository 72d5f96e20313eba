"""What people type for amounts, places and times, with this home's habits filled in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import click

from passby.node.zone import local_zone
from passby.protocol.errors import UsageError

if TYPE_CHECKING:
    from passby.node.cli.frame import Session
    from passby.node.quantities import Amount, Measure


def measure_of(session: Session, told: str | None) -> Measure | None:
    """Return whose quarts are meant: as told now, else as configured."""
    return cast("Measure | None", told or session.home.config().measure)


def amount_option(session: Session, text: str, told: str | None) -> Amount:
    """Return the amount in `text`; asks once whose quart it is, and remembers.

    Raises:
        UsageError: no amount, or a quart that may be two things where nobody can be asked.
    """
    from passby.node.quantities import AmbiguousMeasure, parse_amount

    try:
        return parse_amount(text, measure_of(session, told))
    except AmbiguousMeasure as error:
        if not session.can_ask:
            raise
        click.echo(error.message)
        told = click.prompt("Whose is yours?", type=click.Choice(["us", "imperial"]))
    from passby.node.cli.setup import change

    change(session, "measure", told)
    return parse_amount(text, cast("Measure", told))


def in_unit(amount: Amount, unit: str) -> int:
    """Return the base units of `amount`, which must be of `unit`.

    Raises:
        UsageError: it is of another.
    """
    from passby.node.quantities import show_amount
    from passby.protocol.units import SYMBOL, Unit

    if amount.unit.value != unit:
        symbol = SYMBOL[Unit(unit)] if unit in list(Unit) else unit
        raise UsageError(
            f"{show_amount(amount)} is not counted in {symbol}.", f"Give it in {symbol}."
        )
    return amount.value


def moment_option(text: str) -> int:
    """Return the Unix milliseconds of a moment to come.

    Raises:
        UsageError: no moment, or over.
    """
    from passby.node.times import parse_until

    return parse_until(text, time.time_ns() // 1_000_000, local_zone())


def radius_option(text: str) -> int:
    """Return metres: "2km", "800 m", "800".

    Raises:
        UsageError: no distance.
    """
    from passby.node.quantities import parse_amount
    from passby.protocol.units import Unit

    if text.strip().isdecimal():
        return int(text)
    return in_unit(parse_amount(text), Unit.METRE.value)
