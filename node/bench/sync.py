"""What sync costs between two real nodes, beside what taking the same entries in costs alone.

Two daemons on this machine, each a process with its own home, over libp2p's streams on
loopback; a third, their neighbour, has news while the two are busy. Both follow 200
authors; the one side holds 100,000 entries of theirs, the other none. Measured is the way from
one store to the other: read, send, decode, verify, judge, commit. The reference is bulk ingest
of the same records from memory, in turn with it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from passby.ledger.ingest import Check, admit
from passby.ledger.reader_sqlite import SqliteReader
from passby.ledger.store_sqlite import SqliteStore
from passby.node.bench import reconcile
from passby.node.bench.ledger import workload
from passby.node.demo.street import Neighbour, free_ports, wait_for
from passby.node.following import Following
from passby.protocol.entry import Record, encode_record, read_records
from passby.protocol.errors import LocalError
from passby.protocol.limits import RUN_MAX, WRITE_GROUP_RECORDS_MAX

ENTRIES: Final = 100_000
AUTHORS: Final = 200
ROUNDS: Final = 3
LOOK_EVERY_S: Final = 0.04
PROBE_EVERY_S: Final = 0.05
DONE_WITHIN_S: Final = 180.0
CUT_AT: Final = 0.4
CELL: Final = "881fb46625fffff"
_NEWS: Final = {
    "side": "offer",
    "name": "Bicycle pump",
    "category": "tools/bicycle",
    "amount": 1,
    "unit": "H87",
    "price": {"minor": 200, "per_amount": 1, "currency": "EUR"},
}

Progress = Callable[[str], None]


def run(progress: Progress, entries: int = ENTRIES, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure everything; return figures by name.

    `of_local_ratio` is a ratio of rates (more is better). `repeated_entries` are those that
    came over the stream although they were held.

    Raises:
        LocalError: a node does not come up, or sync does not end.
    """
    progress("what has changed since two neighbours met")
    reconciled = reconcile.run()
    progress(f"making {entries} entries")
    records = workload(entries, run=RUN_MAX, authors=AUTHORS)
    figures: dict[str, Any] = {
        "entries": entries,
        "authors": AUTHORS,
        "record_bytes_mean": round(statistics.fmean(record.size for record in records)),
        "reconcile": reconciled,
    }
    with tempfile.TemporaryDirectory(prefix="passby-bench-") as name:
        street = _Street(Path(name), records, progress)
        try:
            figures |= _rates(street, progress, rounds)
            figures["news_ms"] = _news(street, progress)
            figures["resume"] = {
                side: _resume(street, side, progress) for side in ("receiver", "sender")
            }
        finally:
            street.stop()
    return figures


class _Street:
    """The daemons: who holds everything, a neighbour with news, and receivers made anew."""

    def __init__(self, folder: Path, records: Sequence[Record], progress: Progress) -> None:
        self._folder = folder
        self._made = 0
        self._now_ms = time.time_ns() // 1_000_000
        self.entries = len(records)
        self.frames = [
            b"".join(map(encode_record, records[at : at + WRITE_GROUP_RECORDS_MAX]))
            for at in range(0, len(records), WRITE_GROUP_RECORDS_MAX)
        ]
        self._authors = {record.entry.author for record in records}
        progress("starting the nodes")
        self.sender = self._neighbour("sender")
        self.ingest(self.sender.home.database_path)
        self._follow(self.sender)
        self.teller = self._neighbour("teller")
        self.receiver = self.teller
        for each in (self.sender, self.teller):
            each.start()
            each.wait_until_up()

    def _neighbour(self, name: str) -> Neighbour:
        self._made += 1
        (port,) = free_ports(1)
        return Neighbour(self._folder / f"{name}-{self._made}", name, CELL, port, self._now_ms)

    def _follow(self, node: Neighbour) -> None:
        """Let a node follow all the authors: of strangers it would keep little."""
        following = Following(node.home.followed_path)
        for author in sorted(self._authors):
            following.add(author, self._now_ms)

    def ingest(self, path: Path) -> float:
        """Take all records into a new ledger at `path`; return the seconds it took."""
        started_s = time.perf_counter()
        store = SqliteStore(path)
        for frame in self.frames:
            records = read_records(frame, WRITE_GROUP_RECORDS_MAX)
            store.commit([admit(store.view(records), records, Check.RUNS)], durable=False)
        store.close()
        return time.perf_counter() - started_s

    def local_s(self) -> float:
        """Return the seconds of one local bulk ingest."""
        folder = self._folder / "local"
        folder.mkdir()
        try:
            return self.ingest(folder / "ledger.db")
        finally:
            shutil.rmtree(folder)

    def new_receiver(self) -> Neighbour:
        """Replace the receiver by a node that holds nothing and follows all the authors."""
        if self.receiver is not self.teller:
            self.receiver.stop()
            shutil.rmtree(self.receiver.home.path)
        self.receiver = self._neighbour("receiver")
        self._follow(self.receiver)
        self.receiver.start()
        self.receiver.wait_until_up()
        return self.receiver

    def held(self, reader: SqliteReader) -> int:
        """Return how many of the records the receiver's ledger holds."""
        return sum(head.seq for author, head in reader.heads() if author in self._authors)

    def wait_until(self, count: int) -> float:
        """Return the moment at which the receiver's ledger held `count` of the records."""
        reader = SqliteReader.open(self.receiver.home.database_path)
        try:
            until_s = time.perf_counter() + DONE_WITHIN_S
            while self.held(reader) < count:
                if time.perf_counter() > until_s:
                    raise LocalError(f"Sync does not end: {self.held(reader)} of {count} came.")
                time.sleep(LOOK_EVERY_S)
            return time.perf_counter()
        finally:
            reader.close()

    def stop(self) -> None:
        """End all daemons."""
        for each in {self.sender, self.teller, self.receiver}:
            each.stop()


