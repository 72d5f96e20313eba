"""Every command: it has --json and an example that its own parser takes, and it is documented."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from passby.node.cli import COMMANDS, Commands, passby, run
from passby.node.cli.frame import Command, Group, Session

DOCS = Path(__file__).parents[2] / "docs" / "COMMANDS.md"
WANTED = (
    "init up down status id peers join invite vouch follow unfollow reputation doctor config "
    "device backup restore offer request give import watch export book matches wish garage "
    "ride commute propose accept handover return putback receive say quote bid quotes cancel "
    "trade witness policy ledger audit erase proof bench demo version"
    " rate close dispute"
)


def walk() -> Iterator[tuple[str, Command]]:
    for name in COMMANDS:
        found = passby.get_command(click.Context(passby), name)
        match found:
            case Group():
                for below in found.commands.values():
                    assert isinstance(below, Command)
                    yield f"{name} {below.name}", below
            case Command():
                yield name, found
            case _:
                raise AssertionError(name)


EVERY = list(walk())
NAMES = [name for name, _ in EVERY]


def test_the_commands_are_the_promised_ones() -> None:
    assert set(COMMANDS) == set(WANTED.split())
    assert isinstance(passby, Commands)


@pytest.mark.parametrize(("name", "command"), EVERY, ids=NAMES)
def test_every_command_has_json_and_a_sentence(name: str, command: Command) -> None:
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {"--json", "--home"} <= flags
    assert command.help


@pytest.mark.parametrize(("name", "command"), EVERY, ids=NAMES)
def test_every_command_has_an_example_that_its_parser_takes(name: str, command: Command) -> None:
    assert command.examples
    text = "\n".join(command.examples).replace("\\\n", " ")
    for line in text.splitlines():
        words = shlex.split(line.split(" > ")[0])
        assert words[0] == "passby"
        at = 3 if words[1] == "--home" else 1
        assert " ".join(words[at:]).startswith(name)
        given = words[at + len(name.split()) :]
        # Files of examples need not exist.
        parser = command.make_parser(click.Context(command))
        parser.parse_args(list(given))


@pytest.mark.parametrize("name", NAMES)
def test_every_commands_help_shows_its_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert "--json" in shown
    assert f"passby {name}" in shown.split("Example")[1] or name == "init"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_documented(name: str) -> None:
    assert f"passby {name}" in DOCS.read_text(encoding="utf-8")


def test_every_command_has_a_section() -> None:
    text = DOCS.read_text(encoding="utf-8")
    headings = {line.lstrip("#").strip() for line in text.splitlines() if line.startswith("##")}
    assert set(COMMANDS) <= {heading.strip("`") for heading in headings}


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert "..." not in shown.split("Commands:")[1], "a first sentence that does not fit a line"


def test_status_imports_nothing_that_takes_long() -> None:
    """What keeps it under 150 ms: none of these is needed to ask the daemon how it is."""
    code = (
        "import sys\nfrom passby.node.cli import run\n"
        "run(['--home', '/nowhere/at/all', 'status'])\n"
        "import passby.node.client, passby.node.cli.running, passby.node.cli.show\n"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"h3", "libp2p", "msgpack", "msgspec", "nacl", "numpy", "rich", "sqlite3", "trio"}
    assert not heavy & set(done.stdout.splitlines())
    assert "no passby home" in done.stderr


SOURCES = Path(__file__).parents[2] / "src" / "passby" / "node"
HINTED = sorted(
    {
        found
        for path in SOURCES.rglob("*.py")
        for found in re.findall(r"`passby ([a-z][^`{}]*)`", path.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("hinted", HINTED)
def test_every_command_that_a_text_names_exists_with_its_options(hinted: str) -> None:
    known = dict(EVERY)
    name, *words = shlex.split(hinted)
    if f"{name} {words[0] if words else ''}" in known:
        name = f"{name} {words[0]}"
    flags = {flag for parameter in known[name].params for flag in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= flags


def test_a_hint_names_the_home_of_the_call_and_not_that_of_another(tmp_path: Path) -> None:
    session = Session(tmp_path, as_json=False)
    told = session.addressed("`passby book` here, `passby device add KEY` there.")
    assert told == f"`passby book --home {tmp_path}` here, `passby device add KEY` there."
    assert Session(None, as_json=False).addressed("`passby book`") == "`passby book`"


def test_a_track_without_times_is_refused_by_the_name_of_its_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track = tmp_path / "track.csv"
    track.write_text("lat,lon\n52.3,4.8\n", encoding="utf-8")
    assert run(["commute", "--learn", str(track)]) == 2
    assert "the column 'time' is missing" in capsys.readouterr().err
