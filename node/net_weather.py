"""The weather of the network in memory: what delays, loses and doubles, and the post it hits."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from passby.node.net import PeerId
from passby.protocol import limits

_SEEN_MAX: Final = 65_536
"""Message ids a node remembers, for GOSSIP_SEEN_S each."""

MessageId = tuple[PeerId, int]
"""Author, and a number that only grows."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the net is.

    Args:
        delay_s: shortest and longest time under way, one direction.
        loss: chance that a neighbour does not hear a gossip message.
        duplication: chance that it hears it twice.
        stream_break: chance, for each piece written, that the stream breaks instead.
    """

    delay_s: tuple[float, float] = (0.005, 0.05)
    loss: float = 0.0
    duplication: float = 0.0
    stream_break: float = 0.0


class Post:
    """What is under way to one node, delivered by one task in order of arrival."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._came = trio.Event()

    def put(self, at_s: float, deliver: Callable[[], None]) -> None:
        """Have something arrive at that time."""
        self._count += 1
        heapq.heappush(self._due, (at_s, self._count, deliver))
        if self._due[0][1] == self._count:
            self._came.set()

    async def carry(self) -> None:
        """Deliver, for ever."""
        while True:
            if not self._due:
                await self._came.wait()
            with trio.move_on_at(self._due[0][0]):
                await self._came.wait()
            self._came = trio.Event()
            now_s = trio.current_time()
            while self._due and self._due[0][0] <= now_s:
                heapq.heappop(self._due)[2]()


@dataclass(slots=True)
class Seen:
    """Message ids of the last GOSSIP_SEEN_S."""

    _at_s: OrderedDict[MessageId, float] = field(default_factory=OrderedDict)

    def is_new(self, message: MessageId, now_s: float) -> bool:
        """Whether the message was not seen yet; from now on it is."""
        while self._at_s:
            oldest, at_s = next(iter(self._at_s.items()))
            if now_s - at_s <= limits.GOSSIP_SEEN_S and len(self._at_s) < _SEEN_MAX:
                break
            del self._at_s[oldest]
        if message in self._at_s:
            return False
        self._at_s[message] = now_s
        return True
