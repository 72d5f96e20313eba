"""Many rows by few statements: the tables of the ledger file as a commit fills them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from passby.ledger.reader_sqlite import trade_of
from passby.ledger.schema import Connection
from passby.ledger.store import id8, until_ms
from passby.protocol.entry import Entry
from passby.protocol.types import NOTED_TYPES, TRADE_TYPES, EntryType, noted_key

_CHUNKS: Final = (256, 64, 16, 4, 1)
"""Rows of one INSERT or members of one IN: few sizes, so that their statements stay prepared."""

# By name: a member of an enum is looked up for longer than a row takes.
_OFFER: Final = EntryType.OFFER
_REQUEST: Final = EntryType.REQUEST
_PROPOSE: Final = EntryType.PROPOSE


class Table:
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


ENTRIES: Final = Table("entries (place, id8, checked, raw, carried)", 5)
_TRADES: Final = Table("trades (propose8, place)", 2)
_PROPOSES: Final = Table("proposes (place, at_ms)", 2)
_VOUCHES: Final = Table("vouches (place, vouched, stands)", 3)
_REQUESTS: Final = Table("requests (place, until_ms)", 2)
LOTS: Final = Table(
    "lots (place, until_ms, id, last_seq, remaining, reserved, closed)",
    7,
    "ON CONFLICT (place) DO UPDATE SET last_seq = excluded.last_seq,"
    " remaining = excluded.remaining, reserved = excluded.reserved, closed = excluded.closed",
)
RESERVES: Final = Table(
    "reserves (place, id, propose_id, lot_seq, amount, resolved_seq)",
    6,
    "ON CONFLICT (place) DO UPDATE SET resolved_seq = excluded.resolved_seq",
)
BLOCKS: Final = Table("blocks (place, root, pruned)", 3, "ON CONFLICT DO NOTHING")
HEADS: Final = Table(
    "authors (number, key, seq, head_id, at_ms)",
    5,
    "ON CONFLICT (number) DO UPDATE SET seq = excluded.seq, head_id = excluded.head_id,"
    " at_ms = excluded.at_ms",
)


def chunked(members: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut `members` into chunks of the sizes in _CHUNKS, the last one filled by repeating."""
    start = 0
    while (left := len(members) - start) > 0:
        # Where more than half would be repeated, two statements cost less than one.
        size = next((size for size in reversed(_CHUNKS) if left <= size <= 2 * left), None)
        if size is None:
            size = next(size for size in _CHUNKS if size <= left)
        chunk = members[start : start + size]
        yield [*chunk, *[chunk[-1]] * (size - len(chunk))]
        start += size


class Folds:
    """What entries come to besides stock: rows for the tables that are looked up by meaning."""

    def __init__(self, last_days: dict[int, int]) -> None:
        self._last_days = last_days
        self._trades: list[Any] = []
        self._proposes: list[Any] = []
        self._requests: list[Any] = []
        self._vouches: list[Any] = []

    def take(self, place: int, entry: Entry) -> None:
        """Note what `entry` is about."""
        body = entry.body
        kind = body.type
        if kind in TRADE_TYPES:
            if kind == _PROPOSE:
                self._proposes += (place, body.at_ms)
            self._trades += (id8(trade_of(entry)), place)
        elif kind == _OFFER:
            self._last_days[place] = until_ms(entry)
        elif kind == _REQUEST:
            self._requests += (place, until_ms(entry))
        elif kind in NOTED_TYPES:
            self._trades += (id8(noted_key(kind, body.refs[0])), place)
        elif kind == EntryType.VOUCH:
            self._vouches += (place, *body.facts)

    def write(self, db: Connection) -> None:
        """Write what was noted."""
        _TRADES.insert(db, self._trades)
        _PROPOSES.insert(db, self._proposes)
        _REQUESTS.insert(db, self._requests)
        _VOUCHES.insert(db, self._vouches)
