"""backup and restore: what a person needs again when a device is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, command
from passby.node.cli.words import root_of_words, words_option
from passby.protocol.errors import LocalError


@command("backup", "passby backup anna.backup", "passby backup /media/stick/anna.backup --json")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup_command(session: Session, *, file: Path) -> None:
    """Write what you would miss into FILE, sealed to your 24 words.

    Your choices, the neighbours' addresses and the chains of your devices are in it; no key of
    this device is, so that a restore can never sign in its place. Run it as often as you like,
    beside a running node too.
    """
    from passby.node.backup import Backup, write_backup

    backup = Backup.of(session.home, _neighbours(session), show.now_ms())
    data = backup.seal()
    write_backup(file, data)
    answer = {
        "file": str(file),
        "bytes": len(data),
        "device": backup.device.hex(),
        "root": backup.root.hex(),
        "peers": len(backup.peers),
        "made_at_ms": backup.made_at_ms,
    }
    session.out(
        answer,
        lambda: [
            f"{file}: your choices, {show.count(len(backup.peers), 'neighbour')}, your chains.",
            "Only your 24 words open it; keep them apart from it.",
        ],
    )


def _neighbours(session: Session) -> list[str]:
    """Return the addresses that this node has dialled, where it runs."""
    if session.home.daemon_pid() is None:
        return []
    try:
        peers: list[dict[str, Any]] = session.get("/v1/peers")["peers"]
    except LocalError:
        return []
    dialled = [peer for peer in peers if peer["direction"] == "out"]
    return [
        address if "/p2p/" in address else f"{address}/p2p/{peer['peer_id']}"
        for peer in dialled
        for address in peer["addresses"][:1]
    ]


@command(
    "restore",
    "passby restore anna.backup --home ~/passby-again",
    "passby restore anna.backup --words-file words.txt --json",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@words_option
def restore_command(session: Session, *, file: Path, words_file: Path | None) -> None:
    """Make a new device of yours from a backup and your 24 words.

    It is a device of its own with a chain of its own: the old one's chain comes along to be
    read, and goes on nowhere. Seal the old device if it is lost.
    """
    from passby.node.backup import Backup, read_backup
    from passby.node.home import Home

    Home.refuse_taken(session.path)
    raw = read_backup(file)
    root = root_of_words(session, words_file)
    backup = Backup.open(raw, root)
    home, count = backup.restore(session.path, root, show.now_ms())
    old = backup.device.hex()
    answer = {
        "home": str(home.path),
        "author": home.ledger_key().public.hex(),
        "root": root.public.hex(),
        "replaces": old,
        "entries": count,
        "made_at_ms": backup.made_at_ms,
    }
    session.out(
        answer,
        lambda: [
            f"Your home is {home.path}, a new device of {backup.config.name}.",
            f"From {show.moment(backup.made_at_ms)}: {show.count(count, 'entry', 'entries')}.",
            f"It takes the place of device {show.short(old)}. If that one is lost:",
            f"  {session.line('up --detach')}",
            f"  {session.line(f'device seal {old[:12]}')}",
            "Neighbours may hold later entries of it: wait until they have come, then seal.",
        ],
    )
