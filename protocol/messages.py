"""The messages of a sync stream, and the frames they travel in.

    frame   = uvarint length ‖ kind u8 ‖ body            length counts kind and body
    HELLO   = version u16 ‖ features u32 ‖ network b32 ‖ at_ms u64 ‖ instance b16
              ‖ heard b16 ‖ since u64                    first, once
    HEADS   = (author b32 ‖ seq u32 ‖ id[:8]) x 1..4096
    LISTED  =                                            the first list of heads is whole, once
    WANT    = (author b32 ‖ from u32 ‖ to u32) x 1..1024
    ENTRIES = record x 1..2048                           together at most ENTRIES_MAX bytes
    END     = author b32 ‖ next u32                      no more comes for this author's WANT
    CREDIT  = bytes u32                                  of records, without their lengths
    FOLLOW  = (place u32 ‖ from u32) x 1..4096           WANT without end, of heads by their place
    CHANGES = number u64                                 all changes up to this one are named
    STATEMENT, ASK, PAYLOAD, PROOF                       see `messages_aside`
    SCOPE   =                                            see `scope`; if both have said so
    DONE    =                                            last; an end of stream without it is a cut

All integers are big-endian. In a WANT, `to` = 2**32 - 1 asks for what there is and for all
that comes after it; `from` = `to` = 0 takes the WANT back. A frame of a kind that is not read
here comes out as `Unknown`: a later version may send hints, and what must not be passed over
is agreed on by feature bits. Which message may come when is `ledger.sync`'s to say.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final, TypeVar, assert_never

import msgspec

from passby.protocol.codec import encode_uvarint
from passby.protocol.entry import ENTRY_MAX, SALT_BYTES
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import (
    CREDIT_GRANT_MIN,
    CREDIT_MAX,
    ENTRIES_PER_FRAME_MAX,
    FRAME_MAX,
    HEADS_PER_FRAME_MAX,
    INCOMING_MAX,
    PAYLOAD_MAX,
    SEQ_MAX,
    SMALL_FRAME,
    SMALL_FRAMES_MAX,
    WANTS_PER_FRAME_MAX,
)
from passby.protocol.messages_aside import (
    Ask,
    Feature,
    Payloads,
    ProofPart,
    Statements,
    pack_payloads,
    pack_statements,
    read_ask,
    read_payloads,
    read_statements,
)
from passby.protocol.packed import Place, places
from passby.protocol.scope import Scope, pack_scope, read_scope

VERSION: Final = 1
ID_SHORT: Final = 8
"""Bytes of an id in a head: enough to notice a fork, which the entries themselves then prove."""
LENGTHS_MAX: Final = 4
"""Bytes that a record's two lengths take at most."""
RECORD_MAX: Final = ENTRY_MAX + SALT_BYTES + PAYLOAD_MAX + LENGTHS_MAX
ENTRIES_MAX: Final = FRAME_MAX - 1 - LENGTHS_MAX * ENTRIES_PER_FRAME_MAX
"""Bytes of records, without their lengths, in one ENTRIES frame.

It bounds what a run may take between two checked signatures: whatever one frame brought, one
frame can pass on.
"""
_LENGTH_BYTES = 3
"""FRAME_MAX takes three uvarint bytes."""

_hello = struct.Struct(">HI32sQ16s16sQ")
_follow = struct.Struct(">II")
_changes = struct.Struct(">Q")
_head = struct.Struct(">32sI8s")
_want = struct.Struct(">32sII")
_end = struct.Struct(">32sI")
_credit = struct.Struct(">I")


class Kind(IntEnum):
    """The kind byte. CHECKPOINT is reserved, not read yet."""

    HELLO = 1
    HEADS = 2
    LISTED = 3
    WANT = 4
    ENTRIES = 5
    END = 6
    CREDIT = 7
    DONE = 8
    FOLLOW = 9
    ASK = 10
    SCOPE = 11
    PAYLOAD = 16
    CHANGES = 17
    PROOF = 18
    STATEMENT = 19
    CHECKPOINT = 20


