"""The tables `spoken` and `awaited`: in which topic cells each author speaks, for one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from passby.ledger.rows_sqlite import Table
from passby.ledger.schema import SEQ_BITS, Connection
from passby.ledger.spoken import CELL_MAX, NAMED, SPEAKING, Spoken, refs_spoken
from passby.ledger.store import id8
from passby.protocol.entry import Entry, parse_entry
from passby.protocol.errors import RemoteError
from passby.protocol.limits import SPOKEN_CELLS_MAX
from passby.protocol.types import PLACED_TYPES, EntryType

_SPOKEN: Final = Table(
    "spoken (author, cell, at_ms)",
    3,
    "ON CONFLICT (author, cell) DO UPDATE SET at_ms = max(at_ms, excluded.at_ms)",
)
_AWAITED: Final = Table(
    "awaited (id8, author, at_ms)",
    3,
    "ON CONFLICT (id8, author) DO UPDATE SET at_ms = max(at_ms, excluded.at_ms)",
)

# By name: a member of an enum is looked up for longer than the rest of this takes.
_RESERVE: Final = EntryType.RESERVE


class Speaking:
    """What entries say of cells, gathered until all of a commit are written.

    Args:
        select_in: yields the rows of a query + " IN (members)", as `ViewSource.select_in`.
    """

    def __init__(self, select_in: Callable[[str, Sequence[Any]], Iterator[Any]]) -> None:
        self._select_in = select_in
        self._naming: list[tuple[int, Entry]] = []
        self._held: dict[bytes, Entry] = {}
        self._spoken: dict[tuple[int, int], int] = {}
        self._awaited: dict[tuple[int, int], int] = {}

    def take(self, place: int, entry: Entry) -> None:
        """Note an entry that is being written at `place`."""
        body = entry.body
        kind = body.type
        if kind not in SPEAKING:
            return
        if kind in PLACED_TYPES:
            cell = body.facts[0]
            if isinstance(cell, int) and cell <= CELL_MAX:
                # Times never decrease in a chain.
                self._spoken[place >> SEQ_BITS, cell] = body.at_ms
            self._held[entry.id] = entry
        else:
            self._naming.append((place >> SEQ_BITS, entry))
            if kind in NAMED:
                self._held[entry.id] = entry

    def write(self, db: Connection) -> None:
        """Write what all of them come to; they are in the table of entries."""
        if not self._naming and not self._held:
            return
        waiting = self._waiting(db)
        naming = self._naming + self._reserves()
        found = self._look_up(ref for _, entry in naming for ref in refs_spoken(entry))
        # What the proposes name that reserves name.
        self._look_up(ref for entry in found for ref in refs_spoken(entry))
        for author, entry in naming:
            if entry.body.type == _RESERVE and entry.body.refs[0] not in self._held:
                # Nearly all that bulk brings; once the propose comes, `_reserves` finds them.
                continue
            spoken = Spoken()
            spoken.take(entry, self._held.get)
            self._add(author, entry.at_ms, spoken)
        for named, author, at_ms in waiting:
            spoken = Spoken()
            spoken.follow(named, self._held.get, through=False)
            self._add(author, at_ms, spoken)
        rows: list[Any] = []
        for (author, cell), at_ms in self._spoken.items():
            rows += (author, cell, at_ms)
        before = _newest(db)
        _SPOKEN.insert(db, rows)
        if _newest(db) != before:
            self._thin(db)
        rows = []
        for (lot8, author), at_ms in self._awaited.items():
            rows += (lot8, author, at_ms)
        _AWAITED.insert(db, rows)

    def _waiting(self, db: Connection) -> list[tuple[bytes, int, int]]:
        """Return and take out what awaited the lots of this commit."""
        if not self._held or db.execute("SELECT 1 FROM awaited LIMIT 1").fetchone() is None:
            return []
        named = {id8(entry): entry for entry in self._held}
        # The last chunk of a query may repeat its members.
        found = dict.fromkeys(
            self._select_in("SELECT id8, author, at_ms FROM awaited WHERE id8", list(named))
        )
        for one in {row[0] for row in found}:
            db.execute("DELETE FROM awaited WHERE id8 = ?", (one,))
        return [(named[one], author, at_ms) for one, author, at_ms in found]

    def _reserves(self) -> list[tuple[int, Entry]]:
        """Return (author, entry) of the reserves that came before the proposes of this commit."""
        proposes = [id8(entry.id) for _, entry in self._naming if entry.body.type in NAMED]
        rows = self._select_in(
            "SELECT e.place, e.raw FROM trades t JOIN entries e ON e.place = t.place"
            " WHERE t.propose8",
            proposes,
        )
        found = ((place >> SEQ_BITS, _readable(raw)) for place, raw in set(rows))
        return [
            (author, entry)
            for author, entry in found
            if entry is not None and entry.body.type == EntryType.RESERVE
        ]

    def _look_up(self, ids: Iterable[bytes]) -> list[Entry]:
        """Read the entries with these ids, as far as they are held; return those read now."""
        lacking = {named for named in ids if named not in self._held}
        found: list[Entry] = []
        rows = self._select_in(
            "SELECT raw FROM entries WHERE id8", [id8(named) for named in lacking]
        )
        for (raw,) in rows:
            entry = _readable(raw)
            if entry is not None and entry.id in lacking:
                self._held[entry.id] = entry
                found.append(entry)
        return found

    def _add(self, author: int, at_ms: int, spoken: Spoken) -> None:
        for cell in spoken.cells:
            self._spoken[author, cell] = max(at_ms, self._spoken.get((author, cell), 0))
        for named, is_propose in spoken.awaited.items():
            # Who reserved for a propose is found in the table of trades.
            if not is_propose:
                key = id8(named), author
                self._awaited[key] = max(at_ms, self._awaited.get(key, 0))

    def _thin(self, db: Connection) -> None:
        """Keep of each author the cells in which it spoke last."""
        authors = list({author: None for author, _ in self._spoken})
        counts: dict[int, int] = {}
        pairs = set(self._select_in("SELECT author, cell FROM spoken WHERE author", authors))
        for author, _ in pairs:
            counts[author] = counts.get(author, 0) + 1
        for author, count in counts.items():
            if count > SPOKEN_CELLS_MAX:
                db.execute(
                    "DELETE FROM spoken WHERE author = ?1 AND cell NOT IN (SELECT cell FROM spoken"
                    " WHERE author = ?1 ORDER BY at_ms DESC, cell DESC LIMIT ?2)",
                    (author, SPOKEN_CELLS_MAX),
                )


def _newest(db: Connection) -> int | None:
    """Return the number given last: one is given only where an author speaks in a new cell."""
    number: int | None = db.execute("SELECT max(number) FROM spoken").fetchone()[0]
    return number


def _readable(raw: bytes) -> Entry | None:
    """Return an entry, or None where it is damaged: that is for whoever reads the chain to find."""
    try:
        return parse_entry(raw)
    except (RemoteError, TypeError):
        return None
