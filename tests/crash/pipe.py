"""A network of two processes and one socket between them: what sync needs, and no more."""

from __future__ import annotations

import socket

import trio

from passby.node.net import PeerId, StreamHandler
from passby.protocol.errors import Code, RemoteError


class PipeStream:
    """A `Stream` over one end of a socket pair."""

    def __init__(self, peer: PeerId, protocol: str, end: trio.SocketStream) -> None:
        self.peer = peer
        self.protocol = protocol
        self._end = end

    async def receive_some(self, max_bytes: int = 65_536) -> bytes:
        """As `Stream.receive_some`."""
        try:
            return bytes(await self._end.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise RemoteError(Code.GONE, "the other process is gone", 0) from None

    async def send_all(self, data: bytes) -> None:
        """As `Stream.send_all`."""
        try:
            await self._end.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise RemoteError(Code.GONE, "the other process is gone", 0) from None

    async def close(self) -> None:
        """As `Stream.close`."""
        await self.reset()

    async def reset(self) -> None:
        """As `Stream.reset`."""
        await trio.aclose_forcefully(self._end)


class PipeNetwork:
    """The part of a `Network` that replication uses; the smaller id opens its one stream."""

    def __init__(self, peer_id: PeerId, other: PeerId, descriptor: int) -> None:
        self.peer_id = peer_id
        self._other = other
        self._socket = trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor))
        self._handler: StreamHandler | None = None

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        """As `Network.handle`, for one protocol."""
        self._protocol, self._handler = protocol, handler

    async def open_stream(self, peer: PeerId, protocol: str) -> PipeStream:
        """As `Network.open_stream`; a second one would need a second socket."""
        return PipeStream(peer, protocol, trio.SocketStream(self._socket))

    async def serve(self) -> None:
        """Serve the stream that the other side opens, to its end."""
        assert self._handler is not None
        await self._handler(
            PipeStream(self._other, self._protocol, trio.SocketStream(self._socket))
        )

    def penalise(self, peer: PeerId, amount: float) -> None:
        """Two honest processes that are killed do nothing that costs anything."""
        raise AssertionError(f"{peer} is to lose {amount}")
