"""The store on disk: SQLite, one connection that writes, others that read beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec

from passby.ledger import schema
from passby.ledger.chain import Evidence, Head
from passby.ledger.ingest import Batch, View
from passby.ledger.reader_sqlite import SqliteReader, id8, trade_of
from passby.ledger.schema import CLEAR_FOLDS, SEQ_BITS, SEQ_MASK, Connection, faults
from passby.ledger.standing import Roots, Standing, stands_among
from passby.ledger.store import ABANDONED, checked_payload, concerned, replay, until_ms
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import RefusedError
from passby.protocol.statements import Statement
from passby.protocol.stock import STOCK_TYPES, LotStock, Reserve, names_reserve
from passby.protocol.types import TRADE_TYPES, EntryType

_CHUNKS: Final = (256, 64, 16, 4, 1)
"""Rows of one INSERT or members of one IN: few sizes, so that their statements stay prepared."""
_NUMBERS_MAX: Final = 65_536
"""Author numbers kept in memory, about 10 MB; the rest are a query away."""


class _Table:
    """Rows for one table, one flat list of values, written by as few statements as may be."""

    def __init__(self, into: str, width: int, conflict: str = "") -> None:
        self._width = width
        row = f"({','.join('?' * width)})"
        self._sql = {
            size: f"INSERT INTO {into} VALUES {','.join([row] * size)} {conflict}"  # noqa: S608  # constants
            for size in _CHUNKS
        }

    def insert(self, db: Connection, values: Sequence[Any]) -> None:
        """Insert `values`, row after row; a loop of single inserts is many times slower."""
        start, width = 0, self._width
        for size, sql in self._sql.items():
            step = size * width
            while len(values) - start >= step:
                db.execute(sql, values[start : start + step])
                start += step


_ENTRIES: Final = _Table("entries (place, id8, checked, raw, carried)", 5)
_TRADES: Final = _Table("trades (propose8, place)", 2)
_PROPOSES: Final = _Table("proposes (place, at_ms)", 2)
_REQUESTS: Final = _Table("requests (place, until_ms)", 2)
_LOTS: Final = _Table(
    "lots (place, until_ms, id, last_seq, remaining, reserved, closed)",
    7,
    "ON CONFLICT (place) DO UPDATE SET last_seq = excluded.last_seq,"
    " remaining = excluded.remaining, reserved = excluded.reserved, closed = excluded.closed",
)
_RESERVES: Final = _Table(
    "reserves (place, id, propose_id, lot_seq, amount, resolved_seq)",
    6,
    "ON CONFLICT (place) DO UPDATE SET resolved_seq = excluded.resolved_seq",
)
_HEADS: Final = _Table(
    "authors (number, key, seq, head_id, at_ms)",
    5,
    "ON CONFLICT (number) DO UPDATE SET seq = excluded.seq, head_id = excluded.head_id,"
    " at_ms = excluded.at_ms",
)


_FORGET: Final = (
    "INSERT INTO erasures (place, id) VALUES (?, ?)"
    " ON CONFLICT (id) DO UPDATE SET place = excluded.place"
)


class _Author(NamedTuple):
    """A row of authors, number 0 for one that is not there."""

    number: int
    head: Head | None
    frozen_from: int | None


_STRANGER: Final = _Author(0, None, None)


def _chunked(members: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut `members` into chunks of the sizes in _CHUNKS, the last one filled by repeating."""
    start, most = 0, _CHUNKS[0]
    while (left := len(members) - start) > 0:
        chunk = members[start : start + most]
        if left < most:
            size = next(size for size in reversed(_CHUNKS) if size >= left)
            chunk = [*chunk, *[chunk[-1]] * (size - left)]
        yield chunk
        start += most


