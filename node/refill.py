"""Making whole what is held: payloads that were left out, signatures that relays garbled.

Own signatures that came inside a run are verified little by little, and entries that are not
whole are asked for from one neighbour after the other: a list at a time, and never again from
whoever had nothing to give. What was set aside behind a damaged entry is taken in again once
neighbours have given that entry back, whether or not they hold the rest. Nothing is done while
no chain changes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import trio

from passby.ledger.ingest import Check
from passby.ledger.repair import completed, recheck
from passby.ledger.sync import Session
from passby.ledger.sync_events import Copied
from passby.node.chains import Chains
from passby.protocol.entry import Record
from passby.protocol.errors import DamagedError, LocalError
from passby.protocol.keys import SIGNATURE_BYTES
from passby.protocol.limits import (
    PAYLOADS_ASKED_MAX,
    PAYLOADS_PER_FRAME_MAX,
    PAYLOADS_STALL_S,
    REFILL_EVERY_S,
    REFUSED_COPIES_MAX,
    RUN_MAX,
    SIGNATURES_CHECKED_PER_S,
)
from passby.protocol.messages_aside import Copy

log = logging.getLogger(__name__)
_RECHECKED: Final = int(SIGNATURES_CHECKED_PER_S * REFILL_EVERY_S)


class Asked:
    """How far one neighbour was asked in this session."""

    def __init__(self) -> None:
        self.place = 0
        """Of the last entry looked at; 0 when a walk through all is over."""
        self.news = 0
        """What was known when the last walk began."""
        self.had_not: set[bytes] = set()
        """Ids of which it had nothing that was lacking here."""
        self.is_spent = False
        self.came: list[Record] = []


class Neighbour(Protocol):
    """A session with what was asked in it."""

    session: Session
    asked: Asked

    def ring(self) -> None:
        """Let what the session has to say be written."""


class Refill:
    """Asks neighbours for what entries lack here, and answers them.

    Args:
        chains: what is held.
    """

    def __init__(self, chains: Chains) -> None:
        self._chains = chains
        self._news = 1
        self._checked = 0
        self._open: tuple[Neighbour, float] | None = None
        chains.on_heads(self._count)

    def _count(self, _authors: Iterable[bytes]) -> None:
        self._news += 1

    async def look(self, links: Sequence[Neighbour]) -> None:
        """Verify some signatures, and ask somebody for some of what is lacking.

        Raises:
            LocalError: the disk is failing.
        """
        if self._checked != self._news:
            before = self._news
            await self._regain()
            found = await self._chains.call(lambda store: recheck(store, _RECHECKED))
            # What was found garbled is lacking now.
            self._news += found.garbled > 0
            if found.done:
                self._checked = before + (found.garbled > 0)
        self._ask_one(links)

    async def _regain(self) -> None:
        """Take in again what was set aside behind damage, once neighbours have closed the gap."""
        records = await self._chains.call(lambda store: store.set_aside(RUN_MAX))
        if records:
            # Judged as a peer's: it lay where the file was damaged.
            await self._chains.admit(records, Check.EACH)

    def _ask_one(self, links: Sequence[Neighbour]) -> None:
        now_s = trio.current_time()
        if self._open is not None:
            link, since_s = self._open
            if link in links and now_s - since_s < PAYLOADS_STALL_S:
                return
            link.asked.is_spent = True
            self._open = None
        for link in links:
            ids = self._next_for(link) if link.session.can_ask_copies else []
            if ids:
                link.session.ask_copies(ids)
                link.ring()
                self._open = link, now_s
                return

    def _next_for(self, link: Neighbour) -> list[bytes]:
        asked = link.asked
        if asked.is_spent or (asked.place == 0 and asked.news == self._news):
            return []
        if asked.place == 0:
            asked.news = self._news
        try:
            found = self._chains.reader.lacking(asked.place, PAYLOADS_ASKED_MAX)
        except DamagedError as error:
            # Whoever reads that chain next sets it aside.
            log.warning("%s", error)
            found = []
        asked.place = found[-1].place if len(found) == PAYLOADS_ASKED_MAX else 0
        return [each.id for each in found if each.id not in asked.had_not]

    async def heard(self, link: Neighbour, links: Sequence[Neighbour], event: Copied) -> None:
        """Take one answer; when it is the last, ask on.

        Raises:
            RemoteError: not what the entry commits to.
            LocalError: the disk is failing.
        """
        asked, held = link.asked, self._chains.reader.record(event.copy.id)
        if held is not None:
            entry, whole = completed(held, event.copy.signature, event.copy.carried)
            if entry is not None:
                again = entry
                await self._chains.call(lambda store: store.sign_again(again))
            if whole is not None and held.payload is None:
                asked.came.append(whole)
            elif entry is None:
                asked.had_not.add(event.copy.id)
                asked.is_spent = len(asked.had_not) >= REFUSED_COPIES_MAX
        if asked.came and (event.last or len(asked.came) >= PAYLOADS_PER_FRAME_MAX):
            came, asked.came = asked.came, []
            await self._chains.admit(came, Check.EACH)
        if event.last and self._open is not None and self._open[0] is link:
            self._open = None
            self._ask_one(links)

    def copies(self, ids: Sequence[bytes]) -> list[Copy]:
        """Return what is held here of entries that a neighbour asks for."""
        return [self._copy(entry_id) for entry_id in ids]

    def _copy(self, entry_id: bytes) -> Copy:
        try:
            held = self._chains.reader.record(entry_id)
        except DamagedError as error:
            log.warning("%s", error)
            held = None
        if held is None:
            return Copy(entry_id)
        carried = held.salt + held.payload if held.salt and held.payload else b""
        return Copy(entry_id, held.entry.raw[:SIGNATURE_BYTES], carried)


async def keep_whole(refill: Refill, links: Iterable[Neighbour]) -> None:
    """Look every REFILL_EVERY_S, until cancelled.

    Args:
        refill: what looks.
        links: those that there are at each moment: a live view.
    """
    while True:
        await trio.sleep(REFILL_EVERY_S)
        try:
            await refill.look(list(links))
        except LocalError as error:
            log.warning("entries cannot be made whole: %s", error)
