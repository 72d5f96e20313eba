"""What every command shares: --home and --json, its example, its output and its questions."""

from __future__ import annotations

import functools
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from passby.node.home import Home, default_path
from passby.protocol.errors import LocalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from passby.node.client import Client

F = TypeVar("F", bound="Callable[..., Any]")


class Command(click.Command):
    """A click command that ends its help with examples."""

    examples: tuple[str, ...] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the options."""
        super().format_epilog(ctx, formatter)
        _write_examples(self.examples, formatter)


def _write_examples(examples: tuple[str, ...], formatter: click.HelpFormatter) -> None:
    with formatter.section("Example" if len(examples) == 1 else "Examples"):
        for line in examples:
            # Not wrapped: what is copied must work.
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Group(click.Group):
    """A command that only holds others, such as `trade`."""

    examples: tuple[str, ...] = ()

    def add(self, name: str, *examples: str) -> Callable[[F], Command]:
        """Make a subcommand of a function; see `command`."""

        def make(function: F) -> Command:
            made = command(name, *examples)(function)
            self.add_command(made)
            return made

        return make

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the subcommands."""
        super().format_epilog(ctx, formatter)
        _write_examples(self.examples, formatter)
        formatter.write("\nEach of them has --json.\n")


ELSEWHERE: Final = ("init", "backup", "device add", "witness key")
"""Commands that a hint names for another home than the one at hand."""


class Session:
    """One call of the command line: which home, and how to speak."""

    def __init__(self, told: Path | None, *, as_json: bool) -> None:
        self.told = told
        self.path = told.expanduser().absolute() if told else default_path()
        self.as_json = as_json

    @functools.cached_property
    def home(self) -> Home:
        """The home, opened.

        Raises:
            ConfigError: there is none, or it is open to others.
        """
        return Home.open(self.path)

    @functools.cached_property
    def client(self) -> Client:
        """What speaks with the daemon of this home."""
        from passby.node.client import Client

        return Client(self.home, self.line("up"))

    def get(self, path: str, **query: Any) -> Any:
        """Return the daemon's answer; keys whose value is None are left out."""
        return self.client.call("GET", path, query=query)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send `body` to the daemon and return its answer."""
        return self.client.call("POST", path, body=body or {})

    @staticmethod
    def identity(text: str) -> str:
        """Return what may be (the beginning of) an id.

        Raises:
            UsageError: it cannot be one.
        """
        plain = text.strip().lower().rstrip("…")
        if not re.fullmatch(r"[0-9a-f]{6,64}", plain):
            raise UsageError(
                f"{text!r} is no id.", "An id is hexadecimal; six digits of it are enough."
            )
        return plain

    def line(self, command: str) -> str:
        """Return `command` as the user would type it for this home."""
        return f"passby {command}" + (f" --home {self.told}" if self.told else "")

    def addressed(self, hint: str) -> str:
        """Return a hint with this home in the commands that are meant for it."""
        return re.sub(
            r"`passby ([^`]+)`",
            lambda found: (
                found[0] if found[1].startswith(ELSEWHERE) else f"`{self.line(found[1])}`"
            ),
            hint,
        )

    def out(self, answer: Any, lines: Callable[[], list[str]]) -> None:
        """Print `answer` as one line of JSON, or the lines for people."""
        if self.as_json:
            self.emit(answer)
            return
        for line in lines():
            click.echo(line)

    def emit(self, record: Any) -> None:
        """Print one record of JSON on a line of its own."""
        # ASCII only: text that peers wrote must not steer anybody's terminal.
        click.echo(json.dumps(record))

    def note(self, text: str) -> None:
        """Say something by the way, on stderr, to people only."""
        if not self.as_json:
            click.echo(text, err=True)

    @property
    def can_ask(self) -> bool:
        """Whether somebody sits there to answer."""
        return not self.as_json and sys.stdin.isatty() and sys.stdout.isatty()

    def ask(self, question: str, otherwise: str) -> str:
        """Return what the person answers.

        Args:
            question: as it is shown.
            otherwise: what to give on the command line where nobody can be asked.

        Raises:
            UsageError: nobody can be asked.
        """
        if not self.can_ask:
            raise UsageError(f"{question} is missing.", f"Give it: {otherwise}")
        answer: str = click.prompt(question)
        return answer.strip()


def command(name: str, *examples: str) -> Callable[[F], Command]:
    """Make a command of a function that takes a Session, then what click gives it."""

    def make(function: F) -> Command:
        @click.option("--json", "as_json", is_flag=True, help="Print JSON; errors too, on stderr.")
        @click.option(
            "--home",
            "home_path",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="The home folder; else $PASSBY_HOME, else the user's data folder.",
        )
        @click.pass_context
        @functools.wraps(function)
        def run(
            ctx: click.Context, /, home_path: Path | None, *, as_json: bool, **given: Any
        ) -> Any:
            session = Session(home_path or ctx.find_object(Path), as_json=as_json)
            try:
                return function(session, **given)
            except LocalError as error:
                error.hint = session.addressed(error.hint)
                raise

        made = click.command(name, cls=Command)(run)
        # What the command is about comes first in its help.
        made.params = [*made.params[2:], *made.params[:2]]
        made.examples = examples
        return made

    return make


def clean(text: str) -> str:
    """Return text from elsewhere without what could steer the terminal."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
