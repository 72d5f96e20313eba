"""HTTP/1.1 over the daemon's unix socket: one request a connection, nothing shared.

Read by hand, since importing any HTTP library, h11 too, takes longer than the rest of the
command. The other end is our own daemon, behind a socket that only this user can open; what it
cannot have said still becomes one clear error.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Final

from passby.protocol.errors import ConfigError, Exit, LocalError, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from passby.node.home import Home

ANSWER_WITHIN_S: Final = 60.0
"""A full batch of lots on a slow disk takes seconds; after a minute something is wrong."""
READ_BYTES: Final = 64 * 1024
LINE_MAX: Final = 8 * 1024
"""A status line, header or chunk size; ours are under a hundred bytes."""
OK: Final = range(200, 300)


class BrokenOffError(LocalError):
    """The daemon went away in the middle of its answer."""


class Client:
    """Speaks with the daemon of one home.

    Args:
        home: whose daemon.
        how_to_start: the command that starts it, for the hint when it is not there.
    """

    def __init__(self, home: Home, how_to_start: str) -> None:
        self._home = home
        self._how_to_start = how_to_start

    def call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        query: dict[str, Any] | None = None,
        within_s: float = ANSWER_WITHIN_S,
    ) -> Any:
        """Return the JSON that the daemon answers.

        Raises:
            NotRunningError: no daemon answers on this home.
            LocalError: what the daemon refuses, with its hint and exit code.
        """
        answer = _decoded(b"".join(self._exchange(method, path, body, query, within_s)))
        if answer is None:
            raise BrokenOffError(
                "The daemon answered what is no JSON.",
                "The daemon and this command may be of different versions: restart the daemon.",
            )
        return answer

    def lines(self, path: str, query: dict[str, Any] | None = None) -> Iterator[str]:
        """Yield the lines of an answer as they come, for NDJSON and event streams.

        Raises:
            NotRunningError: no daemon answers on this home.
            LocalError: what the daemon refuses, or an answer that broke off.
        """
        rest = b""
        for part in self._exchange("GET", path, None, query, ANSWER_WITHIN_S):
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                yield line.decode()
        if rest:
            yield rest.decode()

    def _exchange(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        query: dict[str, Any] | None,
        within_s: float,
    ) -> Iterator[bytes]:
        """Yield the body of a good answer; raise what a bad one says."""
        asked = {key: str(value) for key, value in (query or {}).items() if value is not None}
        if asked:
            from urllib.parse import urlencode

            path += "?" + urlencode(asked)
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: passby\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        with self._connect(within_s) as link, link.makefile("rb") as answer:
            try:
                link.sendall(head.encode("ascii") + data)
                yield from _body(answer)
            except TimeoutError:
                raise LocalError(
                    f"The daemon did not answer within {within_s:.0f} s.",
                    "See what it is doing in its log, or stop it and start it again.",
                ) from None
            except (EOFError, OSError, ValueError):
                raise BrokenOffError(
                    "The daemon broke off in the middle of its answer.",
                    f"Look into {self._home.log_path}, or at what `passby up` says.",
                ) from None

    def _connect(self, within_s: float) -> socket.socket:
        path = self._home.reachable_socket()
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(within_s)
        try:
            link.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            link.close()
            raise NotRunningError(
                f"The node of {self._home.path} is not running.",
                f"Start it: {self._how_to_start}",
            ) from None
        except PermissionError:
            link.close()
            raise ConfigError(
                f"{self._home.socket_path} is not open to you.",
                "Run passby as the user who started the daemon.",
            ) from None
        except OSError as error:
            link.close()
            raise LocalError(
                f"The daemon cannot be reached: {error.strerror or error}.",
                "It may be overloaded; try again in a moment.",
            ) from None
        return link


def _body(answer: BufferedReader) -> Iterator[bytes]:
    """Yield the body of a good answer; raise what a bad one says.

    Raises:
        LocalError: what the daemon refused.
        EOFError: the answer ends too early.
        ValueError: it is no HTTP.
    """
    version, _, rest = _line(answer).partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError("no HTTP")
    status = int(rest[:3])
    headers = {}
    while field := _line(answer):
        name, _, value = field.partition(b":")
        headers[name.strip().lower()] = value.strip().lower()
    parts = _parts(answer, headers)
    if status not in OK:
        raise _refusal(status, _decoded(b"".join(parts)))
    yield from parts


def _parts(answer: BufferedReader, headers: dict[bytes, bytes]) -> Iterator[bytes]:
    if headers.get(b"transfer-encoding") == b"chunked":
        while size := int(_line(answer).split(b";")[0], 16):
            yield from _exactly(answer, size)
            if _line(answer):
                raise ValueError("a chunk longer than it says")
    elif b"content-length" in headers:
        yield from _exactly(answer, int(headers[b"content-length"]))
    else:
        while part := answer.read1(READ_BYTES):
            yield part


def _exactly(answer: BufferedReader, size: int) -> Iterator[bytes]:
    while size > 0:
        part = answer.read1(min(size, READ_BYTES))
        if not part:
            raise EOFError
        size -= len(part)
        yield part


def _line(answer: BufferedReader) -> bytes:
    line = answer.readline(LINE_MAX)
    if not line.endswith(b"\n"):
        raise EOFError
    return line.rstrip(b"\r\n")


def _refusal(status: int, answer: Any) -> LocalError:
    match answer:
        case {"error": {"message": str(message), "exit_code": int(code)} as error}:
            known = Exit(code) if code in list(Exit) else Exit.FAILED
            return LocalError(message, str(error.get("hint") or ""), known)
        case _:
            return LocalError(
                f"The daemon refused without a reason (HTTP {status}).",
                "The daemon and this command may be of different versions: restart the daemon.",
            )


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (RecursionError, ValueError):
        return None
