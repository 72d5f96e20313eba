"""The market's quality figure: on a small town, that it repeats itself and bends nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from passby.node.bench import welfare, welfare_town
from passby.node.bench.welfare_people import Kind, Memory
from passby.node.bench.welfare_run import trade_all
from passby.node.bench.welfare_town import Town
from passby.protocol.errors import LocalError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
PEOPLE = 24
needs_data = pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not here")


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    monkeypatch.setattr(welfare_town, "PEOPLE", PEOPLE)
    monkeypatch.setattr(welfare_town, "LOTS", 12)
    monkeypatch.setattr(welfare_town, "WORDS", ("cheese", "tea"))
    return welfare_town.build(5, DATA)


@needs_data
def test_a_town_wants_half_as_much_again_as_it_has(town: Town) -> None:
    supply = sum(lot.pieces for lot in town.lots)
    wanted = sum(wish.request.amount for wish in town.wishes)
    assert wanted == -(-3 * supply // 2)


@needs_data
@pytest.mark.parametrize("first_come", [False, True])
def test_the_same_seed_trades_the_same_and_nothing_is_oversold(
    town: Town, first_come: bool
) -> None:
    kinds = welfare.kinds_with_liars(1, PEOPLE)
    first, again = (trade_all(town, 3, kinds, first_come=first_come) for _ in range(2))
    assert first == again
    assert first.trades > 0
    assert sum(first.seen_sold.values()) <= sum(lot.pieces for lot in town.lots)
    assert all(count <= 6 for count in first.seen_sold.values())


@needs_data
def test_no_way_of_trading_is_worth_more_than_the_solvers_bound(town: Town) -> None:
    pytest.importorskip("scipy")
    everybody = range(PEOPLE)
    honest = [Kind.HONEST for _ in everybody]
    best = welfare.best_minor(town, everybody)
    bidding = trade_all(town, 3, honest)
    first_come = trade_all(town, 3, honest, first_come=True)
    assert 0 < first_come.welfare_minor < bidding.welfare_minor <= best
    assert bidding.welfare_minor == bidding.between_honest_minor


@needs_data
def test_the_solver_finds_the_one_trade_of_two_people(town: Town) -> None:
    pytest.importorskip("scipy")
    alone = welfare.best_minor(town, {wish.taker for wish in town.wishes[:1]})
    assert alone == 0


def test_a_quarter_lies_in_every_way_there_is() -> None:
    kinds = welfare.kinds_with_liars(1, 200)
    assert sum(kind is not Kind.HONEST for kind in kinds) == 50
    assert set(kinds) == set(Kind)


def test_a_market_too_easy_to_tell_anything_is_refused() -> None:
    welfare.refuse_the_easy(0.8)
    with pytest.raises(LocalError, match=r"too easy.* 0\.9"):
        welfare.refuse_the_easy(0.9)


def test_one_accuser_is_believed_by_nobody_else_once_trades_were_kept() -> None:
    memory = Memory()
    memory.kept(1, 2)
    memory.broke(1, by=3)
    assert memory.is_doubted(1, by=3)
    assert not memory.is_doubted(1, by=4)
    memory.broke(1, by=5)
    assert memory.is_doubted(1, by=4)
