"""Pruning in the ledger file: which rows go with a block, and which folds outlive their entries."""

from __future__ import annotations

from typing import Final

from passby.ledger.pruning import Dropped
from passby.ledger.schema import FOLDS, SEQ_BITS, SEQ_MASK, Connection

_REMADE: Final = {
    "lots": "NOT pruned",
    # Of the reserves, those of lots that can be followed from their offers.
    "reserves": "NOT EXISTS (SELECT 1 FROM lots l WHERE l.pruned AND"
    " l.place = (reserves.place >> 32 << 32) + reserves.lot_seq)",
}
"""Which rows of a fold can be made again from the entries that are held; of the others, all."""


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
    for table in FOLDS:
        which = "TRUE" if whole else _REMADE.get(table, "TRUE")
        db.execute(
            f"DELETE FROM {table} WHERE place BETWEEN ? AND ? AND {which}",  # noqa: S608  # constants
            (first, last),
        )
