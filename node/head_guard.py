"""The head guard: how a node knows that its ledger was put back from a backup.

Two signed entries with one seq freeze an author for good, and that is what a node makes that
goes on from an old copy of its ledger. So after each own commit, and before anybody is told
of it, the new head is written into a small file beside the ledger, which backups leave out:

    two slots of 192 bytes, used in turn; each is text ending in a newline, padded with
    spaces: passby-head 1 SEQ ID MACHINE INODE SHA-256 of what stands before it

A crash between the commit and the guard leaves the guard behind: safe, its head is found
further down the chain. A torn write spoils one slot: safe, the other one is a step behind.
The ledger being behind the guard, or the guard being gone, copied, or another machine's,
means that this is not the ledger that was last written here. The guard is made with the keys,
by `begin`, and never again: keys without a guard came from a backup, even where no ledger is.
A ledger that is only behind catches up from the neighbours, and may go on once it holds the
very entry that the guard names.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from passby.ledger.chain import Head
from passby.protocol.errors import Exit, LocalError, RefusedError

NAME: Final = "head.guard"
_SLOT_BYTES: Final = 192
_NONE: Final = "-"


class RestoredError(RefusedError):
    """This ledger is not the one last written here, so that nothing may be appended."""


@dataclass(frozen=True, slots=True)
class _Slot:
    seq: int
    id_hex: str
    machine: str
    inode: int

    def render(self) -> bytes:
        text = f"passby-head 1 {self.seq} {self.id_hex} {self.machine} {self.inode}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return f"{text} {digest}".ljust(_SLOT_BYTES - 1).encode() + b"\n"

    @classmethod
    def parse(cls, raw: bytes) -> Self | None:
        try:
            text, digest = raw.decode().rstrip().rsplit(" ", 1)
            name, version, seq, id_hex, machine, inode = text.split(" ")
            slot = cls(int(seq), id_hex, machine, int(inode))
        except ValueError:
            return None
        same = hashlib.sha256(text.encode()).hexdigest()[:16] == digest
        return slot if same and (name, version) == ("passby-head", "1") else None


def machine_id() -> str:
    """Return what tells this machine from others, hashed; the host's name for want of better."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            text = Path(path).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            break
    else:
        text = platform.node()
    return hashlib.sha256(b"passby machine\x00" + text.encode()).hexdigest()[:16]


def begin(path: Path, machine: str | None = None) -> None:
    """Make the guard of a chain that has not begun, together with its new key.

    Args:
        path: where the guard is to be.
        machine: `machine_id()` unless told.

    Raises:
        LocalError: it cannot be written.
    """
    guard = HeadGuard(path, machine if machine is not None else machine_id())
    guard.renew(None)
    guard.close()


class HeadGuard:
    """The guard of one ledger, for the thread that writes it.

    Args:
        path: where the guard is.
        machine: `machine_id()`, but for tests.
    """

    def __init__(self, path: Path, machine: str) -> None:
        self._path = path
        self._machine = machine
        self._file: int | None = None
        self._inode = 0
        self._newest = 0

    def check(self, head: Head | None, id_at: Callable[[int], bytes | None]) -> None:
        """Hold the chain against the guard.

        Args:
            head: the own chain's head in the ledger.
            id_at: gives the id of the own entry at a seq in the ledger.

        Raises:
            RefusedError: this ledger is not the one last written here; says why.
            LocalError: the guard cannot be read or written.
        """
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            raise _refused(f"the file {self._path} is gone, as after a restore") from None
        except OSError as error:
            raise _failed(self._path, error) from error
        slots = [
            (slot, position)
            for position in (0, 1)
            if (slot := _Slot.parse(raw[position * _SLOT_BYTES :][:_SLOT_BYTES])) is not None
        ]
        if not slots:
            raise _refused(f"the file {self._path} is not readable")
        guard, self._newest = max(slots, key=lambda found: found[0].seq)
        self._open()
        if guard.machine != self._machine:
            raise _refused("it was last written on another machine")
        if guard.inode != self._inode:
            raise _refused(f"the file {self._path} is a copy")
        seq = head.seq if head is not None else 0
        if guard.seq > seq:
            raise _refused(f"its own chain ends at entry {seq}, though {guard.seq} were written")
        found = id_at(guard.seq) if guard.seq else None
        if guard.seq and (found is None or found.hex() != guard.id_hex):
            raise _refused(f"its own entry {guard.seq} is another than the one written")

    def renew(self, head: Head | None) -> None:
        """Make the guard anew for `head`, once it is certain that this is the newest there is.

        Raises:
            LocalError: the guard cannot be written.
        """
        try:
            self.close()
            self._path.unlink(missing_ok=True)
            self._open()
            for _ in range(2):
                self.write(head)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _failed(self._path, error) from error

    def write(self, head: Head | None) -> None:
        """Note the new head; on disk when this returns.

        Raises:
            LocalError: the guard cannot be written.
        """
        try:
            file = self._open()
            slot = _Slot(
                seq=head.seq if head is not None else 0,
                id_hex=head.id.hex() if head is not None else _NONE,
                machine=self._machine,
                inode=self._inode,
            )
            self._newest = 1 - self._newest
            os.pwrite(file, slot.render(), self._newest * _SLOT_BYTES)
            # The file's size never changes after `renew`: its data is all there is to sync.
            getattr(os, "fdatasync", os.fsync)(file)
        except OSError as error:
            raise _failed(self._path, error) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._inode = os.fstat(self._file).st_ino
        return self._file


def _refused(why: str) -> RestoredError:
    return RestoredError(
        f"This ledger is not the one last written here: {why}.",
        "Going on could sign a second entry with a number already used, which freezes the chain"
        " for good. Let the node ask its neighbours for its own newest entry, or begin a new"
        " device with `passby init` in another home.",
    )


def _failed(path: Path, error: OSError) -> LocalError:
    return LocalError(
        f"The head guard {path} cannot be used: {error.strerror}.",
        "Make room on the disk and see that the file belongs to you. What was just said is saved,"
        " but nobody was told of it yet.",
        Exit.IO,
    )
