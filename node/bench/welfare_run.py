"""A day of a town, and what its people have of it."""

from __future__ import annotations

import random
from typing import NamedTuple

from passby.node.bench.welfare_nodes import COMES_LATE_MS, Deal, Node
from passby.node.bench.welfare_people import Kind, Memory, Post
from passby.node.bench.welfare_town import Town, true_trip, welfare_minor
from passby.protocol.trade import Trade


class Outcome(NamedTuple):
    """What a run came to."""

    welfare_minor: int
    between_honest_minor: int
    trades: int
    bids: int
    entries: int
    seen_sold: dict[bytes, int]
    """For each lot how many pieces left it or are set aside for good."""


def trade_all(
    town: Town,
    seed: int,
    kinds: list[Kind],
    *,
    first_come: bool = False,
    memory: Memory | None = None,
) -> Outcome:
    """Let the people of a town trade for a day, and count what the honest have of it.

    Args:
        town: who lists and wants what.
        seed: of the post's dice.
        kinds: how each of its people behaves.
        first_come: lots go to whoever asks first, and nobody waits for better.
        memory: of earlier days, which this one adds to.
    """
    post = Post(random.Random(seed))  # noqa: S311  # weather, not a secret
    remembered = Memory() if memory is None else memory
    nodes = [
        Node(number, town, post, kind, remembered, first_come=first_come)
        for number, kind in enumerate(kinds)
    ]
    for node in nodes:
        node.neighbours = [other for other in nodes if other is not node]
    for lot in town.lots:
        post.at(lot.entered_ms, lambda lot=lot: nodes[lot.lister].list_lot(lot))  # type: ignore[misc]  # mypy: default
    for wish in town.wishes:
        post.at(wish.entered_ms, lambda wish=wish: nodes[wish.taker].want(wish))  # type: ignore[misc]  # mypy: default
    post.run(max(lot.until_ms for lot in town.lots) + 2 * COMES_LATE_MS)
    return _count(town, nodes)


def _count(town: Town, nodes: list[Node]) -> Outcome:
    total = strict = trades = 0
    sold: dict[bytes, int] = {}
    for node in nodes:
        for deal in node.deals.values():
            trade = node.trade(deal)
            leg = trade.legs[0]
            if deal.seeking is None or leg.commit is None:
                continue
            if leg.release is None:
                sold[leg.lot] = sold.get(leg.lot, 0) + leg.amount
            for_honest, of_both = _parts(town, node, deal, trade)
            total += for_honest
            strict += of_both
            trades += 1
    bids, entries = sum(node.asked for node in nodes), sum(node.said for node in nodes)
    return Outcome(total, strict, trades, bids, entries, sold)


def _parts(town: Town, taker: Node, deal: Deal, trade: Trade) -> tuple[int, int]:
    """Return what the honest have of an agreed trade, and that again if both are honest."""
    assert deal.seeking is not None
    leg, lister = trade.legs[0], deal.other
    wish, lot = deal.seeking.wish, lister.sellings[leg.lot].lot
    honest = [kind for kind in (taker.kind, lister.kind) if kind is Kind.HONEST]
    away = Kind.STAYS_AWAY in (taker.kind, lister.kind)
    trip = None if away else true_trip(town, wish, lot, trade.propose.at_ms)
    if trip is None:
        # Whoever goes there for nothing has the way all the same.
        lost = -deal.agreed.way_minor if taker.kind is Kind.HONEST else 0
        return lost, lost
    asked = lot.offer.price.minor
    worth = welfare_minor(wish, asked, trip, leg.amount)
    above = deal.terms.lots[0].total_minor - leg.amount * asked
    if len(honest) == 2:
        return worth, worth
    if taker.kind is Kind.HONEST:
        return worth - above, 0
    return (min(above, max(worth, 0)) if honest else 0), 0
