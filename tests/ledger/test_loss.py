"""What a store forgets on purpose, what it sets aside, and what it becomes in a later version."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.ledger.authors import NOW_MS, SALT, Author, named

from passby.ledger import schema
from passby.ledger.audit import audit
from passby.ledger.findings import AuditExit
from passby.ledger.ingest import Check, admit
from passby.ledger.salvage import salvage, sound_to
from passby.ledger.store import ABANDONED, Derived, Store
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteReader, SqliteStore
from passby.protocol.entry import Record
from passby.protocol.errors import ConfigError, RefusedError

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "l.db")
    yield made
    made.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "ledger.db")
    yield made
    made.close()


def take(store: Store, records: Sequence[Record], check: Check = Check.EACH) -> None:
    store.commit([admit(store.view(records), records, check)], durable=False)


def busy(name: str = "ada") -> Author:
    author = Author(name)
    author.genesis()
    lot = author.offer(100)
    first, second = author.reserve(lot, 10), author.reserve(lot, 20)
    author.release(lot, first)
    author.request()
    author.propose(lot)
    author.handover(lot, second, 15, author.commit(second))
    author.note()
    author.vouch(named("friend"))
    return author


# --- erased and never arrived ----------------------------------------------------------


def test_erased_is_told_from_never_arrived(store: Store) -> None:
    ada = busy()
    bare = [Record(r.entry) if r.entry.seq == 6 else r for r in ada.records]
    take(store, bare)
    assert store.erase_payload(ada.records[1].entry.id)
    assert store.erased(ada.public) == {2}
    report = audit(store, NOW_MS)
    assert (report.erased, report.unsent) == (1, 1)
    # Neither makes a chain incomplete; a trade whose other half is nowhere does.
    assert not [one for one in report.findings if one.author == ada.public]


def test_what_was_set_aside_links_on_once_the_gap_is_closed(tmp_path: Path) -> None:
    ada, store = busy(), SqliteStore(tmp_path / "l.db")
    take(store, ada.records)
    whole = store.derived(ada.public)
    # Entry 4 is damaged, entry 7 too; what was erased is not brought back.
    store.erase_payload(ada.records[5].entry.id)
    for seq in (4, 7):
        store._db.execute("UPDATE entries SET raw = zeroblob(90) WHERE place & 255 = ?", (seq,))
    store.cut(ada.public, 3, "damaged")
    assert store.set_aside(9) == []
    take(store, ada.records[3:4])
    assert [record.entry.seq for record in store.set_aside(1)] == [5]
    found = store.set_aside(9)
    assert [record.entry.id for record in found] == [one.entry.id for one in ada.records[4:6]]
    assert found[1].payload is None
    take(store, found)
    assert store.set_aside(9) == []
    take(store, ada.records[6:7])
    take(store, store.set_aside(9))
    assert store.derived(ada.public) == whole
    assert store.erased(ada.public) == {6}
    # A chain that is let go of does not come back by itself.
    store.cut(ada.public, 0, "damaged")
    assert store.set_aside(9) != []
    store.forget([ada.public])
    assert store.set_aside(9) == []
    store.close()


def test_what_a_heal_gave_up_and_another_branch_stay_aside(tmp_path: Path) -> None:
    ada, store = busy(), SqliteStore(tmp_path / "l.db")
    take(store, ada.records)
    store.cut(ada.public, 3, ABANDONED)
    assert store.set_aside(9) == []
    take(store, ada.records[3:])
    store.cut(ada.public, 4, "damaged")
    assert store.set_aside(9) != []
    store.cut(ada.public, 2, "damaged")
    other = ada.fork(3)
    take(store, [other.note() for _ in range(2)])
    assert store.set_aside(9) == []
    store.close()


def test_an_erased_payload_is_never_taken_again(store: Store) -> None:
    ada = busy()
    take(store, ada.records)
    offer = ada.records[1]
    store.erase_payload(offer.entry.id)
    take(store, [offer])
    assert offer.payload is not None
    assert not store.add_payload(offer.entry.id, SALT, offer.payload)
    # Nor when the whole chain is set aside and comes again.
    store.cut(ada.public, 0, "a test")
    assert store.head(ada.public) is None
    take(store, ada.records)
    held = store.record(offer.entry.id)
    assert held is not None
    assert held.payload is None
    assert store.erased(ada.public) == {2}


# --- derived, cut ----------------------------------------------------------------------


def test_both_stores_derive_the_same(tmp_path: Path) -> None:
    ada = busy()
    stores: list[Store] = [MemoryStore(), SqliteStore(tmp_path / "l.db")]
    for each in stores:
        take(each, ada.records)
    found = [each.derived(ada.public) for each in stores]
    assert found[0] == found[1]
    assert set(found[0].lots) == {2}
    assert set(found[0].reserves) == {3, 4}
    assert set(found[0].until_ms) == {2, 6}
    assert set(found[0].proposes) == {7}
    assert stores[0].derived(b"s" * 32) == stores[1].derived(b"s" * 32) == Derived()


@pytest.mark.parametrize("after_seq", [0, 1, 3, 5, 8])
def test_what_is_cut_is_missing_and_comes_again(store: Store, after_seq: int) -> None:
    ada, bob = busy(), busy("bob")
    for author in (ada, bob):
        take(store, author.records)
    whole = store.derived(ada.public)
    other = store.derived(bob.public)
    store.cut(ada.public, after_seq, "a test")
    head = store.head(ada.public)
    assert (head.seq if head is not None else 0) == after_seq
    assert store.record_at(ada.public, after_seq + 1) is None
    assert store.record(ada.records[after_seq].entry.id) is None
    assert all(seq <= after_seq for seq in store.derived(ada.public).lots)
    assert store.derived(bob.public) == other
    assert store.integrity() == []
    take(store, ada.records[after_seq:], Check.RUNS)
    assert store.derived(ada.public) == whole
    assert store.log(ada.public, None, 99) == ada.records[::-1]


def test_a_chain_is_sound_up_to_the_entry_before_the_flipped_bit(sqlite: SqliteStore) -> None:
    ada = busy()
    take(sqlite, ada.records)
    assert sound_to(sqlite, ada.public) == len(ada.records)
    place = sqlite._number(ada.public)
    assert place is not None
    for seq in (9, 5, 1):
        raw = bytearray(ada.records[seq - 1].entry.raw)
        raw[-1] ^= 1
        sqlite._db.execute(
            "UPDATE entries SET raw = ? WHERE place = ?", (bytes(raw), place << 32 | seq)
        )
        assert sound_to(sqlite, ada.public) == seq - 1


def test_an_index_that_lost_a_row_is_found_by_the_audit(sqlite: SqliteStore) -> None:
    ada = busy()
    take(sqlite, ada.records)
    before = audit(sqlite, NOW_MS)
    (index,) = sqlite._one(
        "SELECT name FROM sqlite_schema"
        " WHERE tbl_name = 'entries' AND sql LIKE '%id8%' AND type = 'index'"
    )
    sqlite._db.execute("PRAGMA writable_schema = ON")
    sqlite._db.execute(
        "UPDATE sqlite_schema SET sql = sql || ' WHERE place < 0' WHERE name = ?", (index,)
    )
    sqlite._db.execute("PRAGMA writable_schema = RESET")
    sqlite._db.execute("REINDEX")
    sqlite._db.execute("PRAGMA writable_schema = ON")
    sqlite._db.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, ' WHERE place < 0', '') WHERE name = ?",
        (index,),
    )
    sqlite._db.execute("PRAGMA writable_schema = RESET")
    after = audit(sqlite, NOW_MS)
    assert before.exit_code is not AuditExit.CORRUPT
    assert after.exit_code is AuditExit.CORRUPT


# --- a whole copy ----------------------------------------------------------------------


def test_a_backup_made_in_the_middle_of_writing_is_one_whole_file(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    ada = busy()
    take(sqlite, ada.records[:5])
    copy = tmp_path / "copy.db"
    reader = SqliteReader.open(sqlite.path)
    sqlite.backup_to(copy)
    take(sqlite, ada.records[5:])
    assert not copy.with_name("copy.db-wal").exists()
    held = SqliteReader.open(copy)
    head = held.head(ada.public)
    assert head is not None
    assert head.seq == 5
    assert held.integrity() == []
    held.close()
    reader.close()
    with pytest.raises(RefusedError, match="there already"):
        sqlite.backup_to(copy)


# --- later versions --------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(SCHEMAS.glob("*.db")), ids=lambda file: file.stem)
def test_a_ledger_of_every_released_schema_becomes_one_of_today(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    shutil.copy(file, path)
    with pytest.raises(ConfigError, match="older passby"):
        SqliteReader.open(path)
    store = SqliteStore(path)
    assert schema._number(store._db, "user_version") == schema.VERSION
    made = SqliteStore(tmp_path / "made.db")
    tables = "SELECT sql FROM sqlite_schema WHERE type IN ('table', 'index') AND sql NOT NULL"
    assert sorted(made._all(tables)) == sorted(store._all(tables))
    made.close()
    assert store.integrity() == []
    held = [record for author, _ in store.heads() for record in store.log(author, None, 99)]
    assert held
    assert sum(len(store.erased(author)) for author, _ in store.heads()) == 1
    before = audit(store, NOW_MS)
    assert before.exit_code is not AuditExit.CORRUPT
    assert (before.erased, before.unsent) == (1, 0)
    spoken = store.spoken_since(0)
    assert spoken
    store.rebuild()
    assert audit(store, NOW_MS).findings == before.findings
    assert {pair[1:] for pair in store.spoken_since(0)} == {pair[1:] for pair in spoken}
    # It goes on from there.
    take(store, busy("new").records)
    store.close()


def test_there_is_a_file_of_every_schema_that_was_released() -> None:
    versions = {int(file.stem) for file in SCHEMAS.glob("*.db")}
    assert versions == {2, 4}
    for file in SCHEMAS.glob("*.db"):
        with sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (int(file.stem),)
        connection.close()


def test_a_ledger_of_a_later_passby_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = SqliteStore(path)
    store._db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    store.close()
    before = path.read_bytes()
    for opener in (SqliteStore, SqliteReader.open):
        with pytest.raises(ConfigError, match="later passby"):
            opener(path)
    assert path.read_bytes() == before


# --- salvage ---------------------------------------------------------------------------


def test_salvage_keeps_proofs_and_what_was_forgotten(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "old.db")
    ada = busy()
    fork = ada.fork(6)
    fork.note(None)
    take(store, ada.records)
    take(store, fork.records[5:])
    store.erase_payload(ada.records[1].entry.id)
    assert store.frozen() == {ada.public: 6}
    evidence, records = store.evidence(), store.log(ada.public, None, 99)
    store.close()
    found = salvage(tmp_path / "old.db", tmp_path / "new.db")
    assert (found.entries, found.unreadable) == (len(ada.records), 0)
    fresh = SqliteStore(tmp_path / "new.db")
    assert fresh.evidence() == evidence
    assert fresh.frozen() == {ada.public: 6}
    assert fresh.log(ada.public, None, 99) == records
    assert fresh.erased(ada.public) == {2}
    fresh.close()
