"""Feeds the node at the other end of a socket by sync, without end: argv is LEDGER DESCRIPTOR.

It makes new chains of strangers all the time, and holds what the node says of its own: after
the node was killed, this ledger is what others know of it.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import trio
from tests.crash.pipe import PipeNetwork
from tests.ledger.authors import Author, named

from passby.ledger.ingest import Check
from passby.node.chains import Chains
from passby.node.clock import machine_clock
from passby.node.head_guard import NAME, begin
from passby.node.replicate import Replication
from passby.node.storage import open_storage
from passby.protocol.keys import SigningKey

KEY = SigningKey(named("feeder"))
IDS = ("a feeder", "b fed")
NETWORK_ID = named("network")
ENTRIES = 20


async def make_news(chains: Chains) -> None:
    """Admit chains of strangers, without end."""
    for number in itertools.count():
        author = Author(f"{os.getpid()} {number}")
        author.genesis()
        for _ in range(ENTRIES):
            author.note()
        await chains.admit(author.records, Check.RUNS)
        # The other side takes in less than this one makes.
        await trio.sleep(0.005)


async def main(path: Path, descriptor: int) -> None:
    """Feed until killed."""
    if not await trio.Path(path).exists():
        begin(path.parent / NAME)
    async with open_storage(path, KEY.public) as storage, trio.open_nursery() as nursery:
        chains = Chains(storage, KEY, machine_clock, os.urandom)
        network = PipeNetwork(*IDS, descriptor)
        replication = Replication(network, chains, NETWORK_ID)  # type: ignore[arg-type]  # a part
        nursery.start_soon(make_news, chains)
        nursery.start_soon(replication.watch)
        await replication.keep(IDS[1])


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
