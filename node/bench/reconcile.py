"""What it costs two neighbours to find out what has changed since they last met.

Two sync sessions joined back to back, bytes counted: 10,000 chains that both hold, and 100 of
them longer on one side when they meet again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from passby.ledger.chain import Head
from passby.ledger.changes import INSTANCE_BYTES, HeadChanges, Heard
from passby.ledger.sync import Session
from passby.ledger.sync_events import CanFetch, Received
from passby.protocol.entry import Body, Record, encode_record, sign
from passby.protocol.keys import SigningKey
from passby.protocol.limits import SEQ_MAX, STREAM_READ_MAX
from passby.protocol.messages import FrameReader, Kind
from passby.protocol.packed import places

SHARED: Final = 10_000
CHANGED: Final = 100
_NETWORK: Final = bytes(32)


class _Side:
    """One neighbour: heads in memory, and the entries that it alone holds."""

    def __init__(self, dice: random.Random, heads: dict[bytes, Head]) -> None:
        self.heads = dict(heads)
        self.entries: dict[bytes, bytes] = {}
        self._changes = HeadChanges(dice.randbytes(INSTANCE_BYTES), self.heads)
        self._heard: Heard | None = None
        self._session = self._meet()
        self.knows: set[bytes] = set()
        """Authors of whose changes it has heard, in this meeting."""

    def _meet(self) -> Session:
        return Session(
            _NETWORK, self.heads, lambda _: SEQ_MAX, changes=self._changes, heard=self._heard
        )

    def meet_again(self) -> None:
        """Begin a session on what the last one ended with."""
        self._heard = self._session.heard()
        self._session = self._meet()
        self.knows.clear()

    def take(self, author: bytes, head: Head) -> None:
        """Hold a new head."""
        self.heads[author] = head
        self._changes.note(author)
        self._session.local_changed(author)

    def said(self) -> bytes:
        """Return all that the session says now."""
        said = bytearray()
        while True:
            while (wanted := self._session.next_wanted()) is not None:
                self._session.send_entries(wanted.author, [self.entries[wanted.author]])
            piece = self._session.data_to_send()
            if not piece:
                return bytes(said)
            said += piece

    def hear(self, data: bytes) -> None:
        """Take what the other side said."""
        for start in range(0, len(data), STREAM_READ_MAX):
            self._session.receive_data(data[start : start + STREAM_READ_MAX])
            while (event := self._session.next_event()) is not None:
                if isinstance(event, CanFetch):
                    self.knows.add(event.author)
                    self._session.follow(event.author, event.from_seq)
                elif isinstance(event, Received):
                    for place in places(event.packed, event.count):
                        # Heads are compared by the beginning of their id.
                        self.take(place.author, Head(place.seq, place.short_id(event.packed), 0))
                    self._session.consumed(event.size)


def _sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (kind, bytes on the wire) of each frame in `data`."""
    reader = FrameReader()
    for start in range(0, len(data), STREAM_READ_MAX):
        reader.feed(data[start : start + STREAM_READ_MAX])
        while (taken := reader.take()) is not None:
            length = len(taken[1]) + 1
            yield taken[0], length + (length.bit_length() + 6) // 7


def run() -> dict[str, Any]:
    """Return bytes beyond the entries, both ways, and round trips until all changes are known."""
    dice = random.Random(1)  # noqa: S311  # the same work each time
    keys = [SigningKey(dice.randbytes(32)) for _ in range(CHANGED)]
    shared = {key.public: Head(1, dice.randbytes(32), 0) for key in keys}
    shared |= {dice.randbytes(32): Head(1, dice.randbytes(32), 0) for _ in range(SHARED - CHANGED)}
    left, right = _Side(dice, shared), _Side(dice, shared)
    first, _, _ = _talk(left, right)
    left.meet_again()
    right.meet_again()
    for key in keys:
        entry = sign(key, Body(key.public, 2, shared[key.public].id, 0, 200))
        left.entries[key.public] = encode_record(Record(entry))
        left.take(key.public, Head(2, entry.id, 0))
    carried, half_trips, brought = _talk(left, right)
    if brought != CHANGED:
        raise AssertionError("not every change was fetched")
    return {
        "shared": SHARED,
        "changed": CHANGED,
        "bytes": carried,
        "round_trips": half_trips / 2,
        "first_contact_bytes": first,
    }


def _talk(left: _Side, right: _Side) -> tuple[int, int, int]:
    """Carry what both say until both are silent.

    Returns (bytes of all frames but ENTRIES, half round trips until the right side has heard
    of every change, changes that it has fetched).
    """
    carried = half_trips = known_at = 0
    before = {author: head.seq for author, head in right.heads.items()}
    while True:
        said = left.said(), right.said()
        if not any(said):
            fetched = sum(head.seq > before[author] for author, head in right.heads.items())
            return carried, known_at, fetched
        half_trips += 1
        for data in said:
            carried += sum(size for kind, size in _sizes(data) if kind != Kind.ENTRIES)
        knew = len(right.knows)
        right.hear(said[0])
        left.hear(said[1])
        if len(right.knows) > knew:
            known_at = half_trips
