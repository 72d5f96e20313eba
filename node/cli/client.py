"""HTTP/1.1 over the daemon's unix socket: one request a connection, nothing shared.

h11 on a plain socket, since the usual clients cost more to import than the whole command.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import h11

from passby.protocol.errors import ConfigError, Exit, LocalError, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from passby.node.home import Home

ANSWER_WITHIN_S: Final = 60.0
"""A full batch of lots on a slow disk takes seconds; after a minute something is wrong."""
READ_BYTES: Final = 64 * 1024
OK: Final = range(200, 300)


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
        answer = b"".join(self._exchange(method, path, body, query, within_s))
        return _decoded(answer)

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
        target = quote(path, safe="/")
        asked = {key: _typed(value) for key, value in (query or {}).items() if value is not None}
        if asked:
            target += "?" + urlencode(asked)
        data = b"" if body is None else json.dumps(body).encode()
        headers = [
            ("Host", "passby"),
            ("Connection", "close"),
            ("Content-Length", str(len(data))),
            ("Content-Type", "application/json"),
        ]
        with self._connect(within_s) as link:
            http = h11.Connection(h11.CLIENT)
            try:
                # In one piece: after the head alone the daemon may answer and hang up, and
                # even an empty write to a closed socket fails.
                events = (
                    h11.Request(method=method, target=target, headers=headers),
                    h11.Data(data=data),
                    h11.EndOfMessage(),
                )
                link.sendall(b"".join(http.send(event) or b"" for event in events))
                yield from _answer(http, link)
            except TimeoutError:
                raise LocalError(
                    f"The daemon did not answer within {within_s:.0f} s.",
                    "See what it is doing in its log, or stop it and start it again.",
                ) from None
            except (OSError, h11.RemoteProtocolError):
                raise LocalError(
                    "The daemon broke off in the middle of its answer.",
                    f"Look into {self._home.log_path}, or at what `passby up` says.",
                ) from None

    def _connect(self, within_s: float) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(within_s)
        try:
            link.connect(str(self._home.socket_path))
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


def _answer(http: h11.Connection, link: socket.socket) -> Iterator[bytes]:
    fault: bytes | None = None
    status = 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(link.recv(READ_BYTES))
        elif isinstance(event, h11.Response):
            fault = None if event.status_code in OK else b""
            status = event.status_code
        elif isinstance(event, h11.Data):
            if fault is None:
                yield bytes(event.data)
            else:
                fault += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            if fault is not None:
                raise _refusal(status, fault)
            return


def _refusal(status: int, body: bytes) -> LocalError:
    match _decoded(body):
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
    except ValueError:
        return None


def _typed(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
