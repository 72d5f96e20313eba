"""Swaps: two offers, each of which names something like the other as what it is given for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from passby.geo.categories import takes_in
from passby.geo.lots import BookLot, Side
from passby.node.chains import Chains
from passby.node.market import Market
from passby.node.trades import offer_of
from passby.protocol.errors import RefusedError
from passby.protocol.limits import DEFAULT_RADIUS_M, SWAPS_LOOKED_AT
from passby.protocol.payloads import Swapped


class Swap(NamedTuple):
    """An own offer and another's that may be given for each other, and how much of each."""

    own: BookLot
    other: BookLot
    gives: int
    gets: int
    distance_m: int


def swaps(chains: Chains, market: Market, limit: int) -> list[Swap]:
    """Return the swaps that own offers and those near them allow, the nearest first."""
    found: dict[tuple[bytes, bytes], Swap] = {}
    own = market.near(Side.OFFER, own=True, radius_m=DEFAULT_RADIUS_M, limit=SWAPS_LOOKED_AT)
    for mine, _ in own:
        for wanted in wanted_for(chains, mine):
            for swap in _with(chains, market, mine, wanted):
                found.setdefault((swap.own.id, swap.other.id), swap)
    ranked = sorted(found.values(), key=lambda swap: (swap.distance_m, swap.own.id, swap.other.id))
    return ranked[:limit]


def _with(chains: Chains, market: Market, mine: BookLot, wanted: Swapped) -> Iterator[Swap]:
    near = market.near(
        Side.OFFER,
        category=wanted.category,
        own=False,
        radius_m=mine.radius_m or DEFAULT_RADIUS_M,
        limit=SWAPS_LOOKED_AT,
    )
    for other, distance_m in near:
        if not serves(other, wanted):
            continue
        for asked in wanted_for(chains, other):
            if takes_in(asked.category, mine.category) and serves(mine, asked):
                yield Swap(mine, other, asked.amount, wanted.amount, distance_m)
                break


def serves(lot: BookLot, wanted: Swapped) -> bool:
    """Tell whether so much of a lot can be had, in the unit that is wanted."""
    return (
        lot.unit == wanted.unit
        and lot.minimum <= wanted.amount <= lot.remaining
        and (wanted.amount - lot.minimum) % lot.step == 0
    )


def wanted_for(chains: Chains, lot: BookLot) -> tuple[Swapped, ...]:
    """Return what a lot's lister takes for it, where its offer can be read."""
    record = chains.reader.record(lot.id)
    try:
        return () if record is None else offer_of(record).swap
    except RefusedError:
        return ()
