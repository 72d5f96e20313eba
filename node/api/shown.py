"""Lots, matches, trades and entries as the JSON that the local API answers with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from passby.geo.cells import cell_text, distance_m
from passby.geo.commute import Commute
from passby.geo.lots import BookLot, Side
from passby.geo.match import Match
from passby.ledger.policy import readable
from passby.node.chains import Chains
from passby.node.clock import Clock
from passby.node.custody import Custody, custody_of
from passby.node.desk import Desk
from passby.node.market import Market
from passby.node.names import Names
from passby.node.quorum import Cover
from passby.node.rides import Ride, Rides
from passby.node.trades import terms_in
from passby.node.warnings import warnings_of
from passby.protocol.codec import decode
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import LocalError, RemoteError
from passby.protocol.limits import AMOUNT_MAX, PAYLOAD_MAX
from passby.protocol.payloads import Offer, Request, decode_payload
from passby.protocol.price import Price
from passby.protocol.trade import TAKER, Leg, State, Trade
from passby.protocol.turns import Step, turns
from passby.protocol.types import EntryType

Json = dict[str, Any]

COMMANDS = {
    EntryType.RESERVE: "passby accept {id}",
    EntryType.HANDOVER: "passby handover {id} --code WORDS",
    EntryType.RECEIPT: "passby receive {id}",
    EntryType.RELEASE: "passby cancel {id}",
    EntryType.CANCEL: "passby cancel {id}",
    EntryType.ADJUST: "passby putback {id}",
}
SHORT = 8


class Shown:
    """Turns what the node holds into plain values."""

    def __init__(
        self,
        chains: Chains,
        market: Market,
        desk: Desk,
        names: Names,
        clock: Clock,
        cover: Callable[[Trade], Cover | None] = lambda _trade: None,
        fitted: Callable[[Iterable[str]], list[str]] = lambda _said: [],
    ) -> None:
        self._cover = cover
        self._fitted = fitted
        self._chains = chains
        self._market = market
        self._desk = desk
        self._names = names
        self._clock = clock

    def lot(self, lot: BookLot) -> Json:
        """Return one open lot with what its payload says."""
        record = self._chains.reader.record(lot.id)
        said = _said(record, lot.side)
        stock = self._chains.reader.lot(lot.id) if lot.side is Side.OFFER else None
        now_ms = self._clock()
        return {
            "id": lot.id.hex(),
            "side": lot.side.name.lower(),
            "author": lot.author.hex(),
            "author_name": self._names.of(lot.author),
            "own": lot.author == self._chains.author,
            "name": said.name if said else None,
            "text": said.text if said else None,
            "category": lot.category,
            "unit": str(lot.unit),
            "amount": lot.remaining if lot.side is Side.REQUEST else None,
            "remaining": lot.remaining,
            "reserved": stock.reserved if stock else 0,
            "minimum": lot.minimum,
            "step": lot.step,
            "price": _price(lot.price),
            "total_minor": min(lot.price.total_minor(lot.remaining, now_ms), AMOUNT_MAX),
            "currency": lot.price.currency,
            "best_before_ms": lot.best_before_ms,
            "until_ms": lot.until_ms,
            "window": {"from_ms": lot.window.from_ms, "until_ms": lot.window.until_ms}
            if lot.window
            else None,
            "cell": cell_text(lot.cell),
            "distance_m": distance_m(self._market.home, lot.cell),
            "gtin": said.gtin if said else lot.gtin,
            "condition": str(lot.condition) if lot.condition else None,
            "brand": said.brand if said else None,
            "pay": list(said.pay) if isinstance(said, Offer) else [],
            "needed_until_ms": lot.needed_until_ms,
            "fits": list(said.fits) if isinstance(said, Offer) else [],
            "fits_yours": self._fitted(said.fits) if isinstance(said, Offer) else [],
            "carry_to": _carried_to(said),
            "lent_s": said.lent_s if isinstance(said, Offer) else None,
        }

    def ride(self, ride: Ride, rides: Rides, limit: int) -> Json:
        """Return a ride with at most `limit` stops beside it, the least detour first."""
        from_ms, until_ms = rides.times_ms(ride)
        return {
            "id": ride.id,
            "places": [list(place) for place in ride.places],
            "vehicle": str(ride.vehicle),
            "from_ms": from_ms,
            "until_ms": until_ms,
            "limit_s": ride.limit_s,
            "category": ride.category,
            "stops": [
                {
                    "lot": self.lot(stop.lot),
                    "detour_s": stop.meeting.detour_s,
                    "passing_ms": stop.meeting.passing_ms,
                    "likelihood": round(stop.meeting.likelihood, 2),
                }
                for stop in rides.stops(ride, limit)
            ],
        }

    def match(self, match: Match) -> Json:
        """Return a match with the reasons of its score."""
        return {
            "request": self.lot(match.request),
            "offer": self.lot(match.offer),
            "amount": match.amount,
            "total_minor": min(match.total_minor, AMOUNT_MAX),
            "currency": match.offer.price.currency,
            "score": match.points,
            "distance_m": match.distance_m,
            "reasons": [
                {"part": str(reason.part), "points": reason.points, "words": reason.words}
                for reason in match.explain()
            ],
        }

    def trade(self, trade: Trade, *, entries: bool = False) -> Json:
        """Return a trade as this device sees it, with its entries in order if asked."""
        me, now_ms = self._chains.author, self._clock()
        # A return is open to whoever holds goods. Nobody waits for it, and a taker who has
        # what it wanted is not even told.
        steps = [
            step for step in turns(trade, now_ms) if not step.back or step.party != trade.taker
        ]
        shown: Json = {
            "id": trade.id.hex(),
            "state": str(trade.state),
            "role": self._role(trade),
            "at_ms": trade.propose.at_ms,
            "taker": trade.taker.hex(),
            "taker_name": self._names.of(trade.taker),
            "legs": [self._leg(trade, leg) for leg in trade.legs],
            "respond_by_ms": trade.respond_by_ms,
            "commit_by_ms": trade.commit_by_ms,
            "faults": [
                {
                    "accused": fault.accused.hex(),
                    "name": self._names.of(fault.accused),
                    "rule": fault.rule,
                    "evidence": [found.hex() for found in fault.evidence],
                }
                for fault in trade.faults
            ],
            "warnings": [
                {**warning, "name": self._names.of(bytes.fromhex(warning["author"]))}
                for warning in warnings_of(self._chains, trade)
            ],
            "your_turn": [
                {
                    "step": "return" if step.back else step.type.name.lower(),
                    "number": step.number,
                    "by_ms": step.by_ms,
                    "command": self._command(trade, step),
                    "words": self._turn(trade, step),
                }
                for step in steps
                if step.party == me and not step.automatic and step.type in COMMANDS
            ],
            "waiting_for": [
                {
                    "party": step.party.hex(),
                    "name": self._names.of(step.party),
                    "step": step.type.name.lower(),
                    "number": step.number,
                    "by_ms": step.by_ms,
                    "words": self._turn(trade, step),
                }
                for step in steps
                if step.party != me and not step.back and step.type not in _UNAWAITED
            ],
            "custody": [self._custody(trade, custody) for custody in custody_of(trade)],
            "code": self._desk.code(trade),
            "return_code": self._desk.return_code(trade),
            "witnesses": self._witnesses(trade),
        }
        if entries:
            shown["entries"] = self._entries(trade)
        return shown

    def _witnesses(self, trade: Trade) -> Json | None:
        """Return who vouches for what was set aside for this device, where it asks for that."""
        if trade.taker != self._chains.author or trade.state is not State.RESERVED:
            return None
        try:
            cover = self._cover(trade)
        except LocalError as error:
            return {"reached": False, "cosigned": [], "lacking": [], "why": error.message}
        if cover is None:
            return None
        return {
            "reached": cover.reached,
            "cosigned": [readable(name) for name in cover.cosigned],
            "lacking": [readable(name) for name in cover.lacking],
            "why": cover.why,
        }

    def _role(self, trade: Trade) -> str:
        me = self._chains.author
        if me == trade.taker:
            return "taker"
        for leg in trade.legs:
            if leg.lister == me:
                carries = any(up.to == leg.number for up in trade.legs)
                return "carrier" if carries else "lister"
        return "observer"

    def _named(self, trade: Trade, number: int) -> str:
        key = trade.party(number)
        return self._names.shown(key) if key else "somebody whose offer is not here yet"

    def _turn(self, trade: Trade, step: Step) -> str:
        """Return in words what a step is, and with whom; its subject is left out."""
        leg = trade.legs[step.number - 1] if step.number else None
        if leg is None or step.type not in (EntryType.HANDOVER, EntryType.RECEIPT):
            return _TURNS[step.type]
        giver, to = self._named(trade, leg.number), self._named(trade, leg.to)
        carries = "" if leg.to == TAKER else ", who carries it on"
        if step.type == EntryType.RECEIPT:
            is_money = step.party == leg.lister
            return f"to say that {f'the money of {to}' if is_money else f'what {giver} gives'} came"
        if step.back:
            return f"to give it back to {giver}, if nobody takes it"
        return f"to hand over to {to}{carries}"

    def _custody(self, trade: Trade, custody: Custody) -> Json:
        """Return who has the goods in hand, and by which signed entry."""
        leg = trade.legs[custody.number - 1]
        if custody.holder == TAKER:
            part = "who takes it"
        else:
            part = "who gives it" if custody.holder == custody.number else "who carries it"
        words = f"with {self._named(trade, custody.holder)}, {part}"
        if custody.is_back:
            words = "back " + words
        if custody.holder == custody.number and leg.put_back is not None:
            words += ", on offer again"
        key = trade.party(custody.holder)
        return {
            "number": custody.number,
            "holder": key.hex() if key else None,
            "holder_name": self._names.of(key) if key else None,
            "since_ms": custody.by.at_ms if custody.by else None,
            "entry": custody.by.id.hex() if custody.by else None,
            "words": words,
        }

    def _command(self, trade: Trade, step: Step) -> str:
        if step.back:
            return f"passby return {trade.id.hex()[:SHORT]} --code WORDS"
        command = COMMANDS[step.type].format(id=trade.id.hex()[:SHORT])
        if step.type == EntryType.RECEIPT:
            leg = trade.legs[step.number - 1]
            if leg.lister == step.party and trade.party(leg.to) != step.party:
                command += " --money"
        return command

    def _leg(self, trade: Trade, leg: Leg) -> Json:
        terms = terms_in(self._chains, trade)
        priced = terms.lots[leg.number - 1] if terms and len(terms.lots) >= leg.number else None
        said = _said(self._chains.reader.record(leg.lot), Side.OFFER)
        return {
            "number": leg.number,
            "lot": leg.lot.hex(),
            "name": said.name if said else None,
            "lister": leg.lister.hex() if leg.lister else None,
            "lister_name": self._names.of(leg.lister) if leg.lister else None,
            "amount": leg.amount,
            "unit": str(priced.unit) if priced else None,
            "total_minor": priced.total_minor if priced else None,
            "currency": priced.currency if priced else None,
            "carries": [up.number for up in trade.bringing_to(leg)],
            "to": leg.to,
            "handover_until_ms": leg.handover_until_ms,
            "reserved": leg.reserve is not None,
            "committed": leg.commit is not None,
            "handed_over": leg.handover is not None,
            "returned": leg.returned is not None,
            "received": leg.goods_receipt is not None,
            "paid": leg.money_receipt is not None,
            "handed_amount": _amount_in(leg.handover),
            "received_amount": _amount_in(leg.goods_receipt),
            "paid_minor": _amount_in(leg.money_receipt),
            "disputed": leg.disputed,
        }

    def _entries(self, trade: Trade) -> list[Json]:
        records = self._chains.reader.trade(trade.id)
        records.sort(key=lambda record: (record.entry.at_ms, record.entry.id))
        return [
            {
                "id": record.entry.id.hex(),
                "author": record.entry.author.hex(),
                "author_name": self._names.of(record.entry.author),
                "seq": record.entry.seq,
                "type": type_name(record.entry),
                "at_ms": record.entry.at_ms,
                "words": self._words(trade, record.entry),
                "text": self._desk.words(record),
                "after_fork": self._is_after_fork(record.entry),
            }
            for record in records
        ]

    def _is_after_fork(self, entry: Entry) -> bool:
        false_from = self._chains.false_from(entry.author)
        return false_from is not None and entry.seq >= false_from

    def _words(self, trade: Trade, entry: Entry) -> str:
        name = self._names.shown(entry.author)
        said = _WORDS.get(type_name(entry), "says something about this trade")
        if entry.body.type == EntryType.RECEIPT:
            said = "has the goods" if entry.body.facts[0] == 1 else "has the money"
        elif entry.body.type == EntryType.HANDOVER and not entry.body.stock:
            said = "gives the goods back"
        elif entry.body.type == EntryType.CANCEL and entry.author != trade.taker:
            said = "declines"
        return f"{name} {said}"

    def entry(self, record: Record, *, raw: bool = False) -> Json:
        """Return one entry of a chain, its payload read where it is held."""
        body = record.entry.body
        payload = _payload(record)
        shown: Json = {
            "id": record.entry.id.hex(),
            "author": body.author.hex(),
            "author_name": self._names.of(body.author),
            "seq": body.seq,
            "prev": body.prev.hex() if body.prev else None,
            "at_ms": body.at_ms,
            "type": body.type,
            "type_name": type_name(record.entry),
            "refs": [ref.hex() for ref in body.refs],
            "stock": list(body.stock),
            "facts": plain(list(body.facts)),
            "payload": plain(payload),
            "payload_state": self._payload_state(record),
        }
        if raw:
            shown["raw"] = record.entry.raw.hex()
        return shown

    def _payload_state(self, record: Record) -> str:
        body = record.entry.body
        if body.payload_hash is None:
            return "none"
        if record.payload is not None:
            return "here"
        erased = self._chains.reader.erased(body.author)
        return "erased" if body.seq in erased else "missing"


_UNAWAITED = frozenset({EntryType.CANCEL, EntryType.RELEASE, EntryType.ADJUST})
"""Steps that are open to a party and that nobody waits for."""
_TURNS = {
    EntryType.RESERVE: "to accept",
    EntryType.CONFIRM: "to confirm (its node does)",
    EntryType.COMMIT: "to commit (its node does)",
    EntryType.HANDOVER: "to hand over",
    EntryType.RECEIPT: "to say that it came",
    EntryType.CANCEL: "to step back",
    EntryType.RELEASE: "to let go of what was set aside",
    EntryType.ADJUST: "to put what came back on offer again",
}


def _amount_in(entry: Entry | None) -> int | None:
    """Return how much a handover or a receipt says there was."""
    fact = entry.body.facts[1] if entry is not None else None
    return fact if isinstance(fact, int) else None


_WORDS = {
    "propose": "proposes",
    "reserve": "accepts and sets the goods aside",
    "confirm": "confirms",
    "commit": "commits",
    "handover": "hands over",
    "release": "releases what was set aside",
    "cancel": "cancels",
}


def type_name(entry: Entry) -> str:
    """Return the name of an entry's type, or its number where this version knows none."""
    try:
        return EntryType(entry.body.type).name.lower()
    except ValueError:
        return f"type {entry.body.type}"


