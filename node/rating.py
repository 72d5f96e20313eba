"""Ratings: what the parties of a settled trade say of it, once each, in their own chains."""

from __future__ import annotations

from typing import NamedTuple

from passby.ledger.draft import Draft
from passby.node.chains import Chains
from passby.node.listing import plain_text
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError, RemoteError, UsageError
from passby.protocol.payloads import Note, decode_payload, encode_payload
from passby.protocol.trade import State, Trade
from passby.protocol.types import STARS_MAX, EntryType


class Rating(NamedTuple):
    """What a party says of a trade: 1 to STARS_MAX stars, and words for all to read."""

    author: bytes
    at_ms: int
    stars: int
    text: str | None


def ratings_of(chains: Chains, trade: Trade) -> list[Rating]:
    """Return the ratings of a trade that count: of a settled one the first of each party."""
    if trade.state is not State.SETTLED:
        return []
    found = []
    for party in sorted(trade.parties()):
        said = chains.reader.noted(EntryType.RATING, trade.id, party)
        stars = said[0].entry.body.facts[0] if said else None
        if isinstance(stars, int):
            found.append(Rating(party, said[0].entry.at_ms, stars, _text(said[0])))
    return found


async def rate(chains: Chains, trade: Trade, stars: int, text: str | None) -> None:
    """Rate a settled trade of this device, once.

    Raises:
        RefusedError: not its trade, not settled, or rated already.
        UsageError: no such number of stars.
        LocalError: nothing can be appended now.
    """
    if chains.author not in trade.parties():
        raise RefusedError("You are no party to this trade.")
    if trade.state is not State.SETTLED:
        raise RefusedError("A trade is rated once it is settled.", "`passby trade show` tells how.")
    if chains.reader.noted(EntryType.RATING, trade.id, chains.author):
        raise RefusedError("You have rated this trade; the first word counts.")
    if not 1 <= stars <= STARS_MAX:
        raise UsageError(f"A rating is 1 to {STARS_MAX} stars.")
    payload = encode_payload(Note(plain_text(text))) if text else None
    draft = Draft(EntryType.RATING, (trade.id,), (stars,), payload)
    await chains.say(lambda _at_ms: [draft])


def _text(record: Record) -> str | None:
    if record.payload is None:
        return None
    try:
        return decode_payload(record.payload, Note).text
    except RemoteError:
        return None
