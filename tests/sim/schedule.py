"""One seed, one run: trio's own dice, in one place.

trio shuffles the tasks that are ready at the same moment, so that nobody relies on their
order. For a simulation that must repeat itself these dice get a seed, through a private switch
that trio's authors keep for Hypothesis; trio is pinned, and a test notices when it goes.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio
from trio._core import _run
from trio.testing import MockClock

T = TypeVar("T")


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed trio's scheduling for the runs in this block."""
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING
    state = _run._r.getstate()
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # Final there; the switch
    _run._r.seed(seed)
    try:
        yield
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]  # as above
        _run._r.setstate(state)


def simulate(seed: int, story: Callable[[random.Random], Awaitable[T]]) -> T:
    """Run a story on virtual time; the same seed gives the same run.

    Args:
        seed: for trio's dice and for the dice that `story` gets.
        story: everything that happens.
    """
    with deterministic(seed):
        return trio.run(story, random.Random(seed), clock=MockClock(autojump_threshold=0))
