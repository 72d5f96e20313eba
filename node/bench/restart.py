"""How soon a node with a full ledger is ready, and how soon a wish entered there has its matches.

A ledger of LOTS open lots, of LISTED a lister, is made by the store itself. In process: from
opening it to books that are whole, by what the last stop put away (`ready_s`) and by reading
every lot, as after a stop that was none (`ready_by_reading_s`). The reference is one pass of
SQLite over the rows that the latter reads.

Live: a daemon with WISHED open lots, and `passby request` as a process of its own, from its start
to its end, which shows the matches. The reference is `passby version`: the interpreter and the
command line, without a node.
"""

from __future__ import annotations

import csv
import json
import math
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio

from passby.geo.cells import cell_at, cell_text, topic_cell
from passby.ledger.ingest import Check, admit
from passby.ledger.reader_sqlite import SqliteReader
from passby.ledger.store_sqlite import SqliteStore
from passby.node import shelf
from passby.node.chains import Chains
from passby.node.clock import machine_clock
from passby.node.demo.street import Neighbour, free_ports
from passby.node.head_guard import NAME as GUARD_NAME
from passby.node.head_guard import begin
from passby.node.market import Market
from passby.node.storage import open_storage
from passby.protocol.entry import SALT_BYTES, Body, Record, payload_hash, sign
from passby.protocol.errors import LocalError, UsageError
from passby.protocol.keys import SigningKey
from passby.protocol.payloads import Offer, encode_payload
from passby.protocol.price import Price
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

LOTS: Final = 1_000_000
WISHED: Final = 100_000
WISHES: Final = 15
UP_WITHIN_S: Final = 300.0
LISTED: Final = 250
CATEGORIES: Final = 25
DENSITY_KM2: Final = 1_000
CENTRE: Final = (52.52, 13.4)
DAY_MS: Final = 86_400_000
GROUP: Final = 5_000
RESOLUTION: Final = 8
_LOOK_EVERY_S: Final = 0.02
_DEGREE_M: Final = 111_195


def figures(data: Path, lots: int = LOTS, wished: int = WISHED) -> dict[str, Any]:
    """Return the figures.

    Raises:
        UsageError: `products.csv` is not in `data`.
        LocalError: the node does not come up.
    """
    with TemporaryDirectory(prefix="passby-bench-") as folder:
        return {
            **_ready(Path(folder) / "ready", lots, data),
            **_wishes(Path(folder) / "wish", wished, data),
        }


def _ready(folder: Path, lots: int, data: Path) -> dict[str, Any]:
    folder.mkdir()
    database, books = folder / "passby.db", folder / "books.npz"
    begin(folder / GUARD_NAME)
    fill(database, lots, machine_clock(), data)
    reading_s = trio.run(_open, database, books, lots)
    ready_s = trio.run(_open, database, books, lots)
    with closing(SqliteReader.open(database)) as reader:
        started = time.perf_counter()
        if sum(1 for _ in reader.open_lots(machine_clock())) != lots:
            raise AssertionError("not every lot is open")
        passed_s = time.perf_counter() - started
    return {
        "ready_s": round(ready_s, 2),
        "ready_by_reading_s": round(reading_s, 2),
        "ready_reference_s": round(passed_s, 2),
    }


async def _open(database: Path, books: Path, lots: int) -> float:
    """Return how long it takes until the books are whole; put them away at the end."""
    key = SigningKey(bytes(32))
    started = time.perf_counter()
    seal = shelf.seal(database)
    async with open_storage(database, key.public) as storage, trio.open_nursery() as nursery:
        chains = Chains(storage, key, machine_clock, bytes)
        market = Market(chains, machine_clock, cell_at(*CENTRE, RESOLUTION))
        found = shelf.take_out(books, seal, chains.heads)
        if found is not None:
            market.adopt(*found)
        nursery.start_soon(market.run)
        while not market.is_whole:  # noqa: ASYNC110  # nobody else waits for that
            await trio.sleep(_LOOK_EVERY_S)
        ready_s = time.perf_counter() - started
        if len(market.offers) != lots:
            raise AssertionError("not every lot is in the book")
        nursery.cancel_scope.cancel()
    shelf.put_away(books, shelf.seal(database), chains.heads, (market.offers, market.requests))
    return ready_s


