"""A chain's head, and the verdicts on an entry that wants to follow it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from passby.ledger.claim import Claim
from passby.protocol.entry import Entry
from passby.protocol.errors import RemoteError
from passby.protocol.stock import Rule, StockStep


class Head(msgspec.Struct, frozen=True, gc=False):
    """The last entry of a chain as this node holds it."""

    seq: int
    id: bytes
    at_ms: int


class ChainRule(StrEnum):
    """What an entry breaks that does not fit the one before it."""

    TIME = "a time before that of the entry before"


class Append(msgspec.Struct, frozen=True, gc=False):
    """The entry follows its chain's head; `step` is what it does to a lot, if anything."""

    head: Head
    step: StockStep | None = None


class Duplicate(msgspec.Struct, frozen=True, gc=False):
    """The chain holds this entry already; `completed` if its payload came with this copy alone."""

    completed: bool = False


class Fork(msgspec.Struct, frozen=True, gc=False):
    """Two entries of one author at one seq; both are kept, the author is frozen from there."""

    author: bytes
    seq: int
    held_id: bytes
    other_id: bytes


class Missing(msgspec.Struct, frozen=True, gc=False):
    """Entries `from_seq` to `to_seq` must come first.

    Where the entry follows on in number but names another predecessor, both are the head's
    own seq: whoever sent it holds another entry there, which is a fork once seen.
    """

    author: bytes
    from_seq: int
    to_seq: int


class Breach(msgspec.Struct, frozen=True, gc=False):
    """The author's entries at `accused`, this one the last, prove that it broke `rule`."""

    author: bytes
    rule: Rule | ChainRule
    accused: tuple[int, ...]


class Frozen(msgspec.Struct, frozen=True, gc=False):
    """Nothing of the author is appended from `from_seq` on: it is proven false, or was sealed."""

    author: bytes
    from_seq: int


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """Not an entry that any honest peer passes on: ill-shaped, or not signed."""

    error: RemoteError


Verdict = Append | Duplicate | Fork | Missing | Breach | Frozen
Outcome = Verdict | Rejected


class Proof(StrEnum):
    """What a piece of evidence proves."""

    FORK = "fork"
    STOCK = "stock"
    TIME = "time"
    CHECKPOINT = "checkpoint"


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """Entries of one author that together prove it false; it is frozen from `seq` on.

    Each element is one accused entry with, behind it, the entries of its chain that lead to
    the first valid signature: none where its own is valid. `claims` are what checkpoints say.
    """

    author: bytes
    seq: int
    proof: Proof
    rule: str
    elements: tuple[tuple[Entry, ...], ...]
    claims: tuple[Claim, ...] = ()
