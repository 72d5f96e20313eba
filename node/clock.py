"""What time it is, for everything in a node: the machine's clock, or a simulation's."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

Clock = Callable[[], int]
"""Returns Unix milliseconds. All of a node asks the same one."""


def machine_clock() -> int:
    """Return the machine's time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def virtual_clock(epoch_ms: int, skew_ms: int = 0) -> Clock:
    """Return a clock that reads `epoch_ms + skew_ms` when trio's reads 0, and runs with it."""

    def now_ms() -> int:
        return epoch_ms + skew_ms + round(trio.current_time() * 1000)

    return now_ms
