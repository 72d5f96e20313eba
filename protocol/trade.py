"""A trade: a pure function of the entries that name one propose, and of now.

The parties of a propose are numbered: 0 is the taker, 1 to n the lots in the propose's order,
each spoken for by its lister (the offer's author). A lot's goods go to the party its `to`
names; all ways end at the taker. The steps, in order:

    propose (taker) -> reserve (each lister) -> confirm (taker) -> commit (each lister)
    -> handover (each giver) -> receipt of goods (each receiver), of money (each lister)

What arrives late or in another order changes nothing: the fold looks at the set alone. Order
matters only inside one author's chain, where it is objective: release against commit, cancel
against reserve or confirm. A state that a deadline brings is a view of (set, now) and moves
when late entries come; a proven fault never goes away again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from passby.protocol.entry import Entry
from passby.protocol.limits import DELIVERED_AFTER_S, DISPUTE_WITHIN_S
from passby.protocol.secret import secret_hash
from passby.protocol.types import EntryType, Receipted

TAKER: Final = 0


class State(StrEnum):
    """Where a trade stands."""

    PROPOSED = "PROPOSED"
    RESERVED = "RESERVED"
    CONFIRMED = "CONFIRMED"
    IN_CUSTODY = "IN_CUSTODY"
    DELIVERED = "DELIVERED"
    SETTLED = "SETTLED"
    DECLINED = "DECLINED"
    LAPSED = "LAPSED"
    WITHDRAWN = "WITHDRAWN"
    CANCELLED = "CANCELLED"
    RETURNED = "RETURNED"
    NO_SHOW = "NO_SHOW"
    DISPUTED = "DISPUTED"


OPEN_STATES: Final = frozenset(
    {State.PROPOSED, State.RESERVED, State.CONFIRMED, State.IN_CUSTODY, State.DELIVERED}
)


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


class Fault(NamedTuple):
    """A breach that `evidence` proves by itself, two or three entries of the accused."""

    accused: bytes
    rule: str
    evidence: tuple[bytes, ...]


@dataclass(slots=True)
class Leg:
    """One lot of the propose, and the entries that count for it."""

    number: int
    lot: bytes
    amount: int
    to: int
    handover_until_ms: int
    offer: Entry | None = None
    declined: Entry | None = None
    reserve: Entry | None = None
    commit: Entry | None = None
    release: Entry | None = None
    handover: Entry | None = None
    returned: Entry | None = None
    goods_receipt: Entry | None = None
    money_receipt: Entry | None = None
    disputed: bool = False

    @property
    def lister(self) -> bytes | None:
        """The lot's author, or None while the offer has not arrived."""
        return self.offer.author if self.offer else None

    @property
    def delivered_after_ms(self) -> int:
        """When silence of the receiver counts as delivery."""
        handed_at = self.handover.at_ms if self.handover else 0
        return max(handed_at, self.handover_until_ms) + DELIVERED_AFTER_S * 1000


@dataclass(slots=True)
class Trade:
    """The fold's result."""

    propose: Entry
    legs: list[Leg]
    state: State = State.PROPOSED
    confirm: Entry | None = None
    cancel: Entry | None = None
    commit_by_ms: int | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def id(self) -> bytes:
        """The propose's id, which names the trade."""
        return self.propose.id

    @property
    def taker(self) -> bytes:
        """The author of the propose."""
        return self.propose.author

    @property
    def respond_by_ms(self) -> int:
        """Until when listers may reserve."""
        return _uint(self.propose, 1)

    def party(self, number: int) -> bytes | None:
        """Return the key of party `number`, or None while its offer is unknown."""
        return self.taker if number == TAKER else self.legs[number - 1].lister

    def parties(self) -> set[bytes]:
        """Return every known party's key."""
        return {self.taker, *(leg.lister for leg in self.legs if leg.lister)}

    def givers_to(self, number: int) -> tuple[int, ...]:
        """Return who may hand goods to party `number`, in number order, returns included.

        That is every lot that goes to it, and for a lot also the party its goods go to.
        """
        givers = {leg.number for leg in self.legs if leg.to == number}
        if number != TAKER:
            givers.add(self.legs[number - 1].to)
        return tuple(sorted(givers))


