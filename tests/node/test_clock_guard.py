from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from passby.node.clock_guard import ClockGuard
from passby.protocol.errors import RefusedError

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EPOCH_MS = 1_800_000_000_000


class Hands:
    """A clock that can be set."""

    def __init__(self) -> None:
        self.off_ms = 0

    def __call__(self) -> int:
        return EPOCH_MS + self.off_ms + round(trio.current_time() * 1000)


async def test_a_clock_in_step_with_the_neighbours_may_sign(mock_clock: MockClock) -> None:
    hands = Hands()
    guard = ClockGuard(hands)
    for number in range(3):
        guard.heard(f"peer {number}", hands() + 20_000 * (number - 1))
    guard.check(hands() - DAY_MS)


@pytest.mark.parametrize(("off_ms", "way"), [(3 * HOUR_MS, "ahead of"), (-3 * HOUR_MS, "behind")])
async def test_a_clock_hours_off_signs_nothing_and_says_why(
    mock_clock: MockClock, off_ms: int, way: str
) -> None:
    hands = Hands()
    guard = ClockGuard(hands)
    true_ms = hands()
    hands.off_ms = off_ms
    for number in range(3):
        guard.heard(f"peer {number}", true_ms)
    with pytest.raises(RefusedError, match=f"3 h {way} the neighbours'") as refused:
        guard.check(None)
    assert "accept-clock" in refused.value.hint


async def test_one_lying_neighbour_among_three_changes_nothing(mock_clock: MockClock) -> None:
    hands = Hands()
    guard = ClockGuard(hands)
    guard.heard("honest", hands())
    guard.heard("honest too", hands())
    guard.heard("liar", hands() + 365 * DAY_MS)
    guard.check(None)


async def test_a_clock_behind_the_newest_own_entry_signs_nothing(mock_clock: MockClock) -> None:
    hands = Hands()
    guard = ClockGuard(hands)
    with pytest.raises(RefusedError, match="2 h behind the newest own entry"):
        guard.check(hands() + 2 * HOUR_MS)


async def test_a_clock_that_jumps_by_days_signs_nothing_until_a_neighbour_agrees(
    mock_clock: MockClock,
) -> None:
    hands = Hands()
    guard = ClockGuard(hands)
    guard.heard("peer", hands())
    guard.check(None)
    hands.off_ms = 3 * DAY_MS
    with pytest.raises(RefusedError, match="jumped by 3 days"):
        guard.check(None)
    guard.heard("peer", hands())
    guard.check(None)


async def test_a_week_of_waiting_is_no_jump(mock_clock: MockClock) -> None:
    guard = ClockGuard(Hands())
    guard.check(None)
    mock_clock.jump(7 * 24 * 3600)
    guard.check(None)


async def test_the_persons_word_ends_the_doubt(mock_clock: MockClock) -> None:
    hands = Hands()
    guard = ClockGuard(hands)
    guard.heard("peer", hands() + DAY_MS)
    assert guard.doubt(None) is not None
    guard.accept()
    guard.check(None)
