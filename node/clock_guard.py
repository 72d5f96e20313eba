"""The clock guard: no own entry is dated by a clock that is probably wrong.

A chain's time never decreases, so one entry dated years ahead would silence the chain for
ever, and entries dated hours off are ignored by everybody. Nobody knows the true time; the
guard compares the clock with the median of the neighbours' clocks, with the newest own entry,
and with trio's monotonic clock since the start. The person may say that the clock is right
all the same.
"""

from __future__ import annotations

from collections import OrderedDict
from statistics import median_high, median_low

import trio

from passby.node.clock import Clock
from passby.protocol.errors import RefusedError
from passby.protocol.limits import CLOCK_JUMP_MAX_S, CLOCK_PEERS_MAX, CLOCK_SKEW_MAX_S


class ClockGuard:
    """Judges `clock` by what peers said when they met us.

    Args:
        clock: this node's, Unix milliseconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._start_ms: int | None = None
        self._accepted = False

    def _epoch_ms(self) -> int:
        """When, by this clock, trio's read 0: it moves only if one of the two jumps."""
        return self._clock() - round(trio.current_time() * 1000)

    def heard(self, peer: str, at_ms: int) -> None:
        """Note what a peer's clock says now; 0 is no answer."""
        if at_ms == 0:
            return
        self._heard.pop(peer, None)
        self._heard[peer] = (at_ms - self._clock(), self._epoch_ms())
        if len(self._heard) > CLOCK_PEERS_MAX:
            self._heard.popitem(last=False)

    def accept(self) -> None:
        """Take the person's word that the clock is right, until the next start."""
        self._accepted = True

    def doubt(self, head_ms: int | None) -> str | None:
        """Say what speaks against the clock, or None.

        Args:
            head_ms: the time of the newest own entry, if there is one.
        """
        if self._accepted:
            return None
        epoch_ms = self._epoch_ms()
        if self._start_ms is None:
            self._start_ms = epoch_ms
        if head_ms is not None and head_ms - self._clock() > CLOCK_SKEW_MAX_S * 1000:
            back_s = (head_ms - self._clock()) / 1000
            return f"this clock is {_span(back_s)} behind the newest own entry"
        # What a peer said before a jump says nothing about the clock after it.
        ahead_ms = [
            ahead
            for ahead, then_ms in self._heard.values()
            if abs(then_ms - epoch_ms) <= CLOCK_SKEW_MAX_S * 1000
        ]
        if ahead_ms:
            # Of two in the middle the nearer one: half of the neighbours are no majority.
            ahead_s = min(median_low(ahead_ms), median_high(ahead_ms), key=abs) / 1000
            if abs(ahead_s) <= CLOCK_SKEW_MAX_S:
                return None
            way = "behind" if ahead_s > 0 else "ahead of"
            return f"this clock is {_span(abs(ahead_s))} {way} the neighbours'"
        jumped_s = abs(epoch_ms - self._start_ms) / 1000
        # A laptop that slept for days looks like this too, until a neighbour agrees with it.
        if jumped_s > CLOCK_JUMP_MAX_S:
            return f"this clock has jumped by {_span(jumped_s)} since the node started"
        return None

    def check(self, head_ms: int | None) -> None:
        """Let an own entry be dated now.

        Raises:
            RefusedError: the clock is probably wrong; says how, and how to go on.
        """
        doubt = self.doubt(head_ms)
        if doubt is not None:
            raise RefusedError(
                f"Nothing is signed now: {doubt}.",
                "Set the clock; or, if it is right, say so with `passby doctor --accept-clock`.",
            )


def _span(seconds: float) -> str:
    if seconds < 2 * 60:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"
