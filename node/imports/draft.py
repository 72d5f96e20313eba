"""What a reader makes of one entry, and the words and checks that all readers share."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final, Literal, NamedTuple, TextIO

import msgspec

from passby.geo.categories import parse_category
from passby.node.quantities import Amount, Measure, shown
from passby.node.times import parse_until
from passby.protocol.errors import RemoteError, UsageError
from passby.protocol.limits import IMPORT_FILE_MAX, PAYLOAD_MAX
from passby.protocol.payloads import (
    Condition,
    Offer,
    Request,
    Window,
    encode_payload,
    from_value,
    to_value,
)
from passby.protocol.price import Price

NAME_MAX: Final = 120
WORD_MAX: Final = 64
TEXT_MAX: Final = 1500
_ALWAYS_FITS: Final = 500
"""Characters of text with which a payload is under PAYLOAD_MAX whatever its letters."""
_CELL_BYTES: Final = 9
"""The cell that a draft still lacks."""
Side = Literal["offer", "request"]


class LatLon(NamedTuple):
    """Degrees, WGS 84."""

    lat: float
    lon: float


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A lot that lacks only its cell.

    Args:
        line: where its entry starts in the file, from 1.
        payload: all but the cell, which is 0.
        amount: how much is offered or wanted, in the payload's unit.
        until_ms: when it stops standing: what the file says, but never past the best-before
            of an offer or the end of its window.
        at: where it is; None with no `place` is the home cell.
        place: a place's name or a cell as written, for the caller to look up.
        who: the household it belongs to, where the file names one.
    """

    line: int
    payload: Offer | Request
    amount: int
    until_ms: int
    at: LatLon | None = None
    place: str | None = None
    who: str | None = None

    def in_cell(self, cell: int) -> Offer | Request:
        """Return the payload as it stands in `cell`."""
        return msgspec.structs.replace(self.payload, cell=cell)


class Parsed(NamedTuple):
    """What a reader read of one entry, each field in its final form.

    `last_ms` is the best-before of an offer, and until when a request needs the thing to last.
    The other fields are as in `Draft`, `Offer` and `Request`.
    """

    line: int
    side: Side
    name: str
    category: str
    amount: Amount
    price: Price
    until_ms: int
    minimum: int = 1
    step: int = 1
    gtin: str | None = None
    brand: str | None = None
    condition: Condition | None = None
    last_ms: int | None = None
    window: Window | None = None
    radius_m: int | None = None
    text: str | None = None
    pay: tuple[str, ...] = ()
    at: LatLon | None = None
    place: str | None = None
    who: str | None = None

    def draft(self) -> Draft:
        """Return the draft, held against the bounds of the format.

        Raises:
            UsageError: a field out of bounds, or all of it too large.
        """
        payload = self._offer() if self.side == "offer" else self._request()
        for field, least in (("minimum", self.minimum), ("step", self.step)):
            if least > self.amount.value:
                raise UsageError(
                    f"the {field} is {least}, but the whole amount only {self.amount.value}",
                    f"make the {field} smaller",
                )
        try:
            from_value(to_value(payload), type(payload))
        except RemoteError as error:
            raise UsageError(f"out of bounds: {error.detail}", "bring it within them") from None
        if (
            len(payload.text or "") > _ALWAYS_FITS
            and len(encode_payload(payload)) > PAYLOAD_MAX - _CELL_BYTES
        ):
            raise UsageError(f"the text takes it over {PAYLOAD_MAX} bytes", "use fewer words")
        ends = [self.until_ms]
        if self.window is not None:
            ends.append(self.window.until_ms)
        if self.last_ms is not None and self.side == "offer":
            ends.append(self.last_ms)
        return Draft(
            line=self.line,
            payload=payload,
            amount=self.amount.value,
            until_ms=min(ends),
            at=self.at,
            place=self.place,
            who=self.who,
        )

    def _offer(self) -> Offer:
        return Offer(
            name=self.name,
            category=self.category,
            unit=self.amount.unit,
            price=self.price,
            cell=0,
            step=self.step,
            minimum=self.minimum,
            gtin=self.gtin,
            brand=self.brand,
            condition=self.condition,
            best_before_ms=self.last_ms,
            window=self.window,
            radius_m=self.radius_m,
            text=self.text,
            pay=self.pay,
        )

    def _request(self) -> Request:
        return Request(
            name=self.name,
            category=self.category,
            unit=self.amount.unit,
            amount=self.amount.value,
            price=self.price,
            cell=0,
            minimum=self.minimum,
            gtin=self.gtin,
            brand=self.brand,
            condition=self.condition,
            needed_until_ms=self.last_ms,
            window=self.window,
            radius_m=self.radius_m,
            text=self.text,
        )