class _Held:
    """A `View` of the store, read ahead for the records in question, else as it is asked."""

    def __init__(self, store: SqliteStore, records: Iterable[Record]) -> None:
        self._store = store
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
        for chunk in _chunked(keys):
            for number, key, seq, head_id, at_ms, frozen_from in self._store.select_in(
                "SELECT number, key, seq, head_id, at_ms, frozen_from FROM authors WHERE key", chunk
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
        for chunk in _chunked(list(places)):
            for place, lot_id, last_seq, remaining, reserved, closed in self._store.select_in(
                "SELECT place, id, last_seq, remaining, reserved, closed FROM lots WHERE place",
                chunk,
            ):
                lot_seq = place & SEQ_MASK
                self._lots[places[place], lot_seq] = LotStock(
                    lot_id, lot_seq, last_seq, remaining, reserved, bool(closed)
                )

    def _read_reserves(self, places: dict[int, bytes]) -> None:
        for chunk in _chunked(list(places)):
            for place, reserve_id, propose_id, lot_seq, amount, resolved in self._store.select_in(
                "SELECT place, id, propose_id, lot_seq, amount, resolved_seq FROM reserves"
                " WHERE place",
                chunk,
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
        return self._author(author).head

    def frozen_from(self, author: bytes) -> int | None:
        return self._author(author).frozen_from

    def record_at(self, author: bytes, seq: int) -> Record | None:
        return self._store.record_at(author, seq)

    def lot_at(self, author: bytes, lot_seq: int) -> LotStock | None:
        if (author, lot_seq) not in self._lots:
            self._lots[author, lot_seq] = None
            # A peer's number may be anything: beyond a seq it would reach into other chains.
            if lot_seq <= SEQ_MASK:
                self._read_lots({self._author(author).number << SEQ_BITS | lot_seq: author})
        return self._lots[author, lot_seq]

    def standing(self, author: bytes) -> Standing:
        return self._store.roots.standing(author)

    def person_of(self, author: bytes) -> bytes:
        return self._store.person_of(author)

    def stands(self, entry: Entry) -> bool:
        return stands_among(entry, self._store.trade, self._store.person_of)

    def reserve_at(self, author: bytes, seq: int) -> Reserve | None:
        if (author, seq) not in self._reserves:
            self._reserves[author, seq] = None
            if seq <= SEQ_MASK:
                self._read_reserves({self._author(author).number << SEQ_BITS | seq: author})
        return self._reserves[author, seq]


class SqliteStore(SqliteReader):
    """A `Store` in one file, for the one thread that writes it.

    Others read beside it through `SqliteReader.open` on the same path.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the ledger at `path`.

        Raises:
            DamagedError, ConfigError, LocalError: as `schema.open_writer`.
        """
        super().__init__(path, schema.open_writer(path))
        self._numbers: dict[bytes, int] = {}
        self._durable = True
        self._roots: Roots | None = None
        self._version = 0
        self._erased: set[bytes] = set()
        self._data_version = 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the ledger at `path`, as the constructor."""
        return cls(path)

    def select_in(self, sql: str, members: Sequence[Any]) -> list[Any]:
        """Return the rows of `sql` + " IN (members)"."""
        return self._all(f"{sql} IN ({','.join('?' * len(members))})", members)

    def remember(self, author: bytes, number: int) -> None:
        """Keep an author's number at hand for the commit that follows."""
        if len(self._numbers) >= _NUMBERS_MAX:
            self._numbers.clear()
        self._numbers[author] = number

    def _number(self, author: bytes) -> int | None:
        number = self._numbers.get(author)
        if number is None:
            number = super()._number(author)
            if number is not None:
                self.remember(author, number)
        return number

    def view(self, records: Iterable[Record]) -> View:
        """As `Store.view`."""
        version = self._one("PRAGMA data_version")[0]
        if version != self._version:
            # Another process takes in bulk, and may have read what a root says.
            self._version, self._roots = version, None
        return _Held(self, records)

    # --- writing -----------------------------------------------------------------------
    def commit(self, batches: Sequence[Batch], *, durable: bool) -> None:
        """As `Store.commit`."""
        heads: dict[bytes, Head] = {}
        lots: dict[tuple[bytes, int], LotStock] = {}
        reserves: dict[tuple[bytes, int], Reserve] = {}
        for batch in batches:
            heads.update(batch.heads)
            lots.update(batch.lots)
            reserves.update(batch.reserves)
        with self._transaction(durable=durable):
            for author in heads:
                self._numbered(author)
            last_days: dict[int, int] = {}
            for batch in batches:
                self._write_records(batch, last_days)
                for record in batch.payloads:
                    self._give_payload(record)
            self._write_stock(lots, reserves, last_days)
            self._write_heads(heads)
            for batch in batches:
                for evidence in batch.evidence:
                    self._write_evidence(evidence)
                for statement in batch.statements:
                    self._write_statement(statement)
                for author in concerned(batch, self.roots):
                    self._settle(author)

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        with faults(self.path):
            if durable != self._durable:
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._read_erased()
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # Numbers given in the transaction are void with it. SQLite has rolled back
                # by itself where the disk was full.
                self._numbers.clear()
                self._roots = None
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _read_erased(self) -> None:
        """Know what was erased, by this process or another one that takes in bulk."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            # Few: people erase by hand.
            self._erased = {found for (found,) in self._db.execute("SELECT id FROM erasures")}
            self._data_version = version

    def _numbered(self, author: bytes) -> int:
        """Return the author's number, giving one to a new author."""
        number = self._number(author)
        if number is None:
            row = self._db.execute(
                "INSERT INTO authors (key, seq, at_ms) VALUES (?, 0, 0) RETURNING number", (author,)
            ).fetchone()
            number = int(row[0])
            self.remember(author, number)
        return number

    def _write_records(self, batch: Batch, last_days: dict[int, int]) -> None:
        entries: list[Any] = []
        folds = _Folds(last_days)
        for appended in batch.appended:
            record = appended.record
            entry = record.entry
            body = entry.body
            number = self._numbers.get(body.author) or self._numbered(body.author)
            place = number << SEQ_BITS | body.seq
            salt, payload = record.salt, record.payload
            entries += (
                place,
                int.from_bytes(entry.id[:8], "big", signed=True),
                appended.checked,
                entry.raw,
                None if salt is None or payload is None else salt + payload,
            )
            if entry.id in self._erased:
                entries[-1] = b""
                self._db.execute(_FORGET, (place, entry.id))
            folds.take(place, entry)
        _ENTRIES.insert(self._db, entries)
        folds.write(self._db)

    def _write_stock(
        self,
        lots: dict[tuple[bytes, int], LotStock],
        reserves: dict[tuple[bytes, int], Reserve],
        last_days: dict[int, int],
    ) -> None:
        rows: list[Any] = []
        for (author, _), lot in lots.items():
            place = self._numbered(author) << SEQ_BITS | lot.lot_seq
            # Only an offer sets the last day; for a lot already there the value is not used.
            until = last_days.get(place, 0)
            rows += (place, until, lot.lot_id, lot.last_seq, lot.remaining, lot.reserved)
            rows.append(lot.closed)
        _LOTS.insert(self._db, rows)
        rows = []
        for (author, seq), held in reserves.items():
            place = self._numbered(author) << SEQ_BITS | seq
            rows += (place, held.id, held.propose_id, held.lot_seq, held.amount, held.resolved_seq)
        _RESERVES.insert(self._db, rows)

    def _write_heads(self, heads: dict[bytes, Head]) -> None:
        rows: list[Any] = []
        for author, head in heads.items():
            rows += (self._numbered(author), author, head.seq, head.id, head.at_ms)
        _HEADS.insert(self._db, rows)

    def _write_evidence(self, evidence: Evidence) -> None:
        number = self._numbered(evidence.author)
        packed = msgspec.msgpack.encode(
            [[entry.raw for entry in element] for element in evidence.elements]
        )
        self._db.execute(
            "INSERT INTO evidence (author, seq, proof, rule, elements) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (author) DO UPDATE SET seq = excluded.seq, proof = excluded.proof,"
            " rule = excluded.rule, elements = excluded.elements WHERE excluded.seq < evidence.seq"
            # What is proven beside a healed fork takes its place.
            " OR (SELECT frozen_from IS NULL FROM authors WHERE number = evidence.author)",
            (number, evidence.seq, evidence.proof, evidence.rule, packed),
        )
        self._db.execute(
            "UPDATE authors SET frozen_from = min(ifnull(frozen_from, ?1), ?1) WHERE number = ?2",
            (evidence.seq, number),
        )

    # --- statements --------------------------------------------------------------------
    @property
    def roots(self) -> Roots:
        """What all statements make of whom; read once, and again after a failed commit."""
        if self._roots is None:
            self._roots = self._read_roots()
        return self._roots

    def add_statement(self, statement: Statement) -> bool:
        """As `Store.add_statement`."""
        with self._transaction(durable=False):
            added = self._write_statement(statement)
            if added:
                self._settle(statement.device)
        return added

    def _write_statement(self, statement: Statement) -> bool:
        added = self.roots.add(statement)
        self._db.execute(
            "INSERT OR IGNORE INTO statements VALUES (?, ?)", (statement.device, statement.raw)
        )
        return added

    def _settle(self, author: bytes) -> None:
        """Let statements have their effect on the author's chain, in the open transaction."""
        self.roots.look_again(author)
        number = self._number(author)
        if number is None:
            return
        standing = self.roots.standing(author)
        heal, seal = standing.heal, standing.seal
        held = self.record_at(author, heal.seq) if heal is not None else None
        if heal is not None and held is not None and held.entry.id != heal.id:
            self._cut(author, heal.seq - 1, ABANDONED)
            # A proof from further up has one side in the branch that was given up.
            self._db.execute(
                "DELETE FROM evidence WHERE author = ? AND seq > ?", (number, heal.seq)
            )
            self.roots.look_again(author)
        proof = self._proof(author)
        healed = self.roots.standing(author).heal is not None
        self._db.execute(
            "UPDATE authors SET sealed_at = ?, frozen_from = ? WHERE number = ?",
            (
                seal.seq if seal is not None else None,
                proof.seq if proof is not None and not healed else None,
                number,
            ),
        )

    # --- payloads ----------------------------------------------------------------------
    def _place(self, entry_id: bytes) -> int | None:
        record = self.record(entry_id)
        if record is None:
            return None
        return self._numbered(record.entry.author) << SEQ_BITS | record.entry.seq

    def _give_payload(self, record: Record) -> bool:
        if record.salt is None or record.payload is None:
            return False
        place = self._numbered(record.entry.author) << SEQ_BITS | record.entry.seq
        # An erased payload is an empty blob and stays so.
        changed = self._db.execute(
            "UPDATE entries SET carried = ? WHERE place = ? AND ifnull(carried, 1) != x''",
            (record.salt + record.payload, place),
        )
        return changed.rowcount > 0

    def add_payload(self, entry_id: bytes, salt: bytes, payload: bytes) -> bool:
        """As `Store.add_payload`."""
        held = self.record(entry_id)
        if held is None:
            return False
        record = checked_payload(held, salt, payload)
        with self._transaction(durable=False):
            return self._give_payload(record)

    def erase_payload(self, entry_id: bytes) -> bool:
        """As `Store.erase_payload`; the bytes are overwritten in the file, and leave its log."""
        place = self._place(entry_id)
        if place is None:
            return False
        with self._transaction(durable=True):
            self._db.execute("UPDATE entries SET carried = x'' WHERE place = ?", (place,))
            self._db.execute(_FORGET, (place, entry_id))
            # What was set aside is not spared.
            self._db.execute("UPDATE quarantine SET carried = x'' WHERE place = ?", (place,))
        self._erased.add(entry_id)
        with faults(self.path):
            # Busy readers may keep the log alive; the next checkpoint takes it then.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return True

    def never_take(self, entry_ids: Iterable[bytes]) -> None:
        """Refuse the payloads of entries, held or not, that were erased in a former file."""
        for entry_id in entry_ids:
            if not self.erase_payload(entry_id):
                with self._transaction(durable=True):
                    self._db.execute(_FORGET, (0, entry_id))
                self._erased.add(entry_id)

    # --- damage ------------------------------------------------------------------------
    def cut(self, author: bytes, after_seq: int, why: str) -> None:
        """As `Store.cut`; the rows go into the table `quarantine`."""
        with self._transaction(durable=True):
            self._cut(author, after_seq, why)

    def _cut(self, author: bytes, after_seq: int, why: str) -> None:
        number = self._numbered(author)
        last = number << SEQ_BITS | SEQ_MASK
        behind = (number << SEQ_BITS | after_seq) + 1
        self._db.execute(
            "INSERT INTO quarantine (place, raw, carried, why)"
            " SELECT place, raw, carried, ? FROM entries WHERE place BETWEEN ? AND ?",
            (why, behind, last),
        )
        for table in ("entries", "lots", "reserves", "requests", "proposes", "trades"):
            # The folds of the whole chain are made again from what is left of it.
            first = behind if table == "entries" else number << SEQ_BITS
            self._db.execute(
                f"DELETE FROM {table} WHERE place BETWEEN ? AND ?",  # noqa: S608  # constants
                (first, last),
            )
        self._db.execute(
            "UPDATE authors SET seq = 0, head_id = NULL, at_ms = 0 WHERE number = ?", (number,)
        )
        self._rebuild_chain(number, author)

    def backup_to(self, path: Path) -> None:
        """Copy the ledger as it is now into a new file, while others go on reading it.

        The copy is whole and needs no log beside it. The head guard is not in it, so that a
        node that starts from the copy follows and serves but appends nothing.

        Raises:
            RefusedError: there is something at `path` already.
            LocalError: the copy cannot be written.
        """
        if path.exists():
            raise RefusedError(f"{path} is there already.", "Choose another name for the copy.")
        try:
            schema.copy_whole(self._db, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    # --- folds -------------------------------------------------------------------------
    def rebuild(self) -> None:
        """As `Store.rebuild`; heads too are made again from the entries."""
        with self._transaction(durable=True):
            for sql in CLEAR_FOLDS:
                self._db.execute(sql)
            for number, author in self._all("SELECT number, key FROM authors ORDER BY number"):
                self._rebuild_chain(number, author)

    def _rebuild_chain(self, number: int, author: bytes) -> None:
        last_days: dict[int, int] = {}
        folds = _Folds(last_days)
        entries: list[Entry] = []
        for place, raw, carried, head8 in self._all(
            "SELECT place, raw, carried, id8 FROM entries WHERE place BETWEEN ? AND ?"
            " ORDER BY place",
            (number << SEQ_BITS, number << SEQ_BITS | SEQ_MASK),
        ):
            entry = self._record(place, raw, carried, head8).entry
            entries.append(entry)
            folds.take(place, entry)
        folds.write(self._db)
        lots, reserves = replay(entries)
        self._write_stock(
            {(author, seq): lot for seq, lot in lots.items()},
            {(author, seq): reserve for seq, reserve in reserves.items()},
            last_days,
        )
        if entries:
            last = entries[-1]
            self._write_heads({author: Head(last.seq, last.id, last.at_ms)})


class _Folds:
    """What entries come to besides stock: rows for the tables that are looked up by meaning."""

    def __init__(self, last_days: dict[int, int]) -> None:
        self._last_days = last_days
        self._trades: list[Any] = []
        self._proposes: list[Any] = []
        self._requests: list[Any] = []

    def take(self, place: int, entry: Entry) -> None:
        """Note what `entry` is about."""
        body = entry.body
        kind = body.type
        if kind in TRADE_TYPES:
            if kind == EntryType.PROPOSE:
                self._proposes += (place, body.at_ms)
            self._trades += (id8(trade_of(entry)), place)
        elif kind == EntryType.OFFER:
            self._last_days[place] = until_ms(entry)
        elif kind == EntryType.REQUEST:
            self._requests += (place, until_ms(entry))

    def write(self, db: Connection) -> None:
        """Write what was noted."""
        _TRADES.insert(db, self._trades)
        _PROPOSES.insert(db, self._proposes)
        _REQUESTS.insert(db, self._requests)
