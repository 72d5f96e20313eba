"""Topics, and cells read by their bits: held against the h3 library."""

from __future__ import annotations

import h3.api.basic_int as h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.protocol.topics import (
    TOPIC_RESOLUTION,
    is_cell_at,
    resolution_of,
    topic_cell,
    topic_for,
)

CELL = h3.latlng_to_cell(52.375, 4.884, TOPIC_RESOLUTION)
places = st.tuples(st.floats(-89, 89), st.floats(-179, 179))


@given(places, st.integers(0, 15), st.integers(0, 15))
def test_every_cell_is_one_at_its_own_resolution_only(
    at: tuple[float, float], resolution: int, other: int
) -> None:
    cell = h3.latlng_to_cell(*at, resolution)
    assert is_cell_at(cell, other) == (other == resolution)
    assert resolution_of(cell) == resolution


@given(st.integers(0, 63), places)
def test_a_flipped_bit_is_no_cell_where_the_library_says_so(
    bit: int, at: tuple[float, float]
) -> None:
    cell = h3.latlng_to_cell(*at, TOPIC_RESOLUTION) ^ 1 << bit
    if h3.is_valid_cell(cell) and h3.get_resolution(cell) == TOPIC_RESOLUTION:
        assert is_cell_at(cell, TOPIC_RESOLUTION)


def test_a_topic_names_its_cell() -> None:
    assert topic_for(CELL) == f"passby/1/{CELL:x}"
    assert topic_cell(topic_for(CELL)) == CELL


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "passby/1/",
        f"passby/2/{CELL:x}",
        f"passby/1/{CELL:X}",
        f"passby/1/0{CELL:x}",
        f"passby/1/{CELL:x} ",
        f"passby/1/{h3.cell_to_parent(CELL, 4):x}",
        f"{CELL:x}",
        "passby/1/" + "1" * 15,
    ],
)
def test_any_other_name_is_no_topic_of_ours(topic: str) -> None:
    assert topic_cell(topic) is None


def test_numbers_that_are_too_large_are_no_cells() -> None:
    assert not is_cell_at(CELL | 1 << 64, TOPIC_RESOLUTION)
    assert not is_cell_at(CELL | 1 << 63, TOPIC_RESOLUTION)