def _rates(street: _Street, progress: Progress, rounds: int) -> dict[str, Any]:
    ours_s, local_s, answers_ms = [], [], []
    memory: dict[str, float] = {}
    cpu_s: dict[str, float] = {}
    for number in range(rounds):
        progress(f"local ingest and sync, round {number + 1} of {rounds}")
        local_s.append(street.local_s())
        receiver = street.new_receiver()
        before_s = {
            f"{side}_daemon": sum(map(_cpu_s, _processes(node)["daemon"]))
            for side, node in (("receiver", receiver), ("sender", street.sender))
        }
        with _probed(receiver) as probed:
            started_s = time.perf_counter()
            receiver.post("/v1/join", {"address": street.sender.address})
            ours_s.append(street.wait_until(street.entries) - started_s)
        answers_ms += probed
        for side, node in (("receiver", receiver), ("sender", street.sender)):
            for part, pids in _processes(node).items():
                key = f"{side}_{part}"
                with suppress(OSError):
                    memory[key] = max(memory.get(key, 0.0), *map(_memory_mib, pids), 0.0)
                    cpu_s[key] = sum(map(_cpu_s, pids)) - before_s.get(key, 0.0)
    of_local = [local / ours for local, ours in zip(local_s, ours_s, strict=True)]
    answers_ms.sort()
    return {
        "entries_per_s": round(street.entries / statistics.median(ours_s)),
        "local_per_s": round(street.entries / statistics.median(local_s)),
        "of_local_ratio": round(statistics.median(of_local), 3),
        "memory_mib": {part: round(mib) for part, mib in memory.items()},
        "cpu_s": {part: round(spent, 2) for part, spent in cpu_s.items()},
        "status_p50_ms": round(statistics.median(answers_ms), 1),
        "status_p99_ms": round(answers_ms[int(len(answers_ms) * 0.99)], 1),
        "status_max_ms": round(answers_ms[-1], 1),
        "status_asked": len(answers_ms),
    }


def _news(street: _Street, progress: Progress) -> list[int]:
    """Return how long a third node's offers took to be known at the receiver amid the bulk."""
    progress("news of a third node amid the bulk")
    receiver = street.new_receiver()
    receiver.post("/v1/join", {"address": street.teller.address})
    time.sleep(1)
    receiver.post("/v1/join", {"address": street.sender.address})
    took_ms: list[int] = []
    for part in range(1, 8, 2):
        street.wait_until(street.entries * part // 8)
        took_ms.append(round(_news_ms(street)))
    street.wait_until(street.entries)
    return took_ms


@contextmanager
def _probed(node: Neighbour) -> Iterator[list[float]]:
    """Ask the node how it is, again and again, while the block lasts; times in milliseconds."""
    answers_ms: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(PROBE_EVERY_S):
            started_s = time.perf_counter()
            node.get("/v1/status")
            answers_ms.append((time.perf_counter() - started_s) * 1000)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield answers_ms
    finally:
        over.set()
        thread.join()


def _news_ms(street: _Street) -> float:
    """Return how long a neighbour's new offer takes to be known at the busy receiver."""
    started_s = time.monotonic()
    (listed,) = street.teller.post("/v1/lots", {"lots": [_NEWS]})["results"]
    lot_id = listed["id"]
    heard = street.receiver.heard
    wait_for("the neighbour's news", lambda: heard.get(lot_id))
    return max(0.0, heard[lot_id] - started_s) * 1000


def _resume(street: _Street, side: str, progress: Progress) -> dict[str, Any]:
    """Kill one side in the middle; return what came twice."""
    progress(f"killing the {side} in the middle")
    receiver = street.new_receiver()
    receiver.post("/v1/join", {"address": street.sender.address})
    street.wait_until(round(street.entries * CUT_AT))
    cut = receiver if side == "receiver" else street.sender
    cut.kill()
    reader = SqliteReader.open(receiver.home.database_path)
    held = street.held(reader)
    reader.close()
    cut.start()
    cut.wait_until_up()
    if side == "receiver":
        receiver.post("/v1/join", {"address": street.sender.address})
    street.wait_until(street.entries)
    # The ledger holds the last entries a moment before the daemon has counted them.
    time.sleep(1)
    counted = receiver.get("/v1/status")["sync"]
    return {
        "held_at_the_cut": held,
        "received_since_start": counted["entries_received"],
        "repeated_entries": counted["entries_repeated"],
    }


def _processes(node: Neighbour) -> dict[str, list[int]]:
    """Return the process ids of a daemon and of what it has started; empty without /proc."""
    pid = node.home.daemon_pid()
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            children += map(int, task.read_text().split())
    return {"daemon": [pid] if pid and Path(f"/proc/{pid}").exists() else [], "helper": children}


def _memory_mib(pid: int) -> float:
    """Return the peak resident size of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
