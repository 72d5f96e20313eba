"""The stock rule, judged on two or three entries alone.

`protocol.stock.apply` holds an entry against the lot as the whole chain before it left it.
Here nothing but the accused entries is known: each case is a set of entries that no chain
which keeps the rule can hold together, so that whoever sees them needs no history to judge.
Every breach that `apply` finds is such a case, with the entries that it accuses.
"""

from __future__ import annotations

from typing import Final, assert_never

from passby.protocol.entry import Entry
from passby.protocol.stock import Rule, carries_stock, names_reserve
from passby.protocol.types import EntryType

RESERVE_SEQ: Final = 2
AMOUNT: Final = 3


def breaks(rule: Rule, accused: tuple[Entry, ...]) -> bool:
    """Tell whether the accused entries, in the order of their chain, show a breach of `rule`.

    Args:
        rule: what is said to be broken.
        accused: entries of one author that have passed `check_shape`; the last one breaks it.
    """
    match accused:
        case (entry,):
            return carries_stock(entry) and rule is Rule.RANGE and _is_out_of_range(entry)
        case (other, entry):
            return (
                other.seq < entry.seq
                and carries_stock(entry)
                and entry.body.type != EntryType.OFFER
                and _clash(rule, other, entry)
            )
        case (reserve, previous, entry):
            return (
                rule is Rule.ARITHMETIC
                and reserve.seq < previous.seq < entry.seq
                and names_reserve(entry)
                and _is_reserve_of(reserve, entry)
                and _is_previous(previous, entry)
                and not _adds_up(previous, reserve, entry)
            )
        case _:
            return False


def _is_out_of_range(entry: Entry) -> bool:
    body = entry.body
    lot_seq, previous, reserve_seq, amount, remaining, reserved = body.stock
    if body.type == EntryType.OFFER:
        opens = (lot_seq, previous, reserve_seq, reserved) == (body.seq, 0, 0, 0)
        return not opens or amount != remaining or amount < 1
    if not 1 <= lot_seq <= previous < body.seq:
        return True
    if names_reserve(entry):
        return not lot_seq < reserve_seq <= previous
    if body.type == EntryType.CLOSE:
        return bool(reserve_seq or remaining or reserved)
    return bool(reserve_seq) or amount < 1


def _clash(  # noqa: PLR0912  # one branch for each rule
    rule: Rule, other: Entry, entry: Entry
) -> bool:
    """Tell whether `entry`, which is no offer, cannot follow `other` in one honest chain."""
    lot_seq, previous = entry.body.stock[:2]
    match rule:
        case Rule.NO_LOT:
            return other.seq == lot_seq and other.body.type != EntryType.OFFER
        case Rule.CLOSED:
            return _is_of_lot(other, entry) and other.body.type == EntryType.CLOSE
        case Rule.PREVIOUS:
            of_lot = _is_of_lot(other, entry)
            return other.seq > previous if of_lot else other.seq == previous
        case Rule.ARITHMETIC:
            if not _is_previous(other, entry):
                return False
            if names_reserve(entry):
                return _is_reserve_of(other, entry) and not _adds_up(other, other, entry)
            return not _adds_up(other, None, entry)
        case Rule.NO_RESERVE:
            named = names_reserve(entry) and other.seq == entry.body.stock[RESERVE_SEQ]
            return named and not _is_reserve_of(other, entry)
        case Rule.RESOLVED:
            both = names_reserve(entry) and names_reserve(other)
            return (
                both
                and _is_of_lot(other, entry)
                and other.body.stock[RESERVE_SEQ] == entry.body.stock[RESERVE_SEQ]
            )
        case Rule.AMOUNT:
            if not (names_reserve(entry) and _is_reserve_of(other, entry)):
                return False
            amount, whole = entry.body.stock[AMOUNT], other.body.stock[AMOUNT]
            if entry.body.type == EntryType.RELEASE:
                return amount != whole
            return not 1 <= amount <= whole
        case Rule.REFS:
            return _names_another(other, entry)
        case Rule.RANGE:
            return False
        case _:
            assert_never(rule)


def _names_another(other: Entry, entry: Entry) -> bool:
    refs = entry.body.refs
    if names_reserve(entry):
        if not _is_reserve_of(other, entry):
            return False
        release = entry.body.type == EntryType.RELEASE
        return refs[0] != other.body.refs[0] or (release and refs[1] != other.id)
    if other.seq != entry.body.stock[0] or other.body.type != EntryType.OFFER:
        return False
    return refs[1 if entry.body.type == EntryType.RESERVE else 0] != other.id


def _is_of_lot(other: Entry, entry: Entry) -> bool:
    return carries_stock(other) and other.body.stock[0] == entry.body.stock[0]


def _is_previous(other: Entry, entry: Entry) -> bool:
    return other.seq == entry.body.stock[1] and _is_of_lot(other, entry)


def _is_reserve_of(other: Entry, entry: Entry) -> bool:
    return (
        other.seq == entry.body.stock[RESERVE_SEQ]
        and other.body.type == EntryType.RESERVE
        and _is_of_lot(other, entry)
    )


def _adds_up(previous: Entry, reserve: Entry | None, entry: Entry) -> bool:
    """Tell whether remaining and reserved follow from those of the entry before."""
    amount, remaining, reserved = entry.body.stock[3:]
    last, held = previous.body.stock[4:]
    if reserve is not None:
        whole = reserve.body.stock[AMOUNT]
        back = amount if entry.body.type == EntryType.RELEASE else whole - amount
        return remaining == last + back and reserved == held - whole
    match entry.body.type:
        case EntryType.RESERVE:
            return remaining == last - amount and reserved == held + amount
        case EntryType.ADJUST:
            return abs(remaining - last) == amount and reserved == held
        case _:
            return held == 0 and amount == last
