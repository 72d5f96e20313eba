from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import passby.node
from passby.node.imports import BadRow, Draft, Reading, line_count, read_file
from passby.node.imports.schemaorg import _drafts
from passby.node.times import to_ms
from passby.protocol.errors import UsageError
from passby.protocol.payloads import (
    Condition,
    Offer,
    Request,
    decode_payload,
    encode_payload,
)
from passby.protocol.price import Price
from passby.protocol.units import Unit

NOW = to_ms(datetime(2026, 11, 22, 18, 30, tzinfo=UTC))
READING = Reading(now_ms=NOW)
DAY_MS = 86_400_000
SHIPPED = Path(passby.node.__file__).parent / "data" / "neighbourhood.jsonld"

OFFER: dict[str, Any] = {
    "@type": "Offer",
    "itemOffered": {
        "@type": "Product",
        "name": "Olive oil",
        "gtin13": "4006381333931",
        "brand": {"@type": "Brand", "name": "Grove"},
        "category": "Food & drink > Olive oil",
        "expires": "P5W",
    },
    "inventoryLevel": {"@type": "QuantitativeValue", "value": 2.5, "unitCode": "LTR"},
    "eligibleQuantity": {"@type": "QuantitativeValue", "minValue": 0.5, "unitCode": "LTR"},
    "priceSpecification": {
        "@type": "UnitPriceSpecification",
        "price": "4.10",
        "priceCurrency": "EUR",
        "referenceQuantity": {"@type": "QuantitativeValue", "value": 1, "unitCode": "LTR"},
    },
    "validThrough": "P30D",
    "itemCondition": "https://schema.org/NewCondition",
    "availableAtOrFrom": {"@type": "Place", "geo": {"latitude": 52.375, "longitude": 4.884}},
    "acceptedPaymentMethod": "http://purl.org/goodrelations/v1#Cash",
    "additionalProperty": [{"@type": "PropertyValue", "name": "step", "value": "250 ml"}],
    "seller": {"@type": "Person", "name": "Noor"},
}
DEMAND: dict[str, Any] = {
    "@type": "Demand",
    "itemOffered": {"name": "A drill", "category": "tools"},
    "eligibleQuantity": {"value": 1, "unitCode": "HUR"},
    "price": 0,
    "priceCurrency": "EUR",
    "areaServed": {"geoMidpoint": {"latitude": 52.3, "longitude": 4.8}, "geoRadius": 900},
    "customer": {"name": "Famke"},
}


def read(*entries: Any) -> list[Draft | BadRow]:
    return list(_drafts(json.dumps({"@graph": list(entries)}), READING))


def only(rows: Iterable[Draft | BadRow]) -> Draft:
    (row,) = rows
    assert isinstance(row, Draft), row
    return row


def refusal(entry: Any) -> str:
    (row,) = read(entry)
    assert isinstance(row, BadRow), row
    return row.reason


def test_an_offer_of_schema_org_becomes_a_lot() -> None:
    draft = only(read(OFFER))
    assert draft.payload == Offer(
        name="Olive oil",
        category="food-drink/olive-oil",
        unit=Unit.MILLILITRE,
        price=Price(410, 1000, "EUR"),
        cell=0,
        step=250,
        minimum=500,
        gtin="4006381333931",
        brand="Grove",
        condition=Condition.NEW,
        best_before_ms=NOW + 35 * DAY_MS,
        pay=("cash",),
    )
    assert (draft.amount, draft.until_ms, draft.who) == (2500, NOW + 30 * DAY_MS, "Noor")
    assert draft.at == (52.375, 4.884)
    assert draft.in_cell(7).cell == 7


def test_a_demand_of_schema_org_becomes_a_request() -> None:
    draft = only(read(DEMAND))
    assert isinstance(draft.payload, Request)
    assert (draft.payload.amount, draft.payload.unit) == (60, Unit.MINUTE)
    assert draft.payload.price == Price(0, 60, "EUR")
    assert (draft.payload.radius_m, draft.at, draft.who) == (900, (52.3, 4.8), "Famke")
    assert draft.until_ms == NOW + 30 * DAY_MS


def test_a_lot_stands_no_longer_than_what_it_offers_is_good() -> None:
    soon = OFFER | {"itemOffered": OFFER["itemOffered"] | {"expires": "P2D"}}
    assert only(read(soon)).until_ms == NOW + 2 * DAY_MS


def test_starts_and_ends_of_availability_are_the_window() -> None:
    draft = only(read(OFFER | {"availabilityStarts": "P1D", "availabilityEnds": "P3D"}))
    assert draft.payload.window is not None
    assert draft.payload.window.from_ms == NOW + DAY_MS
    assert draft.until_ms == draft.payload.window.until_ms == NOW + 3 * DAY_MS


