"""What an audit says: counts, findings, and the exit code they amount to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import msgspec

from passby.protocol.limits import FINDINGS_MAX, NOTES_MAX


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
    NOTED = "worth knowing"
    """Nobody's fault and nothing lost; it leaves the exit code as it is."""


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


class RootWord(msgspec.Struct, frozen=True):
    """What a root's statements do to a device's chain.

    `sealed_at` and `healed_at` are the seqs that seal and heal name, `kept` the id of the branch
    that a heal keeps. Of the entries held `above` a seal, `obliged` stand by themselves, since
    another person relies on them.
    """

    author: bytes
    sealed_at: int | None = None
    healed_at: int | None = None
    kept: bytes | None = None
    above: int = 0
    obliged: int = 0


@dataclass(slots=True)
class Report:
    """The result of an audit.

    Every entry looked at is counted once: `verified` are those that a signature vouches for,
    their own or one that links to them, `unverified` the others. `missing` entries are named
    by the store and not there. Of payloads, `erased` counts those forgotten here on purpose, and
    `unsent` those that never arrived, since whoever sent the entry had none; neither leaves
    anything unproven. Of what was pruned, `trusted` is history that witnesses vouch for, as many as
    the policy asks for, and `on_word` what rests on a checkpoint of its author alone.

    `checkpoints` are those whose root came out again from what is held; of them, `cosigned` have
    the witnesses that the policy asks for.

    `statements` are root statements, each with its signature; `seals` and `heals` the chains
    that one of them seals or heals, of which `root_words` lists ROOT_WORDS_MAX. Of the
    hand-overs, returns too, `secrets` revealed what opens the receiver's hash; the others
    show no custody. `named` are entries that refer to what was asked for.
    """

    verified: int = 0
    unverified: int = 0
    trusted: int = 0
    on_word: int = 0
    erased: int = 0
    unsent: int = 0
    missing: int = 0
    chains: int = 0
    trades: int = 0
    signatures: int = 0
    checkpoints: int = 0
    cosigned: int = 0
    statements: int = 0
    seals: int = 0
    heals: int = 0
    root_words: list[RootWord] = field(default_factory=list)
    handovers: int = 0
    secrets: int = 0
    named: int = 0
    authors: list[bytes] = field(default_factory=list)
    """Whose chains and proofs were looked at."""
    findings: list[Finding] = field(default_factory=list)
    unlisted: int = 0
    """Findings beyond FINDINGS_MAX or NOTES_MAX, counted and not kept."""
    _severities: Counter[Severity] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Keep `finding`, or count it where there are too many to read."""
        self._severities[finding.severity] += 1
        noted = self._severities[Severity.NOTED]
        if finding.severity is Severity.NOTED:
            keep = noted <= NOTES_MAX
        else:
            # What anybody can cause by the thousand must not crowd out what is proven.
            keep = self._severities.total() - noted <= FINDINGS_MAX
        if keep:
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
