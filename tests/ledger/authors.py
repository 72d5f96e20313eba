"""Authors that make real signed chains, honest unless told otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from passby.protocol.entry import Body, Record, payload_hash, sign
from passby.protocol.keys import SigningKey
from passby.protocol.types import EntryType

SALT = b"s" * 16
CELL = 0x85_1F_B4_67
UNTIL_MS = 2_000_000_000_000
NOW_MS = 1_700_000_000_000


def named(text: str) -> bytes:
    """Return 32 bytes that stand for an id or a hash."""
    return hashlib.sha256(text.encode()).digest()


class Author:
    """A key, its chain so far, and what its lots hold by its own reckoning."""

    def __init__(self, name: str) -> None:
        self.key = SigningKey(named(name))
        self.public = self.key.public
        self.records: list[Record] = []
        # lot seq -> [last seq, remaining, reserved]
        self._lots: dict[int, list[int]] = {}

    def say(self, type_: int, payload: bytes | None = None, **changes: Any) -> Record:
        """Append an entry; `changes` replace fields of its body, whatever they break."""
        last = self.records[-1].entry if self.records else None
        fields: dict[str, Any] = {
            "author": self.public,
            "seq": last.seq + 1 if last else 1,
            "prev": last.id if last else None,
            "at_ms": last.at_ms + 1 if last else NOW_MS,
            "type": type_,
        }
        if payload is not None:
            fields["payload_len"] = len(payload)
            fields["payload_hash"] = payload_hash(SALT, payload)
        entry = sign(self.key, Body(**(fields | changes)))
        record = Record(entry, SALT if payload is not None else None, payload)
        self.records.append(record)
        return record

    def fork(self, at_seq: int) -> Author:
        """Return another self that goes on from the entry before `at_seq`."""
        other = Author("")
        other.key, other.public = self.key, self.public
        other.records = self.records[: at_seq - 1]
        other._lots = {lot: list(held) for lot, held in self._lots.items() if lot < at_seq}
        return other

    def genesis(self) -> Record:
        return self.say(EntryType.GENESIS, facts=(named("certificate"),))

    def note(self, payload: bytes | None = b"\x80") -> Record:
        """Append an entry of a type that nobody knows."""
        return self.say(200, payload)

    def vouch(self, vouched: bytes, *, stands: bool = True) -> Record:
        return self.say(EntryType.VOUCH, facts=(vouched, int(stands)))

    def request(
        self, until_ms: int = UNTIL_MS, payload: bytes | None = b"\x80", cell: int = CELL
    ) -> Record:
        return self.say(EntryType.REQUEST, payload, facts=(cell, until_ms))

    def propose(self, *lots: Record, at_ms: int | None = None) -> Record:
        facts: list[bytes | int] = [named("terms"), UNTIL_MS]
        for _ in lots:
            facts += [1, 0, UNTIL_MS]
        changes = {} if at_ms is None else {"at_ms": at_ms}
        return self.say(
            EntryType.PROPOSE,
            refs=tuple(lot.entry.id for lot in lots),
            facts=tuple(facts),
            **changes,
        )

    def offer(
        self,
        amount: int,
        until_ms: int = UNTIL_MS,
        payload: bytes | None = b"\x80",
        cell: int = CELL,
    ) -> Record:
        seq = self._next()
        self._lots[seq] = [seq, amount, 0]
        return self.say(
            EntryType.OFFER, payload, stock=(seq, 0, 0, amount, amount, 0), facts=(cell, until_ms)
        )

    def reserve(self, lot: Record, amount: int, propose: bytes | None = None) -> Record:
        stock = self._move(lot, amount, -amount, amount)
        return self.say(
            EntryType.RESERVE,
            refs=(propose or named(f"propose {self._next()}"), lot.entry.id),
            stock=stock,
            facts=(UNTIL_MS, named("secret")),
        )

    def commit(self, reserve: Record) -> Record:
        refs = (reserve.entry.body.refs[0], named("confirm"), reserve.entry.id)
        return self.say(EntryType.COMMIT, refs=refs)

    def release(self, lot: Record, reserve: Record) -> Record:
        amount = reserve.entry.body.stock[3]
        stock = self._move(lot, amount, amount, -amount, reserve)
        refs = (reserve.entry.body.refs[0], reserve.entry.id)
        return self.say(EntryType.RELEASE, refs=refs, stock=stock, facts=(1,))

    def handover(self, lot: Record, reserve: Record, amount: int, commit: Record) -> Record:
        whole = reserve.entry.body.stock[3]
        stock = self._move(lot, amount, whole - amount, -whole, reserve)
        refs = (reserve.entry.body.refs[0], commit.entry.id, named("confirm"))
        return self.say(EntryType.HANDOVER, refs=refs, stock=stock, facts=(b"x" * 16, amount))

    def adjust(self, lot: Record, change: int) -> Record:
        stock = self._move(lot, abs(change), change, 0)
        return self.say(EntryType.ADJUST, refs=(lot.entry.id,), stock=stock)

    def close(self, lot: Record) -> Record:
        remaining = self._lots[lot.entry.seq][1]
        stock = self._move(lot, remaining, -remaining, 0)
        return self.say(EntryType.CLOSE, refs=(lot.entry.id,), stock=stock)

    def _next(self) -> int:
        return self.records[-1].entry.seq + 1 if self.records else 1

    def _move(
        self, lot: Record, amount: int, left: int, held: int, reserve: Record | None = None
    ) -> tuple[int, ...]:
        stock = self._lots[lot.entry.seq]
        previous = stock[0]
        stock[0] = self._next()
        stock[1] += left
        stock[2] += held
        named_reserve = reserve.entry.seq if reserve is not None else 0
        return (lot.entry.seq, previous, named_reserve, amount, stock[1], stock[2])


def replace_stock(author: Author, at: int, **fields: int) -> Record:
    """Replace the author's last record by one with other stock fields, signed anew."""
    names = ("lot_seq", "previous", "reserve_seq", "amount", "remaining", "reserved")
    record = author.records.pop(at)
    body = record.entry.body
    stock = tuple(fields.get(name, held) for name, held in zip(names, body.stock, strict=True))
    return author.say(body.type, refs=body.refs, facts=body.facts, stock=stock)


def ids(records: Sequence[Record]) -> list[bytes]:
    """Return the ids of `records`."""
    return [record.entry.id for record in records]
