"""Saved wishes: requests that nobody hears of, held against every lot as it arrives.

A wish is matched by the rules of a request, on this node alone; nothing of it is published.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from passby.geo.lots import BookLot, Side, wanted
from passby.geo.match import Match, fit, matches_for_request
from passby.node.clock import Clock
from passby.node.listing import Listed, draft_of
from passby.node.market import Market
from passby.node.private import PrivateFile
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.limits import AT_MS_MAX, WISHES_MAX
from passby.protocol.payloads import Request, decode_payload


class Wish(msgspec.Struct, frozen=True):
    """What somebody here would take: a request that is kept at home.

    Attributes:
        id: to name it by.
        saved_ms: when it was saved; it stands until `listed.until_ms`, or until it is dropped.
    """

    id: Annotated[str, Meta(max_length=12)]
    saved_ms: int
    listed: Listed


class Wishes:
    """The wishes of this node.

    Args:
        path: the private file that keeps them; None keeps them in memory.
        market: whose offers are looked at.
        me: this device's key; its own lots fulfil nothing.
        clock: for prices and what is over.
    """

    def __init__(self, path: Path | None, market: Market, me: bytes, clock: Clock) -> None:
        empty: tuple[Wish, ...] = ()
        self._file: PrivateFile[tuple[Wish, ...]] = PrivateFile(path, tuple[Wish, ...], empty)
        self._market = market
        self._me = me
        self._clock = clock
        self._on_fulfilled: list[Callable[[Wish, Match], None]] = []
        market.on_lot(self._heard_lot)

    def on_fulfilled(self, tell: Callable[[Wish, Match], None]) -> None:
        """Call `tell` with each newly listed lot that a wish fits."""
        self._on_fulfilled.append(tell)

    def held(self) -> list[Wish]:
        """Return the wishes that stand, the oldest first.

        Raises:
            ConfigError: their file cannot be read.
        """
        now_ms = self._clock()
        return [wish for wish in self._file.read() if (wish.listed.until_ms or now_ms) >= now_ms]

    def save(self, listed: Listed) -> Wish:
        """Keep a wish and return it with its id.

        Raises:
            UsageError: it is no request, or one that cannot be.
            RefusedError: there are WISHES_MAX already.
            LocalError: the disk.
        """
        if listed.side != "request":
            raise UsageError("A wish is a request.")
        now_ms = self._clock()
        draft_of(listed, self._market.home, now_ms)  # it says what cannot be
        kept = self.held()
        if len(kept) >= WISHES_MAX:
            raise RefusedError(
                f"{WISHES_MAX} wishes are saved already.", "Drop one: `passby wish drop ID`."
            )
        wish = Wish(secrets.token_hex(4), now_ms, listed)
        self._file.write((*kept, wish))
        return wish

    def drop(self, wish_id: str) -> Wish:
        """Forget a wish, by its id or the beginning of it.

        Raises:
            RefusedError: there is none, or several.
        """
        kept = self.held()
        found = [wish for wish in kept if wish_id and wish.id.startswith(wish_id)]
        if len(found) != 1:
            raise RefusedError(
                f"{len(found) or 'No'} wishes have an id that begins with “{wish_id[:20]}”.",
                "`passby wish list` shows them.",
            )
        self._file.write(tuple(wish for wish in kept if wish is not found[0]))
        return found[0]

    def matches(self, wish: Wish, limit: int) -> list[Match]:
        """Return what is on offer that fits a wish, the best first."""
        return matches_for_request(
            self._market.offers, self._lot(wish), self._clock(), limit, trust=self._market.trust()
        )

    def _lot(self, wish: Wish) -> BookLot:
        now_ms = self._clock()
        # A wish that names no end stands until it is dropped, and not for a request's month.
        listed = wish.listed
        payload = draft_of(listed, self._market.home, wish.saved_ms).payload
        assert payload is not None
        request = decode_payload(payload, Request)
        until_ms = AT_MS_MAX if listed.until_ms is None else listed.until_ms
        identity = hashlib.blake2b(wish.id.encode(), digest_size=32, person=b"passby wish").digest()
        return wanted(identity, self._me, now_ms, until_ms, request.amount, request)

    def _heard_lot(self, lot: BookLot) -> None:
        if lot.side is not Side.OFFER or lot.id not in self._market.offers:
            return
        for wish in self.held():
            trust = self._market.trust().get(lot.author, 0.0)
            match = fit(lot, self._lot(wish), self._clock(), trust=trust)
            if isinstance(match, Match):
                for tell in self._on_fulfilled:
                    tell(wish, match)