NEEDS: Final[dict[Kind, Feature]] = {
    Kind.PROOF: Feature.PROOFS,
    Kind.SCOPE: Feature.SCOPE,
    Kind.STATEMENT: Feature.STATEMENTS,
    Kind.ASK: Feature.PAYLOADS,
    Kind.PAYLOAD: Feature.PAYLOADS,
}
"""Kinds that are read and said only where both sides have the bit."""


class Hello(msgspec.Struct, frozen=True):
    """What a side speaks, which network it belongs to, and what its clock says (Unix ms)."""

    network: bytes
    features: int = 0
    version: int = VERSION
    at_ms: int = 0
    instance: bytes = bytes(16)
    """Numbers this side's changes; 16 zero bytes say that it does not number them."""
    heard: bytes = bytes(16)
    """The other side's instance of which this one has heard, up to its change `since`."""
    since: int = 0


class Head(msgspec.Struct, frozen=True, gc=False):
    """The newest entry of a chain that a side holds."""

    author: bytes
    seq: int
    short_id: bytes


class Heads(msgspec.Struct, frozen=True):
    """Heads that are new to the other side."""

    heads: tuple[Head, ...]


class Listed(msgspec.Struct, frozen=True):
    """Every head held at the beginning has been named."""


class Want(msgspec.Struct, frozen=True, gc=False):
    """A range of one chain, both ends included."""

    author: bytes
    from_seq: int
    to_seq: int

    @property
    def follows(self) -> bool:
        """Whether it also asks for what does not exist yet."""
        return self.to_seq == SEQ_MAX

    @property
    def takes_back(self) -> bool:
        """Whether it ends an earlier one."""
        return self.to_seq == 0


class Wants(msgspec.Struct, frozen=True):
    """Ranges asked for."""

    wants: tuple[Want, ...]


class Follow(msgspec.Struct, frozen=True, gc=False):
    """A WANT without end of the chain whose head the other side named as its `place`-th, from 0."""

    place: int
    from_seq: int


class Follows(msgspec.Struct, frozen=True):
    """Chains to follow."""

    follows: tuple[Follow, ...]


class Changes(msgspec.Struct, frozen=True):
    """All of this instance's head changes up to `number` are named, or their entries sent."""

    number: int


class Entries(msgspec.Struct, frozen=True):
    """Records in order within each chain, not decoded, and where they lie in the bytes.

    Their `size` together is what they cost in credit.
    """

    packed: bytes
    places: tuple[Place, ...]
    size: int


class End(msgspec.Struct, frozen=True):
    """The other side has no `next_seq` of this chain, or sends it no more."""

    author: bytes
    next_seq: int


class Credit(msgspec.Struct, frozen=True):
    """Bytes of records that may be sent besides those granted before."""

    size: int


class Done(msgspec.Struct, frozen=True):
    """Nothing follows."""


class Unknown(msgspec.Struct, frozen=True):
    """A frame of a kind that this version does not read."""

    kind: int
    size: int


Message = (
    Hello
    | Heads
    | Listed
    | Wants
    | Follows
    | Changes
    | Scope
    | Entries
    | End
    | Credit
    | Statements
    | Ask
    | Payloads
    | ProofPart
    | Done
    | Unknown
)
M = TypeVar("M")


def frame(kind: int, body: bytes) -> bytes:
    """Return one frame.

    Raises:
        ValueError: it would be over FRAME_MAX.
    """
    if len(body) >= FRAME_MAX:
        raise ValueError(f"a frame of {len(body) + 1} bytes")
    return b"%b%c%b" % (encode_uvarint(len(body) + 1), kind, body)


