"""What the owner of the writing connection does with what it is brought; plain, threadless.

Requests that come together share a transaction. An own entry is appended in this order, and
a crash at each point is safe:

    1. compose on the head that the transaction will follow
    2. commit, synced to disk           a crash before: the entry never was
    3. head guard, synced               a crash before: the guard is a step behind, which
                                        `HeadGuard.check` allows; nobody was told of the entry,
                                        and after the restart sync tells of it
    4. return, so that it is published  a crash before: as after 3
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from passby.ledger.chain import Append, Evidence, Head, Outcome
from passby.ledger.frames import Digest, Frames, Places, news_in, places_in
from passby.ledger.ingest import Batch, Check, Overlay, View, accuse, admit
from passby.ledger.salvage import sound_to
from passby.ledger.store import Store
from passby.protocol.entry import Record
from passby.protocol.errors import LocalError, RefusedError
from passby.protocol.limits import BULK_MIN

Composer = Callable[[View], list[Record]]
"""Given what is held, returns own records that follow the own head; may be asked again."""
T = TypeVar("T")
log = logging.getLogger(__name__)


class Guard(Protocol):
    """What guards the own head; see `head_guard`."""

    def check(self, head: Head | None, id_at: Callable[[int], bytes | None]) -> None:
        """Raise RefusedError where the own chain must not go on from `head`."""

    def write(self, head: Head | None) -> None:
        """Note the new head."""

    def renew(self, head: Head | None) -> None:
        """Begin anew at `head`."""

    def close(self) -> None:
        """Let go of the file."""


class HelperGoneError(Exception):
    """The helper crashed, or does not answer."""


class Helper(Protocol):
    """Takes frames into the same store from elsewhere; see `bulk`."""

    def is_ready(self) -> bool:
        """Tell whether it can be used now; the first asking may start it."""

    def take(self, frames: Sequence[bytes]) -> tuple[Digest, Places]:
        """Judge and commit; nobody else writes meanwhile.

        Raises:
            HelperGoneError: what became of the frames is not known.
            LocalError: the disk is full or failing; nothing is stored.
        """


class NoGuard:
    """Guards nothing: for stores that no backup can bring back."""

    def check(self, head: Head | None, id_at: Callable[[int], bytes | None]) -> None:
        """As `Guard.check`."""

    def write(self, head: Head | None) -> None:
        """As `Guard.write`."""

    def renew(self, head: Head | None) -> None:
        """As `Guard.renew`."""

    def close(self) -> None:
        """As `Guard.close`."""


class Asked(Generic[T]):
    """Anything the writer is asked for, and what came of it: `outcome` raises or returns."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.tell: Callable[[], None] | None = None
        self._values: list[T] = []

    @property
    def weight(self) -> int:
        """About how many records these are, without decoding any."""
        return 0

    def settle(self, value: T) -> None:
        """Note what `outcome` returns unless there is an error."""
        self._values = [value]

    def finish(self) -> None:
        """Tell whoever waits."""
        if self.tell is not None:
            self.tell()

    def outcome(self) -> T:
        """Return or raise what came of it, once finished."""
        if self.error is not None:
            raise self.error
        return self._values[0]


class Judged(Asked[T], ABC):
    """Records to write in a transaction that others may share."""

    own: bytes | None = None

    @property
    def records(self) -> Sequence[Record]:
        """Those to judge, for reading ahead what they depend on."""
        return ()

    @property
    def weight(self) -> int:
        """As `Asked.weight`."""
        return len(self.records)

    @abstractmethod
    def judge(self, view: Overlay) -> Batch:
        """Return what to write; nothing in `view` changes."""


class Admission(Judged[Sequence[Outcome]]):
    """Records that a peer sent."""

    def __init__(self, records: Sequence[Record], check: Check) -> None:
        super().__init__()
        self._records = records
        self._check = check

    @property
    def records(self) -> Sequence[Record]:
        """As `Judged.records`."""
        return self._records

    def judge(self, view: Overlay) -> Batch:
        """As `Judged.judge`."""
        batch = admit(view, self._records, self._check)
        self.settle(batch.outcomes)
        return batch


