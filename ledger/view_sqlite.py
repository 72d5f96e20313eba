"""What a batch is judged by, read from the ledger file ahead of the judging.

A query for each record would be most of the cost of taking it in. What the records in question
depend on is therefore read in a few queries; what else turns out to be asked for, one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from passby.ledger.chain import Head
from passby.ledger.schema import SEQ_BITS, SEQ_MASK
from passby.ledger.standing import Roots, Standing, finishes_among, stands_among
from passby.protocol.entry import Entry, Record
from passby.protocol.stock import STOCK_TYPES, LotStock, Reserve, names_reserve
from passby.protocol.types import EntryType


class ViewSource(Protocol):
    """What the view asks of the store it is of."""

    @property
    def roots(self) -> Roots:
        """What all statements make of whom."""

    def select_in(self, sql: str, members: Sequence[Any]) -> Iterator[Any]:
        """Yield the rows of `sql` + " IN (members)", asked for in few statements."""

    def remember(self, author: bytes, number: int) -> None:
        """Keep an author's number at hand for the commit that follows."""

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """As `Reader.record_at`."""

    def trade(self, propose_id: bytes) -> list[Record]:
        """As `Reader.trade`."""

    def person_of(self, author: bytes) -> bytes:
        """As `Reader.person_of`."""


class _Author(NamedTuple):
    """A row of authors, number 0 for one that is not there."""

    number: int
    head: Head | None
    frozen_from: int | None


_STRANGER: Final = _Author(0, None, None)


class HeldView:
    """A `View` of the store, read ahead for the records in question, else as it is asked."""

    def __init__(self, store: ViewSource, records: Iterable[Record]) -> None:
        self._store = store
        self._roots = store.roots
        self._authors: dict[bytes, _Author] = {}
        self._lots: dict[tuple[bytes, int], LotStock | None] = {}
        self._reserves: dict[tuple[bytes, int], Reserve | None] = {}
        keys: dict[bytes, None] = {}
        stocked: list[Entry] = []
        for record in records:
            body = record.entry.body
            keys[body.author] = None
            if body.stock and body.type in STOCK_TYPES and body.type != EntryType.OFFER:
                stocked.append(record.entry)
        self._read_authors(list(keys))
        self._read_stock(stocked)

    def _read_authors(self, keys: Sequence[bytes]) -> None:
        self._authors.update(dict.fromkeys(keys, _STRANGER))
        for number, key, seq, head_id, at_ms, frozen_from in self._store.select_in(
            "SELECT number, key, seq, head_id, at_ms, frozen_from FROM authors WHERE key", keys
        ):
            head = Head(seq, head_id, at_ms) if seq else None
            self._authors[key] = _Author(number, head, frozen_from)
            self._store.remember(key, number)

    def _read_stock(self, entries: Sequence[Entry]) -> None:
        lots: dict[int, bytes] = {}
        reserves: dict[int, bytes] = {}
        for entry in entries:
            author = entry.body.author
            held = self._authors[author]
            lot_seq, _, reserve_seq, *_ = entry.body.stock
            # What is above the head is not here, but comes with the records themselves.
            known = held.head.seq if held.head is not None else 0
            self._lots[author, lot_seq] = None
            if lot_seq <= known:
                lots[held.number << SEQ_BITS | lot_seq] = author
            if names_reserve(entry):
                self._reserves[author, reserve_seq] = None
                if reserve_seq <= known:
                    reserves[held.number << SEQ_BITS | reserve_seq] = author
        self._read_lots(lots)
        self._read_reserves(reserves)

    def _read_lots(self, places: dict[int, bytes]) -> None:
        for place, lot_id, last_seq, remaining, reserved, closed in self._store.select_in(
            "SELECT place, id, last_seq, remaining, reserved, closed FROM lots WHERE place",
            list(places),
        ):
            lot_seq = place & SEQ_MASK
            self._lots[places[place], lot_seq] = LotStock(
                lot_id, lot_seq, last_seq, remaining, reserved, bool(closed)
            )

    def _read_reserves(self, places: dict[int, bytes]) -> None:
        for place, reserve_id, propose_id, lot_seq, amount, resolved in self._store.select_in(
            "SELECT place, id, propose_id, lot_seq, amount, resolved_seq FROM reserves WHERE place",
            list(places),
        ):
            seq = place & SEQ_MASK
            self._reserves[places[place], seq] = Reserve(
                reserve_id, propose_id, seq, lot_seq, amount, resolved
            )

    def _author(self, author: bytes) -> _Author:
        if author not in self._authors:
            self._read_authors([author])
        return self._authors[author]

    def head(self, author: bytes) -> Head | None:
        """As `View.head`."""
        return self._author(author).head

    def frozen_from(self, author: bytes) -> int | None:
        """As `View.frozen_from`."""
        return self._author(author).frozen_from

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """As `View.record_at`."""
        return self._store.record_at(author, seq)

    def lot_at(self, author: bytes, lot_seq: int) -> LotStock | None:
        """As `View.lot_at`."""
        if (author, lot_seq) not in self._lots:
            self._lots[author, lot_seq] = None
            # A peer's number may be anything: beyond a seq it would reach into other chains.
            if lot_seq <= SEQ_MASK:
                self._read_lots({self._author(author).number << SEQ_BITS | lot_seq: author})
        return self._lots[author, lot_seq]

    def standing(self, author: bytes) -> Standing:
        """As `View.standing`."""
        return self._roots.standing(author)

    def person_of(self, author: bytes) -> bytes:
        """As `View.person_of`."""
        return self._store.person_of(author)

    def stands(self, entry: Entry) -> bool:
        """As `View.stands`."""
        return stands_among(entry, self._store.trade, self._store.person_of)

    def finishes(self, entry: Entry) -> bool:
        """As `View.finishes`."""
        return finishes_among(entry, self._store.trade)

    def reserve_at(self, author: bytes, seq: int) -> Reserve | None:
        """As `View.reserve_at`."""
        if (author, seq) not in self._reserves:
            self._reserves[author, seq] = None
            if seq <= SEQ_MASK:
                self._read_reserves({self._author(author).number << SEQ_BITS | seq: author})
        return self._reserves[author, seq]
