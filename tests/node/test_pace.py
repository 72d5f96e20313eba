"""When a writer is woken, on virtual time."""

from __future__ import annotations

import trio
import trio.testing

from passby.node.pace import Bell, Pace
from passby.protocol.limits import TICK_MAX_S, TICK_MIN_S


async def test_the_first_news_are_written_at_once_and_the_next_gather_for_a_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bell, begun_s = Bell(Pace()), trio.current_time()
    bell.tell()
    await bell.wait()
    assert trio.current_time() == begun_s
    bell.listen()
    for _ in range(5):
        bell.tell()
    await bell.wait()
    assert trio.current_time() == begun_s + TICK_MIN_S
    # After a rest it is at once again.
    bell.listen()
    await trio.sleep(1)
    bell.tell()
    await bell.wait()
    assert trio.current_time() == begun_s + TICK_MIN_S + 1


async def test_what_a_peer_waits_for_does_not_wait_for_the_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bell = Bell(Pace())
    bell.tell()
    await bell.wait()
    begun_s = trio.current_time()
    bell.listen()
    bell.tell()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bell.wait)
        await trio.sleep(TICK_MIN_S / 2)
        bell.ring()
    assert trio.current_time() == begun_s + TICK_MIN_S / 2


def test_the_tick_grows_while_timers_are_late_and_shrinks_again_within_its_bounds() -> None:
    pace = Pace()
    for _ in range(50):
        pace.woke(late_s=pace.tick_s)
    assert pace.tick_s == TICK_MAX_S
    pace.woke(late_s=pace.tick_s / 6)
    assert pace.tick_s == TICK_MAX_S
    for _ in range(200):
        pace.woke(late_s=0)
    assert pace.tick_s == TICK_MIN_S
