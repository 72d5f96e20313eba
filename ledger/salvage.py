"""Salvage: what a damaged ledger file still holds, taken into a new one.

There is one path. Every row that can be read is read, however the file is broken; what is an
entry by its own bytes is admitted into an empty store exactly as if a peer had sent it, so
that nothing gets in that a peer could not have brought; what was forgotten on purpose stays
forgotten. A chain ends where its first unreadable entry was, and sync fetches the rest. The
damaged file is only read: whoever calls sets it aside and keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from passby.ledger.chain import Evidence, Proof
from passby.ledger.checkpoint import SignedCheckpoint, check_chain, parse_checkpoint
from passby.ledger.ingest import Batch, Check, admit
from passby.ledger.proof_bytes import unpack_evidence
from passby.ledger.prove import evidence_of, proof_in
from passby.ledger.regain_sqlite import record_in
from passby.ledger.schema import SEQ_BITS, Connection, SqliteError, open_damaged
from passby.ledger.store import Reader
from passby.ledger.store_sqlite import SqliteStore
from passby.ledger.tree import block_of
from passby.ledger.witness import EMPTY, Held
from passby.protocol.entry import (
    HASH_BYTES,
    Entry,
    Record,
)
from passby.protocol.errors import DamagedError, LocalError, RemoteError
from passby.protocol.keys import verify
from passby.protocol.limits import RUN_MAX
from passby.protocol.statements import Statement, parse_statement

_ROWS: Final = 256
"""Rows asked for at once, while reading goes well."""
_PLACE_MAX: Final = 2**62


class Salvaged(msgspec.Struct, frozen=True):
    """What came of it: entries taken over, and where each chain ends now."""

    entries: int
    unreadable: int
    """Stretches of the file that SQLite cannot read.

    Where there are none, rows may still be lost: a witness never goes on with its key."""
    heads: dict[bytes, int]


def salvage(path: Path, fresh: Path) -> Salvaged:
    """Take what can be read of the ledger at `path` into a new one at `fresh`.

    Raises:
        LocalError: the new file cannot be written.
    """
    with closing(SqliteStore(fresh)) as store:
        try:
            connection = open_damaged(path)
        except LocalError:
            # Nothing at all can be read, not even which tables there are.
            return Salvaged(0, 1, {})
        with closing(connection):
            return _take_over(_Wreck(connection), store)


def sound_to(reader: Reader, author: bytes) -> int:
    """Return how far the author's chain is whole: read, linked, and ending in a signature.

    All payloads up to there are those that were committed to, or are not held. What was pruned
    on purpose is passed over; what is left before it ends in a signature of its own.
    """
    last: Entry | None = None
    seq, signed = 1, 0
    pending: list[Entry] = []
    pruned = reader.pruned(author).blocks
    while True:
        if (block := block_of(seq)) in pruned:
            signed = _last_signed(pending) or signed
            if signed != seq - 1:
                return signed
            last, pending = None, []
            seq, signed = block + 1, block
            continue
        try:
            record = reader.record_at(author, seq)
        except DamagedError:
            record = None
        if record is None or record.entry.author != author:
            break
        prev = record.entry.body.prev
        if (prev is None) is not (seq == 1) or (last is not None and prev != last.id):
            break
        last = record.entry
        seq += 1
        pending.append(last)
        # Relays may have garbled the signatures within a run, never a whole run's.
        if len(pending) == 2 * RUN_MAX:
            if not (found := _last_signed(pending)):
                return signed
            signed = found
            pending = pending[len(pending) - (last.seq - found) :]
    return _last_signed(pending) or signed


def _last_signed(entries: Sequence[Entry]) -> int:
    for entry in reversed(entries):
        if verify(entry.author, entry.raw):
            return entry.seq
    return 0


class _Wreck:
    """Rows of a file in which any page may be broken."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self.unreadable = 0

    def rows(self, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield rows by their integer key, rising; passes over what cannot be read."""
        sql = f"SELECT {key}, {columns} FROM {table} WHERE {key} >= ? ORDER BY {key} LIMIT ?"  # noqa: S608  # constants
        start, count, step = 1, _ROWS, 1
        while start < _PLACE_MAX:
            try:
                found = self._db.execute(sql, (start, count)).fetchall()
            except (SqliteError, OverflowError):
                found = None
            if found is None and count > 1:
                # One bad page among good ones: closer and closer to it.
                count = max(count // 4, 1)
                continue
            if found is None:
                if step == 1:
                    self.unreadable += 1
                start, step = start + step, step * 2
                continue
            if step > 1:
                # Past the bad page, but maybe too far: back to where it ends.
                start, step = self._first_readable(sql, start - step // 2, start), 1
                count = _ROWS
                continue
            count = min(count * 2, _ROWS)
            for row in found:
                # Broken pages can name each other: a place never comes twice.
                if not isinstance(row[0], int) or row[0] < start:
                    self.unreadable += 1
                    return
                yield row
                start = row[0] + 1
            if not found:
                return

    def column(self, table: str, column: str) -> list[Any]:
        """Return a column of a small table without an integer key, as far as it can be read."""
        found: list[Any] = []
        with suppress(SqliteError):
            for (value,) in self._db.execute(f"SELECT {column} FROM {table}"):  # noqa: S608  # constants
                found.append(value)
        return found

    def _first_readable(self, sql: str, bad: int, good: int) -> int:
        while good - bad > 1:
            middle = (bad + good) // 2
            try:
                self._db.execute(sql, (middle, 1)).fetchall()
            except SqliteError:
                bad = middle
            else:
                good = middle
        return good


def _take_over(wreck: _Wreck, store: SqliteStore) -> Salvaged:
    for statement in _statements(wreck):
        store.add_statement(statement)
    forgotten = _forgotten(wreck)
    taking = _Chain(store)
    for place, raw, carried in wreck.rows("entries", "place", "raw, carried"):
        record = record_in(place, raw, carried, forgotten)
        # What was erased stays so, wherever the file says it.
        if record is not None and carried == b"":
            forgotten.add(record.entry.id)
        if record is not None:
            taking.take(place >> SEQ_BITS, record)
    taking.end()
    store.never_take(forgotten)
    for evidence in _evidence(wreck):
        store.commit([Batch(evidence=[evidence])], durable=True)
    for signed in _checkpoints(wreck):
        store.keep_checkpoint(signed)
    for held in _witnessed(wreck):
        origin = parse_checkpoint(held.note).head.origin
        store.witness(origin, EMPTY, held)
    return Salvaged(
        taking.entries, wreck.unreadable, {author: head.seq for author, head in store.heads()}
    )


class _Chain:
    """Admits the records of one chain after the other, each as far as it is whole."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._number = 0
        self._waiting: list[Record] = []
        self._broken = False
        self.entries = 0

    def take(self, number: int, record: Record) -> None:
        """Take the next record of the chain with this number."""
        if number != self._number:
            self.end()
            self._number, self._broken = number, False
        if self._broken:
            return
        entry = record.entry
        last = self._waiting[-1].entry if self._waiting else None
        if last is None:
            head = self._store.head(entry.author)
            following, prev = (head.seq + 1, head.id) if head is not None else (1, None)
        else:
            following, prev = last.seq + 1, last.id
        if entry.seq != following or entry.body.prev != prev:
            self._broken = True
            return
        self._waiting.append(record)
        if len(self._waiting) == RUN_MAX:
            self._admit()

    def end(self) -> None:
        """Admit what waits."""
        if self._waiting:
            self._admit()

    def _admit(self) -> None:
        # Every signature: garbage inside a run is damage here, and a neighbour has the real one.
        run, self._waiting = self._waiting, []
        batch = admit(self._store.view(run), run, Check.EACH)
        self._broken = len(batch.appended) < len(run)
        self._store.commit([batch], durable=False)
        self.entries += len(batch.appended)


def _statements(wreck: _Wreck) -> Iterator[Statement]:
    for raw in wreck.column("statements", "raw"):
        try:
            yield parse_statement(raw)
        except (RemoteError, TypeError):
            continue


def _checkpoints(wreck: _Wreck) -> Iterator[SignedCheckpoint]:
    """Yield the checkpoints that their authors' signatures still fit."""
    for _, note in wreck.rows("checkpoints", "author", "note"):
        with suppress(RemoteError, TypeError):
            signed = parse_checkpoint(note)
            check_chain(signed)
            yield signed


def _witnessed(wreck: _Wreck) -> Iterator[Held]:
    for _, size, root, note, at_s in wreck.rows("witnessed", "number", "size, root, note, at_s"):
        with suppress(RemoteError, TypeError):
            signed = parse_checkpoint(note)
            check_chain(signed)
            if (signed.head.size, signed.head.root) == (size, root) and isinstance(at_s, int):
                yield Held(size, root, note, at_s)


def _forgotten(wreck: _Wreck) -> set[bytes]:
    return {
        entry_id
        for _, entry_id in wreck.rows("erasures", "number", "id")
        if isinstance(entry_id, bytes) and len(entry_id) == HASH_BYTES
    }


def _evidence(wreck: _Wreck) -> Iterator[Evidence]:
    """Yield the proofs that still hold."""
    for _, _, proof, rule, packed in wreck.rows("evidence", "author", "seq, proof, rule, elements"):
        try:
            kind, text = Proof(bytes(proof).decode()), bytes(rule).decode()
            # Whom it accuses it says itself: the row's own columns may be what is damaged.
            evidence = evidence_of(proof_in(unpack_evidence(b"", 0, kind, text, packed)))
        except (RemoteError, TypeError, ValueError):
            continue
        if evidence is not None:
            yield evidence
