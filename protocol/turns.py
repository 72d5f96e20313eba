"""Whose turn it is: what each party of a trade may write next, and by when.

Drawn from the fold alone, so every node gives the same answer from the same entries. Steps
marked automatic are the node's own: they follow from what the person has agreed to already.
"""

from __future__ import annotations

from typing import NamedTuple

from passby.protocol.limits import DISPUTE_WITHIN_S
from passby.protocol.trade import OPEN_STATES, TAKER, State, Trade, kept_goods
from passby.protocol.types import EntryType


class Step(NamedTuple):
    """An entry that `party` may write now, for the lot of that number (0: the whole trade).

    `by_ms` is None where nothing presses.
    """

    party: bytes
    type: EntryType
    number: int
    by_ms: int | None
    automatic: bool = False


def turns(trade: Trade, now_ms: int) -> list[Step]:
    """Return every step that some party may write now, none where the trade has ended."""
    steps: list[Step] = []
    state = trade.state
    if state is State.PROPOSED:
        for leg in trade.legs:
            if leg.lister and not leg.reserve:
                by_ms = trade.respond_by_ms
                steps.append(Step(leg.lister, EntryType.RESERVE, leg.number, by_ms))
                steps.append(Step(leg.lister, EntryType.CANCEL, leg.number, by_ms))
        steps.append(Step(trade.taker, EntryType.CANCEL, TAKER, None))
    elif state is State.RESERVED:
        commit_by_ms = trade.commit_by_ms
        if trade.confirm is None:
            steps.append(Step(trade.taker, EntryType.CONFIRM, TAKER, commit_by_ms, automatic=True))
            steps.append(Step(trade.taker, EntryType.CANCEL, TAKER, commit_by_ms))
        for leg in trade.legs:
            if leg.lister and trade.confirm is not None and leg.commit is None:
                steps.append(
                    Step(leg.lister, EntryType.COMMIT, leg.number, commit_by_ms, automatic=True)
                )
            if leg.lister and leg.commit is None:
                steps.append(Step(leg.lister, EntryType.RELEASE, leg.number, commit_by_ms))
    elif state in (State.CONFIRMED, State.IN_CUSTODY, State.DELIVERED, State.NO_SHOW):
        steps += _steps_of_goods(trade)
    if state is State.LAPSED and trade.confirm is not None and trade.cancel is None:
        steps.append(Step(trade.taker, EntryType.CANCEL, TAKER, None, automatic=True))
    if state not in OPEN_STATES and state not in (State.SETTLED, State.DISPUTED):
        steps += _clearing_steps(trade, now_ms)
    return steps


def _steps_of_goods(trade: Trade) -> list[Step]:
    steps: list[Step] = []
    for leg in trade.legs:
        receiver = trade.party(leg.to)
        if leg.lister is None or receiver is None or leg.commit is None:
            continue
        here = all(up.handover for up in trade.legs if up.to == leg.number)
        if leg.handover is None and leg.release is None:
            if here:
                steps.append(
                    Step(leg.lister, EntryType.HANDOVER, leg.number, leg.handover_until_ms)
                )
            continue
        if leg.goods_receipt is None and leg.handover is not None:
            by_ms = leg.delivered_after_ms
            steps.append(Step(receiver, EntryType.RECEIPT, leg.number, by_ms))
        if leg.money_receipt is None and leg.handover is not None:
            steps.append(Step(leg.lister, EntryType.RECEIPT, leg.number, None))
    return steps


def _clearing_steps(trade: Trade, now_ms: int) -> list[Step]:
    """Return the releases that give back what an ended trade still holds."""
    steps: list[Step] = []
    for leg in trade.legs:
        if leg.lister is None or leg.reserve is None or leg.release or leg.handover:
            continue
        free = leg.commit is None or now_ms > leg.handover_until_ms
        caused = trade.cancel is not None or any(
            other.release and other.lister != leg.lister for other in trade.legs
        )
        kept = kept_goods(trade, leg) is not None
        if kept and now_ms < leg.handover_until_ms + DISPUTE_WITHIN_S * 1000:
            continue
        if free or caused:
            steps.append(Step(leg.lister, EntryType.RELEASE, leg.number, None, automatic=True))
    return steps
