"""Payloads as typed records: what people read, under the entry's hash.

A payload is a canonical msgpack map. Keys a reader does not know are kept in the bytes and
ignored, so that later versions can say more. Text is NFC; nothing is a float.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from passby.protocol.codec import Value, decode, encode
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import AMOUNT_MAX, PAYLOAD_MAX, TEXT_MAX
from passby.protocol.price import Price
from passby.protocol.sealed import Sealed
from passby.protocol.units import Unit

Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
Millis = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Cell = Annotated[int, Meta(ge=0)]
Title = Annotated[str, Meta(min_length=1, max_length=120)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Gtin = Annotated[str, Meta(pattern=r"^[0-9]{8}([0-9]{4,6})?$")]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Salt = Annotated[bytes, Meta(min_length=16, max_length=16)]


class Condition(StrEnum):
    """schema.org's item conditions."""

    NEW = "new"
    USED = "used"
    REFURBISHED = "refurbished"
    DAMAGED = "damaged"


class Window(msgspec.Struct, frozen=True, array_like=True):
    """A span of time, Unix milliseconds, both ends included."""

    from_ms: Millis
    until_ms: Millis

    def __post_init__(self) -> None:
        """Refuse a span that ends before it starts."""
        if self.until_ms < self.from_ms:
            raise ValueError("a window that ends before it starts")


class Genesis(msgspec.Struct, frozen=True, omit_defaults=True):
    """The opening of a chain: who the device belongs to, unless that is kept private."""

    name: Title | None = None
    certificate: Annotated[bytes, Meta(max_length=512)] | None = None
    certificate_salt: Salt | None = None
    box: Hash | None = None
    """The X25519 key to which others seal what is meant for this device."""


class Stated(msgspec.Struct, frozen=True):
    """A root statement on its way in a chain, whoever's chain it is."""

    statement: Annotated[bytes, Meta(max_length=576)]


class Vouched(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a vouch came about: by an invite, whose token is spent with it."""

    token: Salt | None = None


class Carriage(msgspec.Struct, frozen=True):
    """Where a carrier brings what it takes along; it sets out at the offer's own cell."""

    to: Cell


class Swapped(msgspec.Struct, frozen=True, omit_defaults=True):
    """What would be taken for an offer: so much of a category."""

    category: Word
    unit: Unit
    amount: Amount


class Offer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something to be had. Its amount is the entry's stock, its last day a fact."""

    name: Title
    category: Word
    unit: Unit
    price: Price
    cell: Cell
    step: Amount = 1
    minimum: Amount = 1
    gtin: Gtin | None = None
    brand: Word | None = None
    condition: Condition | None = None
    best_before_ms: Millis | None = None
    window: Window | None = None
    radius_m: Annotated[int, Meta(ge=0, le=20_000_000)] | None = None
    text: Text | None = None
    pay: tuple[Word, ...] = ()
    fits: Annotated[tuple[Word, ...], Meta(max_length=16)] = ()
    swap: Annotated[tuple[Swapped, ...], Meta(max_length=8)] = ()
    lent_s: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    carriage: Carriage | None = None
    per_person: Amount | None = None
    """The most that one person gets of it."""
    per_day: Amount | None = None
    """The most that one person gets of it in 24 hours."""
    """Set where the amount is room on somebody's way, and no goods."""


class Request(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something wanted: at most `amount`, at least `minimum`, for no more than `price`."""

    name: Title
    category: Word
    unit: Unit
    amount: Amount
    price: Price
    cell: Cell
    minimum: Amount = 1
    gtin: Gtin | None = None
    brand: Word | None = None
    condition: Condition | None = None
    needed_until_ms: Millis | None = None
    margin_s: Annotated[int, Meta(ge=0, le=10**9)] = 0
    window: Window | None = None
    radius_m: Annotated[int, Meta(ge=0, le=20_000_000)] | None = None
    text: Text | None = None


class Adjust(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an amount changed."""

    text: Text | None = None


class LotTerms(msgspec.Struct, frozen=True):
    """What one lot of a propose costs, fixed at the propose's time."""

    lot: Hash
    amount: Amount
    unit: Unit
    total_minor: Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
    currency: Annotated[str, Meta(min_length=3, max_length=3)]


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is agreed: lots in the propose's order."""

    lots: tuple[LotTerms, ...]
    text: Text | None = None


class Propose(msgspec.Struct, frozen=True, omit_defaults=True):
    """The terms and the salt of their hash, which the entry's facts hold; words for the parties.

    What is sealed is a `Note`, bound to the proposer and to the terms hash.
    """

    terms: Terms
    terms_salt: Salt
    sealed: Sealed | None = None


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """Free words that go with a step: for all to read, or another `Note` sealed to the parties."""

    text: Text | None = None
    sealed: Sealed | None = None


Payload = Genesis | Stated | Vouched | Offer | Request | Adjust | Propose | Note
P = TypeVar("P", bound=Payload | Terms)
TERMS_MAX: Final = PAYLOAD_MAX


def encode_payload(payload: Payload | Terms) -> bytes:
    """Return the canonical map of `payload`; fields at their default are left out.

    Raises:
        ValueError: text that is not NFC.
    """
    return encode(to_value(payload))


def to_value(payload: Payload | Terms) -> Value:
    """Return `payload` as the plain value that is encoded."""
    plain: Value = msgspec.to_builtins(payload, builtin_types=(bytes,))
    return plain


def decode_payload(data: bytes, kind: type[P]) -> P:
    """Return the record of `kind` in canonical `data`; unknown keys are passed over.

    Raises:
        RemoteError: not canonical, or a field that does not fit.
    """
    value = decode(data, PAYLOAD_MAX)
    return from_value(value, kind)


def from_value(value: Any, kind: type[P]) -> P:
    """Return `value` as a record of `kind`.

    Raises:
        RemoteError: a field that does not fit.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise RemoteError(Code.BAD_PAYLOAD, f"{kind.__name__.lower()}: {error}") from None
