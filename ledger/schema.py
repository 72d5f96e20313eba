"""The database file: its tables, how an old one becomes a new one, and whose fault an error is.

Authors are numbered, and an entry's place is `number << 32 | seq`: one integer key gives the
order of every chain and the uniqueness of (author, seq) without a second index. An id is
looked up by its first eight bytes in an index that need not be unique. Lots, reserves, requests,
proposes, trades, vouches and cells spoken in are folds that `SqliteStore.rebuild` makes again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlite_utils import Database, Migrations

from passby.protocol.entry import entry_id
from passby.protocol.errors import ConfigError, DamagedError, Exit, LocalError
from passby.protocol.keys import SIGNATURE_BYTES

if TYPE_CHECKING:
    import sqlite3
else:
    # The system's SQLite may still lose a WAL at its reset (3.7.0 to 3.51.2); pysqlite3
    # brings a later one. sqlite-utils chooses the same way.
    try:
        from pysqlite3 import dbapi2 as sqlite3
    except ImportError:
        import sqlite3

Connection = sqlite3.Connection
SqliteError = sqlite3.DatabaseError
APPLICATION_ID: Final = 0x50427931
"""In the file's header, so that somebody else's database is not taken for ours."""
SEQ_BITS: Final = 32
SEQ_MASK: Final = 2**SEQ_BITS - 1
GARBLED: Final = 2
"""In entries.checked, whose other values are 0 and 1: the own signature does not verify."""
LACKING: Final = "checked = 2 OR (carried IS NULL AND substr(raw, -34, 2) = x'c420')"
"""Of entries: not held whole. The same text makes the index and the query that uses it."""
STATEMENTS_KEPT: Final = 128
"""Prepared statements of one connection: each insert in a few sizes, and the queries."""

migrations = Migrations("passby")


@migrations()
def m001_chains(db: Database) -> None:
    """Authors with their heads, entries with their payloads, evidence."""
    db.table("authors").create(
        {
            "number": int,
            "key": bytes,
            "seq": int,
            "head_id": bytes,
            "at_ms": int,
            "frozen_from": int,
        },
        pk="number",
        not_null={"key", "seq", "at_ms"},
        strict=True,
    )
    db.table("authors").create_index(["key"], unique=True)
    # `carried` is salt and payload, NULL where they never came, empty where they were erased.
    db.table("entries").create(
        {"place": int, "id8": int, "checked": int, "raw": bytes, "carried": bytes},
        pk="place",
        not_null={"id8", "checked", "raw"},
        strict=True,
    )
    db.table("entries").create_index(["id8"])
    db.table("evidence").create(
        {"author": int, "seq": int, "proof": str, "rule": str, "elements": bytes},
        pk="author",
        not_null={"seq", "proof", "rule", "elements"},
        strict=True,
    )


@migrations()
def m002_folds(db: Database) -> None:
    """What the entries come to: lots, reserves, requests, trades."""
    db.table("lots").create(
        {
            "place": int,
            "until_ms": int,
            "id": bytes,
            "last_seq": int,
            "remaining": int,
            "reserved": int,
            "closed": int,
        },
        pk="place",
        not_null={"until_ms", "id", "last_seq", "remaining", "reserved", "closed"},
        strict=True,
    )
    db.table("reserves").create(
        {
            "place": int,
            "id": bytes,
            "propose_id": bytes,
            "lot_seq": int,
            "amount": int,
            "resolved_seq": int,
        },
        pk="place",
        not_null={"id", "propose_id", "lot_seq", "amount", "resolved_seq"},
        strict=True,
    )
    db.table("requests").create(
        {"place": int, "until_ms": int}, pk="place", not_null={"until_ms"}, strict=True
    )
    db.table("proposes").create(
        {"place": int, "at_ms": int}, pk="place", not_null={"at_ms"}, strict=True
    )
    db.table("proposes").create_index(["at_ms"])
    db.execute(
        "CREATE TABLE trades (propose8 INTEGER, place INTEGER, PRIMARY KEY (propose8, place))"
        " STRICT, WITHOUT ROWID"
    )


@migrations()
def m003_loss(db: Database) -> None:
    """What was forgotten on purpose, and what was set aside because it is damaged."""
    # By id: a chain that is cut and fetched again must not bring back what its person erased.
    # The place is 0 while the entry is not held.
    db.table("erasures").create(
        {"number": int, "place": int, "id": bytes},
        pk="number",
        not_null={"place", "id"},
        strict=True,
    )
    db.table("erasures").create_index(["id"], unique=True)
    db.table("erasures").create_index(["place"])
    db.table("quarantine").create(
        {"number": int, "place": int, "raw": bytes, "carried": bytes, "why": str},
        pk="number",
        not_null={"place", "raw", "why"},
        strict=True,
    )
    for place, raw in db.execute("SELECT place, raw FROM entries WHERE carried = x''").fetchall():
        entry = entry_id(raw[SIGNATURE_BYTES:])
        db.execute("INSERT INTO erasures (place, id) VALUES (?, ?)", (place, entry))


@migrations()
def m004_statements(db: Database) -> None:
    """What roots say of devices, and how far a sealed chain counts."""
    db.execute(
        "CREATE TABLE statements (device BLOB, raw BLOB, PRIMARY KEY (device, raw))"
        " STRICT, WITHOUT ROWID"
    )
    db.execute("ALTER TABLE authors ADD COLUMN sealed_at INTEGER")


@migrations()
def m005_vouches(db: Database) -> None:
    """Who vouches for whom, entry by entry."""
    db.table("vouches").create(
        {"place": int, "vouched": bytes, "stands": int},
        pk="place",
        not_null={"vouched", "stands"},
        strict=True,
    )


@migrations()
def m006_checkpoints(db: Database) -> None:
    """Trees and their checkpoints, what this node witnessed, and what was pruned behind them."""
    # The place is that of a block's last entry, so that what is cut of a chain is cut of it.
    db.table("blocks").create(
        {"place": int, "root": bytes, "pruned": int},
        pk="place",
        not_null={"root", "pruned"},
        strict=True,
    )
    db.table("checkpoints").create(
        {"author": int, "size": int, "root": bytes, "note": bytes},
        pk="author",
        not_null={"size", "root", "note"},
        strict=True,
    )
    db.table("witnessed").create(
        {"number": int, "origin": str, "size": int, "root": bytes, "note": bytes, "at_s": int},
        pk="number",
        not_null={"origin", "size", "root", "note", "at_s"},
        strict=True,
    )
    db.table("witnessed").create_index(["origin"], unique=True)
    # Of a lot some of whose entries were pruned, what they came to is all there is.
    db.execute("ALTER TABLE lots ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0")


@migrations()
def m007_spoken(db: Database) -> None:
    """In which topic cells each author speaks, and what is awaited to know it."""
    # Numbers are never given twice: whoever has read up to one goes on behind it.
    db.execute(
        "CREATE TABLE spoken (number INTEGER PRIMARY KEY AUTOINCREMENT, author INTEGER NOT NULL,"
        " cell INTEGER NOT NULL, at_ms INTEGER NOT NULL, UNIQUE (author, cell)) STRICT"
    )
    db.execute(
        "CREATE TABLE awaited (id8 INTEGER, author INTEGER, at_ms INTEGER NOT NULL,"
        " PRIMARY KEY (id8, author)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE INDEX awaited_by ON awaited (author)")


@migrations()
def m008_prunings(db: Database) -> None:
    """The checkpoint by which each chain was pruned."""
    # A newer checkpoint may come with fewer cosignatures than the one that was believed.
    db.table("prunings").create(
        {"author": int, "size": int, "root": bytes, "note": bytes},
        pk="author",
        not_null={"size", "root", "note"},
        strict=True,
    )


@migrations()
def m009_repair(db: Database) -> None:
    """Entries that are not held whole, and how far signatures were looked at."""
    # A body with a payload ends in its hash; few others look like it, and readers look closer.
    db.execute(f"CREATE INDEX lacking ON entries (place) WHERE {LACKING}")
    db.execute("ALTER TABLE authors ADD COLUMN checked_to INTEGER NOT NULL DEFAULT 0")


FOLDS: Final = ("lots", "reserves", "requests", "proposes", "trades", "vouches")
"""Tables that are made again from the entries, by place."""
VERSION: Final = 9
"""What `user_version` holds once every migration is applied."""


def open_writer(path: Path) -> Connection:
    """Open or make the database at `path` and bring its tables up to date.

    Where `is_fresh` then says so, make the folds again, and `finish`.

    Raises:
        DamagedError: not a database, or one with broken pages.
        ConfigError: somebody else's database, or one of a later passby.
        LocalError: it cannot be opened, or the disk is full.
    """
    with faults(path):
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_KEPT
        )
        try:
            _check_version(connection, path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            # A checkpoint costs a burst of writes: seldom, and never in the middle of a sync.
            connection.execute("PRAGMA wal_autocheckpoint=20000")
            connection.execute("PRAGMA cache_size=-65536")
            # What was erased must not linger in the gaps that moved rows leave behind.
            connection.execute("PRAGMA secure_delete=ON").fetchall()
            if _number(connection, "user_version") < VERSION:
                migrations.apply(Database(connection))
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        except BaseException:
            connection.close()
            raise
    return connection


def is_fresh(connection: Connection) -> bool:
    """Tell whether tables were added since the database was last `finish`ed, or it is new."""
    return _number(connection, "user_version") < VERSION


def finish(connection: Connection) -> None:
    """Mark the database as up to date, its folds made.

    A crash before it only means that the migrations, each of which is a transaction with its own
    mark, are looked through again, and the folds made again.
    """
    connection.execute(f"PRAGMA user_version={VERSION}")


def open_reader(path: Path) -> Connection:
    """Open the database at `path` for reading beside a writer.

    Raises:
        DamagedError, ConfigError, LocalError: as `open_writer`; LocalError too where there
            is none yet.
    """
    with faults(path):
        connection = _connect_ro(path)
        try:
            _check_version(connection, path)
            if _number(connection, "user_version") < VERSION:
                raise ConfigError(
                    f"The ledger {path} is of an older passby.", "Start the node once to renew it."
                )
        except BaseException:
            connection.close()
            raise
    return connection


def open_damaged(path: Path) -> Connection:
    """Open what is left of the database at `path` for reading, whatever its header says.

    Text comes as bytes. Rows may be missing, repeated or of any type.

    Raises:
        DamagedError, LocalError: SQLite reads nothing of it.
    """
    with faults(path):
        connection = _connect_ro(path)
        connection.text_factory = bytes
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except BaseException:
            connection.close()
            raise
    return connection


def _connect_ro(path: Path) -> Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS_KEPT,
    )


def copy_whole(connection: Connection, path: Path) -> None:
    """Copy the database of an open connection into a new file, as one moment of it.

    Raises:
        LocalError: the file cannot be written, or the database not be read.
    """
    with faults(path):
        target = sqlite3.connect(path, isolation_level=None)
        try:
            connection.backup(target)
            # Who starts from a copy has forgotten what it cosigned since: let it know nothing.
            target.execute("DELETE FROM witnessed")
            # A copy is one file, which may be carried about without its log.
            target.execute("PRAGMA journal_mode=DELETE")
        finally:
            target.close()


def _number(connection: Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _check_version(connection: Connection, path: Path) -> None:
    owner, version = _number(connection, "application_id"), _number(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    ours = owner == APPLICATION_ID or (owner == 0 and version == 0)
    if tables and not ours:
        raise ConfigError(
            f"{path} is a database, but not a passby ledger.", "Choose another home folder."
        )
    if version > VERSION:
        raise ConfigError(
            f"The ledger {path} was written by a later passby (schema {version}, this one"
            f" knows {VERSION}).",
            "Install that version again; nothing was changed.",
        )


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, which say whose they are and what to do next."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _fault(path, error) from error
    except UnicodeDecodeError as error:
        # What SQLite says of a damaged schema quotes it, and a flipped bit makes that no text.
        raise damaged(path, "its own description is no text") from error


def _fault(path: Path, error: sqlite3.DatabaseError) -> LocalError:
    # The extended codes keep the primary one in their low byte.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    match code:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(path, str(error))
        # Every statement here is tried by tests: where one fails to fit the tables, or text to
        # be text, a flipped bit has changed a name, a type or the header.
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_MISMATCH | sqlite3.SQLITE_CONSTRAINT:
            return damaged(path, str(error))
        case sqlite3.SQLITE_FULL:
            return LocalError(
                f"No space is left for the ledger {path}; nothing of the last step was written.",
                "Free some disk space and try again; what was saved before is safe.",
                Exit.IO,
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LocalError(
                f"Another process is writing the ledger {path}.",
                "Stop the other passby that uses this home folder.",
                Exit.IO,
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_READONLY:
            return LocalError(
                f"The ledger {path} cannot be opened for this: {error}.",
                "Look at whose the file and its folder are, and at their modes.",
                Exit.IO,
            )
        case sqlite3.SQLITE_IOERR:
            return LocalError(
                f"The disk failed under the ledger {path}: {error}.",
                "Copy the home folder to another disk before anything else.",
                Exit.IO,
            )
        case _:
            raise error


class LedgerDamagedError(DamagedError):
    """The ledger's file is not what was written; `node.mending` takes what is left of it."""


def damaged(path: Path, what: str) -> LedgerDamagedError:
    """Return the error for a ledger whose bytes are not what was written."""
    return LedgerDamagedError(
        f"The ledger {path} is damaged: {what}.",
        "`passby doctor --mend` keeps the damaged file, takes over what can be read, and lets"
        " the neighbours give back the rest.",
    )


def plain_table(path: Path) -> Callable[[bytes], None]:
    """Return an insert into a table of its own without index or rule, synced to disk.

    For benchmarks: what no ledger on this machine and SQLite can go below.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE plain (raw BLOB NOT NULL) STRICT")

    def insert(raw: bytes) -> None:
        connection.execute("INSERT INTO plain VALUES (?)", (raw,))

    return insert
