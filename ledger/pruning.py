"""Pruning as a store does it: which of the blocks asked for may go, held against the checkpoint.

a block may go   if the kept checkpoint covers it, every entry of it is here, and the tree
over what is held, with the roots of what went before, has the root that
the author signed
the one before   must end, if it is held, in an entry whose own signature is valid: what
vouched for it was behind it, and a relay may have swapped the inner
signatures for garbage. If it does not, the block stays
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from passby.ledger.checkpoint import SignedCheckpoint
from passby.ledger.store import Reader
from passby.ledger.tree import BLOCK, block_root, root_at
from passby.protocol.entry import Record
from passby.protocol.errors import DamagedError
from passby.protocol.keys import verify
from passby.protocol.stock import carries_stock


class Dropped(msgspec.Struct, frozen=True):
    """A block to drop: its last seq, root and records, and the lots that these moved.

    `under` is the checkpoint that covers it, `vouched` the seq of the entry before it, whose own
    signature was just verified, where that one is held.
    """

    last: int
    root: bytes
    records: tuple[Record, ...]
    lots: frozenset[int]
    under: SignedCheckpoint
    vouched: int | None


def to_drop(reader: Reader, author: bytes, blocks: Iterable[int]) -> Iterator[Dropped]:
    """Yield those of `blocks`, by their last seqs, that may go; the caller drops each.

    Raises:
        DamagedError: the chain does not come to the root of its checkpoint.
    """
    head, signed = reader.head(author), reader.checkpoint(author)
    if head is None or signed is None or signed.head.size > head.seq:
        return
    rows = reader.tree(author)
    if root_at(rows, signed.head.size) != signed.head.root:
        raise _unlike()
    gone = set(reader.pruned(author).blocks)
    if gone and max(gone) > signed.head.size:
        return
    for last in sorted(set(blocks) - gone):
        if last % BLOCK or not BLOCK < last <= min(signed.head.size, head.seq - 1):
            continue
        records = tuple(reader.log(author, last + 1, BLOCK)[::-1])
        if [record.entry.seq for record in records] != list(range(last - BLOCK + 1, last + 1)):
            continue
        (root,) = block_root([record.entry.id for record in records])
        if [root] != list(rows(8, last // BLOCK - 1, last // BLOCK)):
            raise _unlike()
        vouched = None
        if last - BLOCK not in gone:
            before = reader.record_at(author, last - BLOCK)
            if before is None or not verify(author, before.entry.raw):
                continue
            vouched = last - BLOCK
        gone.add(last)
        stocked = (record.entry for record in records if record.entry.body.stock)
        lots = frozenset(entry.body.stock[0] for entry in stocked if carries_stock(entry))
        yield Dropped(last, root, records, lots, signed, vouched)


def _unlike() -> DamagedError:
    return DamagedError(
        "A chain is not what its checkpoint says; nothing of it was pruned.",
        "Run passby audit to see what is damaged.",
    )
