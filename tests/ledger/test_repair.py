"""Entries that are not held whole: both stores find them, and take what a copy adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.ledger.authors import SALT, Author

from passby.ledger.ingest import Check, admit
from passby.ledger.repair import Rechecked, completed, recheck
from passby.ledger.store import Store
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import Record, parse_entry
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SIGNATURE_BYTES


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "l.db")
    yield made
    made.close()


def take(store: Store, records: Sequence[Record], check: Check = Check.RUNS) -> None:
    store.commit([admit(store.view(records), records, check)], durable=False)


def noted(count: int) -> Author:
    author = Author("ada")
    author.genesis()
    for _ in range(count):
        author.note()
    return author


def bare(record: Record, signature: bytes | None = None) -> Record:
    raw = record.entry.raw
    return Record(parse_entry((signature or raw[:SIGNATURE_BYTES]) + raw[SIGNATURE_BYTES:]))


def lacking(store: Store, after: int = 0, most: int = 99) -> list[bytes]:
    return [each.id for each in store.lacking(after, most)]


def test_payloads_that_never_came_are_lacking_until_they_do(store: Store) -> None:
    ada = noted(6)
    take(store, [*map(bare, ada.records[:5]), *ada.records[5:]])
    # The genesis has none.
    assert lacking(store) == [record.entry.id for record in ada.records[1:5]]
    first, second = store.lacking(0, 2)
    assert lacking(store, second.place) == [record.entry.id for record in ada.records[3:5]]
    take(store, ada.records[1:3], Check.EACH)
    assert lacking(store) == [record.entry.id for record in ada.records[3:5]]
    store.erase_payload(ada.records[3].entry.id)
    assert lacking(store) == [ada.records[4].entry.id]
    assert first.id == ada.records[1].entry.id


def test_a_chain_that_is_cut_lacks_nothing(store: Store) -> None:
    ada = noted(6)
    take(store, [*map(bare, ada.records[:5]), *ada.records[5:]])
    store.cut(ada.public, 2, "damaged")
    assert lacking(store) == [ada.records[1].entry.id]


def test_garbled_signatures_are_told_from_good_ones_and_replaced(store: Store) -> None:
    ada = noted(9)
    garbled = [
        Record(bare(held, bytes(64)).entry, held.salt, held.payload) if at % 2 else held
        for at, held in enumerate(ada.records[:9])
    ]
    take(store, [*garbled, ada.records[9]])
    assert recheck(store, 99) == Rechecked(done=True, garbled=4)
    bad = [ada.records[at].entry for at in (1, 3, 5, 7)]
    assert lacking(store) == [entry.id for entry in bad]
    checked = {entry.seq: good for entry, good in store.stretch(ada.public, 1, 99)}
    assert checked == {seq: seq not in (2, 4, 6, 8) for seq in range(1, 11)}
    # What is garbled ends no run that is passed on.
    assert [record.entry.seq for record in store.run(ada.public, 1, 2, 10**6)] == [1]
    assert store.sign_again(bad[0])
    assert store.record(bad[0].id) == ada.records[1]
    assert lacking(store) == [entry.id for entry in bad[1:]]
    assert not store.sign_again(Author("bo").genesis().entry)


def test_signatures_are_looked_at_once_within_a_budget_and_again_when_they_come_again(
    store: Store,
) -> None:
    ada, bo = noted(9), Author("bo")
    bo.genesis()
    take(store, ada.records)
    take(store, bo.records)
    assert recheck(store, 6) == Rechecked(done=False, garbled=0)
    assert recheck(store, 99) == Rechecked(done=True, garbled=0)
    assert store.unchecked() is None
    ada.note()
    take(store, ada.records[-1:])
    assert store.unchecked() == (ada.public, 11)
    assert recheck(store, 99).done
    store.cut(ada.public, 4, "damaged")
    take(store, ada.records[4:])
    assert store.unchecked() == (ada.public, 5)


def test_a_copy_adds_only_what_verifies_and_is_committed_to() -> None:
    held = noted(1).records[1]
    good = held.entry.raw[:SIGNATURE_BYTES]
    garbled = bare(held, bytes(64))
    payload = b"\x80"
    assert completed(garbled, good, b"") == (held.entry, None)
    assert completed(garbled, b"\x01" * 64, b"") == (None, None)
    assert completed(bare(held), good, SALT + payload) == (None, held)
    with pytest.raises(RemoteError):
        completed(bare(held), good, SALT + b"\x81")
    with pytest.raises(RemoteError):
        completed(bare(held), good, b"t" * 16 + payload)