def fold(propose: Entry, entries: Iterable[Entry], now_ms: int) -> Trade:
    """Return the trade that `entries` (offers named by the propose among them) amount to.

    Entries that do not count, being void, late, doubled or somebody else's, are passed over;
    those that prove a breach are in `faults`. The order of `entries` does not matter.
    """
    unique = {entry.id: entry for entry in entries}
    ordered = sorted(unique.values(), key=lambda entry: (entry.author, entry.seq, entry.id))
    trade = Trade(propose, _legs(propose, unique))
    mine: dict[int, list[Entry]] = {}
    for entry in ordered:
        if entry.body.refs and entry.body.refs[0] == propose.id:
            mine.setdefault(entry.body.type, []).append(entry)
    _count_reserves(trade, mine)
    _count_confirm(trade, mine)
    _count_releases(trade, mine)
    _count_cancels(trade, mine)
    _count_commits(trade, mine)
    _count_handovers(trade, mine)
    _count_receipts(trade, mine, unique)
    _judge_releases(trade, mine)
    trade.state = _state(trade, now_ms)
    return trade


def _uint(entry: Entry, place: int) -> int:
    value = entry.body.facts[place]
    return value if isinstance(value, int) else 0


def _legs(propose: Entry, unique: dict[bytes, Entry]) -> list[Leg]:
    legs: list[Leg] = []
    for number, lot in enumerate(propose.body.refs, 1):
        offer = unique.get(lot)
        if offer is not None and offer.body.type != EntryType.OFFER:
            offer = None
        at = 3 * number - 1
        legs.append(
            Leg(
                number,
                lot,
                _uint(propose, at),
                _uint(propose, at + 1),
                _uint(propose, at + 2),
                offer,
            )
        )
    return legs


def _count_reserves(trade: Trade, mine: dict[int, list[Entry]]) -> None:
    for leg in trade.legs:
        own = [
            entry
            for entry in mine.get(EntryType.RESERVE, ())
            if entry.author == leg.lister and entry.body.refs[1] == leg.lot
        ]
        first = own[0] if own else None
        if len(own) > 1:
            trade.faults.append(Fault(own[0].author, "reserved twice", (own[0].id, own[1].id)))
        for cancel in mine.get(EntryType.CANCEL, ()):
            if cancel.author == leg.lister and cancel.author != trade.taker:
                if first is None or cancel.seq < first.seq:
                    leg.declined = cancel
                break
        if (
            first is not None
            and leg.declined is None
            and first.at_ms <= trade.respond_by_ms
            and first.body.stock[3] == leg.amount
            and len(first.body.facts) == 1 + len(trade.givers_to(leg.number))
        ):
            leg.reserve = first
    reserves = [leg.reserve for leg in trade.legs if leg.reserve]
    if len(reserves) == len(trade.legs):
        trade.commit_by_ms = min(_uint(reserve, 0) for reserve in reserves)


def _count_confirm(trade: Trade, mine: dict[int, list[Entry]]) -> None:
    own = [entry for entry in mine.get(EntryType.CONFIRM, ()) if entry.author == trade.taker]
    if len(own) > 1:
        trade.faults.append(Fault(trade.taker, "confirmed twice", (own[0].id, own[1].id)))
    if not own or trade.commit_by_ms is None:
        return
    first = own[0]
    reserves = tuple(leg.reserve.id for leg in trade.legs if leg.reserve)
    if (
        first.body.refs[1:] == reserves
        and _uint(first, 0) == trade.commit_by_ms
        and first.at_ms <= trade.commit_by_ms
        and len(first.body.facts) == 1 + len(trade.givers_to(TAKER))
    ):
        trade.confirm = first


def _count_releases(trade: Trade, mine: dict[int, list[Entry]]) -> None:
    for leg in trade.legs:
        for entry in mine.get(EntryType.RELEASE, ()):
            if entry.author == leg.lister and leg.reserve and entry.body.refs[1] == leg.reserve.id:
                leg.release = entry
                break


def _count_cancels(trade: Trade, mine: dict[int, list[Entry]]) -> None:
    """Let a taker's cancel count: freely before its confirm, with a cause after it."""
    releases = {
        entry.id for entry in mine.get(EntryType.RELEASE, ()) if entry.author != trade.taker
    }
    for cancel in mine.get(EntryType.CANCEL, ()):
        if cancel.author != trade.taker or trade.cancel is not None:
            continue
        if trade.confirm is None or cancel.seq < trade.confirm.seq:
            trade.cancel = cancel
            trade.confirm = None
            continue
        named = set(cancel.body.refs[1:])
        commits = _commits_named_by_law(trade, mine)
        all_named = len(commits) == len(trade.legs) and commits <= named
        late = trade.commit_by_ms is not None and cancel.at_ms > trade.commit_by_ms
        if (late and not all_named) or named & releases:
            trade.cancel = cancel
        else:
            trade.faults.append(
                Fault(
                    trade.taker,
                    "cancelled after confirming",
                    (trade.confirm.id, cancel.id, *sorted(named & commits)),
                )
            )


