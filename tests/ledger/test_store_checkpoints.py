"""What stores keep of trees, checkpoints and witnesses; memory and SQLite alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.ledger.authors import Author

from passby.ledger.checkpoint import (
    SignedCheckpoint,
    WitnessKey,
    chain_key,
    cosigned_at,
    origin_of,
    sign_checkpoint,
)
from passby.ledger.ingest import Check, admit
from passby.ledger.note import NoteSignature
from passby.ledger.salvage import salvage
from passby.ledger.store import Store
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteReader, SqliteStore
from passby.ledger.tree import BLOCK, consistency_proof, inclusion_proof, root_at, rows_of
from passby.ledger.witness import EMPTY, AddCheckpoint, Cosign, Held, witness
from passby.protocol.entry import Record
from passby.protocol.errors import DamagedError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import SEQ_MAX

AT_S: Final = 1_700_000_000
LONG: Final = 3 * BLOCK + 17


def long_chain(name: str = "ada") -> Author:
    author = Author(name)
    author.genesis()
    while len(author.records) < LONG:
        author.note(None)
    return author


ADA: Final = long_chain()
IDS: Final = [record.entry.id for record in ADA.records]
ROWS: Final = rows_of(IDS)
ORIGIN: Final = origin_of(ADA.public)
WITNESSES: Final = [WitnessKey(SigningKey(bytes([at]) * 32)) for at in (1, 2, 3)]


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


def take(store: Store, records: Sequence[Record]) -> None:
    store.commit([admit(store.view(records), records, Check.RUNS)], durable=False)


def checkpoint(size: int, *lines: NoteSignature) -> SignedCheckpoint:
    return sign_checkpoint(ADA.key, size, root_at(ROWS, size)).with_lines(lines)


def held_at(size: int, at_s: int = AT_S) -> Held:
    signed = checkpoint(size)
    return Held(size, signed.head.root, signed.encode(), at_s)


def cosigned(at: int, size: int, at_s: int) -> NoteSignature:
    return WITNESSES[at].cosign(checkpoint(size).head.text, at_s)


# --- trees -----------------------------------------------------------------------------


def agrees_with_all_ids(store: Store, size: int) -> None:
    rows = store.tree(ADA.public)
    assert root_at(rows, size) == root_at(ROWS, size)
    for at in {0, 1, BLOCK - 1, BLOCK, size // 2, size - 1} & set(range(size)):
        assert inclusion_proof(rows, at, size) == inclusion_proof(ROWS, at, size)
        assert consistency_proof(rows, at, size) == consistency_proof(ROWS, at, size)


@pytest.mark.parametrize("kept", [(), (1,), (BLOCK,), (BLOCK + 1, 2 * BLOCK), (LONG,)])
def test_the_tree_is_that_of_the_ids_whatever_checkpoints_were_kept(
    store: Store, kept: tuple[int, ...]
) -> None:
    take(store, ADA.records[:300])
    for size in kept[:1]:
        store.keep_checkpoint(checkpoint(size))
    take(store, ADA.records[300:])
    for size in kept[1:]:
        store.keep_checkpoint(checkpoint(size))
    for size in (1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, LONG):
        agrees_with_all_ids(store, size)


def test_the_tree_of_a_chain_that_is_not_held_has_nothing(store: Store) -> None:
    assert list(store.tree(ADA.public)(0, 0, 9)) == []
    assert list(store.tree(ADA.public)(8, 0, 9)) == []
    take(store, ADA.records[:9])
    for size in (10, BLOCK, SEQ_MAX):
        with pytest.raises(DamagedError, match="missing"):
            root_at(store.tree(ADA.public), size)


def test_a_tree_survives_a_cut_and_the_making_of_folds(store: Store) -> None:
    take(store, ADA.records)
    store.keep_checkpoint(checkpoint(LONG))
    store.cut(ADA.public, BLOCK + 9, "a test")
    agrees_with_all_ids(store, BLOCK + 9)
    with pytest.raises(DamagedError, match="missing"):
        root_at(store.tree(ADA.public), 2 * BLOCK)
    # Another branch grows where the first one was.
    other = ADA.fork(BLOCK + 10)
    while len(other.records) < LONG:
        other.note()
    take(store, other.records[BLOCK + 9 :])
    rows = rows_of([record.entry.id for record in other.records])
    assert root_at(store.tree(ADA.public), LONG) == root_at(rows, LONG) != root_at(ROWS, LONG)
    store.rebuild()
    assert root_at(store.tree(ADA.public), LONG) == root_at(rows, LONG)


def test_block_roots_are_kept_behind_a_checkpoint_alone(sqlite: SqliteStore) -> None:
    take(sqlite, ADA.records)
    blocks = "SELECT place & 0xFFFFFFFF, root FROM blocks ORDER BY place"
    assert sqlite._all(blocks) == []
    sqlite.keep_checkpoint(checkpoint(2 * BLOCK + 1))
    expected = [(BLOCK, ROWS(8, 0, 1)[0]), (2 * BLOCK, ROWS(8, 1, 2)[0])]
    assert sqlite._all(blocks) == expected
    sqlite.keep_checkpoint(checkpoint(LONG))
    assert sqlite._all(blocks) == [*expected, (3 * BLOCK, ROWS(8, 2, 3)[0])]


def test_a_flipped_bit_under_the_tree_is_damage_and_no_other_root(sqlite: SqliteStore) -> None:
    take(sqlite, ADA.records)
    ((raw,),) = sqlite._all("SELECT raw FROM entries WHERE place & 0xFFFFFFFF = 5")
    flipped = raw[:-1] + bytes([raw[-1] ^ 1])
    sqlite._db.execute("UPDATE entries SET raw = ? WHERE place & 0xFFFFFFFF = 5", (flipped,))
    with pytest.raises(DamagedError, match="another id"):
        root_at(sqlite.tree(ADA.public), LONG)


# --- checkpoints -----------------------------------------------------------------------


def test_the_largest_checkpoint_is_kept(store: Store) -> None:
    take(store, ADA.records)
    assert store.checkpoint(ADA.public) is None
    assert store.keep_checkpoint(checkpoint(10))
    assert store.checkpoint(ADA.public) == checkpoint(10)
    assert not store.keep_checkpoint(checkpoint(10))
    assert not store.keep_checkpoint(checkpoint(9, cosigned(0, 9, AT_S)))
    assert store.checkpoint(ADA.public) == checkpoint(10)
    assert store.keep_checkpoint(checkpoint(300))
    assert store.checkpoint(ADA.public) == checkpoint(300)


def test_another_root_of_the_same_size_never_takes_its_place(store: Store) -> None:
    store.keep_checkpoint(checkpoint(10))
    assert not store.keep_checkpoint(sign_checkpoint(ADA.key, 10, IDS[0]))
    assert store.checkpoint(ADA.public) == checkpoint(10)


def test_the_lines_of_one_tree_gather_and_the_later_of_a_witness_counts(store: Store) -> None:
    store.keep_checkpoint(checkpoint(10, cosigned(0, 10, AT_S)))
    assert store.keep_checkpoint(checkpoint(10, cosigned(1, 10, AT_S), cosigned(0, 10, AT_S + 9)))
    assert store.keep_checkpoint(checkpoint(10, cosigned(2, 10, AT_S)))
    assert not store.keep_checkpoint(checkpoint(10, cosigned(0, 10, AT_S + 5)))
    held = store.checkpoint(ADA.public)
    assert held is not None
    times = [cosigned_at(held.note, key.verifier) for key in WITNESSES]
    assert times == [AT_S + 9, AT_S, AT_S]
    assert len(held.note.signatures) == 4
    # The lines are of that tree alone.
    store.keep_checkpoint(checkpoint(11))
    assert store.checkpoint(ADA.public) == checkpoint(11)


def test_a_checkpoint_may_come_before_the_entries(store: Store) -> None:
    assert store.keep_checkpoint(checkpoint(LONG))
    assert store.head(ADA.public) is None
    assert list(store.heads()) == []
    take(store, ADA.records)
    assert store.checkpoint(ADA.public) == checkpoint(LONG)
    agrees_with_all_ids(store, LONG)


def test_a_checkpoint_goes_with_its_chain_and_what_was_witnessed_stays(store: Store) -> None:
    take(store, ADA.records)
    store.keep_checkpoint(checkpoint(LONG))
    store.witness(ORIGIN, EMPTY, held_at(10))
    store.forget([ADA.public])
    assert store.checkpoint(ADA.public) is None
    assert store.witnessed(ORIGIN) == held_at(10)
    take(store, ADA.fork(2).records)
    other = ADA.fork(2)
    while len(other.records) < BLOCK:
        other.note()
    take(store, other.records)
    rows = rows_of([record.entry.id for record in other.records])
    assert root_at(store.tree(ADA.public), BLOCK) == root_at(rows, BLOCK)


def test_a_checkpoint_with_a_flipped_bit_is_damage(sqlite: SqliteStore) -> None:
    sqlite.keep_checkpoint(checkpoint(10))
    for change in ("size = 11", "root = zeroblob(32)", "note = zeroblob(9)"):
        sqlite._db.execute("SAVEPOINT before")
        sqlite._db.execute(f"UPDATE checkpoints SET {change}")  # noqa: S608  # a constant above
        with pytest.raises(DamagedError):
            sqlite.checkpoint(ADA.public)
        sqlite._db.execute("ROLLBACK TO before")
        sqlite._db.execute("RELEASE before")
    assert sqlite.checkpoint(ADA.public) == checkpoint(10)


# --- witnessed -------------------------------------------------------------------------


def test_a_witness_compares_and_swaps(store: Store) -> None:
    assert store.witnessed(ORIGIN) == EMPTY
    first, second = held_at(10), held_at(20)
    assert not store.witness(ORIGIN, first, second)
    assert store.witness(ORIGIN, EMPTY, first)
    assert store.witnessed(ORIGIN) == first
    # Two requests were judged by the same state: the later one begins again.
    assert not store.witness(ORIGIN, EMPTY, second)
    assert store.witness(ORIGIN, first, second)
    assert store.witnessed(ORIGIN) == second
    assert store.witnessed(origin_of(WITNESSES[0].verifier.public)) == EMPTY
    assert store.all_witnessed() == [(ORIGIN, second)]


def test_what_the_rule_says_to_store_is_what_it_is_judged_by_next(store: Store) -> None:
    for old, size in ((0, 3), (3, 3), (3, 300), (300, LONG)):
        proof = consistency_proof(ROWS, old, size)
        request = AddCheckpoint(old, proof, checkpoint(size))
        held = store.witnessed(ORIGIN)
        verdict = witness(held, request, chain_key(ADA.public), AT_S + size)
        assert isinstance(verdict, Cosign)
        assert store.witness(ORIGIN, held, verdict.held)
    assert store.witnessed(ORIGIN) == held_at(LONG, AT_S + LONG)


def test_what_was_witnessed_is_synced_before_the_answer(sqlite: SqliteStore) -> None:
    take(sqlite, ADA.records[:9])
    said: list[str] = []
    sqlite._db.set_trace_callback(said.append)
    assert sqlite.witness(ORIGIN, EMPTY, held_at(10))
    sqlite._db.set_trace_callback(None)
    assert said.index("PRAGMA synchronous=FULL") < said.index("BEGIN IMMEDIATE")
    assert said[-1] == "COMMIT"


def test_what_was_witnessed_is_read_again_after_a_restart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "l.db")
    store.witness(ORIGIN, EMPTY, held_at(10))
    store.close()
    reader = SqliteReader.open(tmp_path / "l.db")
    assert reader.witnessed(ORIGIN) == held_at(10)
    reader.close()


def test_a_copy_of_the_ledger_does_not_tell_what_was_witnessed(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    take(sqlite, ADA.records)
    sqlite.keep_checkpoint(checkpoint(LONG))
    sqlite.witness(ORIGIN, EMPTY, held_at(10))
    sqlite.backup_to(tmp_path / "copy.db")
    copy = SqliteReader.open(tmp_path / "copy.db")
    assert copy.witnessed(ORIGIN) == EMPTY
    assert copy.checkpoint(ADA.public) == checkpoint(LONG)
    copy.close()
    assert sqlite.witnessed(ORIGIN) == held_at(10)


def test_salvage_keeps_checkpoints_and_what_was_witnessed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "old.db")
    take(store, ADA.records)
    store.keep_checkpoint(checkpoint(LONG, cosigned(0, LONG, AT_S)))
    store.witness(ORIGIN, EMPTY, held_at(10))
    bob = sign_checkpoint(Author("bob").key, 5, IDS[0])
    store.witness(bob.head.origin, EMPTY, Held(5, IDS[0], bob.encode(), AT_S))
    # A bit flips: what is no longer its author's word is not taken over.
    store._db.execute("UPDATE witnessed SET size = 7 WHERE origin = ?", (bob.head.origin,))
    store.close()
    salvage(tmp_path / "old.db", tmp_path / "new.db")
    fresh = SqliteStore(tmp_path / "new.db")
    assert fresh.checkpoint(ADA.public) == checkpoint(LONG, cosigned(0, LONG, AT_S))
    assert fresh.witnessed(ORIGIN) == held_at(10)
    assert fresh.witnessed(bob.head.origin) == EMPTY
    fresh.close()
