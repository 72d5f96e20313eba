"""From what a person lists to an offer or a request: checked, placed, ready to be chained."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from passby.geo.categories import parse_category
from passby.geo.cells import cell_at, parse_cell, resolution_of, topic_cell
from passby.ledger.draft import Draft, OpenLot
from passby.node.gtin import parse_gtin
from passby.node.prices import decimals_of
from passby.protocol.errors import UsageError
from passby.protocol.limits import (
    AMOUNT_MAX,
    AT_MS_MAX,
    CELL_RESOLUTION_MIN,
    LISTED_FOR_S,
    PAYLOAD_MAX,
    TEXT_MAX,
)
from passby.protocol.payloads import (
    Carriage,
    Condition,
    Offer,
    Request,
    Swapped,
    Window,
    encode_payload,
)
from passby.protocol.price import KNOTS_MAX, Price
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

Whole = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Time = Annotated[int, Meta(ge=0, le=AT_MS_MAX)]


class ListedPrice(msgspec.Struct, frozen=True):
    """A price as JSON says it."""

    minor: Whole
    per_amount: Whole
    currency: str
    knots: Annotated[tuple[tuple[Time, Whole], ...], Meta(max_length=KNOTS_MAX)] = ()


class ListedWindow(msgspec.Struct, frozen=True):
    """A span of time as JSON says it."""

    from_ms: Time
    until_ms: Time


class Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lot as the local API takes it; see docs/COMMANDS and `protocol.payloads`."""

    side: Literal["offer", "request"]
    name: str
    category: str
    unit: Unit
    amount: Whole
    price: ListedPrice
    step: Whole = 1
    minimum: Whole | None = None
    gtin: str | None = None
    brand: str | None = None
    condition: Condition | None = None
    best_before_ms: Time | None = None
    needed_until_ms: Time | None = None
    margin_s: Annotated[int, Meta(ge=0, le=10**9)] = 0
    window: ListedWindow | None = None
    until_ms: Time | None = None
    cell: str | None = None
    lat: float | None = None
    lon: float | None = None
    radius_m: Annotated[int, Meta(ge=0, le=20_000_000)] | None = None
    text: str | None = None
    pay: tuple[str, ...] = ()
    per_person: Whole | None = None
    per_day: Whole | None = None
    fits: tuple[str, ...] = ()
    swap: tuple[Swapped, ...] = ()
    lent_s: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    carry_to: str | None = None


