"""say: words between the parties of a trade, beside the ledger."""

from __future__ import annotations

from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command

_STATES = {"waiting": " (not delivered yet)", "refused": " (not delivered)", "in": "", "sent": ""}


@command("say", 'passby say 5c77aa01 "I am at the gate"')
@click.argument("trade")
@click.argument("text")
def say_command(session: Session, *, trade: str, text: str) -> None:
    """Say something to the other side of a trade. Sealed; it waits until they are awake."""
    answer = session.post(f"/v1/trades/{session.identity(trade)}/say", {"text": text})
    session.out(answer, lambda: talk_lines(answer["talk"]))


def talk_lines(talk: list[dict[str, Any]]) -> list[str]:
    """Return what was said, a line each, as people read it."""
    lines = []
    for said in talk:
        author = show.who(said.get("author_name"), said["author"])
        state = _STATES.get(said["state"], "")
        words = clean(_words(said))
        lines.append(f"  {show.moment(said['at_ms'])}  {author}{state}: {words}")
    return lines


def payment_lines(payments: list[dict[str, Any]]) -> list[str]:
    """Return how to pay, with the code that a bank's app reads."""
    lines = []
    for payment in payments:
        owed = show.money(payment["total_minor"], payment["currency"])
        account = f", {payment['iban']}" if payment["iban"] else ""
        lines.append(f"  pay {owed} to {clean(payment['name'])}{clean(account)}")
        if payment["epc"]:
            lines += _code(payment["epc"])
    return lines


def _code(text: str) -> list[str]:
    """Return a QR code of half blocks; nothing where nobody looks at a terminal."""
    import io
    import sys

    if not sys.stdout.isatty():
        return []
    import segno

    drawn = io.StringIO()
    segno.make(text, error="m").terminal(drawn, compact=True)
    return drawn.getvalue().splitlines()


def _words(said: dict[str, Any]) -> str:
    match said["kind"]:
        case "place":
            return f"come to {said['text']}"
        case "payment":
            return f"pay to {said['name']} {said.get('iban') or said.get('text') or ''}".rstrip()
        case _:
            return str(said.get("text") or "")
