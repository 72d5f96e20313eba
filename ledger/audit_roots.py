"""What roots say of devices, verified again, and held against what the store made of it.

Statements are a set, so they are read before any chain: what a seal or a heal does to a chain
must be known when its proofs are judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from passby.ledger.chain import Evidence
from passby.ledger.findings import Finding, Report, RootWord, Severity
from passby.ledger.standing import Roots, Standing, is_above, stands_among
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import DamagedError
from passby.protocol.limits import ROOT_WORDS_MAX
from passby.protocol.statements import Heal, Statement


class RootsSource(Protocol):
    """What is read of statements; a part of `AuditSource`."""

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """As `Reader.record_at`."""

    def statements(self, device: bytes | None = None) -> list[Statement]:
        """As `Reader.statements`."""

    def sealed(self) -> dict[bytes, int]:
        """As `Reader.sealed`."""

    def frozen(self) -> dict[bytes, int]:
        """As `Reader.frozen`."""

    def trade(self, propose_id: bytes) -> list[Record]:
        """As `Reader.trade`."""


class RootsAudit:
    """Every stored statement, read and verified anew, and what they make of each chain.

    Args:
        source: what is held.
        report: where counts and findings go.
        proofs: what authors are proven false by.
    """

    def __init__(
        self, source: RootsSource, report: Report, proofs: Mapping[bytes, Evidence]
    ) -> None:
        self._source = source
        self._report = report
        self._proofs = proofs
        self._sealed = source.sealed()
        self._frozen = source.frozen()
        statements: list[Statement] = []
        try:
            # Reading one is checking its form and its root's signature.
            statements = source.statements()
        except DamagedError as error:
            report.add(Finding(Severity.CORRUPT, error.message))
        self._roots = Roots(statements, self._genesis, proofs.get, self._held_from)
        self._stored = {statement.raw for statement in statements}
        report.statements = len(self._stored)

    def _genesis(self, author: bytes) -> Record | None:
        return self._record_at(author, 1)

    def _held_from(self, author: bytes, seq: int) -> Iterator[Entry]:
        while (record := self._record_at(author, seq)) is not None:
            yield record.entry
            seq += 1

    def _record_at(self, author: bytes, seq: int) -> Record | None:
        try:
            return self._source.record_at(author, seq)
        except DamagedError:
            # The replay of that chain says so.
            return None

    def carried(self, author: bytes, seq: int, statement: Statement) -> None:
        """Hold a statement that an entry carries against those stored."""
        if statement.raw not in self._stored:
            text = f"the root statement in entry {seq} is not among those stored"
            self._report.add(Finding(Severity.CORRUPT, text, author, (seq,)))

    def judge(self, author: bytes) -> Standing:
        """Return what statements make of the chain; say where the store made something else."""
        standing, proof = self._roots.standing(author), self._proofs.get(author)
        seal, heal = standing.seal, standing.heal
        if self._frozen.get(author) != (None if proof is None or heal is not None else proof.seq):
            self._note(Severity.CORRUPT, "frozen otherwise than its proofs and heals say", author)
        if self._sealed.get(author) != (None if seal is None else seal.seq):
            self._note(Severity.CORRUPT, "sealed otherwise than its root's statements say", author)
        if heal is None:
            self._void_heals(author, proof)
        if seal is not None or heal is not None:
            self._list(author, standing)
        return standing

    def _note(self, severity: Severity, text: str, author: bytes, *seqs: int) -> None:
        self._report.add(Finding(severity, text, author, seqs))

    def _void_heals(self, author: bytes, proof: Evidence | None) -> None:
        root = self._roots.root_of(author) if self._roots.concerns(author) else None
        said = self._roots.about(author) if root is not None else []
        kept = {(one.seq, one.id) for one in said if isinstance(one, Heal) and one.root == root}
        if not kept:
            return
        seqs = sorted({seq for seq, _ in kept})
        if len(kept) > 1:
            text = "healed in several ways, which voids all its heals"
        elif proof is None:
            text = "a heal that waits for the branch it keeps"
        else:
            text = f"a heal that is void: it does not lift the proof from {proof.seq} on"
        self._note(Severity.NOTED, text, author, *seqs)

    def _list(self, author: bytes, standing: Standing) -> None:
        seal, heal = standing.seal, standing.heal
        self._report.seals += seal is not None
        self._report.heals += heal is not None
        if len(self._report.root_words) >= ROOT_WORDS_MAX:
            return
        held = self._held_from(author, seal.seq) if seal is not None else ()
        above = [entry for entry in held if seal is not None and is_above(seal, entry)]
        self._report.root_words.append(
            RootWord(
                author,
                sealed_at=None if seal is None else seal.seq,
                healed_at=None if heal is None else heal.seq,
                kept=None if heal is None else heal.id,
                above=len(above),
                obliged=sum(map(self._stands, above)),
            )
        )

    def _stands(self, entry: Entry) -> bool:
        try:
            return stands_among(entry, self._source.trade, self._roots.person_of)
        except DamagedError:
            return False
