"""Lots as others read them: schema.org documents and tables, which `imports` reads back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from passby.geo.cells import centre_of, parse_cell
from passby.node.prices import decimals_of, show_price
from passby.node.times import from_ms
from passby.protocol.errors import UsageError
from passby.protocol.price import Price
from passby.protocol.units import Unit

Json = dict[str, Any]
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""With which a spreadsheet takes a cell for a formula; names are a neighbour's to choose."""
COLUMNS: Final = (
    "side", "name", "category", "gtin", "brand", "amount", "unit", "minimum", "step", "price",
    "condition", "best_before", "until", "window", "lat", "lon", "text", "pay", "who",
)  # fmt: skip


def schemaorg(lots: Sequence[Json], now_ms: int) -> Json:
    """Return the lots, as the local API shows them, as one schema.org document.

    Prices are those at `now_ms`; places are the middles of cells.
    """
    return {"@context": "https://schema.org", "@graph": [_entry(lot, now_ms) for lot in lots]}


def _entry(lot: Json, now_ms: int) -> Json:
    offered = lot["side"] == "offer"
    condition = lot.get("condition")
    item = {
        "@type": "Product",
        "name": lot["name"] or "?",
        "description": lot.get("text"),
        "category": lot["category"],
        "brand": {"@type": "Brand", "name": lot["brand"]} if lot.get("brand") else None,
        "gtin": lot.get("gtin"),
        "itemCondition": f"https://schema.org/{condition.capitalize()}Condition"
        if condition
        else None,
    }
    quantity = {
        "@type": "QuantitativeValue",
        "value": lot["remaining"],
        "minValue": lot["minimum"] if lot["minimum"] > 1 else None,
        "unitCode": lot["unit"],
    }
    window = lot.get("window") or {}
    latitude, longitude = centre_of(parse_cell(lot["cell"]))
    place = {"latitude": round(latitude, 5), "longitude": round(longitude, 5)}
    extra = {
        "bestBefore": _time(lot.get("best_before_ms")),
        "neededUntil": _time(lot.get("needed_until_ms")),
        "step": str(lot["step"]) if lot["step"] > 1 else None,
    }
    return _without_none(
        {
            "@type": "Offer" if offered else "Demand",
            "@id": f"urn:passby:{lot['id']}",
            "itemOffered": _without_none(item),
            "inventoryLevel" if offered else "eligibleQuantity": _without_none(quantity),
            "priceSpecification": _priced(lot, now_ms),
            "validThrough": _time(lot["until_ms"]),
            "availabilityStarts": _time(window.get("from_ms")),
            "availabilityEnds": _time(window.get("until_ms")),
            "availableAtOrFrom" if offered else "areaServed": {
                "@type": "Place",
                "geo": {"@type": "GeoCoordinates", **place},
            },
            "acceptedPaymentMethod": lot.get("pay") or None,
            "seller" if offered else "customer": {"@type": "Person", "name": lot["author_name"]}
            if lot.get("author_name")
            else None,
            "additionalProperty": [
                {"@type": "PropertyValue", "propertyID": name, "value": value}
                for name, value in extra.items()
                if value is not None
            ]
            or None,
        }
    )


def _priced(lot: Json, now_ms: int) -> Json:
    price = _price(lot)
    return {
        "@type": "UnitPriceSpecification",
        "price": _decimal(price.minor_at(now_ms), price.currency),
        "priceCurrency": price.currency,
        "referenceQuantity": {
            "@type": "QuantitativeValue",
            "value": price.per_amount,
            "unitCode": lot["unit"],
        },
    }


def _price(lot: Json) -> Price:
    terms = lot["price"]
    knots = tuple((at_ms, minor) for at_ms, minor in terms.get("knots") or ())
    return Price(terms["minor"], terms["per_amount"], terms["currency"], knots)


def _decimal(minor: int, currency: str) -> str:
    """Return money as schema.org has it: 4.00, exactly."""
    try:
        decimals = decimals_of(currency)
    except UsageError:
        decimals = 0  # a neighbour's currency that nobody knows
    whole, rest = divmod(minor, 10**decimals)
    return f"{whole}.{rest:0{decimals}}" if decimals else str(whole)


def _time(at_ms: int | None) -> str | None:
    """Return a moment in UTC; None for none, or one that no calendar has."""
    if at_ms is None:
        return None
    try:
        return from_ms(at_ms, UTC).isoformat(timespec="seconds")
    except UsageError:
        return None


def _without_none(found: Mapping[str, Any]) -> Json:
    return {key: value for key, value in found.items() if value is not None}


def table(lots: Sequence[Json], now_ms: int) -> str:
    """Return the lots as a table with the columns that an import knows; prices as at `now_ms`."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows([[_cell(value) for value in _row(lot, now_ms)] for lot in lots])
    return out.getvalue()


def _row(lot: Json, now_ms: int) -> Iterator[Any]:
    window = lot.get("window")
    latitude, longitude = centre_of(parse_cell(lot["cell"]))
    told = {
        **lot,
        "amount": lot["remaining"],
        "price": _told_price(lot, now_ms),
        "best_before": _time(lot.get("best_before_ms") or lot.get("needed_until_ms")),
        "until": _time(lot["until_ms"]),
        "window": f"{_time(window['from_ms'])}/{_time(window['until_ms'])}" if window else None,
        "lat": round(latitude, 5),
        "lon": round(longitude, 5),
        "pay": " ".join(lot.get("pay") or ()),
        "who": lot.get("author_name"),
    }
    return (told.get(column) for column in COLUMNS)


def _told_price(lot: Json, now_ms: int) -> str:
    try:
        return show_price(_price(lot), Unit(lot["unit"]), now_ms)
    except (UsageError, ValueError):
        return ""


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    is_number = isinstance(value, int | float)
    return f"'{text}" if text.startswith(_FORMULA) and not is_number else text
