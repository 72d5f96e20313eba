"""The ledger file: damage, a full disk, other versions, and readers beside the writer."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.authors import Author

from passby.ledger import schema
from passby.ledger.ingest import Check, admit
from passby.ledger.store_sqlite import SqliteReader, SqliteStore
from passby.protocol.entry import Record
from passby.protocol.errors import ConfigError, DamagedError, LocalError


def take(store: SqliteStore, records: list[Record], *, durable: bool = False) -> None:
    store.commit([admit(store.view(records), records, Check.RUNS)], durable=durable)


def chain(length: int, name: str = "ada") -> Author:
    ada = Author(name)
    ada.genesis()
    for _ in range(length - 1):
        ada.note(b"\xc4\xc8" + b"x" * 200)
    return ada


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def test_a_ledger_is_read_again_after_it_was_closed(path: Path) -> None:
    ada = chain(300)
    store = SqliteStore(path)
    take(store, ada.records)
    store.close()
    again = SqliteStore(path)
    assert again.log(ada.public, None, 300) == ada.records[::-1]
    assert again.integrity() == []
    again.close()


def test_a_file_that_is_no_database_is_damage_and_left_alone(path: Path) -> None:
    path.write_bytes(b"no database at all" * 500)
    with pytest.raises(DamagedError, match=r"ledger\.db is damaged") as caught:
        SqliteStore(path)
    assert caught.value.hint
    assert path.read_bytes() == b"no database at all" * 500
    with pytest.raises(DamagedError):
        SqliteReader.open(path)


def test_a_torn_header_is_damage(path: Path, store: SqliteStore) -> None:
    take(store, chain(100).records)
    store.close()
    raw = bytearray(path.read_bytes())
    raw[20:24] = os.urandom(4)
    path.write_bytes(raw)
    with pytest.raises(DamagedError):
        SqliteStore(path)


def test_a_cut_off_file_is_damage_when_it_is_read(path: Path, store: SqliteStore) -> None:
    ada = chain(500)
    take(store, ada.records)
    store.close()
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DamagedError):  # noqa: PT012  # at opening or at reading, as SQLite sees it
        broken = SqliteStore(path)
        try:
            broken.log(ada.public, None, 500)
        finally:
            broken.close()


@pytest.mark.parametrize("column", ["raw", "carried"])
def test_a_flipped_byte_is_damage_and_never_served(
    path: Path, store: SqliteStore, column: str
) -> None:
    ada = chain(3)
    take(store, ada.records)
    row = store._db.execute(f"SELECT {column} FROM entries WHERE place & 255 = 2").fetchone()  # noqa: S608
    flipped = bytearray(row[0])
    flipped[-1] ^= 1
    store._db.execute(f"UPDATE entries SET {column} = ? WHERE place & 255 = 2", (flipped,))  # noqa: S608
    assert store.record_at(ada.public, 1) == ada.records[0]
    with pytest.raises(DamagedError):
        store.record_at(ada.public, 2)
    with pytest.raises(DamagedError):
        store.run(ada.public, 1, 3, 10**6)


def test_a_head_that_disagrees_with_its_chain_is_noticed(store: SqliteStore) -> None:
    take(store, chain(3).records)
    assert store.integrity() == []
    store._db.execute("DELETE FROM entries WHERE place & 255 = 3")
    assert store.integrity() == ["chain 1 ends at 2, its head says 3"]


def test_a_later_schema_is_refused_and_left_alone(path: Path, store: SqliteStore) -> None:
    store.close()
    connection = schema.sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    connection.close()
    for opens in (SqliteStore, SqliteReader.open):
        with pytest.raises(ConfigError, match="later passby"):
            opens(path)


def test_somebody_else_s_database_is_refused(path: Path) -> None:
    connection = schema.sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.execute("PRAGMA user_version=1")
    connection.close()
    with pytest.raises(ConfigError, match="not a passby ledger"):
        SqliteStore(path)


def test_migrations_cut_short_go_on_at_the_next_opening(path: Path) -> None:
    connection = schema.sqlite3.connect(path)
    schema.migrations.apply(schema.Database(connection), stop_before="m002_folds")
    connection.close()
    store = SqliteStore(path)
    take(store, chain(3).records)
    assert store.counts().entries == 3
    store.close()


def test_every_table_is_strict(store: SqliteStore) -> None:
    tables = store._db.execute(
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        " AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_sqlite%' ESCAPE '\\'"
    ).fetchall()
    assert len(tables) >= 10
    assert all(strict for _, strict in tables)


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    for opens in (SqliteStore, SqliteReader.open):
        with pytest.raises(LocalError, match="cannot be opened"):
            opens(tmp_path / "nowhere" / "ledger.db")


def test_a_full_disk_loses_nothing_and_the_store_goes_on(store: SqliteStore, path: Path) -> None:
    ada, bob = chain(50), chain(200, "bob")
    take(store, ada.records, durable=True)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages + 2}")
    before = store.counts()
    for _ in range(3):
        with pytest.raises(LocalError, match="No space is left") as caught:
            take(store, bob.records)
        assert "nothing of the last step was written" in caught.value.message
    assert store.counts() == before
    assert store.log(ada.public, None, 99) == ada.records[::-1]
    store._db.execute("PRAGMA max_page_count=1000000")
    take(store, bob.records)
    assert store.counts().entries == 250
    assert store.integrity() == []
    store.close()
    again = SqliteStore(path)
    assert again.counts().entries == 250
    again.close()


def test_a_second_writer_is_told_of_the_first(path: Path, store: SqliteStore) -> None:
    other = SqliteStore(path)
    other._db.execute("PRAGMA busy_timeout=0")
    store._db.execute("BEGIN IMMEDIATE")
    with pytest.raises(LocalError, match="Another process"):
        take(other, chain(2).records)
    store._db.execute("ROLLBACK")
    take(other, chain(2).records)
    other.close()


def test_a_reader_cannot_write(path: Path, store: SqliteStore) -> None:
    reader = SqliteReader.open(path)
    with pytest.raises(LocalError, match="cannot be opened for this"):
        reader._one("DELETE FROM entries RETURNING place")
    reader.close()


def test_a_reader_in_another_thread_sees_whole_commits_only(path: Path, store: SqliteStore) -> None:
    """Each commit brings one entry of two chains: whoever reads finds them equally long."""
    ada, bob = Author("ada"), Author("bob")
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        reader = SqliteReader.open(path)
        while not done.is_set():
            heads = [head.seq for _, head in reader.heads()]
            assert len(set(heads)) <= 1
            seen.append(sum(heads))
        reader.close()

    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            read()
        except BaseException as error:  # noqa: BLE001  # shown by the test's own thread
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        for at in range(200):
            pair = [author.note() if at else author.genesis() for author in (ada, bob)]
            store.commit([admit(store.view(pair), pair, Check.EACH)], durable=False)
    finally:
        done.set()
        thread.join()
    assert not failures
    assert seen == sorted(seen)


def test_an_erased_payload_is_nowhere_in_the_files(path: Path, store: SqliteStore) -> None:
    secret = b"\xad" + b"the secret sauce".replace(b" ", b"_")[:13]
    ada = Author("ada")
    ada.genesis()
    note = ada.note(secret)
    for _ in range(30):
        ada.note()
    take(store, ada.records)
    files = [path, path.with_name("ledger.db-wal")]
    assert any(secret in file.read_bytes() for file in files if file.exists())
    store.erase_payload(note.entry.id)
    assert not any(secret in file.read_bytes() for file in files if file.exists())


def test_a_commit_that_fails_midway_leaves_no_author_behind(store: SqliteStore) -> None:
    ada = chain(3)
    batch = admit(store.view(ada.records), ada.records, Check.RUNS)
    store._db.execute(
        "CREATE TRIGGER no BEFORE UPDATE ON authors BEGIN SELECT raise(FAIL, 'x'); END"
    )
    with pytest.raises(DamagedError):
        store.commit([batch], durable=False)
    assert store.head(ada.public) is None
    assert store.counts().entries == 0
    store._db.execute("DROP TRIGGER no")
    store.commit([batch], durable=False)
    assert store.log(ada.public, None, 9) == ada.records[::-1]
