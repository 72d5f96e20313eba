"""In which topic cells an author speaks: where it lists, and where the trades are that it is in.

A propose speaks where the lots are that it names, so that a stranger's is seen in the cell of
the lister; a reserve speaks where its propose does, so that listers who serve one taker together
see each other. What an entry names may come later than the entry: until then it is awaited.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from passby.protocol.entry import Entry
from passby.protocol.limits import SPOKEN_CELLS_MAX
from passby.protocol.types import PLACED_TYPES, EntryType

CELL_MAX = 2**63 - 1
"""No cell is larger, nor a number that SQLite keeps; what else is in its place is no cell."""


class Spoken(msgspec.Struct):
    """Where one entry speaks, as far as what it names is held."""

    cells: set[int] = msgspec.field(default_factory=set)
    awaited: dict[bytes, bool] = msgspec.field(default_factory=dict)
    """id of an entry not held -> whether, if it is a propose, the lots it names count."""

    def take(self, entry: Entry, held: Callable[[bytes], Entry | None]) -> None:
        """Take an entry of the author's, looking up what it names in `held`."""
        body = entry.body
        if body.type in PLACED_TYPES:
            self._take_cell(entry)
        for named in refs_spoken(entry):
            self.follow(named, held, through=body.type == EntryType.RESERVE)

    def follow(self, named: bytes, held: Callable[[bytes], Entry | None], *, through: bool) -> None:
        """Take what an entry names: a lot or request; `through` a propose, the lots of that."""
        entry = held(named)
        if entry is None:
            self.awaited[named] = self.awaited.get(named, False) or through
        elif entry.body.type in PLACED_TYPES:
            self._take_cell(entry)
        elif through and entry.body.type == EntryType.PROPOSE:
            for lot in entry.body.refs:
                self.follow(lot, held, through=False)

    def _take_cell(self, entry: Entry) -> None:
        cell = entry.body.facts[0]
        if isinstance(cell, int) and cell <= CELL_MAX:
            self.cells.add(cell)


def refs_spoken(entry: Entry) -> tuple[bytes, ...]:
    """Return the refs of an entry that speaks where they do: a propose's lots, or a propose."""
    body = entry.body
    if body.type == EntryType.PROPOSE:
        return body.refs
    return body.refs[:1] if body.type == EntryType.RESERVE else ()


SPEAKING = PLACED_TYPES | {EntryType.PROPOSE, EntryType.RESERVE}
"""Types that `Spoken.take` looks at."""
NAMED = PLACED_TYPES | {EntryType.PROPOSE}
"""Types that may be awaited."""


class SpokenCells:
    """In which cells each author speaks, in dictionaries.

    Args:
        held: looks up an entry; each is held before it is taken.
    """

    def __init__(self, held: Callable[[bytes], Entry | None]) -> None:
        self._held = held
        self._spoken: dict[bytes, dict[int, int]] = {}
        self._awaited: dict[bytes, dict[bytes, tuple[int, bool]]] = {}
        self._number = 0
        self._numbers: dict[tuple[bytes, int], int] = {}

    def take(self, entry: Entry) -> None:
        """Take an entry that is now held."""
        spoken = Spoken()
        spoken.take(entry, self._held)
        self._add(entry.author, entry.at_ms, spoken)
        if entry.body.type in NAMED:
            for author, (at_ms, through) in self._awaited.pop(entry.id, {}).items():
                spoken = Spoken()
                spoken.follow(entry.id, self._held, through=through)
                self._add(author, at_ms, spoken)

    def _add(self, author: bytes, at_ms: int, spoken: Spoken) -> None:
        cells = self._spoken.setdefault(author, {})
        for cell in spoken.cells:
            if cell not in cells:
                self._number += 1
                self._numbers[author, cell] = self._number
            cells[cell] = max(at_ms, cells.get(cell, 0))
        latest = sorted(cells, key=lambda cell: (cells[cell], cell), reverse=True)
        for cell in latest[SPOKEN_CELLS_MAX:]:
            del cells[cell], self._numbers[author, cell]
        for named, through in spoken.awaited.items():
            waiting = self._awaited.setdefault(named, {})
            before_ms, before = waiting.get(author, (0, False))
            waiting[author] = max(at_ms, before_ms), through or before

    def drop(self, author: bytes) -> None:
        """Forget where an author speaks."""
        for cell in self._spoken.pop(author, {}):
            del self._numbers[author, cell]
        for waiting in self._awaited.values():
            waiting.pop(author, None)

    def of(self, author: bytes) -> dict[int, int]:
        """As `Reader.spoken`."""
        return dict(self._spoken.get(author, {}))

    def since(self, number: int) -> list[tuple[int, bytes, int]]:
        """As `Reader.spoken_since`."""
        return [(its, *pair) for pair, its in self._numbers.items() if its > number]
