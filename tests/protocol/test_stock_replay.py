"""The stock rule against a full replay that is written another way: they agree on everything."""

from __future__ import annotations

import hashlib
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from passby.protocol.entry import Body, Entry
from passby.protocol.limits import AMOUNT_MAX
from passby.protocol.stock import LotStock, Reserve, StockBreach, StockStep, apply
from passby.protocol.types import EntryType

MOVES = (
    EntryType.OFFER,
    EntryType.ADJUST,
    EntryType.CLOSE,
    EntryType.RESERVE,
    EntryType.HANDOVER,
    EntryType.RELEASE,
)
NOTE = 200


def book_keeping(history: list[Entry], entry: Entry) -> bool:
    """Say whether `entry` may follow `history`, by summing up every entry of its lot.

    No running state, no "last entry" kept: the lot is counted anew from the offer on.
    """
    lot, previous, which, amount, remaining, reserved = entry.body.stock
    kind, seq = entry.body.type, entry.seq
    if kind == EntryType.OFFER:
        return entry.body.stock == (seq, 0, 0, amount, amount, 0) and amount > 0
    moves = [old for old in history if old.body.stock and old.body.stock[0] == lot]
    if not moves or moves[0].body.type != EntryType.OFFER or moves[-1].seq != previous:
        return False
    if any(old.body.type == EntryType.CLOSE for old in moves):
        return False
    taken = {old.seq: old for old in moves if old.body.type == EntryType.RESERVE}
    back = {
        old.body.stock[2]: old
        for old in moves
        if old.body.type in (EntryType.RELEASE, EntryType.HANDOVER)
    }
    opened = {at: old.body.stock[3] for at, old in taken.items() if at not in back}
    out = sum(o.body.stock[3] for o in back.values() if o.body.type == EntryType.HANDOVER)
    supply = moves[0].body.stock[3]
    for before, old in pairwise(moves):
        if old.body.type == EntryType.ADJUST:
            supply += old.body.stock[4] - before.body.stock[4]
    held = sum(opened.values())
    left = supply - out - held
    refs = entry.body.refs
    offer_id = moves[0].id
    match kind:
        case EntryType.RESERVE:
            right = (left - amount, held + amount)
            return (
                which == 0
                and amount > 0
                and refs[1] == offer_id
                and right
                == (
                    remaining,
                    reserved,
                )
            )
        case EntryType.RELEASE | EntryType.HANDOVER:
            if which not in opened or refs[0] != taken[which].body.refs[0]:
                return False
            size = opened[which]
            if kind == EntryType.RELEASE:
                fits = amount == size and refs[1] == taken[which].id
                return fits and (remaining, reserved) == (left + size, held - size)
            fits = 0 < amount <= size
            return fits and (remaining, reserved) == (left + size - amount, held - size)
        case EntryType.ADJUST:
            same = which == 0 and refs[0] == offer_id and reserved == held
            return same and amount > 0 and remaining in (left + amount, left - amount)
        case EntryType.CLOSE:
            nothing = held == 0 and (which, remaining, reserved) == (0, 0, 0)
            return nothing and refs[0] == offer_id and amount == left
    raise AssertionError(kind)


class Chain:
    """A chain that grows by what the rule accepts, with the rule's own running state."""

    def __init__(self) -> None:
        self.history: list[Entry] = []
        self.lots: dict[int, LotStock] = {}
        self.reserves: dict[int, Reserve] = {}

    @property
    def next_seq(self) -> int:
        return self.history[-1].seq + 1 if self.history else 2

    def entry(self, kind: int, stock: tuple[int, ...], refs: tuple[bytes, ...]) -> Entry:
        body = Body(b"a" * 32, self.next_seq, b"p" * 32, 0, kind, refs, stock)
        return Entry(b"", hashlib.sha256(repr(body).encode()).digest(), body)

    def judge(self, entry: Entry) -> StockStep | StockBreach:
        stock = entry.body.stock
        offer = entry.body.type == EntryType.OFFER
        return apply(None if offer else self.lots.get(stock[0]), self.reserves.get(stock[2]), entry)

    def accept(self, entry: Entry, step: StockStep) -> None:
        self.history.append(entry)
        self.lots[step.lot.lot_seq] = step.lot
        if step.reserve is not None:
            self.reserves[step.reserve.seq] = step.reserve


