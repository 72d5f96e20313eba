"""Bulk from neighbours, taken in by a process of its own.

Decoding and judging thousands of entries holds Python's lock for most of a second, and the
daemon would answer nobody meanwhile. So the writer thread lends the ledger to a helper: it
passes frames on as they came, and sleeps until the helper has judged and committed them. At
any moment one of the two writes, never both.

    to the helper    length u32 ‖ msgpack [frame, ...]
    from the helper  b"!" once it is up, then for each request
                     length u32 ‖ msgpack [digest, places, None] or [None, None, trouble]

A crash of the helper is safe: its transaction is rolled back or committed whole, and whoever
asked takes the same frames in again, where what was committed is met as held. A crash of the
daemon is safe: the helper reads the end of its input, and ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from passby.ledger.frames import Digest, Frames, Places, places_in
from passby.ledger.store_sqlite import SqliteStore
from passby.node.writer import HelperGoneError
from passby.protocol.errors import Exit, LocalError
from passby.protocol.limits import BULK_ANSWER_S, BULK_PIPE

_UP: Final = b"!"
_length = struct.Struct(">I")
_ANSWER_MAX: Final = 16 * 1024 * 1024
"""An answer names what its request holds, and is smaller; more is not our helper's."""
_STOP_WITHIN_S: Final = 2.0
log = logging.getLogger(__name__)


class Trouble(msgspec.Struct, frozen=True):
    """A LocalError's fields."""

    message: str
    hint: str
    exit_code: int


_Answer = tuple[Digest | None, Places | None, Trouble | None]
_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_answer = msgspec.msgpack.Decoder(_Answer).decode


class BulkHelper:
    """The helper as the writer thread sees it; it is started when first wanted.

    Args:
        path: the ledger, made and open already.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None
        self._is_up = False

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The helper's process id, for those who look after its memory."""
        return self._process.pid if self._process is not None else None

    def is_ready(self) -> bool:
        """Tell whether the helper can be used now; starts it, which takes half a second."""
        if self._process is None:
            self._start()
        elif not self._is_up and _is_readable(self._from, 0):
            self._is_up = self._from.read(1) == _UP
            if not self._is_up:
                log.warning("the bulk helper does not come up")
                self.stop()
        return self._is_up

    def _start(self) -> None:
        try:
            # -P: what happens to lie in the working folder is not imported.
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-P", "-m", __name__, str(self._path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
            os.set_blocking(self._to.fileno(), False)
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                # Else each 64 KiB would wake this thread, which then waits for Python's lock.
                with suppress(OSError):
                    fcntl.fcntl(self._to, fcntl.F_SETPIPE_SZ, BULK_PIPE)
        except OSError as error:
            log.warning("the bulk helper cannot be started: %s", error)

    @property
    def _to(self) -> BinaryIO:
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin  # type: ignore[return-value]  # unbuffered, so a RawIOBase

    @property
    def _from(self) -> BinaryIO:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout  # type: ignore[return-value]  # as above

    def take(self, frames: Sequence[bytes]) -> tuple[Digest, Places]:
        """Let the helper judge and commit `frames`; blocks until it has.

        Raises:
            HelperGoneError: it crashed or does not answer; it is stopped then.
            LocalError: the disk is full or failing; nothing is stored.
        """
        try:
            self._say(_encode(frames))
            digest, places, trouble = _decode_answer(self._answer())
        except (OSError, EOFError, msgspec.DecodeError) as error:
            self.kill()
            raise HelperGoneError(f"the bulk helper is gone: {error!r}") from error
        if trouble is not None:
            raise LocalError(trouble.message, trouble.hint, Exit(trouble.exit_code))
        assert digest is not None
        assert places is not None
        return digest, places

    def _say(self, message: bytes) -> None:
        data = memoryview(_length.pack(len(message)) + message)
        while data:
            # Not blocking: a helper that stands still must not stop the writer for good.
            if not select.select([], [self._to], [], BULK_ANSWER_S)[1]:
                raise EOFError("it does not read")
            data = data[os.write(self._to.fileno(), data) :]

    def _answer(self) -> bytes:
        (length,) = _length.unpack(self._read(_length.size))
        if length > _ANSWER_MAX:
            raise EOFError("an answer of no sense")
        return self._read(length)

    def _read(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            if not _is_readable(self._from, BULK_ANSWER_S):
                raise EOFError("no answer")
            part = os.read(self._from.fileno(), length - len(found))
            if not part:
                raise EOFError("it has ended")
            found += part
        return bytes(found)

    def stop(self) -> None:
        """Let the helper end; idle, it does so at once."""
        self._close(kill=False)

    def kill(self) -> None:
        """End the helper, whatever it does."""
        self._close(kill=True)

    def _close(self, *, kill: bool) -> None:
        process, self._process, self._is_up = self._process, None, False
        if process is None:
            return
        if kill:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_readable(pipe: BinaryIO, within_s: float) -> bool:
    return bool(select.select([pipe], [], [], within_s)[0])


# --- the helper's side -------------------------------------------------------------------


def serve(path: Path, requests: BinaryIO, answers: BinaryIO) -> None:
    """Take in what comes until there is no more."""
    store = SqliteStore(path)
    try:
        answers.write(_UP)
        answers.flush()
        while len(head := requests.read(_length.size)) == _length.size:
            (length,) = _length.unpack(head)
            frames = _decode_request(requests.read(length))
            answer = _encode(_take(store, frames))
            answers.write(_length.pack(len(answer)) + answer)
            answers.flush()
    finally:
        store.close()


def _take(store: SqliteStore, frames: Sequence[bytes]) -> _Answer:
    intake = Frames(frames)
    try:
        batch, digest = intake.judge(store.view(intake.records))
        store.commit([batch], durable=False)
    except LocalError as error:
        return None, None, Trouble(error.message, error.hint, int(error.exit_code))
    return digest, places_in(batch), None


def main() -> None:
    """Serve on standard input and output; the daemon alone says when to end."""
    # Ctrl-C and a service manager mean the daemon, which first finishes what it writes.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    with suppress(BrokenPipeError):
        serve(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