def test_the_numbers_of_a_file_never_pass_through_a_float() -> None:
    text = json.dumps({"@graph": [DEMAND]}).replace('"price": 0', '"price": 2.30e1')
    assert only(_drafts(text, READING)).payload.price.minor == 2300


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"@type": "Product"}, '@type is "Product"'),
        ({"itemOffered": {}}, "the name is empty"),
        ({"itemOffered": 7}, "itemOffered is not an object"),
        ({"itemOffered": {"name": "x", "gtin13": "4006381333932"}}, "check digit would be 1"),
        ({"itemOffered": {"name": "x", "expires": "2020-01-01"}}, "is over"),
        ({"inventoryLevel": {"value": 0, "unitCode": "LTR"}}, "0 ml"),
        ({"inventoryLevel": {"value": -1, "unitCode": "LTR"}}, "not a number"),
        ({"inventoryLevel": {"value": 1, "unitCode": "FTK"}}, '"FTK" is not a unit'),
        ({"inventoryLevel": {"value": 100, "unitCode": "MLT"}}, "the minimum is 500"),
        ({"priceSpecification": {"price": 1, "priceCurrency": "EUX"}}, "not a currency"),
        ({"priceSpecification": {"price": -1, "priceCurrency": "EUR"}}, "not a price"),
        ({"priceSpecification": {"price": 1.001, "priceCurrency": "EUR"}}, "2 decimals"),
        ({"priceSpecification": None}, "price: there is none"),
        ({"validThrough": "2020-01-01"}, "validThrough"),
        ({"availableAtOrFrom": {"geo": {"latitude": 91, "longitude": 0}}}, "not a place"),
        ({"itemCondition": "ShinyCondition"}, "not a condition"),
        ({"itemOffered": {"name": "x", "description": "\ud83d\ude00" * 1400}}, "4096 bytes"),
    ],
)
def test_a_bad_entry_says_which_it_is_and_why(change: dict[str, Any], says: str) -> None:
    reason = refusal(OFFER | change)
    assert says in reason
    assert reason.startswith("entry 1: ")


def test_the_unreadable_entry_is_named_by_line_and_the_rest_goes_in(tmp_path: Path) -> None:
    file = tmp_path / "lots.jsonld"
    file.write_text(
        '{\n "@context": "https://schema.org",\n "@graph": [\n'
        f"  {json.dumps(OFFER)},\n  17,\n\n  {json.dumps(DEMAND)}\n]}}\n"
    )
    rows = list(read_file(file, READING))
    assert [row.line for row in rows] == [4, 5, 7]
    assert [type(row) for row in rows] == [Draft, BadRow, Draft]
    assert line_count(file) == 9


def test_where_the_json_breaks_off_is_named_and_what_came_before_goes_in() -> None:
    whole = json.dumps({"@graph": [OFFER, OFFER]}, indent=1)
    rows = list(_drafts(whole[: whole.rindex("Noor")], READING))
    assert [type(row) for row in rows] == [Draft, BadRow]
    assert "nothing after it was read" in rows[1].hint  # type: ignore[union-attr] # a BadRow


def test_bytes_that_are_not_utf_8_cost_their_own_entry_alone(tmp_path: Path) -> None:
    file = tmp_path / "lots.json"
    text = json.dumps([OFFER, OFFER, OFFER])
    parts = text.encode().split(b"Olive oil", 2)
    file.write_bytes(parts[0] + b"Cr\xe8me" + parts[1] + b"Olive oil" + parts[2])
    first, *others = read_file(file, READING)
    assert isinstance(first, BadRow)
    assert "UTF-8" in first.reason
    assert all(isinstance(each, Draft) for each in others)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000, '{"@graph":[' + "[" * 100_000])
def test_a_file_nested_without_end_is_one_bad_row(deep: str) -> None:
    (row,) = _drafts(deep, READING)
    assert isinstance(row, BadRow)


def test_one_entry_alone_and_a_bare_list_are_read_too() -> None:
    assert only(_drafts(json.dumps(OFFER), READING)).who == "Noor"
    assert only(_drafts(json.dumps([DEMAND]), READING)).who == "Famke"
    assert list(_drafts("[]", READING)) == []


@pytest.mark.parametrize("name", ["missing.jsonld", "folder.jsonld", "lots.xlsx", "nul\0.json"])
def test_a_file_that_cannot_be_read_is_refused_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonld").mkdir()
    with pytest.raises(UsageError) as refused:
        read_file(tmp_path / name, READING)
    assert refused.value.hint


