"""Lots that follow a file: what a row of it became, so that it is listed once and kept in step.

Each row has a key: its GTIN, or its name with brand and unit. What a key became is remembered
in a private file, source by source, with a digest of what the row said and the amount it gave.
A row that says the same is left alone, whatever has been sold of it since; one with another
amount sets what is left; one that says something else takes the old lot back and lists anew.
A lot that the person has withdrawn by hand stays withdrawn until its row changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from passby.ledger.draft import Change, Close, Draft
from passby.node.listing import draft_of, read_listed
from passby.node.participant import Participant
from passby.node.private import PrivateFile
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.limits import API_LOTS_MAX, STOCK_ROWS_MAX
from passby.protocol.stock import LotStock
from passby.protocol.types import EntryType

Json = dict[str, Any]
_TIMELY: Final = frozenset({"until_ms", "amount"})
"""Fields that may differ though the row says the same: the first is counted from the reading."""


class Shelf(msgspec.Struct, frozen=True, array_like=True):
    """What a row became: the lot, a digest of what the row said, and the amount it gave."""

    lot: str
    digest: str
    amount: int


Kept = dict[str, dict[str, Shelf]]


class Stock:
    """The rows of files, and the lots that they became.

    Args:
        path: the private file that remembers them; None keeps them in memory.
        participant: who lists.
    """

    def __init__(self, path: Path | None, participant: Participant) -> None:
        empty: Kept = {}
        self._file: PrivateFile[Kept] = PrivateFile(path, Kept, empty)
        self._node = participant

    async def take(
        self,
        source: str,
        rows: Sequence[tuple[str, Json]],
        *,
        whole: bool = False,
        still: Sequence[str] = (),
    ) -> list[Json]:
        """Bring the lots of `source` in step with its rows; tell what became of each row.

        A result holds the lot's `id` and what was `done`: "listed", "same", "amount" or
        "replaced"; or an `error`.

        Args:
            source: names the file.
            rows: a key and a lot as the local API takes it.
            whole: there are no other rows: what is missing is taken off the market.
            still: keys that are not missing though they are not in `rows`.

        Raises:
            RefusedError: more rows than are remembered.
            LocalError: nothing can be appended now.
        """
        kept = self._file.read()
        fresh = len({key for key, _ in rows} - kept.get(source, {}).keys())
        if sum(map(len, kept.values())) + fresh > STOCK_ROWS_MAX:
            raise RefusedError(
                f"Only {STOCK_ROWS_MAX:,} rows of files can be kept in step.",
                "List the rest with `passby import --again`, which remembers no rows.",
            )
        results: list[Json] = []
        for start in range(0, len(rows), API_LOTS_MAX):
            results += await self._take(source, rows[start : start + API_LOTS_MAX])
        if whole:
            held = self._file.read().get(source, {})
            gone = sorted(held.keys() - {key for key, _ in rows} - set(still))
            drafts = [draft for key in gone for draft in self._off(held[key])]
            for start in range(0, len(drafts), API_LOTS_MAX):
                await self._node.say(drafts[start : start + API_LOTS_MAX])
            if gone:
                self._write(source, {}, gone)
        return results

    async def _take(self, source: str, rows: Sequence[tuple[str, Json]]) -> list[Json]:
        held = self._file.read().get(source, {})
        results: list[Json] = []
        drafts: list[Draft] = []
        changed: dict[str, Shelf] = {}
        opening: list[tuple[int, str, Shelf]] = []
        for key, row in rows:
            try:
                draft, new = self._draft(row)
            except UsageError as error:
                results.append({"error": {"message": error.message, "hint": error.hint}})
                continue
            old = held.get(key)
            done, steps = self._steps(old, new)
            if done in ("listed", "replaced"):
                opening.append((len(results), key, new))
                steps = [*steps, draft]
            elif old is not None:
                changed[key] = Shelf(old.lot, new.digest, new.amount)
            drafts += steps
            results.append({"id": old.lot if old else "", "done": done})
        records = await self._node.say(drafts) if drafts else []
        opened = [
            record.entry
            for record in records
            if record.entry.body.type in (EntryType.OFFER, EntryType.REQUEST)
        ]
        for (place, key, new), entry in zip(opening, opened, strict=True):
            results[place] |= {"id": entry.id.hex(), "seq": entry.seq}
            changed[key] = Shelf(entry.id.hex(), new.digest, new.amount)
        if any(held.get(key) != shelf for key, shelf in changed.items()):
            self._write(source, changed, ())
        return results

    def _draft(self, row: Json) -> tuple[Draft, Shelf]:
        listed = read_listed(row)
        draft = draft_of(listed, self._node.market.home, self._node.clock())
        said = {name: row[name] for name in sorted(row.keys() - _TIMELY)}
        if listed.side == "request":
            said["amount"] = listed.amount
        plain = json.dumps(said, sort_keys=True, ensure_ascii=False).encode()
        digest = hashlib.blake2b(plain, digest_size=12).hexdigest()
        return draft, Shelf("", digest, listed.amount)

    def _steps(self, old: Shelf | None, new: Shelf) -> tuple[str, list[Draft]]:
        """Return what is to be done about a row, and the entries that come before a new lot's."""
        if old is None or self._is_over(old):
            return "listed", []
        if old.digest != new.digest:
            return "replaced", self._off(old)
        stock = self._stock(old)
        if old.amount == new.amount or stock is None:
            return "same", []
        if stock.closed:
            return "listed", []
        left = max(new.amount - stock.reserved, 0)
        if left == stock.remaining:
            return "same", []
        return "amount", [
            Draft(EntryType.ADJUST, (stock.lot_id,), move=Change(stock.lot_seq, left))
        ]

    def _off(self, shelf: Shelf) -> list[Draft]:
        """Return what takes a lot off the market; what is reserved of it stays so."""
        stock = self._stock(shelf)
        if stock is None or stock.closed or not stock.remaining:
            return []
        if stock.reserved:
            return [Draft(EntryType.ADJUST, (stock.lot_id,), move=Change(stock.lot_seq, 0))]
        return [Draft(EntryType.CLOSE, (stock.lot_id,), move=Close(stock.lot_seq))]

    def _is_over(self, shelf: Shelf) -> bool:
        """Tell whether a lot has run out, or is not this device's to change."""
        record = self._node.chains.reader.record(bytes.fromhex(shelf.lot))
        if record is None or record.entry.author != self._node.chains.author:
            return True
        until_ms = record.entry.body.facts[1]
        return not isinstance(until_ms, int) or until_ms < self._node.clock()

    def _stock(self, shelf: Shelf) -> LotStock | None:
        return self._node.chains.reader.lot(bytes.fromhex(shelf.lot))

    def _write(self, source: str, changed: Mapping[str, Shelf], gone: Sequence[str]) -> None:
        kept = self._file.read()
        shelves = {**kept.get(source, {}), **changed}
        for key in gone:
            shelves.pop(key, None)
        after = {**kept, source: shelves}
        self._file.write({name: rows for name, rows in after.items() if rows})
