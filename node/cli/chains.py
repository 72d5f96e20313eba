"""ledger log, heads, show, export: what was said, by whom, in which order."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Group, Session, clean
from passby.protocol.errors import Exit, LocalError, UsageError

ledger_command = Group("ledger", help="Look into the chains that this node keeps.")
ledger_command.examples = ("passby ledger log --limit 5", "passby ledger heads")


@ledger_command.add("log", "passby ledger log --limit 5", "passby ledger log --author 4be1f0")
@click.option("--author", metavar="KEY", help="This chain; your own unless told.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--before", type=click.IntRange(0), metavar="SEQ", help="Only entries before this.")
def ledger_log(session: Session, *, author: str | None, limit: int, before: int | None) -> None:
    """List the entries of a chain, the newest first."""
    if author is not None:
        author = session.identity(author)
    answer = session.get("/v1/ledger/log", author=author, limit=limit, before=before)
    if session.as_json:
        for entry in answer["entries"]:
            session.emit(entry)
        return
    rows = [
        [
            show.moment(entry["at_ms"]),
            show.who(entry.get("author_name"), entry["author"]),
            str(entry["seq"]),
            clean(entry["type_name"]),
            show.short(entry["id"]),
            _subject(entry),
        ]
        for entry in answer["entries"]
    ]
    for line in show.table(["when", "author", ">seq", "type", "id", "about"], rows, squeeze=5):
        click.echo(line)


def _subject(entry: dict[str, Any]) -> str:
    match entry.get("payload"):
        case {"name": str(name)}:
            return clean(name)
        case _ if entry.get("refs"):
            return "-> " + " ".join(_reference(ref) for ref in entry["refs"])
        case _:
            return ""


def _reference(ref: Any) -> str:
    return show.short(ref if isinstance(ref, str) else str(ref.get("id", ref)))


@ledger_command.add("heads", "passby ledger heads")
def ledger_heads(session: Session) -> None:
    """List the chains with the entry each has come to."""
    answer = session.get("/v1/ledger/heads")
    if session.as_json:
        for head in answer["heads"]:
            session.emit(head)
        return
    rows = [
        [
            clean(head.get("name") or "-"),
            show.short(head["author"]),
            str(head["seq"]),
            show.short(head["id"]),
            show.moment(head["at_ms"]),
            "" if head.get("frozen_from") is None else f"forked at #{head['frozen_from']}",
        ]
        for head in answer["heads"]
    ]
    for line in show.table(["name", "author", ">seq", "head", "when", ""], rows, squeeze=0):
        click.echo(line)


@ledger_command.add("show", "passby ledger show 7d21e09b")
@click.argument("entry")
def ledger_show(session: Session, *, entry: str) -> None:
    """Show one entry whole."""
    found = session.get(f"/v1/ledger/entries/{session.identity(entry)}")

    def lines() -> list[str]:
        plain = {key: value for key, value in found.items() if key not in {"payload", "raw"}}
        payload = found.get("payload") or {}
        author = show.who(found.get("author_name"), found["author"])
        at = show.moment(found["at_ms"])
        return [
            f"{clean(found['type_name'])} #{found['seq']} by {author}, {at}",
            *show.facts(
                [(key, _plain(value)) for key, value in plain.items() if value not in (None, [])]
            ),
            *show.facts([(f"payload.{key}", _plain(value)) for key, value in payload.items()]),
        ]

    session.out(found, lines)


def _plain(value: Any) -> str:
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


@ledger_command.add(
    "export", "passby ledger export > chains.ndjson", "passby ledger export --out chains.ndjson"
)
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Into this file instead of stdout; it appears when it is whole.",
)
def ledger_export(session: Session, *, target: Path | None) -> None:
    """Write every record as a line of JSON. For another node, or an archive."""
    if target is None:
        for line in session.client.lines("/v1/ledger/export"):
            click.echo(line)
        return
    count = 0
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with fresh.open("w", encoding="ascii") as file:
            for line in session.client.lines("/v1/ledger/export"):
                file.write(line + "\n")
                count += 1
        fresh.replace(target)
    except OSError as error:
        raise LocalError(
            f"{target} cannot be written: {error.strerror}.", "Choose another file.", Exit.IO
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
    session.out(
        {"file": str(target), "records": count},
        lambda: [f"{show.count(count, 'record')} in {target}."],
    )


@ledger_command.add(
    "prune", "passby ledger prune --dry-run", "passby ledger prune --older-than 90d"
)
@click.option("--older-than", metavar="DAYS", help="Such as 90d; your retention_days unless told.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
def ledger_prune(session: Session, *, older_than: str | None, dry_run: bool) -> None:
    """Let go of others' old history that witnesses vouch for.

    What is needed stays: your chains and those you follow, open lots and trades, disputes,
    proofs. What goes can be had again from its author.
    """
    keep_days = _days(older_than)
    if session.home.daemon_pid() is None:
        answer = _prune_alone(session, keep_days, dry=dry_run)
    else:
        body = {"keep_days": keep_days, "dry_run": dry_run}
        answer = session.post("/v1/ledger/prune", body)

    def lines() -> list[str]:
        rows = [
            [
                show.who(chain["name"], chain["author"]),
                f"{chain['entries']:,}",
                f"{chain['bytes']:,}",
            ]
            for chain in answer["chains"]
        ]
        entries = show.count(answer["entries"], "entry", "entries")
        if not rows:
            return ["Nothing is old enough, and vouched for by enough witnesses."]
        end = "would go" if dry_run else "gone; the room is used for what comes"
        return [
            *show.table(["chain of", ">entries", ">bytes"], rows, squeeze=0),
            f"{entries}, {answer['bytes']:,} bytes {end}.",
        ]

    session.out(answer, lines)


def _days(typed: str | None) -> int | None:
    if typed is None:
        return None
    found = re.fullmatch(r"\s*([1-9][0-9]{0,4})\s*(?:d|days?)?\s*", typed)
    if found is None:
        raise UsageError(f"{typed!r} is no number of days.", 'Write it like "90d".')
    return int(found[1])


def _prune_alone(session: Session, keep_days: int | None, *, dry: bool) -> dict[str, Any]:
    from contextlib import closing

    from passby.ledger.store_sqlite import SqliteStore
    from passby.node.cli.auditing import name_of
    from passby.node.following import Following
    from passby.node.policy_file import PolicyFile
    from passby.node.pruning import DAY_MS, bound, checked_keep_ms, plain_freed, prune_alone
    from passby.protocol.keys import Certificate

    home, now_ms = session.home, show.now_ms()
    days = home.config().retention_days if keep_days is None else keep_days
    before_ms = now_ms - checked_keep_ms(days * DAY_MS)
    policy = PolicyFile(home.policy_path)()
    with home.lock(), closing(SqliteStore(home.database_path)) as store:
        certificate = Certificate.parse(home.certificate)
        own = {certificate.device, *(one.key for one in store.devices(certificate.root))}
        kept = own | bound(store, own, now_ms) | set(Following(home.followed_path).authors())
        freed = prune_alone(store, kept, policy, before_ms, now_ms, dry=dry)
        return plain_freed(freed, lambda author: name_of(store, author), dry=dry)
