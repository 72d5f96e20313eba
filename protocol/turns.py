"""Whose turn it is: what each party of a trade may write next, and by when.

Drawn from the fold alone, so every node gives the same answer from the same entries. Steps
marked automatic are the node's own: they follow from what the person has agreed to already.
Whoever keeps to the turns, asking with the date that the entry will bear, is never at fault.
Only this a node must add from its own memory: once it has told a secret, goods are in its
hands, even while the giver's handover is still under way.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from passby.protocol.legs import OPEN_STATES, TAKER, Leg, State, Trade, kept_goods, uint_fact
from passby.protocol.types import EntryType


class Step(NamedTuple):
    """An entry that `party` may write now, for the lot of that number (0: the whole trade).

    `by_ms` is None where nothing presses. `back` marks the handover that returns a lot's goods
    to its lister; its `party` is then who received them.
    """

    party: bytes
    type: EntryType
    number: int
    by_ms: int | None
    automatic: bool = False
    back: bool = False


def turns(trade: Trade, now_ms: int) -> list[Step]:
    """Return every step that some party may write now."""
    steps: list[Step] = []
    state = trade.state
    if state is State.PROPOSED:
        steps += _steps_of_answer(trade)
    elif state is State.RESERVED:
        steps += _steps_of_promise(trade)
    elif state in _WITH_GOODS:
        for leg in trade.legs:
            steps += _steps_of_goods(trade, leg, now_ms)
    steps += _taker_cancels(trade, now_ms)
    for leg in trade.legs:
        steps += _releases(trade, leg, now_ms)
    return steps


_WITH_GOODS: Final = frozenset(
    {
        State.CONFIRMED,
        State.IN_CUSTODY,
        State.DELIVERED,
        State.SETTLED,
        State.NO_SHOW,
        State.DISPUTED,
        State.RETURNED,
    }
)


def _steps_of_answer(trade: Trade) -> Iterator[Step]:
    for leg in trade.legs:
        if leg.lister and not leg.reserves:
            yield Step(leg.lister, EntryType.RESERVE, leg.number, trade.respond_by_ms)
            if leg.lister != trade.taker:
                yield Step(leg.lister, EntryType.CANCEL, leg.number, trade.respond_by_ms)


def _steps_of_promise(trade: Trade) -> Iterator[Step]:
    by_ms = trade.commit_by_ms
    if not trade.confirms:
        yield Step(trade.taker, EntryType.CONFIRM, TAKER, by_ms, automatic=True)
    if trade.confirm is None:
        return
    for leg in trade.legs:
        if leg.lister and not leg.commits:
            yield Step(leg.lister, EntryType.COMMIT, leg.number, by_ms, automatic=True)


def _steps_of_goods(trade: Trade, leg: Leg, now_ms: int) -> Iterator[Step]:
    receiver = trade.party(leg.to)
    if leg.lister is None or receiver is None or not leg.commits:
        return
    if leg.handover is None:
        here = all(
            (up.handover or up.received) and not up.returned for up in trade.bringing_to(leg)
        )
        if here and leg.commit and not leg.releases and not leg.received and _takes(trade, leg.to):
            yield Step(leg.lister, EntryType.HANDOVER, leg.number, leg.handover_until_ms)
        # Whoever has the goods and no handover says so; before that the giver has the word.
        if now_ms > leg.handover_until_ms and leg.goods_receipt is None:
            yield Step(receiver, EntryType.RECEIPT, leg.number, None)
    elif leg.disputed or (leg.goods_receipt is None and leg.returned is None):
        yield Step(receiver, EntryType.RECEIPT, leg.number, leg.delivered_after_ms)
    owed = leg.money_receipt is None and leg.returned is None
    if (owed or leg.disputed) and (leg.handover or leg.received):
        yield Step(leg.lister, EntryType.RECEIPT, leg.number, None)
    if leg.handover is not None and leg.returned is None and _still_has(trade, leg.to):
        yield Step(receiver, EntryType.HANDOVER, leg.number, None, back=True)
    if leg.returned is not None and leg.put_back is None:
        yield Step(leg.lister, EntryType.ADJUST, leg.number, None)


def _takes(trade: Trade, number: int) -> bool:
    """Tell whether party `number` may still take goods in: not once its own part is over.

    A carrier that released its room and then says its secret would prove that it keeps goods.
    """
    if number == TAKER:
        return True
    onward = trade.legs[number - 1]
    return not onward.releases and not onward.handovers


def _still_has(trade: Trade, number: int) -> bool:
    """Tell whether goods that came to party `number` are still (or again) with it."""
    if number == TAKER:
        return True
    onward = trade.legs[number - 1]
    return onward.handover is None or onward.returned is not None


def _taker_cancels(trade: Trade, now_ms: int) -> Iterator[Step]:
    """Offer the cancel where it breaks nothing: before the confirm, or after a vain wait."""
    ended = trade.state not in OPEN_STATES and trade.state is not State.LAPSED
    if trade.cancel is not None or ended or any(leg.handovers for leg in trade.legs):
        return
    if not trade.confirms:
        if trade.state is not State.LAPSED:
            yield Step(trade.taker, EntryType.CANCEL, TAKER, None)
        return
    waited = all(now_ms > uint_fact(confirm, 0) for confirm in trade.confirms)
    if waited and not all(leg.commits for leg in trade.legs):
        yield Step(trade.taker, EntryType.CANCEL, TAKER, None, automatic=True)


def _releases(trade: Trade, leg: Leg, now_ms: int) -> Iterator[Step]:
    """Offer the release that gives back what is still held, where it is lawful."""
    if leg.lister is None or not leg.reserves or leg.releases or leg.handovers:
        return
    if kept_goods(trade, leg) is not None and now_ms < leg.kept_until_ms:
        return
    over = now_ms > leg.handover_until_ms
    if not leg.commits or over or release_causes(trade, leg):
        automatic = trade.state not in OPEN_STATES or (bool(leg.commits) and over)
        yield Step(leg.lister, EntryType.RELEASE, leg.number, None, automatic=automatic)


def release_causes(trade: Trade, leg: Leg) -> tuple[bytes, ...]:
    """Return what a release of this lot names behind its reserve, so that it stays lawful."""
    returns = [up.returned.id for up in trade.bringing_to(leg) if up.returned]
    if not leg.commits:
        return tuple(returns)
    others = [
        other.releases[0].id
        for other in trade.legs
        if other.releases and other.lister != leg.lister
    ]
    cancels = [trade.cancel.id] if trade.cancel else []
    return (*returns, *(cancels or others[:1]))


def cancel_names(trade: Trade) -> tuple[bytes, ...]:
    """Return what a taker's cancel names behind the propose: the commits seen, or a release."""
    for leg in trade.legs:
        if leg.releases and leg.lister != trade.taker:
            return (leg.releases[0].id,)
    return tuple(leg.commits[0].id for leg in trade.legs if leg.commits)


