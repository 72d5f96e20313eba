"""offer, request, give: saying what one has and what one lacks."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import click

from passby.node.cli import show
from passby.node.cli.fitting import match_lines
from passby.node.cli.frame import F, Session, clean, command
from passby.node.cli.typed import (
    amount_option,
    in_unit,
    measure_of,
    moment_option,
    radius_option,
)
from passby.node.zone import local_zone
from passby.protocol.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from passby.node.quantities import Amount

SHOWN_AT_ONCE = 3
"""Matches that a request shows as it is entered; `passby matches` shows the rest."""
NAME_MAX = 120
"""Characters; as protocol/payloads.py has it, which takes too long to import here."""
CONDITIONS = ("new", "used", "refurbished", "damaged")


def _shared(function: F) -> F:
    """Add the options that every lot has."""
    options: list[Callable[[F], F]] = [
        click.option(
            "--category", metavar="PATH", help="As in fluids/brake-fluid; the words are free."
        ),
        click.option("--minimum", metavar="AMOUNT", help="The least of it that is worth the way."),
        click.option("--gtin", metavar="DIGITS", help="The number under the bar code."),
        click.option("--brand", metavar="BRAND"),
        click.option("--condition", type=click.Choice(CONDITIONS)),
        click.option("--until", metavar="TIME", help='Stands until then: "4 weeks", 2026-12-24.'),
        click.option(
            "--window", metavar="SPAN", help='When to meet: 18:00-20:00, "friday 9:00-12:00".'
        ),
        click.option("--at", "place", metavar="PLACE", help="latitude,longitude or a cell; home."),
        click.option("--radius", metavar="DISTANCE", help='How far is near enough: "2km".'),
        click.option("--text", metavar="TEXT", help="Anything else a neighbour should know."),
        click.option("--measure", type=click.Choice(["us", "imperial"]), help="Whose quarts."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _given(function: F) -> F:
    """Add the options of what is given away, for money or not."""
    options: list[Callable[[F], F]] = [
        click.option(
            "--amount",
            default="1",
            show_default=True,
            metavar="AMOUNT",
            help='"473 ml", "3 pieces".',
        ),
        click.option("--step", metavar="AMOUNT", help="Given out in multiples of this."),
        click.option(
            "--carry",
            metavar="PLACE",
            help="Room on your way to there, from --at or home, and no goods.",
        ),
        click.option("--best-before", metavar="TIME", help='"5 weeks", 2026-12-24.'),
        click.option("--per-person", metavar="AMOUNT", help="The most that one person gets of it."),
        click.option("--per-day", metavar="AMOUNT", help="The most for one person in a day."),
        click.option(
            "--swap", multiple=True, metavar="WANTED", help='Taken for it: "6 pieces of food/eggs".'
        ),
        click.option("--lend", metavar="TIME", help='Lent: it comes back after "1 day".'),
        click.option("--fits", multiple=True, metavar="THING", help='"VW Golf 2003-2009".'),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def wanted_options(function: F) -> F:
    """Add what a request is told with: its name, and every option."""
    options: list[Callable[[F], F]] = [
        click.argument("name"),
        click.option(
            "--amount", default="1", show_default=True, metavar="AMOUNT", help="The most you want."
        ),
        click.option(
            "--price",
            metavar="PRICE",
            help="The most you pay: for each piece or seat, else for the amount.",
        ),
        click.option("--per", metavar="AMOUNT", help="What the price is for: l, 100ml, piece."),
        click.option("--needed-by", metavar="TIME", help="You use it until then."),
        click.option(
            "--margin",
            metavar="DAYS",
            type=click.IntRange(0, 10_000),
            help="It must keep so many days longer.",
        ),
        _shared,
    ]
    for option in reversed(options):
        function = option(function)
    return function


@command(
    "offer",
    'passby offer "Brake fluid DOT 4" --category fluids/brake-fluid --amount "946 ml" \\',
    '    --price 4EUR --best-before "5 weeks" --until "4 weeks"',
    'passby offer "Eggs" --category food/eggs --amount "a dozen" --price "2EUR per 6 pieces"',
    'passby offer "Bread" --category food/bread --price "3EUR falling to 0 by 21:00"',
)
@click.argument("name")
@_given
@click.option(
    "--price",
    metavar="PRICE",
    help='"4EUR": for each piece or seat, else for all of it. "4EUR per l", "4EUR in all", '
    '"4EUR falling to 0 by friday".',
)
@click.option("--per", metavar="AMOUNT", help="What the price is for: l, 100ml, piece.")
@click.option("--pay", multiple=True, metavar="WAY", help="How you like to be paid: cash, sepa.")
@_shared
def offer_command(session: Session, *, price: str | None, **given: Any) -> None:
    """Offer something for money. It can be had in parts; the rest stays on offer."""
    if price is None:
        price = session.ask("The price", "--price 4EUR, or `passby give` for nothing")
    _post(session, "offer", price, given)


@command("give", 'passby give "Wheel nuts M12" --category car/wheels --amount "6 pieces"')
@click.argument("name")
@_given
@_shared
def give_command(session: Session, **given: Any) -> None:
    """Offer something for nothing."""
    _post(session, "offer", "free", given)


@command(
    "request",
    'passby request "Brake fluid DOT 4" --category fluids/brake-fluid --amount "473 ml" \\',
    "    --price 3EUR --needed-by friday",
)
@wanted_options
def request_command(session: Session, *, price: str | None, **given: Any) -> None:
    """Say what you lack; whoever has it nearby sees that it fits."""
    if price is None:
        price = session.ask("The most you would pay", "--price 3EUR, or --price free")
    _post(session, "request", price, given)


def _post(session: Session, side: str, price: str, given: dict[str, Any]) -> None:
    lot = lot_of(session, side, price, given)
    (result,) = session.post("/v1/lots", {"lots": [lot]})["results"]
    if "error" in result:
        fault = result["error"]
        raise RefusedError(fault["message"], fault.get("hint") or "")
    answer = {**result, "lot": lot}
    if side == "request":
        found = session.get("/v1/matches", lot=result["id"], limit=SHOWN_AT_ONCE)["matches"]
        answer["matches"] = found
    session.out(answer, lambda: _posted(session, lot, answer))


def lot_of(session: Session, side: str, price: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the lot that was typed, as the local API takes it.

    Raises:
        UsageError: something in it cannot be read.
    """
    from passby.geo.categories import parse_category
    from passby.node.curves import parse_terms

    told = given["measure"]
    amount = amount_option(session, given["amount"], told)
    if given.get("per"):
        price = f"{price} per {given['per']}"
    name = _nfc(given["name"]).strip()
    if not 1 <= len(name) <= NAME_MAX:
        raise UsageError(
            f"A name has 1 to {NAME_MAX} characters, this one {len(name)}.",
            "Say the rest with --text." if name else "Say what it is in a few words.",
        )
    config = session.home.config()
    measure = measure_of(session, told)
    terms = parse_terms(price, amount, show.now_ms(), local_zone(), config.currency, measure)
    category = given["category"] or ("carriage" if given.get("carry") else None)
    if category is None:
        category = session.ask("Its category", "--category fluids/brake-fluid")
    lot: dict[str, Any] = {
        "side": side,
        "name": name,
        "category": parse_category(category),
        "unit": amount.unit.value,
        "amount": amount.value,
        "price": {
            "minor": terms.minor,
            "per_amount": terms.per_amount,
            "currency": terms.currency,
            **({"knots": [list(knot) for knot in terms.knots]} if terms.knots else {}),
        },
        "brand": given["brand"] and _nfc(given["brand"]),
        "condition": given["condition"],
        "text": given["text"] and _nfc(given["text"]),
        "pay": list(given.get("pay") or ()) or None,
        "swap": [_swapped(session, text, told) for text in given.get("swap") or ()] or None,
        "fits": [_nfc(word).strip() for word in given.get("fits") or ()] or None,
        **_amounts(session, given, amount),
        **_times(given),
        **_places(given),
    }
    if given["gtin"]:
        from passby.node.gtin import parse_gtin

        lot["gtin"] = parse_gtin(given["gtin"])
    return {key: value for key, value in lot.items() if value is not None}


