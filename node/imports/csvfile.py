"""Tables: one lot for each row of a CSV file, its columns named by option.

A column named like a field is used as it is; `Columns.names` maps others, and
`Columns.constants` holds what every row shares or lacks. Commas, semicolons and tabs are
told apart by the header.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, TextIO, TypeVar

from passby.node.gtin import parse_gtin
from passby.node.imports.draft import (
    TEXT_MAX,
    WORD_MAX,
    BadRow,
    Draft,
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
    place_of,
    until_of,
    way_of,
)
from passby.node.prices import parse_price
from passby.node.quantities import Amount, amount_in, parse_amount, parse_number, shown
from passby.node.times import parse_until, parse_window
from passby.protocol.errors import UsageError
from passby.protocol.limits import IMPORT_PAY_MAX
from passby.protocol.payloads import Window
from passby.protocol.price import Price

FIELDS: Final = (
    "name", "gtin", "brand", "category", "amount", "unit", "step", "minimum", "price", "currency",
    "condition", "best_before", "until", "window", "at", "lat", "lon", "radius_m", "text", "pay",
    "side", "who",
)  # fmt: skip
"""What a column may hold. `side` is "offer" or "request", `unit` that of a bare amount."""
DEFAULTS: Final = {"amount": "1", "category": "goods", "side": "offer"}

T = TypeVar("T")


class Columns(NamedTuple):
    """Which column holds which field, and the fields that no column holds.

    Args:
        names: field to the name of its column.
        constants: field to its text in every row whose cell is missing or empty.
    """

    names: Mapping[str, str] = {}
    constants: Mapping[str, str] = {}


def read_csv(path: Path, reading: Reading, columns: Columns) -> Iterator[Draft | BadRow]:
    """Return an iterator over the lots in the table at `path`.

    Raises:
        UsageError: the file cannot be read, has no header, or lacks a named column, or
            nothing says what a row is called or costs. What is wrong with one row becomes
            its `BadRow`.
    """
    for field in (*columns.names, *columns.constants):
        if field not in FIELDS:
            raise UsageError(f'"{field}" is not a field of a lot', f"use {', '.join(FIELDS)}")
    file = open_text(path)
    try:
        header, first = _header(file, path)
        at = _positions(header, columns, path)
        _check_constants(columns.constants, reading)
    except BaseException:
        file.close()
        raise
    return _rows(file, first, len(header), at, reading, columns)


def _header(file: TextIO, path: Path) -> tuple[list[str], csv.Dialect]:
    line = file.readline(_HEADER_MAX)
    dialect = csv.excel()
    dialect.delimiter = max(",;\t", key=line.count)
    try:
        header = next(csv.reader([line], dialect), [])
    except csv.Error:
        header = []
    if not any(header):
        raise UsageError(
            f"{path.name} has no header line", "name the columns in its first line, such as name"
        )
    return [name.strip() for name in header], dialect


_HEADER_MAX: Final = 64 * 1024
"""A header is a line of names; a file without line ends is not read whole for it."""


def _positions(header: list[str], columns: Columns, path: Path) -> dict[str, int]:
    positions: dict[str, int] = {}
    for field in FIELDS:
        column = columns.names.get(field, field)
        if column in header:
            positions[field] = header.index(column)
        elif field in columns.names:
            raise UsageError(
                f'{path.name} has no column "{column}"',
                f"its columns are {', '.join(map(shown, header))}",
            )
    for field, example in (("name", "name=product_name"), ("price", "price=free")):
        if field not in positions and field not in columns.constants:
            raise UsageError(
                f"{path.name} has no column for the {field}",
                f"map one of {', '.join(map(shown, header))} to it, or give one for all: {example}",
            )
    return positions


def _check_constants(constants: Mapping[str, str], reading: Reading) -> None:
    """Refuse constants that would make every row a bad one."""
    fields = {"name": "any", "price": "free", **constants}
    _draft(0, lambda field: fields.get(field) or DEFAULTS.get(field, ""), _Words(reading))


class _Words:
    """The parsers, each remembering what it read: most rows repeat most of their words."""

    def __init__(self, reading: Reading) -> None:
        def amount(text: str, unit: str) -> Amount:
            if not unit:
                return parse_amount(text, reading.measure)
            try:
                number = parse_number(text)
            except UsageError:
                return parse_amount(text, reading.measure)
            return amount_in(number, unit, reading.measure)

        def price(text: str, currency: str, of: Amount) -> Price:
            known = currency.upper() or reading.currency
            return parse_price(text, known, reading.measure).price(of)

        def window(text: str) -> Window:
            return parse_window(text, reading.now_ms, reading.tz)

        def moment(text: str) -> int:
            return parse_until(text, reading.now_ms, reading.tz)

        def until(text: str) -> int:
            return until_of(text, reading)

        self.amount = _remembering(amount)
        self.price = _remembering(price)
        self.window = _remembering(window)
        self.moment = _remembering(moment)
        self.until = _remembering(until)
        self.category = _remembering(category_of)


def _remembering(parse: Callable[..., T]) -> Callable[..., T]:
    return lru_cache(maxsize=256)(parse)


def _rows(
    file: TextIO,
    dialect: csv.Dialect,
    width: int,
    at: Mapping[str, int],
    reading: Reading,
    columns: Columns,
) -> Iterator[Draft | BadRow]:
    words = _Words(reading)
    rest = DEFAULTS | dict(columns.constants)
    with file:
        rows = csv.reader(file, dialect)
        while True:
            line = rows.line_num + 2
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield BadRow(line, f"not a row of a table: {error}", "look for an unclosed quote")
                continue
            if row is None:
                return
            if not row:
                continue
            try:
                yield _row(line, row, width, at, rest, words)
            except UsageError as error:
                yield BadRow(line, error.message, error.hint)


def _row(
    line: int,
    row: Sequence[str],
    width: int,
    at: Mapping[str, int],
    rest: Mapping[str, str],
    words: _Words,
) -> Draft:
    if len(row) != width:
        raise UsageError(
            f"{len(row)} fields, where the header has {width}",
            "look for an unquoted comma or an unclosed quote",
        )

    def cell(field: str) -> str:
        place = at.get(field)
        found = row[place].strip() if place is not None else ""
        return found or rest.get(field, "")

    return _draft(line, cell, words)


def _draft(line: int, cell: Callable[[str], str], words: _Words) -> Draft:
    with naming("amount"):
        amount = words.amount(cell("amount"), cell("unit"))
    with naming("price"):
        price = words.price(cell("price"), cell("currency"), amount)
    with naming("until"):
        until_ms = words.until(cell("until"))
    point, place = place_of(cell("at")) if cell("at") else (None, None)
    if cell("lat") or cell("lon"):
        point, place = latlon_of(cell("lat"), cell("lon")), None
    return Parsed(
        line=line,
        side=_side(cell("side")),
        name=name_of(cell("name")),
        category=words.category(cell("category")),
        amount=amount,
        price=price,
        until_ms=until_ms,
        minimum=_count("minimum", cell("minimum"), amount, words),
        step=_count("step", cell("step"), amount, words),
        gtin=parse_gtin(cell("gtin"), padded=True) if cell("gtin") else None,
        brand=clean(cell("brand"), WORD_MAX) or None,
        condition=condition_of(cell("condition")) if cell("condition") else None,
        last_ms=words.moment(cell("best_before")) if cell("best_before") else None,
        window=words.window(cell("window")) if cell("window") else None,
        radius_m=_whole("radius_m", cell("radius_m")) if cell("radius_m") else None,
        text=clean(cell("text"), TEXT_MAX) or None,
        pay=tuple(way_of(way) for way in cell("pay").split()[:IMPORT_PAY_MAX]),
        at=point,
        place=place,
        who=clean(cell("who"), WORD_MAX) or None,
    ).draft()


def _side(text: str) -> Side:
    match text.casefold():
        case "offer":
            return "offer"
        case "request":
            return "request"
        case _:
            raise UsageError(f'"{shown(text)}" is not a side', "use offer or request")


def _count(field: str, text: str, amount: Amount, words: _Words) -> int:
    """Return a step or minimum in the amount's base unit; a bare number is base units."""
    if not text:
        return 1
    if text.isascii() and text.isdecimal():
        return _whole(field, text)
    with naming(field):
        step = words.amount(text, "")
    if step.unit is not amount.unit:
        raise UsageError(
            f"{field}: {shown(text)} is of another kind than the amount", "use the same unit"
        )
    return step.value


def _whole(field: str, text: str) -> int:
    with naming(field):
        number = parse_number(text)
        if number.denominator != 1:
            raise UsageError(f"{text} is not a whole number", "leave out the decimals")
    return int(number)
