"""The command line against real daemons: two homes, one trade by hand, and what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from passby.node.cli import run
from passby.node.following import Following
from passby.node.home import Home
from passby.protocol.errors import LocalError
from passby.protocol.keys import SigningKey

AWAIT_S = 60
"""Patience with a busy machine; nothing here is timed."""


class Neighbour:
    """One home whose daemon runs, spoken to as by hand."""

    def __init__(self, path: Path, name: str, place: str) -> None:
        self.path = path
        listen = ["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"]
        assert self.code("init", "--at", place, "--name", name, "--yes", *listen) == 0

    def code(self, *words: str) -> int:
        return run([*words, "--json", "--home", str(self.path)])

    def up(self, *words: str) -> tuple[int, str, str]:
        """Detach a daemon from a process of its own, as a shell does."""
        command = [sys.executable, "-m", "passby.node.cli", "up", "--detach", "--json", *words]
        done = subprocess.run(
            [*command, "--home", str(self.path)], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def says(self, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
        capsys.readouterr()
        code = self.code(*words)
        shown = capsys.readouterr()
        assert code == 0, shown.err
        lines = [json.loads(line) for line in shown.out.splitlines()]
        return lines[0] if len(lines) == 1 else lines

    def refuses(self, capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
        capsys.readouterr()
        assert self.code(*words) == code
        shown = capsys.readouterr()
        assert not shown.out
        fault = json.loads(shown.err)["error"]
        assert fault["exit_code"] == code
        return f"{fault['message']} {fault['hint']}"

    def shows(self, capsys: pytest.CaptureFixture[str], *words: str) -> str:
        capsys.readouterr()
        assert run([*words, "--home", str(self.path)]) == 0
        return capsys.readouterr().out

    def down(self) -> None:
        with suppress(LocalError):
            if Home.open(self.path).daemon_pid() is not None:
                self.code("down")


def until(look: Callable[[], Any]) -> Any:
    """Return what `look` finds once it finds something; news takes a moment to travel."""
    deadline = time.monotonic() + AWAIT_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Neighbour, Neighbour]]:
    folder = tmp_path_factory.mktemp("s")
    anna = Neighbour(folder / "a", "Anna", "52.375,4.884")
    bo = Neighbour(folder / "b", "Bo", "52.377,4.884")
    try:
        for one in (anna, bo):
            code, _, said = one.up()
            assert code == 0, said
        yield anna, bo
    finally:
        anna.down()
        bo.down()


@pytest.fixture(scope="module")
def neighbours(street: tuple[Neighbour, Neighbour]) -> tuple[Neighbour, Neighbour]:
    """Joined by the link that one gave the other."""
    anna, bo = street
    link = subprocess.run(
        [sys.executable, "-m", "passby.node.cli", "invite", "--home", str(anna.path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert link.startswith("passby://join/")
    assert bo.code("join", link) == 0
    return street


Street = tuple[Neighbour, Neighbour]
Capture = pytest.CaptureFixture[str]


def test_a_node_tells_how_it_is_and_who_it_is(street: Street, capsys: Capture) -> None:
    anna, _ = street
    status = anna.says(capsys, "status")
    me = anna.says(capsys, "id")
    assert status["name"] == me["name"] == "Anna"
    assert status["author"] == me["author"]
    assert me["author"] == Home.open(anna.path).ledger_key().public.hex()
    assert me["addresses"][0].startswith("/ip4/127.0.0.1/tcp/")
    shown = anna.shows(capsys, "status")
    assert shown.startswith("Anna is up for ")


def test_a_second_daemon_on_one_home_hears_which_process_has_it(
    street: Street, capsys: Capture
) -> None:
    anna, _ = street
    pid = Home.open(anna.path).daemon_pid()
    assert f"process {pid}" in anna.refuses(capsys, 1, "up")
    assert f"process {pid}" in anna.refuses(capsys, 1, "up", "--detach")


def test_neighbours_vouch_for_each_other_by_joining_and_by_hand(
    neighbours: Street, capsys: Capture
) -> None:
    anna, bo = neighbours
    assert "Bo " in anna.shows(capsys, "vouch", "--list")
    assert anna.shows(capsys, "vouch", "Bo", "--off") == "You no longer vouch for Bo.\n"
    assert "You vouch for nobody yet" in anna.shows(capsys, "vouch")
    assert anna.says(capsys, "vouch", "bo")["stands"] is True
    assert [found["name"] for found in bo.says(capsys, "vouch", "--list")["given"]] == ["Anna"]
    anna.refuses(capsys, 2, "vouch", "--list", "Bo")
    anna.refuses(capsys, 4, "vouch", "Nobody")


def test_an_author_is_followed_by_name_key_or_lot_while_the_node_runs(
    neighbours: Street, capsys: Capture
) -> None:
    anna, bo = neighbours
    assert "You follow nobody yet" in bo.shows(capsys, "follow", "--list")
    wish = ["request", "Ladder", "--category", "tools/ladder", "--price", "3EUR"]
    lot = anna.says(capsys, *wish)
    wanted = ["book", "--wanted"]
    until(lambda: any(one["id"] == lot["id"] for one in bo.says(capsys, *wanted)["lots"]))
    me = anna.says(capsys, "id")["author"]
    assert bo.shows(capsys, "follow", lot["id"][:10]) == "You follow Anna.\n"
    assert bo.says(capsys, "follow", "anna") == {
        "author": me,
        "name": "Anna",
        "follows": True,
        "changed": False,
    }
    (followed,) = bo.says(capsys, "follow", "--list")["followed"]
    assert (followed["author"], followed["name"]) == (me, "Anna")
    assert followed["entries"] >= 2
    assert "in step" in bo.shows(capsys, "follow")
    assert Following(Home.open(bo.path).followed_path).authors() == (bytes.fromhex(me),)
    assert bo.says(capsys, "unfollow", me)["follows"] is False
    assert "is not followed" in bo.refuses(capsys, 4, "unfollow", "Anna")
    bo.refuses(capsys, 2, "follow", bo.says(capsys, "id")["author"])
    bo.refuses(capsys, 4, "follow", "Nobody")
    bo.refuses(capsys, 2, "follow", "--list", "Anna")
    # A whole key may be a stranger's: its chain is awaited.
    stranger = SigningKey(b"\x07" * 32).public.hex()
    bo.says(capsys, "follow", stranger)
    assert "awaited" in bo.shows(capsys, "follow")


def test_neighbours_who_joined_see_each_other(neighbours: Street, capsys: Capture) -> None:
    for one in neighbours:
        peers = until(lambda one=one: one.says(capsys, "peers")["peers"])
        assert len(peers) == 1
        assert peers[0]["peer_id"] in one.shows(capsys, "peers")


def test_who_was_joined_is_called_at_the_next_start_too(neighbours: Street) -> None:
    known = [Home.open(one.path).config().bootstrap for one in neighbours]
    assert sum(len(addresses) for addresses in known) == 1, "one of the two has joined the other"
    assert "/p2p/" in next(addresses[0] for addresses in known if addresses)


def test_a_trade_by_hand_from_offer_to_receipt(neighbours: Street, capsys: Capture) -> None:
    anna, bo = neighbours
    quart = ["--amount", "a quart", "--measure", "us", "--price", "4EUR"]
    keeps = ["--best-before", "5 weeks", "--until", "4 weeks"]
    fluid = ["offer", "Brake fluid DOT 4", "--category", "fluids/brake-fluid"]
    lot = anna.says(capsys, *fluid, *quart, *keeps)
    assert lot["lot"]["amount"] == 946
    need = ["request", "Brake fluid", "--category", "fluids/brake-fluid", "--price", "3EUR"]
    wish = bo.says(capsys, *need, "--amount", "473 ml")

    match = until(lambda: bo.says(capsys, "matches", wish["id"][:8])["matches"])[0]
    assert match["offer"]["id"] == lot["id"]
    assert match["amount"] == 473
    assert "take it: passby propose" in bo.shows(capsys, "matches")
    assert "Brake fluid DOT 4" in bo.shows(capsys, "book")
    until(lambda: "473 ml" in anna.shows(capsys, "book", "--wanted", "--category", "fluids"))

    trade = bo.says(capsys, "propose", lot["id"][:8], "--for", wish["id"][:8])
    assert trade["state"] == "PROPOSED"
    mark = trade["id"][:8]
    until(lambda: anna.says(capsys, "trade", "list")["trades"])
    assert f"you: passby accept {mark}" in anna.shows(capsys, "trade", "list")
    early = anna.refuses(capsys, 4, "handover", mark, "--code", "no such words yet")
    assert "turn" in early
    anna.says(capsys, "accept", mark)

    def confirmed() -> Any:
        found = bo.says(capsys, "trade", "show", mark)
        return found if found["code"] and found["legs"][0]["committed"] else None

    code = until(confirmed)["code"]
    assert code in bo.shows(capsys, "trade", "show", mark)
    until(lambda: anna.says(capsys, "trade", "show", mark)["legs"][0]["committed"])
    wrong = anna.refuses(capsys, 4, "handover", mark, "--code", "zoo zoo zoo zoo")
    assert wrong.strip()
    anna.says(capsys, "handover", mark, "--code", f"  {code.upper()} ")
    until(lambda: bo.says(capsys, "trade", "show", mark)["legs"][0]["handed_over"])
    bo.says(capsys, "receive", mark)
    until(lambda: anna.says(capsys, "trade", "show", mark)["legs"][0]["received"])
    assert anna.says(capsys, "receive", mark, "--money")["state"] == "SETTLED"
    until(lambda: bo.says(capsys, "trade", "show", mark)["state"] == "SETTLED")

    (rest,) = anna.says(capsys, "book", "--own")["lots"]
    assert rest["remaining"] == 473
    assert mark[:8] in anna.shows(capsys, "trade", "list", "--all")
    assert "receive" not in anna.shows(capsys, "trade", "list")
    for one in neighbours:
        audit = one.says(capsys, "audit")
        assert (audit["exit"], audit["chains"], audit["trades"]) == (0, 2, 1)
        assert audit["findings"] == []
        assert one.says(capsys, "audit", "--trade", mark, "--signatures")["exit"] == 0
        assert "Clean" in one.shows(capsys, "audit", "--lot", lot["id"][:8])


def test_what_does_not_fit_the_lot_is_refused(street: Street, capsys: Capture) -> None:
    anna, _ = street
    nuts = ["give", "Wheel nuts", "--category", "car/wheels", "--amount", "6 pieces"]
    lot = anna.says(capsys, *nuts)["id"][:8]
    assert "counted in" in anna.refuses(capsys, 2, "propose", lot, "--amount", "1 l")
    assert anna.refuses(capsys, 4, "propose", lot)
    assert anna.refuses(capsys, 4, "propose", "abcdef123456")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (4, "trade show abcdef123456"),
        (4, "accept abcdef123456"),
        (4, "cancel abcdef123456"),
        (4, "ledger show abcdef123456"),
        (4, "ledger log --author abcdef123456"),
        (2, "trade show nonsense"),
        (2, "accept ../status"),
        (2, "join nonsense"),
        (64, "audit --trade nonsense"),
        (64, "audit --trade abcdef123456"),
        (64, "audit --author abcdef123456"),
        (64, "audit --nonsense"),
    ],
)
def test_an_id_that_is_none_or_unknown_says_so(
    street: Street, capsys: Capture, code: int, words: str
) -> None:
    assert street[0].refuses(capsys, code, *words.split())


def test_the_ledger_can_be_looked_into_and_taken_away(
    street: Street, capsys: Capture, tmp_path: Path
) -> None:
    anna, _ = street
    anna.says(capsys, "give", "Chairs", "--category", "home")
    entries = anna.says(capsys, "ledger", "log")
    assert entries[0]["payload"]["name"] == "Chairs"
    assert entries[-1]["type_name"] == "genesis"
    shown = anna.says(capsys, "ledger", "show", entries[0]["id"][:10])
    assert shown["id"] == entries[0]["id"]
    assert "payload.name" in anna.shows(capsys, "ledger", "show", entries[0]["id"])
    assert "Anna" in anna.shows(capsys, "ledger", "heads")
    file = tmp_path / "chains.ndjson"
    told = anna.says(capsys, "ledger", "export", "--out", str(file))
    records = [json.loads(line)["record"] for line in file.read_text().splitlines()]
    assert told["records"] == len(records) >= len(entries)
    assert shown["raw"] in "".join(records)
    again = [json.loads(line)["record"] for line in anna.shows(capsys, "ledger", "export").split()]
    assert set(records) <= set(again)


def test_an_import_takes_the_good_rows_and_names_the_others(
    street: Street, capsys: Capture, tmp_path: Path
) -> None:
    anna, _ = street
    table = tmp_path / "lots.csv"
    rows = [f"Thing {number},4006381333931,{number + 1} ml" for number in range(1200)]
    rows[6] = "Wrong digit,4006381333932,5 ml"
    rows[9] = "No amount,4006381333931,0 ml"
    table.write_text("title,code,amount\n" + "\n".join(rows) + "\n")
    before = len(anna.says(capsys, "book", "--own", "--limit", "1000")["lots"])
    mapped = ["--map", "name=title", "--map", "gtin=code", "--set", "price=1EUR"]
    *bad, summary = anna.says(capsys, "import", str(table), *mapped)
    assert [row["line"] for row in bad] == [8, 11]
    assert (summary["taken"], summary["left_out"]) == (1198, 2)
    assert before < len(anna.says(capsys, "book", "--own", "--limit", "1000")["lots"])


def test_doctor_asks_the_daemon_too(neighbours: Street, capsys: Capture) -> None:
    anna, _ = neighbours
    told = anna.says(capsys, "doctor")
    names = {check["name"] for check in told["checks"]}
    assert told["ok"]
    assert {"home", "keys", "database", "daemon", "own chain", "peers"} <= names


def test_a_person_can_say_that_the_clock_is_right(street: Street, capsys: Capture) -> None:
    anna, _ = street
    assert "signs by this clock" in anna.shows(capsys, "doctor", "--accept-clock")
    assert anna.code("doctor", "--accept-clock", "--mend") == 2


def test_a_taken_port_is_named_and_so_is_the_log(tmp_path: Path, capsys: Capture) -> None:
    import socket

    one = Neighbour(tmp_path / "c", "Cas", "52.375,4.884")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, said = one.up("--listen", f"/ip4/127.0.0.1/tcp/{port}")
    assert code == 1
    assert not out
    assert str(port) in json.loads(said)["error"]["message"]
    assert Home.open(one.path).daemon_pid() is None


def test_down_ends_the_daemon_and_frees_the_home(tmp_path: Path, capsys: Capture) -> None:
    one = Neighbour(tmp_path / "d", "Dee", "52.375,4.884")
    up = json.loads(one.up()[1])
    assert up["log"] == str(one.path / "log")
    assert Home.open(one.path).daemon_pid() == up["pid"]
    assert one.says(capsys, "down") == {"stopped": True, "pid": up["pid"]}
    assert Home.open(one.path).daemon_pid() is None
    assert "passby up" in one.refuses(capsys, 3, "status")
    assert "passby up" in one.refuses(capsys, 3, "down")
