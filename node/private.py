"""Files that are nobody else's business: written whole or not at all, readable by their owner."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Generic, TypeVar

from passby.protocol.errors import ConfigError, LocalError
from passby.protocol.limits import PRIVATE_FILE_MAX

T = TypeVar("T")
_FRESH: Final = ".{}.new"


def write_private(path: Path, data: bytes) -> None:
    """Write a new private file in place of what is there; it is on disk when this returns."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def replace_private(path: Path, data: bytes) -> None:
    """Put `data` in place of what `path` holds, whole or not at all."""
    fresh = path.with_name(_FRESH.format(path.name))
    write_private(fresh, data)
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """See to it that the folder's names are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class PrivateFile(Generic[T]):
    """A value of one kind, as JSON in a private file; in memory where there is no path.

    Args:
        path: the file, made when first written; None for a simulation.
        kind: what it holds, as msgspec knows types.
        empty: what it holds while there is none.
    """

    def __init__(self, path: Path | None, kind: type[T], empty: T) -> None:
        self._path = path
        self._kind = kind
        self._held = empty
        self._is_read = path is None

    def read(self) -> T:
        """Return what is held.

        Raises:
            ConfigError: the file cannot be read, or holds something else.
        """
        if not self._is_read and self._path is not None and self._path.exists():
            self._held = self._load(self._path)
        self._is_read = True
        return self._held

    def write(self, value: T) -> None:
        """Hold `value` from now on.

        Raises:
            LocalError: the disk is full or failing; what was held still is.
        """
        import msgspec

        if self._path is not None:
            shown = msgspec.json.format(msgspec.json.encode(value)) + b"\n"
            try:
                replace_private(self._path, shown)
            except OSError as error:
                raise LocalError(
                    f"{self._path} cannot be written: {error.strerror}.",
                    "Make room on the disk, and try again.",
                ) from error
        self._held, self._is_read = value, True

    def _load(self, path: Path) -> T:
        import msgspec

        try:
            with path.open("rb") as file:
                data = file.read(PRIVATE_FILE_MAX + 1)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}.", "") from error
        try:
            if len(data) > PRIVATE_FILE_MAX:
                raise msgspec.DecodeError(f"over {PRIVATE_FILE_MAX} bytes")
            return msgspec.json.decode(data, type=self._kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path} does not hold what it should: {error}.",
                f"Mend it, or start afresh: rm {path}",
            ) from error
