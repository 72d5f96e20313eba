"""Lots that follow files: nothing is listed twice, and the market says what the shelf holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from passby.geo.cells import cell_at, cell_text
from passby.geo.lots import Side
from passby.ledger.store_memory import MemoryStore
from passby.node import stock as stock_module
from passby.node.config import Config
from passby.node.net_memory import MemoryWorld
from passby.node.participant import Identity, Participant
from passby.node.row_keys import keys_of
from passby.node.stock import Stock
from passby.node.storage import InlineStorage
from passby.node.watching import Watch
from passby.protocol.errors import RefusedError
from passby.protocol.keys import Certificate, SigningKey

NOW_MS = 1_800_000_000_000
HERE = cell_at(52.375, 4.884)
EGGS: dict[str, Any] = {
    "side": "offer",
    "name": "Eggs",
    "category": "food/eggs",
    "unit": "H87",
    "amount": 6,
    "price": {"minor": 30, "per_amount": 1, "currency": "EUR"},
}
MILK = EGGS | {"name": "Milk", "category": "food/milk", "unit": "MLT", "amount": 1000}
HEADER = "name,amount,price,gtin\n"


class Shop:
    """A node that lists what its files say."""

    def __init__(self, path: Path | None = None) -> None:
        key = SigningKey(b"shop".ljust(32))
        certificate = Certificate.issue(SigningKey(bytes(32)), key.public, NOW_MS)
        self.now_ms = NOW_MS
        self.node = Participant(
            Identity(key, "shop", certificate.raw, bytes(16), bytes(32)),
            HERE,
            InlineStorage(MemoryStore(), key.public),
            MemoryWorld(1).node("shop"),
            lambda: self.now_ms,
            os.urandom,
        )
        self.path = path
        self.stock = Stock(path, self.node)
        self.config = Config(name="shop", cell=cell_text(HERE))
        self.watch = Watch(lambda: self.config, self.stock, lambda: self.now_ms)

    async def open(self) -> None:
        await self.node.say([self.node.identity.genesis()])

    async def take(self, *lots: dict[str, Any], whole: bool = False) -> list[str]:
        rows = list(zip(keys_of(lots), lots, strict=True))
        results = await self.stock.take("shop.csv", rows, whole=whole)
        return [result.get("done", "error") for result in results]

    def on_offer(self) -> dict[str, int]:
        found = self.node.market.near(Side.OFFER, own=True, radius_m=1000, limit=100)
        return {self.node.market._name(lot): lot.remaining for lot, _ in found}

    async def look(self) -> None:
        await self.watch.look()
        await self.watch.look()


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "stock.json")
    await made.open()
    return made


async def test_the_same_rows_again_list_nothing_twice(shop: Shop) -> None:
    assert await shop.take(EGGS, MILK) == ["listed", "listed"]
    head = shop.node.chains.head_seq(shop.node.chains.author)
    later = EGGS | {"until_ms": NOW_MS + 5_000_000}
    assert await shop.take(later, MILK) == ["same", "same"]
    assert shop.node.chains.head_seq(shop.node.chains.author) == head


async def test_a_restart_forgets_no_row(shop: Shop) -> None:
    await shop.take(EGGS)
    again = Stock(shop.path, shop.node)
    (result,) = await again.take("shop.csv", [(keys_of([EGGS])[0], EGGS)])
    assert result["done"] == "same"


async def test_another_amount_sets_what_is_left_and_another_price_replaces_the_lot(
    shop: Shop,
) -> None:
    await shop.take(EGGS)
    assert await shop.take(EGGS | {"amount": 4}) == ["amount"]
    assert shop.on_offer() == {"Eggs": 4}
    dearer = EGGS | {"amount": 4, "price": {"minor": 40, "per_amount": 1, "currency": "EUR"}}
    assert await shop.take(dearer) == ["replaced"]
    assert shop.on_offer() == {"Eggs": 4}


async def test_what_is_gone_from_a_whole_file_is_taken_off_the_market(shop: Shop) -> None:
    await shop.take(EGGS, MILK)
    await shop.take(MILK, whole=True)
    assert shop.on_offer() == {"Milk": 1000}
    assert await shop.take(EGGS, MILK, whole=True) == ["listed", "same"]


async def test_what_has_run_out_is_listed_anew(shop: Shop) -> None:
    await shop.take(EGGS | {"until_ms": NOW_MS + 60_000})
    shop.now_ms += 60_001
    assert await shop.take(EGGS) == ["listed"]


async def test_two_rows_of_one_name_are_two_lots(shop: Shop) -> None:
    assert await shop.take(EGGS, EGGS) == ["listed", "listed"]
    assert await shop.take(EGGS, EGGS) == ["same", "same"]


async def test_a_row_that_cannot_be_holds_up_no_other(shop: Shop) -> None:
    assert await shop.take(EGGS | {"amount": 0}, MILK) == ["error", "listed"]


async def test_more_rows_than_are_remembered_list_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_module, "STOCK_ROWS_MAX", 1)
    with pytest.raises(RefusedError):
        await shop.take(EGGS, MILK)
    assert shop.on_offer() == {}


async def test_a_watched_folder_follows_its_file(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "stock"
    folder.mkdir()
    shop.config = msgspec.structs.replace(shop.config, stock_folder=str(folder))
    file = folder / "shop.csv"
    file.write_text(HEADER + "Eggs,6 pieces,0.30EUR,\nMilk,1 l,1EUR,\n")
    await shop.watch.look()
    assert shop.on_offer() == {}, "a file that may still be written was read"
    await shop.watch.look()
    assert shop.on_offer() == {"Eggs": 6, "Milk": 1000}
    file.write_text(HEADER + "Eggs,12 pieces,0.30EUR,\n")
    await shop.look()
    assert shop.on_offer() == {"Eggs": 12}
    file.unlink()
    await shop.look()
    assert shop.on_offer() == {}


async def test_a_row_that_cannot_be_read_takes_nothing_off_the_market(
    shop: Shop, tmp_path: Path
) -> None:
    folder = tmp_path / "stock"
    folder.mkdir()
    shop.config = msgspec.structs.replace(shop.config, stock_folder=str(folder))
    file = folder / "shop.csv"
    file.write_text(HEADER + "Eggs,6 pieces,0.30EUR,\nMilk,1 l,1EUR,\n")
    await shop.look()
    file.write_text(HEADER + "Eggs,6 pieces,0.30EUR,\nMilk,1 l,lots of money,\n")
    await shop.look()
    assert shop.on_offer() == {"Eggs": 6, "Milk": 1000}


async def test_a_folder_that_is_away_is_no_empty_shop(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "stock"
    folder.mkdir()
    shop.config = msgspec.structs.replace(shop.config, stock_folder=str(folder))
    (folder / "shop.csv").write_text(HEADER + "Eggs,6 pieces,0.30EUR,\n")
    await shop.look()
    folder.rename(tmp_path / "away")
    await shop.look()
    assert shop.on_offer() == {"Eggs": 6}


def test_a_product_is_known_by_its_gtin_whatever_it_is_called() -> None:
    first, second = (EGGS | {"gtin": "4006381333931", "name": name} for name in ("Pen", "Pens"))
    assert keys_of([first]) == keys_of([second]) != keys_of([EGGS])
