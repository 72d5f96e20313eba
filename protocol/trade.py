"""A trade: a pure function of the entries that name one propose, and of now.

The parties of a propose are numbered: 0 is the taker, 1 to n the lots in the propose's order,
each spoken for by its lister (the offer's author). A lot's goods go to the party its `to`
names; all ways end at the taker. The steps, in order:

    propose (taker) -> reserve (each lister) -> confirm (taker) -> commit (each lister)
    -> handover (each giver) -> receipt of goods (each receiver), of money (each lister)

What arrives late or in another order changes nothing: the fold looks at the set alone. Order
matters only inside one author's chain, where it is objective: release against commit, cancel
against reserve or confirm. Two kinds of answer come out:

- The state is a view of (set, now) and moves when late entries come.
- A fault stands on two or three entries that the accused signed or named, whatever else is
  known, and never goes away again. So a fault never asks which of two reserves or confirms
  counts, and where an entry names as its cause one that nobody has shown, it waits for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from passby.protocol.breach import Mine, faults, unshown
from passby.protocol.entry import Entry
from passby.protocol.errors import RemoteError
from passby.protocol.legs import (
    OPEN_STATES,
    TAKER,
    Fault,
    Leg,
    State,
    Trade,
    causes,
    kept_goods,
    uint_fact,
)
from passby.protocol.limits import TRADE_STEPS_MAX
from passby.protocol.secret import secret_hash
from passby.protocol.types import EntryType, Receipted, check_shape

__all__ = [
    "OPEN_STATES",
    "TAKER",
    "TIMEOUTS",
    "Fault",
    "Leg",
    "State",
    "Timeout",
    "Trade",
    "fold",
    "kept_goods",
]


class Timeout(NamedTuple):
    """What a deadline does: who should have written what by then, and what is so after it."""

    deadline: str
    writer: str
    awaited: EntryType
    then: State
    cleared_by: tuple[str, EntryType] | None


TIMEOUTS: Final[dict[State, Timeout]] = {
    State.PROPOSED: Timeout(
        "respond_by", "lister", EntryType.RESERVE, State.LAPSED, ("lister", EntryType.RELEASE)
    ),
    State.RESERVED: Timeout(
        "commit_by", "taker, then lister", EntryType.COMMIT, State.LAPSED,
        ("lister", EntryType.RELEASE),
    ),
    State.CONFIRMED: Timeout(
        "handover_until", "giver", EntryType.HANDOVER, State.NO_SHOW,
        ("lister", EntryType.RELEASE),
    ),
    State.IN_CUSTODY: Timeout(
        "handover or handover_until, + 24 h", "receiver", EntryType.RECEIPT, State.DELIVERED, None
    ),
}  # fmt: skip
"""No timeout puts anybody at fault: an outage alone is nobody's."""


def fold(propose: Entry, entries: Iterable[Entry], now_ms: int) -> Trade:
    """Return the trade that `entries` (offers named by the propose among them) amount to.

    The propose must have passed `check_shape`. Entries that do not count, being void, late,
    doubled, misshapen or somebody else's, are passed over, as are a party's beyond its first
    TRADE_STEPS_MAX; those that prove a breach are in `faults`. The order of `entries` does not
    matter.
    """
    known = {entry.id: entry for entry in entries}
    trade = Trade(propose, _legs(propose, known))
    mine = _steps_of(propose, known.values())
    _gather(trade, mine)
    _count_reserves(trade)
    _count_confirm(trade)
    _count_commits(trade)
    _count_handovers(trade, mine)
    _count_receipts(trade, mine, known)
    trade.unshown = unshown(trade, known)
    trade.faults = faults(trade, mine)
    trade.state = _state(trade, now_ms)
    return trade


def _legs(propose: Entry, known: dict[bytes, Entry]) -> list[Leg]:
    legs: list[Leg] = []
    for number, lot in enumerate(propose.body.refs, 1):
        amount, to, until_ms = (uint_fact(propose, 3 * number - 1 + place) for place in range(3))
        offer = known.get(lot)
        if offer is not None and (offer.body.type != EntryType.OFFER or not _well_shaped(offer)):
            offer = None
        legs.append(Leg(number, lot, amount, to, until_ms, offer))
    return legs


def _well_shaped(entry: Entry) -> bool:
    try:
        check_shape(entry.body)
    except RemoteError:
        return False
    return True


def _steps_of(propose: Entry, entries: Iterable[Entry]) -> Mine:
    mine: Mine = {}
    named = (
        entry
        for entry in entries
        if entry.body.refs and entry.body.refs[0] == propose.id and _well_shaped(entry)
    )
    by_author: Counter[bytes] = Counter()
    for entry in sorted(named, key=lambda entry: (entry.author, entry.seq, entry.id)):
        by_author[entry.author] += 1
        if by_author[entry.author] <= TRADE_STEPS_MAX:
            mine.setdefault(entry.body.type, []).append(entry)
    return mine