def _wishes(folder: Path, lots: int, data: Path) -> dict[str, Any]:
    (port,) = free_ports(1)
    place = cell_text(cell_at(*CENTRE, RESOLUTION))
    node = Neighbour(folder, "Ada", place, port, machine_clock())
    fill(node.home.database_path, lots, machine_clock(), data)
    node.start()
    try:
        node.wait_until_up()
        until_s = time.monotonic() + UP_WITHIN_S
        while node.get("/v1/status")["lots_open"] < lots:
            if time.monotonic() > until_s:
                raise LocalError("Not every lot was read in time.", "See whether it is busy.")
            time.sleep(_LOOK_EVERY_S)
        wishes, bare = [], []
        for number in range(WISHES):
            wish = ("request", f"Sweets {number}", "--category", "goods-1/kind-1")
            bare.append(_timed(node.home.path, "version")[0])
            taken_s, shown = _timed(node.home.path, *wish, "--price", "15EUR", "--amount", "1")
            if len(json.loads(shown)["matches"]) == 0:
                raise AssertionError("no match was shown")
            wishes.append(taken_s)
    finally:
        node.stop()
    return {
        "wish_ms": {"p50": _ms(statistics.median(wishes)), "best": _ms(min(wishes))},
        "wish_reference_ms": {"p50": _ms(statistics.median(bare)), "best": _ms(min(bare))},
    }


def _timed(home: Path, *words: str) -> tuple[float, bytes]:
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603  # our own interpreter and module
        [sys.executable, "-m", "passby.node.cli", *words, "--json", "--home", str(home)],
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - started, done.stdout


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)


def fill(path: Path, lots: int, now_ms: int, data: Path) -> None:
    """Make a ledger at `path` with `lots` open lots of named products.

    Raises:
        UsageError: `products.csv` is not in `data`.
    """
    store = SqliteStore(path)
    try:
        records = _records(lots, now_ms, _products(data))
        while group := list(islice(records, GROUP)):
            store.commit([admit(store.view(group), group, Check.RUNS)], durable=False)
    finally:
        store.close()


def _products(data: Path) -> list[tuple[str, str]]:
    try:
        with (data / "products.csv").open(encoding="utf-8", newline="") as rows:
            return [(row["gtin"], row["name"]) for row in csv.DictReader(rows)]
    except OSError:
        raise UsageError(
            f"There is no products.csv in {data}.", "Say with --data where it is."
        ) from None


def _records(lots: int, now_ms: int, products: list[tuple[str, str]]) -> Iterator[Record]:
    dice = random.Random(lots)  # noqa: S311  # a workload, not a secret
    aside = math.sqrt(lots / DENSITY_KM2) * 1000 / _DEGREE_M
    named = cycle(products)
    for start in range(0, lots, LISTED):
        key = SigningKey(dice.randbytes(32))
        last = Record(
            sign(key, Body(key.public, 1, None, now_ms - DAY_MS, 1, (), (), (dice.randbytes(32),)))
        )
        yield last
        for gtin, name in islice(named, min(LISTED, lots - start)):
            latitude = CENTRE[0] + (dice.random() - 0.5) * aside
            longitude = CENTRE[1] + (dice.random() - 0.5) * aside
            cell = cell_at(latitude, longitude, RESOLUTION)
            kind = dice.randrange(CATEGORIES)
            payload = encode_payload(
                Offer(
                    name=name[:100],
                    category=f"goods-{kind % 8}/kind-{kind}",
                    unit=Unit.PIECE,
                    price=Price(dice.randrange(2_000), 1, "EUR"),
                    cell=cell,
                    gtin=gtin,
                )
            )
            salt, amount, seq = dice.randbytes(SALT_BYTES), dice.randint(1, 40), last.entry.seq + 1
            body = Body(
                key.public,
                seq,
                last.entry.id,
                now_ms - DAY_MS + seq,
                EntryType.OFFER,
                (),
                (seq, 0, 0, amount, amount, 0),
                (topic_cell(cell), now_ms + dice.randrange(DAY_MS, 30 * DAY_MS)),
                len(payload),
                payload_hash(salt, payload),
            )
            last = Record(sign(key, body), salt, payload)
            yield last
