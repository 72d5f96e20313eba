"""What the ledger costs, beside what it cannot go below on the same machine.

The reference for taking in entries is libsodium's bare signature check of the same entries;
for appending, an insert of the same bytes into a table without any index or rule, synced
just as well. Both sides run in turn, and the median of the pairs' ratios is told: a machine
that slows down for a while slows both.

Measured, from wire bytes: decoding, canonical form and payload hash, shape, signature, link
and stock rule, and the commit with everything that is derived. `halves` does it in two
processes.

The audit is `passby audit --author` of each chain, without `--signatures`: every entry read,
held against its one encoding, its bounds and its type, hashed with its payload and linked, its
stock rule replayed, one signature for each stored run, and what the store derived held against
all that. The reference is a signature check of each of the same entries, by one process as the
audit. Trades are not in it: the chains here have no other side.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from nacl.bindings import crypto_sign_open

from passby.ledger.audit import AuthorScope, audit
from passby.ledger.ingest import Check, View, admit
from passby.ledger.reader_sqlite import SqliteReader
from passby.ledger.schema import plain_table
from passby.ledger.store_sqlite import SqliteStore
from passby.node.bench import halves
from passby.node.head_guard import NAME as GUARD_NAME
from passby.node.head_guard import begin
from passby.node.storage import SWITCH_INTERVAL_S, open_storage
from passby.protocol.entry import (
    SALT_BYTES,
    Body,
    Record,
    encode_record,
    payload_hash,
    read_records,
    sign,
)
from passby.protocol.keys import SigningKey
from passby.protocol.limits import RUN_MAX
from passby.protocol.payloads import Note, Offer, encode_payload
from passby.protocol.price import Price
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

PAIRS: Final = 9
ENTRIES: Final = 7680
BULK_ENTRIES: Final = 20_000
AUTHORS: Final = 10
GROUP: Final = 256
BULK_GROUP: Final = 5000
APPENDS: Final = 3000
START_MS: Final = 1_700_000_000_000
UNTIL_MS: Final = 2_000_000_000_000
CELL: Final = 0x851F_B467_FFFF_FFF

Progress = Callable[[str], None]


class _Lister:
    """An author whose days are spent offering, reserving, releasing and adjusting."""

    def __init__(self, number: int, dice: random.Random) -> None:
        self._key = SigningKey(dice.randbytes(32))
        self._dice = dice
        self._number = number
        self._last: Record | None = None
        # (offer id, seq, last seq, remaining, reserved) and (reserve, propose, amount) open
        self._lot: list[Any] = []
        self._open: list[tuple[Record, bytes, int]] = []

    @property
    def public(self) -> bytes:
        """The author's key."""
        return self._key.public

    def next(self) -> Record:
        """Return the next entry of an ordinary life."""
        if self._last is None:
            return self._say(EntryType.GENESIS, facts=(self._dice.randbytes(32),))
        roll = self._dice.random()
        if not self._lot or roll < 0.15:
            return self._offer()
        if roll < 0.45 and self._lot[3] >= 4:
            return self._reserve()
        if roll < 0.65 and self._open:
            return self._release()
        if roll < 0.8:
            return self._adjust()
        if roll < 0.9:
            return self._say(
                EntryType.REQUEST,
                facts=(CELL, UNTIL_MS),
                payload=encode_payload(Note(text="Wanted: a bicycle pump for an afternoon")),
            )
        return self._say(
            EntryType.CANCEL,
            refs=(self._dice.randbytes(32), self._dice.randbytes(32)),
            facts=(1,),
            payload=encode_payload(Note(text="Something came up, sorry.")),
        )

    def _offer(self) -> Record:
        seq = self._next_seq()
        payload = Offer(
            name=f"Apples from the garden, basket {seq}",
            category="food.fruit",
            unit=Unit.GRAM,
            price=Price(150, 1000, "EUR"),
            cell=CELL,
            text="Boskoop, unsprayed, picked this morning",
        )
        amount = self._dice.randrange(500, 20_000)
        record = self._say(
            EntryType.OFFER,
            stock=(seq, 0, 0, amount, amount, 0),
            facts=(CELL, UNTIL_MS),
            payload=encode_payload(payload),
        )
        self._lot = [record.entry.id, seq, seq, amount, 0]
        self._open = []
        return record

    def _reserve(self) -> Record:
        amount = self._dice.randrange(1, self._lot[3] // 2)
        propose = self._dice.randbytes(32)
        record = self._say(
            EntryType.RESERVE,
            refs=(propose, self._lot[0]),
            stock=self._move(0, amount, -amount, amount),
            facts=(UNTIL_MS, self._dice.randbytes(32)),
        )
        self._open.append((record, propose, amount))
        return record

    def _release(self) -> Record:
        reserve, propose, amount = self._open.pop(self._dice.randrange(len(self._open)))
        return self._say(
            EntryType.RELEASE,
            refs=(propose, reserve.entry.id),
            stock=self._move(reserve.entry.seq, amount, amount, -amount),
            facts=(2,),
            payload=encode_payload(Note(text="Not confirmed in time.")),
        )

    def _adjust(self) -> Record:
        amount = self._dice.randrange(1, 100)
        return self._say(
            EntryType.ADJUST,
            refs=(self._lot[0],),
            stock=self._move(0, amount, amount, 0),
            payload=encode_payload(Note(text="Found some more under the tree.")),
        )

    def _move(self, reserve_seq: int, amount: int, left: int, held: int) -> tuple[int, ...]:
        lot = self._lot
        previous, lot[2] = lot[2], self._next_seq()
        lot[3] += left
        lot[4] += held
        return (lot[1], previous, reserve_seq, amount, lot[3], lot[4])

    def _next_seq(self) -> int:
        return self._last.entry.seq + 1 if self._last is not None else 1

    def _say(
        self,
        type_: EntryType,
        refs: tuple[bytes, ...] = (),
        stock: tuple[int, ...] = (),
        facts: tuple[int | bytes, ...] = (),
        payload: bytes | None = None,
    ) -> Record:
        salt = self._dice.randbytes(SALT_BYTES) if payload is not None else None
        seq = self._next_seq()
        body = Body(
            self._key.public,
            seq,
            self._last.entry.id if self._last is not None else None,
            START_MS + 1000 * seq,
            type_,
            refs,
            stock,
            facts,
            len(payload) if payload is not None else 0,
            payload_hash(salt, payload) if salt is not None and payload is not None else None,
        )
        self._last = Record(sign(self._key, body), salt, payload)
        return self._last


def workload(count: int, run: int, seed: int = 1, authors: int = AUTHORS) -> list[Record]:
    """Return `count` records of `authors` listers, each writing `run` in a row."""
    dice = random.Random(seed)  # noqa: S311  # the same work each time
    listers = [_Lister(number, dice) for number in range(authors)]
    records: list[Record] = []
    while len(records) < count:
        lister = listers[len(records) // run % authors]
        records += [lister.next() for _ in range(run)]
    return records[:count]


def run(progress: Progress) -> dict[str, Any]:
    """Measure everything; return figures by name, ratios among them.

    A ratio of rates is ours to the reference's (more is better); `append_p99_ratio` is a
    ratio of times (less is better).
    """
    figures: dict[str, Any] = {}
    progress("making entries")
    mixed = workload(ENTRIES, run=1)
    sizes = [len(record.entry.raw) for record in mixed]
    figures["entry_bytes_mean"] = round(statistics.fmean(sizes))
    figures["record_bytes_mean"] = round(statistics.fmean(record.size for record in mixed))
    figures["stock_share"] = round(sum(bool(r.entry.body.stock) for r in mixed) / len(mixed), 2)
    progress("each signature verified")
    figures |= _rates("verify_each", mixed, GROUP, Check.EACH)
    progress(f"one signature for {RUN_MAX}")
    figures |= _rates("bulk", workload(ENTRIES, run=RUN_MAX), GROUP, Check.RUNS)
    progress("transactions of 5000")
    figures |= _rates("bulk_5000", workload(BULK_ENTRIES, run=RUN_MAX), BULK_GROUP, Check.RUNS)
    progress("two processes, each signature verified")
    figures |= halves.figures(mixed, GROUP, PAIRS)
    progress("audit")
    figures |= _audit_figures(workload(BULK_ENTRIES, run=RUN_MAX))
    progress("own entries, synced")
    figures |= _append_figures()
    return figures


def _rates(name: str, records: Sequence[Record], group: int, check: Check) -> dict[str, Any]:
    """Return `name`_ratio, `name`_per_s and the reference's rate for the same entries."""
    frames = [
        b"".join(encode_record(record) for record in records[at : at + group])
        for at in range(0, len(records), group)
    ]
    signed = [
        [(record.entry.raw, record.entry.author) for record in records[at : at + group]]
        for at in range(0, len(records), group)
    ]
    ratios, ours, theirs = [], [], []
    for _ in range(PAIRS):
        with _folder() as folder:
            store = SqliteStore(folder / "ledger.db")
            bare_s = taken_s = 0.0
            # Frame by frame in turn, so that both meet the same moments of a busy machine.
            for frame, members in zip(frames, signed, strict=True):
                bare_s += _bare(members)
                taken_s += _take(store, frame, group, check)
            if store.counts().entries != len(records):
                raise AssertionError("not every entry was appended")
            # What the log holds must go into the file some day: that is part of the cost.
            started = time.perf_counter()
            store.close()
            taken_s += time.perf_counter() - started
        ratios.append(bare_s / taken_s)
        ours.append(len(records) / taken_s)
        theirs.append(len(records) / bare_s)
    return {
        f"{name}_ratio": round(statistics.median(ratios), 3),
        f"{name}_per_s": round(statistics.median(ours)),
        f"{name}_reference_per_s": round(statistics.median(theirs)),
    }


def _bare(signed: Sequence[tuple[bytes, bytes]]) -> float:
    started = time.perf_counter()
    for raw, author in signed:
        crypto_sign_open(raw, author)
    return time.perf_counter() - started


def _take(store: SqliteStore, frame: bytes, group: int, check: Check) -> float:
    started = time.perf_counter()
    records = read_records(frame, group)
    batch = admit(store.view(records), records, check)
    store.commit([batch], durable=False)
    return time.perf_counter() - started


def _audit_figures(records: Sequence[Record]) -> dict[str, Any]:
    """Audits of single chains, in turn with signature checks of the same entries."""
    chains: dict[bytes, list[bytes]] = {}
    for record in records:
        chains.setdefault(record.entry.author, []).append(record.entry.raw)
    with _folder() as folder:
        store = SqliteStore(folder / "ledger.db")
        for at in range(0, len(records), BULK_GROUP):
            group = records[at : at + BULK_GROUP]
            store.commit([admit(store.view(group), group, Check.RUNS)], durable=False)
        store.close()
        reader = SqliteReader.open(folder / "ledger.db")
        ratios, ours, theirs = [], [], []
        for _ in range(PAIRS):
            audited_s = bare_s = 0.0
            for author, chain in chains.items():
                bare_s += _bare([(raw, author) for raw in chain])
                started = time.perf_counter()
                report = audit(reader, START_MS, AuthorScope(author))
                audited_s += time.perf_counter() - started
                if report.findings or report.verified != len(chain):
                    raise AssertionError("not every entry was verified")
            ratios.append(bare_s / audited_s)
            ours.append(len(records) / audited_s)
            theirs.append(len(records) / bare_s)
        reader.close()
    return {
        "audit_ratio": round(statistics.median(ratios), 2),
        "audit_per_s": round(statistics.median(ours)),
        "audit_reference_per_s": round(statistics.median(theirs)),
    }


def _append_figures() -> dict[str, Any]:
    """Own appends by the storage thread, in turn with plain synced inserts of the same bytes."""
    records = workload(APPENDS, run=APPENDS)
    ours, theirs = [], []
    with _folder() as folder:
        plain = plain_table(folder / "plain.db")

        async def appends() -> None:
            own = records[0].entry.author
            begin(folder / GUARD_NAME)
            async with open_storage(folder / "ledger.db", own) as storage:
                for record in records:
                    started = time.perf_counter()
                    await storage.append(own, partial(_already_made, record))
                    ours.append(time.perf_counter() - started)
                    started = time.perf_counter()
                    plain(record.entry.raw)
                    theirs.append(time.perf_counter() - started)

        # As the daemon does for its whole life.
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            trio.run(appends)
        finally:
            sys.setswitchinterval(before)
    return {
        "append_p99_ratio": round(_p99(ours) / _p99(theirs), 2),
        "append_p50_ms": round(statistics.median(ours) * 1e3, 3),
        "append_p99_ms": round(_p99(ours) * 1e3, 3),
        "append_reference_p50_ms": round(statistics.median(theirs) * 1e3, 3),
        "append_reference_p99_ms": round(_p99(theirs) * 1e3, 3),
    }


def _already_made(record: Record, _: View) -> list[Record]:
    return [record]


def _p99(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="passby-bench-") as name:
        yield Path(name)


def main() -> None:
    """Print the figures as JSON."""
    figures = run(lambda what: print(what, file=sys.stderr))  # noqa: T201  # a command
    print(json.dumps(figures, indent=2))  # noqa: T201  # a command


if __name__ == "__main__":
    main()
