"""Entry types and the shape of each: refs, stock and facts.

The table is the whole of what a stateless reader may demand of an entry besides its
canonical form. Types not in it are kept and passed on: later versions add some.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import IntEnum
from typing import Final

import msgspec

from passby.protocol.entry import HASH_BYTES, SALT_BYTES, STOCK_FIELDS, Body
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import KEY_BYTES
from passby.protocol.limits import (
    AMOUNT_MAX,
    AT_MS_MAX,
    FACTS_MAX,
    LOTS_PER_PROPOSE_MAX,
    PAYLOAD_MAX,
    REFS_MAX,
    SEQ_MAX,
)

UINT64_MAX: Final = 2**64 - 1


class EntryType(IntEnum):
    """The codes of the types that this version understands."""

    GENESIS = 1
    OFFER = 2
    REQUEST = 3
    ADJUST = 4
    CLOSE = 5
    PROPOSE = 6
    RESERVE = 7
    CONFIRM = 8
    COMMIT = 9
    HANDOVER = 10
    RECEIPT = 11
    RELEASE = 12
    CANCEL = 13
    STATEMENT = 14
    WITHDRAW = 15
    VOUCH = 128
    RATING = 129


STARS_MAX: Final = 5
NOTED_TYPES: Final = frozenset({EntryType.WITHDRAW, EntryType.RATING})
"""Types that say one thing of the entry that they name: a request is withdrawn, a trade rated."""
TRADE_TYPES: Final = frozenset(range(EntryType.PROPOSE, EntryType.CANCEL + 1))
"""Types whose first ref is a propose (a propose is its own)."""
FINISHING_TYPES: Final = frozenset(range(EntryType.HANDOVER, EntryType.CANCEL + 1))
"""Types that end what was agreed: hand-over, receipt, release, cancel."""
PLACED_TYPES: Final = frozenset({EntryType.OFFER, EntryType.REQUEST})
"""Types whose facts name the topic cell."""
GOSSIPED_TYPES: Final = PLACED_TYPES | {EntryType.ADJUST, EntryType.CLOSE}
"""Types that are news to a neighbourhood; all else travels on streams to whom it concerns."""


class Receipted(IntEnum):
    """What a receipt is for."""

    GOODS = 1
    MONEY = 2


Facts = tuple[int | bytes, ...]


class Shape(msgspec.Struct, frozen=True):
    """Bounds on one type: refs between two counts, stock or none, facts that fit."""

    refs_min: int
    refs_max: int
    stock: frozenset[int]
    facts: Callable[[Facts, int], bool]


def _none(facts: Facts, _refs: int) -> bool:
    return not facts


# Loops: a generator for each entry would cost as much as reading it.
def _uints(facts: Facts) -> bool:
    for fact in facts:  # noqa: SIM110  # see above
        if type(fact) is not int:
            return False
    return True


def _hashes(facts: Facts) -> bool:
    for fact in facts:  # noqa: SIM110  # see above
        if type(fact) is not bytes or len(fact) != HASH_BYTES:
            return False
    return True


def _commitment(facts: Facts, _refs: int) -> bool:
    return len(facts) == 1 and _hashes(facts)


def _cell_until(facts: Facts, _refs: int) -> bool:
    return len(facts) == 2 and type(facts[0]) is int and type(facts[1]) is int


def _propose(facts: Facts, refs: int) -> bool:
    """terms_hash, respond_by, then (amount, to, handover_until) for each lot.

    The lots' `to` must lead every lot to the taker, number 0, without a circle.
    """
    if len(facts) != 2 + 3 * refs or not _hashes(facts[:1]) or not _uints(facts[1:]):
        return False
    onward: dict[int, int] = {}
    for number in range(1, refs + 1):
        amount, to = facts[3 * number - 1], facts[3 * number]
        if not isinstance(amount, int) or not 1 <= amount <= AMOUNT_MAX:
            return False
        if not isinstance(to, int) or to > refs:
            return False
        onward[number] = to
    for number in onward:
        at = number
        for _ in onward:
            at = onward.get(at, 0)
        if at != 0:
            return False
    return True


def _deadline_hashes(facts: Facts, _refs: int) -> bool:
    return (
        2 <= len(facts) <= LOTS_PER_PROPOSE_MAX + 2 and type(facts[0]) is int and _hashes(facts[1:])
    )


def _secret_amount(facts: Facts, _refs: int) -> bool:
    return (
        len(facts) == 2
        and isinstance(facts[0], bytes)
        and len(facts[0]) == SALT_BYTES
        and isinstance(facts[1], int)
        and 1 <= facts[1] <= AMOUNT_MAX
    )


def _receipt(facts: Facts, _refs: int) -> bool:
    return (
        len(facts) == 2
        and facts[0] in (Receipted.GOODS, Receipted.MONEY)
        and isinstance(facts[1], int)
        and facts[1] <= AMOUNT_MAX
    )


def _seq(facts: Facts, _refs: int) -> bool:
    return len(facts) == 1 and type(facts[0]) is int and 1 <= facts[0] <= SEQ_MAX


def _stars(facts: Facts, _refs: int) -> bool:
    return len(facts) == 1 and type(facts[0]) is int and 1 <= facts[0] <= STARS_MAX


def _key_stands(facts: Facts, _refs: int) -> bool:
    return len(facts) == 2 and _hashes(facts[:1]) and facts[1] in (0, 1) and _uints(facts[1:])


def _reason(facts: Facts, _refs: int) -> bool:
    return len(facts) == 1 and type(facts[0]) is int


_GENESIS: Final = int(EntryType.GENESIS)
_FIXED: Final = frozenset({SALT_BYTES, HASH_BYTES})
_WITH: Final = frozenset({STOCK_FIELDS})
_WITHOUT: Final = frozenset({0})
_EITHER: Final = _WITH | _WITHOUT

SHAPES: Final[dict[int, Shape]] = {
    EntryType.GENESIS: Shape(0, 0, _WITHOUT, _commitment),
    EntryType.OFFER: Shape(0, 1, _WITH, _cell_until),
    EntryType.REQUEST: Shape(0, 1, _WITHOUT, _cell_until),
    EntryType.ADJUST: Shape(1, 2, _WITH, _none),
    EntryType.CLOSE: Shape(1, 1, _WITH, _none),
    EntryType.PROPOSE: Shape(1, LOTS_PER_PROPOSE_MAX, _WITHOUT, _propose),
    EntryType.RESERVE: Shape(2, 2, _WITH, _deadline_hashes),
    EntryType.CONFIRM: Shape(2, 1 + LOTS_PER_PROPOSE_MAX, _WITHOUT, _deadline_hashes),
    EntryType.COMMIT: Shape(3, 3, _WITHOUT, _none),
    EntryType.HANDOVER: Shape(3, REFS_MAX, _EITHER, _secret_amount),
    EntryType.RECEIPT: Shape(2, 2, _WITHOUT, _receipt),
    EntryType.RELEASE: Shape(2, REFS_MAX, _WITH, _reason),
    EntryType.CANCEL: Shape(1, REFS_MAX, _WITHOUT, _reason),
    EntryType.STATEMENT: Shape(0, 0, _WITHOUT, _none),
    EntryType.WITHDRAW: Shape(1, 1, _WITHOUT, _seq),
    EntryType.RATING: Shape(1, 1, _WITHOUT, _stars),
    EntryType.VOUCH: Shape(0, 0, _WITHOUT, _key_stands),
}


def check_shape(body: Body) -> None:
    """Hold any body, composed or read, against every bound that needs no state.

    Raises:
        RemoteError: as `check_form`, or a field out of its range.
    """
    if (
        len(body.author) != KEY_BYTES
        or not 1 <= body.seq <= SEQ_MAX
        or not 0 <= body.at_ms <= AT_MS_MAX
        or not 1 <= body.type <= 255
        or (body.prev is not None and len(body.prev) != HASH_BYTES)
        or len(body.refs) > REFS_MAX
        or len(body.facts) > FACTS_MAX
        or len(body.stock) > STOCK_FIELDS
        or not 0 <= body.payload_len <= PAYLOAD_MAX
        or (body.payload_hash is not None and len(body.payload_hash) != HASH_BYTES)
    ):
        raise RemoteError(Code.BAD_FIELD, "a field out of its range")
    for ref in body.refs:
        if len(ref) != HASH_BYTES:
            raise RemoteError(Code.BAD_FIELD, "a ref that is no id")
    for number in body.stock:
        if not 0 <= number <= AMOUNT_MAX:
            raise RemoteError(Code.BAD_FIELD, "a stock field out of its range")
    for fact in body.facts:
        if isinstance(fact, int) and not 0 <= fact <= UINT64_MAX:
            raise RemoteError(Code.BAD_FIELD, "a fact out of its range")
    check_form(body)


def check_form(body: Body) -> None:
    """Hold a body that was read by `parse_entry`, field by field in bounds, against its type.

    Raises:
        RemoteError: fields that do not go together, or refs, stock or facts that do not fit.
    """
    refs, facts, kind = body.refs, body.facts, body.type
    first = body.seq == 1
    if (
        (body.prev is None) is not first
        or (kind == _GENESIS) is not first
        or (body.payload_hash is None) is not (body.payload_len == 0)
    ):
        raise RemoteError(Code.BAD_FIELD, "fields that do not go together")
    count = len(refs)
    if count > 1 and (refs[0] == refs[1] or (count > 2 and len({*refs}) != count)):
        raise RemoteError(Code.BAD_FIELD, "a ref named twice")
    shape = SHAPES.get(kind)
    if shape is None:
        for fact in facts:
            if type(fact) is bytes and len(fact) not in _FIXED:
                raise RemoteError(Code.BAD_FIELD, "a fact that is neither a number nor a hash")
        return
    if (
        not shape.refs_min <= count <= shape.refs_max
        or len(body.stock) not in shape.stock
        or not shape.facts(facts, count)
    ):
        name = EntryType(kind).name.lower()
        raise RemoteError(Code.BAD_FIELD, f"{name} with refs, stock or facts amiss")


def noted_key(kind: int, subject: bytes) -> bytes:
    """Return the key by which entries of NOTED_TYPES about `subject` are looked up."""
    return hashlib.sha256(bytes([kind]) + subject).digest()
