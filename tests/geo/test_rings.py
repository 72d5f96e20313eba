"""Rings, topics and covers, at pentagons, the poles and the antimeridian as elsewhere."""

from __future__ import annotations

import h3.api.basic_int as h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.geo.cells import cell_at, distance_m, reach_of_cell_m, resolution_of
from passby.geo.rings import cover, disk, ring, topics_around

PENTAGONS = {resolution: h3.get_pentagons(resolution) for resolution in (5, 7, 8)}
odd_places = st.sampled_from([(90.0, 0.0), (-90.0, 0.0), (0.0, 180.0), (66.0, -180.0)])


def cells(resolution: int) -> st.SearchStrategy[int]:
    """Any cell of `resolution`, those at and round the pentagons as likely as all others."""
    anywhere = st.builds(
        lambda latitude, longitude: cell_at(latitude, longitude, resolution),
        st.floats(-90, 90),
        st.floats(-180, 180),
    )
    odd = odd_places.map(lambda at: cell_at(*at, resolution))
    by_pentagon = st.sampled_from(PENTAGONS[resolution]).flatmap(
        lambda pentagon: st.sampled_from(sorted(h3.grid_disk(pentagon, 3)))
    )
    return anywhere | by_pentagon | odd


def test_a_node_listens_to_its_own_topic_and_the_six_around_it() -> None:
    home = cell_at(52.375, 4.884, 11)
    topics = topics_around(home)
    assert len(topics) == 7
    assert cell_at(52.375, 4.884, 5) in topics
    assert {resolution_of(topic) for topic in topics} == {5}


def test_a_home_at_a_pentagon_has_five_neighbouring_topics() -> None:
    for pentagon in PENTAGONS[5]:
        assert len(topics_around(pentagon)) == 6


@given(cells(8), st.integers(0, 5))
def test_rings_add_up_to_the_disk_and_never_overlap(cell: int, ring_k: int) -> None:
    rings = [ring(cell, at) for at in range(ring_k + 1)]
    together = [at for one in rings for at in one]
    assert len(together) == len(set(together))
    assert tuple(sorted(together)) == disk(cell, ring_k)


@pytest.mark.parametrize("resolution", [5, 7, 8])
@given(data=st.data())
def test_a_cover_misses_no_cell_that_reaches_into_the_circle(
    resolution: int, data: st.DataObject
) -> None:
    cell = data.draw(cells(resolution))
    edge_m = h3.average_hexagon_edge_length(resolution, "m")
    radius_m = int(edge_m * data.draw(st.floats(0, 6)))
    found = cover(cell, radius_m)
    assert found is not None
    assert len(found) == len(set(found))
    for at in set(h3.grid_disk(cell, 10)) - set(found):
        corners = [*h3.cell_to_boundary(at), h3.cell_to_latlng(at)]
        nearest_m = min(
            h3.great_circle_distance(h3.cell_to_latlng(cell), corner, "m") for corner in corners
        )
        assert nearest_m > radius_m
    farthest_m = radius_m + reach_of_cell_m(resolution)
    assert all(distance_m(cell, at) <= farthest_m + 1 for at in found)


def test_a_cover_of_half_the_world_is_refused() -> None:
    assert cover(cell_at(52.375, 4.884, 8), 10_000_000) is None
    assert cover(cell_at(52.375, 4.884, 8), 39_000) is None
