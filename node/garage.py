"""Own vehicles and devices, kept at home, and which of them a product says it fits.

An offer may say what it fits: "VW Golf 2003-2009". Here such words are held against the own
things; nobody hears what those are. All words must be there, in any order; a span of years
takes in the years of a thing that names one.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from passby.node.private import PrivateFile
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.limits import GARAGE_MAX

_YEARS: Final = re.compile(r"((?:19|20)[0-9]{2})-((?:19|20)[0-9]{2})?")
_YEAR: Final = re.compile(r"(?:19|20)[0-9]{2}")
_NAME_MAX: Final = 64
_LAST_YEAR: Final = 2099


class Thing(msgspec.Struct, frozen=True):
    """Something of one's own: "VW Golf 2009"."""

    id: Annotated[str, Meta(max_length=12)]
    name: Annotated[str, Meta(max_length=_NAME_MAX)]


def words_of(text: str) -> list[str]:
    """Return the words of a name, for comparing: "Saab 9-3" is saab, 9-3."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2013", "-")
    return [word for word in re.split(r"[\s,;/()]+", plain) if word]


def fits(said: str, name: str) -> bool:
    """Tell whether what a product says it fits takes in the thing called `name`.

    Where `said` names years, a thing that names none may be of any year.
    """
    have = words_of(name)
    years = [int(word) for word in have if _YEAR.fullmatch(word)]
    asked = words_of(said)
    plain = False
    for word in asked:
        span = _YEARS.fullmatch(word)
        if span or _YEAR.fullmatch(word):
            first = int(span[1] if span else word)
            last = int(span[2] or _LAST_YEAR) if span else first
            if years and not any(first <= year <= last for year in years):
                return False
        elif word not in have:
            return False
        else:
            plain = True
    return plain


class Garage:
    """The things that are kept privately.

    Args:
        path: the private file; None keeps them in memory.
    """

    def __init__(self, path: Path | None) -> None:
        empty: tuple[Thing, ...] = ()
        self._file: PrivateFile[tuple[Thing, ...]] = PrivateFile(path, tuple[Thing, ...], empty)

    def held(self) -> tuple[Thing, ...]:
        """Return all things, the oldest first.

        Raises:
            ConfigError: their file cannot be read.
        """
        return self._file.read()

    def add(self, name: str) -> Thing:
        """Keep a thing.

        Raises:
            UsageError: a name without words, or too long.
            RefusedError: there are GARAGE_MAX already.
            LocalError: the disk.
        """
        plain = " ".join(unicodedata.normalize("NFC", name).split())
        if not any(not _YEAR.fullmatch(word) for word in words_of(plain)):
            raise UsageError("A thing needs a name.", 'passby garage add "VW Golf 2009"')
        if len(plain) > _NAME_MAX:
            raise UsageError(f"A thing's name has at most {_NAME_MAX} characters.", "Shorten it.")
        kept = self.held()
        if len(kept) >= GARAGE_MAX:
            raise RefusedError(f"{GARAGE_MAX} things are kept already.", "Drop one of them.")
        thing = Thing(secrets.token_hex(4), plain)
        self._file.write((*kept, thing))
        return thing

    def drop(self, thing_id: str) -> Thing:
        """Forget a thing, by its id or the beginning of it.

        Raises:
            RefusedError: there is none, or several.
        """
        kept = self.held()
        found = [thing for thing in kept if thing_id and thing.id.startswith(thing_id)]
        if len(found) != 1:
            raise RefusedError(
                f"{len(found) or 'No'} things have an id that begins with “{thing_id[:20]}”.",
                "`passby garage list` shows them.",
            )
        self._file.write(tuple(thing for thing in kept if thing is not found[0]))
        return found[0]

    def fitted(self, said: Iterable[str]) -> list[str]:
        """Return the names of the own things that a product fits which says `said`."""
        named = list(said)
        if not named:
            return []
        return [thing.name for thing in self.held() if any(fits(one, thing.name) for one in named)]
