"""Storage for the node's tasks: a thread that owns the writing connection. Save, then send."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

import trio

from passby.ledger.chain import Evidence, Head, Outcome
from passby.ledger.ingest import Check
from passby.ledger.reader_sqlite import SqliteReader
from passby.ledger.store import Reader, Store
from passby.ledger.store_sqlite import SqliteStore
from passby.node.bulk import BulkHelper
from passby.node.head_guard import NAME as GUARD_NAME
from passby.node.head_guard import HeadGuard, machine_id
from passby.node.writer import (
    Accusation,
    Admission,
    Call,
    Composer,
    Intake,
    Line,
    NoGuard,
    OwnAppend,
    Request,
    Writer,
)
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError
from passby.protocol.limits import (
    BULK_IDLE_S,
    WRITE_GROUP_MAX,
    WRITE_GROUP_RECORDS_MAX,
    WRITES_WAITING_MAX,
)

T = TypeVar("T")
SWITCH_INTERVAL_S: Final = 1e-4
"""Beside a busy main thread a writer with Python's 5 ms falls to hundreds of rows a second."""


class Storage:
    """A ledger file and its writer thread; make one with `open_storage`."""

    def __init__(self, path: Path, own: bytes, guard_path: Path, machine: str) -> None:
        self._path = path
        self._own = own
        self._guard_path = guard_path
        self._machine = machine
        self._token = trio.lowlevel.current_trio_token()
        self._room = trio.Semaphore(WRITES_WAITING_MAX)
        self._queue: SimpleQueue[Request[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="passby-storage", daemon=True)
        self._opened = trio.Event()
        self._failure: Exception | None = None
        self._stopping = False
        self._helper = BulkHelper(path)
        self._writer: Writer | None = None
        self._reader: Reader | None = None

    # --- for tasks ---------------------------------------------------------------------
    @property
    def reader(self) -> Reader:
        """Reads for trio's thread: what is committed, at once."""
        assert self._reader is not None, "storage is not open"
        return self._reader

    @property
    def refusal(self) -> RefusedError | None:
        """Why nothing may be appended to the own chain, if so."""
        assert self._writer is not None, "storage is not open"
        return self._writer.refusal

    async def admit(self, records: Sequence[Record], check: Check) -> Sequence[Outcome]:
        """Judge and store what a peer sent; the outcomes are in the records' order.

        Raises:
            RemoteError: under RUNS, for a record that no honest peer sends; nothing is stored.
            LocalError: the disk is full or failing; nothing is stored.
        """
        return await self._do(Admission(records, check))

    async def accuse(self, evidence: Evidence) -> bool:
        """Keep what a verified proof shows, and freeze its author; False if there is no need.

        Raises:
            LocalError: the disk is full or failing; nothing is stored.
        """
        return await self._do(Accusation(evidence))

    async def take(self, frames: Sequence[bytes], line: Line) -> Intake:
        """Judge and store frames that a peer sent, up to the first that is refused.

        Much at once is taken in by a process of its own.

        Args:
            frames: records as they travel.
            line: what came before from the same session; once a frame is refused, nothing is.

        Raises:
            LocalError: the disk is full or failing; nothing is stored.
        """
        intake = Intake(frames, line)
        await self._do(intake)
        return intake

    async def append(self, author: bytes, make: Composer) -> list[Record]:
        """Store what `make` composes on the author's own chain; on disk when this returns.

        Args:
            author: this device's key.
            make: called in the writer's thread with what is held; again if it comes to that.

        Raises:
            RefusedError: this ledger came from a backup, or what `make` raises.
            LocalError: the disk is full or failing.
        """
        return await self._do(OwnAppend(author, make))

    async def call(self, work: Callable[[Store], T]) -> T:
        """Return what `work` makes of the store, in the writer's thread: payloads, rebuilding.

        Raises:
            LocalError: the disk is full or failing; or what `work` raises.
        """
        return await self._do(Call(work))

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Return what `work` makes of what is held, in a thread of its own.

        Raises:
            LocalError: the ledger cannot be read; or what `work` raises.
        """

        def look() -> T:
            with closing(SqliteReader.open(self._path)) as reader:
                return work(reader)

        # It only reads: whoever stops waiting leaves nothing half done.
        return await trio.to_thread.run_sync(look, abandon_on_cancel=True)

    async def quarantine(self, author: bytes) -> Head | None:
        """Set aside what of the author's chain is damaged; return the head that is left.

        Raises:
            LocalError: the file is too broken for that, or cannot be written.
        """
        return await self.call(lambda _: self._quarantine(author))

    def _quarantine(self, author: bytes) -> Head | None:
        assert self._writer is not None, "storage is not open"
        return self._writer.quarantine(author)

    async def vouch(self, head: Head) -> None:
        """Lift the refusal to append: `head` is certain to be the newest own entry there is.

        Raises:
            RefusedError: the ledger's own head is another.
        """
        await self.call(lambda _: self._vouch(head))

    def _vouch(self, head: Head) -> None:
        assert self._writer is not None, "storage is not open"
        self._writer.vouch(head)

    async def _do(self, request: Request[T]) -> T:
        async with self._room:
            assert not self._stopping, "storage is closed before those who use it"
            done = trio.Event()
            request.tell = lambda: self._token.run_sync_soon(done.set)
            self._queue.put(request)
            # Cancelling cannot call a write back, and a commit takes milliseconds.
            with trio.CancelScope(shield=True):
                await done.wait()
        return request.outcome()

    # --- opening and closing -----------------------------------------------------------
    async def start(self) -> None:
        """Open the ledger; see `open_storage`."""
        self._thread.start()
        with trio.CancelScope(shield=True):
            await self._opened.wait()
        if self._failure is not None:
            raise self._failure
        self._reader = SqliteReader.open(self._path)

    async def stop(self) -> None:
        """Write what is waiting, and close the ledger."""
        self._stopping = True
        with trio.CancelScope(shield=True):
            self._queue.put(None)
            await trio.to_thread.run_sync(self._thread.join)
        if self._reader is not None:
            self._reader.close()

    # --- the thread --------------------------------------------------------------------
    def _run(self) -> None:
        try:
            store = SqliteStore(self._path)
        except Exception as error:  # noqa: BLE001  # raised again by `start`
            self._open_failed(error)
            return
        guard = HeadGuard(self._guard_path, self._machine)
        try:
            self._writer = Writer(store, guard, self._own, self._helper)
        except Exception as error:  # noqa: BLE001  # raised again by `start`
            self._open_failed(error)
        else:
            self._token.run_sync_soon(self._opened.set)
            for group in self._groups():
                self._writer.serve(group)
        finally:
            # First: it must not outlive the lock on the home.
            self._helper.stop()
            guard.close()
            store.close()

    def _open_failed(self, error: Exception) -> None:
        self._failure = error
        self._token.run_sync_soon(self._opened.set)

    def _next(self) -> Request[Any] | None:
        """Return the next request; while nobody has any, let the helper go."""
        if self._helper.is_running:
            try:
                return self._queue.get(timeout=BULK_IDLE_S)
            except Empty:
                self._helper.stop()
        return self._queue.get()

    def _groups(self) -> Iterator[list[Request[Any]]]:
        """Yield what is waiting, as far as one transaction goes, until told to stop."""
        while (request := self._next()) is not None:
            group = [request]
            size = request.weight
            with suppress(Empty):
                while len(group) < WRITE_GROUP_MAX and size < WRITE_GROUP_RECORDS_MAX:
                    another = self._queue.get_nowait()
                    if another is None:
                        yield group
                        return
                    group.append(another)
                    size += another.weight
            yield group


class InlineStorage:
    """The same promises over any store, in the caller's own thread: for simulations."""

    def __init__(self, store: Store, own: bytes) -> None:
        self._store = store
        self._writer = Writer(store, NoGuard(), own)

    @property
    def reader(self) -> Reader:
        """As `Storage.reader`."""
        return self._store

    async def admit(self, records: Sequence[Record], check: Check) -> Sequence[Outcome]:
        """As `Storage.admit`."""
        return await self._do(Admission(records, check))

    async def accuse(self, evidence: Evidence) -> bool:
        """As `Storage.accuse`."""
        return await self._do(Accusation(evidence))

    async def take(self, frames: Sequence[bytes], line: Line) -> Intake:
        """As `Storage.take`."""
        intake = Intake(frames, line)
        await self._do(intake)
        return intake

    async def append(self, author: bytes, make: Composer) -> list[Record]:
        """As `Storage.append`."""
        return await self._do(OwnAppend(author, make))

    async def quarantine(self, author: bytes) -> Head | None:
        """As `Storage.quarantine`."""
        return await self.call(lambda _: self._writer.quarantine(author))

    async def call(self, work: Callable[[Store], T]) -> T:
        """As `Storage.call`."""
        return await self._do(Call(work))

    async def read(self, work: Callable[[Reader], T]) -> T:
        """As `Storage.read`."""
        await trio.lowlevel.checkpoint()
        return work(self._store)

    async def _do(self, request: Request[T]) -> T:
        await trio.lowlevel.checkpoint()
        self._writer.serve([request])
        return request.outcome()


@asynccontextmanager
async def open_storage(
    path: Path, own: bytes, *, guard_path: Path | None = None, machine: str | None = None
) -> AsyncIterator[Storage]:
    """Open the ledger at `path` with its writer thread; all that waits is written at the end.

    Args:
        path: the database file, made if it is not there.
        own: this device's key.
        guard_path: the head guard, by default beside the database. Leave it out of backups.
        machine: what tells this machine from others, but for tests.

    Raises:
        DamagedError, ConfigError, LocalError: the ledger or its guard cannot be used.
    """
    storage = Storage(
        path,
        own,
        guard_path if guard_path is not None else path.parent / GUARD_NAME,
        machine if machine is not None else machine_id(),
    )
    try:
        await storage.start()
        yield storage
    finally:
        await storage.stop()
