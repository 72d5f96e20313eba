"""Quotes and bids: prices agreed on beside the ledger, before anything is proposed.

A lister answers a request, or a bid for its lot, with a quote; the taker proposes at the quoted
price, and the lister's node accepts by itself what its person has quoted to this taker. Only the
propose's terms go into the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping

from passby.node.agreement import check_amount
from passby.node.chains import Chains
from passby.node.clock import Clock
from passby.node.listing import plain_text
from passby.node.talk import Talk
from passby.node.trades import offer_of, terms_in
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError, RemoteError, UsageError
from passby.protocol.limits import AMOUNT_MAX
from passby.protocol.payloads import Request, decode_payload
from passby.protocol.talk import Bid, Kind, Message, Quote
from passby.protocol.trade import Trade
from passby.protocol.types import EntryType


class Quoting:
    """What was quoted and bid, by this device and to it.

    Args:
        talk: carries both.
        chains: what they are about.
        clock: for what is over.
    """

    def __init__(self, talk: Talk, chains: Chains, clock: Clock) -> None:
        self._talk = talk
        self._chains = chains
        self._clock = clock

    # --- saying ------------------------------------------------------------------------

    def quote(
        self,
        about: Record,
        lot: Record,
        amount: int | None,
        total_minor: int,
        valid_until_ms: int,
        text: str | None,
        *,
        to: bytes | None = None,
    ) -> Message:
        """Promise `amount` of an own lot for `total_minor`, to whoever wrote the request `about`.

        With `to`, `about` is the lot itself: an answer to that device's bid.

        Raises:
            RefusedError: not an own lot, too little left, or nothing that could be answered.
            UsageError: a price or a time that cannot be.
        """
        me = self._chains.author
        stock = self._chains.reader.lot(lot.entry.id)
        if lot.entry.author != me or stock is None:
            raise RefusedError("This is not an offer of yours.", "`passby book --own` lists them.")
        offer = offer_of(lot)
        if to is None:
            to = about.entry.author
            asked = _request_of(about)
            if to == me or asked is None:
                raise RefusedError("This is nobody else's request.", "`passby book --wanted`")
            if asked.unit is not offer.unit:
                raise RefusedError("The request and the lot are not counted in one unit.")
            amount = min(asked.amount, stock.remaining) if amount is None else amount
        taken = stock.remaining if amount is None else amount
        check_amount(offer, taken, stock.remaining)
        if not 0 <= total_minor <= AMOUNT_MAX:
            raise UsageError("This price is more than can be counted.")
        if valid_until_ms <= self._clock():
            raise UsageError("The quote would be over already.", "Give a later --valid.")
        body = Quote(
            lot.entry.id,
            taken,
            total_minor,
            offer.price.currency,
            valid_until_ms,
            offer.window,
            plain_text(text) if text else None,
        )
        return self._talk.say(to, Kind.QUOTE, about.entry.id, body)

    def bid(
        self, lot: Record, amount: int | None, total_minor: int, currency: str, text: str | None
    ) -> Message:
        """Tell a lister what one would give for `amount` of its lot.

        Raises:
            RefusedError: an own lot, one that is gone, or an amount that its offer does not allow.
            UsageError: another currency, or a price that cannot be.
        """
        stock = self._chains.reader.lot(lot.entry.id)
        if stock is None or lot.entry.author == self._chains.author:
            raise RefusedError("This is no lot of somebody else.", "`passby book` lists them.")
        offer = offer_of(lot)
        taken = stock.remaining if amount is None else amount
        check_amount(offer, taken, stock.remaining)
        if currency != offer.price.currency:
            raise UsageError(f"This offer is in {offer.price.currency}, not in {currency}.")
        if not 0 <= total_minor <= AMOUNT_MAX:
            raise UsageError("This price is more than can be counted.")
        body = Bid(taken, total_minor, currency, plain_text(text) if text else None)
        return self._talk.say(lot.entry.author, Kind.BID, lot.entry.id, body)

    # --- reading -----------------------------------------------------------------------

    def standing(self) -> list[Message]:
        """Return the quotes to this device that can still be taken, the last first."""
        now_ms = self._clock()
        found = [
            message
            for message in self._talk.heard(Kind.QUOTE)
            if isinstance(message.body, Quote) and message.body.valid_until_ms >= now_ms
        ]
        return sorted(found, key=lambda message: (-message.at_ms, message.id))

    def bids(self) -> list[Message]:
        """Return the bids for own lots that have something left, the last first."""
        found = []
        for message in self._talk.heard(Kind.BID):
            stock = self._chains.reader.lot(message.about)
            if stock is not None and stock.remaining:
                found.append(message)
        return sorted(found, key=lambda message: (-message.at_ms, message.id))

    # --- what the desk asks ---------------------------------------------------------------

    def quoted(self, trade: Trade) -> Mapping[bytes, int]:
        """Return the totals of own lots in a trade that its taker was promised for its amounts."""
        at_ms = trade.propose.at_ms
        amounts = {leg.lot: leg.amount for leg in trade.legs if leg.lister == self._chains.author}
        return {
            body.lot: body.total_minor
            for message in self._talk.said(Kind.QUOTE)
            if message.to == trade.taker
            and isinstance(body := message.body, Quote)
            and amounts.get(body.lot) == body.amount
            and message.at_ms <= at_ms <= body.valid_until_ms
            and self._is_meant(trade, body)
        }

    def _is_meant(self, trade: Trade, body: Quote) -> bool:
        """Tell whether the terms name the quoted total: a taker may as well take the offer."""
        terms = terms_in(self._chains, trade)
        return terms is not None and any(
            lot.lot == body.lot and lot.total_minor == body.total_minor for lot in terms.lots
        )

    def accepts(self, trade: Trade) -> bool:
        """Tell whether every own lot of a trade was quoted so to its taker."""
        own = {leg.lot for leg in trade.legs if leg.lister == self._chains.author}
        return bool(own) and own <= self.quoted(trade).keys()


def _request_of(record: Record) -> Request | None:
    if record.entry.body.type != EntryType.REQUEST or record.payload is None:
        return None
    try:
        return decode_payload(record.payload, Request)
    except RemoteError:
        return None