def encode_message(  # noqa: PLR0912  # one branch for each message
    message: Message,
) -> bytes:
    """Return the frame of `message`; entries are framed with `frame`, from encoded records."""
    match message:
        case Hello():
            body = _hello.pack(
                message.version,
                message.features,
                message.network,
                message.at_ms,
                message.instance,
                message.heard,
                message.since,
            )
            return frame(Kind.HELLO, body)
        case Heads():
            packed = (_head.pack(head.author, head.seq, head.short_id) for head in message.heads)
            return frame(Kind.HEADS, b"".join(packed))
        case Listed():
            return frame(Kind.LISTED, b"")
        case Wants():
            asked = (_want.pack(want.author, want.from_seq, want.to_seq) for want in message.wants)
            return frame(Kind.WANT, b"".join(asked))
        case Follows():
            followed = (_follow.pack(each.place, each.from_seq) for each in message.follows)
            return frame(Kind.FOLLOW, b"".join(followed))
        case Changes():
            return frame(Kind.CHANGES, _changes.pack(message.number))
        case Scope():
            return frame(Kind.SCOPE, pack_scope(message))
        case End():
            return frame(Kind.END, _end.pack(message.author, message.next_seq))
        case Credit():
            return frame(Kind.CREDIT, _credit.pack(message.size))
        case Statements():
            return frame(Kind.STATEMENT, pack_statements(message))
        case Ask():
            return frame(Kind.ASK, b"".join(message.ids))
        case Payloads():
            return frame(Kind.PAYLOAD, pack_payloads(message))
        case ProofPart():
            return frame(Kind.PROOF, message.body)
        case Done():
            return frame(Kind.DONE, b"")
        case Entries() | Unknown():
            raise ValueError("frame encoded records with frame()")
        case _:
            assert_never(message)


def decode_message(kind: int, body: bytes) -> Message:
    """Return the message of one frame.

    Raises:
        RemoteError: a body that is not of its kind, or a record that cannot be read.
    """
    reader = _READERS.get(kind)
    return Unknown(kind, len(body)) if reader is None else reader(body)


def _read_hello(body: bytes) -> Hello:
    # Version first: what follows it may differ in a later one, and is then not ours to judge.
    if len(body) >= 2 and (version := int.from_bytes(body[:2], "big")) != VERSION:
        raise RemoteError(Code.VERSION, f"sync version {version}", penalty=0)
    if len(body) != _hello.size:
        raise RemoteError(Code.MALFORMED, "not a HELLO")
    version, features, network, at_ms, instance, heard, since = _hello.unpack(body)
    return Hello(network, features, version, at_ms, instance, heard, since)


def _read_heads(body: bytes) -> Heads:
    heads = _items(body, _head, HEADS_PER_FRAME_MAX, Head)
    if any(head.seq == 0 for head in heads):
        raise RemoteError(Code.BAD_FIELD, "a head with sequence number 0")
    return Heads(heads)


def _read_wants(body: bytes) -> Wants:
    wants = _items(body, _want, WANTS_PER_FRAME_MAX, Want)
    for want in wants:
        if not want.takes_back and not 1 <= want.from_seq <= want.to_seq:
            raise RemoteError(Code.BAD_FIELD, "a WANT of no range")
        if want.takes_back and want.from_seq:
            raise RemoteError(Code.BAD_FIELD, "a WANT of no range")
    return Wants(wants)


def _read_follows(body: bytes) -> Follows:
    follows = _items(body, _follow, HEADS_PER_FRAME_MAX, Follow)
    if any(follow.from_seq == 0 for follow in follows):
        raise RemoteError(Code.BAD_FIELD, "a FOLLOW from sequence number 0")
    return Follows(follows)


def _read_changes(body: bytes) -> Changes:
    if len(body) != _changes.size:
        raise RemoteError(Code.MALFORMED, "not a CHANGES")
    return Changes(*_changes.unpack(body))


def _read_entries(body: bytes) -> Entries:
    found = places(body, ENTRIES_PER_FRAME_MAX)
    if not found:
        raise RemoteError(Code.MALFORMED, "ENTRIES without any")
    size = sum([place.size for place in found])
    if size > ENTRIES_MAX:
        raise RemoteError(Code.TOO_LARGE, f"records of {size} bytes in one frame")
    return Entries(body, tuple(found), size)


def _read_end(body: bytes) -> End:
    if len(body) != _end.size:
        raise RemoteError(Code.MALFORMED, "not an END")
    return End(*_end.unpack(body))


