"""What this node holds of every chain, and the one way in: judge, store, then tell.

`Chains` stands between whoever brings records (gossip, sync, the person at this node) and
whoever lives by them (sync with others, the book, trades, the event stream). Records are on
disk before anybody is told of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from passby.ledger.chain import Append, Breach, Duplicate, Fork, Head, Outcome
from passby.ledger.draft import Draft, compose
from passby.ledger.ingest import Check, View
from passby.ledger.store import Reader
from passby.node.clock import Clock
from passby.node.clock_guard import ClockGuard
from passby.protocol.entry import Record
from passby.protocol.keys import SigningKey

log = logging.getLogger(__name__)
T = TypeVar("T")
Composer = Callable[[View], list[Record]]
Drafter = Callable[[int], Sequence[Draft]]
"""Given the time the entries will carry, in Unix milliseconds, says what they are."""


class Storage(Protocol):
    """Whoever owns the writing connection: a thread, or in a simulation nobody."""

    @property
    def reader(self) -> Reader:
        """Reads for the calling thread."""

    async def admit(self, records: Sequence[Record], check: Check) -> Sequence[Outcome]:
        """Judge and store what a peer sent; as `ledger.ingest.admit`."""

    async def append(self, author: bytes, make: Composer) -> list[Record]:
        """Store what `make` composes on the author's own chain; on disk when this returns."""


class Chains:
    """Heads in memory, records in storage, and the list of who wants to be told."""

    def __init__(
        self,
        storage: Storage,
        key: SigningKey,
        clock: Clock,
        salt: Callable[[int], bytes],
    ) -> None:
        self._storage = storage
        self._key = key
        self._clock = clock
        self._salt = salt
        self.clock_guard = ClockGuard(clock)
        self._heads: dict[bytes, Head] = dict(storage.reader.heads())
        self._frozen: dict[bytes, int] = storage.reader.frozen()
        self._on_heads: list[Callable[[Iterable[bytes]], None]] = []
        self._on_records: list[Callable[[Sequence[Record]], None]] = []
        self._on_frozen: list[Callable[[bytes], None]] = []

    @property
    def author(self) -> bytes:
        """This device's key."""
        return self._key.public

    @property
    def heads(self) -> Mapping[bytes, Head]:
        """Author -> the newest entry on disk. A live view."""
        return self._heads

    @property
    def reader(self) -> Reader:
        """Reads, for the node's own thread."""
        return self._storage.reader

    def now_ms(self) -> int:
        """Return the node's time, Unix milliseconds."""
        return self._clock()

    def head_seq(self, author: bytes) -> int:
        """Return the seq of the author's head, 0 for a stranger's."""
        head = self._heads.get(author)
        return head.seq if head else 0

    def is_frozen(self, author: bytes) -> bool:
        """Tell whether the author is proven false."""
        return author in self._frozen

    def on_heads(self, tell: Callable[[Iterable[bytes]], None]) -> None:
        """Call `tell` with the authors whose heads have moved, after each commit."""
        self._on_heads.append(tell)

    def on_records(self, tell: Callable[[Sequence[Record]], None]) -> None:
        """Call `tell` with records that are new on disk, or whose payload is, after each commit."""
        self._on_records.append(tell)

    def on_frozen(self, tell: Callable[[bytes], None]) -> None:
        """Call `tell` with an author that has just been proven false."""
        self._on_frozen.append(tell)

    async def admit(self, records: Sequence[Record], check: Check) -> Sequence[Outcome]:
        """Judge and store what a peer sent, and tell of what was new.

        Raises:
            RemoteError: under RUNS, for a record that no honest peer sends; nothing is stored.
            LocalError: the disk is full or failing.
        """
        outcomes = await self._storage.admit(records, check)
        fresh: list[Record] = []
        for record, outcome in zip(records, outcomes, strict=True):
            match outcome:
                case Append():
                    fresh.append(record)
                case Duplicate(completed=True):
                    # What was erased here stays so, whoever brings it.
                    held = self._storage.reader.record(record.entry.id)
                    if held is not None and held.payload is not None:
                        fresh.append(record)
                case Fork(author=author) | Breach(author=author):
                    self._freeze(author, record.entry.seq)
                case _:
                    pass
        self._tell(fresh)
        return outcomes

    async def say(self, drafter: Drafter) -> list[Record]:
        """Append to the own chain, all or nothing, and tell; on disk when this returns.

        Raises:
            RefusedError: a rule forbids it.
            LocalError: the clock, the head guard or the disk forbids it.
        """
        head = self._heads.get(self._key.public)
        self.clock_guard.check(head.at_ms if head else None)

        def make(view: View) -> list[Record]:
            head = view.head(self._key.public)
            at_ms = max(self._clock(), head.at_ms if head else 0)
            return compose(self._key, view, drafter(at_ms), at_ms, self._salt)

        records = await self._storage.append(self._key.public, make)
        self._tell(records)
        return records

    def _freeze(self, author: bytes, seq: int) -> None:
        known = self._frozen.get(author)
        if known is None or seq < known:
            self._frozen[author] = seq
        if known is None:
            _tell_all(self._on_frozen, author)

    def _tell(self, records: Sequence[Record]) -> None:
        if not records:
            return
        moved: dict[bytes, None] = {}
        for record in records:
            entry = record.entry
            # Two commits may be told of out of order; a head never goes back.
            if entry.seq > self.head_seq(entry.author):
                self._heads[entry.author] = Head(entry.seq, entry.id, entry.at_ms)
                moved[entry.author] = None
        _tell_all(self._on_heads, moved)
        _tell_all(self._on_records, records)


def _tell_all(listeners: Iterable[Callable[[T], None]], news: T) -> None:
    for tell in listeners:
        try:
            tell(news)
        except Exception:  # logged whole
            # The records are on disk. Whoever brought them is not to fall over a listener.
            log.exception("a bug in whoever hears of new records")
