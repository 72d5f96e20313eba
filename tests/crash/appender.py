"""Appends to the ledger in argv[1] as fast as it can, and acknowledges on stdout, until killed.

A line is written only after `append` has returned: what it names must outlive whatever
happens to this process. Entries of others come in between, so that the kill also meets
transactions that nobody acknowledged; with a socket's descriptor in argv[2] they come by sync
from the process at its other end, which hears of the own entries too.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import trio
from tests.crash.feeder import IDS, NETWORK_ID
from tests.crash.pipe import PipeNetwork
from tests.ledger.authors import CELL, UNTIL_MS, Author, named

from passby.ledger.draft import Draft, OpenLot, Reserve, compose
from passby.ledger.ingest import Check, View
from passby.node.chains import Chains
from passby.node.clock import machine_clock
from passby.node.head_guard import NAME, begin
from passby.node.replicate import Replication
from passby.node.storage import Storage, open_storage
from passby.protocol.entry import Record
from passby.protocol.keys import SigningKey
from passby.protocol.types import EntryType

KEY = SigningKey(named("crash"))


def compose_next(view: View) -> list[Record]:
    """Return an offer, or a reserve of the offer before it, and a wish, all in one step."""
    head = view.head(KEY.public)
    if head is None:
        drafts = [Draft(EntryType.GENESIS, facts=(named("certificate"),))]
    else:
        drafts = [Draft(EntryType.REQUEST, facts=(CELL, UNTIL_MS), payload=b"\x80" * 300)]
        lot = view.lot_at(KEY.public, head.seq)
        if lot is None:
            offer = Draft(EntryType.OFFER, facts=(CELL, UNTIL_MS), payload=b"\x80", move=OpenLot(9))
            drafts.append(offer)
        else:
            reserve = Draft(
                EntryType.RESERVE,
                refs=(os.urandom(32), lot.lot_id),
                facts=(UNTIL_MS, named("secret")),
                move=Reserve(lot.lot_seq, 4),
            )
            drafts.append(reserve)
    return compose(KEY, view, drafts, 1, os.urandom)


async def others(storage: Storage) -> None:
    """Bring frames of strangers, without end."""
    for number in itertools.count():
        author = Author(f"{os.getpid()} {number}")
        author.genesis()
        for _ in range(20):
            author.note()
        await storage.admit(author.records, Check.RUNS)


async def sync(chains: Chains, descriptor: int) -> None:
    """Sync with the process at the other end of a socket."""
    network = PipeNetwork(*reversed(IDS), descriptor)
    replication = Replication(network, chains, NETWORK_ID)  # type: ignore[arg-type]  # a part
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replication.watch)
        await network.serve()


async def main(path: Path, descriptor: int | None) -> None:
    """Append and acknowledge until killed."""
    if not await trio.Path(path).exists():
        begin(path.parent / NAME)
    async with open_storage(path, KEY.public) as storage, trio.open_nursery() as nursery:
        chains = Chains(storage, KEY, machine_clock, os.urandom)
        if descriptor is None:
            nursery.start_soon(others, storage)
        else:
            nursery.start_soon(sync, chains, descriptor)
        while True:
            records = await storage.append(KEY.public, compose_next)
            chains._tell(records)
            for record in records:
                line = f"{record.entry.seq} {record.entry.id.hex()}\n"
                os.write(sys.stdout.fileno(), line.encode())


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
