"""wish and garage: what is kept at home and held against what others list."""

from __future__ import annotations

from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Group, Session, clean
from passby.node.cli.lots import lot_of, wanted_options
from passby.protocol.errors import UsageError

wish_command = Group("wish", help="Wishes that nobody hears of, matched as lots arrive.")
wish_command.examples = ('passby wish save "Ladder" --category tools/ladder --price 20EUR',)
garage_command = Group("garage", help="Own vehicles and devices, for products that say what fits.")
garage_command.examples = ('passby garage add "VW Golf 2009"', "passby garage list")


@wish_command.add(
    "save", 'passby wish save "Ladder" --category tools/ladder --price 20EUR --radius 3km'
)
@wanted_options
def wish_save(session: Session, *, price: str | None, **given: Any) -> None:
    """Keep a wish. It stands until --until, or until it is dropped."""
    if price is None:
        price = session.ask("The most you would pay", "--price 3EUR, or --price free")
    wish = session.post("/v1/wishes", {"lot": lot_of(session, "request", price, given)})
    session.out(wish, lambda: _lines(session, [wish]))


@wish_command.add("list", "passby wish list")
def wish_list(session: Session) -> None:
    """Show the wishes, and what fits them now."""
    answer = session.get("/v1/wishes")
    session.out(answer, lambda: _lines(session, answer["wishes"]))


@wish_command.add("drop", "passby wish drop 3f2a")
@click.argument("wish", metavar="ID")
def wish_drop(session: Session, *, wish: str) -> None:
    """Forget a wish."""
    answer = session.post(f"/v1/wishes/{_id(wish)}/drop")
    session.out(answer, lambda: [f"Wish {answer['id']} is forgotten."])


_FIRST_WISH = 'wish save "Ladder" --price 20EUR'
_FIRST_THING = 'garage add "VW Golf 2009"'


def _id(text: str) -> str:
    plain = text.strip().lower()
    if not plain.isalnum():
        raise UsageError(f"{text!r} is no id.", "Ids are the words that stand first in the list.")
    return plain


def _lines(session: Session, wishes: list[dict[str, Any]]) -> list[str]:
    if not wishes:
        return [f"No wishes are saved: {session.line(_FIRST_WISH)}"]
    return [line for wish in wishes for line in wish_lines(session, wish)]


def wish_lines(session: Session, wish: dict[str, Any]) -> list[str]:
    """Return a wish and what fits it, for people."""
    lot = wish["lot"]
    title = click.style(f"Wish {wish['id']}", bold=True)
    amount, price = show.amount(lot["amount"], lot["unit"]), show.price(lot["price"], lot["unit"])
    lines = [f"{title}: {clean(lot['name'])}, {amount}, at most {price}"]
    if not wish["matches"]:
        return [*lines, "  Nothing fits yet; new lots are told as they come."]
    rows = [
        [
            show.short(match["offer"]["id"]),
            clean(match["offer"]["name"] or "?"),
            show.amount(match["amount"], match["offer"]["unit"]),
            show.money(match["total_minor"], match["currency"]),
            show.who(match["offer"].get("author_name"), match["offer"]["author"]),
            show.distance(match["distance_m"]),
        ]
        for match in wish["matches"]
    ]
    lines += show.table(["id", "what", ">amount", ">for", "by", ">away"], rows, squeeze=1)
    first = show.short(wish["matches"][0]["offer"]["id"])
    return [*lines, f"  take one: {session.line(f'propose {first}')}"]


@garage_command.add("add", 'passby garage add "VW Golf 2009"')
@click.argument("name")
def garage_add(session: Session, *, name: str) -> None:
    """Keep a thing. Products that say they fit it are shown so; nobody hears of it."""
    thing = session.post("/v1/garage", {"name": name})
    session.out(thing, lambda: [f"{clean(thing['name'])} is in your garage."])


@garage_command.add("list", "passby garage list")
def garage_list(session: Session) -> None:
    """Show the things that are kept."""
    answer = session.get("/v1/garage")

    def lines() -> list[str]:
        things = answer["things"]
        if not things:
            return [f"Nothing is kept yet: {session.line(_FIRST_THING)}"]
        return show.table(["id", "what"], [[thing["id"], clean(thing["name"])] for thing in things])

    session.out(answer, lines)


@garage_command.add("drop", "passby garage drop 7b1c")
@click.argument("thing", metavar="ID")
def garage_drop(session: Session, *, thing: str) -> None:
    """Forget a thing."""
    answer = session.post(f"/v1/garage/{_id(thing)}/drop")
    session.out(answer, lambda: [f"{answer['id']} is forgotten."])