class Accusation(Judged[bool]):
    """What a verified proof is kept as; tells whether it was taken."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__()
        self._evidence = evidence

    def judge(self, view: Overlay) -> Batch:
        """As `Judged.judge`."""
        batch = accuse(view, self._evidence)
        self.settle(bool(batch.evidence))
        return batch


@dataclass(slots=True)
class Line:
    """What one peer sends in one session: behind a frame that is refused nothing is read."""

    refused: bool = False


class Intake(Judged[Digest]):
    """Frames that a peer sent, not decoded before the writer's turn."""

    def __init__(self, frames: Sequence[bytes], line: Line | None = None) -> None:
        super().__init__()
        self.frames = frames
        self._line = line or Line()
        self.fresh: list[Record] = []
        """Records that are new or whose payload is, unless they are too many to be told of each."""
        self.places: Places | None = None
        """What the new records speak of, where they are so many."""
        self._read: Frames | None = None

    @property
    def size(self) -> int:
        """Bytes of the frames."""
        return sum(map(len, self.frames))

    @property
    def weight(self) -> int:
        """As `Judged.weight`."""
        return self.size // 256 + 1

    @property
    def records(self) -> Sequence[Record]:
        """What the frames hold, as far as they can be read."""
        return self._decoded().records

    def _decoded(self) -> Frames:
        if self._read is None:
            self._read = Frames(() if self.is_void else self.frames)
        return self._read

    @property
    def is_void(self) -> bool:
        """Whether a frame before these was refused."""
        return self._line.refused

    def settle(self, value: Digest) -> None:
        """As `Asked.settle`."""
        self._line.refused |= value.fault is not None
        super().settle(value)

    def judge(self, view: Overlay) -> Batch:
        """As `Judged.judge`."""
        if self.is_void:
            self.settle(Digest())
            return Batch()
        batch, digest = self._decoded().judge(view)
        if self.size < BULK_MIN:
            self.fresh = news_in(batch)
        else:
            self.places = places_in(batch)
        self.settle(digest)
        return batch


class OwnAppend(Judged[list[Record]]):
    """Records that the node itself composes, all or none."""

    def __init__(self, author: bytes, make: Composer) -> None:
        super().__init__()
        self.own = author
        self._make = make

    def judge(self, view: Overlay) -> Batch:
        """As `Judged.judge`."""
        records = self._make(view)
        batch = admit(view, records, Check.OWN)
        for record, outcome in zip(records, batch.outcomes, strict=True):
            assert record.entry.author == self.own, "an own append of another author's entry"
            assert isinstance(outcome, Append), f"an own entry that is not appended: {outcome}"
        self.settle(records)
        return batch


class Call(Asked[T]):
    """Any work on the store that is a transaction of its own."""

    def __init__(self, work: Callable[[Store], T]) -> None:
        super().__init__()
        self.work = work


Request: TypeAlias = Judged[T] | Call[T]
"""What the writer serves."""


