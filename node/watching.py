"""A watched folder: its stock files stay in step with the market."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import trio

from passby.node.config import Config
from passby.node.imports import BadRow, Reading, read_file
from passby.node.imports.listed import lot_of
from passby.node.row_keys import keys_of
from passby.node.stock import Stock
from passby.node.zone import local_zone
from passby.protocol.errors import LocalError, UsageError
from passby.protocol.limits import (
    LISTED_FOR_S,
    STOCK_AGAIN_S,
    STOCK_FILES_MAX,
    STOCK_LOOK_S,
    STOCK_ROWS_MAX,
)

if TYPE_CHECKING:
    from passby.node.quantities import Measure

DAY_MS: Final = 24 * 3_600_000
SUFFIXES: Final = frozenset({".csv", ".tsv", ".json", ".jsonld"})
log = logging.getLogger(__name__)


class Mark(NamedTuple):
    """What tells that a file has changed."""

    changed_ns: int
    size: int


class Rows(NamedTuple):
    """What was read of a file: rows with their keys, and how many could not be read."""

    rows: list[tuple[str, dict[str, Any]]]
    bad: list[BadRow]


class Watch:
    """Brings lots in step with the files of a folder, for as long as the node runs.

    A file is taken once it has looked the same twice, so that none is read half written. A row
    that cannot be read takes nothing off the market, since nobody knows whose row it was.

    Args:
        config: gives the choices, the folder among them; asked at each look.
        stock: what lists.
        clock: Unix milliseconds.
    """

    def __init__(self, config: Callable[[], Config], stock: Stock, clock: Callable[[], int]):
        self._config = config
        self._stock = stock
        self._clock = clock
        self._seen: dict[Path, Mark] = {}
        self._taken: dict[Path, tuple[Mark, int]] = {}

    async def run(self) -> None:
        """Look at the folder now and then, until cancelled."""
        while True:
            try:
                await self.look()
            except LocalError as error:
                log.warning("the stock folder: %s %s", error.message, error.hint)
            await trio.sleep(STOCK_LOOK_S)

    async def look(self) -> None:
        """Take every file that has changed and is written to the end.

        Raises:
            LocalError: the configuration cannot be read, or nothing can be listed now.
        """
        config = self._config()
        if config.stock_folder is None:
            return
        files = await trio.to_thread.run_sync(_files, config.stock_folder)
        if files is None:
            return
        before, self._seen = self._seen, files
        for path, mark in files.items():
            taken, at_ms = self._taken.get(path, (None, 0))
            stale = self._clock() - at_ms > STOCK_AGAIN_S * 1000
            if before.get(path) == mark and (taken != mark or stale):
                self._taken[path] = (mark, self._clock())
                await self._take(path, config)
        for path in [path for path in self._taken if path not in files]:
            del self._taken[path]
            await self._stock.take(str(path), [], whole=True)

    async def _take(self, path: Path, config: Config) -> None:
        try:
            found = await trio.to_thread.run_sync(_read, path, config, self._clock())
        except UsageError as error:
            log.warning("%s: %s %s", path.name, error.message, error.hint)
            return
        for row in found.bad[:3]:
            log.warning("%s, line %s: %s %s", path.name, row.line, row.reason, row.hint)
        results = await self._stock.take(str(path), found.rows, whole=not found.bad)
        counts = Counter(str(result.get("done", "refused")) for result in results)
        if counts.keys() - {"same"} or found.bad:
            told = ", ".join(f"{count} {done}" for done, count in sorted(counts.items()))
            log.info("%s: %s; %s rows cannot be read", path.name, told, len(found.bad))


def _files(named: str) -> dict[Path, Mark] | None:
    """Return the stock files of a folder; None where it cannot be looked at."""
    folder = Path(named).expanduser()
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        found = {}
        for path in paths[:STOCK_FILES_MAX]:
            stat = path.stat()
            found[path] = Mark(stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        # A drive that is not there for a moment is no empty shop.
        log.warning("the stock folder %s cannot be read: %s", folder, error.strerror)
        return None
    return found


def _read(path: Path, config: Config, now_ms: int) -> Rows:
    # "5 weeks" counts from when the file was written: read again, it says the same again.
    written_ms = min(path.stat().st_mtime_ns // 1_000_000, now_ms)
    days = (now_ms - written_ms) // DAY_MS + LISTED_FOR_S * 1000 // DAY_MS
    reading = Reading(
        now_ms=written_ms,
        tz=local_zone(),
        measure=cast("Measure | None", config.measure),
        currency=config.currency,
        until=f"{days} days",
    )
    lots: list[dict[str, Any]] = []
    bad: list[BadRow] = []
    for row in read_file(path, reading):
        if isinstance(row, BadRow):
            bad.append(row)
            continue
        try:
            lots.append(lot_of(row))
        except UsageError as error:
            bad.append(BadRow(row.line, error.message, error.hint))
        if len(lots) > STOCK_ROWS_MAX:
            raise UsageError(f"it has more than {STOCK_ROWS_MAX:,} rows", "split the stock")
    return Rows(list(zip(keys_of(lots), lots, strict=True)), bad)
