"""What one neighbour sends, on its way into the ledger.

Frames gather while those before them are judged and committed, and are then taken together:
so a transaction is as large as the neighbour is fast. What came whole is stored even if the
neighbour goes away, since it would otherwise be sent twice.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import trio

from passby.ledger.frames import Digest
from passby.ledger.sync_events import Received
from passby.node.chains import Chains
from passby.node.writer import Line
from passby.protocol.errors import LocalError, RemoteError
from passby.protocol.limits import BULK_GROUP_MAX

log = logging.getLogger(__name__)


class Inlet:
    """Frames of one session, in order; bounded by the session's credit.

    Args:
        chains: takes them in.
        heed: is told what came of them, and of how many bytes, before the next are taken.
    """

    def __init__(self, chains: Chains, heed: Callable[[Digest, int], None]) -> None:
        self._chains = chains
        self._heed = heed
        self._waiting: deque[Received] = deque()
        self._line = Line()
        self._bell = trio.Event()
        self._idle = trio.Event()
        self._idle.set()
        self.fault: RemoteError | LocalError | None = None
        """Why nothing more is taken: what the peer sent, or our disk."""

    def put(self, received: Received) -> None:
        """Take a frame's records into the line."""
        if self.fault is None:
            self._waiting.append(received)
            self._bell.set()
            if self._idle.is_set():
                self._idle = trio.Event()

    async def settled(self) -> None:
        """Return when nothing waits.

        Raises:
            RemoteError, LocalError: `fault`.
        """
        await self._idle.wait()
        if self.fault is not None:
            raise self.fault

    async def run(self, scope: trio.CancelScope) -> None:
        """Take in what comes until cancelled; cancel `scope` if that fails."""
        while self.fault is None:
            try:
                await self._bell.wait()
            finally:
                self._bell = trio.Event()
                # Bounded: nothing more comes from a session that is being left.
                with trio.CancelScope(shield=True):
                    await self._take_all()
        scope.cancel()

    async def _take_all(self) -> None:
        # While one group is written the next stands ready, so that the disk never waits for us;
        # and the books lag behind the ledger by no more than that.
        under_way = trio.Semaphore(2)
        before = trio.Event()
        before.set()
        async with trio.open_nursery() as nursery:
            while True:
                await under_way.acquire()
                if not self._waiting or self.fault is not None:
                    break
                heeded = trio.Event()
                nursery.start_soon(self._take, self._group(), before, heeded, under_way)
                before = heeded
        if self.fault is not None:
            self._waiting.clear()
        if not self._waiting:
            self._idle.set()

    def _group(self) -> list[Received]:
        group: list[Received] = []
        size = 0
        while self._waiting and (not group or size + self._waiting[0].size <= BULK_GROUP_MAX):
            group.append(self._waiting.popleft())
            size += group[-1].size
        return group

    async def _take(
        self,
        group: list[Received],
        before: trio.Event,
        heeded: trio.Event,
        under_way: trio.Semaphore,
    ) -> None:
        try:
            intake = await self._chains.take([each.packed for each in group], self._line)
        except LocalError as error:
            self.fault = self.fault or error
            intake = None
        await before.wait()
        if intake is not None and self.fault is None:
            digest = intake.outcome()
            self._heed(digest, sum(each.size for each in group))
            if digest.fault is not None:
                self.fault = digest.fault.error()
        heeded.set()
        if intake is not None:
            await self._chains.catch_up(intake)
        under_way.release()
