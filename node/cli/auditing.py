"""audit: every chain verified again, from its bytes; needs no daemon and trusts none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.protocol.errors import (
    DamagedError,
    Exit,
    LocalError,
    RefusedError,
    RemoteError,
    UsageError,
)

if TYPE_CHECKING:
    from passby.ledger.audit import Report, Scope
    from passby.ledger.policy import Policy
    from passby.ledger.reader_sqlite import SqliteReader
    from passby.node.report.traces import Traced
    from passby.protocol.entry import Record


@command(
    "audit",
    "passby audit",
    "passby audit --trade 5c77aa01",
    "passby audit --author Anna --signatures --json",
    "passby audit --html audit.html",
    "passby audit --bundle trade.proof",
)
@click.option("--author", metavar="NAME|KEY", help="One chain.")
@click.option("--lot", metavar="LOT", help="The chain that holds a lot.")
@click.option("--trade", metavar="TRADE", help="A trade, with the chains of all who wrote in it.")
@click.option("--item", metavar="ITEM", help="All entries that name an item, with their chains.")
@click.option("--all", "everything", is_flag=True, help="All that is held; so unless told.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A file that `passby proof` wrote, by itself; no home is needed.",
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Whose cosignatures make pruned history trusted; your policy.txt unless told.",
)
@click.option("--signatures", is_flag=True, help="Check inner signatures too, not only the heads'.")
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page too, with the chains drawn; it needs nothing but a browser.",
)
@click.option("--force", is_flag=True, help="Write over the page if there is one.")
@click.option("--quiet", is_flag=True, help="Print nothing: the exit code tells.")
def audit_command(
    session: Session,
    *,
    author: str | None,
    lot: str | None,
    trade: str | None,
    item: str | None,
    everything: bool,
    bundle: Path | None,
    policy_file: Path | None,
    signatures: bool,
    page: Path | None,
    force: bool,
    quiet: bool,
) -> int:
    """Verify again, from its bytes, what this node holds.

    Exit codes: 0 clean, 1 misbehaviour proven, 2 local data corrupt, 3 incomplete,
    64 usage, 74 input or output, 78 no home, or a policy that cannot be read.
    """
    given = {"author": author, "lot": lot, "trade": trade, "item": item}
    named = [(kind, text) for kind, text in given.items() if text is not None]
    if len(named) + (bundle is not None) + everything > 1:
        raise click.UsageError(
            "Choose one of --author, --lot, --trade, --item, --bundle and --all."
        )
    if quiet and session.as_json:
        raise click.UsageError("Choose one of --quiet and --json.")
    if page is not None and page.exists() and not force:
        # Before the work, not after it.
        raise click.UsageError(f"{page} is there already: choose another name, or give --force.")
    if bundle is not None:
        return _audit_bundle(session, bundle, page, quiet=quiet)
    path = session.home.database_path
    if not path.exists():
        raise LocalError(
            f"There is no ledger in {session.path} yet.",
            f"The first `{session.line('up')}` makes it.",
            Exit.IO,
        )
    from passby.ledger.audit import audit
    from passby.ledger.reader_sqlite import SqliteReader
    from passby.ledger.schema import faults, open_reader
    from passby.node.report import words

    now_ms = show.now_ms()
    policy = _policy(policy_file or session.home.policy_path, told=policy_file is not None)
    try:
        connection = open_reader(path)
    except DamagedError as error:
        raise _damaged(error) from error
    try:
        with faults(path):
            # One snapshot: the daemon may go on writing.
            connection.execute("BEGIN")
        reader = SqliteReader(path, connection)
        scope = _scope(session, reader, *named[0]) if named else None
        total = None if scope else _count(reader)
        watched = sys.stderr.isatty() and not session.as_json and not quiet
        with _progress(total, watched=watched) as progress:
            report = audit(
                reader, now_ms, scope, signatures=signatures, policy=policy, progress=progress
            )
        traced = None
        if page is not None:
            from passby.node.report.traces import trace_store

            traced = trace_store(reader, report, lambda author: _pruned(reader, author))
    except DamagedError as error:
        raise _damaged(error) from error
    finally:
        connection.close()
    if not quiet:
        session.out(words.plain(report, scope), lambda: _lines(report))
    if page is not None and traced is not None:
        kind, subject = words.scope_of(scope)
        about = "everything held" if subject is None else f"{kind} {subject.hex()[:8]}"
        _write_page(page, report, traced, about, now_ms)
    return report.exit_code


def _policy(path: Path, *, told: bool) -> Policy | None:
    from passby.ledger.policy import parse_policy
    from passby.node.policy_file import read_policy

    try:
        return parse_policy(read_policy(path))
    except FileNotFoundError:
        if not told:
            return None
        raise LocalError(f"There is no {path}.", "Name the policy's file.", Exit.IO) from None


def _pruned(reader: SqliteReader, author: bytes) -> list[tuple[int, int]]:
    from passby.ledger.tree import BLOCK

    try:
        return [(last - BLOCK + 1, last) for last in sorted(reader.pruned(author).blocks)]
    except DamagedError:
        # The audit has said so.
        return []


def _audit_bundle(session: Session, path: Path, page: Path | None, *, quiet: bool) -> int:
    from passby.node.cli import proving
    from passby.node.report import words

    checked = proving.read_bundle(path)
    report = checked.report
    if not quiet:
        session.out(
            words.plain(report) | {"scope": "bundle"} | proving.plain(checked),
            lambda: [*proving.lines(checked), *_lines(report)],
        )
    if page is not None:
        from passby.node.report.traces import trace_bundle

        bundle = checked.bundle
        about = f"a bundle about {bundle.about.name.lower()} {bundle.subject.hex()[:8]}"
        traced = trace_bundle(bundle, report)
        _write_page(page, report, traced, about, show.now_ms(), bundle=True)
    return report.exit_code


def _damaged(error: DamagedError) -> LocalError:
    """Return the error of a ledger too damaged to be audited: an audit's 2, and no other's."""
    return LocalError(error.message, error.hint, Exit.USAGE)


def _count(reader: SqliteReader) -> int | None:
    """Return how much there is to look at, None where even that is damaged."""
    try:
        return reader.counts().entries
    except DamagedError:
        return None


def _write_page(
    path: Path, report: Report, traced: Traced, about: str, now_ms: int, *, bundle: bool = False
) -> None:
    from passby.node.report.page import page

    text = page(report, traced, about=about, now_ms=now_ms, bundle=bundle)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LocalError(
            f"{path} cannot be written: {error.strerror}.", "Choose another place.", Exit.IO
        ) from error


@contextmanager
def _progress(total: int | None, *, watched: bool) -> Iterator[Callable[[int], None]]:
    """Show how far an audit is, on a terminal; give what it is to be told by."""
    if not watched:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("audit", total=total)
        yield lambda entries: bar.advance(task, entries)


# --- what to look at -----------------------------------------------------------------------


def _scope(session: Session, reader: SqliteReader, kind: str, text: str) -> Scope:
    from passby.ledger import audit
    from passby.protocol.types import TRADE_TYPES, EntryType

    try:
        if kind == "author":
            return audit.AuthorScope(_author(reader, text))
        prefix = session.identity(text)
        record = reader.find(prefix)
        if kind == "item":
            return audit.ItemScope(_item(prefix, record))
        if record is None:
            raise RefusedError(f"No entry {text} is held here.", "Check the id.")
        entry = record.entry
        if kind == "lot":
            if entry.body.type != EntryType.OFFER:
                raise RefusedError(f"{text} is no lot.", "Give the id of an offer.")
            return audit.LotScope(entry.id)
        if entry.body.type not in TRADE_TYPES:
            raise RefusedError(f"{text} is no trade.", "Give the id of a propose.")
        is_propose = entry.body.type == EntryType.PROPOSE
        return audit.TradeScope(entry.id if is_propose else entry.body.refs[0])
    except (UsageError, RefusedError) as error:
        raise LocalError(error.message, error.hint, Exit.AUDIT_USAGE) from error


def _item(prefix: str, record: Record | None) -> bytes:
    if record is not None:
        return record.entry.id
    # What names an item may be held without the entry that made it.
    if len(prefix) != 64:  # the hex digits of an id
        raise RefusedError(f"No entry {prefix} is held here.", "Give the whole id of the item.")
    return bytes.fromhex(prefix)


def _author(reader: SqliteReader, text: str) -> bytes:
    """Return the key that begins with `text`, or whose chain opens with it as a name."""
    authors = [author for author, _ in reader.heads()]
    prefix = text.strip().lower().rstrip("…")
    keys = [
        key for key in authors if len(prefix) >= show.PREFIX_MIN and key.hex().startswith(prefix)
    ]
    if not keys:
        wanted = text.strip().casefold()
        keys = [key for key in authors if (name_of(reader, key) or "").casefold() == wanted]
    if len(keys) == 1:
        return keys[0]
    if keys:
        several = ", ".join(show.short(key.hex()) for key in keys[:8])
        raise RefusedError(f"{len(keys)} chains answer to {text}.", f"Give the key: {several}.")
    raise RefusedError(f"No chain answers to {text}.", "`passby ledger heads` lists them.")


def name_of(reader: SqliteReader, author: bytes) -> str | None:
    """Return the name that a chain opens with, which nobody vouches for."""
    from passby.protocol.payloads import Genesis, decode_payload

    try:
        record = reader.record_at(author, 1)
        if record is None or record.payload is None:
            return None
        return decode_payload(record.payload, Genesis).name
    except (DamagedError, RemoteError):
        return None


# --- what was found ------------------------------------------------------------------------


def _lines(report: Report) -> list[str]:
    from passby.node.report import words

    lines = [
        f"{clean(str(finding.severity))}: {clean(finding.text)}"
        + (f", by {show.short(finding.author.hex())}" if finding.author else "")
        + "".join(f" #{seq}" for seq in finding.seqs)
        + "".join(f" {show.short(entry.hex())}" for entry in finding.entries)
        for finding in report.findings
    ]
    lines += [
        f"{show.short(author.hex())}: {text}." for author, text in words.sealed_and_healed(report)
    ]
    if report.unlisted:
        lines.append(f"... and {report.unlisted:,} more.")
    return [*lines, *words.counted(report), words.VERDICT[report.exit_code]]