def test_names_that_would_read_backwards_or_hide_are_cleaned() -> None:
    item = {"name": "  Cafe\u0301\u202e\u0007  au\nlait " + "x" * 200}
    name = only(read(OFFER | {"itemOffered": item})).payload.name
    assert name.startswith("Caf\u00e9 au lait x")
    assert len(name) == 120


# --- garbage -----------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["@type", "@id", "@value", "name", "value", "unitCode", "geo", "price", "latitude"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterable[tuple[str | int, ...]]:
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else ()
    for key, member in members:
        yield from _paths(member, (*path, key))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([OFFER, DEMAND]).flatmap(
        lambda entry: st.tuples(
            st.just(entry),
            st.dictionaries(st.sampled_from(list(_paths(entry))), json_values, max_size=3),
        )
    )
)
def test_random_json_in_place_of_a_field_makes_a_lot_or_a_bad_row(
    case: tuple[dict[str, Any], dict[tuple[str, ...], Any]],
) -> None:
    entry = json.loads(json.dumps(case[0]))
    for path, value in case[1].items():
        target = entry
        for key in path[:-1]:
            target = target.get(key) if isinstance(target, dict) else None
        if isinstance(target, dict):
            target[path[-1]] = value
    for row in read(entry, OFFER):
        if isinstance(row, Draft):
            payload = row.in_cell(2**63)
            assert decode_payload(encode_payload(payload), type(payload)) == payload
            assert row.until_ms > NOW
            assert row.amount >= 1


@settings(max_examples=200)
@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_random_text_for_a_document_makes_bad_rows(text: str) -> None:
    for row in _drafts(text, READING):
        assert isinstance(row, BadRow)


@settings(max_examples=200)
@given(st.integers(0, 2000), st.text(max_size=3))
def test_a_document_with_a_scratch_is_read_or_refused(at: int, scratch: str) -> None:
    whole = json.dumps({"@context": "https://schema.org", "@graph": [OFFER, DEMAND]})
    at %= len(whole)
    for row in _drafts(whole[:at] + scratch + whole[at + 1 :], READING):
        assert isinstance(row, Draft | BadRow)


# --- what is shipped ---------------------------------------------------------------------


def test_the_shipped_neighbourhood_is_wholly_read_and_has_both_sides() -> None:
    rows = list(read_file(SHIPPED, READING))
    drafts = [row for row in rows if isinstance(row, Draft)]
    assert [row for row in rows if isinstance(row, BadRow)] == []
    assert len(drafts) >= 80
    assert sum(isinstance(each.payload, Offer) for each in drafts) >= 30
    assert sum(isinstance(each.payload, Request) for each in drafts) >= 30
    assert len({each.who for each in drafts}) == 5
    assert {each.payload.unit for each in drafts} == set(Unit)
    assert any(each.payload.price.minor == 0 for each in drafts)


def test_the_shipped_lots_lie_in_one_neighbourhood() -> None:
    for row in read_file(SHIPPED, READING):
        assert isinstance(row, Draft)
        assert row.at is not None
        assert abs(row.at.lat - 52.375) < 0.0135
        assert abs(row.at.lon - 4.884) < 0.022


def test_the_shipped_lots_never_go_stale() -> None:
    for year in (2027, 2041, 2080):
        later = Reading(now_ms=to_ms(datetime(year, 2, 28, 23, 59, 59, tzinfo=UTC)))
        for row in read_file(SHIPPED, later):
            assert isinstance(row, Draft)
            assert row.until_ms > later.now_ms + 3_600_000


def test_most_shipped_wishes_meet_an_offer() -> None:
    drafts = [row for row in read_file(SHIPPED, READING) if isinstance(row, Draft)]
    offers = [row.payload for row in drafts if isinstance(row.payload, Offer)]
    wishes = [row.payload for row in drafts if isinstance(row.payload, Request)]

    def meets(offer: Offer, wish: Request) -> bool:
        take = max(offer.minimum, wish.minimum)
        return (
            (offer.category, offer.unit) == (wish.category, wish.unit)
            and take <= wish.amount
            and offer.price.total_minor(take, NOW) <= wish.price.total_minor(take, NOW)
        )

    met = [wish for wish in wishes if any(meets(offer, wish) for offer in offers)]
    assert len(met) >= 30
    assert len(met) < len(wishes)


def test_no_shipped_product_code_is_one_that_a_real_product_could_have() -> None:
    codes = [row.payload.gtin for row in read_file(SHIPPED, READING) if isinstance(row, Draft)]
    assert len([code for code in codes if code]) >= 10
    assert all(code.startswith("2") and len(code) == 13 for code in codes if code)
