"""The books between a stop and the next start: of use with the very ledger they were made from."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from passby.geo.book import Book
from passby.geo.cells import cell_at
from passby.geo.lots import BookLot, Side
from passby.ledger.chain import Head
from passby.node import shelf
from passby.protocol.price import Price
from passby.protocol.units import Unit

HEADS = {b"a" * 32: Head(3, b"h" * 32, 1_750_000_000_000)}


def lot(side: Side, number: int) -> BookLot:
    return BookLot(
        side=side,
        id=number.to_bytes(32, "big"),
        author=b"a" * 32,
        at_ms=1_750_000_000_000,
        until_ms=1_760_000_000_000,
        category="fluids/brake-fluid",
        unit=Unit.MILLILITRE,
        remaining=500,
        price=Price(800, 500, "EUR"),
        cell=cell_at(52.375, 4.884, 8),
    )


def books() -> tuple[Book, Book]:
    made = Book(Side.OFFER), Book(Side.REQUEST)
    for book in made:
        for number in range(100):
            book.insert(lot(book.side, number))
    return made


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "passby.db"
    path.write_bytes(b"entries")
    return path


@pytest.fixture
def shelved(ledger: Path) -> Path:
    path = ledger.with_name("books.npz")
    shelf.put_away(path, shelf.seal(ledger), HEADS, books())
    return path


def test_what_is_put_away_is_taken_out_once(ledger: Path, shelved: Path) -> None:
    found = shelf.take_out(shelved, shelf.seal(ledger), HEADS)
    assert found is not None
    assert [list(book) for book in found] == [list(book) for book in books()]
    assert shelf.take_out(shelved, shelf.seal(ledger), HEADS) is None


def test_a_ledger_that_was_written_since_makes_it_void(ledger: Path, shelved: Path) -> None:
    before = ledger.stat().st_mtime_ns
    os.utime(ledger, ns=(before, before + 1))
    assert shelf.take_out(shelved, shelf.seal(ledger), HEADS) is None
    assert not shelved.exists()


def test_a_log_beside_the_ledger_makes_it_void(ledger: Path, shelved: Path) -> None:
    ledger.with_name("passby.db-wal").write_bytes(b"more entries")
    assert shelf.take_out(shelved, shelf.seal(ledger), HEADS) is None


def test_an_empty_log_that_a_reader_left_changes_nothing(ledger: Path, shelved: Path) -> None:
    ledger.with_name("passby.db-wal").touch()
    assert shelf.take_out(shelved, shelf.seal(ledger), HEADS) is not None


def test_another_head_makes_it_void(ledger: Path, shelved: Path) -> None:
    other = {
        author: msgspec.structs.replace(head, seq=head.seq + 1) for author, head in HEADS.items()
    }
    assert shelf.take_out(shelved, shelf.seal(ledger), other) is None


def test_without_a_ledger_nothing_is_put_away(tmp_path: Path) -> None:
    shelf.put_away(tmp_path / "books.npz", shelf.seal(tmp_path / "none.db"), HEADS, books())
    assert not (tmp_path / "books.npz").exists()


@pytest.mark.parametrize("at", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_damaged_file_is_no_book_and_goes(ledger: Path, shelved: Path, at: float) -> None:
    raw = bytearray(shelved.read_bytes())
    place = int(at * len(raw))
    raw[place : place + 200] = bytes(byte ^ 0x5A for byte in raw[place : place + 200])
    shelved.write_bytes(raw)
    assert shelf.take_out(shelved, shelf.seal(ledger), HEADS) is None
    assert not shelved.exists()


def test_a_file_cut_off_is_no_book(ledger: Path, shelved: Path) -> None:
    shelved.write_bytes(shelved.read_bytes()[:-500])
    assert shelf.take_out(shelved, shelf.seal(ledger), HEADS) is None


def test_nobody_else_may_read_what_is_put_away(shelved: Path) -> None:
    assert shelved.stat().st_mode & 0o777 == 0o600


def test_books_of_another_release_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = Book(Side.OFFER).packed()
    monkeypatch.setattr("passby.geo.book._FORM", b"another")
    with pytest.raises(ValueError, match="another form"):
        Book.unpack(Side.OFFER, packed)
