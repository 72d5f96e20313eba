"""audit: every chain verified again, from its bytes; needs no daemon and trusts none."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.protocol.errors import Exit, LocalError, RefusedError, UsageError

if TYPE_CHECKING:
    from passby.ledger.audit import Finding, Report, Scope
    from passby.ledger.reader_sqlite import SqliteReader


@command(
    "audit",
    "passby audit",
    "passby audit --trade 5c77aa01",
    "passby audit --author 4be1f0 --signatures --json",
    "passby audit --bundle trade.proof",
)
@click.option("--author", metavar="KEY", help="One chain.")
@click.option("--lot", metavar="LOT", help="The chain that holds a lot.")
@click.option("--trade", metavar="TRADE", help="A trade, with the chains of all who wrote in it.")
@click.option("--all", "everything", is_flag=True, help="All that is held; so unless told.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A file that `passby proof` wrote, by itself; no home is needed.",
)
@click.option("--signatures", is_flag=True, help="Check inner signatures too, not only the heads'.")
def audit_command(
    session: Session,
    *,
    author: str | None,
    lot: str | None,
    trade: str | None,
    everything: bool,
    bundle: Path | None,
    signatures: bool,
) -> int:
    """Verify again, from its bytes, what this node holds.

    Exit codes: 0 clean, 1 misbehaviour proven, 2 local data corrupt, 3 incomplete,
    64 usage, 74 input or output.
    """
    chosen = (author is not None, lot is not None, trade is not None, bundle is not None)
    if sum((*chosen, everything)) > 1:
        raise click.UsageError("Choose one of --author, --lot, --trade, --bundle and --all.")
    if bundle is not None:
        return _audit_bundle(session, bundle)
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

    connection = open_reader(path)
    try:
        with faults(path):
            # One snapshot: the daemon may go on writing.
            connection.execute("BEGIN")
        reader = SqliteReader(path, connection)
        scope = _scope(session, reader, author, lot, trade)
        bar = (
            click.progressbar(length=reader.counts().entries, label="audit", file=sys.stderr)
            if sys.stderr.isatty() and not session.as_json
            else nullcontext(None)
        )
        with bar as progress:
            report = audit(
                reader,
                show.now_ms(),
                scope,
                signatures=signatures,
                progress=progress.update if progress else lambda _: None,
            )
    finally:
        connection.close()
    session.out(_plain(report), lambda: _lines(report))
    return report.exit_code


def _audit_bundle(session: Session, path: Path) -> int:
    from passby.node.cli import proving

    checked = proving.read_bundle(path)
    report = checked.report
    session.out(
        _plain(report) | proving.plain(checked),
        lambda: [*proving.lines(checked), *_lines(report)],
    )
    return report.exit_code


def _scope(
    session: Session, reader: SqliteReader, author: str | None, lot: str | None, trade: str | None
) -> Scope | None:
    from passby.ledger.audit import AuthorScope, LotScope, TradeScope

    try:
        if author is not None:
            prefix = session.identity(author)
            keys = [key for key, _ in reader.heads() if key.hex().startswith(prefix)]
            if len(keys) != 1:
                raise RefusedError(
                    f"{len(keys) or 'No'} chains begin with {author}.",
                    "`passby ledger heads` lists them.",
                )
            return AuthorScope(keys[0])
        for given in (lot, trade):
            if given is not None:
                record = reader.find(session.identity(given))
                if record is None:
                    raise RefusedError(f"No entry {given} is held here.", "Check the id.")
                return LotScope(record.entry.id) if lot else TradeScope(record.entry.id)
    except (UsageError, RefusedError) as error:
        raise LocalError(error.message, error.hint, Exit.AUDIT_USAGE) from error
    return None


def _plain(report: Report) -> dict[str, Any]:
    return {
        "exit": int(report.exit_code),
        "chains": report.chains,
        "entries": report.verified + report.unverified,
        "verified": report.verified,
        "unverified": report.unverified,
        "trusted": report.trusted,
        "erased": report.erased,
        "unsent": report.unsent,
        "missing": report.missing,
        "trades": report.trades,
        "signatures": report.signatures,
        "findings": [_plain_finding(finding) for finding in report.findings],
        "unlisted": report.unlisted,
    }


def _plain_finding(finding: Finding) -> dict[str, Any]:
    return {
        "severity": str(finding.severity),
        "text": finding.text,
        "author": finding.author.hex() if finding.author else None,
        "seqs": list(finding.seqs),
        "entries": [entry.hex() for entry in finding.entries],
    }


_VERDICT = {
    0: "Clean: nothing is altered, oversold or out of order.",
    1: "Misbehaviour is proven; the entries named prove it to anybody.",
    2: "What lies on this disk is not what was written: run passby doctor.",
    3: "Incomplete: not everything needed is held here yet.",
}


def _lines(report: Report) -> list[str]:
    lines = [
        f"{clean(str(finding.severity))}: {clean(finding.text)}"
        + (f", by {show.short(finding.author.hex())}" if finding.author else "")
        + "".join(f" #{seq}" for seq in finding.seqs)
        + "".join(f" {show.short(entry.hex())}" for entry in finding.entries)
        for finding in report.findings
    ]
    if report.unlisted:
        lines.append(f"... and {report.unlisted:,} more.")
    entries = show.count(report.verified + report.unverified, "entry", "entries")
    chains, trades = show.count(report.chains, "chain"), show.count(report.trades, "trade")
    signed = show.count(report.signatures, "signature")
    return [
        *lines,
        f"{entries} in {chains}, {trades}; {report.verified:,} verified by {signed}.",
        _VERDICT.get(report.exit_code, ""),
    ]
