"""Whom to trust with a trade: what fulfilled trades say, as seen from one node.

Trust is handed on along trades that were fulfilled. Whoever this node has traded with, to the
end, has it whole. An author at any distance hands on half of its own, in equal parts, to all
with whom it has traded or for whom it vouches; and only away from this node, never back. What
a whole ring of keys behind one trade gets together is so less than the trade itself brought,
whatever they trade with each other: that is MeritRank's transitivity decay, over shortest
ways instead of drawn ones, so that it is the same at every look. Where all of an author's
trust has come through a single acquaintance, half of it counts: its connectivity decay.

How often two have traded does not count, only that they have. Vouches lead on, but are worth
nothing by themselves: who has traded with nobody has no reputation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from passby.protocol.limits import REPUTATION_DEPTH, REPUTED_MAX, VOUCHES_MAX
from passby.protocol.trade import State, Trade

WHOLE: Final = 1_000_000
"""The trust in whom this node has traded with; others have parts of it."""
_THROUGH_ONE: Final = 2
"""By what the trust is divided that came through one acquaintance alone."""


class Dealing(msgspec.Struct, frozen=True, gc=False):
    """A trade that was fulfilled between two: its id, when it was proposed, and who they are."""

    trade: bytes
    at_ms: int
    giver: bytes
    receiver: bytes


class Partner(msgspec.Struct, frozen=True):
    """Whom an author has traded with, how often, and from when to when; trust out of WHOLE."""

    author: bytes
    trades: int
    first_ms: int
    last_ms: int
    trust: int


class Reputation(msgspec.Struct, frozen=True):
    """What is known of an author, and by what.

    Attributes:
        trust: out of WHOLE, 0 for who has traded with nobody that is trusted.
        steps: over how many trades it is reached, 1 for an own partner; None where it is not.
        through: by which own partners or vouches the trust came.
        partners: whom it has traded with, the most trusted first.
    """

    author: bytes
    trust: int
    steps: int | None
    through: tuple[bytes, ...]
    partners: tuple[Partner, ...]


def dealings_in(trade: Trade) -> Iterator[Dealing]:
    """Yield who gave to whom in a settled trade; nothing while it is not settled.

    What was lent was received and paid before it came back: that is fulfilled, too.
    """
    if trade.state not in (State.SETTLED, State.RETURNED):
        return
    for leg in trade.legs:
        giver, receiver = leg.lister, trade.party(leg.to)
        ended = leg.returned is None or bool(leg.goods_receipt and leg.money_receipt)
        moved = (leg.handover is not None or leg.received) and ended
        if moved and giver and receiver and giver != receiver:
            yield Dealing(trade.id, trade.propose.at_ms, giver, receiver)


class Dealings:
    """Fulfilled trades by author: who has traded with whom."""

    def __init__(self) -> None:
        self._of: dict[bytes, dict[bytes, dict[bytes, int]]] = {}
        """author -> partner -> trade -> when it was proposed."""
        self._in: dict[bytes, tuple[Dealing, ...]] = {}

    def __len__(self) -> int:
        return len(self._in)

    def note(self, trade: bytes, found: Iterable[Dealing]) -> bool:
        """Take it that these, and no others, are the dealings of `trade`; tell if that is new."""
        after, before = tuple(found), self._in.get(trade, ())
        if after == before:
            return False
        for each in before:
            for one, other in _both(each):
                partners = self._of[one]
                partners[other].pop(trade, None)
                if not partners[other]:
                    del partners[other]
        self._in.pop(trade, None)
        for each in after:
            self._in[trade] = after
            for one, other in _both(each):
                self._of.setdefault(one, {}).setdefault(other, {})[trade] = each.at_ms
        return True

    def partners(self, author: bytes) -> Mapping[bytes, Mapping[bytes, int]]:
        """Return partner -> trade -> its time."""
        return self._of.get(author, {})


def _both(each: Dealing) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    return (each.giver, each.receiver), (each.receiver, each.giver)


class View(msgspec.Struct, frozen=True):
    """Trust as one node sees it.

    Attributes:
        trust: author -> trust out of WHOLE, of those with a fulfilled trade.
        steps: author -> its distance, of all who are reached.
        through: author -> the authors at distance 1 by whom it is reached, two at most.
    """

    trust: Mapping[bytes, int] = {}
    steps: Mapping[bytes, int] = {}
    through: Mapping[bytes, tuple[bytes, ...]] = {}


def view(
    own: Collection[bytes],
    dealings: Dealings,
    vouched_by: Callable[[bytes], Sequence[bytes]],
    is_false: Callable[[bytes], bool],
) -> View:
    """Return the trust that follows from `dealings` for the devices `own`.

    Args:
        own: devices of this node's person; not among what is returned.
        dealings: who has traded with whom.
        vouched_by: for whom an author vouches; the first VOUCHES_MAX count.
        is_false: whether an author is proven false: it has no trust and hands none on.
    """
    first = [other for author in sorted(own) for other in _links(author, dealings, vouched_by)]
    level = {
        other: WHOLE for other in dict.fromkeys(first) if other not in own and not is_false(other)
    }
    via: dict[bytes, tuple[bytes, ...]] = {author: (author,) for author in level}
    trust: dict[bytes, int] = {}
    steps: dict[bytes, int] = {}
    through: dict[bytes, tuple[bytes, ...]] = {}
    for distance in range(1, REPUTATION_DEPTH + 1):
        for author, share in sorted(level.items(), key=lambda item: (-item[1], item[0])):
            if len(steps) >= REPUTED_MAX:
                return View(trust, steps, through)
            steps[author], through[author] = distance, via[author]
            if dealings.partners(author):
                alone = distance > 1 and len(via[author]) == 1
                trust[author] = share // (_THROUGH_ONE if alone else 1)
        level, via = _next(level, via, steps, own, dealings, vouched_by, is_false)
    return View(trust, steps, through)


def _links(
    author: bytes, dealings: Dealings, vouched_by: Callable[[bytes], Sequence[bytes]]
) -> list[bytes]:
    return sorted({*dealings.partners(author), *vouched_by(author)[:VOUCHES_MAX]})


def _next(
    level: Mapping[bytes, int],
    via: Mapping[bytes, tuple[bytes, ...]],
    steps: Mapping[bytes, int],
    own: Collection[bytes],
    dealings: Dealings,
    vouched_by: Callable[[bytes], Sequence[bytes]],
    is_false: Callable[[bytes], bool],
) -> tuple[dict[bytes, int], dict[bytes, tuple[bytes, ...]]]:
    """Return the shares of those one step farther, and by whom they are reached."""
    shares: dict[bytes, int] = {}
    ways: dict[bytes, tuple[bytes, ...]] = {}
    for author in sorted(level):
        links = _links(author, dealings, vouched_by)
        part = level[author] // (2 * max(len(links), 1))
        for other in links if part else ():
            if other not in steps and other not in own and not is_false(other):
                # Nobody who is reached through others is trusted like an own partner.
                shares[other] = min(shares.get(other, 0) + part, WHOLE // 2)
                both = dict.fromkeys((*ways.get(other, ()), *via[author]))
                ways[other] = tuple(both)[:2]
    return shares, ways


def reputation(author: bytes, dealings: Dealings, seen: View) -> Reputation:
    """Return what is known of `author`, with the trades it rests on."""
    partners = [
        Partner(other, len(trades), min(trades.values()), max(trades.values()),
                seen.trust.get(other, 0))
        for other, trades in dealings.partners(author).items()
    ]  # fmt: skip
    partners.sort(key=lambda each: (-each.trust, each.first_ms, each.author))
    return Reputation(
        author,
        seen.trust.get(author, 0),
        seen.steps.get(author),
        seen.through.get(author, ()),
        tuple(partners),
    )
