"""What lies behind damage comes back without anybody else who holds it."""

from __future__ import annotations

from pathlib import Path

from tests.ledger.authors import Author
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import street

from passby.ledger.ingest import Check
from passby.ledger.store_sqlite import SqliteStore


async def test_entries_behind_a_damaged_one_are_taken_in_again(tmp_path: Path) -> None:
    ada = Author("ada")
    ada.genesis()
    for _ in range(8):
        ada.request()
    async with street(MemoryMaker(), tmp_path) as here:
        ben = await here.open("ben")
        chains = ben.participant.chains
        await chains.admit(ada.records, Check.RUNS)
        beside = SqliteStore(tmp_path / "ben.db")
        place = beside._number(ada.public) << 32 | 4  # type: ignore[operator]  # it is held
        beside._db.execute("UPDATE entries SET raw = zeroblob(90) WHERE place = ?", (place,))
        beside.close()
        await ben.participant.replication._quarantine(ada.public)
        assert chains.head_seq(ada.public) == 3
        # What a neighbour brings that holds no more than the first six.
        await chains.admit(ada.records[:6], Check.RUNS)
        await eventually(lambda: chains.head_seq(ada.public) == 9)
        held = [chains.reader.record_at(ada.public, seq) for seq in range(1, 10)]
        assert held == ada.records
