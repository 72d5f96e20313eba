"""What this node holds of every chain, and the one way in: judge, store, then tell.

`Chains` stands between whoever brings records (gossip, sync, the person at this node) and
whoever lives by them (sync with others, the book, trades, the event stream). Records are on
disk before anybody is told of them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from passby.ledger.chain import Append, Breach, Duplicate, Evidence, Fork, Head, Outcome
from passby.ledger.checkpoint import SignedCheckpoint
from passby.ledger.draft import Draft, compose
from passby.ledger.frames import Places
from passby.ledger.ingest import Check, View
from passby.ledger.proof import Proof
from passby.ledger.prove import evidence_of
from passby.ledger.store import Freed, Reader, Store
from passby.ledger.witness import Held
from passby.node.clock import Clock
from passby.node.clock_guard import ClockGuard
from passby.node.writer import Intake, Line
from passby.protocol.entry import Entry, Record
from passby.protocol.keys import SigningKey
from passby.protocol.statements import Statement
from passby.protocol.types import EntryType

log = logging.getLogger(__name__)
T = TypeVar("T")
_OF_STANDING = frozenset({EntryType.GENESIS, EntryType.STATEMENT})
"""Types by which a chain may come to be sealed or healed."""
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

    async def accuse(self, evidence: Evidence) -> bool:
        """Keep what a verified proof shows, and freeze its author; False if there is no need."""

    async def take(self, frames: Sequence[bytes], line: Line) -> Intake:
        """Judge and store frames that a peer sent; see `writer.Intake`."""

    async def append(self, author: bytes, make: Composer) -> list[Record]:
        """Store what `make` composes on the author's own chain; on disk when this returns."""

    async def quarantine(self, author: bytes) -> Head | None:
        """Set aside what of the author's chain is damaged; return the head that is left."""

    async def call(self, work: Callable[[Store], T]) -> T:
        """Return what `work` makes of the store."""

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Return what `work` makes of what is held, beside everything else."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Chains that were let go of whole."""

    authors: Sequence[bytes]
    placed: Sequence[bytes]
    """Ids of their offers and requests."""


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
        self._sealed: dict[bytes, int] = storage.reader.sealed()
        self._on_proven: list[Callable[[bytes], None]] = []
        self._on_freed: list[Callable[[bytes], None]] = []
        self._on_heads: list[Callable[[Iterable[bytes]], None]] = []
        self._on_records: list[Callable[[Sequence[Record]], None]] = []
        self._on_bulk: list[Callable[[Places], Awaitable[None]]] = []
        self._on_frozen: list[Callable[[bytes], None]] = []
        self._on_forgotten: list[Callable[[Forgotten], None]] = []
        self._on_erased: list[Callable[[Entry], None]] = []
        self._untold = 0
        self._before_appending: list[Callable[[], Awaitable[None]]] = []

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

    def draw(self, count: int) -> bytes:
        """Return so many random bytes."""
        return self._salt(count)

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

    def false_from(self, author: bytes) -> int | None:
        """Return the seq from which the author is proven false, None for the others."""
        return self._frozen.get(author)

    def frozen_from(self, author: bytes) -> int | None:
        """Return the seq from which the author is proven false, None for the others."""
        return self._frozen.get(author)

    def is_closed(self, author: bytes) -> bool:
        """Tell whether the author's lots are closed to new trades: it is frozen, or sealed."""
        return author in self._frozen or author in self._sealed

    @property
    def sealed(self) -> Mapping[bytes, int]:
        """Author -> the last entry below its seal. Replaced when a root speaks."""
        return self._sealed

    def on_heads(self, tell: Callable[[Iterable[bytes]], None]) -> None:
        """Call `tell` with the authors whose heads have moved, after each commit."""
        self._on_heads.append(tell)

    def on_records(self, tell: Callable[[Sequence[Record]], None]) -> None:
        """Call `tell` with records that are new on disk, or whose payload is, after each commit."""
        self._on_records.append(tell)

    def on_bulk(self, see_to: Callable[[Places], Awaitable[None]]) -> None:
        """Call `see_to` with what records that came in bulk speak of, instead of `on_records`.

        It reads what it needs, in slices, and the peer waits for it.
        """
        self._on_bulk.append(see_to)

    def on_frozen(self, tell: Callable[[bytes], None]) -> None:
        """Call `tell` with an author that has just been proven false, or sealed by its root."""
        self._on_frozen.append(tell)

    def on_proven(self, tell: Callable[[bytes], None]) -> None:
        """Call `tell` with an author that is now proven false, or from an earlier seq on."""
        self._on_proven.append(tell)

    def on_freed(self, tell: Callable[[bytes], None]) -> None:
        """Call `tell` with an author whose fork has just been healed."""
        self._on_freed.append(tell)

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
        if any(isinstance(outcome, Fork) for outcome in outcomes):
            self._restand()
        return outcomes

    async def accuse(self, proof: Proof) -> int | None:
        """Judge a proof that a peer sent, and keep it where its author is known here.

        Returns the seq from which it proves its author false; None for a stranger, of whom
        nothing is kept, and for a promise broken in a trade, which freezes nobody: whoever holds
        the trade sees it there.

        Raises:
            RemoteError: it proves nothing.
            LocalError: the disk is full or failing.
        """
        if not self.head_seq(proof.author):
            return None
        evidence = evidence_of(proof)
        if evidence is None:
            return None
        if await self._storage.accuse(evidence):
            self._freeze(evidence.author, evidence.seq)
            self._restand()
        return evidence.seq

    async def take(self, frames: Sequence[bytes], line: Line) -> Intake:
        """Judge and store frames that a peer sent, and tell where chains end now.

        What came in bulk is told of by `catch_up`, which whoever brings frames calls next.

        Raises:
            LocalError: the disk is full or failing; nothing is stored.
        """
        intake = await self._storage.take(frames, line)
        digest = intake.outcome()
        for author, seq in digest.proven:
            self._freeze(author, seq)
        if intake.places is not None:
            self._untold += 1
        else:
            self._tell([record for record in intake.fresh if self._tells(record)])
        # Heads of what was held as well: a crash may have come between commit and telling.
        self._move_heads(digest.heads)
        if digest.proven or intake.places is not None:
            self._restand()
        return intake

    async def catch_up(self, intake: Intake) -> None:
        """Tell of what came in bulk; returns when all who live by it have seen to it."""
        if intake.places is not None:
            for see_to in self._on_bulk:
                try:
                    await see_to(intake.places)
                except Exception:  # logged whole
                    log.exception("a bug in whoever hears of bulk")
            self._untold -= 1

    @property
    def has_told_all(self) -> bool:
        """Whether all who live by the records know of each; a stop may come in between."""
        return self._untold == 0

    def _tells(self, record: Record) -> bool:
        """Tell whether a record that is new here is news: a payload may have been erased."""
        if record.entry.seq > self.head_seq(record.entry.author):
            return True
        held = self._storage.reader.record(record.entry.id)
        return held is not None and (held.payload is not None or record.payload is None)

    def _move_heads(self, heads: Mapping[bytes, Head]) -> None:
        moved = [author for author, head in heads.items() if head.seq > self.head_seq(author)]
        for author in moved:
            self._heads[author] = heads[author]
        if moved:
            _tell_all(self._on_heads, moved)

    def before_appending(self, certain: Callable[[], Awaitable[None]]) -> None:
        """Await `certain` before each own append; it raises RefusedError to forbid it."""
        self._before_appending.append(certain)

    async def say(self, drafter: Drafter) -> list[Record]:
        """Append to the own chain, all or nothing, and tell; on disk when this returns.

        Raises:
            RefusedError: a rule forbids it.
            LocalError: the clock, the head guard or the disk forbids it.
        """
        head = self._heads.get(self._key.public)
        self.clock_guard.check(head.at_ms if head else None)
        for certain in self._before_appending:
            await certain()

        def make(view: View) -> list[Record]:
            head = view.head(self._key.public)
            at_ms = max(self._clock(), head.at_ms if head else 0)
            return compose(self._key, view, drafter(at_ms), at_ms, self._salt)

        records = await self._storage.append(self._key.public, make)
        self._tell(records)
        return records

    async def call(self, work: Callable[[Store], T]) -> T:
        """Return what `work` makes of the store, in the writer's thread.

        For what nobody needs to be told of.

        Raises:
            LocalError: the disk is failing; or what `work` raises.
        """
        return await self._storage.call(work)

    async def state(self, statement: Statement) -> bool:
        """Keep a root statement that came alone; False if it was held.

        Raises:
            LocalError: the disk is failing.
        """
        added = await self._storage.call(lambda store: store.add_statement(statement))
        if added:
            self._restand()
        return added

    async def quarantine(self, author: bytes) -> None:
        """Set aside what of the author's chain is damaged, so that sync fetches it again.

        Raises:
            LocalError: the file is too broken for that; `passby doctor --mend` helps.
        """
        head = await self._storage.quarantine(author)
        log.warning(
            "chain %s was damaged on disk; it is whole up to entry %s, neighbours give the rest",
            author.hex()[:12],
            head.seq if head else 0,
        )
        if head is None:
            self._heads.pop(author, None)
        else:
            self._heads[author] = head
        _tell_all(self._on_heads, [author])

    async def forget(self, authors: Sequence[bytes]) -> None:
        """Let go of whole chains, and tell whoever lives by them.

        Raises:
            LocalError: the disk is failing; nothing is forgotten.
        """
        assert self.author not in authors, "the own chain is never let go of"
        placed = await self._storage.call(lambda store: store.forget(authors))
        for author in authors:
            self._heads.pop(author, None)
            self._frozen.pop(author, None)
            self._sealed.pop(author, None)
        _tell_all(self._on_forgotten, Forgotten(authors, placed))

    def on_forgotten(self, tell: Callable[[Forgotten], None]) -> None:
        """Call `tell` with chains that were just let go of; `on_heads` is not told of them."""
        self._on_forgotten.append(tell)

    async def erase(self, entry_id: bytes) -> bool:
        """Forget a payload for good, and tell whoever shows it; False if it is not held.

        Raises:
            LocalError: the disk is failing.
        """
        record = self.reader.record(entry_id)
        if record is None:
            return False
        await self._storage.call(lambda store: store.erase_payload(entry_id))
        _tell_all(self._on_erased, record.entry)
        return True

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Return what `work`, which may take long, makes of what is committed now.

        Raises:
            LocalError: what `work` raises, or the ledger cannot be read.
        """
        return await self._storage.read(work)

    async def prune(self, author: bytes, blocks: Collection[int]) -> Freed:
        """Drop whole blocks of another's chain, as `Store.prune`; its head stays.

        Raises:
            LocalError: the chain is not what its checkpoint says, or the disk is failing.
        """
        assert author != self.author, "the own chain is never pruned"
        return await self._storage.call(lambda store: store.prune(author, blocks))

    async def keep_checkpoint(self, signed: SignedCheckpoint) -> None:
        """Keep a checkpoint that agrees with what is held, its lines verified; see `Store`.

        Raises:
            LocalError: the disk is full or failing.
        """
        await self._storage.call(lambda store: store.keep_checkpoint(signed))

    async def swap_witnessed(
        self, origin: str, held: Held, new: Held, note: Callable[[int], None]
    ) -> bool:
        """Store what was cosigned in the place of `held`, durably; False if that stands no more.

        Args:
            origin: of the log.
            held: what it was judged by.
            new: what is to be held.
            note: told by how much the tree grew, where and when it is stored.

        Raises:
            LocalError: the disk is full or failing.
        """

        def swap(store: Store) -> bool:
            stored = store.witness(origin, held, new)
            if stored:
                note(new.size - held.size)
            return stored

        return await self._storage.call(swap)

    def on_erased(self, tell: Callable[[Entry], None]) -> None:
        """Call `tell` with an entry whose payload was just erased."""
        self._on_erased.append(tell)

    def _freeze(self, author: bytes, seq: int) -> None:
        known = self._frozen.get(author)
        if known is None or seq < known:
            self._frozen[author] = seq
        if known is None:
            _tell_all(self._on_frozen, author)
        if known is None or seq < known:
            _tell_all(self._on_proven, author)

    def _restand(self) -> None:
        """Look again at who is frozen or sealed: a statement came, or what one speaks of."""
        before = self._frozen.keys() | self._sealed.keys()
        self._frozen, self._sealed = self.reader.frozen(), self.reader.sealed()
        after = self._frozen.keys() | self._sealed.keys()
        for author in after - before:
            _tell_all(self._on_frozen, author)
        for author in before - after:
            # A branch that was given up has been set aside, and the kept one is to be fetched.
            head = self.reader.head(author)
            if head is None:
                self._heads.pop(author, None)
            else:
                self._heads[author] = head
            _tell_all(self._on_heads, [author])
            _tell_all(self._on_freed, author)

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
        if any(record.entry.body.type in _OF_STANDING for record in records):
            self._restand()


def _tell_all(listeners: Iterable[Callable[[T], None]], news: T) -> None:
    for tell in listeners:
        try:
            tell(news)
        except Exception:  # logged whole
            # The records are on disk. Whoever brought them is not to fall over a listener.
            log.exception("a bug in whoever hears of new records")
