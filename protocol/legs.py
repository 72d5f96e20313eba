"""Who takes part in a trade, and which of their entries count: the fold's working parts.

`protocol.trade` fills these in, `protocol.breach` reads faults from them, `protocol.turns`
what comes next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from passby.protocol.entry import Entry
from passby.protocol.limits import DELIVERED_AFTER_S, DISPUTE_WITHIN_S
from passby.protocol.types import EntryType

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


class Fault(NamedTuple):
    """A breach by `accused` that the entries of `evidence` prove by themselves."""

    accused: bytes
    rule: str
    evidence: tuple[bytes, ...]


@dataclass(slots=True)
class Leg:
    """One lot of the propose: every entry of its lister, and those that count.

    The lists are in the order of the lister's chain (`refusals` are its cancels, `handovers`
    and `returns` those that a secret proves); the single entries are what the state is made of.
    """

    number: int
    lot: bytes
    amount: int
    to: int
    handover_until_ms: int
    offer: Entry | None = None
    refusals: list[Entry] = field(default_factory=list)
    reserves: list[Entry] = field(default_factory=list)
    commits: list[Entry] = field(default_factory=list)
    releases: list[Entry] = field(default_factory=list)
    handovers: list[Entry] = field(default_factory=list)
    returns: list[Entry] = field(default_factory=list)
    declined: Entry | None = None
    reserve: Entry | None = None
    commit: Entry | None = None
    release: Entry | None = None
    handover: Entry | None = None
    returned: Entry | None = None
    put_back: Entry | None = None
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

    @property
    def kept_until_ms(self) -> int:
        """From when on a lister may release although it holds the goods of others."""
        return self.handover_until_ms + DISPUTE_WITHIN_S * 1000

    @property
    def received(self) -> bool:
        """Whether the receiver's newest word is that goods came."""
        return self.goods_receipt is not None and (
            self.handover is not None or uint_fact(self.goods_receipt, 1) > 0
        )


@dataclass(slots=True)
class Trade:
    """The fold's result.

    `confirm` and each leg's `commit` are those that count; `confirms` and `cancels` are all
    of the taker's. `unshown` holds the ids that releases and cancels name as their causes
    and that nobody has shown: a fault may hang on them.
    """

    propose: Entry
    legs: list[Leg]
    state: State = State.PROPOSED
    confirms: list[Entry] = field(default_factory=list)
    cancels: list[Entry] = field(default_factory=list)
    confirm: Entry | None = None
    cancel: Entry | None = None
    commit_by_ms: int | None = None
    faults: list[Fault] = field(default_factory=list)
    unshown: frozenset[bytes] = frozenset()

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
        return uint_fact(self.propose, 1)

    def party(self, number: int) -> bytes | None:
        """Return the key of party `number`, or None while its offer is unknown."""
        return self.taker if number == TAKER else self.legs[number - 1].lister

    def parties(self) -> set[bytes]:
        """Return every known party's key."""
        return {self.taker, *(leg.lister for leg in self.legs if leg.lister)}

    def bringing_to(self, leg: Leg) -> list[Leg]:
        """Return the legs whose goods go to this one's lister."""
        return [up for up in self.legs if up.to == leg.number]

    def givers_to(self, number: int) -> tuple[int, ...]:
        """Return who may hand goods to party `number`, in number order, returns included.

        That is every lot that goes to it, and for a lot also the party its goods go to.
        """
        givers = {leg.number for leg in self.legs if leg.to == number}
        if number != TAKER:
            givers.add(self.legs[number - 1].to)
        return tuple(sorted(givers))


def uint_fact(entry: Entry, place: int) -> int:
    """Return the number among the facts at `place`, 0 where that is a hash."""
    value = entry.body.facts[place]
    return value if isinstance(value, int) else 0


def causes(entry: Entry) -> tuple[bytes, ...]:
    """Return what a release or cancel names to justify itself."""
    return entry.body.refs[2 if entry.body.type == EntryType.RELEASE else 1 :]


def kept_goods(trade: Trade, leg: Leg) -> Entry | None:
    """Return a handover to this lot's lister that was neither passed on nor returned."""
    if leg.handover is not None:
        return None
    for up in trade.bringing_to(leg):
        if up.handover is not None and up.returned is None:
            return up.handover
    return None