def plain(value: Any) -> Any:
    """Return `value` with bytes as hex, for JSON."""
    match value:
        case bytes():
            return value.hex()
        case list():
            return [plain(member) for member in value]
        case dict():
            return {key: plain(member) for key, member in value.items()}
        case _:
            return value


def _price(price: Price) -> Json:
    shown: Json = {
        "minor": price.minor,
        "per_amount": price.per_amount,
        "currency": price.currency,
    }
    if price.knots:
        shown["knots"] = [list(knot) for knot in price.knots]
    return shown


def _said(record: Record | None, side: Side) -> Offer | Request | None:
    if record is None or record.payload is None:
        return None
    try:
        if side is Side.OFFER:
            return decode_payload(record.payload, Offer)
        return decode_payload(record.payload, Request)
    except RemoteError:
        return None


def _carried_to(said: Offer | Request | None) -> str | None:
    """Return the cell to which an offer's room goes."""
    if not isinstance(said, Offer) or said.carriage is None:
        return None
    return cell_text(said.carriage.to)


def _payload(record: Record) -> Any:
    if record.payload is None:
        return None
    try:
        return decode(record.payload, PAYLOAD_MAX)
    except RemoteError:
        return None


def shown_commute(commute: Commute) -> Json:
    """Return a habit without its track."""
    return {
        "weekdays": list(commute.weekdays),
        "minute": commute.minute,
        "trips": commute.trips,
        "from": list(commute.track[0][:2]),
        "to": list(commute.track[-1][:2]),
    }
