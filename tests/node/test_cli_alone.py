"""The command line with no daemon there: homes, choices, faults and their exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from passby.node.cli import run
from passby.node.home import Home
from passby.protocol.keys import Certificate, root_from_words

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, capsys: Capture) -> Path:
    path = tmp_path / "home"
    given = ["--at", "52.375,4.884", "--name", "Anna", "--yes", "--no-mdns"]
    assert run(["--home", str(path), "init", *given]) == 0
    capsys.readouterr()
    return path


def test_init_makes_a_home_and_shows_the_words_once(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "home"
    given = ["--at", "52.375,4.884", "--name", "Jose\u0301", "--yes", "--json"]
    assert run(["init", "--home", str(path), *given]) == 0
    told = json.loads(capsys.readouterr().out)
    home = Home.open(path)
    assert told["home"] == str(path)
    assert told["name"] == home.config().name == "Jos\u00e9"
    assert told["cell"] == home.config().cell
    certificate = Certificate.parse(home.certificate)
    assert root_from_words(told["words"]).public == certificate.root
    assert told["author"] == certificate.device.hex()


def test_init_shows_all_words_to_people(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "home"
    assert run(["--home", str(path), "init", "--at", "52.375,4.884", "--name", "A", "--yes"]) == 0
    shown = capsys.readouterr().out
    words = [line.split() for line in shown.splitlines() if line.startswith("  ")]
    flat = [word for line in words for word in line if word.isalpha()]
    assert (
        root_from_words(" ".join(flat[:24])).public
        == Certificate.parse(Home.open(path).certificate).root
    )
    assert "write them down" in shown


def test_the_environment_names_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("PASSBY_HOME", str(tmp_path / "mine"))
    assert run(["init", "--at", "52.375,4.884", "--name", "A", "--yes"]) == 0
    assert (tmp_path / "mine" / "config.toml").exists()
    assert "passby up\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--name", "A", "--yes"], 2, "--at 52.375,4.884"),
        (["--at", "52.375,4.884", "--yes"], 2, "--name NAME"),
        (["--at", "152.375,4.884", "--name", "A", "--yes"], 2, "latitude"),
        (["--at", "somewhere", "--name", "A", "--yes"], 2, "no place"),
        (["--at", "52.375,4.884", "--name", "", "--yes"], 2, "Name is 1 to 120"),
        (["--at", "52.375,4.884", "--name", "A", "--currency", "euro"], 2, "Currency"),
        (["--at", "52.375,4.884", "--name", "A", "--listen", "here:4411"], 2, "/ip4/0.0.0.0"),
        (["--at", "52.375,4.884", "--name", "A", "--bootstrap", "here"], 2, "12D3"),
    ],
)
def test_an_init_that_cannot_be_leaves_nothing(
    tmp_path: Path, capsys: Capture, given: list[str], code: int, said: str
) -> None:
    path = tmp_path / "home"
    assert run(["--home", str(path), "init", *given]) == code
    assert said in capsys.readouterr().err
    assert not path.exists()


def test_a_second_init_is_refused(home: Path, capsys: Capture) -> None:
    given = ["--at", "52.375,4.884", "--name", "B", "--yes"]
    assert run(["--home", str(home), "init", *given]) == 4
    assert "already" in capsys.readouterr().err
    assert Home.open(home).config().name == "Anna"


@pytest.mark.parametrize(
    "words",
    [
        "status", "id", "peers", "join X", "invite", "book", "matches", "propose abcdef12",
        "accept abcdef12", "handover abcdef12 --code a", "receive abcdef12", "cancel abcdef12",
        "trade list", "trade show abcdef12", "ledger log", "ledger heads", "ledger show abcdef12",
        "ledger export", "down", "give nuts --category car",
    ],
)  # fmt: skip
def test_without_a_daemon_every_command_says_how_to_start_it(
    home: Path, capsys: Capture, words: str
) -> None:
    assert run(["--home", str(home), *words.split()]) == 3
    shown = capsys.readouterr()
    assert not shown.out
    message, hint = shown.err.splitlines()
    assert message == f"passby: The node of {home} is not running."
    assert hint == f"  Start it: passby up --home {home}"


def test_errors_are_json_where_json_is_asked_for(home: Path, capsys: Capture) -> None:
    assert run(["status", "--json", "--home", str(home)]) == 3
    shown = capsys.readouterr()
    assert not shown.out
    fault = json.loads(shown.err)["error"]
    assert fault["exit_code"] == 3
    assert fault["message"]
    assert "passby up" in fault["hint"]


def test_a_socket_nobody_listens_on_is_no_daemon(home: Path, capsys: Capture) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(Home.open(home).socket_path))
    assert run(["--home", str(home), "status"]) == 3
    assert "passby up" in capsys.readouterr().err


def test_an_open_home_is_refused_with_the_mend(home: Path, capsys: Capture) -> None:
    home.chmod(0o755)
    assert run(["--home", str(home), "status"]) == 78
    assert capsys.readouterr().err.splitlines()[1] == f"  chmod 700 {home}"


@pytest.mark.parametrize(
    ("join", "hint"),
    [("foo", "/p2p/"), ("/ip4/127.0.0.1/tcp/4411", "/p2p/"), ("passby://join/x", "whole link")],
)
def test_up_refuses_to_dial_for_ever_what_is_no_address(
    home: Path, capsys: Capture, join: str, hint: str
) -> None:
    assert run(["--home", str(home), "up", "--join", join]) == 2
    assert hint in capsys.readouterr().err


def test_errors_are_sentences_and_commands_stay_as_they_are_typed(
    home: Path, capsys: Capture
) -> None:
    assert run(["--home", str(home), "offer", "Oil", "--amount", "0 ml", "--price", "4EUR"]) == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert message == 'passby: "0 ml" is less than the least amount, 1 ml.'
    assert hint == "  Give a larger amount"
    home.chmod(0o755)
    assert run(["--home", str(home), "status"]) == 78
    assert capsys.readouterr().err.splitlines()[1] == f"  chmod 700 {home}"


def test_no_home_is_bad_configuration(tmp_path: Path, capsys: Capture) -> None:
    assert run(["--home", str(tmp_path / "none"), "status"]) == 78
    assert "passby init" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], "Did you mean `passby status`?"),
        (["config", "set"], "passby config set --help"),
        (["status", "--nonsense"], "passby status --help"),
        (["receive", "abcdef", "--paid", "2EUR"], "--money"),
        (["bench", "network"], "ledger"),
        (["trade"], "list"),
        ([], "offer"),
    ],
)
def test_a_command_that_cannot_be_read_is_usage(
    capsys: Capture, words: list[str], said: str
) -> None:
    assert run(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err + shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--amount", "3 furlongs", "--price", "4EUR"], "not a unit"),
        (["--amount", "0 ml", "--price", "4EUR"], "less than the least"),
        (["--amount", "half a quart", "--price", "4EUR"], "--measure"),
        (["--amount", "946 ml", "--price", "4XYZ"], "not a currency"),
        (["--amount", "946 ml", "--price", "4.999EUR"], "decimals"),
        (["--amount", "946 ml", "--price", "4EUR per kg"], "per 1 kg"),
        (["--amount", "946 ml", "--price", "4EUR", "--best-before", "2001-01-01"], "over"),
        (["--amount", "946 ml", "--price", "4EUR", "--until", "2001-01-01"], "over"),
        (["--amount", "946 ml", "--price", "4EUR", "--gtin", "4006381333932"], "check digit"),
        (["--amount", "946 ml", "--price", "4EUR", "--minimum", "1 l"], "more than there is"),
        (["--amount", "946 ml", "--price", "4EUR", "--step", "3 g"], "not counted in ml"),
        (["--amount", "946 ml", "--price", "4EUR", "--window", "soon"], "not a span"),
        (["--amount", "946 ml", "--price", "4EUR", "--at", "there"], "no place"),
        (["--amount", "946 ml", "--price", "4EUR", "--radius", "2 l"], "not counted in m"),
        (["--amount", "946 ml"], "--price 4EUR"),
    ],
)
def test_a_lot_that_cannot_be_is_refused_before_anybody_hears_of_it(
    home: Path, capsys: Capture, words: list[str], said: str
) -> None:
    given = ["offer", "Brake fluid", "--category", "fluids", *words]
    assert run(["--home", str(home), *given]) == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert said in message + hint
    assert hint.strip()


def test_choices_are_read_changed_and_checked(home: Path, capsys: Capture) -> None:
    at = ["--home", str(home)]
    assert run(["config", "set", "currency", "GBP", *at]) == 0
    assert run(["config", "get", "currency", "--json", *at]) == 0
    assert run(["config", "path", *at]) == 0
    assert run(["config", "check", *at]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "currency is GBP now."
    assert json.loads(lines[1]) == {"currency": "GBP"}
    assert lines[2] == str(home / "config.toml")
    assert run(["config", "set", "curency", "GBP", *at]) == 2
    assert "'currency'" in capsys.readouterr().err
    with (home / "config.toml").open("a", encoding="utf-8") as file:
        file.write("radius = 3\n")
    assert run(["config", "check", *at]) == 78
    assert "radius_m" in capsys.readouterr().err


def test_doctor_works_without_a_daemon_and_names_each_mend(home: Path, capsys: Capture) -> None:
    at = ["--home", str(home), "--json"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run(["config", "set", "listen", f"/ip4/127.0.0.1/tcp/{port}", *at])
        capsys.readouterr()
        assert run(["doctor", *at]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert {name for name, check in checks.items() if not check["ok"]} == {"daemon", f"port {port}"}
    assert "passby up" in checks["daemon"]["mend"]
    assert checks[f"port {port}"]["mend"]


@pytest.mark.parametrize(
    ("name", "damage", "ill"),
    [
        ("keys/ledger.key", "cd" * 32, "keys"),
        ("certificate", "x" * 200, "keys"),
        ("passby.db", "this is no database " * 100, "database"),
        ("config.toml", "name = 5", "config"),
    ],
)
def test_doctor_finds_what_is_damaged(
    home: Path, capsys: Capture, name: str, damage: str, ill: str
) -> None:
    (home / name).write_text(damage)
    (home / name).chmod(0o600)
    assert run(["doctor", "--json", "--home", str(home)]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert not checks[ill]["ok"]
    assert checks[ill]["mend"]


def test_doctor_sees_a_clock_that_was_set_back(home: Path, capsys: Capture) -> None:
    later = (home / "config.toml").stat().st_mtime + 7200
    os.utime(home / "certificate", (later, later))
    assert run(["doctor", "--json", "--home", str(home)]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert "2.0 h later" in checks["clock"]["detail"]


def test_a_bug_shows_one_line_and_no_traceback(
    home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_(_: object) -> None:
        raise ZeroDivisionError("seven")

    monkeypatch.setattr(Home, "open", break_)
    assert run(["status", "--home", str(home)]) == 1
    assert "ZeroDivisionError: seven" in capsys.readouterr().err
    monkeypatch.setenv("PASSBY_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["status", "--home", str(home)])


def test_an_import_without_a_daemon_loses_no_time_with_the_file(
    home: Path, capsys: Capture, tmp_path: Path
) -> None:
    table = tmp_path / "lots.csv"
    table.write_text("name,price\nnuts,1EUR\n")
    assert run(["import", str(table), "--home", str(home)]) == 3


def test_a_dry_run_needs_no_daemon_and_names_bad_rows_by_line(
    home: Path, capsys: Capture, tmp_path: Path
) -> None:
    table = tmp_path / "lots.csv"
    table.write_text("product,price\nnuts,1EUR\nbolts,1XYZ\nscrews,2EUR\n")
    words = ["import", str(table), "--map", "name=product", "--dry-run", "--home", str(home)]
    assert run(words) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("line 3: ")
    assert shown.out.startswith("2 can be read, 1 left out")
    assert run([*words, "--json"]) == 0
    bad, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert bad["line"] == 3
    assert (summary["taken"], summary["left_out"]) == (2, 1)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--map", "name"], 2, "name=product_name"),
        (["--map", "name=nothing"], 2, 'no column "nothing"'),
        (["--set", "colour=red"], 2, "not a field"),
        (["--set", "price=XYZ"], 2, "not a price"),
        (["--set", "at=Atlantis"], 4, "line 2"),
    ],
)
def test_an_import_that_cannot_be_says_why(
    home: Path, capsys: Capture, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    table = tmp_path / "lots.csv"
    table.write_text("name\nnuts\n")
    price = [] if "price=XYZ" in words else ["--set", "price=1EUR"]
    assert run(["import", str(table), "--home", str(home), *price, "--dry-run", *words]) == code
    shown = capsys.readouterr()
    assert said in shown.err


def test_a_reader_that_goes_away_is_not_an_error_worth_a_word(home: Path) -> None:
    command = [sys.executable, "-m", "passby.node.cli", "--home", str(home), "config", "get"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""


def test_ctrl_c_ends_quietly_with_130(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(Home.open(home).socket_path))
        mute.listen()
        command = [sys.executable, "-m", "passby.node.cli", "--home", str(home), "status"]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as child:
            asking, _ = mute.accept()
            with asking:
                child.send_signal(signal.SIGINT)
                child.wait()
            assert child.stderr is not None
            assert child.stderr.read().strip() == b""
        assert child.returncode == 130
