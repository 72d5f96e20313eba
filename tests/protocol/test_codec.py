"""Canonical msgpack and varints: one value, one encoding."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.protocol.codec import decode, encode, encode_uvarint, read_uvarint
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import NESTING_MAX


def refused(data: bytes, code: Code, most: int = 1000) -> None:
    with pytest.raises(RemoteError) as caught:
        decode(data, most)
    assert caught.value.code is code


def test_map_keys_stand_in_code_point_order_whatever_order_they_came_in() -> None:
    assert encode({"b": 1, "a": 2}) == encode({"a": 2, "b": 1}) == b"\x82\xa1a\x02\xa1b\x01"


def test_map_keys_in_another_order_are_refused() -> None:
    refused(b"\x82\xa1b\x01\xa1a\x02", Code.NOT_CANONICAL)


def test_a_key_twice_is_refused() -> None:
    refused(b"\x82\xa1a\x01\xa1a\x01", Code.NOT_CANONICAL)


@pytest.mark.parametrize("data", [b"\xcc\x01", b"\xcd\x00\x01", b"\xd0\x01", b"\xd9\x01a"])
def test_needlessly_long_forms_are_refused(data: bytes) -> None:
    refused(data, Code.NOT_CANONICAL)


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_floats_are_refused_both_ways(value: float) -> None:
    with pytest.raises(ValueError, match="no place"):
        encode([value])  # type: ignore[list-item]  # what is tested
    refused(msgpack.packb(value), Code.MALFORMED)


def test_extension_types_are_refused() -> None:
    refused(msgpack.packb(msgpack.ExtType(1, b"x")), Code.MALFORMED)
    refused(msgpack.packb(msgpack.Timestamp(0)), Code.MALFORMED)


def test_text_is_nfc_in_values_and_keys() -> None:
    decomposed = "e\u0301"
    with pytest.raises(ValueError, match="NFC"):
        encode(decomposed)
    refused(msgpack.packb(decomposed), Code.MALFORMED)
    refused(msgpack.packb({decomposed: 1}), Code.MALFORMED)


def test_map_keys_are_text() -> None:
    refused(b"\x81\x01\x01", Code.MALFORMED)
    refused(b"\x81\xc4\x01a\x01", Code.MALFORMED)


def test_bytes_after_the_value_are_refused() -> None:
    refused(b"\x01\x01", Code.MALFORMED)


def test_too_many_bytes_are_refused_unread() -> None:
    refused(b"\xff" * 11, Code.TOO_LARGE, most=10)


def test_nesting_ends_somewhere() -> None:
    deep: object = 1
    for _ in range(NESTING_MAX):
        deep = [deep]
    assert decode(encode(deep), 100) == deep  # type: ignore[arg-type]  # lists all the way
    refused(msgpack.packb([deep]), Code.MALFORMED)


def test_integers_fit_in_64_bits() -> None:
    assert decode(encode([2**64 - 1, -(2**63)]), 100) == [2**64 - 1, -(2**63)]
    with pytest.raises(ValueError, match="64 bits"):
        encode(2**64)


text = st.text(st.characters(codec="ascii"), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=9) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_what_is_encoded_is_read_again(value: object) -> None:
    try:
        data = encode(value)  # type: ignore[arg-type]  # the strategy draws values
    except ValueError:
        return  # nested too deep
    assert decode(data, 10_000) == value


@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_read_again(number: int) -> None:
    if number < 2**56:
        assert read_uvarint(b"x" + encode_uvarint(number), 1, number)[0] == number


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.MALFORMED),
        (b"\x80", Code.MALFORMED),
        (b"\x80\x00", Code.NOT_CANONICAL),
        (b"\xe9\x07", Code.TOO_LARGE),
        (b"\x80" * 20, Code.MALFORMED),
    ],
)
def test_a_varint_cut_off_padded_or_too_large_is_refused(data: bytes, code: Code) -> None:
    with pytest.raises(RemoteError) as caught:
        read_uvarint(data, 0, 1000)
    assert caught.value.code is code


def test_numbers_below_0_have_no_varint() -> None:
    with pytest.raises(ValueError, match="no uvarint"):
        encode_uvarint(-1)
