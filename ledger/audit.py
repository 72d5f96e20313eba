"""Verify everything again, from stored bytes.

Chains first, each replayed from its first entry (`audit_chain`); then the stored proofs
against authors, each judged anew; then trades, from both sides, with the entries that the
replay found sound; and what the store derived from entries is held against the replay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec

from passby.ledger.audit_chain import ChainAudit
from passby.ledger.audit_roots import RootsAudit
from passby.ledger.audit_source import AuditSource
from passby.ledger.audit_tree import TreeAudit
from passby.ledger.chain import Evidence, Head
from passby.ledger.findings import AuditExit, Finding, Report, Severity
from passby.ledger.policy import Policy
from passby.ledger.prove import prove_evidence
from passby.ledger.tree import BLOCK
from passby.protocol.entry import Entry
from passby.protocol.errors import DamagedError
from passby.protocol.limits import CREDIT_MAX, REFS_MAX, SEQ_MAX
from passby.protocol.trade import Trade, fold
from passby.protocol.types import EntryType

__all__ = [
    "AllScope",
    "AuditExit",
    "AuditSource",
    "AuthorScope",
    "Finding",
    "ItemScope",
    "LotScope",
    "Report",
    "Scope",
    "Severity",
    "TradeScope",
    "audit",
]


class AllScope(msgspec.Struct, frozen=True):
    """Everything that is held."""


class AuthorScope(msgspec.Struct, frozen=True):
    """One chain, and the proofs against its author."""

    author: bytes


class LotScope(msgspec.Struct, frozen=True):
    """The chain that holds a lot, by the id of its offer."""

    offer_id: bytes


class TradeScope(msgspec.Struct, frozen=True):
    """A trade by the id of its propose, with the chains of all who wrote in it."""

    propose_id: bytes


class ItemScope(msgspec.Struct, frozen=True):
    """Every entry that names an item by its id, or has that id, with the chains that hold them."""

    item_id: bytes


Scope = AllScope | AuthorScope | LotScope | TradeScope | ItemScope


def audit(
    source: AuditSource,
    now_ms: int,
    scope: Scope | None = None,
    *,
    signatures: bool = False,
    policy: Policy | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Verify what `scope` names, everything by default.

    Args:
        source: what is held; it must not change meanwhile.
        now_ms: for the states of trades that a deadline moves.
        scope: what to look at.
        signatures: check every signature. Otherwise those at the ends of stored runs, which
            vouch for all entries before them; garbage swapped in for an inner one, which
            proves nothing against anybody, goes unseen.
        policy: whose cosignatures make pruned history trusted; without it that rests on its
            authors' word.
        progress: told how many entries were looked at, again and again.

    Raises:
        LocalError: the source cannot be read at all. Damage within it is a finding.
    """
    return _Audit(source, now_ms, progress, policy, signatures=signatures).run(scope or AllScope())


