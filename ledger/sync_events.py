"""What a sync session tells its driver, and what it asks the driver to read."""

from __future__ import annotations

import msgspec

from passby.ledger.proof import Proof
from passby.protocol.entry import Record
from passby.protocol.messages_aside import Copy


class Met(msgspec.Struct, frozen=True):
    """The peer has said HELLO, its clock reading `at_ms`; `features` are those of both sides."""

    features: int
    at_ms: int = 0


class Introduced(msgspec.Struct, frozen=True):
    """The peer says that this chain is its own; nothing proves it."""

    author: bytes


class CanFetch(msgspec.Struct, frozen=True):
    """The peer says that it holds a range we want. Answer with `want` or `follow`, or not."""

    author: bytes
    from_seq: int
    to_seq: int


class HeadConflict(msgspec.Struct, frozen=True):
    """The peer names another head at our own head's seq. Answer with `bisect`."""

    author: bytes
    seq: int


class ListRead(msgspec.Struct, frozen=True):
    """The peer has named all it holds: what can be fetched is known."""


class Received(msgspec.Struct, frozen=True):
    """Records that were asked for, in order, not decoded.

    When they are admitted, say `consumed(size)`.
    """

    packed: bytes
    count: int
    size: int


class Ended(msgspec.Struct, frozen=True):
    """A `want` or `follow` is over; `complete` if it brought all it asked for."""

    author: bytes
    complete: bool


class Compare(msgspec.Struct, frozen=True):
    """The peer's entry at a seq of a bisection. Answer with `compared`."""

    author: bytes
    record: Record


class Diverged(msgspec.Struct, frozen=True):
    """The end of a bisection: the peer's record at the first seq where the chains differ."""

    author: bytes
    record: Record


class Stated(msgspec.Struct, frozen=True):
    """The peer tells root statements, not verified."""

    raws: tuple[bytes, ...]


class Copied(msgspec.Struct, frozen=True):
    """What was asked for of an entry; not checked. `last` tells that all is answered."""

    copy: Copy
    last: bool


class Accused(msgspec.Struct, frozen=True):
    """The peer shows that an author lied: verify it, then say `holds_proof`."""

    proof: Proof


class Finished(msgspec.Struct, frozen=True):
    """The peer has said DONE; this side answers with its own."""


Event = (
    Met
    | Introduced
    | CanFetch
    | HeadConflict
    | ListRead
    | Received
    | Ended
    | Compare
    | Diverged
    | Stated
    | Copied
    | Accused
    | Finished
)


class Wanted(msgspec.Struct, frozen=True):
    """What to read from the store for the peer: `from_seq` to `to_seq`, about `max_bytes`."""

    author: bytes
    from_seq: int
    to_seq: int
    max_bytes: int
