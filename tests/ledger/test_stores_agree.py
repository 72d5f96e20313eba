"""Whatever order chains, forks and cheats come in, both stores end up saying the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.authors import NOW_MS, Author, replace_stock

from passby.ledger.ingest import Check, admit
from passby.ledger.store import Reader, Store
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import Record
from passby.protocol.errors import RemoteError


def branches() -> list[list[Record]]:
    """Return an honest chain, a forked one's two branches, and a cheat's, twelve long each."""
    honest = Author("honest")
    honest.genesis()
    lot = honest.offer(100)
    for _ in range(3):
        reserve = honest.reserve(lot, 10)
        honest.release(lot, reserve)
    honest.request()
    honest.propose(lot)
    honest.adjust(lot, 5)
    honest.close(lot)
    forker = Author("forker")
    forker.genesis()
    lot = forker.offer(50)
    for _ in range(5):
        forker.reserve(lot, 2)
    other = forker.fork(5)
    for author, count in ((forker, 5), (other, 8)):
        for _ in range(count):
            author.note(b"\x81\xa1a" + bytes([count]))
    cheat = Author("cheat")
    cheat.genesis()
    lot = cheat.offer(50)
    for _ in range(6):
        cheat.reserve(lot, 2)
    replace_stock(cheat, -1, remaining=48)
    for _ in range(4):
        cheat.note()
    return [honest.records, forker.records, other.records, cheat.records]


BRANCHES = branches()
pieces = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 11), st.integers(1, 12)), min_size=1, max_size=3
)
frames = st.lists(st.tuples(pieces, st.sampled_from(Check)), max_size=12)


def said(store: Reader) -> object:
    authors = [author for author, _ in store.heads()]
    return (
        list(store.heads()),
        store.frozen(),
        store.evidence(),
        [store.log(author, None, 99) for author in authors],
        [store.run(author, 3, 6, 10**6) for author in authors],
        [store.spoken(author) for author in authors],
        [(held.record, held.stock) for held in store.open_lots(NOW_MS)],
        list(store.open_requests(NOW_MS)),
        store.trades(0),
        store.integrity(),
    )


@given(frames)
@settings(max_examples=60)
def test_both_stores_say_the_same_after_any_frames(
    told: list[tuple[list[tuple[int, int, int]], Check]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory, sqlite = MemoryStore(), SqliteStore(Path(folder) / "ledger.db")
        for cuts, check in told:
            records = [r for branch, at, size in cuts for r in BRANCHES[branch][at : at + size]]
            assert _outcome(memory, records, check) == _outcome(sqlite, records, check)
        assert said(memory) == said(sqlite)
        memory.rebuild()
        sqlite.rebuild()
        assert said(memory) == said(sqlite)
        assert BRANCHES[0][0].entry.author not in memory.frozen()
        sqlite.close()


def _outcome(store: Store, records: list[Record], check: Check) -> object:
    try:
        batch = admit(store.view(records), records, check)
    except RemoteError as error:
        return str(error)
    store.commit([batch], durable=False)
    return batch.outcomes
