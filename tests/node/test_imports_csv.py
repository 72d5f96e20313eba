from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passby.node.imports import BadRow, Columns, Draft, Reading, read_file
from passby.node.times import to_ms
from passby.protocol.errors import UsageError
from passby.protocol.payloads import Offer, Request, decode_payload, encode_payload
from passby.protocol.price import Price
from passby.protocol.units import Unit

NOW = to_ms(datetime(2026, 11, 22, 18, 30, tzinfo=UTC))
READING = Reading(now_ms=NOW)
PRODUCTS = Path(__file__).parents[2].parent / "shared" / "data" / "products.csv"
FREE = Columns(constants={"price": "free"})


def table(tmp_path: Path, content: str | bytes) -> Path:
    file = tmp_path / "lots.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_columns_are_mapped_and_constants_fill_what_is_missing(tmp_path: Path) -> None:
    file = table(tmp_path, 'code,product_name,left\n114042,"Crisps, salted",3\n,Tea,\n')
    columns = Columns(
        names={"gtin": "code", "name": "product_name", "amount": "left"},
        constants={"price": "1.50 EUR", "category": "Snacks", "amount": "2", "until": "5 weeks"},
    )
    crisps, tea = read_file(file, READING, columns)
    assert isinstance(crisps, Draft)
    assert crisps.payload == Offer(
        name="Crisps, salted",
        category="snacks",
        unit=Unit.PIECE,
        price=Price(150, 1, "EUR"),
        cell=0,
        gtin="00114042",
    )
    assert (crisps.line, crisps.amount) == (2, 3)
    assert isinstance(tea, Draft)
    assert (tea.line, tea.amount, tea.payload.gtin) == (3, 2, None)
    assert tea.until_ms == NOW + 35 * 86_400_000


def test_columns_named_like_fields_are_used_as_they_are(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "side;name;amount;unit;step;minimum;price;at;condition;best_before;who\n"
        "offer;Oil;2,5;LTR;250 ml;500;4 EUR per l;52.375,4.884;used;P5W;Noor\n"
        "request;Oil;1 l;;;;4 EUR;Amsterdam-Centrum;;;Famke\n",
    )
    offer, request = read_file(file, READING)
    assert isinstance(offer, Draft)
    assert isinstance(offer.payload, Offer)
    assert (offer.payload.step, offer.payload.minimum, offer.amount) == (250, 500, 2500)
    assert (offer.at, offer.place, offer.who) == ((52.375, 4.884), None, "Noor")
    assert isinstance(request, Draft)
    assert isinstance(request.payload, Request)
    assert (request.at, request.place) == (None, "Amsterdam-Centrum")
    assert request.payload.price == Price(400, 1000, "EUR")


def test_the_unreadable_row_is_named_by_line_and_the_rest_goes_in(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        b'name,gtin\n"two\nlines",\nGood,4006381333931\nBad,4006381333932\n'
        b"Cr\xe8me,\n\nToo,many,fields\n,\nLast,\n",
    )
    rows = list(read_file(file, READING, FREE))
    bad = {row.line: row.reason for row in rows if isinstance(row, BadRow)}
    assert [row.line for row in rows if isinstance(row, Draft)] == [2, 4, 10]
    assert set(bad) == {5, 6, 8, 9}
    assert "check digit would be 1" in bad[5]
    assert "UTF-8" in bad[6]
    assert "3 fields, where the header has 2" in bad[8]
    assert "name is empty" in bad[9]


def test_an_unclosed_quote_does_not_stop_the_reading(tmp_path: Path) -> None:
    file = table(tmp_path, 'name,text\nGood,\n"open,' + "x" * 200_000 + "\nAlso good,\n")
    rows = list(read_file(file, READING, FREE))
    assert isinstance(rows[0], Draft)
    assert isinstance(rows[1], BadRow)
    assert rows[1].line == 3


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (Columns(), "no column for the price"),
        (Columns(names={"name": "product"}), 'no column "product"'),
        (Columns(constants={"price": "free", "colour": "red"}), '"colour" is not a field'),
        (Columns(constants={"price": "4 furlongs"}), "price"),
        (Columns(constants={"price": "free", "until": "2020-01-01"}), "is over"),
        (Columns(constants={"price": "free", "amount": "0"}), "least amount"),
    ],
)
def test_columns_that_do_not_fit_are_refused_before_any_row(
    columns: Columns, says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        read_file(table(tmp_path, "name,code\nTea,1\n"), READING, columns)
    assert refused.value.hint


@pytest.mark.parametrize("content", ["", "\n", ",,\n"])
def test_a_table_without_a_header_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no header"):
        read_file(table(tmp_path, content), READING, FREE)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=120)
    | st.lists(st.text(max_size=8), max_size=14).map(
        lambda cells: ",".join(cells).encode("utf-8", "surrogatepass")
    )
)
def test_random_rows_make_lots_or_bad_rows(tmp_path: Path, row: bytes) -> None:
    header = b"name,gtin,amount,unit,price,until,window,at,lat,lon,step,side,condition,pay\n"
    good = b"Tea,,,,,,,,,,,,,\n"
    for found in read_file(table(tmp_path, header + row + b"\n" + good), READING, FREE):
        if isinstance(found, Draft):
            payload = found.payload
            assert decode_payload(encode_payload(payload), type(payload)) == payload


@pytest.mark.skipif(not PRODUCTS.exists(), reason="../shared/data/products.csv is not here")
def test_ten_thousand_real_products_all_become_lots() -> None:
    rows = list(read_file(PRODUCTS, READING, FREE))
    assert len(rows) == 10_000
    assert all(isinstance(row, Draft) for row in rows)
    assert len({row.payload.gtin for row in rows if isinstance(row, Draft)}) == 10_000
