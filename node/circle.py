"""The circle: who is vouched for from here, kept in step with the ledger.

It is reckoned by `ledger.trust` from the own person's devices, those who are followed, those
with whom a trade was settled, and the vouches of everybody reached so. Parties of open trades
that bind this device are never cut off, but hand nothing on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import trio

from passby.ledger.draft import Draft
from passby.ledger.frames import Places
from passby.ledger.trust import shares
from passby.node.chains import Chains
from passby.protocol.entry import Record
from passby.protocol.errors import DamagedError
from passby.protocol.limits import SEQ_MAX, TRUST_AGAIN_S, UNVOUCHED_ENTRIES
from passby.protocol.payloads import Vouched, encode_payload
from passby.protocol.trade import OPEN_STATES, State, Trade
from passby.protocol.types import EntryType

log = logging.getLogger(__name__)


class Circle:
    """Who may say how much, as seen from this device.

    Args:
        chains: reads vouches, tells of new ones, appends own ones.
        person: the root of this device's person.
    """

    def __init__(self, chains: Chains, person: bytes) -> None:
        self._chains = chains
        self._person = person
        self._own = {chains.author}
        self._followed: frozenset[bytes] = frozenset()
        self._settled: dict[bytes, None] = {}
        self._engaged: dict[bytes, frozenset[bytes]] = {}
        """Open trade -> its other parties."""
        self._binding: frozenset[bytes] = frozenset()
        self._shares: Mapping[bytes, int] = {}
        self._bell = trio.Event()
        self._on_changed: list[Callable[[Sequence[bytes]], None]] = []
        chains.on_records(self._heard)
        chains.on_bulk(self._heard_bulk)
        chains.on_frozen(self._stale)
        chains.on_freed(self._stale)
        self._reckon()

    # --- asking ------------------------------------------------------------------------

    def share(self, author: bytes) -> int:
        """Return how many entries of the author's chain are taken, SEQ_MAX for all."""
        if author in self._own or author in self._followed or author in self._binding:
            return SEQ_MAX
        return self._shares.get(author, UNVOUCHED_ENTRIES)

    def has(self, author: bytes) -> bool:
        """Tell whether the author is of the own person, followed, or vouched for, and not false."""
        known = author in self._own or author in self._followed or author in self._shares
        return known and not self._chains.is_frozen(author)

    def members(self) -> list[bytes]:
        """Return the own person's devices that are known, then all who are vouched for."""
        return [*self._own, *self._shares]

    def vouched_for(self) -> list[bytes]:
        """Return for whom this device vouches, in the order of the vouches."""
        return self._chains.reader.vouched_by(self._chains.author)

    @property
    def own(self) -> frozenset[bytes]:
        """The devices of this node's person, as far as they are known."""
        return frozenset(self._own)

    @property
    def shares(self) -> Mapping[bytes, int]:
        """Author -> share, of all who are vouched for."""
        return self._shares

    def on_changed(self, tell: Callable[[Sequence[bytes]], None]) -> None:
        """Call `tell` with the authors of whom more is taken now, or less."""
        self._on_changed.append(tell)

    # --- what makes the circle -----------------------------------------------------------

    async def vouch(self, author: bytes, *, stands: bool, token: bytes | None = None) -> None:
        """Vouch for an author in the own chain, or take that back; nothing where it is so.

        A token is written down, and so spent, in any case.

        Raises:
            LocalError: nothing can be appended now.
        """
        if token is None and (author in self.vouched_for()) == stands:
            return
        payload = None if token is None else encode_payload(Vouched(token))
        draft = Draft(EntryType.VOUCH, facts=(author, int(stands)), payload=payload)
        await self._chains.say(lambda _at_ms: [draft])

    def follow(self, authors: Iterable[bytes]) -> None:
        """Take it that these, and no others, are followed."""
        before, self._followed = self._followed, frozenset(authors)
        self._reckon()
        self._tell(before ^ self._followed)

    def meet(self, author: bytes) -> None:
        """Look whether an author whose chain is new here is a device of the own person."""
        if author in self._own:
            return
        if self._chains.reader.person_of(author) == self._person:
            self._own.add(author)
            self._reckon()
            self._tell([author])

    def see_trade(self, trade: Trade) -> None:
        """Take note of how a trade of this device stands."""
        me = self._chains.author
        others = frozenset(trade.parties()) - {me}
        written = trade.taker == me or any(leg.reserves for leg in trade.legs if leg.lister == me)
        if trade.state is State.SETTLED and not others <= self._settled.keys():
            self._settled.update(dict.fromkeys(sorted(others)))
            self._reckon()
        if written and trade.state in OPEN_STATES:
            self._engaged[trade.id] = others
        elif self._engaged.pop(trade.id, None) is None:
            return
        self._bind()

    def _bind(self) -> None:
        before = self._binding
        self._binding = frozenset().union(*self._engaged.values())
        self._tell(before ^ self._binding)

    def _heard(self, records: Sequence[Record]) -> None:
        vouches = [r.entry.author for r in records if r.entry.body.type == EntryType.VOUCH]
        if self._own.intersection(vouches):
            self._reckon()
        elif any(author in self._shares or author in self._followed for author in vouches):
            self._bell.set()

    async def _heard_bulk(self, _places: Places) -> None:
        self._bell.set()

    def _stale(self, _author: bytes) -> None:
        self._bell.set()

    async def run(self) -> None:
        """Reckon again whenever something has changed, now and then, until cancelled."""
        while True:
            await self._bell.wait()
            self._bell = trio.Event()
            try:
                self._reckon()
            except DamagedError as error:
                # What was reckoned before holds until the chain is mended.
                log.warning("cannot reckon who is vouched for: %s", error)
            await trio.sleep(TRUST_AGAIN_S)

    def _reckon(self) -> None:
        before = self._shares
        self._shares = shares(
            self._own,
            [*self._followed, *self._settled],
            self._chains.reader.vouched_by,
            self._chains.is_frozen,
        )
        self._tell(
            author
            for author in before.keys() | self._shares.keys()
            if before.get(author) != self._shares.get(author)
        )

    def _tell(self, authors: Iterable[bytes]) -> None:
        changed = sorted(authors)
        if changed:
            for tell in self._on_changed:
                tell(changed)