def _gather(trade: Trade, mine: Mine) -> None:
    """Put each party's entries where they belong, whether they will count or not."""
    by_taker = (entry for entry in mine.get(EntryType.CONFIRM, ()) if entry.author == trade.taker)
    trade.confirms = list(by_taker)
    by_taker = (entry for entry in mine.get(EntryType.CANCEL, ()) if entry.author == trade.taker)
    trade.cancels = list(by_taker)
    trade.cancel = trade.cancels[0] if trade.cancels else None
    for leg in trade.legs:

        def own(kind: EntryType, leg: Leg = leg) -> Iterator[Entry]:
            return (entry for entry in mine.get(kind, ()) if entry.author == leg.lister)

        leg.reserves = [entry for entry in own(EntryType.RESERVE) if entry.body.refs[1] == leg.lot]
        if leg.lister != trade.taker:
            leg.refusals = list(own(EntryType.CANCEL))
        ids = {entry.id for entry in leg.reserves}
        leg.commits = [entry for entry in own(EntryType.COMMIT) if entry.body.refs[2] in ids]
        leg.releases = [entry for entry in own(EntryType.RELEASE) if entry.body.refs[1] in ids]


def _count_reserves(trade: Trade) -> None:
    for leg in trade.legs:
        first = leg.reserves[0] if leg.reserves else None
        refusal = next(iter(leg.refusals), None)
        if refusal and (first is None or refusal.seq < first.seq):
            leg.declined = refusal
        if (
            first is not None
            and leg.declined is None
            and first.at_ms <= trade.respond_by_ms
            and first.body.stock[3] == leg.amount
            and len(first.body.facts) == 1 + len(trade.givers_to(leg.number))
        ):
            leg.reserve = first
        counted = leg.reserve or first
        if counted is not None:
            leg.release = next(
                (entry for entry in leg.releases if entry.body.refs[1] == counted.id), None
            )
    reserves = [leg.reserve for leg in trade.legs if leg.reserve]
    if len(reserves) == len(trade.legs):
        trade.commit_by_ms = min(uint_fact(reserve, 0) for reserve in reserves)


def _count_confirm(trade: Trade) -> None:
    if not trade.confirms or trade.commit_by_ms is None:
        return
    first = trade.confirms[0]
    if (
        first.body.refs[1:] == tuple(leg.reserve.id for leg in trade.legs if leg.reserve)
        and uint_fact(first, 0) == trade.commit_by_ms
        and first.at_ms <= trade.commit_by_ms
        and len(first.body.facts) == 1 + len(trade.givers_to(TAKER))
        and (trade.cancel is None or first.seq < trade.cancel.seq)
    ):
        trade.confirm = first


def _count_commits(trade: Trade) -> None:
    for leg in trade.legs:
        if not leg.commits or trade.confirm is None or leg.reserve is None:
            continue
        first = leg.commits[0]
        released = leg.release is not None and leg.release.seq < first.seq
        if (
            first.body.refs[1:] == (trade.confirm.id, leg.reserve.id)
            and first.at_ms <= uint_fact(trade.confirm, 0)
            and not released
        ):
            leg.commit = first


def _count_handovers(trade: Trade, mine: Mine) -> None:
    """Count handovers and returns that reveal what the receiver kept for this very giver.

    The secret is proof of custody by itself: neither commits nor deadlines are asked, and it
    may open any document of the receiver, so that nobody undoes a handover by bringing out
    an older confirm later.
    """
    handovers = mine.get(EntryType.HANDOVER, ())
    for leg in trade.legs:
        documents = trade.confirms if leg.to == TAKER else trade.legs[leg.to - 1].reserves
        leg.handovers = [
            entry
            for entry in handovers
            if entry.author == leg.lister
            and entry.body.stock
            and leg.offer is not None
            and entry.body.stock[0] == leg.offer.seq
            and _reveals(trade, leg.number, leg.to, documents, entry)
        ]
        leg.handover = leg.handovers[0] if leg.handovers else None
    for leg in trade.legs:
        brought = {entry.id for entry in leg.handovers}
        leg.returns = [
            entry
            for entry in handovers
            if entry.author == trade.party(leg.to)
            and not entry.body.stock
            and brought & set(entry.body.refs[3:])
            and _reveals(trade, leg.to, leg.number, leg.reserves, entry)
        ]
        leg.returned = leg.returns[0] if leg.returns else None


def _reveals(
    trade: Trade, giver: int, holder: int, documents: list[Entry], handover: Entry
) -> bool:
    """Tell whether `handover` opens what `holder` kept for `giver` in the document it names."""
    giver_key, holder_key = trade.party(giver), trade.party(holder)
    givers = trade.givers_to(holder)
    secret = handover.body.facts[0]
    document = next((entry for entry in documents if entry.id == handover.body.refs[2]), None)
    if (
        giver_key is None
        or holder_key is None
        or document is None
        or not isinstance(secret, bytes)
        or len(document.body.facts) != 1 + len(givers)
    ):
        return False
    expected = document.body.facts[1 + givers.index(giver)]
    return secret_hash(trade.id, giver_key, holder_key, secret) == expected


