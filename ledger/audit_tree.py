"""A chain's tree, hashed again, against the checkpoints that are kept of it.

What was pruned counts for what its checkpoint is worth: the root that the author signed must
come out of the entries that are left, hashed anew, and of the kept roots in the gaps. Then the
pruned entries are those that the author had written by then, and whoever cosigned saw that
they only ever grew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from passby.ledger.audit_chain import ChainAudit
from passby.ledger.checkpoint import SignedCheckpoint, check_chain
from passby.ledger.findings import Finding, Report, Severity
from passby.ledger.policy import Policy, satisfied
from passby.ledger.store import NOTHING_PRUNED, Pruned
from passby.ledger.tree import BLOCK, KEPT_EVERY, Rows, block_root, chain_rows, root_at
from passby.protocol.errors import DamagedError, RemoteError

UNLIKE = "its entries do not come to the root of the checkpoint that its author signed"


class TreeSource(Protocol):
    """What is read of trees; a part of `AuditSource`."""

    def tree(self, author: bytes) -> Rows:
        """As `Reader.tree`."""

    def checkpoint(self, author: bytes) -> SignedCheckpoint | None:
        """As `Reader.checkpoint`."""

    def pruned(self, author: bytes) -> Pruned:
        """As `Reader.pruned`."""


class TreeAudit:
    """Holds chains that were replayed against their checkpoints.

    Args:
        source: what is held.
        report: where counts and findings go.
        policy: whose cosignatures make pruned history trusted; nobody's if None.
        now_s: the own clock, Unix seconds.
    """

    def __init__(
        self, source: TreeSource, report: Report, policy: Policy | None, now_s: int
    ) -> None:
        self._source = source
        self._report = report
        self._policy = policy
        self._now_s = now_s

    def judge(self, chain: ChainAudit, *, healed: bool) -> None:
        """Judge the checkpoints of a chain, and count what was pruned of it."""
        author = chain.author
        pruned, kept = NOTHING_PRUNED, None
        try:
            pruned = self._source.pruned(author)
            kept = self._source.checkpoint(author)
        except DamagedError as error:
            self._note(chain, Severity.CORRUPT, error.message)
        roots = self._roots(chain, pruned, kept.head.size if kept is not None else 0)
        if (
            kept is not None
            and kept != pruned.under
            and self._holds(chain, kept, roots, healed=healed)
        ):
            self._is_cosigned(chain, kept)
        if chain.skipped:
            self._count(chain, pruned.under, roots, healed=healed)

    def _roots(self, chain: ChainAudit, pruned: Pruned, size: int) -> Mapping[int, bytes]:
        """Return the roots of pruned blocks; hold those of the others against their entries.

        Others are kept behind the checkpoint of `size`.
        """
        roots: dict[int, bytes] = {}
        try:
            rows = self._source.tree(chain.author)
            for last in sorted(chain.skipped & pruned.blocks):
                roots[last // BLOCK - 1] = rows(KEPT_EVERY, last // BLOCK - 1, last // BLOCK)[0]
            for at in range(min(size, len(chain.ids)) // BLOCK):
                made = list(block_root(chain.id_row(at * BLOCK, (at + 1) * BLOCK)))
                if made and made != list(rows(KEPT_EVERY, at, at + 1)):
                    text = "a kept node of its tree is not what its entries hash to"
                    self._note(chain, Severity.CORRUPT, text, (at + 1) * BLOCK)
        except (DamagedError, IndexError):
            self._note(chain, Severity.CORRUPT, "the nodes of its tree cannot be read")
        return roots

    def _holds(
        self,
        chain: ChainAudit,
        signed: SignedCheckpoint,
        roots: Mapping[int, bytes],
        *,
        healed: bool,
    ) -> bool | None:
        """Tell whether what is held comes to a checkpoint's root; None where it does not reach."""
        try:
            if check_chain(signed) != chain.author:
                raise DamagedError("another author's checkpoint")
        except (RemoteError, DamagedError):
            self._note(chain, Severity.CORRUPT, "its author did not sign the checkpoint kept of it")
            return False
        if signed.head.size > len(chain.ids):
            return None
        rows = chain_rows(
            chain.id_row,
            lambda start, end: {at: roots[at] for at in range(start, end) if at in roots},
            len(chain.ids),
        )
        try:
            root = root_at(rows, signed.head.size)
        except DamagedError:
            # What is missing or damaged has been said.
            return None
        if root == signed.head.root:
            return True
        severity = Severity.CORRUPT
        if chain.whole and not chain.skipped:
            # It signed these entries, and a tree that has others.
            severity = Severity.NOTED if healed else Severity.PROVEN
        self._note(chain, severity, UNLIKE, signed.head.size)
        return False

    def _count(
        self,
        chain: ChainAudit,
        under: SignedCheckpoint | None,
        roots: Mapping[int, bytes],
        *,
        healed: bool,
    ) -> None:
        count = BLOCK * len(chain.skipped)
        shown = f"{count:,} entries up to {max(chain.skipped)}"
        held: bool | None = False
        if under is not None and under.head.size >= max(chain.skipped):
            held = self._holds(chain, under, roots, healed=healed)
        if under is None or not held:
            self._report.missing += count
            severity = Severity.INCOMPLETE if held is None else Severity.CORRUPT
            self._note(chain, severity, f"{shown} were pruned, and no checkpoint vouches for them")
            return
        reached = self._is_cosigned(chain, under)
        if reached is None:
            self._report.missing += count
            return
        if reached:
            self._report.trusted += count
            return
        self._report.on_word += count
        why = "no policy was given" if self._policy is None else "too few witnesses cosigned"
        text = f"{shown} were pruned and rest on their author's word alone, since {why}"
        self._note(chain, Severity.INCOMPLETE, text)

    def _is_cosigned(self, chain: ChainAudit, signed: SignedCheckpoint) -> bool | None:
        """Count a checkpoint that holds; tell whether the policy's witnesses have cosigned it.

        None where a cosignature is false.
        """
        self._report.checkpoints += 1
        if self._policy is None:
            return False
        try:
            quorum = satisfied(signed, self._policy, self._now_s)
        except RemoteError:
            text = "a cosignature of the checkpoint kept of it is false"
            self._note(chain, Severity.CORRUPT, text, signed.head.size)
            return None
        # A policy that asks for nobody believes the author alone.
        reached = quorum.reached and bool(quorum.counted)
        self._report.cosigned += reached
        return reached

    def _note(self, chain: ChainAudit, severity: Severity, text: str, *seqs: int) -> None:
        self._report.add(Finding(severity, text, chain.author, seqs))
