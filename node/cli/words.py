"""The person's 24 words, typed, from a file or from stdin, and never on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from passby.node.cli.frame import Session
from passby.protocol.errors import Exit, LocalError, UsageError

if TYPE_CHECKING:
    from passby.protocol.keys import SigningKey

# A command line is seen by every process of the machine and kept by the shell.
words_option = click.option(
    "--words-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Read the 24 words from this file, or from stdin with -; asked for otherwise.",
)


def root_of_words(session: Session, words_file: Path | None) -> SigningKey:
    """Return the person's root key from its words.

    Raises:
        UsageError: nobody can be asked, or the words do not fit together.
        LocalError: the file cannot be read.
    """
    from passby.protocol.keys import root_from_words

    return root_from_words(_read(session, words_file))


def _read(session: Session, words_file: Path | None) -> str:
    if words_file is None:
        if not session.can_ask:
            raise UsageError("The 24 words are missing.", "Give a file of them: --words-file FILE")
        typed: str = click.prompt("Your 24 words", hide_input=True)
        return typed
    try:
        if str(words_file) == "-":
            return sys.stdin.read()
        return words_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise LocalError(
            f"{words_file} cannot be read: {reason}.", "Give the file of your words.", Exit.IO
        ) from error
