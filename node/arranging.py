"""Where to come and how to pay: told to the other side once it is agreed, and not before.

The lot's cell is all that an offer shows. The exact place goes, sealed, to whoever comes to
fetch the goods when the trade is CONFIRMED; how to pay, to the taker with the own commit.
"""

from __future__ import annotations

import logging

from passby.node.chains import Chains
from passby.node.talk import Talk
from passby.node.trades import owed_minor
from passby.protocol.errors import LocalError
from passby.protocol.talk import Body, Kind, Payment, Words
from passby.protocol.trade import TAKER, State, Trade

_AGREED = frozenset({State.CONFIRMED, State.IN_CUSTODY})
log = logging.getLogger(__name__)


class Arranging:
    """Tells the own place and account to the parties that need them.

    Args:
        talk: says it, sealed.
        chains: who this device is, and what a trade costs.
        place: the exact place; None tells none.
        payment: how to pay; None tells nothing.
    """

    def __init__(
        self, talk: Talk, chains: Chains, place: str | None, payment: Payment | None
    ) -> None:
        self._talk = talk
        self._chains = chains
        self._place = Words(place) if place else None
        self._payment = payment

    def see_trade(self, trade: Trade) -> None:
        """Tell what this trade, as it stands now, calls for; what was told is not told again."""
        me = self._chains.author
        if trade.state not in _AGREED:
            return
        if self._place is not None:
            for party in _comers(trade, me):
                self._tell(trade, party, Kind.PLACE, self._place)
        if self._payment is not None and trade.taker != me:
            own = [leg for leg in trade.legs if leg.lister == me and leg.commit]
            if any(owed_minor(self._chains, trade, leg) for leg in own):
                self._tell(trade, trade.taker, Kind.PAYMENT, self._payment)

    def _tell(self, trade: Trade, party: bytes, kind: Kind, body: Body) -> None:
        told = (m for m in self._talk.said(kind) if m.about == trade.id and m.to == party)
        if any(message.body == body for message in told):
            return
        try:
            self._talk.say(party, kind, trade.id, body)
        except LocalError as error:
            log.warning("trade %s: %s cannot be told: %s", trade.id.hex()[:12], kind.name, error)


def _comers(trade: Trade, me: bytes) -> set[bytes]:
    """Return who comes to this party's place: to fetch its goods, or to bring it some."""
    found: set[bytes] = set()
    for leg in trade.legs:
        receiver = trade.party(leg.to)
        carried = any(True for _ in trade.bringing_to(leg))
        if leg.lister == me and receiver is not None and not carried:
            found.add(receiver)
        if receiver == me and leg.to == TAKER and carried and leg.lister is not None:
            found.add(leg.lister)
    return found - {me}
