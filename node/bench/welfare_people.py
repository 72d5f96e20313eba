"""What lies between the nodes of a town: the post, how people behave, and what is known of them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from enum import Enum
from typing import Final

from passby.node.bench.welfare_town import OPENS_MS

DELAY_MS: Final = (50, 2_000)
"""Under way, one direction."""
LOSS: Final = 0.05
"""The share of what is sent that does not arrive."""
SYNC_MS: Final = (30_000, 90_000)
"""When sync brings what gossip has lost."""
OVERSTATED: Final = 3
"""By how much those who overstate what things are worth to them multiply it."""


class Kind(Enum):
    """How a person behaves."""

    HONEST = "honest"
    OVERSTATES = "overstates"
    """Bids several times what it is worth, and comes."""
    VANISHES = "vanishes"
    """Bids likewise, proposes and is silent then; as a lister answers nothing."""
    STAYS_AWAY = "stays away"
    """Bids likewise, agrees to everything and does not come; nor is there as a lister."""


class Post:
    """Events in the order of their times; of equal times the one first posted."""

    def __init__(self, dice: random.Random) -> None:
        self.now_ms = OPENS_MS
        self._dice = dice
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, at_ms: int, act: Callable[[], None]) -> None:
        """Have something happen."""
        self._count += 1
        heapq.heappush(self._due, (max(at_ms, self.now_ms), self._count, act))

    def send(self, arrive: Callable[[], None]) -> None:
        """Have a message arrive, or be lost."""
        if self._dice.random() >= LOSS:
            self.at(self.now_ms + self._dice.randint(*DELAY_MS), arrive)

    def gossip(self, arrive: Callable[[], None]) -> None:
        """Have word arrive soon, or with the next sync."""
        late = self._dice.random() < LOSS
        self.at(self.now_ms + self._dice.randint(*(SYNC_MS if late else DELAY_MS)), arrive)

    def run(self, until_ms: int) -> None:
        """Let everything happen up to a time."""
        while self._due and self._due[0][0] <= until_ms:
            self.now_ms, _, act = heapq.heappop(self._due)
            act()


class Memory:
    """Who kept to what was agreed and who did not, as the ledgers show for good.

    Whoever was let down by somebody has seen enough. The others count: by how many different
    people somebody was found wanting, and with how many trades came to their end. Both sides
    of a trade at which somebody did not come say so of each other, so a few such words are no
    proof; that most are is.
    """

    def __init__(self) -> None:
        self._broken: dict[int, set[int]] = {}
        self._kept: dict[int, set[int]] = {}
        self._silent: set[tuple[int, int]] = set()

    def broke(self, who: int, by: int) -> None:
        """Note that, as the entries show, `who` did not take the step that `by` waited for."""
        self._broken.setdefault(who, set()).add(by)

    def kept(self, one: int, other: int) -> None:
        """Note that goods went from one to the other."""
        self._kept.setdefault(one, set()).add(other)
        self._kept.setdefault(other, set()).add(one)

    def did_not_answer(self, who: int, by: int) -> None:
        """Note what no entry shows, and `by` alone knows."""
        self._silent.add((who, by))

    def is_doubted(self, who: int, by: int) -> bool:
        """Tell whether `by` has reason not to deal with `who`."""
        broken, kept = self._broken.get(who, set()), self._kept.get(who, set())
        return by in broken or (who, by) in self._silent or len(broken) > len(kept)
