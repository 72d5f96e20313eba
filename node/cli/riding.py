"""ride: own ways, and what lies beside them."""

from __future__ import annotations

import csv
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.node.cli.typed import local_zone
from passby.protocol.errors import UsageError

VEHICLES = ("foot", "bicycle", "car")


@command(
    "ride",
    "passby ride --from 52.37,4.88 --to 52.31,4.94 --at 17:40",
    "passby ride --from home --to 52.31,4.94 --via 52.34,4.91 --by bicycle --detour 8",
    "passby ride",
)
@click.option("--from", "start", metavar="PLACE", help="latitude,longitude, a cell, or home.")
@click.option("--to", "goal", metavar="PLACE", help="Likewise.")
@click.option("--via", multiple=True, metavar="PLACE", help="By way of; in their order.")
@click.option("--at", "when", metavar="TIME", help='When it begins: "17:40"; now.')
@click.option(
    "--track",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A recorded way: CSV with lat, lon and time.",
)
@click.option("--by", "vehicle", type=click.Choice(VEHICLES), default="car", show_default=True)
@click.option(
    "--detour",
    type=click.IntRange(0, 120),
    default=5,
    show_default=True,
    metavar="MINUTES",
    help="What a stop may cost.",
)
@click.option("--category", metavar="PATH", help="Only stops for this.")
@click.option("--stop", "end", metavar="ID", help="Forget a ride.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
def ride_command(
    session: Session,
    *,
    start: str | None,
    goal: str | None,
    via: tuple[str, ...],
    when: str | None,
    track: Path | None,
    vehicle: str,
    detour: int,
    category: str | None,
    end: str | None,
    limit: int,
) -> None:
    """Show what lies beside your way. No neighbour hears of it; without options, all your rides."""
    if end is not None:
        stopped = session.post(f"/v1/rides/{_ride_id(end)}/stop")
        session.out(stopped, lambda: [f"Ride {stopped['id']} is forgotten."])
        return
    if start is None and goal is None and track is None:
        answer = session.get("/v1/rides", limit=limit)
        session.out(answer, lambda: _ride_lines(session, answer["rides"]))
        return
    body: dict[str, Any] = {"vehicle": vehicle, "limit_s": detour * 60, "category": category}
    if track is not None:
        body["track"] = _fixes(track)
    else:
        if start is None or goal is None:
            raise UsageError("A ride has two ends.", "Give both --from and --to.")
        body["places"] = [_place(session, text) for text in (start, *via, goal)]
        body["depart_ms"] = _depart_ms(when)
    ride = session.post("/v1/rides", body)
    session.out(ride, lambda: _ride_lines(session, [ride]))


def _ride_id(text: str) -> str:
    plain = text.strip().lower()
    if not plain.isalnum():
        raise UsageError(f"{text!r} is no ride.", "`passby ride` lists them.")
    return plain


def _depart_ms(when: str | None) -> int:
    from passby.node.times import parse_moment

    now_ms = time.time_ns() // 1_000_000
    return now_ms if when is None else parse_moment(when, now_ms, local_zone())


def _place(session: Session, text: str) -> list[float]:
    """Return latitude and longitude, as exact as they were typed: they go no farther than home.

    Raises:
        UsageError: no place.
    """
    from passby.geo.cells import centre_of, parse_cell, parse_place

    if text.strip().lower() == "home":
        return list(centre_of(parse_cell(session.home.config().cell)))
    cell = parse_place(text)
    try:
        latitude, longitude = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        return list(centre_of(cell))
    return [latitude, longitude]


def _fixes(path: Path) -> list[list[float | int]]:
    """Return the fixes of a CSV file with lat, lon and time (ISO 8601) in its head.

    Raises:
        UsageError: another sort of file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            return [
                [
                    float(row["lat"]),
                    float(row["lon"]),
                    int(datetime.fromisoformat(row["time"]).timestamp() * 1000),
                ]
                for row in csv.DictReader(lines)
            ]
    except (KeyError, ValueError, TypeError, csv.Error, OSError) as error:
        raise UsageError(
            f"{path} is no track: {error}.",
            "A track is CSV with the columns lat, lon and time (2026-11-22T17:40:00+01:00).",
        ) from error


def _ride_lines(session: Session, rides: list[dict[str, Any]]) -> list[str]:
    if not rides:
        first = "ride --from home --to 52.31,4.94 --at 17:40"
        return [f"No rides are planned: {session.line(first)}"]
    return [line for ride in rides for line in _lines_of(session, ride)]


def _lines_of(session: Session, ride: dict[str, Any]) -> list[str]:
    title = click.style(f"Ride {ride['id']}", bold=True)
    span = f"{show.moment(ride['from_ms'])} to {show.moment(ride['until_ms'])}"
    lines = [f"{title} by {ride['vehicle']}, {span}, detours up to {ride['limit_s'] // 60} min"]
    if not ride["stops"]:
        return [*lines, "  Nothing lies beside this way yet; new lots are told as they come."]
    rows = [
        [
            show.short(stop["lot"]["id"]),
            clean(stop["lot"]["name"] or "?"),
            show.price(stop["lot"]["price"], stop["lot"]["unit"]),
            show.who(stop["lot"].get("author_name"), stop["lot"]["author"]),
            f"{-(-stop['detour_s'] // 60)} min",
            show.moment(stop["passing_ms"]),
            f"{stop['likelihood']:.0%}",
        ]
        for stop in ride["stops"]
    ]
    head = ["id", "what", "price", "by", ">detour", "passing", ">likely"]
    lines += show.table(head, rows, squeeze=1)
    first = show.short(ride["stops"][0]["lot"]["id"])
    return [*lines, f"  take one: {session.line(f'propose {first}')}"]
