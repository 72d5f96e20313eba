"""ride and commute: own ways, and what lies beside them."""

from __future__ import annotations

import csv
import gzip
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.node.zone import local_zone
from passby.protocol.errors import UsageError

VEHICLES = ("foot", "bicycle", "car")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


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


@command("commute", "passby commute --learn tracks.csv", "passby commute")
@click.option(
    "--learn",
    "track",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Recorded trips: CSV with trip, lat, lon and time, also gzipped.",
)
@click.option("--forget", is_flag=True, help="Forget all habits.")
def commute_command(session: Session, *, track: Path | None, forget: bool) -> None:
    """Show the ways you make again and again. They become rides; nobody hears of them."""
    if track is not None or forget:
        trips = list(_trips(track).values()) if track is not None else []
        answer = session.post("/v1/commutes", {"trips": trips})
    else:
        answer = session.get("/v1/commutes")
    session.out(answer, lambda: _commute_lines(session, answer["commutes"]))


def _commute_lines(session: Session, commutes: list[dict[str, Any]]) -> list[str]:
    if not commutes:
        return [f"No habits are known: {session.line('commute --learn tracks.csv')}"]
    rows = [
        [
            f"{commute['minute'] // 60:02}:{commute['minute'] % 60:02}",
            " ".join(_DAYS[day] for day in commute["weekdays"]),
            str(commute["trips"]),
            ",".join(f"{degrees:.3f}" for degrees in commute["from"]),
            ",".join(f"{degrees:.3f}" for degrees in commute["to"]),
        ]
        for commute in commutes
    ]
    return show.table(["at", "on", ">trips", "from", "to"], rows)


def _fixes(path: Path) -> list[list[float | int]]:
    """Return all fixes of a track; see `_trips`."""
    return [fix for trip in _trips(path).values() for fix in trip]


def _trips(path: Path) -> dict[str, list[list[float | int]]]:
    """Return the fixes of each trip of a CSV file with lat, lon, time (ISO 8601), maybe trip.

    Raises:
        UsageError: another sort of file.
    """
    found: dict[str, list[list[float | int]]] = {}
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                at_ms = int(datetime.fromisoformat(row["time"]).timestamp() * 1000)
                fix = [float(row["lat"]), float(row["lon"]), at_ms]
                found.setdefault(row.get("trip") or "", []).append(fix)
    except (KeyError, ValueError, TypeError, csv.Error, OSError, EOFError) as error:
        reason = f"the column {error} is missing" if isinstance(error, KeyError) else error
        raise UsageError(
            f"{path} is no track: {reason}.",
            "A track is CSV with the columns lat, lon and time (2026-11-22T17:40:00+01:00).",
        ) from error
    return found


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
