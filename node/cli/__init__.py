"""The command line. Each command's module is imported when it is called, not before.

`passby status` has to answer while one is still lifting the finger, so nothing here may
import the network, the arrays or the store; tests/test_house.py holds it to that.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

import click

from passby.protocol.errors import Exit, LocalError

COMMANDS: Final[dict[str, str]] = {
    "init": "setup",
    "up": "running",
    "down": "running",
    "status": "running",
    "id": "running",
    "peers": "neighbours",
    "join": "neighbours",
    "invite": "neighbours",
    "vouch": "neighbours",
    "follow": "following",
    "unfollow": "following",
    "reputation": "neighbours",
    "doctor": "doctor",
    "config": "setup",
    "device": "devices",
    "backup": "keeping",
    "restore": "keeping",
    "offer": "lots",
    "request": "lots",
    "give": "lots",
    "import": "loading",
    "watch": "loading",
    "export": "loading",
    "book": "market",
    "matches": "market",
    "wish": "wants",
    "garage": "wants",
    "ride": "riding",
    "commute": "riding",
    "propose": "trades",
    "accept": "trades",
    "handover": "trades",
    "return": "trades",
    "putback": "trades",
    "receive": "trades",
    "say": "talking",
    "quote": "talking",
    "bid": "talking",
    "quotes": "talking",
    "rate": "talking",
    "dispute": "receipts",
    "close": "talking",
    "cancel": "trades",
    "trade": "trades",
    "witness": "witnesses",
    "policy": "witnesses",
    "ledger": "chains",
    "audit": "auditing",
    "erase": "erasing",
    "proof": "proving",
    "bench": "playing",
    "demo": "playing",
    "version": "running",
}
"""Every command, in the order of a first evening with passby, and the module that holds it."""

SHELL_WORDS: Final = frozenset({"passby", "chmod", "sudo", "kill", "pip"})
"""With which a hint begins that is a command to copy."""

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""


class Commands(click.Group):
    """The group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order they are listed."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"passby.node.cli.{COMMANDS[cmd_name]}")
        found = getattr(module, f"{cmd_name}_command")
        return found if isinstance(found, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the one that was probably meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            meant = f"Did you mean `passby {close[0]}`?" if close else "passby --help lists them."
            raise LocalError(f"There is no command {args[0]!r}.", meant, Exit.USAGE)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Each command has --help with an example, and --json. Without a terminal, tables "
    "lose their colours and nothing is asked.",
)
@click.option(
    "--home",
    "home_path",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The home folder; else $PASSBY_HOME, else the user's data folder.",
)
@click.version_option(package_name="passby", prog_name="passby", message="%(prog)s %(version)s")
@click.pass_context
def passby(ctx: click.Context, home_path: Path | None) -> None:
    """A real-time micro-marketplace with nobody in the middle."""
    ctx.obj = home_path
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has gone; without this the interpreter would complain at its very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(args: list[str]) -> int:
    """Run one command; return its exit code. What goes wrong is said on stderr, in two lines."""
    as_json = "--json" in (args[: args.index("--")] if "--" in args else args)
    debug = bool(os.environ.get("PASSBY_DEBUG"))
    try:
        code = passby.main(args=args, prog_name="passby", standalone_mode=False)
    except LocalError as error:
        if debug:
            raise
        return complain(error, as_json=as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return Exit.USAGE
    except click.ClickException as error:
        return complain(_misuse(error, args), as_json=as_json)
    except click.Abort:
        # The terminal shows ^C on a line that nobody ended.
        click.echo(err=True)
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        return complain(_bug(error), as_json=as_json)
    return code if isinstance(code, int) else 0


def complain(error: LocalError, *, as_json: bool) -> int:
    """Say on stderr what is wrong and what to do; return the exit code."""
    from passby.node.cli.frame import clean

    message, hint = _sentence(error.message), _sentence(error.hint, hint=True)
    if as_json:
        import json

        fault = {
            "message": message,
            "hint": hint,
            "exit_code": int(error.exit_code),
        }
        click.echo(json.dumps({"error": fault}), err=True)
        return error.exit_code
    click.echo(click.style("passby: ", fg="red") + clean(message), err=True)
    if hint:
        click.echo(f"  {clean(hint)}", err=True)
    return error.exit_code


def _sentence(text: str, *, hint: bool = False) -> str:
    """Return a clause as a sentence; a hint that is a command stays as it is typed."""
    first = text.split(" ", 1)[0]
    if first.isalpha() and not (hint and first in SHELL_WORDS):
        text = text[0].upper() + text[1:]
    # A hint may end in what is to be copied, where a full stop would be copied too.
    return text if hint or not text or text[-1] in ".!?:)" else f"{text}."


def _misuse(error: click.ClickException, args: list[str]) -> LocalError:
    asked = next((word for word in args if word in COMMANDS), None)
    where = f"passby {asked}" if asked else "passby"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        where = error.ctx.command_path
    code = Exit.USAGE if error.exit_code == Exit.USAGE else Exit.FAILED
    if asked == "audit":
        code = Exit.AUDIT_USAGE
    return LocalError(error.format_message(), f"{where} --help shows how.", code)


def _bug(error: Exception) -> LocalError:
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return LocalError(f"The system refused: {what}.", "", Exit.IO)
    return LocalError(
        f"Something is wrong in passby itself: {type(error).__name__}: {error}",
        "PASSBY_DEBUG=1 shows where; please report it.",
    )