def read_listed(value: Any) -> Listed:
    """Return a lot from plain JSON.

    Raises:
        UsageError: a field that is missing, unknown or of another kind.
    """
    try:
        return msgspec.convert(value, Listed, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(f"This lot cannot be read: {error}.") from None


def draft_of(listed: Listed, home: int, now_ms: int) -> Draft:
    """Return the entry that opens the lot.

    Args:
        listed: what the person says.
        home: the cell of a lot that names no place.
        now_ms: what "in the past" is measured against.

    Raises:
        UsageError: an amount, price, time, place or product that cannot be.
    """
    _check_amounts(listed)
    _check_times(listed, now_ms)
    price = _price(listed)
    cell = _cell(listed, home)
    until_ms = listed.until_ms if listed.until_ms is not None else now_ms + LISTED_FOR_S * 1000
    # Nobody should come for what has spoilt, or after the last hour to fetch it.
    ends = [until_ms, listed.best_before_ms, listed.window.until_ms if listed.window else None]
    until_ms = min(end for end in ends if end is not None)
    common: dict[str, Any] = {
        "name": plain_text(listed.name),
        "category": parse_category(listed.category),
        "unit": listed.unit,
        "price": price,
        "cell": cell,
        "minimum": _minimum(listed),
        "gtin": parse_gtin(listed.gtin) if listed.gtin else None,
        "brand": plain_text(listed.brand) if listed.brand else None,
        "condition": listed.condition,
        "window": Window(listed.window.from_ms, listed.window.until_ms) if listed.window else None,
        "radius_m": listed.radius_m,
        "text": plain_text(listed.text) if listed.text else None,
    }
    facts = (topic_cell(cell), until_ms)
    if listed.side == "request":
        if listed.carry_to is not None:
            raise UsageError("A request carries nothing.", "Offer room on your way instead.")
        request = Request(
            **common,
            amount=listed.amount,
            needed_until_ms=listed.needed_until_ms,
            margin_s=listed.margin_s,
        )
        return Draft(EntryType.REQUEST, facts=facts, payload=_packed(request, Request))
    offer = Offer(
        **common,
        step=listed.step,
        best_before_ms=listed.best_before_ms,
        pay=tuple(plain_text(way) for way in listed.pay),
        per_person=listed.per_person,
        per_day=listed.per_day,
        fits=tuple(plain_text(thing) for thing in listed.fits),
        swap=tuple(
            Swapped(parse_category(wanted.category), wanted.unit, wanted.amount)
            for wanted in listed.swap
        ),
        lent_s=listed.lent_s,
        carriage=Carriage(_near(listed.carry_to)) if listed.carry_to is not None else None,
    )
    return Draft(
        EntryType.OFFER,
        facts=facts,
        payload=_packed(offer, Offer),
        move=OpenLot(listed.amount),
    )


def _minimum(listed: Listed) -> int:
    """Return the least that is handed out: a step, unless another minimum is named."""
    return listed.step if listed.minimum is None else listed.minimum


def _check_amounts(listed: Listed) -> None:
    if listed.amount < 1:
        raise UsageError("The amount is 0.", "Say how much there is, as in --amount 473ml.")
    minimum = _minimum(listed)
    if listed.step < 1 or minimum < 1:
        raise UsageError("A step and a minimum are at least 1.")
    for share in (listed.per_person, listed.per_day):
        if share is not None and share < minimum:
            raise UsageError(
                f"A share of {share} is below the minimum, {minimum}: nobody could take it.",
                "Raise the share or lower the minimum.",
            )
    if listed.amount < listed.step:
        raise UsageError(
            f"The amount, {listed.amount}, is below the step, {listed.step}.",
            "Choose a smaller --step.",
        )
    if listed.amount < minimum:
        raise UsageError(
            f"The amount, {listed.amount}, is below the minimum, {minimum}.",
            "Choose a smaller --minimum.",
        )


def _price(listed: Listed) -> Price:
    minor, per_amount, currency, knots = msgspec.structs.astuple(listed.price)
    if per_amount < 1:
        raise UsageError("A price is for at least one unit.")
    decimals_of(currency)
    try:
        price = Price(minor, per_amount, currency, knots)
    except ValueError as error:
        raise UsageError(f"This price does not fit: {error}.") from None
    if any(price.total_minor(listed.amount, at_ms) > AMOUNT_MAX for at_ms, _ in (*knots, (0, 0))):
        raise UsageError("All of it costs more than can be counted.", "Lower the price.")
    return price


def _check_times(listed: Listed, now_ms: int) -> None:
    for name, at_ms in (
        ("best-before", listed.best_before_ms),
        ("last day", listed.until_ms),
        ("day it is needed until", listed.needed_until_ms),
        ("end of the window", listed.window.until_ms if listed.window else None),
    ):
        if at_ms is not None and at_ms <= now_ms:
            raise UsageError(f"The {name} is in the past.", "Give a time still to come.")
    if listed.window and listed.window.until_ms < listed.window.from_ms:
        raise UsageError("The window ends before it starts.")


def _cell(listed: Listed, home: int) -> int:
    if listed.cell is not None:
        return _near(listed.cell)
    if listed.lat is not None and listed.lon is not None:
        return cell_at(listed.lat, listed.lon)
    if listed.lat is not None or listed.lon is not None:
        raise UsageError("A place needs latitude and longitude.")
    return home


def _near(text: str) -> int:
    cell = parse_cell(text)
    if resolution_of(cell) < CELL_RESOLUTION_MIN:
        raise UsageError("That cell is wider than a neighbourhood.", "Give a smaller one.")
    return cell


def plain_text(text: str) -> str:
    """Return `text` as it is signed: NFC, without blanks around it.

    Raises:
        UsageError: longer than any text in an entry, or not Unicode throughout.
    """
    plain = unicodedata.normalize("NFC", text).strip()
    if len(plain) > TEXT_MAX:
        raise UsageError(f"A text has at most {TEXT_MAX} characters.", "Shorten it.")
    if not plain.isascii() and any("\ud800" <= letter <= "\udfff" for letter in plain):
        raise UsageError("This text is not Unicode: it holds half of a surrogate pair.")
    return plain


def _packed(payload: Offer | Request, kind: type[Offer | Request]) -> bytes:
    try:
        packed = encode_payload(payload)
        # The bounds on each field are checked where they are declared, in reading.
        msgspec.convert(msgspec.to_builtins(payload, builtin_types=(bytes,)), kind)
    except (ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"This lot does not fit: {error}.") from None
    if len(packed) > PAYLOAD_MAX:
        raise UsageError(
            f"This lot takes {len(packed)} bytes, {PAYLOAD_MAX} are allowed.",
            "Shorten its text.",
        )
    return packed
