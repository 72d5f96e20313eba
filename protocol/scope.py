"""What one side of a sync session wants to hear of: topic cells, and authors besides.

    SCOPE = own b32 ‖ count u16 ‖ cell u64 x count, ascending ‖ author b32 x 0..1024, ascending

`own` is the side's own chain; a count of 65,535 stands for every cell, and lists none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Final

import msgspec

from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import KEY_BYTES
from passby.protocol.limits import SCOPE_AUTHORS_MAX, SCOPE_CELLS_MAX

_EVERY_CELL: Final = 0xFFFF
_fixed = struct.Struct(f">{KEY_BYTES}sH")
_CELL_BYTES: Final = 8


class Scope(msgspec.Struct, frozen=True):
    """A side's interest; `cells` is None for every cell."""

    own: bytes
    cells: frozenset[int] | None
    authors: frozenset[bytes] = frozenset()

    def takes_in(self, author: bytes, spoken: Callable[[bytes], Iterable[int]]) -> bool:
        """Tell whether an author that has `spoken` in certain cells is within this interest."""
        if self.cells is None or author == self.own or author in self.authors:
            return True
        return not self.cells.isdisjoint(spoken(author))


def covers(wider: frozenset[int] | None, cells: frozenset[int] | None) -> bool:
    """Tell whether all of `cells` are among `wider`; None is every cell."""
    return wider is None or (cells is not None and cells <= wider)


def pack_scope(scope: Scope) -> bytes:
    """Return the body of a SCOPE.

    Raises:
        ValueError: over the bounds.
    """
    cells = sorted(scope.cells) if scope.cells is not None else []
    if len(cells) > SCOPE_CELLS_MAX or len(scope.authors) > SCOPE_AUTHORS_MAX:
        raise ValueError(f"a scope of {len(cells)} cells and {len(scope.authors)} authors")
    count = len(cells) if scope.cells is not None else _EVERY_CELL
    return b"".join(
        [
            _fixed.pack(scope.own, count),
            *(cell.to_bytes(_CELL_BYTES, "big") for cell in cells),
            *sorted(scope.authors),
        ]
    )


def read_scope(body: bytes) -> Scope:
    """Return the scope in the body of a SCOPE.

    Raises:
        RemoteError: it is not exactly one, or lists too much.
    """
    if len(body) < _fixed.size:
        raise RemoteError(Code.MALFORMED, "not a SCOPE")
    own, count = _fixed.unpack_from(body)
    every = count == _EVERY_CELL
    if not every and count > SCOPE_CELLS_MAX:
        raise RemoteError(Code.TOO_LARGE, f"a SCOPE of {count} cells")
    end = _fixed.size + (0 if every else count * _CELL_BYTES)
    authors, rest = divmod(len(body) - end, KEY_BYTES)
    if authors < 0 or rest:
        raise RemoteError(Code.MALFORMED, "not a SCOPE")
    if authors > SCOPE_AUTHORS_MAX:
        raise RemoteError(Code.TOO_LARGE, f"a SCOPE of {authors} authors")
    cells = _ascending(body[_fixed.size : end], _CELL_BYTES)
    return Scope(
        own,
        None if every else frozenset(int.from_bytes(cell, "big") for cell in cells),
        frozenset(_ascending(body[end:], KEY_BYTES)),
    )


def _ascending(data: bytes, size: int) -> list[bytes]:
    members = [data[at : at + size] for at in range(0, len(data), size)]
    if any(one >= after for one, after in pairwise(members)):
        raise RemoteError(Code.NOT_CANONICAL, "members of a SCOPE out of order")
    return members
