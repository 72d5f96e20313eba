"""The store on disk: SQLite, one connection that writes, others that read beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from passby.ledger import schema
from passby.ledger.chain import Evidence, Head
from passby.ledger.checkpoint import SignedCheckpoint, author_of
from passby.ledger.ingest import Batch, View
from passby.ledger.proof_bytes import pack_elements
from passby.ledger.pruning import to_drop
from passby.ledger.reader_sqlite import SqliteReader
from passby.ledger.regain_sqlite import linking_on
from passby.ledger.rows_sqlite import ENTRIES, HEADS, LOTS, RESERVES, Folds, chunked
from passby.ledger.schema import GARBLED, SEQ_BITS, SEQ_MASK, faults
from passby.ledger.spoken_sqlite import Speaking
from passby.ledger.standing import Roots, statement_in
from passby.ledger.store import (
    ABANDONED,
    Freed,
    carried_statements,
    checked_payload,
    concerned,
    cut_behind,
    newer,
    replay,
    spare,
)
from passby.ledger.tree import BLOCK, KEPT_EVERY
from passby.ledger.tree_sqlite import (
    clear_folds,
    drop_block,
    put_blocks,
    put_checkpoint,
    put_witnessed,
)
from passby.ledger.view_sqlite import HeldView
from passby.ledger.witness import Held
from passby.protocol.entry import Entry, Record
from passby.protocol.entry import entry_id as id_of
from passby.protocol.errors import DamagedError, RefusedError
from passby.protocol.keys import SIGNATURE_BYTES
from passby.protocol.limits import STATEMENTS_MAX
from passby.protocol.statements import Statement
from passby.protocol.stock import LotStock, Reserve

_NUMBERS_MAX: Final = 65_536
"""Author numbers kept in memory, about 10 MB; the rest are a query away."""

_FORGET: Final = (
    "INSERT INTO erasures (place, id) VALUES (?, ?)"
    " ON CONFLICT (id) DO UPDATE SET place = excluded.place"
)


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
        if schema.is_fresh(self._db):
            try:
                self.rebuild()
            except BaseException:
                self.close()
                raise
            with faults(path):
                schema.finish(self._db)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the ledger at `path`, as the constructor."""
        return cls(path)

    def select_in(self, sql: str, members: Sequence[Any]) -> Iterator[Any]:
        """As `ViewSource.select_in`."""
        for chunk in chunked(members):
            yield from self._all(f"{sql} IN ({','.join('?' * len(chunk))})", chunk)

    def remember(self, author: bytes, number: int) -> None:
        """As `ViewSource.remember`."""
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
        return HeldView(self, records)

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
            speaking = Speaking(self.select_in)
            for batch in batches:
                self._write_records(batch, last_days, speaking)
                for record in batch.payloads:
                    self._give_payload(record)
            speaking.write(self._db)
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

    def _write_records(self, batch: Batch, last_days: dict[int, int], speaking: Speaking) -> None:
        entries: list[Any] = []
        folds = Folds(last_days)
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
            speaking.take(place, entry)
        ENTRIES.insert(self._db, entries)
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
        LOTS.insert(self._db, rows)
        rows = []
        for (author, seq), held in reserves.items():
            place = self._numbered(author) << SEQ_BITS | seq
            rows += (place, held.id, held.propose_id, held.lot_seq, held.amount, held.resolved_seq)
        RESERVES.insert(self._db, rows)

    def _write_heads(self, heads: dict[bytes, Head]) -> None:
        rows: list[Any] = []
        for author, head in heads.items():
            rows += (self._numbered(author), author, head.seq, head.id, head.at_ms)
        HEADS.insert(self._db, rows)

    def _write_evidence(self, evidence: Evidence) -> None:
        number = self._numbered(evidence.author)
        self._db.execute(
            "INSERT INTO evidence (author, seq, proof, rule, elements) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (author) DO UPDATE SET seq = excluded.seq, proof = excluded.proof,"
            " rule = excluded.rule, elements = excluded.elements WHERE excluded.seq < evidence.seq"
            # What is proven beside a healed fork takes its place.
            " OR (SELECT frozen_from IS NULL FROM authors WHERE number = evidence.author)",
            (number, evidence.seq, evidence.proof, evidence.rule, pack_elements(evidence)),
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
            self._db.execute(
                "DELETE FROM checkpoints WHERE author = ? AND size >= ?", (number, heal.seq)
            )
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

    def mark_checked(
        self, author: bytes, to_seq: int | None, good: Sequence[int], garbled: Sequence[int]
    ) -> None:
        """As `Store.mark_checked`."""
        with self._transaction(durable=False):
            number = self._numbered(author)
            self._db.execute(
                "UPDATE authors SET checked_to = min(ifnull(?, seq), seq) WHERE number = ?",
                (to_seq, number),
            )
            for bit, seqs in ((1, good), (GARBLED, garbled)):
                for seq in seqs:
                    self._db.execute(
                        "UPDATE entries SET checked = ? WHERE place = ?",
                        (bit, number << SEQ_BITS | seq),
                    )

    def sign_again(self, entry: Entry) -> bool:
        """As `Store.sign_again`."""
        held = self.record_at(entry.author, entry.seq)
        if held is None or held.entry.id != entry.id:
            return False
        place = self._numbered(entry.author) << SEQ_BITS | entry.seq
        with self._transaction(durable=False):
            self._db.execute(
                "UPDATE entries SET raw = ?, checked = 1 WHERE place = ?", (entry.raw, place)
            )
        return True

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

    # --- checkpoints -------------------------------------------------------------------
    def keep_checkpoint(self, signed: SignedCheckpoint) -> bool:
        """As `Store.keep_checkpoint`."""
        author = author_of(signed.head.origin)
        with self._transaction(durable=False):
            kept = newer(self.checkpoint(author), signed)
            if kept is None:
                return False
            number = self._numbered(author)
            put_checkpoint(self._db, number, kept)
            rows = self.tree(author)
            put_blocks(self._db, number, rows(KEPT_EVERY, 0, kept.head.size // BLOCK))
        return True

    def witness(self, origin: str, held: Held, new: Held) -> bool:
        """As `Store.witness`."""
        with self._transaction(durable=True):
            if self.witnessed(origin) != held:
                return False
            put_witnessed(self._db, origin, new)
        return True

    def prune(self, author: bytes, blocks: Iterable[int]) -> Freed:
        """As `Store.prune`; the room is used again, and the file does not shrink."""
        entries = size = 0
        with self._transaction(durable=False):
            for dropped in to_drop(self, author, blocks):
                drop_block(self._db, self._numbered(author), dropped)
                entries += len(dropped.records)
                size += sum(record.size for record in dropped.records)
        return Freed(entries, size)

    # --- damage ------------------------------------------------------------------------
    def cut(self, author: bytes, after_seq: int, why: str) -> None:
        """As `Store.cut`; the rows go into the table `quarantine`."""
        with self._transaction(durable=True):
            self._cut(author, after_seq, why)

    def _cut(self, author: bytes, after_seq: int, why: str) -> None:
        try:
            pruned = self.pruned(author)
            if pruned.blocks:
                after_seq = cut_behind(pruned, self.derived(author).lots, after_seq)
        except DamagedError:
            after_seq = 0
        number = self._numbered(author)
        last = number << SEQ_BITS | SEQ_MASK
        behind = (number << SEQ_BITS | after_seq) + 1
        self._db.execute(
            "INSERT INTO quarantine (place, raw, carried, why)"
            " SELECT place, raw, carried, ? FROM entries WHERE place BETWEEN ? AND ?",
            (why, behind, last),
        )
        for table in ("entries", "blocks"):
            self._delete(table, number, after_seq)
        # The folds of the whole chain are made again from what is left of it.
        clear_folds(self._db, number, whole=after_seq == 0)
        self._unspeak(number)
        self._db.execute(
            "UPDATE authors SET seq = 0, head_id = NULL, at_ms = 0,"
            " checked_to = min(checked_to, ?) WHERE number = ?",
            (after_seq, number),
        )
        self._rebuild_chain(number, author)

    def set_aside(self, most: int) -> list[Record]:
        """As `Store.set_aside`; reads the table `quarantine`."""
        with faults(self.path):
            return linking_on(self._db, self._erased, most)

    def forget(self, authors: Iterable[bytes]) -> list[bytes]:
        """As `Store.forget`."""
        placed: list[bytes] = []
        with self._transaction(durable=False):
            carried: list[Statement | None] = []
            for author in authors:
                if len(self.roots) > STATEMENTS_MAX:
                    carried += [statement_in(held) for held in self.log(author, None, SEQ_MASK)]
                placed += self._forget(author)
            let_go = spare(carried, self.roots, lambda device: self.head(device) is not None)
            for statement in let_go:
                self._db.execute(
                    "DELETE FROM statements WHERE device = ? AND raw = ?",
                    (statement.device, statement.raw),
                )
            self.roots.remove(let_go)
        return placed

    def _forget(self, author: bytes) -> list[bytes]:
        number = self._number(author)
        if number is None:
            return []
        placed = self._of_chain(
            "SELECT raw FROM entries WHERE place IN (SELECT place FROM lots WHERE place BETWEEN ?1"
            " AND ?2 UNION SELECT place FROM requests WHERE place BETWEEN ?1 AND ?2)",
            author,
        )
        for table in ("entries", "blocks", "quarantine"):
            self._delete(table, number, 0)
        clear_folds(self._db, number, whole=True)
        self._unspeak(number)
        self._db.execute(
            "UPDATE erasures SET place = 0 WHERE place BETWEEN ? AND ?",
            (number << SEQ_BITS, number << SEQ_BITS | SEQ_MASK),
        )
        for table in ("evidence", "checkpoints", "prunings"):
            self._db.execute(f"DELETE FROM {table} WHERE author = ?", (number,))  # noqa: S608  # constants
        # The row stays: another process may know the author by its number.
        self._db.execute(
            "UPDATE authors SET seq = 0, head_id = NULL, at_ms = 0, frozen_from = NULL,"
            " sealed_at = NULL, checked_to = 0 WHERE number = ?",
            (number,),
        )
        self.roots.look_again(author)
        return [id_of(raw[SIGNATURE_BYTES:]) for (raw,) in placed]

    def _unspeak(self, number: int) -> None:
        for table in ("spoken", "awaited"):
            self._db.execute(f"DELETE FROM {table} WHERE author = ?", (number,))  # noqa: S608  # constants

    def _delete(self, table: str, number: int, after_seq: int) -> None:
        self._db.execute(
            f"DELETE FROM {table} WHERE place BETWEEN ? AND ?",  # noqa: S608  # constants
            ((number << SEQ_BITS | after_seq) + 1, number << SEQ_BITS | SEQ_MASK),
        )

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
            clear_folds(self._db)
            for table in ("spoken", "awaited"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  # constants
            self._db.execute("DELETE FROM blocks WHERE NOT pruned")
            for number, author in self._all("SELECT number, key FROM authors ORDER BY number"):
                self._rebuild_chain(number, author)
            self._restate()

    def _restate(self) -> None:
        """Take the statements that chains carry again, and let all have their effect anew."""
        for statement in carried_statements(self):
            self._write_statement(statement)
        self._roots = None
        for device in {statement.device for statement in self.roots.about(None)}:
            self._settle(device)

    def _rebuild_chain(self, number: int, author: bytes) -> None:
        last_days: dict[int, int] = {}
        folds = Folds(last_days)
        speaking = Speaking(self.select_in)
        entries: list[Entry] = []
        for place, raw, carried, head8 in self._all(
            "SELECT place, raw, carried, id8 FROM entries WHERE place BETWEEN ? AND ?"
            " ORDER BY place",
            (number << SEQ_BITS, number << SEQ_BITS | SEQ_MASK),
        ):
            entry = self._record(place, raw, carried, head8).entry
            entries.append(entry)
            folds.take(place, entry)
            speaking.take(place, entry)
        folds.write(self._db)
        speaking.write(self._db)
        lots, reserves = replay(entries, self.pruned(author).lots)
        self._write_stock(
            {(author, seq): lot for seq, lot in lots.items()},
            {(author, seq): reserve for seq, reserve in reserves.items()},
            last_days,
        )
        if entries:
            last = entries[-1]
            self._write_heads({author: Head(last.seq, last.id, last.at_ms)})
