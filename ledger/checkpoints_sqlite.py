"""Reading the ledger file: trees, checkpoints, and what a witness vouched for.

Of a chain's tree the file keeps the roots of its whole blocks of 256 entries, under the seq of
the block's last entry, as far as a checkpoint that was kept covers them; what is asked for
besides is hashed from the ids. Levels above cost a hash for each block, and are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from passby.ledger.checkpoint import SignedCheckpoint, parse_checkpoint
from passby.ledger.schema import SEQ_BITS, SEQ_MASK, Connection, damaged, faults
from passby.ledger.store import NOTHING_PRUNED, Pruned, id8
from passby.ledger.tree import BLOCK, Rows, chain_rows
from passby.ledger.witness import EMPTY, Held
from passby.protocol.entry import HASH_BYTES, entry_id
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SIGNATURE_BYTES


class CheckpointReader:
    """What the reading half says of trees and checkpoints, and how it reads at all."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self._db = connection

    def _all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with faults(self.path):
            return self._db.execute(sql, parameters).fetchall()

    def _one(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        with faults(self.path):
            return self._db.execute(sql, parameters).fetchone()

    def _number(self, author: bytes) -> int | None:
        row = self._one("SELECT number FROM authors WHERE key = ?", (author,))
        return None if row is None else int(row[0])

    def _expect(self, kind: type, *found: Any) -> None:
        """Raise DamagedError where a column holds what its table does not allow."""
        if not all(isinstance(value, kind) for value in found):
            raise damaged(self.path, f"a column of {kind.__name__} holds another type")

    # --- trees -------------------------------------------------------------------------
    def tree(self, author: bytes) -> Rows:
        """As `Reader.tree`."""
        held = self._one("SELECT number, seq FROM authors WHERE key = ?", (author,))
        if held is None:
            return lambda _level, _start, _end: ()
        number, size = held

        return chain_rows(
            lambda start, end: self._ids(number, start, end),
            lambda start, end: self._kept(number, start, end),
            size,
        )

    def _ids(self, number: int, start: int, end: int) -> list[bytes]:
        """Return the ids of leaves `start` to `end` - 1, up to the first that is not held."""
        first = (number << SEQ_BITS) + start + 1
        found: list[bytes] = []
        for at, (place, raw, head8) in enumerate(
            self._all(
                "SELECT place, raw, id8 FROM entries WHERE place BETWEEN ? AND ? ORDER BY place",
                (first, first + end - start - 1),
            ),
            first,
        ):
            if place != at:
                break
            self._expect(bytes, raw)
            leaf = entry_id(raw[SIGNATURE_BYTES:])
            if id8(leaf) != head8:
                raise damaged(
                    self.path, f"the entry at {place:#x} has another id than when it came"
                )
            found.append(leaf)
        return found

    def _kept(self, number: int, start: int, end: int) -> dict[int, bytes]:
        """Return the roots that are kept of blocks `start` to `end` - 1, by their numbers."""
        rows = self._all(
            "SELECT place, root FROM blocks WHERE place BETWEEN ? AND ?",
            ((number << SEQ_BITS) + start * BLOCK + 1, (number << SEQ_BITS) + end * BLOCK),
        )
        self._expect(bytes, *(root for _, root in rows))
        return {(place & SEQ_MASK) // BLOCK - 1: root for place, root in rows}

    def pruned(self, author: bytes) -> Pruned:
        """As `Reader.pruned`."""
        number = self._number(author)
        if number is None:
            return NOTHING_PRUNED
        chain = (number << SEQ_BITS, number << SEQ_BITS | SEQ_MASK)
        blocks = self._all("SELECT place FROM blocks WHERE pruned AND place BETWEEN ? AND ?", chain)
        if not blocks:
            return NOTHING_PRUNED
        lots = self._all("SELECT place FROM lots WHERE pruned AND place BETWEEN ? AND ?", chain)
        under = self._one("SELECT size, root, note FROM prunings WHERE author = ?", (number,))
        return Pruned(
            frozenset(place & SEQ_MASK for (place,) in blocks),
            frozenset(place & SEQ_MASK for (place,) in lots),
            None if under is None else self._checkpoint(*under),
        )

    # --- checkpoints -------------------------------------------------------------------
    def checkpoint(self, author: bytes) -> SignedCheckpoint | None:
        """As `Reader.checkpoint`."""
        row = self._one(
            "SELECT c.size, c.root, c.note FROM checkpoints c"
            " JOIN authors a ON a.number = c.author WHERE a.key = ?",
            (author,),
        )
        return None if row is None else self._checkpoint(*row)

    def _checkpoint(self, size: Any, root: Any, note: Any) -> SignedCheckpoint:
        self._expect(bytes, note)
        try:
            signed = parse_checkpoint(note)
        except RemoteError as error:
            raise damaged(self.path, f"a checkpoint is not readable: {error}") from None
        if (signed.head.size, signed.head.root) != (size, root):
            raise damaged(self.path, "a checkpoint is not the one that was kept")
        return signed

    def witnessed(self, origin: str) -> Held:
        """As `Reader.witnessed`."""
        row = self._one("SELECT size, root, note, at_s FROM witnessed WHERE origin = ?", (origin,))
        return EMPTY if row is None else self._held(origin, *row)

    def all_witnessed(self) -> list[tuple[str, Held]]:
        """As `Reader.all_witnessed`."""
        rows = self._all("SELECT origin, size, root, note, at_s FROM witnessed ORDER BY origin")
        return [(origin, self._held(origin, *row)) for origin, *row in rows]

    def _held(self, origin: Any, size: Any, root: Any, note: Any, at_s: Any) -> Held:
        self._expect(int, size, at_s)
        self._expect(bytes, root, note)
        if self._checkpoint(size, root, note).head.origin != origin or len(root) != HASH_BYTES:
            raise damaged(self.path, "what was witnessed of a chain is another's")
        return Held(size, root, note, at_s)
