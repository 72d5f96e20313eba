"""Where the books lie between a stop and the next start, so that a million lots need no reading.

What is put away is of use only with the very ledger that it was made from: the file's size and
time of change, and every chain's head, are put away with it. Whoever writes the ledger in between
(mending, a restored backup, another passby) makes it void. It is taken out once: after a stop
that was none there is nothing, and the books are read from the ledger, as they always can be.
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from passby.geo.book import Book
from passby.geo.lots import Side
from passby.ledger.chain import Head

log = logging.getLogger(__name__)
_SEAL: Final = "seal"


def seal(database: Path) -> bytes:
    """Return what is another once the ledger is written; empty where there is none."""
    found = []
    for path in (database, database.with_name(database.name + "-wal")):
        with suppress(FileNotFoundError):
            status = path.stat()
            # Whoever only reads may leave an empty log behind.
            if status.st_size:
                found.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return " ".join(found).encode()


def put_away(
    path: Path, sealed: bytes, heads: Mapping[bytes, Head], books: tuple[Book, Book]
) -> None:
    """Write the books of offers and requests to `path`; a disk that is full is no trouble."""
    if not sealed:
        return
    parts = {_SEAL: np.frombuffer(_whole(sealed, heads), np.uint8)}
    for book in books:
        parts |= {f"{book.side.name}.{name}": part for name, part in book.packed().items()}
    fresh = path.with_suffix(".new")
    try:
        with open(fresh, "wb", opener=_private) as file:
            np.savez(file, allow_pickle=False, **parts)
        fresh.replace(path)
    except OSError as error:
        log.warning("the books are not put away, the next start reads the ledger: %s", error)
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def take_out(path: Path, sealed: bytes, heads: Mapping[bytes, Head]) -> tuple[Book, Book] | None:
    """Return the books of offers and requests, None where there are none for this ledger."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as parts:
            # From here on the ledger is written, and what lies there is void.
            path.unlink()
            if not sealed or parts[_SEAL].tobytes() != _whole(sealed, heads):
                return None
            offers, requests = (
                Book.unpack(
                    side,
                    {
                        name.removeprefix(f"{side.name}."): parts[name]
                        for name in parts.files
                        if name.startswith(f"{side.name}.")
                    },
                )
                for side in (Side.OFFER, Side.REQUEST)
            )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.MsgspecError):
        log.warning("the books that were put away cannot be read; they are made from the ledger")
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    return offers, requests


def _whole(sealed: bytes, heads: Mapping[bytes, Head]) -> bytes:
    digest = sha256(sealed)
    for author, head in sorted(heads.items()):
        digest.update(b"%b%d %b" % (author, head.seq, head.id))
    return digest.digest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