def _commits_named_by_law(trade: Trade, mine: dict[int, list[Entry]]) -> set[bytes]:
    """Return the ids of one timely commit of each lister, whatever a cancel says."""
    return {entry.id for leg in trade.legs if (entry := _timely_commit(trade, leg, mine))}


def _timely_commit(trade: Trade, leg: Leg, mine: dict[int, list[Entry]]) -> Entry | None:
    if trade.confirm is None or leg.reserve is None or trade.commit_by_ms is None:
        return None
    for entry in mine.get(EntryType.COMMIT, ()):
        if entry.author == leg.lister and entry.body.refs[1:] == (
            trade.confirm.id,
            leg.reserve.id,
        ):
            released = leg.release is not None and leg.release.seq < entry.seq
            return None if released or entry.at_ms > trade.commit_by_ms else entry
    return None


def _count_commits(trade: Trade, mine: dict[int, list[Entry]]) -> None:
    for leg in trade.legs:
        leg.commit = _timely_commit(trade, leg, mine)
        own = [
            entry
            for entry in mine.get(EntryType.COMMIT, ())
            if entry.author == leg.lister
            and leg.reserve is not None
            and entry.body.refs[2] == leg.reserve.id
        ]
        if len(own) > 1:
            trade.faults.append(Fault(own[0].author, "committed twice", (own[0].id, own[1].id)))


def _reveals(trade: Trade, giver: int, holder: int, document: Entry, secret: object) -> bool:
    """Tell whether `secret` opens what `holder` committed to for `giver` in `document`."""
    giver_key, holder_key = trade.party(giver), trade.party(holder)
    givers = trade.givers_to(holder)
    if giver_key is None or holder_key is None or not isinstance(secret, bytes):
        return False
    expected = document.body.facts[1 + givers.index(giver)]
    return secret_hash(trade.id, giver_key, holder_key, secret) == expected


def _holds(trade: Trade, number: int) -> Entry | None:
    """Return the entry in which party `number` committed to its secrets."""
    return trade.confirm if number == TAKER else trade.legs[number - 1].reserve


def _count_handovers(trade: Trade, mine: dict[int, list[Entry]]) -> None:
    """Count handovers from the givers' end of each way on, then returns against it."""
    handovers = mine.get(EntryType.HANDOVER, ())
    for leg in _in_order_of_custody(trade):
        holding = _holds(trade, leg.to)
        brought = {up.handover.id for up in trade.legs if up.to == leg.number and up.handover}
        for entry in handovers:
            if (
                entry.author == leg.lister
                and entry.body.stock
                and leg.offer is not None
                and entry.body.stock[0] == leg.offer.seq
                and holding is not None
                and entry.body.refs[2] == holding.id
                and brought <= set(entry.body.refs[3:])
                and _reveals(trade, leg.number, leg.to, holding, entry.body.facts[0])
            ):
                leg.handover = entry
                break
    for leg in trade.legs:
        for entry in handovers:
            if (
                not entry.body.stock
                and leg.handover is not None
                and leg.reserve is not None
                and entry.author == trade.party(leg.to)
                and entry.body.refs[2] == leg.reserve.id
                and leg.handover.id in entry.body.refs[3:]
                and _reveals(trade, leg.to, leg.number, leg.reserve, entry.body.facts[0])
            ):
                leg.returned = entry
                break


def _in_order_of_custody(trade: Trade) -> list[Leg]:
    def hops(leg: Leg) -> int:
        count, at = 0, leg.to
        while at != TAKER:
            count, at = count + 1, trade.legs[at - 1].to
        return count

    return sorted(trade.legs, key=lambda leg: (-hops(leg), leg.number))


