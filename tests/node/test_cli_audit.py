"""passby audit: what it looks at, what it says, and how it ends."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.authors import Author
from tests.ledger.people import Person, state
from tests.protocol.chains import Deal, Party

from passby.ledger.ingest import Check, admit
from passby.ledger.store_sqlite import SqliteStore
from passby.node.cli import run
from passby.node.home import Home
from passby.protocol.entry import Record

Capture = pytest.CaptureFixture[str]
ITEM = b"i" * 32
KEYS = {
    "exit", "scope", "subject", "chains", "entries", "verified", "unverified", "trusted", "on_word",
    "erased",
    "unsent", "missing", "named", "trades", "handovers", "secrets", "signatures", "statements",
    "seals", "heals", "root_words", "findings", "unlisted",
}  # fmt: skip
"""What docs/COMMANDS.md promises; more may be added."""


class Town:
    """A home, and people whose chains it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        assert self.run("init", "--at", "52.375,4.884", "--name", "Ann", "--yes", "--no-mdns") == 0
        self.deal = Deal.between(Party("ben"), [Party("anna")]).agree()
        self.deal.handover(1)
        person = Person("Zoë")
        self.phone, self.laptop = person.device("phone"), person.device("laptop")
        state(self.laptop, person.seal(self.phone.offer(5)))
        self.smith = Author("smith")
        self.smith.genesis()
        self.smith.say(200, refs=(ITEM,))
        self.smith.say(64, refs=(ITEM,))
        self.hold(self.deal.taker.chain, self.deal.listers[0].chain)
        for author in (self.phone, self.laptop, self.smith):
            self.hold([record.entry for record in author.records], author.records)

    def run(self, *words: str) -> int:
        return run(["--home", str(self.path), *words])

    def hold(self, *chains: Iterable[Any]) -> None:
        store = SqliteStore.open(Home.open(self.path).database_path)
        try:
            for chain in chains:
                records = [one if isinstance(one, Record) else Record(one) for one in chain]
                store.commit([admit(store.view(records), records, Check.EACH)], durable=True)
        finally:
            store.close()

    def cheat(self) -> None:
        """Let the lister release what it had committed and handed over."""
        self.deal.release(1)
        self.hold(self.deal.listers[0].chain)


@pytest.fixture
def town(tmp_path: Path, capsys: Capture) -> Town:
    made = Town(tmp_path / "home")
    capsys.readouterr()
    return made


def said(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_json_of_an_audit_keeps_its_keys(town: Town, capsys: Capture) -> None:
    assert town.run("audit", "--json") == 0
    told = said(capsys)
    assert set(told) >= KEYS
    documented = Path(__file__).parents[2].joinpath("docs/COMMANDS.md").read_text(encoding="utf-8")
    assert [key for key in told if f"`{key}`" not in documented] == []
    assert (told["scope"], told["subject"], told["exit"]) == ("all", None, 0)
    assert (told["statements"], told["seals"], told["heals"]) == (1, 1, 0)
    assert told["root_words"][0]["author"] == town.phone.public.hex()
    assert (told["handovers"], told["secrets"]) == (1, 1)


def test_people_read_what_was_looked_at(town: Town, capsys: Capture) -> None:
    assert town.run("audit") == 0
    shown = capsys.readouterr().out
    assert "1 hand-over, 1 with the receiver's secret." in shown
    assert "1 root statement: 1 chain sealed, 0 healed." in shown
    assert f"{town.phone.public.hex()[:8]}: sealed behind entry 2." in shown
    assert "Clean" in shown


@pytest.mark.parametrize("text", ["Zoë", "zoë", "key"])
def test_an_author_is_found_by_name_or_by_key(town: Town, capsys: Capture, text: str) -> None:
    lone = Person("Lone")
    author = lone.device("phone")
    town.hold(author.records)
    wanted = {"key": author.public.hex()[:9]}.get(text, "LONE")
    assert town.run("audit", "--author", wanted, "--json") == 0
    assert said(capsys)["subject"] == author.public.hex()


def test_a_name_that_two_chains_have_is_asked_about(town: Town, capsys: Capture) -> None:
    assert town.run("audit", "--author", "Zoë") == 64
    shown = capsys.readouterr().err
    assert "2 chains answer to Zoë" in shown
    assert town.phone.public.hex()[:8] in shown


def test_a_trade_is_found_by_any_of_its_entries(town: Town, capsys: Capture) -> None:
    for entry in (town.deal.propose, town.deal.reserves[1], town.deal.handovers[1]):
        assert town.run("audit", "--trade", entry.id.hex()[:10], "--json") == 0
        told = said(capsys)
        assert told["subject"] == town.deal.propose.id.hex()
        assert (told["chains"], told["trades"]) == (2, 1)


def test_an_item_is_what_its_entries_say_and_the_chains_that_hold_them(
    town: Town, capsys: Capture
) -> None:
    assert town.run("audit", "--item", ITEM.hex(), "--json") == 0
    told = said(capsys)
    assert (told["named"], told["chains"], told["subject"]) == (2, 1, ITEM.hex())
    offer = town.deal.offers[0].id.hex()
    assert town.run("audit", "--item", offer[:8], "--json") == 0
    told = said(capsys)
    # The offer, its propose and its reserve.
    assert (told["named"], told["chains"]) == (3, 2)
    assert town.run("audit", "--item", "ab" * 32, "--json") == 3
    assert said(capsys)["findings"][0]["text"] == "nothing held names it"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (64, "--item abcdef1234"),
        (64, "--lot nonsense"),
        (64, "--author nobody"),
        (64, "--item abcdef1234 --all"),
        (64, "--quiet --json"),
        (74, "--bundle /nowhere/at/all"),
    ],
)
def test_what_cannot_be_asked_has_its_code(
    town: Town, capsys: Capture, code: int, words: str
) -> None:
    assert town.run("audit", *words.split()) == code
    assert capsys.readouterr().out == ""


