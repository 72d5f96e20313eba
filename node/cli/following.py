"""follow, unfollow: whose chains this node keeps though they are of other places."""

from __future__ import annotations

from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.protocol.errors import UsageError


@command("follow", "passby follow Ben", "passby follow 7f0c2a91", "passby follow --list")
@click.argument("author", required=False, metavar="AUTHOR|NAME|LOT")
@click.option("--list", "listed", is_flag=True, help="Show whom you follow.")
def follow_command(session: Session, *, author: str | None, listed: bool) -> None:
    """Keep an author's chain, wherever it lists.

    A node keeps the chains around its home, and those of its trades. Whoever is followed besides
    is asked for at once, from any neighbour who has it, and heard of from then on. A lot stands
    for whoever lists it. Only your neighbours learn whom you follow.
    """
    if listed or author is None:
        if author is not None:
            raise UsageError("`--list` stands alone.", session.line("follow --list"))
        answer = session.get("/v1/followed")
        session.out(answer, lambda: _lines(session, answer))
        return
    answer = session.post("/v1/followed", {"author": author})
    who = show.who(answer["name"], answer["author"])
    said = f"You follow {who}." if answer["changed"] else f"You follow {who} already."
    session.out(answer, lambda: [said])


@command("unfollow", "passby unfollow Ben")
@click.argument("author", metavar="AUTHOR|NAME|LOT")
def unfollow_command(session: Session, *, author: str) -> None:
    """Follow an author no longer. What is held of its chain stays."""
    answer = session.post("/v1/followed", {"author": author, "follows": False})
    who = show.who(answer["name"], answer["author"])
    session.out(answer, lambda: [f"You no longer follow {who}."])


def _lines(session: Session, answer: dict[str, Any]) -> list[str]:
    rows = [
        [
            clean(found["name"] or "-"),
            show.short(found["author"]),
            f"{found['entries']:,}",
            "behind" if found["behind"] else "in step" if found["entries"] else "awaited",
            show.span((show.now_ms() - found["since_ms"]) / 1000),
        ]
        for found in answer["followed"]
    ]
    if not rows:
        return [f"You follow nobody yet: {session.line('follow')} NAME"]
    return show.table(["name", "author", ">entries", "chain", ">for"], rows, squeeze=0)
