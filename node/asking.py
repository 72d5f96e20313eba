"""One request and one answer on a stream: both ends of it, within bounds of bytes and time."""

from __future__ import annotations

import trio

from passby.node.net import Network, PeerId, Stream
from passby.protocol.codec import read_uvarint
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import ASK_WITHIN_S

_LENGTH_BYTES = 4
"""Of the longest length; every bound of ours is below 2**28."""


async def ask(network: Network, peer: PeerId, protocol: str, request: bytes, most: int) -> bytes:
    """Send `request`, which has its length before it, and return the answer without its length.

    Raises:
        RemoteError: the peer went away, does not speak the protocol, is silent for
            ASK_WITHIN_S, or says something longer than `most`.
    """
    with trio.move_on_after(ASK_WITHIN_S):
        stream = await network.open_stream(peer, protocol)
        try:
            await stream.send_all(request)
            return await read_framed(stream, most)
        finally:
            with trio.CancelScope(shield=True):
                await stream.reset()
    raise RemoteError(Code.GONE, f"no answer on {protocol}", penalty=0)


async def read_framed(stream: Stream, most: int) -> bytes:
    """Return the bytes that follow their length; what comes behind them is not read.

    Raises:
        RemoteError: cut off, or longer than `most`, or a length that is none.
    """
    data = bytearray(await _some(stream))
    while len(data) < _LENGTH_BYTES and min(data) & 0x80:
        data += await _some(stream)
    length, start = read_uvarint(bytes(data[:_LENGTH_BYTES]), 0, most)
    while len(data) < start + length:
        data += await _some(stream)
    return bytes(data[start : start + length])


async def _some(stream: Stream) -> bytes:
    piece = await stream.receive_some()
    if not piece:
        raise RemoteError(Code.MALFORMED, "a message that is cut off", penalty=0)
    return piece
