"""What an audit says: counts, findings, and the exit code they amount to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import msgspec

from passby.protocol.limits import FINDINGS_MAX


class AuditExit(IntEnum):
    """Exit codes of an audit; of several, 2 comes before 1 and 1 before 3."""

    CLEAN = 0
    PROVEN = 1
    CORRUPT = 2
    INCOMPLETE = 3
    USAGE = 64
    IO = 74


class Severity(StrEnum):
    """What a finding means for whoever reads it."""

    PROVEN = "misbehaviour proven"
    CORRUPT = "local data corrupt"
    INCOMPLETE = "incomplete"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it should be.

    `author` is the accused where the severity is PROVEN, else whose chain it is about; `seqs`
    and `entries` (ids) are places in it, as far as they are known.
    """

    severity: Severity
    text: str
    author: bytes | None = None
    seqs: tuple[int, ...] = ()
    entries: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Report:
    """The result of an audit.

    Every entry looked at is counted once: `verified` are those that a signature vouches for,
    their own or one that links to them, `unverified` the others. `missing` entries are named
    by the store and not there. Of payloads, `erased` counts those forgotten here on purpose, and
    `unsent` those that never arrived, since whoever sent the entry had none; neither leaves
    anything unproven. `trusted` is history that only witnesses vouch for.
    """

    verified: int = 0
    unverified: int = 0
    trusted: int = 0
    erased: int = 0
    unsent: int = 0
    missing: int = 0
    chains: int = 0
    trades: int = 0
    signatures: int = 0
    findings: list[Finding] = field(default_factory=list)
    unlisted: int = 0
    """Findings beyond FINDINGS_MAX, counted and not kept."""
    _severities: set[Severity] = field(default_factory=set)

    def add(self, finding: Finding) -> None:
        """Keep `finding`, or count it where there are too many to read."""
        self._severities.add(finding.severity)
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)
        else:
            self.unlisted += 1

    @property
    def exit_code(self) -> AuditExit:
        """What `passby audit` exits with."""
        if Severity.CORRUPT in self._severities:
            return AuditExit.CORRUPT
        if Severity.PROVEN in self._severities:
            return AuditExit.PROVEN
        if Severity.INCOMPLETE in self._severities:
            return AuditExit.INCOMPLETE
        return AuditExit.CLEAN
