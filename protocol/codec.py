"""Canonical msgpack and unsigned varints: one value, one encoding.

Whatever is signed or hashed must have exactly one encoding, or two honest nodes could read
the same bytes differently. Decoders of msgpack accept duplicate keys, over-long integers,
NaN and extension types without a word, so bytes are accepted only if encoding what was read
gives the same bytes again. Floats have no place in anything signed; text is NFC.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import msgpack

from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import CONTAINER_MAX, NESTING_MAX

Value = None | bool | int | bytes | str | Sequence["Value"] | Mapping[str, "Value"]

_INT_MIN = -(2**63)
_INT_MAX = 2**64 - 1


def encode(value: Value) -> bytes:
    """Return the one encoding of `value`, map keys sorted by code point.

    Raises:
        ValueError: the value holds a float, text that is not NFC, or nests too deep.
    """
    return bytes(msgpack.packb(_ordered(value, NESTING_MAX), use_bin_type=True))


def decode(data: bytes, max_bytes: int) -> Value:
    """Return the value of canonical `data`; lists for arrays, dicts for maps.

    Raises:
        RemoteError: the bytes are too many, no msgpack, or not the canonical encoding.
    """
    if len(data) > max_bytes:
        raise RemoteError(Code.TOO_LARGE, f"{len(data)} bytes where at most {max_bytes} may be")
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_array_len=CONTAINER_MAX,
            max_map_len=CONTAINER_MAX,
            max_ext_len=0,
        )
        again = encode(value)
    # msgpack raises ValueError and its children for bad bytes, TypeError for unhashable keys
    # and RecursionError where nesting outruns its own stack check.
    except (ValueError, TypeError, RecursionError) as error:
        raise RemoteError(Code.MALFORMED, f"not canonical msgpack: {error}") from None
    if again != data:
        raise RemoteError(Code.NOT_CANONICAL, "msgpack with a second encoding")
    return value  # type: ignore[no-any-return]  # encode() has just checked every member


def _ordered(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | bytes):
        return value
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise ValueError(f"{value} does not fit in 64 bits")
        return value
    if isinstance(value, str):
        if not unicodedata.is_normalized("NFC", value):
            raise ValueError("text is not in NFC")
        return value
    if depth == 0:
        raise ValueError(f"nested deeper than {NESTING_MAX}")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a map key is not text")
        return {
            _ordered(key, 0): _ordered(member, depth - 1) for key, member in sorted(value.items())
        }
    if isinstance(value, list | tuple):
        return [_ordered(member, depth - 1) for member in value]
    raise ValueError(f"{type(value).__name__} has no place in a signed value")


def encode_uvarint(number: int) -> bytes:
    """Return `number` (0 to 2**63 - 1) in 7-bit groups, least first (multiformats uvarint)."""
    if not 0 <= number < 2**63:
        raise ValueError(f"{number} is no uvarint")
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_uvarint(data: bytes, offset: int, largest: int) -> tuple[int, int]:
    """Return (number, offset behind it) for the minimal uvarint at `offset`.

    Raises:
        RemoteError: cut off, longer than it need be, or above `largest`.
    """
    number = 0
    shift = 0
    while True:
        if offset >= len(data):
            raise RemoteError(Code.MALFORMED, "a length is cut off")
        byte = data[offset]
        offset += 1
        number |= (byte & 0x7F) << shift
        if number > largest:
            raise RemoteError(Code.TOO_LARGE, f"a length of over {largest}")
        if byte < 0x80:
            if byte == 0 and shift:
                raise RemoteError(Code.NOT_CANONICAL, "a length with needless bytes")
            return number, offset
        shift += 7
        if shift > 56:
            raise RemoteError(Code.MALFORMED, "a length without end")


def read_bytes(data: bytes, offset: int, length: int) -> tuple[bytes, int]:
    """Return (the bytes, offset behind them).

    Raises:
        RemoteError: there are fewer.
    """
    end = offset + length
    if end > len(data):
        raise RemoteError(Code.MALFORMED, "bytes are cut off")
    return data[offset:end], end
