"""trade receipt, dispute, and both sides' evidence side by side."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.node.cli.typed import amount_option, in_unit
from passby.protocol.errors import Exit, LocalError, UsageError

COLUMN = 44
"""Characters for each of two sides: both fit a terminal of 92."""


def write_receipt(session: Session, trade: str, path: Path) -> None:
    """Write a trade's receipt as HTML.

    Raises:
        LocalError: the file cannot be written.
    """
    from passby.node.report.receipt import receipt

    found = session.get(f"/v1/trades/{session.identity(trade)}")
    page = receipt(found, show.now_ms(), amount=show.amount, money=show.money)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error.strerror}.", "", Exit.IO) from error
    told = {"id": found["id"], "state": found["state"], "file": str(path)}
    settled = found["state"] == "SETTLED"
    note = "" if settled else f" The trade is {clean(found['state'])}, so it is no receipt yet."
    session.out(told, lambda: [f"Written: {path}.{note}"])


@command("dispute", 'passby dispute 5c77aa01 --amount "400 ml" --text "The bottle had leaked"')
@click.argument("trade")
@click.option("--amount", metavar="AMOUNT", help="What you really got; nothing unless told.")
@click.option("--text", required=True, metavar="TEXT", help="What is wrong, for the other side.")
@click.option("--measure", type=click.Choice(["us", "imperial"]), help="Whose quarts are meant.")
def dispute_command(
    session: Session, *, trade: str, amount: str | None, text: str, measure: str | None
) -> None:
    """Say that less came than was handed over. You sign what you got, and say why."""
    trade = session.identity(trade)
    found = session.get(f"/v1/trades/{trade}")
    legs = [leg for leg in found["legs"] if leg["to"] == 0]
    if found["role"] != "taker" or not legs:
        raise UsageError(
            "Only who should have received the goods disputes how much came.",
            f"Answer with words: {session.line(f'say {trade} TEXT')}",
        )
    leg = legs[0]
    if leg["carries"]:
        raise UsageError(
            "What was carried is counted in the giver's unit.",
            f"Say what came: {session.line(f'receive {trade} --amount AMOUNT')}",
        )
    got = 0
    if amount is not None:
        got = in_unit(amount_option(session, amount, measure), leg["unit"])
    if got == leg["handed_amount"]:
        raise UsageError(
            "That is what was handed over: nothing is in dispute.",
            f"Say that it came: {session.line(f'receive {trade}')}",
        )
    session.post(f"/v1/trades/{trade}/receive", {"amount": got})
    after = session.post(f"/v1/trades/{trade}/say", {"text": text})
    session.out(after, lambda: evidence_lines(after))


def evidence_lines(trade: dict[str, Any]) -> list[str]:
    """Return what each party has signed, side by side, two at a time, and what they say of it."""
    sides: dict[str, list[str]] = {}
    for entry in trade.get("entries", []):
        told = f"{show.moment(entry['at_ms'])} {clean(entry['words'])} [{entry['id'][:8]}]"
        words = f": {clean(entry['text'])}" if entry.get("text") else ""
        sides.setdefault(entry["author"], []).append(told + words)
    for said in trade.get("talk", []):
        if said["kind"] == "say":
            told = f"{show.moment(said['at_ms'])} says: {clean(said['text'])} [{said['id'][:8]}]"
            sides.setdefault(said["author"], []).append(told)
    names = _names(trade)
    keys = sorted(sides, key=lambda key: (key != trade["taker"], key))
    lines = [f"Trade {show.short(trade['id'])} is {clean(trade['state'])}."]
    lines += [_amounts(leg) for leg in trade["legs"]]
    for start in range(0, len(keys), 2):
        pair = keys[start : start + 2]
        columns = [_column(names.get(key), key, sides[key]) for key in pair]
        for row in range(max(map(len, columns))):
            cells = [column[row] if row < len(column) else "" for column in columns]
            lines.append("   ".join(f"{cell:<{COLUMN}}" for cell in cells).rstrip())
    lines += [
        f"  proven: {clean(fault['rule'])}, by {show.short(fault['accused'])}"
        for fault in trade["faults"]
    ]
    if not trade["faults"]:
        lines.append("No rule was broken that these entries could prove: one says this, one that.")
    return lines


def _amounts(leg: dict[str, Any]) -> str:
    said = ("agreed", "amount"), ("handed over", "handed_amount"), ("received", "received_amount")
    told = ", ".join(f"{words} {_size(leg[key], leg)}" for words, key in said)
    return f"  {clean(leg['name'] or 'something')}: {told}" + (
        " (disputed)" if leg["disputed"] else ""
    )


def _column(name: str | None, key: str, told: list[str]) -> list[str]:
    rows = [show.who(name, key)]
    for line in told:
        rows += textwrap.wrap(line, COLUMN, subsequent_indent="  ")
    return rows


def _names(trade: dict[str, Any]) -> dict[str, str | None]:
    names = {trade["taker"]: trade.get("taker_name")}
    return names | {leg["lister"]: leg.get("lister_name") for leg in trade["legs"]}


def _size(value: int | None, leg: dict[str, Any]) -> str:
    if value is None:
        return "nothing said"
    return show.amount(value, leg["unit"]) if leg["unit"] else str(value)