def _count_receipts(trade: Trade, mine: dict[int, list[Entry]], unique: dict[bytes, Entry]) -> None:
    receipts = mine.get(EntryType.RECEIPT, ())
    for leg in trade.legs:
        about = {entry.id for entry in (leg.handover, leg.commit) if entry}
        receiver = trade.party(leg.to)
        goods = [
            entry
            for entry in receipts
            if entry.body.facts[0] == Receipted.GOODS
            and entry.author == receiver
            and entry.body.refs[1] in about
        ]
        named_by_giver = set(about)
        named_by_giver.update(entry.id for entry in goods)
        for entry in receipts:
            if (
                entry.body.facts[0] == Receipted.MONEY
                and entry.author == leg.lister
                and entry.body.refs[1] in named_by_giver
            ):
                leg.money_receipt = entry
                break
        if goods:
            leg.goods_receipt = goods[-1]
            leg.disputed = _is_disputed(leg, goods, unique)


def _is_disputed(leg: Leg, goods: list[Entry], unique: dict[bytes, Entry]) -> bool:
    newest = goods[-1]
    if leg.handover is not None:
        handed = _uint(leg.handover, 1)
        if _uint(newest, 1) == handed:
            return False
        if all(
            entry.at_ms > leg.delivered_after_ms or _uint(entry, 1) == handed for entry in goods
        ):
            return False
    answers = {entry.id for entry in goods}
    return not any(
        entry.author == leg.lister
        and entry.body.type in (EntryType.ADJUST, EntryType.RECEIPT)
        and answers & set(entry.body.refs)
        for entry in unique.values()
    )


def _judge_releases(trade: Trade, mine: dict[int, list[Entry]]) -> None:
    """Prove releases that broke a commit, or left with goods in custody."""
    cancels = {entry.id for entry in mine.get(EntryType.CANCEL, ()) if entry.author == trade.taker}
    for leg in trade.legs:
        release = leg.release
        if release is None:
            continue
        if leg.commit is not None and leg.commit.seq < release.seq:
            others = {
                entry.id
                for entry in mine.get(EntryType.RELEASE, ())
                if entry.author != release.author
            }
            caused = bool(set(release.body.refs[2:]) & (cancels | others))
            if not caused and release.at_ms <= leg.handover_until_ms:
                trade.faults.append(
                    Fault(release.author, "released after commit", (leg.commit.id, release.id))
                )
        brought = kept_goods(trade, leg)
        if (
            brought is not None
            and leg.reserve is not None
            and release.at_ms < leg.handover_until_ms + DISPUTE_WITHIN_S * 1000
        ):
            trade.faults.append(
                Fault(
                    release.author,
                    "released with goods in custody",
                    (brought.id, leg.reserve.id, release.id),
                )
            )


def kept_goods(trade: Trade, leg: Leg) -> Entry | None:
    """Return a handover to this lot's lister that was neither passed on nor returned."""
    if leg.handover is not None:
        return None
    for up in trade.legs:
        if up.to == leg.number and up.handover is not None and up.returned is None:
            return up.handover
    return None


def _state(trade: Trade, now_ms: int) -> State:
    legs = trade.legs
    if any(leg.handover or leg.goods_receipt for leg in legs):
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
    released = [leg for leg in trade.legs if leg.release]
    if not any(leg.commit for leg in released):
        lapsed = trade.commit_by_ms if trade.commit_by_ms is not None else trade.respond_by_ms
        free = all(leg.release and leg.release.at_ms > lapsed for leg in released)
        return State.LAPSED if free else State.WITHDRAWN
    waited = all(
        leg.release and leg.release.at_ms > leg.handover_until_ms for leg in released
    ) and all(leg.commit for leg in trade.legs)
    return State.NO_SHOW if waited else State.CANCELLED


def _state_of_goods(trade: Trade, now_ms: int) -> State:
    legs = trade.legs
    if any(leg.disputed for leg in legs):
        return State.DISPUTED
    if any(kept_goods(trade, leg) and leg.release for leg in legs):
        return State.DISPUTED
    handed = [leg for leg in legs if leg.handover]
    if handed and all(leg.returned for leg in handed):
        return State.RETURNED
    if any(_passed_on(leg, now_ms) is False for leg in legs):
        return State.IN_CUSTODY
    if all(leg.money_receipt for leg in legs):
        return State.SETTLED
    return State.DELIVERED


def _passed_on(leg: Leg, now_ms: int) -> bool:
    """Tell whether a leg's goods count as received: by receipt, or by 24 h of silence."""
    if leg.handover is None:
        return leg.goods_receipt is not None and leg.money_receipt is not None
    return leg.goods_receipt is not None or now_ms > leg.delivered_after_ms
