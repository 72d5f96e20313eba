"""peers, join, invite, vouch: whom this node is connected with, and whom it answers for."""

from __future__ import annotations

import sys
from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.protocol.errors import UsageError


@command("peers", "passby peers")
def peers_command(session: Session) -> None:
    """List the neighbours this node is connected with."""
    answer = session.get("/v1/peers")

    def lines() -> list[str]:
        rows = [
            [
                clean(peer.get("name") or "-"),
                clean(peer["peer_id"]),
                clean(peer["direction"]),
                show.span((show.now_ms() - peer["since_ms"]) / 1000),
                "-" if peer["rtt_ms"] is None else f"{peer['rtt_ms']:.0f} ms",
                _in_step(peer),
            ]
            for peer in answer["peers"]
        ]
        known = answer.get("known") or []
        if not rows:
            waiting = f" {show.count(len(known), 'address', 'addresses')} to try again." * bool(
                known
            )
            return [f"No neighbours yet.{waiting} Call one: {session.line('join')} ADDRESS"]
        return show.table(["name", "peer", "way", ">for", ">round trip", "sync"], rows, squeeze=0)

    session.out(answer, lines)


def _in_step(peer: dict[str, Any]) -> str:
    behind = peer.get("chains_behind") or 0
    if behind:
        return f"{show.count(behind, 'chain')} behind"
    return "in step" if peer.get("synced") else "starting"


@command(
    "join",
    "passby join passby://join/gqJ0b...",
    "passby join /ip4/192.0.2.7/tcp/4411/p2p/12D3KooW...",
)
@click.argument("address")
def join_command(session: Session, *, address: str) -> None:
    """Connect with a neighbour, now and after every restart."""
    answer = session.post("/v1/join", {"address": address})
    _remember(session, address)
    note = [clean(answer["note"])] if answer.get("note") else []
    session.out(answer, lambda: [f"Connected with {clean(answer['peer_id'])}.", *note])


def _remember(session: Session, address: str) -> None:
    """Add what was joined to the addresses that the node calls at its start."""
    from passby.node.cli.setup import change
    from passby.node.config import BOOTSTRAP_MAX
    from passby.node.invite import Invite

    known = session.home.config().bootstrap
    joined = Invite.parse(address).addresses if Invite.is_link(address) else (address.strip(),)
    kept = list(dict.fromkeys((*known, *joined)))
    if len(kept) > BOOTSTRAP_MAX:
        session.note("  Not kept for the next start: config.toml holds enough addresses.")
    elif len(kept) > len(known):
        change(session, "bootstrap", ",".join(kept))


@command("invite", "passby invite", "passby invite --json")
@click.option("--no-qr", "plain", is_flag=True, help="Only the link.")
def invite_command(session: Session, *, plain: bool) -> None:
    """Show the link with which a neighbour joins you. On a terminal, its QR code too."""
    answer = session.get("/v1/invite")
    link = clean(answer["link"])
    session.out(answer, lambda: [link])
    if sys.stdout.isatty() and not session.as_json and not plain:
        import segno

        segno.make(link, error="l").terminal(compact=True)
        click.echo(f"Your neighbour types: passby join {link}", err=True)


@command("vouch", "passby vouch Ben", "passby vouch 4be1f0a2 --off", "passby vouch --list")
@click.argument("author", required=False, metavar="AUTHOR|NAME")
@click.option("--off", is_flag=True, help="Take the vouch back.")
@click.option("--list", "listed", is_flag=True, help="Show for whom you vouch.")
def vouch_command(session: Session, *, author: str | None, off: bool, listed: bool) -> None:
    """Answer for an author, so that more of its chain is taken.

    It is taken by your node, and by those who trust you. Of strangers a node takes little, and
    all of them share one small room, since anybody can make any number of keys. Joining by
    invite vouches both ways by itself. Your vouch is public, and whoever you vouch for shares in
    the trust that others have in you.
    """
    if listed or author is None:
        if author is not None or off:
            raise UsageError("`--list` stands alone.", session.line("vouch --list"))
        answer = session.get("/v1/vouches")
        session.out(answer, lambda: _vouch_lines(session, answer))
        return
    answer = session.post("/v1/vouches", {"author": author, "stands": not off})
    who = show.who(answer["name"], answer["author"])
    said = f"You vouch for {who}." if answer["stands"] else f"You no longer vouch for {who}."
    session.out(answer, lambda: [said])


def _vouch_lines(session: Session, answer: dict[str, Any]) -> list[str]:
    rows = [
        [
            clean(found["name"] or "-"),
            show.short(found["author"]),
            "all" if found["entries_taken"] is None else f"{found['entries_taken']:,}",
            whose,
        ]
        for whose, part in (("you", "given"), ("others", "by_others"))
        for found in answer[part]
    ]
    strangers = answer["strangers"]
    crowd = f"{show.count(strangers['authors'], 'stranger')}, {strangers['bytes'] / 2**20:.1f} MiB."
    if not rows:
        return [f"You vouch for nobody yet: {session.line('vouch')} NAME", crowd]
    table = show.table(["name", "author", ">entries taken", "vouched for by"], rows, squeeze=0)
    return [*table, crowd]


@command("reputation", "passby reputation Ben", "passby reputation 4be1f0a2 --json")
@click.argument("author", metavar="AUTHOR|NAME")
def reputation_command(session: Session, *, author: str) -> None:
    """Show with whom an author has traded to the end.

    And how far you trust it for that. Only fulfilled trades count, by how many different people
    they were with; whoever you have traded with hands on half the trust you have in them.
    """
    answer = session.get("/v1/reputation", author=author)
    session.out(answer, lambda: _reputation_lines(answer))


def _reputation_lines(answer: dict[str, Any]) -> list[str]:
    who = show.who(answer["name"], answer["author"])
    false = [f"{who} is proven false: it showed two histories."] if answer["frozen"] else []
    if not answer["partners"]:
        return [*false, f"No fulfilled trade of {who} is known here."]
    steps = answer["steps"]
    ways = ", ".join(show.who(way["name"], way["author"]) for way in answer["through"])
    reached = (
        "you know nobody who has traded with them"
        if steps is None
        else "you have traded with them, or vouch for them"
        if steps == 1
        else f"{steps} steps away, by way of {ways}"
    )
    rows = [
        [
            "you" if partner["you"] else show.who(partner["name"], partner["author"]),
            str(partner["trades"]),
            show.moment(partner["first_ms"]),
            show.moment(partner["last_ms"]),
            "-" if partner["you"] else f"{partner['trust']:.0%}",
        ]
        for partner in answer["partners"]
    ]
    trades = show.count(answer["trades"], "fulfilled trade")
    others = show.count(answer["counterparties"], "counterparty", "counterparties")
    told = (f"{who}: trusted {answer['trust']:.0%}; {reached}.", f"{trades} with {others}:")
    table = show.table(["with", ">trades", "first", "last", ">trusted"], rows, squeeze=0)
    return [*false, *told, *table]
