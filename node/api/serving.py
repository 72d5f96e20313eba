"""HTTP on the home's socket, by hypercorn, of which one broken connection must not end all."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import hypercorn.trio.run
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ASGIFramework
from starlette.applications import Starlette

from passby.protocol.limits import API_LEAVE_WITHIN_S

log = logging.getLogger(__name__)


class _Connection(TCPServer):
    """A connection whose faults are its own.

    Hypercorn lets what a connection raises end the server: a command interrupted while it is
    being answered would take the node with it.
    """

    async def run(self) -> None:
        try:
            await super().run()
        except Exception as error:  # noqa: BLE001  # hypercorn's and h11's, by what broke off
            log.info("a program broke off: %r", error)


hypercorn.trio.run.TCPServer = _Connection  # type: ignore[attr-defined]  # there is no other door


async def serve_on(path: Path, app: Starlette, stop: Callable[[], Awaitable[None]]) -> None:
    """Answer on a unix socket, 0600, until `stop` returns; then the socket is gone.

    Whoever is being answered at that moment has API_LEAVE_WITHIN_S to hear the end of it.
    """
    config = Config()
    config.bind = [f"unix:{path}"]
    config.umask = 0o177
    config.graceful_timeout = API_LEAVE_WITHIN_S
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    try:
        # Starlette's and hypercorn's spellings of the one ASGI type differ.
        await serve(cast("ASGIFramework", app), config, mode="asgi", shutdown_trigger=stop)
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
