"""Two processes that take entries into one ledger, beside two that only check signatures.

Each process has half of the authors and does all there is to do for their entries: decoding,
every single signature, link and stock rule, and the commit. They share the ledger's file, and
so wait for each other while one commits; the file is whole at the end. The reference is
libsodium's bare check of the same entries by the same two processes at the same time.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from nacl.bindings import crypto_sign_open

from passby.ledger.ingest import Check, admit
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import Record, encode_record, read_records

PROCESSES: Final = 2


def figures(records: Sequence[Record], group: int, pairs: int) -> dict[str, Any]:
    """Return two_process_ratio and the rates it is of.

    Args:
        records: of several authors, each chain from its first entry on.
        group: entries of a transaction.
        pairs: how often both sides are run, in turn; the median of the ratios is told.
    """
    authors = list(dict.fromkeys(record.entry.author for record in records))
    halves = [
        [record for record in records if record.entry.author in authors[part::PROCESSES]]
        for part in range(PROCESSES)
    ]
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in halves]
    workers = [
        context.Process(target=_work, args=(far, _frames(half, group), group), daemon=True)
        for (_, far), half in zip(pipes, halves, strict=True)
    ]
    for worker in workers:
        worker.start()
    ends = [near for near, _ in pipes]
    try:
        for end in ends:
            end.recv()
        ratios, ours_s, bare_s = [], [], []
        for _ in range(pairs):
            with tempfile.TemporaryDirectory(prefix="passby-bench-") as folder:
                path = Path(folder) / "ledger.db"
                SqliteStore(path).close()
                bare_s.append(_timed(ends, None))
                ours_s.append(_timed(ends, path))
                store = SqliteStore(path)
                held = store.counts().entries
                store.close()
            if held != len(records):
                raise AssertionError("not every entry was appended")
            ratios.append(bare_s[-1] / ours_s[-1])
    finally:
        for end, worker in zip(ends, workers, strict=True):
            end.close()
            worker.join()
    return {
        "two_process_ratio": round(statistics.median(ratios), 3),
        "two_process_per_s": round(len(records) / statistics.median(ours_s)),
        "two_process_reference_per_s": round(len(records) / statistics.median(bare_s)),
    }


def _frames(records: Sequence[Record], group: int) -> list[bytes]:
    return [
        b"".join(map(encode_record, records[at : at + group]))
        for at in range(0, len(records), group)
    ]


def _timed(ends: Sequence[Connection[Any, Any]], path: Path | None) -> float:
    """Return the seconds until the last process is through with its half."""
    started_s = time.perf_counter()
    for end in ends:
        end.send(path)
    for end in ends:
        end.recv()
    return time.perf_counter() - started_s


def _work(end: Connection[Any, Any], frames: Sequence[bytes], group: int) -> None:
    """Run what is asked for, the reference for None, until nobody asks."""
    signed = [
        (record.entry.raw, record.entry.author)
        for frame in frames
        for record in read_records(frame, group)
    ]
    end.send(None)
    while True:
        try:
            path = end.recv()
        except EOFError:
            return
        if path is None:
            for raw, author in signed:
                crypto_sign_open(raw, author)
        else:
            store = SqliteStore(path)
            for frame in frames:
                records = read_records(frame, group)
                batch = admit(store.view(records), records, Check.EACH)
                store.commit([batch], durable=False)
            store.close()
        end.send(None)
