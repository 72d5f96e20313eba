"""A way, its cells, and what a stop beside it costs."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.geo.cells import cell_at, centre_of, resolution_of
from passby.geo.corridor import (
    CIRCUITY,
    STEP_M,
    ahead,
    detours_m,
    meeting,
    place_on_sphere,
    planned,
    recorded,
    stretches,
    wishes,
)
from passby.protocol.limits import TOPIC_RESOLUTION, WAY_POINTS_MAX, WISH_CELLS_MAX
from passby.protocol.payloads import Window

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000
HERE = (52.37, 4.89)
DEGREE_M = 111_195
anywhere = st.tuples(st.floats(-85, 85), st.floats(-180, 180))


def east(metres: float, north_m: float = 0) -> tuple[float, float]:
    """Degrees so many metres from HERE."""
    latitude = HERE[0] + north_m / DEGREE_M
    return latitude, HERE[1] + metres / DEGREE_M / math.cos(math.radians(HERE[0]))


def straight(length_m: int) -> list[tuple[float, float, int]]:
    """A track east from HERE at 10 m/s, a fix each 50 m."""
    return [(*east(at), START_MS + at * 100) for at in range(0, length_m + 1, 50)]


def detour_m(way_length_m: int, place: tuple[float, float], window: Window | None = None) -> float:
    way = recorded(straight(way_length_m))
    extra, _ = detours_m(way, place_on_sphere(*place), window, 36)
    return float(extra[0])


def test_a_stop_on_the_way_costs_nothing_worth_speaking_of() -> None:
    assert detour_m(5_000, east(2_000)) < CIRCUITY * STEP_M


def test_a_stop_behind_the_start_costs_the_way_there_and_back_on_roads() -> None:
    assert detour_m(5_000, east(-1_000)) == pytest.approx(2 * CIRCUITY * 1_000, rel=0.01)


def test_a_stop_beside_the_way_is_left_for_early_and_rejoined_later() -> None:
    there_and_back = 2 * CIRCUITY * 1_000
    assert CIRCUITY * 1_000 < detour_m(5_000, east(2_500, north_m=1_000)) < 0.9 * there_and_back


def test_a_round_trip_is_no_shortcut_past_its_own_far_end() -> None:
    out = straight(8_000)
    turn_ms = out[-1][2]
    back = [(*east(at), turn_ms + (8_000 - at) * 100) for at in range(7_950, -1, -50)]
    home_side = place_on_sphere(*east(0, north_m=1_000))
    extra, _ = detours_m(recorded([*out, *back]), home_side, None, 36)
    assert extra[0] > CIRCUITY * 1_000


def test_a_lot_is_met_only_within_its_hours() -> None:
    place = east(2_000)
    passed_ms = START_MS + 200_000
    assert (
        detour_m(5_000, place, Window(passed_ms - 20_000, passed_ms + 20_000)) < CIRCUITY * STEP_M
    )
    assert detour_m(5_000, place, Window(passed_ms + HOUR_MS, passed_ms + 2 * HOUR_MS)) == math.inf


def test_a_wait_is_no_way_to_meet_hours_that_come_later() -> None:
    assert (
        detour_m(1_000, east(500), Window(START_MS + HOUR_MS, START_MS + 2 * HOUR_MS)) == math.inf
    )


def test_a_meeting_is_likelier_the_nearer_the_cell_lies_to_the_way() -> None:
    way = recorded(straight(5_000))
    likelihoods = []
    for north_m in (0, 1_000, 1_500, 4_000):
        found = meeting(way, cell_at(*east(2_500, north_m)), None, 300, 30)
        likelihoods.append(found.likelihood if found else 0.0)
    assert likelihoods[0] == 1.0
    assert likelihoods[-1] == 0.0
    assert likelihoods == sorted(likelihoods, reverse=True)


def test_a_meeting_tells_when_the_way_is_left_and_what_it_costs() -> None:
    found = meeting(recorded(straight(5_000)), cell_at(*east(2_500, 700)), None, 600, 30)
    assert found is not None
    assert START_MS + 60_000 < found.passing_ms < START_MS + 400_000
    assert 60 < found.detour_s < 600


def test_cells_come_in_the_order_of_passing_and_their_times_join() -> None:
    found = stretches(recorded(straight(6_000)), 8)
    assert len(found) > 4
    assert all(one.cell != after.cell for one, after in pairwise(found))
    assert all(one.until_ms < after.from_ms for one, after in pairwise(found))
    assert found[0].from_ms == START_MS
    assert found[-1].until_ms == START_MS + 600_000


def test_a_published_wish_names_topic_cells_and_whole_hours() -> None:
    said = wishes(planned([HERE, (51.92, 4.48), (51.44, 5.47)], START_MS, 80))
    assert 3 < len(said) <= WISH_CELLS_MAX
    assert {resolution_of(one.cell) for one in said} == {TOPIC_RESOLUTION}
    assert len({one.cell for one in said}) == len(said)
    assert all(one.from_ms % HOUR_MS == one.until_ms % HOUR_MS == 0 for one in said)


def test_a_planned_way_takes_the_time_of_its_roads() -> None:
    way = planned([HERE, east(10_000)], START_MS, 36)
    assert way.way_m[-1] == pytest.approx(10_000 * CIRCUITY, rel=0.01)
    assert (way.at_ms[-1] - START_MS) / 1000 == pytest.approx(1_300, rel=0.01)


def test_heading_and_speed_lead_where_they_point() -> None:
    way = ahead(HERE, 90, 36, START_MS, 600)
    assert way.way_m[-1] == pytest.approx(6_000, rel=0.01)
    goal = place_on_sphere(*east(6_000 / CIRCUITY))
    assert float(np.linalg.norm(way.at[-1] - goal[0])) * 6_371_007 < 50


def test_a_way_without_a_point_is_none() -> None:
    with pytest.raises(ValueError, match="without a point"):
        recorded([])


def test_a_single_fix_is_a_way() -> None:
    way = recorded([(*HERE, START_MS)])
    assert meeting(way, cell_at(*HERE), None, 300, 30) is not None


def test_a_way_round_the_world_has_no_more_points_than_the_bound() -> None:
    places = [(0.0, longitude) for longitude in range(-179, 180, 30)]
    assert len(planned(places, START_MS, 900)) == WAY_POINTS_MAX


@given(start=anywhere, heading=st.floats(0, 360), offset=st.floats(-3_000, 3_000))
def test_a_stop_costs_the_same_wherever_on_earth_it_is(
    start: tuple[float, float], heading: float, offset: float
) -> None:
    way = ahead(start, heading, 36, START_MS, 500)
    middle = way.at[len(way) // 2]
    extra, _ = detours_m(way, middle[None, :], None, 36)
    assert extra[0] < 2 * CIRCUITY * STEP_M


@given(start=anywhere, heading=st.floats(0, 360))
def test_the_cells_of_a_way_hold_its_points(start: tuple[float, float], heading: float) -> None:
    way = ahead(start, heading, 60, START_MS, 900)
    for stretch in stretches(way, 8):
        centre = place_on_sphere(*centre_of(stretch.cell))[0]
        nearest_m = float(np.linalg.norm(way.at - centre, axis=1).min()) * 6_371_007
        assert nearest_m < 800
