"""Retention: what of others' chains a node need not hold any longer.

History goes in whole blocks of 256 entries, the leaves under one node of the chain's tree, and
only behind a checkpoint that is kept: the root of the block stays, so that what is left of the
chain still comes to the root that the author signed and witnesses cosigned. A block is kept
whole for any entry in it that something may still depend on. What goes can be had again from
the author, who never prunes its own chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from passby.ledger.store import Reader
from passby.ledger.tree import BLOCK, block_of
from passby.protocol.entry import Entry, Record
from passby.protocol.limits import CREDIT_MAX
from passby.protocol.stock import LotStock, carries_stock
from passby.protocol.trade import OPEN_STATES, State, fold
from passby.protocol.types import TRADE_TYPES, EntryType

_ALWAYS: Final = frozenset({EntryType.GENESIS, EntryType.STATEMENT, EntryType.VOUCH})
"""Who the author is, and whom it or its root speaks for, holds whatever the date."""


class Retention:
    """One look at a ledger, for what may go of each chain.

    Args:
        reader: the ledger; it must not change meanwhile.
        before_ms: what is dated, or lasts, until here or longer stays.
        now_ms: for the states of trades that a deadline moves.
    """

    def __init__(self, reader: Reader, before_ms: int, now_ms: int) -> None:
        self._reader = reader
        self._before_ms = before_ms
        self._now_ms = now_ms
        self._over: dict[bytes, bool] = {}
        # What a late trade is about stays with it, however old the offer.
        self._named = {
            lot
            for propose_id in reader.trades(before_ms)
            if (propose := reader.record(propose_id)) is not None
            for lot in propose.entry.body.refs
        }

    def blocks(self, author: bytes, size: int) -> dict[int, int]:
        """Return what may go under a checkpoint of `size`: last seq of a block -> its bytes.

        Whether the checkpoint is to be believed, and whether anything may go of this author, is
        the caller's business. Raises DamagedError as `reader` does.
        """
        head = self._reader.head(author)
        if head is None or self._reader.evidence(author):
            return {}
        # The first block shows who the author is, that of the head what comes next.
        last = min(size, head.seq - 1) // BLOCK * BLOCK
        lots = self._reader.derived(author).lots
        needed = {BLOCK}
        found: dict[int, int] = {}
        for record in self._records(author, BLOCK + 1, last):
            entry = record.entry
            block = block_of(entry.seq)
            if entry.at_ms >= self._before_ms:
                # Dates never fall along a chain.
                needed.add(block)
                break
            found[block] = found.get(block, 0) + record.size
            if block not in needed and self._is_needed(entry, lots):
                needed.add(block)
        return {block: size for block, size in found.items() if block not in needed}

    def _records(self, author: bytes, seq: int, last: int) -> Iterator[Record]:
        pruned = self._reader.pruned(author).blocks
        while seq <= last:
            if block_of(seq) in pruned:
                seq = block_of(seq) + 1
                continue
            run = self._reader.run(author, seq, last, CREDIT_MAX)
            if not run:
                return
            yield from (record for record in run if record.entry.seq <= last)
            seq += len(run)

    def _is_needed(self, entry: Entry, lots: dict[int, LotStock]) -> bool:
        body = entry.body
        if body.type in _ALWAYS or entry.id in self._named:
            return True
        if body.type == EntryType.REQUEST:
            return self._lasts(entry)
        if body.stock and carries_stock(entry) and self._is_open(entry, lots):
            return True
        if body.type in TRADE_TYPES:
            return not self._is_over(entry.id if body.type == EntryType.PROPOSE else body.refs[0])
        return False

    def _is_open(self, entry: Entry, lots: dict[int, LotStock]) -> bool:
        """Tell whether the entry's lot can go on, so that its stock is to be followed from it."""
        lot = lots.get(entry.body.stock[0])
        if lot is None or lot.closed:
            return False
        offer = self._reader.record_at(entry.author, lot.lot_seq)
        return offer is not None and self._lasts(offer.entry)

    def _lasts(self, entry: Entry) -> bool:
        until_ms = entry.body.facts[1]
        return isinstance(until_ms, int) and until_ms >= self._before_ms

    def _is_over(self, propose_id: bytes) -> bool:
        """Tell whether a trade has ended, in no dispute and by nobody's fault.

        Of a trade whose propose is not held nobody here can tell anything.
        """
        over = self._over.get(propose_id)
        if over is None:
            over = self._over[propose_id] = self._judge(propose_id)
        return over

    def _judge(self, propose_id: bytes) -> bool:
        entries = {record.entry.id: record.entry for record in self._reader.trade(propose_id)}
        propose = entries.get(propose_id)
        if propose is None:
            return True
        for lot in propose.body.refs:
            offer = self._reader.record(lot)
            if offer is not None:
                entries[lot] = offer.entry
        trade = fold(propose, entries.values(), self._now_ms)
        if trade.faults or trade.unshown or trade.state is State.DISPUTED:
            return False
        if trade.state is State.DELIVERED:
            # Many are paid in cash, and nobody writes it down.
            return all(entry.at_ms < self._before_ms for entry in entries.values())
        return trade.state not in OPEN_STATES
