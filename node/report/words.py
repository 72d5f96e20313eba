"""What an audit found, in plain words and as plain data."""

from __future__ import annotations

from typing import Any, Final

from passby.ledger.audit import (
    AllScope,
    AuthorScope,
    Finding,
    ItemScope,
    LotScope,
    Report,
    Scope,
    TradeScope,
)

VERDICT: Final = {
    0: "Clean: nothing is altered, oversold or out of order.",
    1: "Misbehaviour is proven; the entries named prove it to anybody.",
    2: "What lies on this disk is not what was written: run passby doctor.",
    3: "Incomplete: not everything needed is held here yet.",
}
"""By exit code."""


def plain(report: Report, scope: Scope | None = None) -> dict[str, Any]:
    """Return a report as JSON has it; docs/COMMANDS.md describes each key."""
    kind, subject = scope_of(scope)
    return {
        "exit": int(report.exit_code),
        "scope": kind,
        "subject": subject.hex() if subject else None,
        "chains": report.chains,
        "entries": report.verified + report.unverified,
        "verified": report.verified,
        "unverified": report.unverified,
        "trusted": report.trusted,
        "on_word": report.on_word,
        "erased": report.erased,
        "unsent": report.unsent,
        "missing": report.missing,
        "named": report.named,
        "trades": report.trades,
        "handovers": report.handovers,
        "secrets": report.secrets,
        "signatures": report.signatures,
        "checkpoints": report.checkpoints,
        "cosigned": report.cosigned,
        "statements": report.statements,
        "seals": report.seals,
        "heals": report.heals,
        "root_words": [
            {
                "author": word.author.hex(),
                "sealed_at": word.sealed_at,
                "healed_at": word.healed_at,
                "kept": word.kept.hex() if word.kept else None,
                "above": word.above,
                "obliged": word.obliged,
            }
            for word in report.root_words
        ],
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


def scope_of(scope: Scope | None) -> tuple[str, bytes | None]:
    """Return what an audit looked at: its kind, and the id or key that names it."""
    match scope:
        case None | AllScope():
            return "all", None
        case AuthorScope(author=author):
            return "author", author
        case LotScope(offer_id=offer_id):
            return "lot", offer_id
        case TradeScope(propose_id=propose_id):
            return "trade", propose_id
        case ItemScope(item_id=item_id):
            return "item", item_id


def counted(report: Report) -> list[str]:
    """Return sentences with the counts, only those that say something."""
    entries = _count(report.verified + report.unverified, "entry", "entries")
    chains, trades = _count(report.chains, "chain"), _count(report.trades, "trade")
    signed = _count(report.signatures, "signature")
    lines = [f"{entries} in {chains}, {trades}; {report.verified:,} verified by {signed}."]
    if report.named:
        lines.append(f"{_count(report.named, 'entry names', 'entries name')} what was asked for.")
    if report.handovers:
        lines.append(
            f"{_count(report.handovers, 'hand-over')}, {report.secrets:,} with the receiver's"
            " secret."
        )
    if report.checkpoints:
        held = _count(report.checkpoints, "checkpoint")
        lines.append(f"{held}, {report.cosigned:,} cosigned as the policy asks.")
    if report.statements:
        said, sealed = _count(report.statements, "root statement"), _count(report.seals, "chain")
        lines.append(f"{said}: {sealed} sealed, {report.heals:,} healed.")
    apart = {
        "trusted through witnesses": report.trusted,
        "resting on their author's word alone": report.on_word,
        "erased": report.erased,
        "whose payload never came": report.unsent,
        "missing": report.missing,
        "unverified": report.unverified,
    }
    shown = ", ".join(f"{number:,} {what}" for what, number in apart.items() if number)
    return [*lines, f"Counted apart: {shown}."] if shown else lines


def sealed_and_healed(report: Report) -> list[tuple[bytes, str]]:
    """Return, for each chain that its root sealed or healed, what that means."""
    said: list[tuple[bytes, str]] = []
    for word in report.root_words:
        if word.sealed_at is not None:
            text = f"sealed behind entry {word.sealed_at}"
            if word.above:
                text += f"; {word.above:,} above it, {word.obliged:,} of them relied on by others"
            said.append((word.author, text))
        if word.healed_at is not None:
            kept = word.kept.hex()[:8] if word.kept else "a branch"
            said.append((word.author, f"healed at entry {word.healed_at}, where {kept} is kept"))
    return said


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
