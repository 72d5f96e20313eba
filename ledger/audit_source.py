"""What an audit reads: the part of `Reader` that shows what is held as it lies there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from passby.ledger.chain import Evidence, Head
from passby.ledger.checkpoint import SignedCheckpoint
from passby.ledger.store import Derived, Pruned, Stored
from passby.ledger.tree import Rows
from passby.protocol.entry import Record
from passby.protocol.statements import Statement


class AuditSource(Protocol):
    """What an audit reads; every store's reading half is one."""

    def heads(self) -> Iterator[tuple[bytes, Head]]:
        """As `Reader.heads`."""

    def record(self, entry_id: bytes) -> Record | None:
        """As `Reader.record`."""

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """As `Reader.record_at`."""

    def run(self, author: bytes, from_seq: int, to_seq: int, max_bytes: int) -> list[Record]:
        """As `Reader.run`."""

    def stored(self, author: bytes, from_seq: int, most: int) -> list[Stored]:
        """As `Reader.stored`."""

    def evidence(self, author: bytes | None = None) -> list[Evidence]:
        """As `Reader.evidence`."""

    def frozen(self) -> dict[bytes, int]:
        """As `Reader.frozen`."""

    def erased(self, author: bytes) -> frozenset[int]:
        """As `Reader.erased`."""

    def statements(self, device: bytes | None = None) -> list[Statement]:
        """As `Reader.statements`."""

    def sealed(self) -> dict[bytes, int]:
        """As `Reader.sealed`."""

    def pruned(self, author: bytes) -> Pruned:
        """As `Reader.pruned`."""

    def tree(self, author: bytes) -> Rows:
        """As `Reader.tree`."""

    def checkpoint(self, author: bytes) -> SignedCheckpoint | None:
        """As `Reader.checkpoint`."""

    def derived(self, author: bytes) -> Derived:
        """As `Reader.derived`."""

    def trade(self, propose_id: bytes) -> list[Record]:
        """As `Reader.trade`."""

    def structure(self) -> list[str]:
        """As `Reader.structure`."""
