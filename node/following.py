"""Whom the person follows by name, kept in the home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from passby.node.private import PrivateFile
from passby.protocol.errors import RefusedError
from passby.protocol.limits import FOLLOWED_MAX

Key = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Followed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One author, in hex, and since when, Unix milliseconds."""

    author: Key
    since_ms: int

    @property
    def key(self) -> bytes:
        """The author's key."""
        return bytes.fromhex(self.author)


class Following:
    """The authors followed, in the order in which that began.

    Args:
        path: the private file that keeps them; None keeps them in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file: PrivateFile[tuple[Followed, ...]] = PrivateFile(path, tuple[Followed, ...], ())
        self._on_changed: list[Callable[[], None]] = []

    def on_changed(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever one is added or taken out."""
        self._on_changed.append(tell)

    def all(self) -> tuple[Followed, ...]:
        """Return the authors followed.

        Raises:
            ConfigError: the file cannot be read.
        """
        return self._file.read()[:FOLLOWED_MAX]

    def authors(self) -> tuple[bytes, ...]:
        """Return their keys."""
        return tuple(one.key for one in self.all())

    def add(self, author: bytes, now_ms: int) -> bool:
        """Follow an author; False if that is so already. On disk when this returns.

        Raises:
            RefusedError: FOLLOWED_MAX are followed.
            LocalError: the disk is full or failing.
        """
        held = self.all()
        if author in self.authors():
            return False
        if len(held) >= FOLLOWED_MAX:
            raise RefusedError(
                f"{FOLLOWED_MAX} authors are followed already.", "End one: passby unfollow AUTHOR"
            )
        self._write((*held, Followed(author.hex(), now_ms)))
        return True

    def remove(self, author: bytes) -> bool:
        """Follow an author no longer; False if it was not followed.

        Raises:
            LocalError: the disk is full or failing.
        """
        left = tuple(one for one in self.all() if one.key != author)
        if len(left) == len(self.all()):
            return False
        self._write(left)
        return True

    def _write(self, followed: tuple[Followed, ...]) -> None:
        self._file.write(followed)
        for tell in self._on_changed:
            tell()
