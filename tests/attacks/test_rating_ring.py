"""Attack: keys that trade with each other, to look like somebody with whom many have traded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import street

from passby.ledger.reputation import WHOLE, Dealing, Dealings, View, view
from passby.protocol.trade import State

ME = bytes(32)
HONEST = [bytes([1, number]).ljust(32) for number in range(8)]
SYBILS = [bytes([2, number]).ljust(32) for number in range(12)]
PEOPLE = [ME, *HONEST]
honest_pairs = st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(PEOPLE)), max_size=20)
ring_pairs = st.lists(st.tuples(st.sampled_from(SYBILS), st.sampled_from(SYBILS)), max_size=40)


def view_of(
    pairs: list[tuple[bytes, bytes]], vouches: dict[bytes, list[bytes]] | None = None
) -> View:
    dealings = Dealings()
    for number, (giver, receiver) in enumerate(pairs):
        if giver != receiver:
            trade = number.to_bytes(32, "big")
            dealings.note(trade, [Dealing(trade, number, giver, receiver)])
    given_by = vouches or {}
    return view({ME}, dealings, lambda author: given_by.get(author, []), lambda _: False)


@given(honest_pairs, ring_pairs, st.sampled_from(PEOPLE))
def test_a_ring_behind_one_trade_gains_nothing_by_its_own_trades(
    honest: list[tuple[bytes, bytes]], ring: list[tuple[bytes, bytes]], caught: bytes
) -> None:
    edge = (SYBILS[0], caught)
    alone = view_of([*honest, edge])
    among = view_of([*honest, edge, *ring], dict.fromkeys(SYBILS, SYBILS))
    brought = alone.trust.get(SYBILS[0], 0)
    # The one that has the trade gains nothing, the others are below it, and nobody else moves.
    assert among.trust.get(SYBILS[0], 0) == brought
    others = [among.trust.get(sybil, 0) for sybil in SYBILS[1:]]
    assert max(others) <= brought // 2 if brought else not any(others)
    reached = brought * (1 if among.steps.get(SYBILS[0]) == 1 else 2)
    assert sum(others) <= reached
    for person in HONEST:
        assert among.trust.get(person, 0) == alone.trust.get(person, 0)


@given(honest_pairs, ring_pairs)
def test_a_ring_that_has_traded_with_nobody_here_is_not_seen(
    honest: list[tuple[bytes, bytes]], ring: list[tuple[bytes, bytes]]
) -> None:
    found = view_of([*honest, *ring], {sybil: [*HONEST, ME] for sybil in SYBILS})
    assert not found.trust.keys() & set(SYBILS)
    assert found == view_of(honest)


async def test_a_settled_trade_makes_trust_and_an_agreed_one_does_not() -> None:
    async with street(MemoryMaker()) as lane:
        ann, ben = await lane.settle("ann", "ben")
        lot = await ann.list()
        await eventually(lambda: ben.has_lot(lot))
        trade = (await ben.participant.desk.propose(lot, 473)).id
        await ann.sees(trade, State.PROPOSED)
        await ann.participant.desk.accept(trade)
        for household in (ann, ben):
            await household.sees(trade, State.CONFIRMED)
        assert ben.participant.reputations.trust == {}
        await ann.participant.desk.handover(trade, ben.code(trade), None)
        await ben.sees(trade, State.IN_CUSTODY)
        await ben.participant.desk.receive(trade, None)
        await ann.sees(trade, State.DELIVERED)
        await ann.participant.desk.paid(trade, None)
        await ben.sees(trade, State.SETTLED)
        await eventually(lambda: ben.participant.reputations.trust == {ann.author: 1.0})
        found = ben.participant.reputations.of(ann.author)
        assert (found.trust, found.steps) == (WHOLE, 1)
        assert [(each.author, each.trades) for each in found.partners] == [(ben.author, 1)]
        wanted = await ben.list(
            side="request", price={"minor": 400, "per_amount": 946, "currency": "EUR"}
        )
        await eventually(lambda: bool(ben.participant.market.matches(wanted, 5)))
        assert ben.participant.market.matches(wanted, 5)[0].features.trust == 1000
