"""Records as they travel: told apart, and whose they are, without being decoded.

The one encoding of an entry has its author and seq at one place, so whoever only moves
records need not read the rest. What is told of bytes that are no entry means nothing; whoever
decodes them finds that out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from passby.protocol.codec import encode_uvarint, read_uvarint
from passby.protocol.entry import ENTRY_MAX, PREFIX, SALT_BYTES, entry_id
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import KEY_BYTES, SIGNATURE_BYTES
from passby.protocol.limits import PAYLOAD_MAX

_ARRAY_AT: Final = SIGNATURE_BYTES
_OPENING: Final = PREFIX + b"\x9a\xc4\x20"
"""The prefix, an array of ten, bytes of 32."""
_AUTHOR_AT: Final = _ARRAY_AT + len(_OPENING)
_SEQ_AT: Final = _AUTHOR_AT + KEY_BYTES
_SEQ_WIDTH: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4}
_CARRIED_MAX: Final = SALT_BYTES + PAYLOAD_MAX
_LENGTHS: Final = tuple(encode_uvarint(length) for length in range(_CARRIED_MAX + 1))


class Place(NamedTuple):
    """A record among others: whose it says it is, and where it lies in the bytes."""

    author: bytes
    seq: int
    start: int
    entry_at: int
    entry_end: int
    end: int
    size: int
    """Bytes of entry and payload, without the two lengths."""

    def short_id(self, data: bytes) -> bytes:
        """Return the first eight bytes of the entry's id."""
        return entry_id(data[self.entry_at + SIGNATURE_BYTES : self.entry_end])[:8]


def pack(raw: bytes, carried: bytes | None) -> bytes:
    """Return the record of an entry's bytes and of salt and payload, if there are any."""
    if not carried:
        return b"%b%b\x00" % (_LENGTHS[len(raw)], raw)
    return b"%b%b%b%b" % (_LENGTHS[len(raw)], raw, _LENGTHS[len(carried)], carried)


def place_at(data: bytes, start: int) -> Place:
    """Return the place of the record that begins at `start`.

    Raises:
        RemoteError: it is cut off, or does not begin as an entry does.
    """
    length, entry_at = read_uvarint(data, start, ENTRY_MAX)
    entry_end = entry_at + length
    author_at = entry_at + _AUTHOR_AT
    if data[entry_at + _ARRAY_AT : author_at] != _OPENING:
        raise RemoteError(Code.MALFORMED, "not an entry")
    seq_at = entry_at + _SEQ_AT
    if entry_end > len(data) or seq_at >= entry_end:
        raise RemoteError(Code.MALFORMED, "an entry is cut off")
    seq = data[seq_at]
    if seq >= 0x80:
        width = _SEQ_WIDTH.get(seq)
        if width is None:
            raise RemoteError(Code.MALFORMED, "an entry without a seq")
        seq = int.from_bytes(data[seq_at + 1 : seq_at + 1 + width], "big")
    carried, carried_at = read_uvarint(data, entry_end, _CARRIED_MAX)
    end = carried_at + carried
    if end > len(data):
        raise RemoteError(Code.MALFORMED, "a payload is cut off")
    author = data[author_at : author_at + KEY_BYTES]
    return Place(author, seq, start, entry_at, entry_end, end, length + carried)


def places(data: bytes, most: int) -> list[Place]:
    """Return the places of all records in `data`, which they must fill exactly.

    Raises:
        RemoteError: as `place_at`, or more than `most`.
    """
    found: list[Place] = []
    at = 0
    while at < len(data):
        if len(found) == most:
            raise RemoteError(Code.TOO_LARGE, f"more than {most} records")
        place = place_at(data, at)
        found.append(place)
        at = place.end
    return found


def joined(data: bytes, chosen: Sequence[Place]) -> bytes:
    """Return the records at `chosen`, in order, as one piece."""
    return b"".join([data[place.start : place.end] for place in chosen])
