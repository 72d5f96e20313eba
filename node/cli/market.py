"""book and matches: what there is, and what fits."""

from __future__ import annotations

from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.fitting import match_lines
from passby.node.cli.frame import Session, clean, command
from passby.node.cli.typed import radius_option


@command("book", "passby book", "passby book --wanted --category fluids", "passby book --own")
@click.option("--wanted", is_flag=True, help="Requests instead of offers.")
@click.option("--category", metavar="PATH", help="This category and those below it.")
@click.option("--text", metavar="WORDS", help="Words of the name.")
@click.option("--gtin", metavar="DIGITS", help="This product.")
@click.option("--own", is_flag=True, help="Only your own.")
@click.option("--fits", is_flag=True, help="Only what fits something in your garage.")
@click.option("--radius", metavar="DISTANCE", help='How far around: "800 m", "5km".')
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
def book_command(
    session: Session,
    *,
    wanted: bool,
    category: str | None,
    text: str | None,
    gtin: str | None,
    own: bool,
    radius: str | None,
    fits: bool,
    limit: int,
) -> None:
    """Show what is on offer near you, or wanted. The nearest comes first."""
    if category:
        from passby.geo.categories import parse_category

        category = parse_category(category)
    if gtin:
        from passby.node.gtin import parse_gtin

        gtin = parse_gtin(gtin)
    answer = session.get(
        "/v1/book",
        side="request" if wanted else "offer",
        category=category,
        text=text,
        gtin=gtin,
        own=1 if own else None,
        radius_m=radius_option(radius) if radius else None,
        limit=1000 if fits else limit,
    )
    if fits:
        answer["lots"] = [lot for lot in answer["lots"] if lot["fits_yours"]]
    session.out(answer, lambda: _book_lines(session, answer["lots"], wanted=wanted))


def _book_lines(session: Session, lots: list[dict[str, Any]], *, wanted: bool) -> list[str]:
    if not lots:
        first = 'request "..."' if wanted else 'offer "..."'
        return [f"Nothing here yet. Be the first: {session.line(first)}"]
    rows = [
        [
            show.short(lot["id"]),
            _named(lot),
            left(lot),
            show.price(lot["price"], lot["unit"]),
            show.until(lot.get("best_before_ms")) or "-",
            "you" if lot["own"] else show.who(lot.get("author_name"), lot["author"]),
            show.distance(lot.get("distance_m")),
        ]
        for lot in lots
    ]
    head = ["id", "what", ">wanted" if wanted else ">left", "price", "best before", "by", ">away"]
    return show.table(head, rows, squeeze=1)


def _named(lot: dict[str, Any]) -> str:
    yours = lot.get("fits_yours")
    lent = f", to borrow for {show.span(lot['lent_s'])}" if lot.get("lent_s") else ""
    fits = f" (fits your {clean(', '.join(yours))})" if yours else ""
    return clean(lot["name"] or "?") + lent + fits


def left(lot: dict[str, Any]) -> str:
    """Return how much of a lot there is to have, and what is set aside."""
    value = lot["remaining"] if lot.get("remaining") is not None else lot["amount"]
    reserved = lot.get("reserved") or 0
    aside = f" (+{show.amount(reserved, lot['unit'])} reserved)" if reserved else ""
    return show.amount(value, lot["unit"]) + aside


@command("matches", "passby matches", "passby matches ab12cd")
@click.argument("lot", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
def matches_command(session: Session, *, lot: str | None, limit: int) -> None:
    """Show what fits your offers and requests. Or one LOT; the best first, with the reasons."""
    answer = session.get("/v1/matches", lot=lot and session.identity(lot), limit=limit)
    wishes = session.get("/v1/wishes", limit=limit)["wishes"] if lot is None else []
    answer["swaps"] = swaps = session.get("/v1/swaps", limit=limit)["swaps"] if not lot else []
    answer["wishes"] = wishes = [wish for wish in wishes if wish["matches"]]

    def lines() -> list[str]:
        if wishes or swaps:
            from passby.node.cli.wants import wish_lines

            found = [line for match in answer["matches"] for line in match_lines(session, match)]
            found += [line for swap in swaps for line in _swap_lines(session, swap)]
            return found + [line for wish in wishes for line in wish_lines(session, wish)]
        if not answer["matches"]:
            return [f"Nothing fits yet. See all there is: {session.line('book')}"]
        return [line for match in answer["matches"] for line in match_lines(session, match)]

    session.out(answer, lines)


def _swap_lines(session: Session, swap: dict[str, Any]) -> list[str]:
    own, other = swap["own"], swap["other"]
    gives, gets = show.amount(swap["gives"], own["unit"]), show.amount(swap["gets"], other["unit"])
    who = show.who(other.get("author_name"), other["author"])
    step = f'propose {show.short(other["id"])} --amount "{gets}"'
    mine, theirs = clean(own["name"] or "?"), clean(other["name"] or "?")
    away = show.distance(swap["distance_m"])
    return [
        f"Swap: your {mine}, {gives}, for {theirs}, {gets}, of {who}, {away} away",
        f"    ask for it: {session.line(step)}; {who} asks for yours likewise",
    ]
