"""What the local API can do beside the ledger: messages, places, accounts."""

from __future__ import annotations

import msgspec

from passby.node.api.shown import Json, plain
from passby.node.iban import epc_code
from passby.node.listing import plain_text
from passby.node.participant import Participant
from passby.node.talk import Held
from passby.node.trades import offer_of, parties_of, terms_in
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.talk import Bid, Kind, Payment, Quote, Words


class Talking:
    """Messages of this node.

    Args:
        participant: the running node.
    """

    def __init__(self, participant: Participant) -> None:
        self._node = participant

    def say(self, trade_id: bytes, text: str) -> None:
        """Say something to the other parties of a trade.

        Raises:
            RefusedError: not a trade of this device, or a party without a key to seal to.
            UsageError: nothing, or too much.
            LocalError: the disk.
        """
        words = plain_text(text)
        if not words:
            raise UsageError("There is nothing to say.", 'passby say TRADE "I am at the gate"')
        node = self._node
        parties = parties_of(node.chains, trade_id)
        if node.chains.author not in parties:
            raise RefusedError("You are no party to this trade.")
        others = sorted(parties - {node.chains.author})
        if not others:
            raise RefusedError("Nobody else takes part in this trade.")
        for party in others:
            node.talk.say(party, Kind.SAY, trade_id, Words(words))

    def about(self, subject: bytes) -> list[Json]:
        """Return what was said about a trade, a lot or a request, oldest first."""
        return [self.shown(held) for held in self._node.talk.about(subject)]

    def shown(self, held: Held) -> Json:
        """Return one message."""
        message, names = held.message, self._node.names
        other = message.author if held.state == "in" else message.to
        return {
            "id": message.id.hex(),
            "kind": message.kind.name.lower(),
            "about": message.about.hex(),
            "author": message.author.hex(),
            "author_name": names.of(message.author),
            "other": other.hex(),
            "other_name": names.of(other),
            "at_ms": message.at_ms,
            "state": held.state,
            **plain(msgspec.to_builtins(message.body, builtin_types=(bytes,))),
        }

    def quotes(self) -> Json:
        """Return what was quoted to this device and can still be taken, and bids for its lots."""
        quoting = self._node.quoting
        return {
            "quotes": [self._with_lot(Held(m, "in")) for m in quoting.standing()],
            "bids": [self._with_lot(Held(m, "in")) for m in quoting.bids()],
        }

    def _with_lot(self, held: Held) -> Json:
        said = held.message.body
        record = self._node.chains.reader.record(
            said.lot if isinstance(said, Quote) else held.message.about
        )
        offer = offer_of(record) if record is not None else None
        return {
            **self.shown(held),
            "name": offer.name if offer else None,
            "unit": str(offer.unit) if offer else None,
        }

    def quote(
        self,
        about: Record,
        lot: Record,
        amount: int | None,
        total_minor: int,
        valid_until_ms: int,
        text: str | None,
    ) -> Json:
        """Answer a request, or a bid (named by the lot and the newest bid for it)."""
        node = self._node
        to = None
        if about.entry.id == lot.entry.id:
            bids = [bid for bid in node.quoting.bids() if bid.about == lot.entry.id]
            if not bids:
                raise RefusedError("Nobody has bid for this lot.", "Name the request instead.")
            to = bids[0].author
            if amount is None and isinstance(bids[0].body, Bid):
                amount = bids[0].body.amount
        message = node.quoting.quote(about, lot, amount, total_minor, valid_until_ms, text, to=to)
        return self._with_lot(Held(message, "waiting"))

    def bid(
        self, lot: Record, amount: int | None, total_minor: int, currency: str, text: str | None
    ) -> Json:
        """Tell a lister what one would give."""
        message = self._node.quoting.bid(lot, amount, total_minor, currency, text)
        return self._with_lot(Held(message, "waiting"))

    def payments(self, trade_id: bytes) -> list[Json]:
        """Return how this device may pay what it owes in a trade, as far as it was told."""
        node = self._node
        trade = node.desk.trade(trade_id)
        terms = terms_in(node.chains, trade)
        if trade.taker != node.chains.author or terms is None:
            return []
        found: list[Json] = []
        for message in node.talk.heard(Kind.PAYMENT):
            if message.about != trade_id or not isinstance(message.body, Payment):
                continue
            said = message.body
            owed = [
                lot
                for lot, leg in zip(terms.lots, trade.legs, strict=False)
                if leg.lister == message.author and leg.commit and leg.money_receipt is None
            ]
            currencies = {lot.currency for lot in owed}
            if len(currencies) != 1:
                continue
            minor, currency = sum(lot.total_minor for lot in owed), currencies.pop()
            code = (
                epc_code(said.name, said.iban, minor, f"passby {trade_id.hex()[:12]}")
                if said.iban and currency == "EUR"
                else None
            )
            found.append(
                {
                    "to": message.author.hex(),
                    "name": said.name,
                    "iban": said.iban,
                    "text": said.text,
                    "total_minor": minor,
                    "currency": currency,
                    "epc": code,
                }
            )
        return found
