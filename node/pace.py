"""When a link's writer looks again: at once for what a peer waits for, in batches for news.

A frame costs the same whatever it holds, and a busy node is one that writes too many. So news,
after the first, gather for a tick. The tick grows while this process is behind its timers.
"""

from __future__ import annotations

import math

import trio

from passby.protocol.limits import TICK_MAX_S, TICK_MIN_S

_LATE, _GROWS = 1 / 4, 1.3
_IN_TIME, _SHRINKS = 1 / 10, 0.95


class Pace:
    """How long news gather, for all links of a node."""

    def __init__(self) -> None:
        self.tick_s = TICK_MIN_S

    def woke(self, late_s: float) -> None:
        """Take by how much a timer of a tick was late."""
        if late_s > _LATE * self.tick_s:
            self.tick_s = min(TICK_MAX_S, _GROWS * self.tick_s)
        elif late_s < _IN_TIME * self.tick_s:
            self.tick_s = max(TICK_MIN_S, _SHRINKS * self.tick_s)


class Bell:
    """Wakes one writer."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._rung = trio.Event()
        self._told = trio.Event()
        self._last_s = -math.inf

    def ring(self) -> None:
        """Wake the writer now."""
        self._rung.set()
        self._told.set()

    def tell(self) -> None:
        """Wake the writer for news: now, or when the tick since the last news is over."""
        self._told.set()

    def listen(self) -> None:
        """Forget what has rung so far; then look for what there is to write, then `wait`."""
        self._rung, self._told = trio.Event(), trio.Event()

    async def wait(self) -> None:
        """Return when it has rung since `listen`, or there are news and it is time for them."""
        await self._told.wait()
        if self._rung.is_set():
            return
        due_s = self._last_s + self._pace.tick_s
        if trio.current_time() < due_s:
            with trio.move_on_at(due_s) as scope:
                await self._rung.wait()
            if scope.cancelled_caught:
                self._pace.woke(trio.current_time() - due_s)
        self._last_s = trio.current_time()
