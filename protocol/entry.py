"""The entry, the one signed thing, and the record that carries it with its payload.

    entry  = signature[64] ‖ body
    body   = 0x00 'P' 'B' '1' ‖ msgpack [author, seq, prev, at_ms, type, refs, stock, facts,
                                         payload_len, payload_hash]
    id     = SHA-256(0x00 ‖ body)
    record = uvarint ‖ entry ‖ uvarint ‖ (nothing | salt16 ‖ payload)

The id leaves the signature out, since a key's owner can make many valid signatures of one
message: signing again must not look like a fork. The payload is committed to by a salted
hash, so that it can be erased while the chain stays whole.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from passby.protocol.codec import encode_uvarint, read_uvarint
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import KEY_BYTES, SIGNATURE_BYTES, SigningKey
from passby.protocol.limits import (
    AMOUNT_MAX,
    AT_MS_MAX,
    BODY_MAX,
    FACTS_MAX,
    PAYLOAD_MAX,
    REFS_MAX,
    SEQ_MAX,
)

PREFIX: Final = b"\x00PB1"
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
STOCK_FIELDS: Final = 6
ENTRY_MAX: Final = SIGNATURE_BYTES + BODY_MAX
_BODY_AT: Final = SIGNATURE_BYTES + len(PREFIX)
_ID_BEGUN: Final = sha256(b"\x00" + PREFIX)
"""Copied for each entry, which costs less than to begin."""

_Key = Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
_Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
_Stock = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
_Uint = Annotated[int, Meta(ge=0)]
_Fixed = Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=HASH_BYTES)]


class Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What an author signs; the wire order is the field order.

    The bounds hold for what was read; what is composed here goes through `types.check_shape`.
    """

    author: _Key
    seq: Annotated[int, Meta(ge=1, le=SEQ_MAX)]
    prev: _Hash | None
    at_ms: Annotated[int, Meta(ge=0, le=AT_MS_MAX)]
    type: Annotated[int, Meta(ge=1, le=255)]
    refs: Annotated[tuple[_Hash, ...], Meta(max_length=REFS_MAX)] = ()
    stock: Annotated[tuple[_Stock, ...], Meta(max_length=STOCK_FIELDS)] = ()
    facts: Annotated[tuple[_Uint | _Fixed, ...], Meta(max_length=FACTS_MAX)] = ()
    payload_len: Annotated[int, Meta(ge=0, le=PAYLOAD_MAX)] = 0
    payload_hash: _Hash | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A parsed entry: `raw` is signature ‖ body as it travels, `id` the hash others name."""

    raw: bytes
    id: bytes
    body: Body

    @property
    def author(self) -> bytes:
        """The device key that signed it."""
        return self.body.author

    @property
    def seq(self) -> int:
        """Its place in the author's chain, from 1."""
        return self.body.seq

    @property
    def at_ms(self) -> int:
        """The author's clock, Unix milliseconds."""
        return self.body.at_ms


class Record(msgspec.Struct, frozen=True, gc=False):
    """An entry with, where it is carried, its payload and the salt of the payload's hash."""

    entry: Entry
    salt: bytes | None = None
    payload: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of entry and payload, without the two lengths."""
        return len(self.entry.raw) + (SALT_BYTES + len(self.payload) if self.payload else 0)


_encode_body = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(Body).decode


def entry_id(body: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ body): also the RFC 6962 leaf hash of the body."""
    return sha256(b"\x00" + body).digest()


def payload_hash(salt: bytes, payload: bytes) -> bytes:
    """Return SHA-256(0x02 ‖ salt16 ‖ payload)."""
    return carried_hash(salt + payload)


def carried_hash(carried: bytes) -> bytes:
    """Return the payload hash of salt16 ‖ payload in one piece, as a record carries them."""
    return sha256(b"\x02" + carried).digest()


def sign(key: SigningKey, body: Body) -> Entry:
    """Sign `body`; the caller has checked it."""
    signed = PREFIX + _encode_body(body)
    return Entry(key.sign(signed) + signed, entry_id(signed), body)


def parse_entry(raw: bytes) -> Entry:
    """Read one entry strictly; neither its signature nor its type's form is checked.

    Raises:
        RemoteError: too large, not an entry, a field beyond its bounds, or bytes with a second
            encoding.
    """
    if len(raw) > ENTRY_MAX:
        raise RemoteError(Code.TOO_LARGE, f"an entry of {len(raw)} bytes")
    if raw[SIGNATURE_BYTES:_BODY_AT] != PREFIX:
        raise RemoteError(Code.MALFORMED, "not an entry")
    packed = raw[_BODY_AT:]
    try:
        body = _decode_body(packed)
    # UnicodeDecodeError: text where bytes belong is read before its type is refused.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteError(Code.MALFORMED, f"not an entry: {error}") from None
    if _encode_body(body) != packed:
        raise RemoteError(Code.NOT_CANONICAL, "an entry with a second encoding")
    digest = _ID_BEGUN.copy()
    digest.update(packed)
    return Entry(raw, digest.digest(), body)


def encode_record(record: Record) -> bytes:
    """Return the wire bytes of `record`."""
    raw = record.entry.raw
    if record.payload is None or record.salt is None:
        return b"%b%b\x00" % (encode_uvarint(len(raw)), raw)
    carried = record.salt + record.payload
    return b"%b%b%b%b" % (encode_uvarint(len(raw)), raw, encode_uvarint(len(carried)), carried)


def read_record(data: bytes, offset: int) -> tuple[Record, int]:
    """Return (record, offset behind it); a carried payload has been held against its hash.

    Raises:
        RemoteError: cut off, malformed, or a payload that is not the one committed to.
    """
    length, start = read_uvarint(data, offset, ENTRY_MAX)
    end = start + length
    if end > len(data):
        raise RemoteError(Code.MALFORMED, "an entry is cut off")
    entry = parse_entry(data[start:end])
    length, start = read_uvarint(data, end, SALT_BYTES + PAYLOAD_MAX)
    if not length:
        return Record(entry), start
    end = start + length
    if end > len(data):
        raise RemoteError(Code.MALFORMED, "a payload is cut off")
    salt = data[start : start + SALT_BYTES]
    payload = data[start + SALT_BYTES : end]
    body = entry.body
    if len(payload) != body.payload_len or payload_hash(salt, payload) != body.payload_hash:
        raise RemoteError(Code.BAD_PAYLOAD, "a payload that its entry does not name")
    return Record(entry, salt, payload), end


def read_records(data: bytes, most: int) -> list[Record]:
    """Return all records in `data`, which they must fill exactly.

    Raises:
        RemoteError: as `read_record`, or more than `most`.
    """
    records: list[Record] = []
    offset = 0
    while offset < len(data):
        if len(records) == most:
            raise RemoteError(Code.TOO_LARGE, f"more than {most} records")
        record, offset = read_record(data, offset)
        records.append(record)
    return records
