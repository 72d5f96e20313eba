"""erase: forget what an entry says, for good, on this machine."""

from __future__ import annotations

from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.protocol.errors import Exit, UsageError


@command("erase", "passby erase 7d21e09b", "passby erase 7d21e09b --yes --json")
@click.argument("entry")
@click.option("--yes", is_flag=True, help="Do not ask; it cannot be taken back.")
def erase_command(session: Session, *, entry: str, yes: bool) -> int:
    """Forget for good what an entry says.

    It may be your own or a copy of somebody else's. The entry itself stays, and the chain
    verifies as before; what it said is overwritten here, is never taken from anybody again and
    never given away. Copies that others hold are theirs.
    """
    found = session.get(f"/v1/ledger/entries/{session.identity(entry)}")
    if not yes and not _agreed(session, found):
        return Exit.REFUSED
    answer = session.post(f"/v1/ledger/entries/{found['id']}/erase")
    session.out(
        answer,
        lambda: [
            f"What entry {show.short(answer['id'])} said is erased here, for good.",
            *(["Others who got it before may still hold it."] if answer["own"] else []),
        ],
    )
    return Exit.DONE


def _agreed(session: Session, found: dict[str, Any]) -> bool:
    what = f"{clean(found['type_name'])} #{found['seq']}"
    if not session.can_ask:
        raise UsageError(
            f"Whether to erase what {what} says cannot be asked here.",
            "Add --yes; it cannot be taken back.",
        )
    return click.confirm(f"Erase what {what} says, for good?")