def _swapped(session: Session, text: str, told: str | None) -> dict[str, Any]:
    from passby.geo.categories import parse_category

    typed, of, category = text.partition(" of ")
    if not of:
        raise UsageError(
            f"{text!r} names no amount of something.", '--swap "6 pieces of food/eggs"'
        )
    amount = amount_option(session, typed, told)
    return {
        "category": parse_category(category),
        "unit": amount.unit.value,
        "amount": amount.value,
    }


def _amounts(session: Session, given: dict[str, Any], amount: Amount) -> dict[str, int]:
    found = {}
    for key in ("minimum", "step", "per_person", "per_day"):
        if given.get(key):
            value = in_unit(amount_option(session, given[key], given["measure"]), amount.unit.value)
            if value > amount.value:
                most = show.amount(amount.value, amount.unit.value)
                raise UsageError(
                    f"The {key.replace('_', ' ')} is more than there is.",
                    f"Give a --{key.replace('_', '-')} of at most {most}.",
                )
            found[key] = value
    return found


def _times(given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, key in (
        ("until", "until_ms"),
        ("best_before", "best_before_ms"),
        ("needed_by", "needed_until_ms"),
    ):
        if given.get(option):
            found[key] = moment_option(given[option])
    if given.get("lend"):
        found["lent_s"] = max(1, (moment_option(given["lend"]) - show.now_ms()) // 1000)
    if given.get("margin"):
        found["margin_s"] = given["margin"] * 86_400
    if given["window"]:
        from passby.node.times import parse_window

        window = parse_window(given["window"], show.now_ms(), local_zone())
        found["window"] = {"from_ms": window.from_ms, "until_ms": window.until_ms}
    return found


def _places(given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if given["place"]:
        from passby.geo.cells import cell_text, parse_place

        found["cell"] = cell_text(parse_place(given["place"]))
    if given.get("carry"):
        from passby.geo.cells import cell_text, parse_place

        found["carry_to"] = cell_text(parse_place(given["carry"]))
    if given["radius"]:
        found["radius_m"] = radius_option(given["radius"])
    return found


def _posted(session: Session, lot: dict[str, Any], result: dict[str, Any]) -> list[str]:
    identity = show.short(result["id"])
    verb = "On offer" if lot["side"] == "offer" else "Asked for"
    line = (
        f"{verb}: {clean(lot['name'])}, {show.amount(lot['amount'], lot['unit'])}, "
        f"{show.price(lot['price'], lot['unit'])}"
    )
    if "best_before_ms" in lot:
        line += f", best before {show.until(lot['best_before_ms'])}"
    if "until_ms" in lot:
        line += f", ends {show.until(lot['until_ms'])}"
    window = lot.get("window")
    matches = result.get("matches", [])
    return [
        line + ".",
        *show.facts(
            [
                ("id", identity),
                ("at least", show.amount(lot["minimum"], lot["unit"]) if "minimum" in lot else ""),
                ("in steps of", show.amount(lot["step"], lot["unit"]) if "step" in lot else ""),
                (
                    "meet",
                    f"{show.moment(window['from_ms'])} to {show.moment(window['until_ms'])}"
                    if window
                    else "",
                ),
                ("near", f"within {show.distance(lot['radius_m'])}" if "radius_m" in lot else ""),
                ("what fits", session.line(f"matches {identity}")),
            ]
        ),
        *(shown for match in matches for shown in match_lines(session, match)),
    ]


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
