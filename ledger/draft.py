"""Own entries: from what a person means to say to signed records at the end of a chain.

A draft leaves out what only the chain knows: the seq, the link, and how much of a lot is
left. `compose` fills that in and refuses whatever its own ledger would refuse from others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from passby.ledger.chain import Append, Breach, Duplicate, Fork, Frozen, Missing
from passby.ledger.ingest import Overlay, View, ingest
from passby.protocol.entry import SALT_BYTES, Body, Record, payload_hash, sign
from passby.protocol.errors import RefusedError, RemoteError, UsageError
from passby.protocol.keys import SigningKey
from passby.protocol.stock import LotStock
from passby.protocol.types import EntryType, check_shape


@dataclass(frozen=True, slots=True)
class OpenLot:
    """The offer's own stock: all of `amount` is there."""

    amount: int


@dataclass(frozen=True, slots=True)
class Reserve:
    """Set `amount` of the lot apart."""

    lot_seq: int
    amount: int


@dataclass(frozen=True, slots=True)
class Resolve:
    """End a reserve: `handed` of it leaves, the rest goes back (all of it in a release)."""

    lot_seq: int
    reserve_seq: int
    reserved: int
    handed: int


@dataclass(frozen=True, slots=True)
class Change:
    """Set what is left of the lot to `remaining`."""

    lot_seq: int
    remaining: int


@dataclass(frozen=True, slots=True)
class Close:
    """Take what is left off the market, for good."""

    lot_seq: int


Move = OpenLot | Reserve | Resolve | Change | Close


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry to be: what it says, and what it does to a lot."""

    type: EntryType
    refs: tuple[bytes, ...] = ()
    facts: tuple[int | bytes, ...] = ()
    payload: bytes | None = None
    move: Move | None = None


def compose(
    key: SigningKey,
    view: View,
    drafts: Sequence[Draft],
    at_ms: int,
    salt: Callable[[int], bytes],
) -> list[Record]:
    """Return signed records that follow the author's head in `view`, in the drafts' order.

    Args:
        key: the author's.
        view: what is held of the author's own chain.
        drafts: what to say; a genesis must come first where nothing is held.
        at_ms: now; an earlier time than the head's becomes the head's.
        salt: gives so many random bytes.

    Raises:
        RefusedError: more than is left, a closed lot, or a chain that may not go on.
    """
    overlay = Overlay(view)
    records: list[Record] = []
    for draft in drafts:
        head = overlay.head(key.public)
        seq = head.seq + 1 if head else 1
        salted = salt(SALT_BYTES) if draft.payload is not None else None
        body = Body(
            author=key.public,
            seq=seq,
            prev=head.id if head else None,
            at_ms=max(at_ms, head.at_ms) if head else at_ms,
            type=draft.type,
            refs=draft.refs,
            stock=_stock(draft.move, overlay, key.public, seq),
            facts=draft.facts,
            payload_len=len(draft.payload) if draft.payload is not None else 0,
            payload_hash=payload_hash(salted, draft.payload)
            if salted is not None and draft.payload is not None
            else None,
        )
        try:
            check_shape(body)
        except RemoteError as error:
            raise UsageError(f"This cannot be said in one entry: {error.detail}.") from None
        record = Record(sign(key, body), salted, draft.payload)
        match ingest(overlay, record.entry):
            case Append() as verdict:
                overlay.append(record, verdict)
            case Breach(rule=rule):
                raise RefusedError(f"The stock rule forbids it: {rule}.")
            case Frozen(from_seq=from_seq):
                raise RefusedError(
                    f"This chain has ended before entry {from_seq}: it was forked, or sealed by its"
                    " root.",
                    "Go on with another device: `passby device list` shows them.",
                )
            case Duplicate() | Fork() | Missing() as verdict:
                raise AssertionError(f"an own entry at the head cannot be {verdict}")
            case verdict:
                assert_never(verdict)
        records.append(record)
    return records


def _stock(move: Move | None, view: View, author: bytes, seq: int) -> tuple[int, ...]:
    match move:
        case None:
            return ()
        case OpenLot(amount):
            return (seq, 0, 0, amount, amount, 0)
        case Reserve(lot_seq, amount):
            lot = _lot(view, author, lot_seq)
            if amount > lot.remaining:
                raise RefusedError(
                    f"Only {lot.remaining} is left of this lot, not {amount}.",
                    "Propose less, or look for another lot with `passby book`.",
                )
            left, held = lot.remaining - amount, lot.reserved + amount
            return (lot_seq, lot.last_seq, 0, amount, left, held)
        case Resolve(lot_seq, reserve_seq, reserved, handed):
            lot = _lot(view, author, lot_seq)
            left = lot.remaining + reserved - handed
            return (
                lot_seq,
                lot.last_seq,
                reserve_seq,
                handed or reserved,
                left,
                lot.reserved - reserved,
            )
        case Change(lot_seq, remaining):
            lot = _lot(view, author, lot_seq)
            if remaining == lot.remaining:
                raise RefusedError("That is what the lot holds already.")
            amount = abs(remaining - lot.remaining)
            return (lot_seq, lot.last_seq, 0, amount, remaining, lot.reserved)
        case Close(lot_seq):
            lot = _lot(view, author, lot_seq)
            if lot.reserved:
                raise RefusedError(
                    f"{lot.reserved} of this lot is reserved.",
                    "End that trade first: `passby trade list` shows it.",
                )
            return (lot_seq, lot.last_seq, 0, lot.remaining, 0, 0)
        case _:
            assert_never(move)


def _lot(view: View, author: bytes, lot_seq: int) -> LotStock:
    lot = view.lot_at(author, lot_seq)
    if lot is None:
        raise RefusedError("That is no lot of this device.")
    if lot.closed:
        raise RefusedError("This lot is closed.", "Offer what is left as a new lot.")
    return lot