_WORDS: Final[dict[EntryType, str]] = {
    EntryType.RESERVE: "accept or decline",
    EntryType.CONFIRM: "confirm",
    EntryType.COMMIT: "commit",
    EntryType.HANDOVER: "hand over",
    EntryType.RECEIPT: "give a receipt",
    EntryType.CANCEL: "cancel",
    EntryType.RELEASE: "release what is reserved",
    EntryType.ADJUST: "put the returned goods back",
}
_ONWARD: Final = (
    EntryType.RESERVE,
    EntryType.CONFIRM,
    EntryType.COMMIT,
    EntryType.HANDOVER,
    EntryType.RECEIPT,
)
"""Steps that a trade waits for; the others are ways out of it."""


def why_not(trade: Trade, party: bytes, step_type: EntryType, now_ms: int) -> str:
    """Return why `party` may not write `step_type` now, saying whose turn it is; "" if it may.

    Times are ISO 8601 in UTC, keys their first four hex digits.
    """
    steps = turns(trade, now_ms)
    if any(step.party == party and step.type == step_type for step in steps):
        return ""
    if party not in trade.parties():
        return "You are no party to this trade."
    awaited = [step for step in steps if step.type in _ONWARD and not step.back]
    if not awaited:
        own = sorted({_WORDS[step.type] for step in steps if step.party == party and not step.back})
        end = f"This trade has ended: {trade.state.value}."
        return f"{end} You may still {' or '.join(own)}." if own else end
    first = min(awaited, key=lambda step: (_ONWARD.index(step.type), step.number, step.party))
    waits = f"{_WORDS[first.type]}{_by(first.by_ms)}"
    if first.party == party:
        return f"It is your own turn: {waits}."
    return f"It is the {_role(trade, first)}'s turn ({first.party.hex()[:4]}…): {waits}."


def _role(trade: Trade, step: Step) -> str:
    return "taker" if step.party == trade.taker else "lister"


def _by(by_ms: int | None) -> str:
    if by_ms is None:
        return ""
    try:
        moment = datetime.fromtimestamp(by_ms // 1000, UTC)
    # A deadline is any 64-bit number that its author wrote.
    except (OverflowError, ValueError, OSError):
        return ""
    return f" by {moment:%Y-%m-%dT%H:%M:%SZ}"
