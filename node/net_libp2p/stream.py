"""A Stream over one of libp2p's: cancellable where that is safe, and GONE for all that breaks."""

from __future__ import annotations

from typing import Any, Final

import trio

from passby.node.net_libp2p.guards import reset_quietly
from passby.protocol import limits
from passby.protocol.errors import Code, RemoteError

_WINDOW_POLL_S: Final = 0.005
"""yamux has no event for a window that opens."""


class Libp2pStream:
    """The contract of `passby.node.net.Stream` over yamux.

    It looks into the muxer's buffers to wait before it reads or writes: a read of libp2p's
    that is cancelled loses the bytes it had taken, and a write without window gives up after
    5 s and never tells the peer.
    """

    def __init__(self, net_stream: Any, protocol: str) -> None:
        self._net = net_stream
        self._mux = net_stream.muxed_stream
        self._connection = self._mux.conn
        self._writing = trio.Lock()
        self._sent_end = False
        self.peer = str(net_stream.muxed_conn.peer_id)
        self.protocol = protocol

    async def receive_some(self, max_bytes: int = limits.STREAM_READ_MAX) -> bytes:
        """See `passby.node.net.Stream`."""
        if max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await self._wait_readable()
        if not self._connection.stream_buffers.get(self._mux.stream_id):
            if self._mux.recv_closed and not self._is_broken():
                return b""
            raise self._gone("the peer reset the stream or went away")
        try:
            with trio.CancelScope(shield=True):
                data = await self._net.read(min(max_bytes, limits.STREAM_READ_MAX))
        except Exception as error:
            raise self._gone(repr(error)) from error
        return bytes(data)

    async def _wait_readable(self) -> None:
        stream_id = self._mux.stream_id
        await trio.lowlevel.checkpoint()
        while (
            not self._connection.stream_buffers.get(stream_id)
            and not self._mux.recv_closed
            and not self._is_broken()
        ):
            events = self._connection.stream_events
            event = events.get(stream_id)
            if event is None:
                return
            await event.wait()
            if events.get(stream_id) is event:
                events[stream_id] = trio.Event()

    def _is_broken(self) -> bool:
        return bool(
            self._mux.reset_received
            or self._connection.event_shutting_down.is_set()
            or self._connection.event_closed.is_set()
        )

    async def send_all(self, data: bytes) -> None:
        """See `passby.node.net.Stream`."""
        async with self._writing:
            sent = 0
            try:
                while sent < len(data):
                    room = await self._wait_window()
                    piece = data[sent : sent + min(room, limits.STREAM_WRITE_MAX)]
                    # With window at hand this waits for the socket at most, and the ping
                    # closes the socket of a peer that is frozen.
                    with trio.CancelScope(shield=True):
                        await self._net.write(piece)
                    sent += len(piece)
                    await trio.lowlevel.checkpoint_if_cancelled()
            except RemoteError:
                await self.reset()
                raise
            except Exception as error:
                await self.reset()
                raise self._gone(repr(error)) from error
            except BaseException:
                # Cancelled between pieces: the peer has half of something.
                await self.reset()
                raise

    async def _wait_window(self) -> int:
        await trio.lowlevel.checkpoint()
        give_up_at_s = trio.current_time() + limits.STREAM_STALL_S
        while True:
            if self._sent_end or self._mux.send_closed or self._mux.closed or self._is_broken():
                raise self._gone("the stream is closed for sending")
            if self._mux.send_window > 0:
                return int(self._mux.send_window)
            if trio.current_time() > give_up_at_s:
                raise self._gone("the peer does not read")
            await trio.sleep(_WINDOW_POLL_S)

    async def close(self) -> None:
        """See `passby.node.net.Stream`."""
        if self._sent_end:
            return
        self._sent_end = True
        try:
            with trio.CancelScope(shield=True), trio.move_on_after(1) as patience:
                await self._net.close()
            if patience.cancelled_caught:
                await self.reset()
        except Exception:  # noqa: BLE001  # gone already, which closes it as well
            await self.reset()

    async def reset(self) -> None:
        """See `passby.node.net.Stream`."""
        self._sent_end = True
        await reset_quietly(self._net)

    async def finish(self) -> None:
        """Close, wait a while for the peer to do the same, and reset if it does not.

        A stream that only we have closed stays in the muxer's books.
        """
        await self.close()
        with trio.move_on_after(limits.STREAM_LINGER_S):
            try:
                while await self.receive_some():
                    pass
            except RemoteError:
                return
        if not self._mux.recv_closed:
            await self.reset()

    def _gone(self, why: str) -> RemoteError:
        return RemoteError(Code.GONE, f"{self.protocol} with {self.peer}: {why}", penalty=0)
