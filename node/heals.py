"""Heals and seals that travel alone.

A chain that is frozen everywhere cannot carry its own heal; and the chain that carries a seal may
interest nobody who keeps the chain that is sealed.

Each neighbour is told of those known when a session begins, and of others as they come. One
about a chain that is held, by a root that has a say over it, is kept and told on; of a chain
that is not held it waits with the session that brought it, until the chain is held, and for a
heal found forked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import trio

from passby.ledger.frames import Places
from passby.ledger.standing import has_say, statement_in
from passby.node.chains import Chains
from passby.protocol.entry import Record
from passby.protocol.errors import LocalError, RefusedError
from passby.protocol.limits import BULK_SLICE, HEALS_WAITING_MAX, STATEMENTS_TOLD_MAX
from passby.protocol.statements import Heal, Seal, Statement, parse_statement
from passby.protocol.types import EntryType

_TOLD_OF_ONE = 2
"""Heals of one device that are told: a second one shows that all are void. As many seals."""


Alone = Heal | Seal


class Heals:
    """The heals and seals known here.

    Args:
        chains: keeps them, and says whose device is whose.
        tell: is given those that are new, for every neighbour.
    """

    def __init__(self, chains: Chains, tell: Callable[[Sequence[bytes]], None]) -> None:
        self._chains = chains
        self._tell = tell
        self._known: dict[bytes, None] | None = None
        self._told: Counter[tuple[bytes, type[Alone]]] = Counter()
        chains.on_records(self._look_into)
        chains.on_bulk(self._look_into_bulk)

    def known(self) -> list[bytes]:
        """Return those to tell a neighbour, as on the wire."""
        return list(self._heals())[-STATEMENTS_TOLD_MAX:]

    async def heard(self, raws: Sequence[bytes], waiting: dict[bytes, bytes]) -> None:
        """Take what a neighbour tells.

        Args:
            raws: as on the wire.
            waiting: raw -> device of what this neighbour told of chains not held here.

        Raises:
            RemoteError: one is no root statement.
            LocalError: the disk is failing.
        """
        for raw in raws:
            if raw in self._heals() or raw in waiting:
                continue
            statement = parse_statement(raw)
            if not isinstance(statement, Alone):
                continue
            if self._chains.head_seq(statement.device):
                await self._take(statement)
            elif len(waiting) < HEALS_WAITING_MAX:
                waiting[raw] = statement.device

    async def look_again(self, waiting: dict[bytes, bytes]) -> None:
        """Take what waited for a chain that is held by now, or found forked.

        Raises:
            LocalError: the disk is failing.
        """
        for raw in [raw for raw, device in waiting.items() if self._chains.head_seq(device)]:
            statement = parse_statement(raw)
            assert isinstance(statement, Alone), "nothing else waits"
            if isinstance(statement, Seal) or self._chains.is_frozen(statement.device):
                await self._take(statement)
                del waiting[raw]

    async def heal(self, statement: Heal) -> None:
        """Keep a heal of this person's, and tell every neighbour.

        Raises:
            RefusedError: it is of somebody else's device, or one that is not held.
            LocalError: the disk is failing.
        """
        if not await self._take(statement):
            raise RefusedError(
                "This heal is of no device of yours that is known here, or was made before.",
                "`passby device list` shows your devices.",
            )

    async def _take(self, statement: Alone) -> bool:
        if not self._note(statement):
            return False
        try:
            added = await self._chains.state(statement)
        except LocalError:
            self._known = None
            raise
        if added:
            self._tell([statement.raw])
        return added

    def _note(self, statement: Alone) -> bool:
        """Count a statement among those known; False if it is, or nobody need be told of it."""
        known, about = self._heals(), (statement.device, type(statement))
        if statement.raw in known or self._told[about] >= _TOLD_OF_ONE:
            return False
        if not self._counts(statement):
            return False
        known[statement.raw] = None
        self._told[about] += 1
        return True

    def _counts(self, statement: Alone) -> bool:
        """Tell whether its root has a say over the device, which is held.

        Anybody may write anything about anybody into a chain; it must not take up the place of
        what the device's own root says.
        """
        device, reader = statement.device, self._chains.reader
        if not self._chains.head_seq(device):
            return False
        return has_say(statement, reader.record_at(device, 1), reader.person_of(device))

    def _heals(self) -> dict[bytes, None]:
        if self._known is None:
            self._known = {}
            self._told.clear()
            self._look_at(self._chains.reader.statements())
        return self._known

    def _look_at(self, statements: Iterable[Statement]) -> list[bytes]:
        """Count what is new among statements that are kept; return it as on the wire."""
        alone = (statement for statement in statements if isinstance(statement, Alone))
        return [statement.raw for statement in alone if self._note(statement)]

    def _look_into(self, records: Sequence[Record]) -> None:
        fresh: list[bytes] = []
        for record in records:
            match record.entry.body.type:
                case EntryType.GENESIS:
                    fresh += self._begun(record.entry.author)
                case EntryType.STATEMENT:
                    statement = statement_in(record)
                    fresh += self._look_at([] if statement is None else [statement])
                case _:
                    pass
        if fresh:
            self._tell(fresh)

    def _begun(self, author: bytes) -> list[bytes]:
        # Before, nobody could tell whose the device was.
        return self._look_at(self._chains.reader.statements(author))

    async def _look_into_bulk(self, places: Places) -> None:
        fresh: list[bytes] = []
        for at, raw in enumerate(places.statements):
            fresh += self._look_at([parse_statement(raw)])
            if at % BULK_SLICE == 0:
                await trio.lowlevel.checkpoint()
        for author in places.begun:
            fresh += self._begun(author)
        if fresh:
            self._tell(fresh)
