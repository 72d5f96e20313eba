"""Where few authors are visible, a place is told more coarsely."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from passby.geo.cells import cell_at, parent_at, resolution_of
from passby.geo.privacy import authors_by_cell, coarsen

HOME = cell_at(52.375, 4.884, 10)


def author(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_a_crowded_cell_is_published_as_it_is() -> None:
    counts = authors_by_cell((parent_at(HOME, 8), author(at)) for at in range(5))
    told = coarsen(HOME, counts, 5)
    assert (told.resolution, told.authors, told.enough) == (8, 5, True)
    assert "5 authors" in told.reason


def test_a_lonely_house_is_told_with_its_wider_neighbourhood() -> None:
    elsewhere = next(
        cell for cell in (cell_at(52.375 + at / 1000, 4.884) for at in range(1, 99))
        if parent_at(cell, 8) != parent_at(HOME, 8) and parent_at(cell, 7) == parent_at(HOME, 7)
    )  # fmt: skip
    counts = authors_by_cell([(HOME, author(1)), (elsewhere, author(2)), (elsewhere, author(3))])
    told = coarsen(HOME, counts, 3)
    assert (told.cell, told.authors, told.enough) == (parent_at(HOME, 7), 3, True)
    assert "one level finer there are 1" in told.reason


def test_where_nobody_is_the_topics_cell_is_told_and_owned_up_to() -> None:
    told = coarsen(HOME, {}, 3)
    assert (told.resolution, told.enough) == (5, False)
    assert "only 0 of the 3" in told.reason


def test_one_author_with_many_lots_is_no_crowd() -> None:
    counts = authors_by_cell([(HOME, author(1))] * 50)
    assert not coarsen(HOME, counts, 2).enough


def test_a_coarse_sighting_makes_no_finer_cell_crowded() -> None:
    wide = parent_at(HOME, 6)
    counts = authors_by_cell((wide, author(at)) for at in range(9))
    assert coarsen(HOME, counts, 9).resolution == 6


def test_a_cell_that_is_coarse_already_is_not_refined() -> None:
    assert coarsen(parent_at(HOME, 6), {parent_at(HOME, 6): 9}, 2).cell == parent_at(HOME, 6)


@given(st.lists(st.tuples(st.floats(52.2, 52.5), st.floats(4.7, 5.1), st.integers(0, 20))),
       st.integers(0, 6))  # fmt: skip
def test_it_is_the_finest_parent_with_enough_authors(
    seen: list[tuple[float, float, int]], k_authors: int
) -> None:
    counts = authors_by_cell((cell_at(lat, lon), author(who)) for lat, lon, who in seen)
    told = coarsen(HOME, counts, k_authors)
    enough = [at for at in (8, 7, 6, 5) if counts.get(parent_at(HOME, at), 0) >= k_authors]
    assert told.enough == bool(enough)
    assert resolution_of(told.cell) == told.resolution == (enough[0] if enough else 5)
    assert told.cell == parent_at(HOME, told.resolution)