class Writer:
    """Owns a store; whoever calls it must always be the same thread.

    Args:
        store: nobody else writes it.
        guard: guards the head of `own`.
        own: this device's key.
        helper: takes in bulk while this one waits, if there is one.
    """

    def __init__(
        self, store: Store, guard: Guard, own: bytes, helper: Helper | None = None
    ) -> None:
        self._helper = helper
        self._store = store
        self._guard = guard
        self._own = own
        self.refusal: RefusedError | None = None
        """Why nothing may be appended; the node still follows and serves others' chains."""
        head = store.head(own)
        try:
            guard.check(head, self._own_id)
            # A crash may have left the guard a step behind. What is said from here on tells of
            # the last step: should it be lost, the guard must know that it was there.
            guard.write(head)
        except RefusedError as error:
            self.refusal = error
        self._written = head.seq if head is not None else 0
        """The last own seq known to be said: after a heal the chain here may end below it."""

    def _own_id(self, seq: int) -> bytes | None:
        record = self._store.record_at(self._own, seq)
        return record.entry.id if record is not None else None

    def vouch(self, head: Head) -> None:
        """Lift the refusal: `head` is certain to be the newest own entry there is.

        Raises:
            RefusedError: the ledger's own head is another.
            LocalError: the guard cannot be written.
        """
        held = self._store.head(self._own)
        if held != head:
            raise RefusedError(
                f"The own chain here ends at entry {held.seq if held else 0}, not {head.seq}.",
                "Let the node fetch the missing entries from its neighbours first.",
            )
        self._guard.renew(held)
        self.refusal = None

    def quarantine(self, author: bytes) -> Head | None:
        """Set aside what of the author's chain is damaged, and all behind it; return its head.

        Sync fetches it again. Damage to the own chain refuses every append until neighbours
        have given back the entry that the guard names.

        Raises:
            LocalError: the file is too broken for that, or cannot be written.
        """
        head = self._store.head(author)
        sound = sound_to(self._store, author)
        if head is None or sound < head.seq:
            self._store.cut(author, sound, "not what was written")
        if author == self._own:
            self._look_again()
        return self._store.head(author)

    def serve(self, requests: Sequence[Request[Any]]) -> None:
        """Serve all and tell each; what can share a transaction does."""
        shared: list[Judged[Any]] = []
        for request in requests:
            if isinstance(request, Call):
                self._write(shared)
                shared = []
                self._call(request)
            elif isinstance(request, Intake) and self._helps_with(request):
                self._write(shared)
                shared = []
                self._hand_over(request)
            else:
                shared.append(request)
        self._write(shared)

    def _helps_with(self, request: Intake) -> bool:
        return self._helper is not None and request.size >= BULK_MIN and self._helper.is_ready()

    def _hand_over(self, request: Intake) -> None:
        """Let the helper write; it has the store to itself until it answers."""
        assert self._helper is not None
        if request.is_void:
            request.settle(Digest())
            request.finish()
            return
        try:
            digest, request.places = self._helper.take(request.frames)
        except HelperGoneError as error:
            # A crash of the helper is safe: what it had committed is met again as held, and
            # what it had not is taken in here.
            log.warning("%s", error)
            self._write([request])
            return
        except LocalError as error:
            request.error = error
        else:
            request.settle(digest)
            if self.refusal is not None and self._own in digest.heads:
                self._look_again()
        request.finish()

    def _call(self, request: Call[Any]) -> None:
        try:
            request.settle(request.work(self._store))
        except Exception as error:  # noqa: BLE001  # raised again where it is awaited
            request.error = error
        request.finish()

    def _write(self, requests: Sequence[Judged[Any]]) -> None:
        if not requests:
            return
        try:
            together = self._write_together(requests)
        except Exception as error:  # noqa: BLE001  # raised again where it is awaited
            for request in requests:
                request.error = request.error or error
            together = True
        if not together:
            # One that has no room on the disk must not take those with it that have.
            for request in requests:
                self._write([request])
            return
        for request in requests:
            request.finish()

    def _write_together(self, requests: Sequence[Judged[Any]]) -> bool:
        """Write `requests` in one transaction; False if that failed and each is to be tried."""
        view = Overlay(
            self._store.view(record for request in requests for record in request.records)
        )
        batches: list[Batch] = []
        durable = False
        for request in requests:
            if request.own is not None:
                self._look_back(view.head(self._own))
            if request.own is not None and self.refusal is not None:
                request.error = self.refusal
                continue
            try:
                batch = request.judge(view)
            except Exception as error:  # noqa: BLE001  # raised again where it is awaited
                request.error = error
                continue
            view.absorb(batch)
            batches.append(batch)
            durable = durable or request.own is not None
        try:
            if batches:
                self._store.commit(batches, durable=durable)
        except LocalError:
            if len(requests) > 1:
                return False
            raise
        if durable:
            head = view.head(self._own)
            self._written = head.seq if head is not None else 0
            try:
                self._guard.write(head)
            except LocalError as error:
                for request in requests:
                    if request.own is not None:
                        request.error = request.error or error
        elif self.refusal is not None and any(self._own in batch.heads for batch in batches):
            self._look_again()
        return True

    def _look_back(self, head: Head | None) -> None:
        """Go on from no entry below the last one said, as where a heal kept the other branch."""
        if self.refusal is None and (head.seq if head is not None else 0) < self._written:
            self._look_again()

    def _look_again(self) -> None:
        """Lift the refusal once neighbours have given back what the guard says was written.

        A guard that is gone, copied or another machine's says nothing about the newest entry,
        and goes on refusing.
        """
        try:
            self._guard.check(self._store.head(self._own), self._own_id)
        except RefusedError as error:
            self.refusal = error
        else:
            self.refusal = None

    def close(self) -> None:
        """Close the store and the guard."""
        self._guard.close()
        self._store.close()
