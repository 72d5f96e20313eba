"""Cells: from degrees and text, upwards, apart, and whatever a peer may send for one."""

from __future__ import annotations

import math

import h3.api.basic_int as h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.geo.cells import (
    cell_at,
    cell_text,
    centre_of,
    distance_m,
    index_cell,
    is_cell,
    parent_at,
    parse_cell,
    parse_place,
    peer_cell,
    reach_of_cell_m,
    resolution_of,
    spread_m,
    topic_cell,
    unit_vector,
)
from passby.protocol.errors import RemoteError, UsageError

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
resolutions = st.integers(0, 15)


@given(latitudes, longitudes, resolutions)
def test_a_point_lies_in_its_cell_and_near_its_centre(
    latitude: float, longitude: float, resolution: int
) -> None:
    cell = cell_at(latitude, longitude, resolution)
    assert is_cell(cell)
    assert resolution_of(cell) == resolution
    apart_m = h3.great_circle_distance((latitude, longitude), centre_of(cell), "m")
    assert apart_m <= reach_of_cell_m(resolution) + 1e-3


@given(latitudes, longitudes, resolutions)
def test_the_text_of_a_cell_reads_back(latitude: float, longitude: float, resolution: int) -> None:
    cell = cell_at(latitude, longitude, resolution)
    assert parse_cell(cell_text(cell)) == cell
    assert parse_place(cell_text(cell).upper()) == cell
    assert cell_text(cell) == h3.int_to_str(cell)


@given(latitudes, longitudes, resolutions, resolutions)
def test_a_parent_is_coarser_or_the_cell_itself(
    latitude: float, longitude: float, resolution: int, wanted: int
) -> None:
    parent = parent_at(cell_at(latitude, longitude, resolution), wanted)
    assert resolution_of(parent) == min(resolution, wanted)


@given(st.one_of(st.integers(), st.integers(0, 2**64 - 1), st.text(), st.none(), st.booleans()))
def test_nothing_but_a_remote_error_comes_of_a_bad_cell(value: object) -> None:
    try:
        cell = peer_cell(value)
    except RemoteError:
        return
    assert h3.is_valid_cell(cell)


@given(latitudes, longitudes, resolutions)
def test_a_peer_may_name_cells_from_the_topics_resolution_down(
    latitude: float, longitude: float, resolution: int
) -> None:
    cell = cell_at(latitude, longitude, resolution)
    if resolution < 5:
        with pytest.raises(RemoteError):
            peer_cell(cell)
    else:
        assert peer_cell(cell) == cell
        assert resolution_of(topic_cell(cell)) == 5


def test_a_directed_edge_is_no_cell() -> None:
    edge = h3.origin_to_directed_edges(cell_at(52.375, 4.884))[0]
    assert not is_cell(edge)


@given(st.text())
def test_what_a_person_types_is_a_cell_or_a_usage_error(text: str) -> None:
    try:
        cell = parse_place(text)
    except UsageError:
        return
    assert is_cell(cell)


@pytest.mark.parametrize("text", ["52.375,4.884", " 52.375, 4.884 ", "52.375 4.884"])
def test_degrees_may_be_spaced_as_people_space_them(text: str) -> None:
    assert parse_place(text, 9) == cell_at(52.375, 4.884, 9)


@pytest.mark.parametrize(
    "text", ["", "52.375", "1,2,3", "here", "nan,0", "inf,0", "91,0", "0,181", "881969516bffff"]
)
def test_what_is_no_place_says_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_place(text)
    assert caught.value.hint


def test_a_resolution_out_of_range_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        cell_at(0, 0, 16)


@given(latitudes, longitudes, latitudes, longitudes)
def test_distance_is_the_same_both_ways_and_that_of_the_unit_vectors(
    lat1: float, lon1: float, lat2: float, lon2: float
) -> None:
    one, other = cell_at(lat1, lon1), cell_at(lat2, lon2)
    apart_m = distance_m(one, other)
    assert apart_m == distance_m(other, one)
    chord = math.dist(unit_vector(one), unit_vector(other))
    assert apart_m == pytest.approx(2 * 6_371_007.18 * math.asin(min(chord / 2, 1)), abs=2)


def test_the_antimeridian_does_not_separate_neighbours() -> None:
    assert distance_m(cell_at(-17.0, 179.999), cell_at(-17.0, -179.999)) < 1_500


def test_all_longitudes_meet_at_the_pole() -> None:
    assert len({cell_at(90, longitude) for longitude in range(-180, 181, 30)}) == 1


@given(latitudes, longitudes, st.integers(5, 15), st.sampled_from([5, 7, 8]))
def test_the_index_cell_holds_the_centre(
    latitude: float, longitude: float, resolution: int, grid: int
) -> None:
    cell = cell_at(latitude, longitude, resolution)
    at = index_cell(cell, grid)
    assert resolution_of(at) == grid
    assert distance_m(cell, at) <= reach_of_cell_m(grid) + 1


def test_only_cells_coarser_than_the_default_have_a_spread() -> None:
    home = cell_at(52.375, 4.884, 15)
    assert [spread_m(parent_at(home, at)) for at in (15, 9, 8)] == [0, 0, 0]
    assert [spread_m(parent_at(home, at)) for at in (7, 6, 5)] == [1406, 3725, 9854]
