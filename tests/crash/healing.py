"""A damaged ledger and a healthy neighbour, and the real sync session between them."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio
from tests.crash.feeder import IDS
from tests.crash.pipe import PipeNetwork
from tests.ledger.authors import NOW_MS, Author, named

from passby.ledger.audit import audit
from passby.ledger.ingest import Check, admit
from passby.ledger.store import Reader
from passby.ledger.store_sqlite import SqliteStore
from passby.node.chains import Chains
from passby.node.clock import machine_clock
from passby.node.head_guard import HeadGuard
from passby.node.replicate import Replication
from passby.node.storage import InlineStorage
from passby.node.writer import Writer
from passby.protocol.errors import DamagedError, LocalError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import RUN_MAX

NETWORK = b"n" * 32
MACHINE = "here"
OWN = "own"
STRANGER = SigningKey(named("nobody in these chains"))
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
        most = {author.public: 4 * len(author.records) // 5 for author in authors}
        for second in (False, True):
            for author in authors:
                at = most[author.public]
                records = author.records[at:] if second else author.records[:at]
                for store in (peer, killed):
                    for start in range(0, len(records), RUN_MAX):
                        part = records[start : start + RUN_MAX]
                        batch = admit(store.view(part), part, Check.RUNS)
                        store.commit([batch], durable=True)
            if not second:
                # The rest stays in the log, as a kill leaves it; what is erased leaves it.
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


def but_erasures(held: dict[bytes, Any]) -> dict[bytes, Any]:
    """Return what `contents` does without what had been erased, which no neighbour can tell."""
    return {author: said[:-1] for author, said in held.items()}


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
        self.own = own
        self.store = SqliteStore(path)
        guard = HeadGuard(path.parent / "head.guard", MACHINE)
        self.writer = Writer(self.store, guard, own)

    def sync_from(self, peer: SqliteStore) -> int:
        """Sync with a node that holds `peer` until this one holds as much; return what came."""
        before = self.store.counts().entries
        trio.run(self._sync, peer)
        return self.store.counts().entries - before

    async def _sync(self, peer: SqliteStore) -> None:
        ours, theirs = socket.socketpair()
        mended = InlineStorage(self.store, self.own)
        # The one that has looked at the guard.
        mended._writer = self.writer
        goal = dict(peer.heads())
        async with trio.open_nursery() as nursery:
            left = Chains(InlineStorage(peer, STRANGER.public), STRANGER, machine_clock, os.urandom)
            right = Chains(mended, STRANGER, machine_clock, os.urandom)
            feeding = PipeNetwork(*IDS, ours.detach())
            fed = PipeNetwork(*reversed(IDS), theirs.detach())
            feeder = Replication(feeding, left, NETWORK)  # type: ignore[arg-type]  # a part
            Replication(fed, right, NETWORK)  # type: ignore[arg-type]  # a part
            nursery.start_soon(feeder.keep, IDS[1])
            nursery.start_soon(fed.serve)
            done = trio.Event()
            right.on_heads(lambda _: done.set() if dict(right.heads) == goal else None)
            if dict(right.heads) != goal:
                with trio.fail_after(60):
                    await done.wait()
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Let go of the files."""
        self.writer.close()


__all__ = ["Case", "DamagedError", "Healing", "contents", "findings"]
