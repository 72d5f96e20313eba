"""Files become lots: what each row says, or why it cannot be read.

A reader goes through a file lazily and gives a `Draft` or a `BadRow` for each of its entries,
in the file's order. One bad row costs itself alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from passby.node.imports.csvfile import Columns, read_csv
from passby.node.imports.draft import BadRow, Draft, Reading
from passby.node.imports.schemaorg import read_schemaorg
from passby.protocol.errors import UsageError

__all__ = ["BadRow", "Columns", "Draft", "Reading", "line_count", "read_file"]


def read_file(
    path: Path, reading: Reading, columns: Columns | None = None
) -> Iterator[Draft | BadRow]:
    """Return an iterator over the lots in `path`, read as its suffix says.

    Args:
        path: a schema.org document (.json, .jsonld) or a table (.csv, .tsv, .txt).
        reading: the clock and what else the file does not say.
        columns: for tables, which column holds what.

    Raises:
        UsageError: at once, when the file is missing, too large or of another kind, or when
            its columns do not fit. Whatever is wrong with one entry becomes its `BadRow`.
    """
    match path.suffix.lower():
        case ".json" | ".jsonld":
            return read_schemaorg(path, reading)
        case ".csv" | ".tsv" | ".txt":
            return read_csv(path, reading, columns or Columns())
        case _:
            raise UsageError(
                f"{path.name} is of a kind that passby does not read",
                "give a schema.org document (.jsonld, .json) or a table (.csv, .tsv)",
            )


def line_count(path: Path) -> int:
    """Return how many lines `path` has, for a progress bar beside `Draft.line`."""
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 16), b"")) + 1
