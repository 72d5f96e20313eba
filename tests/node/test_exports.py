"""What is exported is read back by the own import, and a name is no formula."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from passby.geo.cells import cell_at, cell_text, resolution_of
from passby.node.exports import schemaorg, table
from passby.node.imports import Draft, Reading, read_file
from passby.protocol.payloads import Condition, Offer, Request, Window
from passby.protocol.price import Price

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
CELL = cell_at(52.375, 4.884)
EGGS: dict[str, Any] = {
    "id": "ab" * 32,
    "side": "offer",
    "author_name": "Ann",
    "name": "Eggs, fresh",
    "text": "From our hens",
    "category": "food/eggs",
    "unit": "H87",
    "remaining": 6,
    "minimum": 2,
    "step": 2,
    "price": {"minor": 45, "per_amount": 1, "currency": "EUR"},
    "best_before_ms": NOW_MS + 5 * DAY_MS,
    "until_ms": NOW_MS + 4 * DAY_MS,
    "window": {"from_ms": NOW_MS + DAY_MS, "until_ms": NOW_MS + DAY_MS + 7_200_000},
    "cell": cell_text(CELL),
    "gtin": "4006381333931",
    "brand": "Hen",
    "condition": "new",
    "pay": ["cash"],
    "needed_until_ms": None,
}
OIL: dict[str, Any] = EGGS | {
    "side": "request",
    "name": "Oil",
    "unit": "MLT",
    "remaining": 500,
    "minimum": 1,
    "step": 1,
    "price": {
        "minor": 900,
        "per_amount": 1000,
        "currency": "EUR",
        "knots": [[NOW_MS - DAY_MS, 900], [NOW_MS + DAY_MS, 100]],
    },
    "best_before_ms": None,
    "needed_until_ms": NOW_MS + 3 * DAY_MS,
    "condition": None,
    "window": None,
    "pay": [],
}


def read(path: Path) -> list[Draft]:
    found = list(read_file(path, Reading(NOW_MS)))
    drafts = [row for row in found if isinstance(row, Draft)]
    assert drafts == found
    return drafts


def written(folder: Path, form: str) -> Path:
    path = folder / f"lots.{form}"
    lots = [EGGS, OIL]
    said = table(lots, NOW_MS) if form == "csv" else json.dumps(schemaorg(lots, NOW_MS))
    path.write_text(said, encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["jsonld", "csv"])
def test_what_is_exported_is_what_the_import_reads(form: str, tmp_path: Path) -> None:
    eggs, oil = read(written(tmp_path, form))
    offer, request = eggs.payload, oil.payload
    assert isinstance(offer, Offer)
    assert isinstance(request, Request)
    assert (eggs.amount, oil.amount, eggs.who) == (6, 500, "Ann")
    assert offer.price == Price(45, 1, "EUR")
    assert request.price == Price(500, 1000, "EUR"), "the price of this moment"
    assert (offer.name, offer.text, offer.brand) == ("Eggs, fresh", "From our hens", "Hen")
    assert (offer.minimum, offer.step, offer.gtin) == (2, 2, "4006381333931")
    assert (offer.condition, offer.pay) == (Condition.NEW, ("cash",))
    assert offer.window == Window(NOW_MS + DAY_MS, NOW_MS + DAY_MS + 7_200_000)
    assert offer.best_before_ms == NOW_MS + 5 * DAY_MS
    assert request.needed_until_ms == NOW_MS + 3 * DAY_MS
    assert eggs.until_ms <= NOW_MS + 4 * DAY_MS
    assert eggs.at is not None
    assert cell_at(*eggs.at, resolution_of(CELL)) == CELL


def test_a_name_that_a_spreadsheet_would_run_is_marked_as_text() -> None:
    rows = list(csv.DictReader(io.StringIO(table([EGGS | {"name": "=HYPERLINK(1)"}], NOW_MS))))
    assert rows[0]["name"] == "'=HYPERLINK(1)"


def test_a_time_or_a_currency_that_nobody_has_breaks_no_export() -> None:
    odd = EGGS | {
        "best_before_ms": 2**53 - 1,
        "price": {"minor": 5, "per_amount": 1, "currency": "QQQ"},
        "name": None,
    }
    (entry,) = schemaorg([odd], NOW_MS)["@graph"]
    assert entry["priceSpecification"]["price"] == "5"
    assert "additionalProperty" in entry
    assert table([odd], NOW_MS).count("\n") == 2
