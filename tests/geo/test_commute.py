"""Habits in made-up weeks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from passby.geo.commute import TRIPS_MIN, Commute, learn
from passby.geo.corridor import Fix

HOME = (52.37, 4.89)
WORK = (52.31, 4.94)
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def local(at_ms: int) -> tuple[int, int]:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.weekday(), at.hour * 60 + at.minute


def trip(
    day: int, minute: int, start: tuple[float, float] = HOME, goal: tuple[float, float] = WORK
) -> list[Fix]:
    begun_ms = int((MONDAY + timedelta(days=day, minutes=minute)).timestamp() * 1000)
    return [
        (
            start[0] + (goal[0] - start[0]) * at / 10,
            start[1] + (goal[1] - start[1]) * at / 10,
            begun_ms + at * 90_000,
        )
        for at in range(11)
    ]


def test_a_way_made_on_workdays_is_one_habit() -> None:
    mornings = [trip(day, 8 * 60 + 10 * day) for day in range(5)]
    assert learn(mornings, local) == [
        Commute((0, 1, 2, 3, 4), 8 * 60 + 20, 5, tuple(mornings[2])),
    ]


def test_there_and_back_are_two_habits() -> None:
    days = [
        each
        for day in range(4)
        for each in (trip(day, 8 * 60), trip(day, 17 * 60, start=WORK, goal=HOME))
    ]
    found = learn(days, local)
    assert [commute.minute for commute in found] == [8 * 60, 17 * 60]


def test_twice_is_no_habit() -> None:
    assert TRIPS_MIN == 3
    assert learn([trip(0, 480), trip(1, 480)], local) == []


def test_another_time_of_day_is_another_habit() -> None:
    trips = [trip(day, minute) for day in range(3) for minute in (480, 480 + 240)]
    assert len(learn(trips, local)) == 2


def test_the_same_time_across_midnight_is_the_same_time() -> None:
    minutes = [24 * 60 - 10, 24 * 60 + 10, 24 * 60 - 5]
    found = learn([trip(day, minute) for day, minute in enumerate(minutes)], local)
    assert [commute.minute for commute in found] == [24 * 60 - 5]


def test_a_car_parked_round_the_corner_is_at_home() -> None:
    aside = (HOME[0] + 0.003, HOME[1])
    trips = [trip(0, 480), trip(1, 480, start=aside), trip(2, 480)]
    assert [commute.trips for commute in learn(trips, local)] == [3]


def test_the_order_of_the_files_does_not_matter() -> None:
    trips = [trip(day, 480 + day) for day in range(5)] + [trip(6, 700)]
    assert learn(trips, local) == learn(trips[::-1], local)


def test_an_empty_trip_is_passed_over() -> None:
    assert learn([[]], local) == []
