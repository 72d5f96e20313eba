"""A lot's queue, and how a taker finds its places: bids that rise until nobody wants to go on.

A lister takes bids for a while instead of whoever comes first. A bid is for a whole amount, and
says what that is worth to its taker beyond the price that is asked. The queue holds those that fit
into the lot and are worth the most together; it tells whoever is beaten what each amount would take
now. A taker plans over every lot that it knows of, with those floors as prices, and bids a STEP
more where that gains it the most; what it holds it gives up again for something plainly better.

Nobody is bound by any of this: what is agreed is said by propose, reserve, confirm and commit.
With true bids the outcome is close to the best that somebody who sees everything could arrange,
since rising prices for places are what an auction of many things at once finds (Bertsekas, 1988).
Pure: values in, verdicts out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from passby.geo.assign import Bid, Take, floors, share, takes

STEP: Final = 20
"""A bid beats a floor by as much at least, or two would outbid each other by ones for hours."""

LEAVES_FOR: Final = 5 * STEP
"""What giving up a standing bid has to gain, or two takers would swap places for ever."""

Floors = Mapping[int, int]
"""For each amount, what has to be beaten."""


class Moves(NamedTuple):
    """What a taker does next: lots whose queue it leaves, and bids for others."""

    leave: list[bytes]
    bids: dict[bytes, Bid]


class Queue:
    """Bids for one lot.

    Args:
        amount: what is to be had.
        places_max: how many bids are held and remembered at most; the least worth go first.
    """

    def __init__(self, amount: int, places_max: int) -> None:
        self.amount = amount
        self._places_max = places_max
        self._held: dict[bytes, Bid] = {}

    @property
    def held(self) -> list[Bid]:
        """The bids that would be taken now, by taker."""
        return [self._held[who] for who in sorted(self._held)]

    def bid(self, who: bytes, amount: int, worth: int) -> list[bytes]:
        """Take a bid in, instead of an earlier one of the same taker; return who is beaten by it.

        That may be the bidder. An amount or a worth that no bid has beats nobody.
        """
        if not 1 <= amount <= self.amount or worth <= 0:
            return [who]
        bids = {**self._held, who: Bid(who, (amount,), worth)}
        won = share((self.amount,), bids.values())[: self._places_max]
        self._held = {bid.who: bid for bid in won}
        return sorted(bids.keys() - self._held.keys())

    def leave(self, who: bytes) -> None:
        """Forget a taker's bid."""
        self._held.pop(who, None)

    def floors(self, most: int) -> dict[int, int]:
        """Return what each amount up to `most` takes now, where the lot holds so much."""
        amounts = range(1, min(most, self.amount) + 1)
        found = floors((self.amount,), self.held, [(amount,) for amount in amounts])
        return {at: floor for at, floor in zip(amounts, found, strict=True) if floor is not None}


class FirstCome(Queue):
    """The queue of a lister that does not wait: whoever comes first, whatever the bid."""

    def bid(self, who: bytes, amount: int, worth: int) -> list[bytes]:
        """Take a bid in where there is room; return the bidder where there is none."""
        free = self.amount - sum(bid.needs[0] for bid in self.held)
        if who in self._held or not 1 <= amount <= free or worth <= 0:
            return [] if who in self._held else [who]
        self._held[who] = Bid(who, (amount,), worth)
        return []

    def floors(self, most: int) -> dict[int, int]:
        """Return which amounts there is room for; none of them has to be beaten."""
        free = self.amount - sum(bid.needs[0] for bid in self.held)
        return dict.fromkeys(range(1, min(most, free) + 1), 0)


class Seeker:
    """One wish's taker, among the queues of the lots that could serve it.

    Args:
        wanted: base units, from however many lots.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.gains: dict[bytes, dict[int, int]] = {}
        """For each lot, what each amount of it would gain at the price asked, the way paid."""
        self.held: dict[bytes, Bid] = {}
        """The bids that stand, or are under way, by lot."""
        self._floors: dict[bytes, dict[int, int]] = {}
        self._bound: set[bytes] = set()

    @property
    def lacking(self) -> int:
        """What no standing bid is for."""
        return self.wanted - sum(bid.needs[0] for bid in self.held.values())

    def knows(self, lot: bytes, gains: Mapping[int, int]) -> None:
        """Take a lot into account; an empty `gains` forgets it."""
        self.gains[lot] = dict(gains)

    def told(self, lot: bytes, told: Floors) -> None:
        """Take in what a lot's queue asks now, for every amount it names; others are not had."""
        known = {amount: told[amount] for amount in self.gains.get(lot, {}) if amount in told}
        self._floors[lot] = known

    def beaten(self, lot: bytes, told: Floors) -> None:
        """Take in that the bid on a lot does not stand, and what its queue asks now."""
        self.held.pop(lot, None)
        self._bound.discard(lot)
        self.told(lot, told)

    def bind(self, lot: bytes) -> None:
        """Take in that a lot is agreed on: its bid stays, whatever else turns up."""
        self._bound.add(lot)

    def moves(self, me: bytes) -> Moves:
        """Return which standing bids to give up and which to make next, as if that were done.

        Standing bids count with what they bid, others with what they would take now. Nothing is
        given up unless that gains more than LEAVES_FOR.
        """
        nets = {lot: self._nets(lot) for lot in self.gains}
        kept = sum(nets[lot].get(bid.needs[0], 0) for lot, bid in self.held.items())
        free = {lot: net for lot, net in nets.items() if lot not in self.held}
        more, plan = takes(self.lacking, free)
        leave: list[bytes] = []
        loose = {lot: net for lot, net in nets.items() if lot not in self._bound}
        if len(loose) > len(free) and free:
            wanted = self.wanted - sum(self.held[lot].needs[0] for lot in self._bound)
            bound = sum(nets[lot].get(self.held[lot].needs[0], 0) for lot in self._bound)
            anew, other = takes(wanted, loose)
            if anew + bound > kept + more + LEAVES_FOR:
                plan = [take for take in other if take.lot not in self.held]
                stays = {take.lot for take in other} | self._bound
                leave = sorted(self.held.keys() - stays)
        for lot in leave:
            del self.held[lot]
        made = {take.lot: self._bid(me, take) for take in plan}
        self.held |= made
        return Moves(leave, made)

    def _bid(self, me: bytes, take: Take) -> Bid:
        floor = self._floor(take.lot, take.amount) or 0
        return Bid(me, (take.amount,), floor + STEP)

    def _nets(self, lot: bytes) -> dict[int, int]:
        standing = self.held.get(lot)
        if standing is not None:
            amount = standing.needs[0]
            return {amount: self.gains[lot].get(amount, 0) - standing.worth}
        found = {}
        for amount, gain in self.gains[lot].items():
            floor = self._floor(lot, amount)
            if floor is not None:
                found[amount] = gain - floor - STEP
        return found

    def _floor(self, lot: bytes, amount: int) -> int | None:
        """Return what the amount takes, 0 while nothing is known, None where it is not had."""
        if lot not in self._floors:
            return 0
        return self._floors[lot].get(amount)
