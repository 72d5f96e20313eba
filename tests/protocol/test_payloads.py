"""Payload records."""

from __future__ import annotations

import pytest

from passby.protocol.codec import encode
from passby.protocol.errors import Code, RemoteError
from passby.protocol.payloads import (
    Adjust,
    Carriage,
    Condition,
    Genesis,
    LotTerms,
    Note,
    Offer,
    Payload,
    Propose,
    Request,
    Terms,
    Window,
    decode_payload,
    encode_payload,
    to_value,
)
from passby.protocol.price import Price
from passby.protocol.units import Unit

PRICE = Price(400, 946, "EUR")
OFFER = Offer(name="DOT 4", category="auto", unit=Unit.MILLILITRE, price=PRICE, cell=5)
FULL = Offer(
    name="DOT 4",
    category="auto",
    unit=Unit.MILLILITRE,
    price=Price(400, 946, "EUR", ((1, 2), (3, 4))),
    cell=5,
    step=10,
    minimum=100,
    gtin="4006381333931",
    brand="Ate",
    condition=Condition.NEW,
    best_before_ms=7,
    window=Window(1, 2),
    radius_m=3000,
    text="unopened",
    pay=("cash",),
    carriage=Carriage(6),
)
REQUEST = Request(
    name="DOT 4", category="auto", unit=Unit.MILLILITRE, amount=500, price=PRICE, cell=5
)
TERMS = Terms((LotTerms(bytes(32), 473, Unit.MILLILITRE, 200, "EUR"),))


@pytest.mark.parametrize(
    "payload",
    [OFFER, FULL, REQUEST, Propose(TERMS, bytes(16)), Adjust("gone off"), Note(), Genesis("Anna")],
)
def test_a_payload_is_read_again(payload: Payload) -> None:
    assert decode_payload(encode_payload(payload), type(payload)) == payload


def test_fields_at_their_default_are_left_out() -> None:
    assert to_value(OFFER) == {
        "name": "DOT 4",
        "category": "auto",
        "unit": "MLT",
        "price": [400, 946, "EUR", ()],
        "cell": 5,
    }


def test_keys_from_a_later_version_are_passed_over() -> None:
    value = to_value(OFFER)
    assert isinstance(value, dict)
    assert decode_payload(encode({**value, "zz": [1]}), Offer) == OFFER


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("name", ""),
        ("name", "x" * 121),
        ("name", 5),
        ("category", "x" * 65),
        ("unit", "LTR"),
        ("price", [1, 0, "EUR"]),
        ("price", [1, 1, "EUR", [], 5]),
        ("cell", -1),
        ("step", 0),
        ("minimum", 2**53),
        ("minimum", True),
        ("gtin", "123"),
        ("gtin", "123456789"),
        ("condition", "good"),
        ("window", [2, 1]),
        ("radius_m", -1),
        ("text", "x" * 1501),
        ("pay", [""]),
    ],
)
def test_a_field_that_does_not_fit_is_refused(key: str, wrong: object) -> None:
    value = to_value(OFFER)
    assert isinstance(value, dict)
    with pytest.raises(RemoteError) as caught:
        decode_payload(encode({**value, key: wrong}), Offer)  # type: ignore[dict-item]  # wrong ones
    assert caught.value.code is Code.BAD_PAYLOAD


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(RemoteError):
        decode_payload(encode({"name": "x"}), Offer)


def test_text_that_is_not_nfc_is_not_written() -> None:
    with pytest.raises(ValueError, match="NFC"):
        encode_payload(Note("e\u0301"))