def _read_credit(body: bytes) -> Credit:
    if len(body) != _credit.size:
        raise RemoteError(Code.MALFORMED, "not a CREDIT")
    (size,) = _credit.unpack(body)
    if not CREDIT_GRANT_MIN <= size <= CREDIT_MAX:
        raise RemoteError(Code.BAD_FIELD, f"a CREDIT of {size}")
    return Credit(size)


def _read_listed(body: bytes) -> Listed:
    if body:
        raise RemoteError(Code.MALFORMED, "LISTED with a body")
    return Listed()


def _read_done(body: bytes) -> Done:
    if body:
        raise RemoteError(Code.MALFORMED, "DONE with a body")
    return Done()


def _items(body: bytes, item: struct.Struct, most: int, make: Callable[..., M]) -> tuple[M, ...]:
    count, rest = divmod(len(body), item.size)
    if rest or not 1 <= count <= most:
        raise RemoteError(Code.MALFORMED, f"{len(body)} bytes are no list of {item.size} each")
    return tuple(make(*fields) for fields in item.iter_unpack(body))


_READERS: Final[dict[int, Callable[[bytes], Message]]] = {
    Kind.HELLO: _read_hello,
    Kind.HEADS: _read_heads,
    Kind.LISTED: _read_listed,
    Kind.WANT: _read_wants,
    Kind.ENTRIES: _read_entries,
    Kind.END: _read_end,
    Kind.CREDIT: _read_credit,
    Kind.DONE: _read_done,
    Kind.FOLLOW: _read_follows,
    Kind.CHANGES: _read_changes,
    Kind.STATEMENT: read_statements,
    Kind.ASK: read_ask,
    Kind.PAYLOAD: read_payloads,
    Kind.PROOF: ProofPart,
    Kind.SCOPE: read_scope,
}


class FrameReader:
    """Cut a stream of bytes into frames, however the stream was split.

    It holds at most INCOMING_MAX bytes: feed no more than `room`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._small = 0

    @property
    def room(self) -> int:
        """Bytes that may be fed now."""
        return INCOMING_MAX - len(self._buffer)

    @property
    def pending(self) -> bool:
        """Whether bytes are held that no frame has used."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes off the stream.

        Raises:
            ValueError: more than `room`: the caller must take frames before it reads on.
        """
        if len(data) > self.room:
            raise ValueError(f"{len(data)} bytes fed where {self.room} have room")
        self._buffer += data

    def take(self) -> tuple[int, bytes] | None:
        """Return (kind, body) of the next whole frame, or None until more is fed.

        Raises:
            RemoteError: a length that is over FRAME_MAX, 0 or over-long, or too many small
                frames in a row.
        """
        length, start = 0, 0
        while True:
            if start == len(self._buffer):
                return None
            byte = self._buffer[start]
            length |= (byte & 0x7F) << 7 * start
            start += 1
            if byte < 0x80:
                break
            if start == _LENGTH_BYTES:
                raise RemoteError(Code.TOO_LARGE, "a frame without end")
        if length > FRAME_MAX:
            raise RemoteError(Code.TOO_LARGE, f"a frame of {length} bytes")
        if length == 0:
            raise RemoteError(Code.MALFORMED, "a frame without a kind")
        if start > 1 and byte == 0:
            raise RemoteError(Code.NOT_CANONICAL, "a length with needless bytes")
        end = start + length
        if end > len(self._buffer):
            return None
        kind = self._buffer[start]
        body = bytes(memoryview(self._buffer)[start + 1 : end])
        del self._buffer[:end]
        self._count(kind, length)
        return kind, body

    def _count(self, kind: int, length: int) -> None:
        if length >= SMALL_FRAME:
            self._small = 0
        # Credit has its own bound: the session refuses grants of what it has not sent.
        elif kind != Kind.CREDIT:
            self._small += 1
            if self._small > SMALL_FRAMES_MAX:
                raise RemoteError(Code.FLOOD, f"over {SMALL_FRAMES_MAX} small frames in a row")
