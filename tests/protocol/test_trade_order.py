"""A trade from any order, any part and any shape of entries."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.chains import (
    CONFIRM_BY,
    DAY,
    HANDOVER_UNTIL,
    HOUR,
    T0,
    Deal,
    Party,
    digest,
)

from passby.protocol.entry import Body, Entry, parse_entry, sign
from passby.protocol.trade import Trade
from passby.protocol.turns import turns, why_not
from passby.protocol.types import SHAPES, EntryType


def _history(topology: int) -> Deal:
    """Return a long story with every kind of entry, breaches among them."""
    until = [HANDOVER_UNTIL, HANDOVER_UNTIL + HOUR, HANDOVER_UNTIL]
    listers = [Party("anna"), Party("carl"), Party("cleo")]
    deal = Deal.between(Party("ben"), listers, [[2, 0, 0], [0, 0, 0], [3, 0, 2]][topology], until)
    deal.agree()
    deal.handover(1)
    back = deal.give_back(1)
    cancel = deal.cancel(deal.commits[2].id, at_ms=CONFIRM_BY + 1)
    release = deal.release(2, back.id, cancel.id)
    deal.release(3, release.id)
    deal.goods(1, amount=1)
    deal.adjust(1, 473, back.id)
    deal.money(1)
    deal.confirm()
    deal.reserve(2)
    deal.commit(1)
    deal.release(1)
    return deal


def view(trade: Trade) -> tuple[object, ...]:
    return (trade.state, trade.faults, trade.unshown, trade.legs, trade.confirm, trade.cancel)


STORIES = [_history(topology) for topology in range(3)]


@given(st.sampled_from(STORIES), st.data())
@settings(max_examples=150)
def test_the_order_of_arrival_changes_nothing(deal: Deal, data: st.DataObject) -> None:
    now_ms = data.draw(st.sampled_from([T0, CONFIRM_BY + 1, HANDOVER_UNTIL + 1, T0 + 30 * DAY]))
    shuffled = data.draw(st.permutations([*deal.entries, deal.entries[0]]))
    assert view(deal.fold(now_ms, shuffled)) == view(deal.fold(now_ms))


@given(st.sampled_from(STORIES), st.data())
@settings(max_examples=300)
def test_no_fault_is_withdrawn_when_more_arrives(deal: Deal, data: st.DataObject) -> None:
    order = data.draw(st.permutations(deal.entries))
    proven: set[tuple[bytes, str]] = set()
    for count in range(len(order) + 1):
        trade = deal.fold(T0 + 30 * DAY, order[:count])
        turns(trade, T0)
        found = {(fault.accused, fault.rule) for fault in trade.faults}
        assert proven <= found
        proven = found


numbers = st.one_of(
    st.sampled_from([0, 1, 2, 472, 473, T0, CONFIRM_BY, HANDOVER_UNTIL, 2**53 - 1, 2**64 - 1])
)


@given(st.sampled_from(STORIES), st.data())
@settings(max_examples=300)
def test_entries_of_any_shape_never_raise(deal: Deal, data: st.DataObject) -> None:
    ids = [entry.id for entry in deal.entries] + [deal.propose.id, digest("unknown")]
    hashes = st.sampled_from([*ids, *deal.secrets.values(), bytes(16)])
    parties = [*deal.listers, deal.taker, Party("mallory")]
    odd: list[Entry] = []
    for _ in range(data.draw(st.integers(1, 6))):
        party = data.draw(st.sampled_from(parties))
        body = Body(
            author=party.public,
            seq=data.draw(st.integers(2, 40)),
            prev=bytes(32),
            at_ms=data.draw(st.sampled_from([0, T0, CONFIRM_BY, HANDOVER_UNTIL + 1, 2**48])),
            type=data.draw(st.sampled_from(sorted(SHAPES))),
            refs=(
                deal.propose.id,
                *data.draw(st.lists(st.sampled_from(ids), max_size=7, unique=True)),
            ),
            stock=tuple(data.draw(st.sampled_from([[], [2, 2, 0, 473, 473, 473], [0] * 3]))),
            facts=tuple(data.draw(st.lists(st.one_of(numbers, hashes), max_size=5))),
        )
        odd.append(parse_entry(sign(party.key, body).raw))
    for now_ms in (0, T0, HANDOVER_UNTIL + 1, 2**64):
        trade = deal.fold(now_ms, [*deal.entries, *odd])
        turns(trade, now_ms)
        for party in parties:
            why_not(trade, party.public, EntryType.COMMIT, now_ms)
