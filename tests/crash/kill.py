"""Kill a node that appends and syncs, again and again: `python -m tests.crash.kill 200`.

Two processes, each with its own ledger, sync by the real session over a socket pair: one
appends to its own chain and says so on stdout, the other feeds it strangers' chains and hears
of its own. Both are killed with SIGKILL at any moment. After each round everything that was
acknowledged must be there, and all that the other one holds of the own chain; at the end
nobody may have seen a fork, and both must come to hold the same.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.appender import KEY

from passby.ledger.ingest import Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import Record

ROOT = Path(__file__).parents[2]


def start(module: str, *words: str, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a module of this folder as a process that speaks on stdout."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.crash.{module}", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        pass_fds=pass_fds,
    )


def run_until_killed(path: Path, acknowledged: int, feeder: Path | None = None) -> dict[int, str]:
    """Start the appender, kill it after so many lines, and return what it said: seq -> id.

    With `feeder`, the ledger of another process, that one is started and killed as well.
    """
    processes = []
    if feeder is None:
        child = start("appender", str(path))
    else:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            child = start("appender", str(path), str(ours.fileno()), pass_fds=[ours.fileno()])
            other = start("feeder", str(feeder), str(theirs.fileno()), pass_fds=[theirs.fileno()])
            processes.append(other)
    assert child.stdout is not None
    said = bytearray()
    try:
        while said.count(b"\n") < acknowledged:
            more = child.stdout.read1(65536)  # type: ignore[attr-defined]  # a BufferedReader
            assert more, f"the appender ended by itself, with {child.wait()}"
            said += more
    finally:
        child.kill()
        said += child.stdout.read()
        child.stdout.close()
        child.wait()
        for process in processes:
            process.kill()
            assert process.stdout is not None
            process.stdout.close()
            process.wait()
    # What was said while the kill was on its way counts; half a line was not said.
    whole = bytes(said[: said.rfind(b"\n") + 1]).decode()
    return {int(seq): entry_id for seq, entry_id in map(str.split, whole.splitlines())}


def own_chain(store: SqliteStore) -> list[Record]:
    """Return the own chain, from its first entry."""
    head = store.head(KEY.public)
    return [] if head is None else store.log(KEY.public, None, head.seq)[::-1]


@dataclass
class Victim:
    """The ledgers of the two processes, and what was said so far."""

    folder: Path
    dice: random.Random
    said: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "node").mkdir()
        (self.folder / "feeder").mkdir()
        self.path = self.folder / "node" / "ledger.db"
        self.feeder = self.folder / "feeder" / "ledger.db"

    def round(self) -> tuple[int, int]:
        """Kill once; return how many entries were acknowledged so far, and how many are held."""
        said = run_until_killed(self.path, self.dice.randint(1, 120), self.feeder)
        assert not said.keys() & self.said.keys(), "a number was used twice"
        self.said |= said
        store, other = SqliteStore(self.path), SqliteStore(self.feeder)
        try:
            held = {record.entry.seq: record.entry.id.hex() for record in own_chain(store)}
            assert self.said.items() <= held.items(), "an acknowledged entry is lost"
            told = {record.entry.seq: record.entry.id.hex() for record in own_chain(other)}
            assert told.items() <= held.items(), "others hold an own entry that is lost"
            assert store.integrity() == other.integrity() == []
            assert store.evidence() == other.evidence() == []
            return len(self.said), store.counts().entries
        finally:
            store.close()
            other.close()

    def finish(self) -> None:
        """Let whoever takes the chain in anew find every link, signature and sum in order."""
        store, other = SqliteStore(self.path), SqliteStore(self.feeder)
        chain = own_chain(store)
        fresh = MemoryStore()
        assert len(admit(fresh.view(chain), chain, Check.EACH).appended) == len(chain)
        for author, head in store.heads():
            if author != KEY.public:
                record = other.record_at(author, head.seq)
                assert record is not None
                assert record.entry.id == head.id
        store.close()
        other.close()


def main(rounds: int) -> None:
    """Run so many rounds and say how they went."""
    with tempfile.TemporaryDirectory() as folder:
        victim = Victim(Path(folder), random.Random())
        for number in range(1, rounds + 1):
            said, held = victim.round()
            if number % 10 == 0 or number == rounds:
                print(
                    f"{number} killed: {said} acknowledged, {held} held, nothing lost", flush=True
                )
        victim.finish()
        print(f"{rounds} rounds of SIGKILL: nothing acknowledged is lost, no fork")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
