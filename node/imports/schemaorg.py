"""schema.org documents: each Offer is a lot on offer, each Demand a request.

Read are the entries of `@graph`, of a top-level array, or the one entry that the document is.
Of each: `itemOffered` (name, description, category, brand, gtin, gtin8 to gtin14,
itemCondition, expires), `inventoryLevel` or `eligibleQuantity` (value, minValue, unitCode of
UN/CEFACT Recommendation 20, one piece where missing), `price` with `priceCurrency` or
`priceSpecification` (with `referenceQuantity`), `validThrough`, `availabilityStarts` and
`availabilityEnds` (together the pick-up window), `availableAtOrFrom` or `areaServed` (`geo`,
or a GeoCircle), `acceptedPaymentMethod`, and the name of `seller`, `offeredBy` or `customer`.
What schema.org has no word for stands in `additionalProperty` of the entry or its item, as
PropertyValue: bestBefore, neededUntil, window, step, place.

**Times may be relative**, so that a document does not go stale: wherever a time stands, an
ISO 8601 duration ("P5W") counts from the import, and words as on the command line ("tomorrow
18:00-20:00" for a window) are understood too.

A price without a `referenceQuantity` is that of one piece or seat, or of the whole amount of
what is measured. Numbers are read as they are written, never by way of floats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

from passby.node.gtin import parse_gtin
from passby.node.imports.draft import (
    NAME_MAX,
    TEXT_MAX,
    WORD_MAX,
    BadRow,
    Draft,
    LatLon,
    Parsed,
    Reading,
    Side,
    category_of,
    clean,
    condition_of,
    latlon_of,
    name_of,
    naming,
    open_text,
    until_of,
    way_of,
)
from passby.node.prices import TypedPrice, parse_price
from passby.node.quantities import Amount, amount_in, parse_amount, shown
from passby.node.times import parse_moment, parse_until, parse_window
from passby.protocol.errors import UsageError
from passby.protocol.limits import AMOUNT_MAX, IMPORT_PAY_MAX
from passby.protocol.payloads import Window
from passby.protocol.units import Unit

_GTINS: Final = ("gtin", "gtin13", "gtin14", "gtin12", "gtin8")
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class _Number(str):
    """A number as the file has it, so that 4.1 stays 4.1."""

    __slots__ = ()


class _Entry(NamedTuple):
    line: int
    value: Any


def read_schemaorg(path: Path, reading: Reading) -> Iterator[Draft | BadRow]:
    """Return an iterator over the lots in the JSON-LD document at `path`.

    Raises:
        UsageError: the file cannot be read. What is wrong with one entry becomes its
            `BadRow`; where the JSON itself breaks off, the last one says so.
    """
    with open_text(path) as file:
        text = file.read()
    return _drafts(text, reading)


def _drafts(text: str, reading: Reading) -> Iterator[Draft | BadRow]:
    for number, entry in enumerate(_entries(text), start=1):
        if isinstance(entry, BadRow):
            yield entry
            return
        try:
            yield _draft(entry, reading)
        except UsageError as error:
            yield BadRow(entry.line, f"entry {number}: {error.message}", error.hint)


# --- the document ------------------------------------------------------------------------


def _entries(text: str) -> Iterator[_Entry | BadRow]:
    """Give each entry with the line it starts on; a BadRow where the JSON breaks off."""
    scan = _Scan(text)
    try:
        yield from scan.document()
    except json.JSONDecodeError as error:
        yield BadRow(
            error.lineno, f"not JSON from column {error.colno} on: {error.msg}", _REST_UNREAD
        )
    except (ValueError, RecursionError) as error:
        yield BadRow(scan.line_at(scan.at), f"not JSON that can be read: {error}", _REST_UNREAD)


_REST_UNREAD: Final = "mend it there; nothing after it was read"


class _Scan:
    """Walks the top of a document, so that each entry's place is known."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._decoder = json.JSONDecoder(
            parse_float=_Number, parse_int=_Number, parse_constant=_Number
        )
        self._counted = (0, 1)

    def line_at(self, at: int) -> int:
        """Return the line of position `at`, which must not go backwards."""
        before, line = self._counted
        self._counted = (at, line + self.text.count("\n", before, at))
        return self._counted[1]

    def document(self) -> Iterator[_Entry]:
        start = self._peek()
        if start == "[":
            yield from self._array()
        elif start == "{":
            yield from self._object()
        else:
            raise json.JSONDecodeError("an object or array must come first", self.text, self.at)
        if self._peek():
            raise json.JSONDecodeError("more after the end", self.text, self.at)

    def _peek(self) -> str:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at : self.at + 1]

    def _take(self, expected: str) -> None:
        if self._peek() != expected:
            raise json.JSONDecodeError(f"{expected} expected", self.text, self.at)
        self.at += 1

    def _value(self) -> Any:
        self._peek()
        value, self.at = self._decoder.raw_decode(self.text, self.at)
        return value

    def _array(self) -> Iterator[_Entry]:
        self._take("[")
        if self._peek() == "]":
            self.at += 1
            return
        while True:
            self._peek()
            line = self.line_at(self.at)
            yield _Entry(line, self._value())
            if self._peek() != ",":
                break
            self.at += 1
        self._take("]")

    def _object(self) -> Iterator[_Entry]:
        """Give the members of `@graph`, or the object itself where it has none."""
        line = self.line_at(self.at)
        whole: dict[str, Any] = {}
        graph = False
        self._take("{")
        while self._peek() != "}":
            if whole or graph:
                self._take(",")
            if self._peek() != '"':
                raise json.JSONDecodeError("a name expected", self.text, self.at)
            key = self._value()
            self._take(":")
            if key == "@graph" and self._peek() == "[":
                graph = True
                yield from self._array()
            else:
                whole[key] = self._value()
        self.at += 1
        if not graph:
            yield _Entry(line, whole)