def honest(chain: Chain, data: st.DataObject) -> Entry:
    """Draw a move that the lister may make now; an offer where there is no lot to move."""
    seq = chain.next_seq
    live = [lot for lot in chain.lots.values() if not lot.closed]
    kind = data.draw(st.sampled_from(MOVES)) if live else EntryType.OFFER
    propose = data.draw(st.sampled_from([b"1" * 32, b"2" * 32]))
    amount = data.draw(st.integers(1, 50))
    if kind == EntryType.OFFER:
        return chain.entry(kind, (seq, 0, 0, amount, amount, 0), ())
    lot = data.draw(st.sampled_from(live))
    where = (lot.lot_seq, lot.last_seq)
    left, held = lot.remaining, lot.reserved
    opened = [
        reserve
        for reserve in chain.reserves.values()
        if reserve.lot_seq == lot.lot_seq and not reserve.resolved_seq
    ]
    if kind == EntryType.RESERVE and left:
        amount = data.draw(st.integers(1, left))
        stock = (*where, 0, amount, left - amount, held + amount)
        return chain.entry(kind, stock, (propose, lot.lot_id))
    if kind in (EntryType.RELEASE, EntryType.HANDOVER) and opened:
        reserve = data.draw(st.sampled_from(opened))
        whole = reserve.amount
        if kind == EntryType.RELEASE:
            stock = (*where, reserve.seq, whole, left + whole, held - whole)
            return chain.entry(kind, stock, (reserve.propose_id, reserve.id))
        amount = data.draw(st.integers(1, whole))
        stock = (*where, reserve.seq, amount, left + whole - amount, held - whole)
        return chain.entry(kind, stock, (reserve.propose_id, b"c" * 32, b"r" * 32))
    if kind == EntryType.CLOSE and not held:
        return chain.entry(kind, (*where, 0, left, 0, 0), (lot.lot_id,))
    return chain.entry(EntryType.ADJUST, (*where, 0, amount, left + amount, held), (lot.lot_id,))


def bent(chain: Chain, entry: Entry, data: st.DataObject) -> Entry:
    """Draw what a cheat may make of an honest move: other numbers, other refs, another type."""
    body = entry.body
    stock = list(body.stock)
    for field in data.draw(st.sets(st.integers(0, 5), min_size=0, max_size=3)):
        near = st.integers(-3, 3).map(lambda by, held=stock[field]: max(0, held + by))  # type: ignore[misc]  # mypy sees no type for a bound default
        known = st.sampled_from([0, *chain.lots, *chain.reserves, entry.seq, AMOUNT_MAX])
        stock[field] = data.draw(near | known)
    refs = list(body.refs)
    names = [old.id for old in chain.history] + [b"1" * 32, b"2" * 32]
    if refs and names and data.draw(st.booleans()):
        refs[data.draw(st.integers(0, len(refs) - 1))] = data.draw(st.sampled_from(names))
    return chain.entry(body.type, tuple(stock), tuple(refs))


@given(st.data(), st.integers(1, 25))
@settings(max_examples=150)
def test_the_rule_agrees_with_a_full_replay_on_honest_and_dishonest_histories(
    data: st.DataObject, length: int
) -> None:
    chain = Chain()
    for _ in range(length):
        entry = honest(chain, data)
        assert book_keeping(chain.history, entry)
        step = chain.judge(entry)
        assert isinstance(step, StockStep), "no honest chain is accused"
        if data.draw(st.booleans()):
            cheat = bent(chain, entry, data)
            judged = chain.judge(cheat)
            assert isinstance(judged, StockStep) == book_keeping(chain.history, cheat)
            if isinstance(judged, StockBreach):
                assert judged.accused[-1] == cheat.seq
                assert len(judged.accused) <= 3
                assert list(judged.accused) == sorted(set(judged.accused))
        chain.accept(entry, step)
        assert step.lot.remaining >= 0
        opened = [
            reserve.amount
            for reserve in chain.reserves.values()
            if reserve.lot_seq == step.lot.lot_seq and not reserve.resolved_seq
        ]
        assert step.lot.reserved == sum(opened)
