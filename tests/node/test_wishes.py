"""Wishes and own things: matched at home, told as lots arrive, and published to nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, street

from passby.geo.match import Match
from passby.node import garage as garage_module
from passby.node.clock import machine_clock
from passby.node.garage import Garage, fits
from passby.node.listing import read_listed
from passby.node.wishes import Wish, Wishes
from passby.protocol.errors import RefusedError, UsageError

WISH: dict[str, Any] = {
    "side": "request",
    "name": "Brake fluid",
    "category": "fluids",
    "unit": "MLT",
    "amount": 473,
    "price": {"minor": 300, "per_amount": 473, "currency": "EUR"},
}


def wishes_of(household: Household, path: Path | None = None) -> Wishes:
    return Wishes(path, household.participant.market, household.author, household.clock)


async def test_a_lot_that_fits_a_wish_is_told_of_as_it_arrives_and_nothing_was_published(
    tmp_path: Path,
) -> None:
    async with street(MemoryMaker()) as lane:
        ann, ben = await lane.settle("ann", "ben")
        wishes = wishes_of(ben, tmp_path / "wishes.json")
        told: list[tuple[Wish, Match]] = []
        wishes.on_fulfilled(lambda wish, match: told.append((wish, match)))
        head = ben.participant.chains.head_seq(ben.author)
        saved = wishes.save(read_listed(WISH))
        assert wishes.matches(saved, 5) == []
        await ann.list(price={"minor": 4000, "per_amount": 946, "currency": "EUR"})
        lot = await ann.list()
        await eventually(lambda: bool(told))
        ((wish, match),) = told
        assert (wish, match.offer.id, match.amount) == (saved, lot, 473)
        assert [found.offer.id for found in wishes.matches(saved, 5)] == [lot]
        assert ben.participant.chains.head_seq(ben.author) == head
        assert len(ann.participant.market.requests) == 0
        # A restart keeps it; what is dropped is gone.
        again = wishes_of(ben, tmp_path / "wishes.json")
        assert again.held() == [saved]
        again.drop(saved.id[:4])
        assert wishes_of(ben, tmp_path / "wishes.json").held() == []


async def test_own_lots_fulfil_no_wish_and_a_wish_whose_day_is_over_is_gone() -> None:
    async with street(MemoryMaker()) as lane:
        (ben,) = await lane.settle("ben")
        wishes = wishes_of(ben)
        lasting = wishes.save(read_listed(WISH))
        brief = wishes.save(read_listed(WISH | {"until_ms": machine_clock() + 60_000}))
        assert wishes.held() == [lasting, brief]
        await ben.list()
        assert wishes.matches(lasting, 5) == []
        lane.clock.ahead_ms += 90 * 24 * 3_600_000
        assert wishes.held() == [lasting]


async def test_a_wish_that_cannot_be_is_refused() -> None:
    async with street(MemoryMaker()) as lane:
        (ben,) = await lane.settle("ben")
        wishes = wishes_of(ben)
        for wrong in ({"side": "offer"}, {"amount": 0}, {"category": "///"}):
            with pytest.raises(UsageError):
                wishes.save(read_listed(WISH | wrong))
        with pytest.raises(RefusedError):
            wishes.drop("ab")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("VW Golf 2003-2009", "vw golf 2009"),
        ("VW Golf", "VW Golf Variant 2009"),
        ("Golf VW 2003-", "VW Golf 2020"),
        ("VW Golf 2003\u20132009", "VW Golf"),
        ("Saab 9-3 1999", "1999 Saab 9-3"),
        ("\u0160koda Octavia", "\u0160KODA octavia"),
    ],
)
def test_what_a_product_says_it_fits_takes_in(said: str, name: str) -> None:
    assert fits(said, name)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("VW Golf 2003-2009", "VW Golf 2010"),
        ("VW Golf 2003-2009", "VW Polo 2005"),
        ("VW Golf", "Golf clubs"),
        ("2003-2009", "VW Golf 2005"),
        ("Saab 9-3", "Saab 9-5"),
        ("", "VW Golf"),
    ],
)
def test_what_a_product_says_it_fits_leaves_out(said: str, name: str) -> None:
    assert not fits(said, name)


def test_the_garage_keeps_what_is_added_and_names_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "garage.json"
    garage = Garage(path)
    golf = garage.add("  VW  Golf 2009 ")
    garage.add("Miele W1")
    assert Garage(path).fitted(["Audi A3 2004-2012", "VW Golf 2003-2009"]) == ["VW Golf 2009"]
    assert path.stat().st_mode & 0o77 == 0
    garage.drop(golf.id)
    assert garage.fitted(["VW Golf 2003-2009"]) == []
    for wrong in ("", "2009", "x" * 65):
        with pytest.raises(UsageError):
            garage.add(wrong)
    monkeypatch.setattr(garage_module, "GARAGE_MAX", 1)
    with pytest.raises(RefusedError):
        garage.add("Saab 9-3")
