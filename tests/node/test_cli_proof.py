"""passby proof, and passby audit --bundle on a machine that has nothing but the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.protocol.chains import Deal, Party

from passby.ledger.ingest import Check, admit
from passby.ledger.store_sqlite import SqliteStore
from passby.node.cli import run
from passby.node.home import Home
from passby.protocol.entry import Record

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def broken() -> Deal:
    """A deal that its lister broke, and a fork of the taker."""
    deal = Deal.between(Party("ben"), [Party("anna")]).agree()
    deal.release(1)
    return deal


@pytest.fixture
def home(tmp_path: Path, capsys: Capture, broken: Deal) -> Path:
    path = tmp_path / "home"
    given = ["--at", "52.375,4.884", "--name", "Anna", "--yes", "--no-mdns"]
    assert run(["--home", str(path), "init", *given]) == 0
    store = SqliteStore.open(Home.open(path).database_path)
    try:
        fork = Party("ben").write(200)
        for chain in (broken.taker.chain, broken.listers[0].chain, [fork]):
            records = [Record(entry) for entry in chain]
            store.commit([admit(store.view(records), records, Check.EACH)], durable=True)
    finally:
        store.close()
    capsys.readouterr()
    return path


def prove(home: Path, identity: str, path: Path, *more: str) -> int:
    return run(["--home", str(home), "proof", identity, "--out", str(path), *more])


def test_a_trade_is_proven_on_a_machine_that_has_only_the_file(
    home: Path, tmp_path: Path, capsys: Capture, broken: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trade.proof"
    assert prove(home, broken.propose.id.hex()[:8], path) == 0
    assert f"passby audit --bundle {path}" in capsys.readouterr().out
    monkeypatch.setenv("PASSBY_HOME", str(tmp_path / "nowhere"))
    assert run(["audit", "--bundle", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "released after commit" in shown
    assert "two entries at one seq" in shown


@pytest.mark.parametrize("about", ["lot", "entry", "author", "alone"])
def test_each_subject_is_found_by_its_id(
    home: Path, tmp_path: Path, capsys: Capture, broken: Deal, about: str
) -> None:
    identity, more = {
        "lot": (broken.offers[0].id, []),
        "entry": (broken.commits[1].id, []),
        "author": (broken.taker.public, []),
        "alone": (broken.propose.id, ["--entry"]),
    }[about]
    path = tmp_path / "some.proof"
    assert prove(home, identity.hex(), path, "--json", *more) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["about"] == {"alone": "entry"}.get(about, about)
    assert told["bytes"] == path.stat().st_size
    code = run(["audit", "--bundle", str(path), "--json"])
    checked = json.loads(capsys.readouterr().out)
    assert checked["subject"] == told["subject"]
    assert code == checked["exit"] == (1 if told["proofs"] else 0)


def test_a_changed_file_proves_nothing(
    home: Path, tmp_path: Path, capsys: Capture, broken: Deal
) -> None:
    path = tmp_path / "lot.proof"
    assert prove(home, broken.offers[0].id.hex(), path) == 0
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    capsys.readouterr()
    assert run(["audit", "--bundle", str(path)]) == 2
    assert "proves nothing" in capsys.readouterr().err


def test_what_cannot_be_proven_is_said(
    home: Path, tmp_path: Path, capsys: Capture, broken: Deal
) -> None:
    path = tmp_path / "some.proof"
    assert prove(home, "ffffffffff", path) == 4
    path.write_bytes(b"mine")
    assert prove(home, broken.propose.id.hex(), path) == 4
    assert path.read_bytes() == b"mine"
    assert prove(home, broken.propose.id.hex(), path, "--force") == 0
    assert run(["audit", "--bundle", str(tmp_path / "none")]) == 74
    assert run(["audit", "--bundle", str(path), "--all"]) == 64
    capsys.readouterr()