# --- one entry ---------------------------------------------------------------------------


def _draft(entry: _Entry, reading: Reading) -> Draft:
    thing = _object(entry.value, "the entry")
    side = _side(thing)
    item = _item(thing)
    extra = _extra(item) | _extra(thing)
    amount, minimum = _quantity(thing, side)
    with naming("price"):
        price = _price(thing, reading).price(amount)
    point, radius_m = _where(thing)
    category = _first(thing, item, "category")
    brand = _text(item.get("brand"))
    condition = _text(_first(thing, item, "itemCondition"))
    until = _text(thing.get("validThrough")) or _text(thing.get("availabilityEnds"))
    with naming("validThrough"):
        until_ms = until_of(until, reading)
    if side == "offer":
        last_ms = _moment(
            "bestBefore", extra.get("bestbefore") or _text(item.get("expires")), reading
        )
    else:
        last_ms = _moment("neededUntil", extra.get("neededuntil", ""), reading)
    return Parsed(
        line=entry.line,
        side=side,
        name=name_of(_text(item.get("name")) or _text(thing.get("name"))),
        category=category_of(_text(category) or "goods"),
        amount=amount,
        price=price,
        until_ms=until_ms,
        minimum=minimum,
        step=_step(extra, amount, reading),
        gtin=_gtin(item) or _gtin(thing),
        brand=clean(brand, WORD_MAX) or None,
        condition=condition_of(condition) if condition else None,
        last_ms=last_ms,
        window=_window(thing, extra, reading),
        radius_m=radius_m,
        text=clean(_text(_first(thing, item, "description")), TEXT_MAX) or None,
        pay=_pay(thing),
        at=point,
        place=(clean(extra.get("place", ""), NAME_MAX) or None) if point is None else None,
        who=_who(thing),
    ).draft()


