"""Base units."""

from __future__ import annotations

import pytest

from passby.protocol.units import SYMBOL, TO_BASE, Unit, to_base


@pytest.mark.parametrize(
    ("code", "top", "bottom", "expected"),
    [
        ("QT", 1, 1, (Unit.MILLILITRE, 946)),
        ("QT", 1, 2, (Unit.MILLILITRE, 473)),
        ("QTI", 1, 2, (Unit.MILLILITRE, 568)),
        ("LTR", 3, 2, (Unit.MILLILITRE, 1500)),
        ("GLL", 1, 1, (Unit.MILLILITRE, 3785)),
        ("LBR", 1, 1, (Unit.GRAM, 454)),
        ("HUR", 1, 4, (Unit.MINUTE, 15)),
        ("DZN", 1, 2, (Unit.PIECE, 6)),
        ("MLT", 1, 2, (Unit.MILLILITRE, 1)),
        ("MLT", 1, 3, (Unit.MILLILITRE, 0)),
    ],
)
def test_an_amount_is_stored_in_whole_base_units_rounded_half_up(
    code: str, top: int, bottom: int, expected: tuple[Unit, int]
) -> None:
    assert to_base(code, top, bottom) == expected


def test_a_unit_nobody_knows_is_no_unit() -> None:
    with pytest.raises(KeyError):
        to_base("XXX", 1, 1)


def test_every_base_unit_is_its_own_and_has_a_symbol() -> None:
    assert set(SYMBOL) == set(Unit)
    for unit in Unit:
        assert TO_BASE[unit.value] == (unit, 1, 1)
