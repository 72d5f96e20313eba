"""Who has the goods of a trade in hand, and by which signed hand-over."""

from __future__ import annotations

from typing import NamedTuple

from passby.protocol.entry import Entry
from passby.protocol.legs import TAKER, Leg, Trade


class Custody(NamedTuple):
    """Where the goods of one lot are.

    Attributes:
        number: the lot that the goods were offered as.
        holder: the number of the party that has them.
        by: the hand-over or return that brought them there, which shows the holder's secret;
            None where they never moved.
    """

    number: int
    holder: int
    by: Entry | None

    @property
    def is_back(self) -> bool:
        """Whether they were returned to the holder."""
        return self.by is not None and not self.by.body.stock


def custody_of(trade: Trade) -> list[Custody]:
    """Return where the goods of each giver's lot are, as far as hand-overs show it."""
    return [_follow(trade, leg) for leg in trade.legs if not trade.bringing_to(leg)]


def _follow(trade: Trade, goods: Leg) -> Custody:
    leg, by = goods, None
    # Each hand-over leads one party on; a propose leads every lot to the taker without a circle.
    for _ in trade.legs:
        if leg.returned is not None:
            return Custody(goods.number, leg.number, leg.returned)
        if leg.handover is None:
            break
        by = leg.handover
        if leg.to == TAKER:
            return Custody(goods.number, TAKER, by)
        leg = trade.legs[leg.to - 1]
    return Custody(goods.number, leg.number, by)


def carried(trade: Trade, leg: Leg) -> tuple[list[Entry], int]:
    """Return the hand-overs that brought goods to this lot's lister, and how much they brought."""
    brought = [up.handover for up in trade.bringing_to(leg) if up.handover and not up.returned]
    return brought, sum(_uint(entry) for entry in brought)


def may_hold_goods(trade: Trade, leg: Leg, now_ms: int) -> bool:
    """Tell whether goods may be with this lot's lister though no hand-over has come in yet.

    From the last commit on it may have told its words, and the giver's entry may be under way.
    Who releases then, and has the goods, breaks its word; a giver's release, or 72 h, clear it.
    """
    return (
        now_ms <= leg.kept_until_ms
        and trade.confirm is not None
        and all(each.commits for each in trade.legs)
        and any(not up.releases and not up.handovers for up in trade.bringing_to(leg))
    )


def _uint(handover: Entry) -> int:
    amount = handover.body.facts[1]
    return amount if isinstance(amount, int) else 0