def _side(thing: Mapping[str, Any]) -> Side:
    kinds = thing.get("@type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        word = re.split(r"[/#:]", _text(kind))[-1]
        if word in ("Offer", "Demand"):
            return "offer" if word == "Offer" else "request"
    raise UsageError(
        f'its @type is "{shown(_text(kinds))}"', "only schema.org's Offer and Demand are lots"
    )


def _item(thing: Mapping[str, Any]) -> Mapping[str, Any]:
    item = _one(thing.get("itemOffered"))
    if item is None:
        return {}
    named = isinstance(item, str) and not isinstance(item, _Number)
    return {"name": item} if named else _object(item, "itemOffered")


def _quantity(thing: Mapping[str, Any], side: Side) -> tuple[Amount, int]:
    """Return (how much there is or is wanted, the least that changes hands)."""
    eligible = _maybe_object(thing.get("eligibleQuantity"), "eligibleQuantity")
    stock = _maybe_object(thing.get("inventoryLevel"), "inventoryLevel")
    of = stock if stock and side == "offer" else eligible or stock
    with naming("quantity"):
        amount = _measured(of, ("value", "maxValue")) or Amount(1, Unit.PIECE)
        least = _measured(eligible, ("minValue",)) or _measured(stock, ("minValue",))
        if least is not None and least.unit is not amount.unit:
            raise UsageError("minValue is in another kind of unit", "use one unit for both")
    return amount, least.value if least else 1


def _measured(quantity: Mapping[str, Any], keys: tuple[str, ...]) -> Amount | None:
    for key in keys:
        text = _text(quantity.get(key))
        if text:
            unit = _text(quantity.get("unitCode")) or _text(quantity.get("unitText")) or "H87"
            return amount_in(_number(text), re.split(r"[/#:]", unit)[-1])
    return None


def _price(thing: Mapping[str, Any], reading: Reading) -> TypedPrice:
    own_currency = _text(thing.get("priceCurrency")).upper()
    price = _text(thing.get("price"))
    per: Amount | None = None
    if not price:
        spec = _maybe_object(thing.get("priceSpecification"), "priceSpecification")
        price = _text(spec.get("price"))
        own_currency = _text(spec.get("priceCurrency")).upper() or own_currency
        reference = _maybe_object(spec.get("referenceQuantity"), "referenceQuantity")
        per = _measured(reference, ("value",))
        unit = _text(spec.get("unitCode"))
        if per is None and (unit or reference.get("unitCode")):
            per = amount_in(Fraction(1), unit or _text(reference.get("unitCode")))
    if not price:
        raise UsageError("there is none", 'give a price, for a gift "price": 0')
    typed = parse_price(_plain(price), own_currency or reading.currency)
    return typed if per is None else typed._replace(per=per)


def _where(thing: Mapping[str, Any]) -> tuple[LatLon | None, int | None]:
    """Return (the point, the radius in metres) where the entry says them."""
    for key in ("availableAtOrFrom", "areaServed"):
        place = _one(thing.get(key))
        if not isinstance(place, Mapping):
            continue
        with naming(key):
            geo = _maybe_object(place.get("geo"), "geo") or place
            middle = _maybe_object(geo.get("geoMidpoint"), "geoMidpoint") or geo
            lat, lon = _text(middle.get("latitude")), _text(middle.get("longitude"))
            radius = _text(geo.get("geoRadius"))
            radius_m = None
            if radius:
                radius_m = int(_number(radius.removesuffix("m").strip()))
            if lat or lon:
                return latlon_of(lat, lon), radius_m
    return None, None


def _window(thing: Mapping[str, Any], extra: Mapping[str, str], reading: Reading) -> Window | None:
    if "window" in extra:
        with naming("window"):
            return parse_window(extra["window"], reading.now_ms, reading.tz)
    starts, ends = _text(thing.get("availabilityStarts")), _text(thing.get("availabilityEnds"))
    if not (starts and ends):
        return None
    with naming("availability"):
        start_ms = parse_moment(starts, reading.now_ms, reading.tz)
        end_ms = parse_until(ends, reading.now_ms, reading.tz)
        if end_ms < start_ms:
            raise UsageError("it ends before it starts", "exchange the two")
        return Window(start_ms, end_ms)


def _step(extra: Mapping[str, str], amount: Amount, reading: Reading) -> int:
    if "step" not in extra:
        return 1
    with naming("step"):
        text = extra["step"]
        if text.isascii() and text.isdecimal():
            return int(_number(text))
        step = parse_amount(text, reading.measure)
        if step.unit is not amount.unit:
            raise UsageError("it is in another kind of unit than the amount", "use the same")
        return step.value


def _gtin(thing: Mapping[str, Any]) -> str | None:
    for key in _GTINS:
        text = _text(thing.get(key))
        if text:
            with naming(key):
                return parse_gtin(text, padded=True)
    return None


def _pay(thing: Mapping[str, Any]) -> tuple[str, ...]:
    ways = thing.get("acceptedPaymentMethod")
    found = [_text(way) for way in (ways if isinstance(ways, list) else [ways])]
    words = [way_of(way) for way in found if way]
    return tuple(dict.fromkeys(words))[:IMPORT_PAY_MAX]


def _who(thing: Mapping[str, Any]) -> str | None:
    for key in ("seller", "offeredBy", "customer"):
        name = clean(_text(thing.get(key)), WORD_MAX)
        if name:
            return name
    return None


def _moment(field: str, text: str, reading: Reading) -> int | None:
    if not text:
        return None
    with naming(field):
        return parse_until(text, reading.now_ms, reading.tz)


# --- JSON-LD's many ways of saying one thing -----------------------------------------------


def _extra(thing: Mapping[str, Any]) -> dict[str, str]:
    """Return the additional properties by name, lower case."""
    listed = thing.get("additionalProperty")
    found: dict[str, str] = {}
    for each in listed if isinstance(listed, list) else [listed]:
        if isinstance(each, Mapping):
            name = _text(each.get("propertyID")) or _text(each.get("name"))
            value = _text(each.get("value"))
            if name and value:
                found[name.casefold().replace("_", "").replace(" ", "")] = value
    return found


def _first(thing: Mapping[str, Any], item: Mapping[str, Any], key: str) -> Any:
    return thing[key] if thing.get(key) is not None else item.get(key)


def _one(value: Any) -> Any:
    """Return the first of a list, or the value itself."""
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _text(value: Any) -> str:
    """Return the words of a text, number, @value, @id or named thing; "" where there are none."""
    value = _one(value)
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("@value", "name", "@id") if key in value), "")
        value = _one(value)
    return value.strip() if isinstance(value, str) else ""


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise UsageError(f"{name} is not an object", "write it as {...}, with an @type")


def _maybe_object(value: Any, name: str) -> Mapping[str, Any]:
    found = _one(value)
    return {} if found is None else _object(found, name)


def _plain(text: str) -> str:
    """Return the JSON number 4.1e1 as 41, and any other text as it is."""
    found = re.fullmatch(r"([0-9]+)(?:\.([0-9]+))?[eE]([+-]?[0-9]{1,2})", text)
    if found is None:
        return text
    digits, decimals, power = found[1], found[2] or "", int(found[3])
    shift = power - len(decimals)
    whole = digits + decimals
    if shift >= 0:
        return whole + "0" * shift
    whole = whole.zfill(1 - shift)
    return f"{whole[:shift]}.{whole[shift:]}"


def _number(text: str) -> Fraction:
    """Return the number in `text`, exactly; a comma is no decimal sign in schema.org."""
    plain = _plain(text)
    if len(plain) > _DIGITS_MAX or not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", plain):
        raise UsageError(f'"{shown(text)}" is not a number', 'write it like "value": 0.5')
    number = Fraction(plain)
    if number > AMOUNT_MAX:
        raise UsageError(f'"{shown(text)}" is more than passby can count', "give less")
    return number


_DIGITS_MAX: Final = 64
