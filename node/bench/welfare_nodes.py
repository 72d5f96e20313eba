"""The nodes of a town, trading: what they come to among themselves, on virtual time.

What is real: the signed entries, composed under the stock rule (`ledger.draft`); each trade's
fold and turns (`protocol.trade`, `protocol.turns`), by which every step is taken and every outcome
counted; matching (`geo.match.fit`, `geo.corridor.meeting`); queues and bids (`geo.places`).
What is not: the network is a post with delay and loss and no libp2p; bids travel unsealed; there
are no argon2 codes, and a handover is the event that both parties come. Whole participants with
their sync are tried elsewhere; two hundred of them would take an hour here.

Nobody sees more than a node does: of a lot what its offer says, its cell included, when gossip or
the next sync has brought it; of its queue what it was told in answer to an own bid; of a way to
it what the own track and that cell say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from passby.geo.assign import Bid
from passby.geo.cells import topic_cell
from passby.geo.lots import BookLot, offered, wanted
from passby.geo.match import Match, fit
from passby.geo.places import FirstCome, Queue, Seeker
from passby.ledger.chain import Append
from passby.ledger.draft import Draft, OpenLot, compose
from passby.ledger.ingest import Overlay, ingest
from passby.ledger.store_memory import MemoryStore
from passby.node.bench.welfare_people import OVERSTATED, Kind, Memory, Post
from passby.node.bench.welfare_steps import draft_of, let_down, with_bid
from passby.node.bench.welfare_town import (
    STARTS_MS,
    Lot,
    Town,
    Trip,
    Wish,
    guessed_trip,
    welfare_minor,
)
from passby.protocol.entry import Entry, Record
from passby.protocol.keys import SigningKey
from passby.protocol.limits import RESPOND_WITHIN_S
from passby.protocol.payloads import Propose, Terms, encode_payload
from passby.protocol.terms import terms_hash, terms_of
from passby.protocol.trade import TAKER, State, Trade, fold
from passby.protocol.turns import Step, turns
from passby.protocol.types import EntryType

COLLECTS_MS: Final = 40 * 60_000
"""How long a lister collects bids for a lot before it answers."""
REOPENS_MS: Final = 2 * 60_000
"""How long it collects for what has come free, or was left."""
ASKS_AGAIN_MS: Final = 10_000
"""After which silence a bid is sent again."""
ASKS_MAX: Final = 4
REFRESH_MS: Final = 3 * 60_000
"""How often a standing bid is sent again, in case word was lost that it is beaten."""
COMES_LATE_MS: Final = 30 * 60_000
"""How long after the time agreed a party is waited for."""
PLACES_MAX: Final = 64


@dataclass(eq=False)
class _Selling:
    """An own lot and whoever bids for it."""

    lot: Lot
    entry: Entry
    queue: Queue
    closes_ms: int
    bidders: dict[bytes, tuple[Node, int]] = field(default_factory=dict)
    """By wish: its node, and the most it has asked for."""
    promised: dict[bytes, Bid] = field(default_factory=dict)
    """Those that were told to propose and have not."""


@dataclass(eq=False)
class _Seeking:
    """An own wish and the lots that would serve it."""

    wish: Wish
    id: bytes
    request: BookLot
    seeker: Seeker
    trips: dict[bytes, Trip] = field(default_factory=dict)
    answered: dict[bytes, int] = field(default_factory=dict)
    """For each lot a number that changes when its lister answers."""


class _Seen(NamedTuple):
    """A lot as others hear of it."""

    lister: Node
    lot: Lot
    entry: Entry
    book: BookLot


@dataclass(eq=False)
class Deal:
    """A trade as one of its parties holds it."""

    id: bytes
    propose: Entry
    terms: Terms
    salt: bytes
    other: Node
    selling: _Selling | None
    seeking: _Seeking | None
    entries: dict[bytes, Entry]
    agreed: Trip
    is_over: bool = False


class Node:
    """One person's node."""

    def __init__(
        self,
        number: int,
        town: Town,
        post: Post,
        kind: Kind,
        memory: Memory,
        *,
        first_come: bool,
    ) -> None:
        self.number = number
        self.kind = kind
        self.key = SigningKey(sha256(b"town %d" % number).digest())
        self.neighbours: list[Node] = []
        self.sellings: dict[bytes, _Selling] = {}
        self.deals: dict[bytes, Deal] = {}
        self.asked = 0
        self.said = 0
        self._town = town
        self._post = post
        self._first_come = first_come
        self._memory = memory
        self._view = Overlay(MemoryStore())
        self._seekings: list[_Seeking] = []
        self._seen: dict[bytes, _Seen] = {}
        self._salts = 0
        commitment = sha256(b"root of town %d" % number).digest()
        self._say(Draft(EntryType.GENESIS, facts=(commitment,)))

    def _say(self, draft: Draft) -> Record:
        (record,) = compose(self.key, self._view, [draft], self._post.now_ms, self._salt)
        verdict = ingest(self._view, record.entry)
        assert isinstance(verdict, Append)
        self._view.append(record, verdict)
        self.said += 1
        return record

    def _salt(self, size: int) -> bytes:
        self._salts += 1
        return sha256(b"%d %d" % (self.number, self._salts)).digest()[:size]

    # --- listing -----------------------------------------------------------------------

    def list_lot(self, lot: Lot) -> None:
        """Publish an offer."""
        record = self._say(
            Draft(
                EntryType.OFFER,
                facts=(topic_cell(lot.offer.cell), lot.until_ms),
                payload=encode_payload(lot.offer),
                move=OpenLot(lot.pieces),
            )
        )
        entry, now_ms = record.entry, self._post.now_ms
        queue = (FirstCome if self._first_come else Queue)(lot.pieces, PLACES_MAX)
        closes_ms = now_ms if self._first_come else now_ms + COLLECTS_MS
        selling = self.sellings[entry.id] = _Selling(lot, entry, queue, closes_ms)
        self._post.at(closes_ms, lambda: self._close(selling))
        book = offered(entry.id, self.key.public, entry.at_ms, lot.until_ms, lot.pieces, lot.offer)
        seen = _Seen(self, lot, entry, book)
        for node in self.neighbours:
            self._post.gossip(lambda node=node: node.hear(seen))  # type: ignore[misc]  # mypy: default

    def asked_for(
        self, lot: bytes, who: bytes, taker: Node, bid: Bid, answer: Callable[..., None]
    ) -> None:
        """Take in a bid, and answer it."""
        if self.kind is Kind.VANISHES:
            return
        selling = self.sellings[lot]
        queue, amount = selling.queue, bid.needs[0]
        selling.bidders[who] = (taker, amount)
        if self._doubts(taker):
            self._post.send(lambda: answer(lot, held=False, floors={}))
            return
        if who in selling.promised:
            self._post.send(lambda: taker.invited(lot, who))
            return
        if selling.closes_ms < self._post.now_ms:
            self._reopen(selling)
        beaten = queue.bid(who, amount, bid.worth)
        floors = queue.floors(amount)
        held = who not in beaten
        self._post.send(lambda: answer(lot, held=held, floors=floors))
        for loser in beaten:
            if loser != who:
                self._tell_beaten(selling, loser)

    def left(self, lot: bytes, who: bytes) -> None:
        """Take in that a taker has found something better; tell who may have its place."""
        selling = self.sellings[lot]
        if self.kind is Kind.VANISHES:
            return
        promised = selling.promised.pop(who, None)
        if promised is not None:
            self._free(selling, promised.needs[0])
            return
        before = selling.queue.held
        selling.queue.leave(who)
        held = {bid.who for bid in selling.queue.held}
        if len(before) > len(held):
            for loser in sorted(selling.bidders.keys() - held - {who}):
                self._tell_beaten(selling, loser)

    def _tell_beaten(self, selling: _Selling, loser: bytes) -> None:
        node, most = selling.bidders[loser]
        floors = selling.queue.floors(most)
        self._post.send(lambda: node.beaten(selling.entry.id, loser, floors))

    def _reopen(self, selling: _Selling) -> None:
        wait_ms = 0 if self._first_come else REOPENS_MS
        selling.closes_ms = self._post.now_ms + wait_ms
        self._post.at(selling.closes_ms, lambda: self._close(selling))

    def _close(self, selling: _Selling) -> None:
        """Ask those who hold a place to propose."""
        for bid in selling.queue.held:
            who, (node, _) = bid.who, selling.bidders[bid.who]
            selling.queue.leave(who)
            selling.queue.amount -= bid.needs[0]
            selling.promised[who] = bid
            for tries in range(ASKS_MAX):
                self._post.at(
                    self._post.now_ms + tries * ASKS_AGAIN_MS,
                    lambda who=who, node=node: self._invite(selling, who, node),  # type: ignore[misc]  # as above
                )
            after_ms = self._post.now_ms + RESPOND_WITHIN_S * 1000
            self._post.at(after_ms, lambda who=who: self._unanswered(selling, who))  # type: ignore[misc]  # as above

    def _invite(self, selling: _Selling, who: bytes, node: Node) -> None:
        if who in selling.promised:
            self._post.send(lambda: node.invited(selling.entry.id, who))

    def _unanswered(self, selling: _Selling, who: bytes) -> None:
        bid = selling.promised.pop(who, None)
        if bid is not None:
            self._memory.did_not_answer(selling.bidders[who][0].number, self.number)
            self._free(selling, bid.needs[0])

    def _free(self, selling: _Selling, amount: int) -> None:
        """Have `amount` again: whoever was beaten may bid anew."""
        selling.queue.amount += amount
        if self._post.now_ms < selling.lot.until_ms:
            self._reopen(selling)
            for who, (node, most) in sorted(selling.bidders.items()):
                if who not in selling.promised and not self._doubts(node):
                    floors = selling.queue.floors(max(most, amount))
                    self._post.send(
                        lambda node=node, who=who, floors=floors: node.beaten(  # type: ignore[misc]  # as above
                            selling.entry.id, who, floors
                        )
                    )

    # --- wanting -----------------------------------------------------------------------

    def hear(self, seen: _Seen) -> None:
        """Take in that a lot was listed."""
        self._seen[seen.entry.id] = seen
        for seeking in self._seekings:
            self._weigh(seeking, seen)
            self._seek(seeking)

    def want(self, wish: Wish) -> None:
        """Begin to look for what a wish asks for."""
        self._salts += 1
        at_ms = self._post.now_ms
        wish_id = sha256(b"wish %d %d" % (self.number, self._salts)).digest()
        request = wanted(
            wish_id, self.key.public, at_ms, wish.until_ms, wish.request.amount, wish.request
        )
        seeking = _Seeking(wish, wish_id, request, Seeker(wish.request.amount))
        self._seekings.append(seeking)
        for seen in self._seen.values():
            self._weigh(seeking, seen)
        self._seek(seeking)

    def _weigh(self, seeking: _Seeking, seen: _Seen) -> None:
        """Note what each amount of a lot would gain now, as far as this node can know."""
        lot, wish, now_ms = seen.entry.id, seeking.wish, self._post.now_ms
        trip = None
        if self._may_match(seeking, seen) and not self._doubts(seen.lister):
            trip = guessed_trip(self._town, wish, seen.lot, now_ms)
        gains: dict[int, int] = {}
        if trip is not None:
            seeking.trips[lot] = trip
            believed = wish if self.kind is Kind.HONEST else _overstated(wish)
            asked = seen.lot.offer.price.minor_at(now_ms)
            for amount in range(1, min(seeking.seeker.wanted, seen.lot.pieces) + 1):
                gains[amount] = welfare_minor(believed, asked, trip, amount)
        seeking.seeker.knows(lot, gains)

    def _doubts(self, other: Node) -> bool:
        return self._memory.is_doubted(other.number, self.number)

    def _may_match(self, seeking: _Seeking, seen: _Seen) -> bool:
        """Ask every hard rule; for who passes by the place is one of `meeting`'s."""
        request = seeking.request
        if self._town.people[self.number].way is not None:
            request = msgspec.structs.replace(request, cell=seen.book.cell)
        if self.kind is not Kind.HONEST:
            price = msgspec.structs.replace(request.price, minor=request.price.minor * OVERSTATED)
            request = msgspec.structs.replace(request, price=price)
        return isinstance(fit(seen.book, request, self._post.now_ms), Match)

    def _seek(self, seeking: _Seeking) -> None:
        moves = seeking.seeker.moves(seeking.id)
        for lot in moves.leave:
            lister = self._seen[lot].lister
            self._post.send(lambda lister=lister, lot=lot: lister.left(lot, seeking.id))  # type: ignore[misc]  # as above
        for lot, bid in moves.bids.items():
            self._ask(seeking, lot, bid, 1)

    def _ask(self, seeking: _Seeking, lot: bytes, bid: Bid, tries: int) -> None:
        if seeking.seeker.held.get(lot) != bid or self._is_agreed(seeking, lot):
            return
        self.asked += 1
        lister, before = self._seen[lot].lister, seeking.answered.get(lot, 0)

        def answer(lot: bytes, *, held: bool, floors: dict[int, int]) -> None:
            seeking.answered[lot] = seeking.answered.get(lot, 0) + 1
            if seeking.seeker.held.get(lot) != bid:
                return
            if not held:
                self.beaten(lot, seeking.id, floors)

        def look() -> None:
            if seeking.seeker.held.get(lot) != bid or self._is_agreed(seeking, lot):
                return
            if seeking.answered.get(lot, 0) != before:
                again_ms = self._post.now_ms + REFRESH_MS
                self._post.at(again_ms, lambda: self._ask(seeking, lot, bid, 1))
            elif tries < ASKS_MAX:
                self._ask(seeking, lot, bid, tries + 1)
            else:
                self._give_up(seeking, lot)

        self._post.send(lambda: lister.asked_for(lot, seeking.id, self, bid, answer))
        self._post.at(self._post.now_ms + ASKS_AGAIN_MS, look)

    def _is_agreed(self, seeking: _Seeking, lot: bytes) -> bool:
        return any(
            deal.seeking is seeking and deal.propose.body.refs[0] == lot and not deal.is_over
            for deal in self.deals.values()
        )

    def _give_up(self, seeking: _Seeking, lot: bytes) -> None:
        seeking.seeker.beaten(lot, {})
        seeking.seeker.knows(lot, {})
        self._seek(seeking)

    def beaten(self, lot: bytes, wish_id: bytes, floors: dict[int, int]) -> None:
        """Take in that a bid does not stand, or what another would take now."""
        for seeking in self._seekings:
            if seeking.id == wish_id and not self._is_agreed(seeking, lot):
                if self._post.now_ms > STARTS_MS:
                    self._weigh(seeking, self._seen[lot])
                seeking.seeker.beaten(lot, floors)
                self._seek(seeking)

    def invited(self, lot: bytes, wish_id: bytes) -> None:
        """Propose for a lot in which this node holds a place, if it still wants that."""
        for seeking in self._seekings:
            bid = seeking.seeker.held.get(lot)
            if seeking.id == wish_id and bid is not None and not self._is_agreed(seeking, lot):
                self._propose(seeking, lot, bid)

    def _propose(self, seeking: _Seeking, lot: bytes, bid: Bid) -> None:
        seen, now_ms, amount = self._seen[lot], self._post.now_ms, bid.needs[0]
        trip = seeking.trips[lot]
        terms = with_bid(terms_of([(lot, seen.lot.offer, amount)], now_ms, None), self._pays(bid))
        salt = self._salt(16)
        record = self._say(
            Draft(
                EntryType.PROPOSE,
                (lot,),
                (
                    terms_hash(salt, terms),
                    now_ms + RESPOND_WITHIN_S * 1000,
                    amount,
                    TAKER,
                    max(trip.at_ms, now_ms) + COMES_LATE_MS,
                ),
                encode_payload(Propose(terms, salt)),
            )
        )
        entry = record.entry
        known = {entry.id: entry, seen.entry.id: seen.entry}
        deal = Deal(entry.id, entry, terms, salt, seen.lister, None, seeking, known, trip)
        self.deals[deal.id] = deal
        seeking.seeker.bind(lot)
        self._advance(deal)

    # --- a trade's steps ---------------------------------------------------------------

    def receive(self, sender: Node, wish_id: bytes, said: Deal, entries: list[Entry]) -> None:
        """Take in entries of a trade, and take the steps that follow."""
        propose, terms = entries[0], said.terms
        deal = self.deals.get(propose.id)
        if deal is None:
            selling = self.sellings[propose.body.refs[0]]
            bid = selling.promised.get(wish_id)
            if bid is None or propose.body.facts[2] != bid.needs[0]:
                return
            named = [(selling.entry.id, selling.lot.offer, bid.needs[0])]
            due = with_bid(terms_of(named, propose.at_ms, None), self._pays(bid))
            if terms != due or terms_hash(said.salt, terms) != propose.body.facts[0]:
                return
            del selling.promised[wish_id]
            known = {selling.entry.id: selling.entry}
            deal = Deal(
                propose.id, propose, terms, said.salt, sender, selling, None, known, said.agreed
            )
            self.deals[deal.id] = deal
        if any(entry.id not in deal.entries for entry in entries):
            deal.entries.update({entry.id: entry for entry in entries})
            self._advance(deal)

    def trade(self, deal: Deal) -> Trade:
        """Return the fold of a trade, now."""
        return fold(deal.propose, deal.entries.values(), self._post.now_ms)

    def _advance(self, deal: Deal) -> None:
        """Take own steps while there are any, tell the other party, and look again later."""
        if deal.is_over:
            return
        trade = self.trade(deal)
        while (step := self._next_step(deal, trade)) is not None:
            entry = self._say(draft_of(trade, step, self._post.now_ms)).entry
            deal.entries[entry.id] = entry
            trade = self.trade(deal)
        self._tell(deal)
        match trade.state:
            case State.PROPOSED | State.RESERVED:
                self._post.at(self._post.now_ms + ASKS_AGAIN_MS, lambda: self._advance(deal))
            case State.CONFIRMED:
                late_ms = trade.legs[0].handover_until_ms + 1
                if self._post.now_ms < late_ms:
                    self._post.at(deal.agreed.at_ms, lambda: self._meet(deal))
                    self._post.at(late_ms, lambda: self._advance(deal))
            case _:
                self._end(deal)

    def _next_step(self, deal: Deal, trade: Trade) -> Step | None:
        for step in turns(trade, self._post.now_ms):
            mine = step.party == self.key.public
            if not mine or (self.kind is Kind.VANISHES and step.type == EntryType.CONFIRM):
                continue
            if step.automatic or (step.type == EntryType.RESERVE and deal.selling is not None):
                return step
        return None

    def _pays(self, bid: Bid) -> int:
        """Return what a place is paid with: a bid is no mere word."""
        return 0 if self._first_come else bid.worth

    def _tell(self, deal: Deal) -> None:
        entries = [deal.propose, *(e for e in deal.entries.values() if e.author == self.key.public)]
        wish_id = deal.seeking.id if deal.seeking is not None else b""
        self._post.send(lambda: deal.other.receive(self, wish_id, deal, entries))

    def _meet(self, deal: Deal) -> None:
        """Hand over, where both come."""
        if self.kind is not Kind.STAYS_AWAY and deal.other.kind is not Kind.STAYS_AWAY:
            deal.is_over = True
            self._memory.kept(self.number, deal.other.number)

    def _end(self, deal: Deal) -> None:
        """Look for another, when a trade has come to nothing."""
        if deal.is_over:
            return
        deal.is_over = True
        if let_down(self.trade(deal), self.key.public):
            self._memory.broke(deal.other.number, self.number)
        lot = deal.propose.body.refs[0]
        if deal.selling is not None:
            if self.trade(deal).legs[0].reserves:
                self._free(deal.selling, deal.propose.body.facts[2])  # type: ignore[arg-type]  # an amount
        elif deal.seeking is not None:
            self._give_up(deal.seeking, lot)


def _overstated(wish: Wish) -> Wish:
    price = msgspec.structs.replace(wish.request.price, minor=wish.request.price.minor * OVERSTATED)
    return wish._replace(request=msgspec.structs.replace(wish.request, price=price))