def test_a_lot_is_no_trade_and_a_trade_no_lot(town: Town, capsys: Capture) -> None:
    assert town.run("audit", "--lot", town.deal.propose.id.hex()) == 64
    assert town.run("audit", "--trade", town.deal.offers[0].id.hex()) == 64
    assert "is no trade" in capsys.readouterr().err


def test_quiet_says_nothing_but_by_its_code(town: Town, capsys: Capture) -> None:
    assert town.run("audit", "--quiet") == 0
    town.cheat()
    assert town.run("audit", "--quiet") == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_no_bar_is_drawn_where_nobody_looks(town: Town, capsys: Capture) -> None:
    assert town.run("audit") == 0
    assert capsys.readouterr().err == ""


def test_a_page_is_written_beside_what_is_said(town: Town, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "audit.html"
    town.cheat()
    assert town.run("audit", "--html", str(path)) == 1
    assert "Misbehaviour is proven" in capsys.readouterr().out
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert town.deal.propose.id.hex()[:16] in text
    assert town.run("audit", "--html", str(path)) == 64
    assert path.read_text(encoding="utf-8") == text
    lot = town.deal.offers[0].id.hex()
    assert town.run("audit", "--lot", lot, "--html", str(path), "--force", "--quiet") == 1
    assert f"Audit of lot {lot[:8]}" in path.read_text(encoding="utf-8")
    assert town.run("audit", "--html", str(tmp_path / "no" / "where")) == 74


def test_a_damaged_ledger_has_its_page_wherever_it_can_be_audited(
    town: Town, tmp_path: Path, capsys: Capture
) -> None:
    database, page = Home.open(town.path).database_path, tmp_path / "audit.html"
    with SqliteStore.open(database)._db as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole, dice = database.read_bytes(), random.Random(7)  # a test's dice
    codes = set()
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(20):
            at = dice.randrange(4096, len(data))
            data[at] ^= 1 << dice.randrange(8)
        database.write_bytes(data)
        page.unlink(missing_ok=True)
        code = town.run("audit", "--html", str(page))
        codes.add(code)
        assert code in (0, 2), capsys.readouterr().err
        shown = capsys.readouterr()
        assert page.exists() == bool(shown.out), shown.err
    assert 2 in codes


def test_a_bundle_has_its_page_too(town: Town, tmp_path: Path) -> None:
    bundle, path = tmp_path / "trade.proof", tmp_path / "trade.html"
    trade = town.deal.propose.id.hex()
    assert town.run("proof", trade, "--out", str(bundle)) == 0
    assert run(["audit", "--bundle", str(bundle), "--html", str(path), "--quiet"]) == 0
    assert f"a bundle about trade {trade[:8]}" in path.read_text(encoding="utf-8")


# --- bundles ---------------------------------------------------------------------------


def test_a_bundle_ends_with_the_audits_codes_where_there_is_no_home(
    town: Town, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade, nowhere = town.deal.propose.id.hex(), tmp_path / "nowhere"
    clean, proven, lacking = (tmp_path / name for name in ("clean", "proven", "lacking"))
    assert town.run("proof", trade, "--out", str(clean)) == 0
    town.cheat()
    assert town.run("proof", trade, "--out", str(proven)) == 0
    other = Town(tmp_path / "other")
    half = Deal.between(Party("ben again"), [Party("carl")])
    other.hold(half.taker.chain)
    assert other.run("proof", half.propose.id.hex(), "--out", str(lacking)) == 0
    torn = tmp_path / "torn"
    torn.write_bytes(clean.read_bytes()[:-1])
    monkeypatch.setenv("PASSBY_HOME", str(nowhere))
    capsys.readouterr()
    codes = []
    for path in (clean, proven, torn, lacking, tmp_path / "none"):
        codes.append(run(["audit", "--bundle", str(path), "--json"]))
        if codes[-1] in (0, 1, 3):
            told = said(capsys)
            assert (told["scope"], told["exit"]) == ("bundle", codes[-1])
            assert set(told) >= KEYS
    assert codes == [0, 1, 2, 3, 74]
    assert run(["audit", "--bundle", str(clean), "--trade", trade]) == 64
    assert run(["audit", "--bundle"]) == 64
    assert not nowhere.exists()


def test_a_flipped_bit_anywhere_in_a_bundle_is_refused_by_the_command(
    town: Town, tmp_path: Path
) -> None:
    """Every bit is tried in tests/ledger/test_bundle.py; here the command, byte after byte."""
    path = tmp_path / "lot.proof"
    assert town.run("proof", town.deal.offers[0].id.hex(), "--out", str(path)) == 0
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :])
        assert run(["audit", "--bundle", str(path), "--quiet"]) == 2, at
