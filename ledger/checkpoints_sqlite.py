"""Reading the ledger file: trees, checkpoints, and what a witness vouched for.

Of a chain's tree the file keeps the roots of its whole blocks of 256 entries, under the seq of
the block's last entry, as far as a checkpoint that was kept covers them; what is asked for
besides is hashed from the ids. Levels above cost a hash for each block, and are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from passby.ledger.checkpoint import SignedCheckpoint, parse_checkpoint
from passby.ledger.schema import SEQ_BITS, SEQ_MASK, Connection, damaged, faults
from passby.ledger.tree import BLOCK, KEPT_EVERY, Rows, perfect_row
from passby.ledger.witness import EMPTY, Held
from passby.protocol.entry import HASH_BYTES, entry_id
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SIGNATURE_BYTES

BLOCK_ROOTS: Final = "SELECT place, root FROM blocks WHERE place BETWEEN ? AND ? ORDER BY place"


def id8(entry_id: bytes) -> int:
    """Return the first eight bytes of an id as SQLite's signed integer.

    Ids that share their first hex digit keep their order.
    """
    return int.from_bytes(entry_id[:8], "big", signed=True)


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

        def rows(level: int, start: int, end: int) -> Sequence[bytes]:
            if level == 0:
                return self._ids(number, start, min(end, size))
            above = level - KEPT_EVERY
            return perfect_row(
                self._blocks(number, start << above, min(end << above, size // BLOCK)), above
            )

        return rows

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

    def _blocks(self, number: int, start: int, end: int) -> list[bytes]:
        """Return the roots of blocks `start` to `end` - 1, up to the first that is not held."""
        places = [(number << SEQ_BITS) + BLOCK * (at + 1) for at in range(start, end)]
        kept = dict(self._all(BLOCK_ROOTS, (places[0], places[-1]))) if places else {}
        found: list[bytes] = []
        for place in places:
            root = kept.get(place)
            if root is None:
                last = place & SEQ_MASK
                row = perfect_row(self._ids(number, last - BLOCK, last), KEPT_EVERY)
                if not row:
                    break
                (root,) = row
            self._expect(bytes, root)
            found.append(root)
        return found

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
