"""A match as it is shown, by whoever shows one."""

from __future__ import annotations

from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean


def match_lines(session: Session, match: dict[str, Any]) -> list[str]:
    """Return a match as it is shown: what, for how much, why, and how to take it."""
    offer, request = match["offer"], match["request"]
    taken = show.amount(match["amount"], offer["unit"])
    title = click.style(clean(offer["name"] or "?"), bold=True)
    giver = "you" if offer["own"] else show.who(offer.get("author_name"), offer["author"])
    asker = "you" if request["own"] else show.who(request.get("author_name"), request["author"])
    paid = show.money(match["total_minor"], match["currency"])
    away = show.distance(match["distance_m"])
    lines = [
        f"{title}: {taken} for {paid}, from {giver} to {asker}, {away} away"
        + (f" (score {match['score']:g})" if match.get("score") is not None else "")
    ]
    lines += [f"    {reason['points']:+g} {clean(reason['words'])}" for reason in match["reasons"]]
    suggested = match.get("suggested")
    if suggested is not None and suggested != match["amount"]:
        much = show.amount(suggested, offer["unit"]) if suggested else "nothing"
        lines.append(f"    with all who want the like: {much} of it")
    lines += [f"    fits your {clean(thing)}" for thing in offer.get("fits_yours") or ()]
    if request["own"]:
        step = f"propose {show.short(offer['id'])} --for {show.short(request['id'])}"
        lines.append(f"    take it: {session.line(step)}")
    else:
        lines.append(f"    offer {show.short(offer['id'])}, request {show.short(request['id'])}")
    return lines
