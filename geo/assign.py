"""Several at once: one lot for several takers, several lots for one wish.

Everything is whole numbers and goes in the order of ids, so that two nodes with the same view
arrive at the same answer. `share` and `takes` are exact for amounts that are taken whole or
not at all, as bids are; `suggest` is the best of a whole set of offers and requests whose
amounts may be divided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from passby.geo.book import Book
from passby.geo.lots import BookLot, Side
from passby.geo.match import Match, matches_for_offer, matches_for_request
from passby.geo.score import Part, points_of
from passby.protocol.limits import SUGGEST_EACH_MAX, SUGGEST_LOTS_MAX

Needs = tuple[int, ...]
"""How much of each thing that a lot counts: pieces alone, or the seats and the boot of a car."""
_COMMON: Final = (Part.SURPLUS, Part.DISTANCE, Part.EXPIRY)
"""What giver and taker see alike; trust and freshness depend on who looks."""


class Bid(NamedTuple):
    """Somebody that would take `needs` of a lot, all or none, and what that is worth."""

    who: bytes
    needs: Needs
    worth: int


def share(capacity: Needs, bids: Iterable[Bid]) -> list[Bid]:
    """Return the bids that fit into `capacity` together and are worth the most, by `who`.

    Of two choices that are worth the same, the one that needs less of the first thing stands.
    """
    best: dict[Needs, tuple[int, tuple[Bid, ...]]] = {tuple(0 for _ in capacity): (0, ())}
    for bid in sorted(bids):
        if bid.worth <= 0:
            continue
        for used, (worth, chosen) in sorted(best.items(), reverse=True):
            after = tuple(a + b for a, b in zip(used, bid.needs, strict=True))
            if any(a > most for a, most in zip(after, capacity, strict=True)):
                continue
            if after not in best or best[after][0] < worth + bid.worth:
                best[after] = (worth + bid.worth, (*chosen, bid))
    used = min(best, key=lambda used: (-best[used][0], used))
    return list(best[used][1])


def floors(capacity: Needs, bids: Sequence[Bid], asked: Iterable[Needs]) -> list[int | None]:
    """Return for each of `asked` what has to be beaten to get it: the worth that would give way.

    None where it is more than the lot holds at all.
    """
    held = _worth(share(capacity, bids))
    found: list[int | None] = []
    for needs in asked:
        left = tuple(most - need for most, need in zip(capacity, needs, strict=True))
        found.append(None if min(left) < 0 else held - _worth(share(left, bids)))
    return found


def _worth(bids: Iterable[Bid]) -> int:
    return sum(bid.worth for bid in bids)


class Take(NamedTuple):
    """So much of a lot."""

    lot: bytes
    amount: int


def takes(wanted: int, gains: Mapping[bytes, Mapping[int, int]]) -> tuple[int, list[Take]]:
    """Return the most to gain from lots for one wish, and how much to take of each.

    Args:
        wanted: the most to take together.
        gains: for each lot what each amount of it gains; losses are passed over.
    """
    best: dict[int, tuple[int, tuple[Take, ...]]] = {0: (0, ())}
    for lot in sorted(gains):
        after = dict(best)
        for amount, gain in sorted(gains[lot].items()):
            if gain <= 0 or amount <= 0:
                continue
            for taken, (gained, chosen) in best.items():
                total = taken + amount
                if total <= wanted and (total not in after or after[total][0] < gained + gain):
                    after[total] = (gained + gain, (*chosen, Take(lot, amount)))
        best = after
    taken = min(best, key=lambda taken: (-best[taken][0], taken))
    gained, chosen = best[taken]
    return gained, list(chosen)


# --- a whole set -----------------------------------------------------------------------


class Suggestion(NamedTuple):
    """So much of an offer for a request."""

    match: Match
    amount: int


def common_points(match: Match) -> int:
    """Return the points that both sides give a match, whoever looks; at least 1."""
    return 1 + sum(points_of(part, match.features) for part in _COMMON)


def suggest(matches: Iterable[Match]) -> list[Suggestion]:
    """Return who should take how much of what, so that the points of all base units are most.

    No offer gives more than remains and no request gets more than it wants. That is the best
    there is where amounts may be divided (a flow of least cost, by shortest paths); an amount
    that an offer's minimum or steps forbid is cut down to one that they allow, or dropped.
    """
    pairs = {(match.offer.id, match.request.id): match for match in matches}
    ordered = [pairs[key] for key in sorted(pairs)]
    flow = _Flow(ordered)
    while flow.augment():
        pass
    return [
        Suggestion(match, amount)
        for match, given in zip(ordered, flow.given, strict=True)
        if (amount := _allowed(match, given))
    ]


def around(offers: Book, requests: Book, lot: BookLot, now_ms: int) -> list[Match]:
    """Return the matches of a lot, those of its rivals, and so on, as far as they hang together.

    From whichever of them one starts, the same are found, unless there are more than
    SUGGEST_LOTS_MAX lots or one of them has more than SUGGEST_EACH_MAX matches.
    """
    found: dict[tuple[bytes, bytes], Match] = {}
    seen = {lot.id}
    waiting = deque([lot])
    for _ in range(SUGGEST_LOTS_MAX):
        if not waiting:
            break
        at = waiting.popleft()
        wanting = at.side is Side.REQUEST
        search = matches_for_request if wanting else matches_for_offer
        for match in search(offers if wanting else requests, at, now_ms, SUGGEST_EACH_MAX):
            found[match.offer.id, match.request.id] = match
            other = match.offer if wanting else match.request
            if other.id not in seen:
                seen.add(other.id)
                waiting.append(other)
    return [found[key] for key in sorted(found)]


def _allowed(match: Match, given: int) -> int:
    offer = match.offer
    least = max(match.request.minimum, offer.minimum)
    if given < offer.minimum:
        return 0
    amount = given - (given - offer.minimum) % offer.step
    return amount if amount >= least else 0


class _Flow:
    """From offers through matches to requests, as cheap as may be; points count as negative."""

    def __init__(self, matches: Sequence[Match]) -> None:
        self._matches = matches
        self._points = [common_points(match) for match in matches]
        self.given = [0] * len(matches)
        self._left = {match.offer.id: match.offer.remaining for match in matches}
        self._wanted = {match.request.id: match.request.remaining for match in matches}
        self._of_offer: dict[bytes, list[int]] = {}
        self._of_request: dict[bytes, list[int]] = {}
        for number, match in enumerate(matches):
            self._of_offer.setdefault(match.offer.id, []).append(number)
            self._of_request.setdefault(match.request.id, []).append(number)

    def augment(self) -> bool:
        """Send what fits along the way that gains the most; tell whether there was one."""
        gained, through = self._gains()
        ends = [(points, end) for end, points in gained.items() if self._wanted.get(end)]
        if not ends:
            return False
        _, end = min(ends, key=lambda each: (-each[0], each[1]))
        way: list[tuple[int, bool]] = []
        at = end
        while at in through:
            number, forward = through[at]
            way.append((number, forward))
            match = self._matches[number]
            at = match.offer.id if forward else match.request.id
        amount = min(self._wanted[end], self._left[at])
        amount = min([amount, *(self.given[number] for number, forward in way if not forward)])
        for number, forward in way:
            self.given[number] += amount if forward else -amount
        self._left[at] -= amount
        self._wanted[end] -= amount
        return True

    def _gains(self) -> tuple[dict[bytes, int], dict[bytes, tuple[int, bool]]]:
        """Return the most points on a way to each node, and its last step (Bellman and Ford)."""
        gained = {offer: 0 for offer, left in sorted(self._left.items()) if left}
        through: dict[bytes, tuple[int, bool]] = {}
        queue = deque(gained)
        while queue:
            at = queue.popleft()
            forward = at in self._of_offer
            for number in self._of_offer[at] if forward else self._of_request[at]:
                if not forward and not self.given[number]:
                    continue
                match = self._matches[number]
                there = match.request.id if forward else match.offer.id
                points = gained[at] + (self._points[number] if forward else -self._points[number])
                if there not in gained or points > gained[there]:
                    gained[there] = points
                    through[there] = (number, forward)
                    if there not in queue:
                        queue.append(there)
        return gained, through
