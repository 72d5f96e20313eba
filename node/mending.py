"""Mending a ledger that is damaged: set the file aside, salvage, let neighbours give the rest.

The damaged file is renamed and kept. Which files lie where at each moment, and why a crash
there is safe:

    1. salvage into passby.db.mending       begun anew the next time
    2. rename the log, then the database    a log must never lie beside a database that is not
       to passby.db.damaged-N               its own: SQLite would play it back into it. With no
                                            database at all, the node begins an empty one
    3. rename passby.db.mending to passby.db

Whatever is missing afterwards, of others or of the own chain, comes by sync. The head guard,
which is another file, tells when the own chain ends before its last entry: nothing is
appended until neighbours have given that entry back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from passby.ledger.salvage import Salvaged, salvage
from passby.protocol.errors import Exit, LocalError

LOGS = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Mended:
    """What came of it, and where the damaged file is now."""

    salvaged: Salvaged
    kept: Path


def mend(path: Path) -> Mended:
    """Replace the ledger at `path` by what can be salvaged of it; nobody may have it open.

    Raises:
        LocalError: the new file cannot be written; the old one is where it was.
    """
    fresh = path.with_name(f"{path.name}.mending")
    for file in (fresh, *(_beside(fresh, log) for log in LOGS)):
        file.unlink(missing_ok=True)
    salvaged = salvage(path, fresh)
    kept = _free_name(path)
    try:
        for log in LOGS:
            if _beside(path, log).exists():
                _beside(path, log).replace(_beside(kept, log))
        path.replace(kept)
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise LocalError(
            f"The damaged ledger cannot be set aside: {error.strerror}.",
            "See that the home folder belongs to you, and try again.",
            Exit.IO,
        ) from error
    return Mended(salvaged, kept)


def _beside(path: Path, log: str) -> Path:
    return path.with_name(path.name + log)


def _free_name(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return kept
