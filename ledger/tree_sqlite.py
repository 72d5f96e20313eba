"""Writing trees, checkpoints and what is pruned behind them, within a transaction of the store.

With a block go the rows of its entries; the folds of stock outlive what they were made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from passby.ledger.checkpoint import SignedCheckpoint
from passby.ledger.pruning import Dropped
from passby.ledger.rows_sqlite import BLOCKS
from passby.ledger.schema import FOLDS, SEQ_BITS, SEQ_MASK, Connection
from passby.ledger.tree import BLOCK
from passby.ledger.witness import Held

_REMADE: Final = {
    "lots": "NOT pruned",
    # Of the reserves, those of lots that can be followed from their offers.
    "reserves": "NOT EXISTS (SELECT 1 FROM lots l WHERE l.pruned AND"
    " l.place = (reserves.place >> 32 << 32) + reserves.lot_seq)",
}
"""Which rows of a fold can be made again from the entries that are held; of the others, all."""


def put_checkpoint(db: Connection, number: int, kept: SignedCheckpoint) -> None:
    """Put a checkpoint in the place of the author's."""
    db.execute(
        "INSERT OR REPLACE INTO checkpoints (author, size, root, note) VALUES (?, ?, ?, ?)",
        (number, kept.head.size, kept.head.root, kept.encode()),
    )


def put_blocks(db: Connection, number: int, roots: Iterable[bytes]) -> None:
    """Keep the roots of the author's first blocks, where they are not kept.

    Kept as entries are appended, they would slow down the taking in of every chain, and most
    are never asked for. Behind a checkpoint the author has signed what they come to.
    """
    rows: list[Any] = []
    for at, root in enumerate(roots, 1):
        rows += (number << SEQ_BITS | at * BLOCK, root, 0)
    BLOCKS.insert(db, rows)


def put_witnessed(db: Connection, origin: str, new: Held) -> None:
    """Put what was witnessed of a log in the place of what was before."""
    db.execute(
        "INSERT INTO witnessed (origin, size, root, note, at_s) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root,"
        " note = excluded.note, at_s = excluded.at_s",
        (origin, new.size, new.root, new.note, new.at_s),
    )


def drop_block(db: Connection, number: int, dropped: Dropped) -> None:
    """Drop a block of the author with this number, in the open transaction."""
    last = number << SEQ_BITS | dropped.last
    first = last - len(dropped.records) + 1
    for table in ("entries", *FOLDS):
        # What lots and reserves came to is all that tells what may follow.
        if table not in _REMADE:
            db.execute(f"DELETE FROM {table} WHERE place BETWEEN ? AND ?", (first, last))  # noqa: S608  # constants
    db.execute("UPDATE erasures SET place = 0 WHERE place BETWEEN ? AND ?", (first, last))
    db.execute(
        "INSERT INTO blocks (place, root, pruned) VALUES (?, ?, 1)"
        " ON CONFLICT (place) DO UPDATE SET pruned = 1",
        (last, dropped.root),
    )
    for lot in dropped.lots:
        db.execute("UPDATE lots SET pruned = 1 WHERE place = ?", (number << SEQ_BITS | lot,))
    under = dropped.under
    db.execute(
        "INSERT OR REPLACE INTO prunings (author, size, root, note) VALUES (?, ?, ?, ?)",
        (number, under.head.size, under.head.root, under.encode()),
    )
    if dropped.vouched is not None:
        place = number << SEQ_BITS | dropped.vouched
        db.execute("UPDATE entries SET checked = 1 WHERE place = ?", (place,))


def clear_folds(db: Connection, number: int | None = None, *, whole: bool = False) -> None:
    """Delete the folds of one chain, or all, in the open transaction.

    Those that pruned entries came to stay, unless `whole`.
    """
    first, last = 0, 2**63 - 1
    if number is not None:
        first, last = number << SEQ_BITS, number << SEQ_BITS | SEQ_MASK
    if whole:
        db.execute("DELETE FROM prunings WHERE ?1 IS NULL OR author = ?1", (number,))
    for table in FOLDS:
        which = "TRUE" if whole else _REMADE.get(table, "TRUE")
        db.execute(
            f"DELETE FROM {table} WHERE place BETWEEN ? AND ? AND {which}",  # noqa: S608  # constants
            (first, last),
        )
