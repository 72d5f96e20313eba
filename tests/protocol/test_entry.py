"""The entry and the record that carries it."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from passby.protocol.codec import encode, encode_uvarint
from passby.protocol.entry import (
    ENTRY_MAX,
    PREFIX,
    Body,
    Record,
    encode_record,
    entry_id,
    parse_entry,
    payload_hash,
    read_record,
    read_records,
    sign,
)
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SigningKey, verify

KEY = SigningKey(bytes(32))
PAYLOAD = encode({"text": "hello"})
SALT = b"s" * 16
BODY = Body(
    KEY.public,
    2,
    bytes(32),
    1_700_000_000_000,
    200,
    payload_len=len(PAYLOAD),
    payload_hash=payload_hash(SALT, PAYLOAD),
)
ENTRY = sign(KEY, BODY)


def refused(data: bytes) -> Code:
    with pytest.raises(RemoteError) as caught:
        parse_entry(data)
    return caught.value.code


def test_an_entry_is_read_again_as_it_was_signed() -> None:
    assert parse_entry(ENTRY.raw) == ENTRY
    assert verify(KEY.public, ENTRY.raw)


def test_the_id_is_the_leaf_hash_of_the_body_without_the_signature() -> None:
    body = ENTRY.raw[64:]
    assert ENTRY.id == entry_id(body) == hashlib.sha256(b"\x00" + body).digest()
    assert parse_entry(bytes(64) + body).id == ENTRY.id


def test_a_flipped_byte_is_another_entry_or_none() -> None:
    for place in range(64, len(ENTRY.raw)):
        data = bytearray(ENTRY.raw)
        data[place] ^= 1
        try:
            other = parse_entry(bytes(data))
        except RemoteError:
            continue
        assert other.id != ENTRY.id
        assert not verify(KEY.public, bytes(data))


def test_what_is_no_entry_is_refused() -> None:
    assert refused(b"") is Code.MALFORMED
    assert refused(ENTRY.raw[:67]) is Code.MALFORMED
    assert refused(ENTRY.raw + b"\x00") is Code.MALFORMED
    assert refused(bytes(64) + b"\x00PB2" + ENTRY.raw[68:]) is Code.MALFORMED
    assert refused(bytes(ENTRY_MAX + 1)) is Code.TOO_LARGE


@pytest.mark.parametrize(
    ("place", "value"), [(1, True), (1, 2.0), (3, "1"), (0, "a" * 32), (5, None), (7, [-1.5])]
)
def test_a_field_of_another_kind_is_refused(place: int, value: object) -> None:
    fields = list(msgspec.structs.astuple(BODY))
    fields[place] = value
    assert refused(bytes(64) + PREFIX + msgspec.msgpack.encode(fields)) is Code.MALFORMED


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("author", [bytes(31), bytes(33)]),
        ("seq", [0, 2**32]),
        ("prev", [b"", bytes(31), bytes(33)]),
        ("at_ms", [-1, 2**48 + 1]),
        ("type", [0, 256]),
        ("refs", [(bytes(31),), tuple(bytes([place]) * 32 for place in range(9))]),
        ("stock", [(-1,), (2**53,), (0,) * 7]),
        ("facts", [(-1,), (bytes(15),), (bytes(33),), (0,) * 25]),
        ("payload_len", [-1, 4097]),
        ("payload_hash", [b"", bytes(31), bytes(33)]),
    ],
)
def test_a_field_beyond_its_bounds_is_refused_whoever_signed_it(
    field: str, values: list[object]
) -> None:
    for value in values:
        body = msgspec.structs.replace(BODY, **{field: value})
        assert refused(sign(KEY, body).raw) is Code.MALFORMED


def test_a_field_at_its_bounds_is_read() -> None:
    body = Body(
        KEY.public,
        2**32 - 1,
        bytes(32),
        2**48,
        255,
        tuple(bytes([place]) * 32 for place in range(8)),
        (2**53 - 1,) * 6,
        (2**64 - 1, bytes(16), bytes(32)),
        4096,
        bytes(32),
    )
    assert parse_entry(sign(KEY, body).raw).body == body


def test_a_field_too_few_or_too_many_is_refused() -> None:
    fields = list(msgspec.structs.astuple(BODY))
    for other in (fields[:9], [*fields, 1]):
        code = refused(bytes(64) + PREFIX + msgspec.msgpack.encode(other))
        assert code in (Code.MALFORMED, Code.NOT_CANONICAL)


def test_a_second_encoding_of_the_same_body_is_refused() -> None:
    packed = ENTRY.raw[68:]
    assert packed[35] == 2
    longer = packed[:35] + b"\xcc\x02" + packed[36:]
    assert refused(bytes(64) + PREFIX + longer) is Code.NOT_CANONICAL


def test_a_record_is_read_again_with_and_without_its_payload() -> None:
    for record in (Record(ENTRY), Record(ENTRY, SALT, PAYLOAD)):
        data = encode_record(record)
        assert read_record(b"??" + data, 2) == (record, len(data) + 2)


def test_a_payload_that_the_entry_does_not_name_is_refused() -> None:
    for salt, payload in ((b"t" * 16, PAYLOAD), (SALT, encode({"text": "hullo"})), (SALT, b"")):
        carried = salt + payload
        data = encode_uvarint(len(ENTRY.raw)) + ENTRY.raw
        data += encode_uvarint(len(carried)) + carried
        with pytest.raises(RemoteError) as caught:
            read_record(data, 0)
        assert caught.value.code is Code.BAD_PAYLOAD


def test_a_record_cut_off_anywhere_is_refused() -> None:
    data = encode_record(Record(ENTRY, SALT, PAYLOAD))
    for length in range(len(data)):
        with pytest.raises(RemoteError):
            read_record(data[:length], 0)


def test_records_fill_their_bytes_exactly_and_have_a_bound() -> None:
    data = encode_record(Record(ENTRY)) * 3
    assert read_records(data, 3) == [Record(ENTRY)] * 3
    with pytest.raises(RemoteError, match="more than 2 records"):
        read_records(data, 2)
    with pytest.raises(RemoteError):
        read_records(data + b"\x01", 4)
