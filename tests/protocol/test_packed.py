"""Records told apart without decoding say what decoding says, for whatever can be decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.protocol.entry import Body, Record, encode_record, payload_hash, read_record, sign
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import SEQ_MAX
from passby.protocol.packed import joined, pack, place_at, places

KEY = SigningKey(b"k" * 32)
SALT = b"s" * 16


def record(seq: int, payload: bytes | None = None) -> Record:
    hashed = payload_hash(SALT, payload) if payload is not None else None
    length = len(payload) if payload is not None else 0
    body = Body(KEY.public, seq, b"p" * 32, 0, 200, (), (), (), length, hashed)
    return Record(sign(KEY, body), SALT if payload is not None else None, payload)


@given(st.integers(1, SEQ_MAX), st.one_of(st.none(), st.binary(min_size=1, max_size=4096)))
def test_a_place_says_what_decoding_says(seq: int, payload: bytes | None) -> None:
    made = record(seq, payload)
    packed = encode_record(made)
    place = place_at(b"before" + packed, 6)
    assert (place.author, place.seq, place.size) == (KEY.public, seq, made.size)
    assert place.end == 6 + len(packed)
    assert place.short_id(b"before" + packed) == made.entry.id[:8]


@given(st.one_of(st.none(), st.binary(min_size=1, max_size=4096)))
def test_packing_stored_bytes_gives_the_record(payload: bytes | None) -> None:
    made = record(3, payload)
    assert pack(made.entry.raw, None if payload is None else SALT + payload) == encode_record(made)


@given(st.data())
def test_bytes_are_a_place_or_a_remote_error(data: st.DataObject) -> None:
    """And where decoding takes them, both agree on whose they are."""
    packed = bytearray(encode_record(record(70_000, b"\x81\xa1t\xa1x")))
    for _ in range(data.draw(st.integers(0, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(packed[: data.draw(st.integers(0, len(packed)))])
    try:
        found, end = read_record(cut, 0)
    except RemoteError:
        found, end = None, 0
    try:
        place = place_at(cut, 0)
    except RemoteError:
        assert found is None
    else:
        if found is not None:
            assert (place.author, place.seq) == (found.entry.author, found.entry.seq)
            assert (place.end, place.size) == (end, found.size)


def test_records_are_picked_out_of_many() -> None:
    packed = [encode_record(record(seq)) for seq in range(1, 6)]
    found = places(b"".join(packed), 5)
    assert joined(b"".join(packed), found[1:3]) == packed[1] + packed[2]


def test_more_records_than_may_be_are_refused() -> None:
    with pytest.raises(RemoteError) as caught:
        places(encode_record(record(1)) * 3, 2)
    assert caught.value.code is Code.TOO_LARGE
