"""Reputations, kept in step with the ledger: every trade that is held is folded once it moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import trio

from passby.ledger.frames import Places
from passby.ledger.reputation import (
    WHOLE,
    Dealings,
    Reputation,
    View,
    dealings_in,
    reputation,
    view,
)
from passby.node.chains import Chains, Forgotten
from passby.node.circle import Circle
from passby.node.clock import Clock
from passby.node.trades import fold_of
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError
from passby.protocol.limits import BULK_PAUSE_S, DEALINGS_MAX, REPUTATION_AGAIN_MS, REPUTATION_SLICE
from passby.protocol.types import TRADE_TYPES, EntryType


class Reputations:
    """Who has traded with whom, and how far this node trusts them for it.

    Args:
        chains: reads trades, tells of new entries.
        circle: whose devices are the own ones.
        clock: for the state of trades.
    """

    def __init__(self, chains: Chains, circle: Circle, clock: Clock) -> None:
        self._chains = chains
        self._circle = circle
        self._clock = clock
        self._dealings = Dealings()
        self._pending: dict[bytes, None] = {}
        self._bell = trio.Event()
        self._view = View()
        self._is_stale = True
        self._reckoned_ms = 0
        self._trust: Mapping[bytes, float] = {}
        chains.on_records(self._heard)
        chains.on_bulk(self._heard_bulk)
        chains.on_frozen(self._stale)
        chains.on_freed(self._stale)
        chains.on_forgotten(self._forgotten)
        circle.on_changed(lambda _: self._stale())

    async def run(self) -> None:
        """Fold what is held, then what moves, a little at a time, until cancelled."""
        self._await(self._chains.reader.trades(0))
        while True:
            while self._pending:
                for _ in range(min(REPUTATION_SLICE, len(self._pending))):
                    self._look(self._pending.popitem()[0])
                await trio.sleep(BULK_PAUSE_S)
            await self._bell.wait()
            self._bell = trio.Event()

    @property
    def trust(self) -> Mapping[bytes, float]:
        """Author -> trust from 0 to 1, as matching takes it."""
        self._seen()
        return self._trust

    def of(self, author: bytes) -> Reputation:
        """Return what is known of `author`, and by what."""
        return reputation(author, self._dealings, self._seen())

    def _seen(self) -> View:
        now_ms = self._clock()
        # Lots arrive by the hundred and each asks; a view of a city takes a tenth of a second.
        if self._is_stale and not 0 <= now_ms - self._reckoned_ms < REPUTATION_AGAIN_MS:
            self._is_stale, self._reckoned_ms = False, now_ms
            self._view = view(
                self._circle.own,
                self._dealings,
                self._chains.reader.vouched_by,
                self._chains.is_frozen,
            )
            self._trust = {who: trust / WHOLE for who, trust in self._view.trust.items()}
        return self._view

    def _look(self, trade_id: bytes) -> None:
        try:
            found = tuple(dealings_in(fold_of(self._chains, trade_id, self._clock())))
        except RefusedError:
            found = ()  # its propose is not held, or no longer
        if found and len(self._dealings) >= DEALINGS_MAX:
            return
        if self._dealings.note(trade_id, found):
            self._stale()

    def _heard(self, records: Sequence[Record]) -> None:
        self._await(
            body.refs[0] if body.type != EntryType.PROPOSE else record.entry.id
            for record in records
            if (body := record.entry.body).type in TRADE_TYPES
        )
        if any(record.entry.body.type == EntryType.VOUCH for record in records):
            self._stale()

    async def _heard_bulk(self, places: Places) -> None:
        self._await(places.trades)
        self._stale()

    def _forgotten(self, _gone: Forgotten) -> None:
        self._stale()

    def _stale(self, _author: bytes = b"") -> None:
        self._is_stale = True

    def _await(self, trades: Iterable[bytes]) -> None:
        self._pending.update(dict.fromkeys(trades))
        self._bell.set()