class BadRow(NamedTuple):
    """An entry that cannot be read: where it starts, why, and what to do about it."""

    line: int
    reason: str
    hint: str = ""


class Reading(NamedTuple):
    """What a reader must know besides the file.

    Args:
        now_ms: the clock, from which relative times in the file count.
        tz: the zone of times without an offset.
        measure: whose quarts are meant.
        currency: of prices that name none.
        until: how long lots stand whose entry does not say.
    """

    now_ms: int
    tz: tzinfo = UTC
    measure: Measure | None = None
    currency: str | None = None
    until: str = "30 days"


def open_text(path: Path) -> TextIO:
    """Open `path` as UTF-8; bytes that are none come through as lone surrogates.

    Raises:
        UsageError: it is not a file that can be read, or above IMPORT_FILE_MAX.
    """
    try:
        size = path.stat().st_size
        if path.is_file() and size > IMPORT_FILE_MAX:
            raise UsageError(
                f"{path} has {size} bytes, where {IMPORT_FILE_MAX} are read at most",
                "split it into smaller files",
            )
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path} cannot be read: {reason}", "check its name and mode") from None


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Put `field` before whatever is found wrong within."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{field}: {error.message}", error.hint) from None


def clean(text: str, longest: int) -> str:
    """Return `text` in NFC on one line, without controls and bidi marks, cut to `longest`.

    Raises:
        UsageError: it came from bytes that are not UTF-8, or holds half a character.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())[:longest].rstrip()
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UsageError(
            f'"{shown(text)}" holds bytes that are not UTF-8', "save the file as UTF-8"
        )
    whole = " ".join(unicodedata.normalize("NFC", text).split())
    return _UNSEEN.sub("", whole)[:longest].strip()


_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Controls, and marks with which a name could be made to read backwards."""


def name_of(text: str) -> str:
    """Return `text` as a lot's name, cut to 120 characters.

    Raises:
        UsageError: nothing is left of it.
    """
    name = clean(text, NAME_MAX)
    if not name:
        raise UsageError("the name is empty", "say what it is in a few words")
    return name


def category_of(text: str) -> str:
    """Return `text` as a category path: "Home & Garden > Tools" is home-garden/tools.

    Raises:
        UsageError: no letter or digit in it, or too many levels.
    """
    levels = re.split("[/>]", clean(text, NAME_MAX))
    path = "/".join(word for word in map(_slug, levels) if word)[:WORD_MAX].strip("-/")
    return parse_category(path)


def way_of(text: str) -> str:
    """Return a way of paying as one word: "http://purl.org/goodrelations/v1#Cash" is cash.

    Raises:
        UsageError: no letter or digit in it.
    """
    word = _slug(re.split("[/#:]", clean(text, NAME_MAX))[-1])[:WORD_MAX].strip("-")
    if not word:
        raise UsageError(f'"{shown(text)}" is not a way of paying', "use a word, such as cash")
    return word


def _slug(text: str) -> str:
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", text.lower())).strip("-")


_CONDITIONS: Final = {
    form: condition
    for condition in Condition
    for form in (condition.value, f"{condition.value}condition")
}


def condition_of(text: str) -> Condition:
    """Return the item condition that `text` names: "used", "UsedCondition" or its address.

    Raises:
        UsageError: none of schema.org's four.
    """
    last = re.split(r"[/#:]", text.strip().casefold())[-1]
    if last not in _CONDITIONS:
        raise UsageError(
            f'"{shown(text)}" is not a condition', f"use one of {', '.join(Condition)}"
        )
    return _CONDITIONS[last]


def latlon_of(lat: str, lon: str) -> LatLon:
    """Return the point at two numbers of degrees.

    Raises:
        UsageError: not numbers, or not on Earth.
    """
    try:
        point = LatLon(float(lat), float(lon))
    except ValueError:
        point = LatLon(math.nan, math.nan)
    if not (-90 <= point.lat <= 90 and -180 <= point.lon <= 180):
        raise UsageError(
            f'"{shown(lat)},{shown(lon)}" is not a place',
            "give degrees, latitude before longitude: 52.375,4.884",
        )
    return point


def place_of(text: str) -> tuple[LatLon | None, str | None]:
    """Return the point in "52.375,4.884", or the cleaned words of any other place.

    Raises:
        UsageError: two numbers that are not a place on Earth.
    """
    if re.fullmatch(r"\s*-?[0-9.]+\s*[,;]\s*-?[0-9.]+\s*", text):
        lat, lon = re.split("[,;]", text)
        return latlon_of(lat, lon), None
    return None, clean(text, NAME_MAX) or None


def until_of(text: str, reading: Reading) -> int:
    """Return when a lot stops standing; an empty `text` is the reading's default.

    Raises:
        UsageError: no such time, or it is over.
    """
    return parse_until(text or reading.until, reading.now_ms, reading.tz)
