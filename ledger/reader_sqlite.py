"""Reading the ledger file: the reading half of the contract, for any connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any, Final, Self

from passby.ledger import schema
from passby.ledger.chain import Evidence, Head, Proof
from passby.ledger.checkpoints_sqlite import CheckpointReader
from passby.ledger.proof_bytes import unpack_evidence
from passby.ledger.schema import GARBLED, LACKING, SEQ_BITS, SEQ_MASK, damaged
from passby.ledger.standing import Device, Roots, certificate_of, devices_of
from passby.ledger.store import (
    HELD_ASKED_MAX,
    AmbiguousError,
    Counts,
    Derived,
    Footprint,
    HeldLot,
    Lacking,
    Stored,
    bounded_run,
    id8,
    prefix_bytes,
)
from passby.ledger.trust import standing_vouches
from passby.protocol.entry import (
    HASH_BYTES,
    SALT_BYTES,
    Entry,
    Record,
    entry_id,
    parse_entry,
    payload_hash,
)
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SIGNATURE_BYTES
from passby.protocol.limits import NOTED_MAX, RUN_MAX, VOUCHES_READ_MAX
from passby.protocol.packed import pack
from passby.protocol.statements import Statement, parse_statement
from passby.protocol.stock import LotStock, Reserve
from passby.protocol.types import EntryType, noted_key

_PAGE: Final = 512
"""Rows read at a time while iterating, since a commit may come between."""


def _size(raw: bytes, carried: bytes | None) -> int:
    return len(raw) + len(carried or b"")


def trade_of(entry: Entry) -> bytes:
    """Return the id of the propose that an entry of a trade type belongs to."""
    return entry.id if entry.body.type == EntryType.PROPOSE else entry.body.refs[0]


_NOT_WHOLE: Final = (
    "SELECT place, raw, carried, id8, checked FROM entries INDEXED BY lacking"  # noqa: S608  # constants
    f" WHERE place > ? AND ({LACKING}) ORDER BY place LIMIT ?"
)


class SqliteReader(CheckpointReader):
    """The reading half of the contract, on a connection of its own.

    Usable from any thread, by one at a time.
    """

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the ledger at `path` for reading, beside its writer.

        Raises:
            DamagedError, ConfigError, LocalError: as `schema.open_reader`.
        """
        return cls(path, schema.open_reader(path))

    # --- rows --------------------------------------------------------------------------
    def _record(self, place: int, raw: bytes, carried: bytes | None, head8: int) -> Record:
        """Read a stored record; our hashes are the integrity check of the file."""
        try:
            entry = parse_entry(raw)
        # A flipped bit can give a column another type than its table has.
        except (RemoteError, TypeError) as error:
            raise damaged(self.path, f"the entry at {place:#x} is not readable: {error}") from None
        if entry.seq != place & SEQ_MASK:
            raise damaged(self.path, f"the entry at {place:#x} says it is number {entry.seq}")
        if id8(entry.id) != head8:
            raise damaged(self.path, f"the entry at {place:#x} has another id than when it came")
        if carried is None or carried == b"":
            return Record(entry)
        if not isinstance(carried, bytes):
            raise damaged(self.path, f"the payload at {place:#x} is no bytes")
        salt, payload = carried[:SALT_BYTES], carried[SALT_BYTES:]
        if payload_hash(salt, payload) != entry.body.payload_hash:
            raise damaged(self.path, f"the payload at {place:#x} is not the one committed to")
        return Record(entry, salt, payload)

    # --- chains ------------------------------------------------------------------------
    def head(self, author: bytes) -> Head | None:
        """As `Reader.head`."""
        row = self._one(
            "SELECT seq, head_id, at_ms FROM authors WHERE key = ? AND seq > 0", (author,)
        )
        return None if row is None else self._head(*row)

    def heads(self) -> Iterator[tuple[bytes, Head]]:
        """As `Reader.heads`."""
        after = b""
        while rows := self._all(
            "SELECT key, seq, head_id, at_ms FROM authors WHERE key > ? AND seq > 0"
            " ORDER BY key LIMIT ?",
            (after, _PAGE),
        ):
            for key, *head in rows:
                self._expect(bytes, key)
                yield key, self._head(*head)
            after = rows[-1][0]

    def record(self, entry_id: bytes) -> Record | None:
        """As `Reader.record`."""
        for row in self._all(
            "SELECT place, raw, carried, id8 FROM entries WHERE id8 = ?", (id8(entry_id),)
        ):
            record = self._record(*row)
            if record.entry.id == entry_id:
                return record
        return None

    def may_hold(self, ids: Sequence[bytes]) -> set[bytes]:
        """As `Reader.may_hold`."""
        marks = ", ".join("?" * HELD_ASKED_MAX)
        asked = [*map(id8, ids), *[None] * (HELD_ASKED_MAX - len(ids))]
        found = self._all(f"SELECT id8 FROM entries WHERE id8 IN ({marks})", asked)  # noqa: S608  # marks
        held = {row[0] for row in found}
        return {entry_id for entry_id in ids if id8(entry_id) in held}

    def find(self, prefix: str) -> Record | None:
        """As `Reader.find`."""
        least, greatest = prefix_bytes(prefix)
        rows = self._all(
            "SELECT place, raw, carried, id8 FROM entries WHERE id8 BETWEEN ? AND ? LIMIT 64",
            (id8(least), id8(greatest)),
        )
        found = [
            record
            for record in (self._record(*row) for row in rows)
            if record.entry.id.hex().startswith(prefix.lower())
        ]
        if len(found) > 1:
            raise AmbiguousError(prefix, [record.entry.id for record in found])
        return found[0] if found else None

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """As `Reader.record_at`."""
        number = self._number(author)
        if number is None or not 1 <= seq <= SEQ_MASK:
            return None
        row = self._one(
            "SELECT place, raw, carried, id8 FROM entries WHERE place = ?",
            (number << SEQ_BITS | seq,),
        )
        return None if row is None else self._record(*row)

    def run(self, author: bytes, from_seq: int, to_seq: int, max_bytes: int) -> list[Record]:
        """As `Reader.run`."""
        found = (
            (record := self._record(place, raw, carried, head8), record.entry.seq, record.size, bit)
            for place, raw, carried, head8, bit in self._in_a_row(author, from_seq)
        )
        return bounded_run(found, to_seq, max_bytes)

    def packed_run(self, author: bytes, from_seq: int, to_seq: int, max_bytes: int) -> list[bytes]:
        """As `Reader.packed_run`."""
        found = (
            (self._packed(place, raw, carried, head8), place & SEQ_MASK, _size(raw, carried), bit)
            for place, raw, carried, head8, bit in self._in_a_row(author, from_seq)
        )
        return bounded_run(found, to_seq, max_bytes)

    def stored(self, author: bytes, from_seq: int, most: int) -> list[Stored]:
        """As `Reader.stored`."""
        number = self._number(author)
        if number is None:
            return []
        first = number << SEQ_BITS | from_seq
        rows = self._all(
            "SELECT place & ?, raw, carried, id8, checked FROM entries WHERE place BETWEEN ? AND ?"
            " ORDER BY place",
            (SEQ_MASK, first, min(first + most - 1, number << SEQ_BITS | SEQ_MASK)),
        )
        if rows and rows[-1][0] != from_seq + len(rows) - 1:
            rows = [row for at, row in enumerate(rows, from_seq) if row[0] == at]
        return rows

    def _in_a_row(self, author: bytes, from_seq: int) -> Iterator[Any]:
        """Yield (place, raw, carried, id8, checked) of RUN_MAX entries that follow each other."""
        number = self._number(author)
        if number is None:
            return
        first = number << SEQ_BITS | max(from_seq, 1)
        rows = self._all(
            "SELECT place, raw, carried, id8, checked FROM entries WHERE place BETWEEN ? AND ?"
            " ORDER BY place",
            (first, min(first + RUN_MAX - 1, number << SEQ_BITS | SEQ_MASK)),
        )
        for expected, (place, raw, carried, head8, checked) in enumerate(rows, first):
            if place != expected:
                return
            yield place, raw, carried, head8, checked == 1

    def _packed(self, place: int, raw: Any, carried: Any, head8: int) -> bytes:
        """Return a stored record as it travels; its hashes alone tell whether it is whole."""
        if not isinstance(raw, bytes) or id8(entry_id(raw[SIGNATURE_BYTES:])) != head8:
            raise damaged(self.path, f"the entry at {place:#x} has another id than when it came")
        # The payload's hash is the body's last field.
        if carried and (
            not isinstance(carried, bytes)
            or payload_hash(carried[:SALT_BYTES], carried[SALT_BYTES:]) != raw[-HASH_BYTES:]
        ):
            raise damaged(self.path, f"the payload at {place:#x} is not the one committed to")
        return pack(raw, carried)

    def log(self, author: bytes, before_seq: int | None, limit: int) -> list[Record]:
        """As `Reader.log`."""
        number = self._number(author)
        if number is None:
            return []
        before = SEQ_MASK if before_seq is None else min(max(before_seq - 1, 0), SEQ_MASK)
        rows = self._all(
            "SELECT place, raw, carried, id8 FROM entries WHERE place BETWEEN ? AND ?"
            " ORDER BY place DESC LIMIT ?",
            (number << SEQ_BITS, number << SEQ_BITS | before, limit),
        )
        return [self._record(*row) for row in rows]

    # --- evidence ----------------------------------------------------------------------
    def evidence(self, author: bytes | None = None) -> list[Evidence]:
        """As `Reader.evidence`."""
        rows = self._all(
            "SELECT a.key, e.seq, e.proof, e.rule, e.elements FROM evidence e"
            " JOIN authors a ON a.number = e.author WHERE ?1 IS NULL OR a.key = ?1 ORDER BY a.key",
            (author,),
        )
        return [self._evidence(*row) for row in rows]

    def _evidence(self, key: Any, seq: Any, proof: Any, rule: Any, elements: Any) -> Evidence:
        self._expect(bytes, key, elements)
        self._expect(int, seq)
        self._expect(str, rule)
        try:
            return unpack_evidence(key, seq, Proof(proof), rule, elements)
        # A DecodeError is a ValueError, too.
        except (RemoteError, ValueError) as error:
            raise damaged(self.path, f"a proof is not readable: {error}") from None

    def frozen(self) -> dict[bytes, int]:
        """As `Reader.frozen`."""
        found = self._all("SELECT key, frozen_from FROM authors WHERE frozen_from IS NOT NULL")
        for key, seq in found:
            self._expect(bytes, key)
            self._expect(int, seq)
        return dict(found)

    # --- statements --------------------------------------------------------------------
    def sealed(self) -> dict[bytes, int]:
        """As `Reader.sealed`."""
        found = self._all("SELECT key, sealed_at FROM authors WHERE sealed_at IS NOT NULL")
        for key, seq in found:
            self._expect(bytes, key)
            self._expect(int, seq)
        return dict(found)

    def statements(self, device: bytes | None = None) -> list[Statement]:
        """As `Reader.statements`."""
        rows = self._all(
            "SELECT raw FROM statements WHERE ?1 IS NULL OR device = ?1 ORDER BY raw", (device,)
        )
        for (raw,) in rows:
            self._expect(bytes, raw)
        try:
            return [parse_statement(raw) for (raw,) in rows]
        except RemoteError as error:
            raise damaged(self.path, f"a root statement is not readable: {error}") from None

    def devices(self, root: bytes) -> list[Device]:
        """As `Reader.devices`."""
        authors = [author for author, _ in self.heads()]
        return devices_of(root, authors, self._genesis, self._read_roots())

    def person_of(self, author: bytes) -> bytes:
        """As `Reader.person_of`."""
        genesis = self._genesis(author)
        certificate = certificate_of(genesis, lambda: self.statements(author))
        return certificate.root if certificate is not None else author

    def _read_roots(self) -> Roots:
        return Roots(self.statements(), self._genesis, self._proof, self._entries_from)

    def _genesis(self, author: bytes) -> Record | None:
        return self.record_at(author, 1)

    def _proof(self, author: bytes) -> Evidence | None:
        return next(iter(self.evidence(author)), None)

    def _entries_from(self, author: bytes, seq: int) -> Iterator[Entry]:
        while (record := self.record_at(author, seq)) is not None:
            yield record.entry
            seq += 1

    # --- folds -------------------------------------------------------------------------
    def lot(self, offer_id: bytes) -> LotStock | None:
        """As `Reader.lot`."""
        for place, found_id, last_seq, remaining, reserved, closed in self._all(
            "SELECT l.place, l.id, last_seq, remaining, reserved, closed FROM lots l"
            " JOIN entries e ON e.place = l.place WHERE e.id8 = ?",
            (id8(offer_id),),
        ):
            if found_id == offer_id:
                return self._lot(place, found_id, last_seq, remaining, reserved, closed)
        return None

    def _lot(self, place: int, *fields: Any) -> LotStock:
        lot_id, last_seq, remaining, reserved, closed = fields
        self._expect(bytes, lot_id)
        self._expect(int, place, last_seq, remaining, reserved, closed)
        return LotStock(lot_id, place & SEQ_MASK, last_seq, remaining, reserved, bool(closed))

    def _head(self, seq: Any, head_id: Any, at_ms: Any) -> Head:
        self._expect(int, seq, at_ms)
        self._expect(bytes, head_id)
        return Head(seq, head_id, at_ms)

    def open_lots(self, now_ms: int) -> Iterator[HeldLot]:
        """As `Reader.open_lots`."""
        after = 0
        while rows := self._all(
            "SELECT l.place, e.raw, e.carried, e.id8, l.id, last_seq, remaining, reserved, closed"
            " FROM lots l JOIN entries e ON e.place = l.place"
            " JOIN authors a ON a.number = l.place >> 32"
            " WHERE l.place > ? AND until_ms > ? AND remaining > 0 AND a.frozen_from IS NULL"
            " AND a.sealed_at IS NULL"
            " ORDER BY l.place LIMIT ?",
            (after, now_ms, _PAGE),
        ):
            for place, raw, carried, head8, *fields in rows:
                lot = self._lot(place, *fields)
                yield HeldLot(self._record(place, raw, carried, head8), lot)
            after = rows[-1][0]

    def open_requests(self, now_ms: int) -> Iterator[Record]:
        """As `Reader.open_requests`."""
        after = 0
        while rows := self._all(
            "SELECT r.place, e.raw, e.carried, e.id8 FROM requests r"
            " JOIN entries e ON e.place = r.place"
            " JOIN authors a ON a.number = r.place >> 32"
            " WHERE r.place > ? AND until_ms > ? AND a.frozen_from IS NULL AND a.sealed_at IS NULL"
            " ORDER BY r.place LIMIT ?",
            (after, now_ms, _PAGE),
        ):
            for row in rows:
                yield self._record(*row)
            after = rows[-1][0]

    def trade(self, propose_id: bytes) -> list[Record]:
        """As `Reader.trade`."""
        rows = self._all(
            "SELECT e.place, e.raw, e.carried, e.id8 FROM trades t"
            " JOIN entries e ON e.place = t.place"
            " WHERE t.propose8 = ?",
            (id8(propose_id),),
        )
        records = (self._record(*row) for row in rows)
        return [record for record in records if trade_of(record.entry) == propose_id]

    def noted(self, kind: EntryType, subject: bytes, author: bytes) -> list[Record]:
        """As `Reader.noted`."""
        found = self._steps(noted_key(kind, subject), author, NOTED_MAX)
        about = ((record, record.entry.body) for record in found)
        return [record for record, body in about if (body.type, body.refs[0]) == (kind, subject)]

    def steps(self, propose_id: bytes, author: bytes, most: int) -> list[Record]:
        """As `Reader.steps`.

        Entries that name another propose with the same first eight bytes take up room among the
        first: it is their own author's.
        """
        records = self._steps(propose_id, author, most)
        return [record for record in records if trade_of(record.entry) == propose_id]

    def _steps(self, key: bytes, author: bytes, most: int) -> list[Record]:
        number = self._number(author)
        if number is None:
            return []
        rows = self._all(
            "SELECT e.place, e.raw, e.carried, e.id8 FROM trades t"
            " JOIN entries e ON e.place = t.place WHERE t.propose8 = ? AND t.place BETWEEN ? AND ?"
            " ORDER BY t.place LIMIT ?",
            (id8(key), number << SEQ_BITS, number << SEQ_BITS | SEQ_MASK, most),
        )
        return [self._record(*row) for row in rows]

    def trades(self, since_ms: int) -> list[bytes]:
        """As `Reader.trades`."""
        rows = self._all(
            "SELECT e.place, e.raw, e.carried, e.id8 FROM proposes p"
            " JOIN entries e ON e.place = p.place"
            " WHERE p.at_ms >= ? ORDER BY p.at_ms DESC",
            (since_ms,),
        )
        entries = (self._record(*row).entry for row in rows)
        dated = sorted(((entry.at_ms, entry.id) for entry in entries), reverse=True)
        return [found for _, found in dated]

    def vouched_by(self, author: bytes) -> list[bytes]:
        """As `Reader.vouched_by`."""
        newest = self._of_chain(
            "SELECT vouched, stands FROM vouches WHERE place BETWEEN ? AND ?"  # noqa: S608  # a bound
            f" ORDER BY place DESC LIMIT {VOUCHES_READ_MAX}",
            author,
        )
        given = [(vouched, bool(stands)) for vouched, stands in newest]
        self._expect(bytes, *(vouched for vouched, _ in given))
        return standing_vouches(reversed(given))

    def _vouches(self, author: bytes) -> dict[int, tuple[bytes, bool]]:
        found: dict[int, tuple[bytes, bool]] = {}
        for place, vouched, stands in self._of_chain(
            "SELECT place, vouched, stands FROM vouches WHERE place BETWEEN ? AND ? ORDER BY place",
            author,
        ):
            self._expect(bytes, vouched)
            found[place & SEQ_MASK] = vouched, bool(stands)
        return found

    def spoken(self, author: bytes) -> dict[int, int]:
        """As `Reader.spoken`."""
        rows = self._all(
            "SELECT cell, at_ms FROM spoken"
            " WHERE author = (SELECT number FROM authors WHERE key = ?) ORDER BY cell",
            (author,),
        )
        return dict(rows)

    def spoken_since(self, number: int) -> list[tuple[int, bytes, int]]:
        """As `Reader.spoken_since`."""
        return self._all(
            "SELECT s.number, a.key, s.cell FROM spoken s JOIN authors a ON a.number = s.author"
            " WHERE s.number > ? ORDER BY s.number",
            (number,),
        )

    def footprint(self, author: bytes) -> Footprint:
        """As `Reader.footprint`."""
        rows = self._of_chain(
            "SELECT ifnull(sum(length(raw) + ifnull(length(carried), 0)), 0), min("
            "ifnull((SELECT min(place) FROM lots WHERE place BETWEEN ?1 AND ?2), ?2),"
            "ifnull((SELECT min(place) FROM requests WHERE place BETWEEN ?1 AND ?2), ?2))"
            " FROM entries WHERE place BETWEEN ?1 AND ?2",
            author,
        )
        size, first = rows[0] if rows else (0, SEQ_MASK)
        placed = self.record_at(author, first & SEQ_MASK) if first & SEQ_MASK < SEQ_MASK else None
        cell = placed.entry.body.facts[0] if placed is not None else None
        return Footprint(size, cell if isinstance(cell, int) else None)

    def erased(self, author: bytes) -> frozenset[int]:
        """As `Reader.erased`."""
        rows = self._of_chain(
            "SELECT r.place FROM erasures r JOIN entries e ON e.place = r.place"
            " WHERE r.place BETWEEN ? AND ?",
            author,
        )
        return frozenset(place & SEQ_MASK for (place,) in rows)

    def lacking(self, after: int, most: int) -> list[Lacking]:
        """As `Reader.lacking`."""
        found: list[Lacking] = []
        while len(found) < most:
            rows = self._all(_NOT_WHOLE, (after, most - len(found)))
            if not rows:
                break
            for place, raw, carried, head8, checked in rows:
                entry = self._record(place, raw, carried, head8).entry
                if checked == GARBLED or entry.body.payload_hash is not None:
                    found.append(Lacking(place, entry.id))
            after = rows[-1][0]
        return found

    def unchecked(self) -> tuple[bytes, int] | None:
        """As `Reader.unchecked`."""
        row = self._one("SELECT key, checked_to FROM authors WHERE checked_to < seq LIMIT 1")
        return None if row is None else (row[0], row[1] + 1)

    def stretch(self, author: bytes, from_seq: int, most: int) -> list[tuple[Entry, bool]]:
        """As `Reader.stretch`."""
        number = self._number(author)
        if number is None:
            return []
        rows = self._all(
            "SELECT place, raw, id8, checked FROM entries WHERE place BETWEEN ? AND ?"
            " ORDER BY place LIMIT ?",
            (number << SEQ_BITS | from_seq, number << SEQ_BITS | SEQ_MASK, most),
        )
        return [
            (self._record(place, raw, None, head8).entry, checked == 1)
            for place, raw, head8, checked in rows
        ]

    def derived(self, author: bytes) -> Derived:
        """As `Reader.derived`."""
        lots: dict[int, LotStock] = {}
        until_ms: dict[int, int] = {}
        for place, until, held_id, last_seq, remaining, reserved, closed in self._of_chain(
            "SELECT place, until_ms, id, last_seq, remaining, reserved, closed FROM lots"
            " WHERE place BETWEEN ? AND ?",
            author,
        ):
            seq = place & SEQ_MASK
            lots[seq] = LotStock(held_id, seq, last_seq, remaining, reserved, closed != 0)
            until_ms[seq] = until
        until_ms |= self._by_seq("SELECT place, until_ms FROM requests", author)
        reserves = {
            reserve.seq: reserve
            for reserve in starmap(
                Reserve,
                self._of_chain(
                    "SELECT id, propose_id, place & 0xFFFFFFFF, lot_seq, amount, resolved_seq"
                    " FROM reserves WHERE place BETWEEN ? AND ?",
                    author,
                ),
            )
        }
        proposes = self._by_seq("SELECT place, at_ms FROM proposes", author)
        return Derived(lots, reserves, until_ms, proposes, self._vouches(author))

    def _by_seq(self, select: str, author: bytes) -> dict[int, int]:
        rows = self._of_chain(f"{select} WHERE place BETWEEN ? AND ?", author)
        return {place & SEQ_MASK: value for place, value in rows}

    def _of_chain(self, sql: str, author: bytes) -> list[Any]:
        number = self._number(author)
        if number is None:
            return []
        return self._all(sql, (number << SEQ_BITS, number << SEQ_BITS | SEQ_MASK))

    def counts(self) -> Counts:
        """As `Reader.counts`."""
        row = self._one(
            "SELECT (SELECT count(*) FROM authors WHERE seq > 0), (SELECT count(*) FROM entries),"
            " (SELECT count(*) FROM lots), (SELECT count(*) FROM proposes),"
            " (SELECT count(*) FROM authors WHERE frozen_from IS NOT NULL)"
        )
        pages, page_bytes = self._one("SELECT * FROM pragma_page_count, pragma_page_size")
        authors, entries, lots, trades, frozen = row
        return Counts(authors, entries, lots, trades, frozen, pages * page_bytes)

    def structure(self) -> list[str]:
        """As `Reader.structure`."""
        return [str(row[0]) for row in self._all("PRAGMA integrity_check(20)") if row[0] != "ok"]

    def integrity(self) -> list[str]:
        """As `Reader.integrity`."""
        found = self.structure()
        for number, seq, last in self._all(
            "SELECT number, seq, (SELECT max(place) & ?1 FROM entries"
            " WHERE place BETWEEN number << 32 AND number << 32 | ?1) AS last"
            " FROM authors WHERE seq != ifnull(last, 0) LIMIT 20",
            (SEQ_MASK,),
        ):
            found.append(f"chain {number} ends at {last or 0}, its head says {seq}")
        return found

    def close(self) -> None:
        """As `Reader.close`."""
        self._db.close()