class _Audit:
    def __init__(
        self,
        source: AuditSource,
        now_ms: int,
        progress: Callable[[int], None],
        policy: Policy | None,
        *,
        signatures: bool,
    ) -> None:
        self._source = source
        self._now_ms = now_ms
        self._progress = progress
        self._each = signatures
        self._report = Report()
        self._trees = TreeAudit(source, self._report, policy, now_ms // 1000)
        self._pruned_to_ms = 0
        """Until when entries of any chain may have been pruned."""
        self._steps: dict[bytes, bytes] = {}
        """Id -> propose id, of every sound entry of a trade."""
        self._offers: set[bytes] = set()

    def run(self, scope: Scope) -> Report:
        try:
            match scope:
                case AllScope():
                    self._chains(None)
                    for propose_id, sound in self._trades().items():
                        self._trade(propose_id, sound)
                    for text in self._source.structure():
                        self._note(Severity.CORRUPT, text)
                case AuthorScope(author=author):
                    self._chains({author})
                case LotScope(offer_id=offer_id):
                    offer = self._source.record(offer_id)
                    if offer is None:
                        self._note(Severity.INCOMPLETE, "the lot's offer is not held", offer_id)
                    else:
                        self._chains({offer.entry.author})
                case TradeScope(propose_id=propose_id):
                    self._chains(self._parties(propose_id))
                    self._trade(propose_id, self._trades().get(propose_id, set()))
                case ItemScope(item_id=item_id):
                    authors = self._naming(item_id)
                    if not authors:
                        self._note(Severity.INCOMPLETE, "nothing held names it", item_id)
                    self._chains(authors)
                case _:
                    assert_never(scope)
        except DamagedError as error:
            self._note(Severity.CORRUPT, error.message)
        return self._report

    def _note(self, severity: Severity, text: str, *entries: bytes) -> None:
        self._report.add(Finding(severity, text, entries=entries))

    def _chains(self, authors: set[bytes] | None) -> None:
        found = dict(self._source.heads())
        proofs = {evidence.author: evidence for evidence in self._source.evidence()}
        roots = RootsAudit(self._source, self._report, proofs)
        for author in sorted(found.keys() | proofs.keys() if authors is None else authors):
            head = found.get(author)
            if head is None and author not in proofs:
                self._report.add(Finding(Severity.INCOMPLETE, "nothing of it is held", author))
                continue
            chain = self._chain(author, head)
            for seq, statement in chain.statements.items():
                roots.carried(author, seq, statement)
            healed = roots.judge(author).heal is not None
            if head is not None:
                self._trees.judge(chain, healed=healed)
            if author in proofs:
                self._evidence(proofs[author], chain, healed=healed)

    def _naming(self, item_id: bytes) -> set[bytes]:
        """Count the entries that name an item; return the authors of their chains."""
        authors: set[bytes] = set()
        for author, head in self._source.heads():
            seq = 1
            try:
                pruned = self._source.pruned(author).blocks
                while run := self._source.run(author, seq, SEQ_MAX, CREDIT_MAX):
                    found = sum(
                        item_id == record.entry.id or item_id in record.entry.body.refs
                        for record in run
                    )
                    self._report.named += found
                    if found:
                        authors.add(author)
                    seq += len(run)
                    while seq + BLOCK - 1 in pruned:
                        seq += BLOCK
            except DamagedError:
                # What cannot be read may name it: the replay says what is wrong.
                authors.add(author)
            else:
                if seq <= head.seq:
                    authors.add(author)
        return authors

    def _chain(self, author: bytes, head: Head | None) -> ChainAudit:
        self._report.authors.append(author)
        chain = ChainAudit(author, self._report, each=self._each)
        if head is not None:
            self._report.chains += 1
            chain.run(self._source, head, self._progress)
        self._pruned_to_ms = max(self._pruned_to_ms, chain.pruned_to_ms)
        self._offers |= chain.offers
        self._steps |= chain.trade_entries
        return chain

    # --- proofs ------------------------------------------------------------------------

    def _evidence(self, evidence: Evidence, chain: ChainAudit, *, healed: bool) -> None:
        accused = tuple(element[0] for element in evidence.elements if element)
        verdict = Severity.PROVEN if prove_evidence(evidence) is not None else Severity.CORRUPT
        moved = {entry.body.stock[0] for entry in accused if entry.body.stock}
        if verdict is Severity.CORRUPT and not chain.gone.isdisjoint(moved):
            # What the last entry contradicts may be among what was pruned.
            verdict = Severity.INCOMPLETE
        if healed and verdict is Severity.PROVEN:
            verdict = Severity.NOTED
        text = {
            Severity.NOTED: f"healed: {evidence.rule}",
            Severity.PROVEN: evidence.rule,
            Severity.INCOMPLETE: f"what a stored proof builds on was pruned: {evidence.rule}",
            Severity.CORRUPT: f"a stored proof does not hold: {evidence.rule}",
        }[verdict]
        self._report.add(
            Finding(
                verdict,
                text,
                evidence.author,
                tuple(entry.seq for entry in accused) or (evidence.seq,),
                tuple(entry.id for entry in accused),
            )
        )

    # --- trades ------------------------------------------------------------------------

    def _parties(self, propose_id: bytes) -> set[bytes]:
        entries = [record.entry for record in self._source.trade(propose_id)]
        authors = {entry.author for entry in entries}
        for entry in entries:
            if entry.id == propose_id:
                offers = (self._source.record(lot) for lot in entry.body.refs)
                authors.update(offer.entry.author for offer in offers if offer is not None)
        return authors

    def _trades(self) -> dict[bytes, set[bytes]]:
        """Return the ids of the sound entries of each trade."""
        found: dict[bytes, set[bytes]] = {}
        for entry_id, propose_id in self._steps.items():
            found.setdefault(propose_id, set()).add(entry_id)
        return found

    def _trade(self, propose_id: bytes, sound: set[bytes]) -> None:
        self._report.trades += 1
        try:
            held = [record.entry for record in self._source.trade(propose_id)]
            entries = {entry.id: entry for entry in held if entry.id in sound}
            if len(entries) != len(sound):
                self._note(
                    Severity.CORRUPT, "entries of a trade are not listed with it", propose_id
                )
            propose = entries.get(propose_id)
            # Of a trade that was over, part may have been pruned: nothing can be made of that.
            newest_ms = max((entry.at_ms for entry in entries.values()), default=self._now_ms)
            old = newest_ms <= self._pruned_to_ms
            lacks = Severity.NOTED if old else Severity.INCOMPLETE
            if propose is None:
                self._note(lacks, "a trade whose propose is not held", propose_id)
                return
            lacking = self._lacking(entries, propose)
            if lacking:
                text = "entries that a trade names are not held"
                self._note(lacks, text, propose_id, *lacking)
            for lot in propose.body.refs:
                offer = self._source.record(lot) if lot in self._offers else None
                if offer is None:
                    self._note(lacks, "a trade whose offer is not held", propose_id, lot)
                else:
                    entries[lot] = offer.entry
        except DamagedError as error:
            self._note(Severity.CORRUPT, error.message, propose_id)
            return
        trade = fold(propose, entries.values(), self._now_ms)
        self._secrets(trade, entries)
        for fault in trade.faults:
            self._report.add(
                Finding(Severity.PROVEN, fault.rule, fault.accused, entries=fault.evidence)
            )

    def _lacking(self, entries: Mapping[bytes, Entry], propose: Entry) -> list[bytes]:
        """Return what entries of a trade name of it and is not held: its other side."""
        named = {ref for entry in entries.values() for ref in entry.body.refs}
        apart = named - entries.keys() - set(propose.body.refs)
        return [ref for ref in sorted(apart) if self._source.record(ref) is None][:REFS_MAX]

    def _secrets(self, trade: Trade, entries: Mapping[bytes, Entry]) -> None:
        """Count hand-overs, and those whose secret is the one that the receiver kept."""
        proven = {entry.id for leg in trade.legs for entry in (*leg.handovers, *leg.returns)}
        for entry in entries.values():
            if entry.body.type != EntryType.HANDOVER:
                continue
            self._report.handovers += 1
            if entry.id in proven:
                self._report.secrets += 1
            elif entry.body.refs[2] in entries:
                text = "a hand-over whose secret is not the receiver's, so that it counts for none"
                self._report.add(
                    Finding(Severity.NOTED, text, entry.author, (entry.seq,), (entry.id,))
                )
