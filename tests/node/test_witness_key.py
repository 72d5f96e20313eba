"""The witness key of a home: one of its own, kept while the node knows what it cosigned."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from passby.ledger.checkpoint import chain_key, origin_of, sign_checkpoint
from passby.ledger.store_sqlite import SqliteStore
from passby.ledger.witness import EMPTY, AddCheckpoint, Cosign, Held, witness
from passby.node.backup import Backup
from passby.node.config import Config
from passby.node.home import Home
from passby.node.witness_key import WitnessGuard, witness_seed
from passby.protocol.errors import DamagedError
from passby.protocol.keys import SigningKey, root_from_words

CONFIG = Config(name="Anna", cell="881969c9b7fffff")
NOW_MS = 1_700_000_000_000
AUTHOR = SigningKey(b"\x01" * 32)
ORIGIN = origin_of(AUTHOR.public)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", CONFIG, now_ms=NOW_MS)[0]


def tree(size: int) -> Held:
    request = AddCheckpoint(0, (), sign_checkpoint(AUTHOR, size, bytes([size]) * 32))
    verdict = witness(EMPTY, request, chain_key(AUTHOR.public), NOW_MS // 1000)
    assert isinstance(verdict, Cosign)
    return verdict.held


def start(home: Home) -> WitnessGuard:
    """Open the guard the way a daemon does."""
    store = SqliteStore(home.database_path)
    try:
        return WitnessGuard(home, (held for _, held in store.all_witnessed()))
    finally:
        store.close()


def cosign(home: Home, *sizes: int) -> bytes:
    """Run a node that cosigns trees of these sizes; return the seed of its key."""
    with closing(start(home)) as guard:
        store = SqliteStore(home.database_path)
        for size in sizes:
            held = store.witnessed(ORIGIN)
            assert store.witness(ORIGIN, held, tree(size))
            guard.note(size - held.size)
        store.close()
        return guard.seed


def test_the_witness_key_is_none_of_the_others_and_stays(home: Home) -> None:
    seed = witness_seed(home)
    assert len({seed, home.ledger_seed, home.transport_seed, home.box_seed}) == 4
    assert witness_seed(home) == seed == cosign(home, 3) == cosign(home, 5, 9) == cosign(home)
    assert (home.path / "keys" / "witness.key").stat().st_mode & 0o777 == 0o600


def test_a_ledger_that_was_put_back_takes_a_new_witness_key(home: Home) -> None:
    seed = cosign(home, 3)
    kept = home.path / "kept.db"
    shutil.copyfile(home.database_path, kept)
    assert cosign(home, 5) == seed
    shutil.copyfile(kept, home.database_path)
    assert cosign(home) != seed
    # The new key is as good as the old one was.
    again = cosign(home, 7)
    assert cosign(home) == again != seed


def test_a_ledger_that_forgot_what_was_witnessed_takes_a_new_witness_key(home: Home) -> None:
    seed = cosign(home, 3)
    home.database_path.unlink()
    assert cosign(home) != seed


def test_a_copied_home_takes_a_new_witness_key_and_the_first_keeps_its_own(
    home: Home, tmp_path: Path
) -> None:
    seed = cosign(home, 3)
    shutil.copytree(home.path, tmp_path / "copy")
    (tmp_path / "copy").chmod(0o700)
    assert cosign(Home(tmp_path / "copy")) != seed
    assert cosign(home) == seed


def test_a_guard_that_is_gone_costs_the_witness_key(home: Home) -> None:
    seed = cosign(home, 3)
    home.witness_guard_path.unlink()
    assert cosign(home) != seed


def test_a_crash_between_ledger_and_guard_keeps_the_witness_key(home: Home) -> None:
    seed = cosign(home, 3)
    store = SqliteStore(home.database_path)
    assert store.witness(ORIGIN, store.witnessed(ORIGIN), tree(5))
    store.close()
    assert cosign(home) == seed


def test_a_crash_between_the_new_key_and_its_guard_takes_one_more(home: Home) -> None:
    cosign(home, 3)
    renewed = home.renew_witness_seed()
    assert cosign(home) != renewed


def test_a_restored_device_has_a_witness_key_of_its_own(tmp_path: Path) -> None:
    home, words = Home.create(tmp_path / "home", CONFIG, now_ms=NOW_MS)
    seed = cosign(home, 3)
    root = root_from_words(words)
    raw = Backup.of(home, [], NOW_MS).seal()
    restored, _ = Backup.open(raw, root).restore(tmp_path / "again", root, NOW_MS)
    assert seed not in raw
    assert cosign(restored) != seed


def test_a_witness_key_that_is_no_key_is_damage(home: Home) -> None:
    witness_seed(home)
    (home.path / "keys" / "witness.key").write_text("not a key")
    with pytest.raises(DamagedError, match="does not hold a key"):
        witness_seed(home)
