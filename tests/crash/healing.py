"""A damaged ledger and a healthy neighbour, and the real sync session between them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ledger.authors import NOW_MS, Author

from passby.ledger.audit import audit
from passby.ledger.chain import Head
from passby.ledger.ingest import Check, admit
from passby.ledger.store import Reader
from passby.ledger.store_sqlite import SqliteStore
from passby.node.head_guard import HeadGuard
from passby.node.writer import Admission, Writer
from passby.protocol.errors import DamagedError, LocalError
from passby.protocol.limits import RUN_MAX

NETWORK = b"n" * 32
MACHINE = "here"
OWN = "own"
LONG = 3000
"""Bytes of a payload that does not fit on one page of the database."""


def chains() -> list[Author]:
    """Return authors that list, reserve, wish and trade with each other, the own one first."""
    authors = [Author(name) for name in (OWN, "ada", "bob", "eve", "dan")]
    for author in authors:
        author.genesis()
    lots = [author.offer(100, payload=b"\xa0" * LONG) for author in authors]
    for number, (author, lot) in enumerate(zip(authors, lots, strict=True)):
        for count in range(12):
            held = author.reserve(lot, 3)
            match (number + count) % 5:
                case 0:
                    author.release(lot, held)
                case 1:
                    author.handover(lot, held, 2, author.commit(held))
                case 2:
                    author.propose(lots[(number + 1) % 5])
                case 3:
                    author.request(payload=bytes([count]) * (300 * count + 1))
                case _:
                    author.note(b"\x81" * LONG)
            author.offer(7)
        if number == 1:
            for _ in range(2 * RUN_MAX):
                author.note(None)
    return authors


class Case:
    """The files of a node that was killed, and of a neighbour that holds all it held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authors = chains()
        self.own = authors[0].public
        self.peer_path = folder / "peer.db"
        self.path = folder / "killed" / "ledger.db"
        self.path.parent.mkdir(parents=True)
        peer, killed = SqliteStore(self.peer_path), SqliteStore(self.path)
        half = {author.public: len(author.records) // 2 for author in authors}
        for second in (False, True):
            for author in authors:
                at = half[author.public]
                records = author.records[at:] if second else author.records[:at]
                for store in (peer, killed):
                    for start in range(0, len(records), RUN_MAX):
                        part = records[start : start + RUN_MAX]
                        batch = admit(store.view(part), part, Check.RUNS)
                        store.commit([batch], durable=True)
            if not second:
                # The other half stays in the log, as a kill leaves it; what is erased leaves it.
                for store in (peer, killed):
                    store.erase_payload(authors[2].records[1].entry.id)
        self.whole = contents(killed)
        assert self.whole == contents(peer)
        self.sizes = {}
        self.saved = folder / "saved"
        self.saved.mkdir()
        for suffix in ("", "-wal"):
            file = self.path.with_name(self.path.name + suffix)
            shutil.copy(file, self.saved)
            self.sizes[suffix] = file.stat().st_size
        killed.close()
        peer.close()
        self.peer = SqliteStore(self.peer_path)
        # These chains trade with people whose chains are nowhere, which an audit tells.
        self.said = findings(self.peer_path)

    def killed(self, name: str) -> Path:
        """Return a fresh copy of the killed node's ledger, with its guard, in a new folder."""
        folder = self.folder / name
        shutil.copytree(self.saved, folder)
        head = self.peer.head(self.own)
        guard = HeadGuard(folder / "head.guard", MACHINE)
        guard.renew(head)
        guard.close()
        return folder / self.path.name


def contents(reader: Reader) -> dict[bytes, Any]:
    """Return everything that a store holds, chain by chain, to be compared."""
    found: dict[bytes, Any] = {}
    for author, head in reader.heads():
        records = reader.log(author, None, head.seq)
        trades = [
            {record.entry.id for record in reader.trade(one.entry.id)}
            for one in records
            if one.entry.body.type == 6
        ]
        seen = [(r, reader.record(r.entry.id) == r) for r in records]
        runs = [len(run) for run in _runs(reader, author)]
        found[author] = (
            head,
            seen,
            trades,
            sum(runs),
            reader.derived(author),
            reader.erased(author),
        )
    return found


def _runs(reader: Reader, author: bytes) -> Iterator[list[Any]]:
    seq = 1
    while run := reader.run(author, seq, 2**32 - 1, 2**30):
        yield run
        seq += len(run)


def findings(path: Path) -> list[str]:
    """Return what `passby audit --signatures` says of the ledger, or why it cannot be read."""
    try:
        store = SqliteStore(path)
    except LocalError as error:
        return [error.message]
    try:
        report = audit(store, NOW_MS, signatures=True)
        return sorted(f"{one.severity}: {one.text} {one.seqs}" for one in report.findings)
    except LocalError as error:
        return [error.message]
    finally:
        store.close()


class Healing:
    """A node on a mended ledger that may not append before its own chain is back."""

    def __init__(self, path: Path, own: bytes) -> None:
        self.store = SqliteStore(path)
        guard = HeadGuard(path.parent / "head.guard", MACHINE)
        self.writer = Writer(self.store, guard, own)
        self.heads: dict[bytes, Head] = dict(self.store.heads())

    def sync_from(self, peer: Reader) -> int:
        """Fetch all that the peer holds more of, by sync; return how many entries came."""
        before = self.store.counts().entries
        for author, head in peer.heads():
            while (held := self.store.head(author)) != head:
                run = peer.run(author, held.seq + 1 if held else 1, head.seq, 2**30)
                request = Admission(run, Check.RUNS)
                self.writer.serve([request])
                request.outcome()
        return self.store.counts().entries - before

    def close(self) -> None:
        """Let go of the files."""
        self.writer.close()


__all__ = ["Case", "DamagedError", "Healing", "contents", "findings"]