def _count_receipts(trade: Trade, mine: Mine, known: dict[bytes, Entry]) -> None:
    receipts = mine.get(EntryType.RECEIPT, ())
    for leg in trade.legs:
        about = {entry.id for entry in (*leg.handovers, *leg.commits)}
        receiver = trade.party(leg.to)
        goods = [
            entry
            for entry in receipts
            if entry.body.facts[0] == Receipted.GOODS
            and entry.author == receiver
            and entry.body.refs[1] in about
        ]
        about.update(entry.id for entry in goods)
        money = [
            entry
            for entry in receipts
            if entry.body.facts[0] == Receipted.MONEY
            and entry.author == leg.lister
            and entry.body.refs[1] in about
        ]
        leg.money_receipt = money[0] if money else None
        if goods:
            leg.goods_receipt = goods[-1]
            leg.disputed = _is_disputed(leg, goods, money, known)
        if leg.returned is not None:
            adjusts = (
                entry
                for entry in known.values()
                if entry.body.type == EntryType.ADJUST
                and entry.author == leg.lister
                and entry.body.refs == (leg.lot, leg.returned.id)
            )
            leg.put_back = min(adjusts, key=lambda entry: (entry.seq, entry.id), default=None)


def _is_disputed(
    leg: Leg, goods: list[Entry], money: list[Entry], known: dict[bytes, Entry]
) -> bool:
    newest = uint_fact(goods[-1], 1)
    if leg.handover is None and newest == 0:
        # "I got nothing", while the giver claims nothing: they agree.
        return False
    if leg.handover is not None:
        handed = uint_fact(leg.handover, 1)
        timely = [entry for entry in goods if entry.at_ms <= leg.delivered_after_ms]
        if newest == handed or all(uint_fact(entry, 1) == handed for entry in timely):
            return False
        # Late ones repeat the complaint at best: an answer to the last timely one stands.
        goods = goods[goods.index(timely[-1]) :]
    else:
        goods = goods[-1:]
    answers = {entry.id for entry in goods}
    adjusts = (entry for entry in known.values() if entry.body.type == EntryType.ADJUST)
    return not any(
        entry.author == leg.lister and answers & set(entry.body.refs)
        for entry in (*adjusts, *money)
    )


def _state(trade: Trade, now_ms: int) -> State:
    legs = trade.legs
    if any(leg.handover or leg.received for leg in legs):
        return _state_of_goods(trade, now_ms)
    if trade.cancel is not None:
        return State.CANCELLED
    if any(leg.declined for leg in legs):
        return State.DECLINED
    if any(leg.release for leg in legs):
        return _state_after_release(trade)
    if trade.commit_by_ms is None:
        return _unless_past(State.PROPOSED, trade.respond_by_ms, now_ms)
    if all(leg.commit for leg in legs):
        last_ms = max(leg.handover_until_ms for leg in legs)
        return _unless_past(State.CONFIRMED, last_ms, now_ms)
    return _unless_past(State.RESERVED, trade.commit_by_ms, now_ms)


def _unless_past(state: State, deadline_ms: int, now_ms: int) -> State:
    return state if now_ms <= deadline_ms else TIMEOUTS[state].then


def _state_after_release(trade: Trade) -> State:
    """Name the end by the first cause: releases that only follow another one say nothing."""
    lapsed_ms = trade.respond_by_ms if trade.commit_by_ms is None else trade.commit_by_ms
    released = [(leg, leg.release) for leg in trade.legs if leg.release is not None]
    ids = {release.id for _, release in released}
    unprompted = [(leg, release) for leg, release in released if not ids & {*causes(release)}]
    if any(release.at_ms <= lapsed_ms for leg, release in unprompted if not leg.commits):
        return State.WITHDRAWN
    if any(release.at_ms <= leg.handover_until_ms for leg, release in unprompted if leg.commits):
        return State.CANCELLED
    return State.NO_SHOW if all(leg.commit for leg in trade.legs) else State.LAPSED


def _state_of_goods(trade: Trade, now_ms: int) -> State:
    legs = trade.legs
    if any(leg.disputed or _is_kept_for_good(trade, leg, now_ms) for leg in legs):
        return State.DISPUTED
    moved = [leg for leg in legs if leg.handover or leg.received]
    if all(leg.returned for leg in moved):
        return State.RETURNED
    if any(_is_under_way(trade, leg, now_ms) for leg in legs):
        return State.IN_CUSTODY
    paid = all(leg.money_receipt for leg in moved if not leg.returned)
    return State.SETTLED if paid else State.DELIVERED


def _is_kept_for_good(trade: Trade, leg: Leg, now_ms: int) -> bool:
    """Tell whether who carries the goods has given up its part, or had long enough for it."""
    over = leg.release is not None or now_ms > leg.kept_until_ms
    return over and kept_goods(trade, leg) is not None


def _is_under_way(trade: Trade, leg: Leg, now_ms: int) -> bool:
    """Tell whether a leg's goods may still arrive, by receipt or by 24 h of silence."""
    if leg.goods_receipt is not None or leg.returned is not None:
        return False
    if leg.handover is not None:
        return now_ms <= leg.delivered_after_ms
    if kept_goods(trade, leg) is not None:
        return True
    return leg.release is None and now_ms <= leg.handover_until_ms
