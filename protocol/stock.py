"""The stock rule: how much of a lot is left, and who is at fault when the sums do not agree.

    stock = [lot_seq, previous_seq, reserve_seq, amount q, remaining_after R, reserved_after H]

A lot is opened by an offer and then changed only by its author, each change naming the one
before it. So the changes of a lot are a chain within the chain, and whoever breaks the rule
has signed the proof: at most three entries, the ones a `StockBreach` accuses.

    entry      previous       reserve_seq   amount q     R after       H after
    offer      0              0             R            q >= 1        0
    reserve    last of lot    0             >= 1         R - q         H + q
    release    last of lot    the reserve   as reserved  R + q         H - q
    handover   last of lot    the reserve   1 .. q_r     R + q_r - q   H - q_r
    adjust     last of lot    0             >= 1         R +- q        H
    close      last of lot    0             R            0             0, before too

A return is a handover without stock: it changes nobody's lot. What a reserve's amount was
proposed as, and which commit a handover names, is judged by `protocol.trade`, which knows
the other party's entries.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from passby.protocol.entry import Entry
from passby.protocol.types import EntryType

STOCK_TYPES: Final = frozenset(
    {
        EntryType.OFFER,
        EntryType.ADJUST,
        EntryType.CLOSE,
        EntryType.RESERVE,
        EntryType.HANDOVER,
        EntryType.RELEASE,
    }
)
"""Types that change a lot when they carry stock."""
_RESOLVING: Final = frozenset({EntryType.RELEASE, EntryType.HANDOVER})
# By name: a member of an enum is looked up for as long as the sums of an entry take.
_OFFER: Final = EntryType.OFFER
_ADJUST: Final = EntryType.ADJUST
_CLOSE: Final = EntryType.CLOSE
_RESERVE: Final = EntryType.RESERVE
_RELEASE: Final = EntryType.RELEASE


class LotStock(msgspec.Struct, frozen=True, gc=False):
    """A lot after its last entry; amounts are in the unit of the offer's payload.

    `lot_id` is the offer's id, `closed` tells that the last entry was a close. `reserved` is
    the sum of the lot's open reserves, each of which the view keeps as a `Reserve`.
    """

    lot_id: bytes
    lot_seq: int
    last_seq: int
    remaining: int
    reserved: int
    closed: bool = False


class Reserve(msgspec.Struct, frozen=True, gc=False):
    """A reserve of a lot: open while `resolved_seq` is 0, else what resolved it.

    `id` is the reserve's own id, `propose_id` what it answers.
    """

    id: bytes
    propose_id: bytes
    seq: int
    lot_seq: int
    amount: int
    resolved_seq: int = 0


class StockStep(msgspec.Struct, frozen=True, gc=False):
    """An entry that keeps the rule: the lot after it, and the reserve it opened or resolved."""

    lot: LotStock
    reserve: Reserve | None = None


class Rule(StrEnum):
    """What a breaching entry breaks, as the text of its proof."""

    RANGE = "a stock field out of its range"
    NO_LOT = "stock of a lot that the named entry does not open"
    PREVIOUS = "a previous entry that is not the last one of the lot"
    ARITHMETIC = "remaining or reserved that do not follow from the entry before"
    NO_RESERVE = "a reserve number that is no reserve of the lot"
    RESOLVED = "a reserve resolved twice"
    AMOUNT = "an amount that does not fit the reserve"
    CLOSED = "an entry after the lot's close"
    REFS = "stock that disagrees with the entry's refs"


class StockBreach(msgspec.Struct, frozen=True, gc=False):
    """Proof that an author broke the rule: the entries at `accused`, in order, show it."""

    rule: Rule
    accused: tuple[int, ...]


def carries_stock(entry: Entry) -> bool:
    """Tell whether `entry` changes a lot of its author."""
    return bool(entry.body.stock) and entry.body.type in STOCK_TYPES


def names_reserve(entry: Entry) -> bool:
    """Tell whether the view must be asked for the reserve that `entry` resolves."""
    return bool(entry.body.stock) and entry.body.type in _RESOLVING


def apply(  # noqa: PLR0912  # one branch for each line of the table
    lot: LotStock | None, reserve: Reserve | None, entry: Entry
) -> StockStep | StockBreach:
    """Hold a well-shaped `entry` that carries stock against the rule.

    Args:
        lot: the author's lot at the entry's lot_seq before this entry; None where the entry
            at that seq is no offer, or there is none.
        reserve: the author's reserve at the entry's reserve_seq, likewise.
        entry: one that `carries_stock` and has passed `check_shape`.
    """
    body = entry.body
    seq, kind = body.seq, body.type
    lot_seq, previous, reserve_seq, amount, remaining, reserved = body.stock
    if kind == _OFFER:
        if lot_seq != seq or previous or reserve_seq or reserved or not 1 <= amount == remaining:
            return StockBreach(Rule.RANGE, (seq,))
        return StockStep(LotStock(entry.id, seq, seq, remaining, 0))
    if not 1 <= lot_seq <= previous < seq:
        return StockBreach(Rule.RANGE, (seq,))
    resolving = kind in _RESOLVING
    if lot_seq < reserve_seq <= previous if resolving else reserve_seq == 0:
        pass
    else:
        return StockBreach(Rule.RANGE, (seq,))
    if lot is None:
        return StockBreach(Rule.NO_LOT, (lot_seq, seq))
    if lot.closed:
        return StockBreach(Rule.CLOSED, (lot.last_seq, seq))
    if previous != lot.last_seq:
        # Below the last: that one is an entry of this lot between the two. Above: the entry
        # named is of another lot or of none.
        return StockBreach(Rule.PREVIOUS, (max(previous, lot.last_seq), seq))
    last, held = lot.remaining, lot.reserved
    if kind == _RESERVE:
        if amount < 1:
            return StockBreach(Rule.RANGE, (seq,))
        if body.refs[1] != lot.lot_id:
            return StockBreach(Rule.REFS, (lot_seq, seq))
        if remaining != last - amount or reserved != held + amount:
            return StockBreach(Rule.ARITHMETIC, (previous, seq))
        touched = Reserve(entry.id, body.refs[0], seq, lot_seq, amount)
        return StockStep(LotStock(lot.lot_id, lot_seq, seq, remaining, reserved), touched)
    if resolving:
        if reserve is None or reserve.lot_seq != lot_seq:
            return StockBreach(Rule.NO_RESERVE, (reserve_seq, seq))
        if reserve.resolved_seq:
            return StockBreach(Rule.RESOLVED, (reserve.resolved_seq, seq))
        release = kind == _RELEASE
        if body.refs[0] != reserve.propose_id or (release and body.refs[1] != reserve.id):
            return StockBreach(Rule.REFS, (reserve_seq, seq))
        if (amount != reserve.amount) if release else not 1 <= amount <= reserve.amount:
            return StockBreach(Rule.AMOUNT, (reserve_seq, seq))
        back = amount if release else reserve.amount - amount
        if remaining != last + back or reserved != held - reserve.amount:
            accused = (
                (reserve_seq, seq)
                if reserve_seq == previous
                else (
                    reserve_seq,
                    previous,
                    seq,
                )
            )
            return StockBreach(Rule.ARITHMETIC, accused)
        touched = Reserve(reserve.id, reserve.propose_id, reserve.seq, lot_seq, reserve.amount, seq)
        return StockStep(LotStock(lot.lot_id, lot_seq, seq, remaining, reserved), touched)
    if kind == _ADJUST:
        if amount < 1:
            return StockBreach(Rule.RANGE, (seq,))
        if body.refs[0] != lot.lot_id:
            return StockBreach(Rule.REFS, (lot_seq, seq))
        if abs(remaining - last) != amount or reserved != held:
            return StockBreach(Rule.ARITHMETIC, (previous, seq))
        return StockStep(LotStock(lot.lot_id, lot_seq, seq, remaining, reserved))
    if kind == _CLOSE:
        if remaining or reserved:
            return StockBreach(Rule.RANGE, (seq,))
        if body.refs[0] != lot.lot_id:
            return StockBreach(Rule.REFS, (lot_seq, seq))
        if held or amount != last:
            return StockBreach(Rule.ARITHMETIC, (previous, seq))
        return StockStep(LotStock(lot.lot_id, lot_seq, seq, 0, 0, closed=True))
    raise AssertionError("apply() is for entries that carry stock")
