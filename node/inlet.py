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
from passby.node.writer import Intake
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
        caught_up = trio.Semaphore(1)
        async with trio.open_nursery() as nursery:
            while self._waiting and self.fault is None:
                intake = await self._take_some()
                if intake is not None and intake.places is not None:
                    # The books lag behind the ledger by one transaction at most.
                    await caught_up.acquire()
                    nursery.start_soon(self._catch_up, intake, caught_up)
            if self.fault is not None:
                self._waiting.clear()
            self._idle.set()

    async def _take_some(self) -> Intake | None:
        group: list[Received] = []
        size = 0
        while self._waiting and (not group or size + self._waiting[0].size <= BULK_GROUP_MAX):
            group.append(self._waiting.popleft())
            size += group[-1].size
        try:
            intake = await self._chains.take([received.packed for received in group])
        except LocalError as error:
            self.fault = error
            return None
        digest = intake.outcome()
        self._heed(digest, size)
        if digest.fault is not None:
            self.fault = digest.fault.error()
        return intake

    async def _catch_up(self, intake: Intake, done: trio.Semaphore) -> None:
        await self._chains.catch_up(intake)
        done.release()
