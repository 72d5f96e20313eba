"""Sync messages: every byte of them, and how a stream of bytes becomes frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.protocol.codec import encode_uvarint
from passby.protocol.entry import Body, Record, encode_record, payload_hash, read_records, sign
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import (
    CREDIT_GRANT_MIN,
    CREDIT_MAX,
    ENTRIES_PER_FRAME_MAX,
    FRAME_MAX,
    HEADS_PER_FRAME_MAX,
    SEQ_MAX,
    SMALL_FRAME,
    SMALL_FRAMES_MAX,
    WANTS_PER_FRAME_MAX,
)
from passby.protocol.messages import (
    ENTRIES_MAX,
    Changes,
    Credit,
    Done,
    End,
    Entries,
    Follow,
    Follows,
    FrameReader,
    Head,
    Heads,
    Hello,
    Kind,
    Listed,
    Message,
    Unknown,
    Want,
    Wants,
    decode_message,
    encode_message,
    frame,
)
from passby.protocol.messages_aside import Ask, Copy, Payloads, Statements

A, B = b"\xaa" * 32, b"\xbb" * 32
NETWORK = b"N" * 32
SALT = b"s" * 16
KEY = SigningKey(b"k" * 32)
RECORD = Record(sign(KEY, Body(KEY.public, 1, None, 0, 1, facts=(b"f" * 32,))))

GOLDEN: list[tuple[Message, str]] = [
    (
        Hello(NETWORK, 5, at_ms=0x1A0, instance=b"i" * 16, heard=b"h" * 16, since=9),
        "5701000100000005"
        + "4e" * 32
        + "00000000000001a0"
        + "69" * 16
        + "68" * 16
        + "0000000000000009",
    ),
    (Follows((Follow(1, 258), Follow(0, 9))), "110900000001000001020000000000000009"),
    (Changes(258), "09110000000000000102"),
    (Heads((Head(A, 7, b"12345678"),)), "2d02" + "aa" * 32 + "000000073132333435363738"),
    (Listed(), "0103"),
    (Wants((Want(A, 1, 258),)), "2904" + "aa" * 32 + "0000000100000102"),
    (Wants((Want(B, 9, SEQ_MAX),)), "2904" + "bb" * 32 + "00000009ffffffff"),
    (Wants((Want(B, 0, 0),)), "2904" + "bb" * 32 + "0000000000000000"),
    (End(A, 3), "2506" + "aa" * 32 + "00000003"),
    (Credit(65536), "050700010000"),
    (Statements((b"one", b"two!")), "0a13" + "036f6e65" + "0474776f21"),
    (Ask((A, B)), "410a" + "aa" * 32 + "bb" * 32),
    (
        Payloads((Copy(A, B * 2, SALT + b"\x80"), Copy(B))),
        "d40110" + "aa" * 32 + "bb" * 64 + "11" + "73" * 16 + "80" + "bb" * 32 + "00" * 65,
    ),
    (Done(), "0108"),
]


def taken(data: bytes) -> list[Message]:
    reader = FrameReader()
    reader.feed(data)
    found = []
    while (part := reader.take()) is not None:
        found.append(decode_message(*part))
    assert not reader.pending
    return found


@pytest.mark.parametrize(
    ("message", "wire"), GOLDEN, ids=[wire[:12] + wire[-8:] for _, wire in GOLDEN]
)
def test_every_message_has_its_one_encoding(message: Message, wire: str) -> None:
    assert encode_message(message).hex() == wire
    assert taken(bytes.fromhex(wire)) == [message]


def test_entries_are_framed_records() -> None:
    body = encode_record(RECORD)
    (found,) = taken(frame(Kind.ENTRIES, body * 2))
    assert isinstance(found, Entries)
    assert found.size == 2 * RECORD.size
    assert [(each.author, each.seq) for each in found.places] == [(RECORD.entry.author, 1)] * 2
    assert read_records(found.packed, 2) == [RECORD, RECORD]


def test_entries_and_unknown_messages_are_not_encoded_twice() -> None:
    for message in (Entries(b"", (), 1), Unknown(99, 0)):
        with pytest.raises(ValueError, match="frame"):
            encode_message(message)


def test_the_longest_lists_fit_in_a_frame() -> None:
    heads = Heads((Head(A, 1, b"12345678"),) * HEADS_PER_FRAME_MAX)
    wants = Wants((Want(A, 1, 1),) * WANTS_PER_FRAME_MAX)
    assert taken(encode_message(heads)) == [heads]
    assert taken(encode_message(wants)) == [wants]


def test_no_frame_of_real_entries_holds_more_than_the_bound() -> None:
    assert ENTRIES_PER_FRAME_MAX * len(encode_record(RECORD)) > FRAME_MAX


def test_records_beyond_what_a_frame_may_bring_are_refused() -> None:
    """Lengths aside, so that who stored one frame's run can pass it on in one frame."""
    payload = b"\xc5\x0f\xfd" + bytes(4093)
    body = Body(KEY.public, 2, b"p" * 32, 0, 200, (), (), (), 4096, payload_hash(SALT, payload))
    packed = encode_record(Record(sign(KEY, body), SALT, payload))
    fits, size = divmod(ENTRIES_MAX, len(packed) - 4)
    assert isinstance(decode_message(Kind.ENTRIES, packed * fits), Entries)
    assert size < len(packed)
    assert len(packed) * (fits + 1) < FRAME_MAX
    with pytest.raises(RemoteError) as caught:
        decode_message(Kind.ENTRIES, packed * (fits + 1))
    assert caught.value.code is Code.TOO_LARGE


@pytest.mark.parametrize(
    "kind",
    [0, 12, 64, 255, Kind.CHECKPOINT],
)
def test_kinds_that_are_not_read_come_out_as_unknown(kind: int) -> None:
    assert taken(frame(kind, b"whatever")) == [Unknown(kind, 8)]


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (Kind.HELLO, b"", Code.MALFORMED),
        (Kind.HELLO, b"\x00\x01" + bytes(83), Code.MALFORMED),
        (Kind.HELLO, b"\x00\x01" + bytes(85), Code.MALFORMED),
        (Kind.FOLLOW, b"", Code.MALFORMED),
        (Kind.FOLLOW, bytes(9), Code.MALFORMED),
        (Kind.FOLLOW, bytes(8), Code.BAD_FIELD),
        (Kind.CHANGES, bytes(7), Code.MALFORMED),
        (Kind.HELLO, b"\x00\x02", Code.VERSION),
        (Kind.HELLO, b"\x00\x02" + bytes(99), Code.VERSION),
        (Kind.HEADS, b"", Code.MALFORMED),
        (Kind.HEADS, bytes(43), Code.MALFORMED),
        (Kind.HEADS, bytes(44), Code.BAD_FIELD),
        (Kind.HEADS, b"\x01" * 44 * (HEADS_PER_FRAME_MAX + 1), Code.MALFORMED),
        (Kind.LISTED, b"\x00", Code.MALFORMED),
        (Kind.WANT, b"", Code.MALFORMED),
        (Kind.WANT, bytes(41), Code.MALFORMED),
        (Kind.WANT, A + b"\0\0\0\x02\0\0\0\x01", Code.BAD_FIELD),
        (Kind.WANT, A + b"\0\0\0\x00\0\0\0\x01", Code.BAD_FIELD),
        (Kind.WANT, A + b"\0\0\0\x01\0\0\0\x00", Code.BAD_FIELD),
        (Kind.WANT, b"\x01" * 40 * (WANTS_PER_FRAME_MAX + 1), Code.MALFORMED),
        (Kind.ENTRIES, b"", Code.MALFORMED),
        (Kind.ENTRIES, encode_record(RECORD)[:-1], Code.MALFORMED),
        (Kind.ENTRIES, encode_record(RECORD) + b"\x00", Code.MALFORMED),
        (Kind.END, bytes(35), Code.MALFORMED),
        (Kind.END, bytes(37), Code.MALFORMED),
        (Kind.CREDIT, bytes(3), Code.MALFORMED),
        (Kind.CREDIT, (CREDIT_GRANT_MIN - 1).to_bytes(4, "big"), Code.BAD_FIELD),
        (Kind.CREDIT, (CREDIT_MAX + 1).to_bytes(4, "big"), Code.BAD_FIELD),
        (Kind.DONE, b"\x00", Code.MALFORMED),
    ],
)
def test_a_body_that_is_not_of_its_kind_is_refused(kind: int, body: bytes, code: Code) -> None:
    with pytest.raises(RemoteError) as caught:
        decode_message(kind, body)
    assert caught.value.code is code


def test_another_version_costs_a_peer_nothing() -> None:
    with pytest.raises(RemoteError) as caught:
        decode_message(Kind.HELLO, b"\x00\x09")
    assert caught.value.penalty == 0


@given(st.lists(st.sampled_from(GOLDEN), max_size=8), st.data())
def test_frames_come_out_the_same_however_the_stream_is_split(
    said: list[tuple[Message, str]], data: st.DataObject
) -> None:
    wire = b"".join(bytes.fromhex(part) for _, part in said)
    reader, found, at = FrameReader(), [], 0
    while at < len(wire):
        size = data.draw(st.integers(1, len(wire) - at))
        reader.feed(wire[at : at + size])
        at += size
        while (part := reader.take()) is not None:
            found.append(decode_message(*part))
    assert found == [message for message, _ in said]


def test_the_largest_frame_passes_and_a_larger_one_is_refused_from_its_length() -> None:
    body = bytes(FRAME_MAX - 1)
    assert taken(frame(200, body)) == [Unknown(200, FRAME_MAX - 1)]
    with pytest.raises(ValueError, match="frame"):
        frame(200, body + b"\x00")
    reader = FrameReader()
    reader.feed(encode_uvarint(FRAME_MAX + 1))
    with pytest.raises(RemoteError) as caught:
        reader.take()
    assert caught.value.code is Code.TOO_LARGE


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"\x00", Code.MALFORMED),
        (b"\x81\x00", Code.NOT_CANONICAL),
        (b"\x81\x80\x00", Code.NOT_CANONICAL),
        (b"\xff\xff\xff", Code.TOO_LARGE),
        (b"\x80\x80\x80", Code.TOO_LARGE),
    ],
)
def test_a_length_that_no_honest_side_writes_is_refused(head: bytes, code: Code) -> None:
    reader = FrameReader()
    reader.feed(head)
    with pytest.raises(RemoteError) as caught:
        reader.take()
    assert caught.value.code is code


def test_the_reader_holds_no_more_than_it_says() -> None:
    reader = FrameReader()
    reader.feed(bytes([0xFF]) * reader.room)
    assert reader.room == 0
    with pytest.raises(ValueError, match="room"):
        reader.feed(b"\x00")


def test_an_endless_row_of_tiny_frames_is_a_flood() -> None:
    reader = FrameReader()
    reader.feed(frame(200, b"") * (SMALL_FRAMES_MAX + 1))
    for _ in range(SMALL_FRAMES_MAX):
        assert reader.take() == (200, b"")
    with pytest.raises(RemoteError) as caught:
        reader.take()
    assert caught.value.code is Code.FLOOD


def test_credit_and_larger_frames_are_no_flood() -> None:
    reader = FrameReader()
    for _ in range(3):
        reader.feed(encode_message(Credit(CREDIT_GRANT_MIN)) * SMALL_FRAMES_MAX)
        reader.feed(frame(200, b"") * SMALL_FRAMES_MAX + frame(200, bytes(SMALL_FRAME)))
        while reader.take() is not None:
            pass
    assert not reader.pending


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.STATEMENT, b""),
        (Kind.STATEMENT, b"\x00"),
        (Kind.STATEMENT, b"\x05four"),
        (Kind.STATEMENT, b"\x01a" * 65),
        (Kind.STATEMENT, b"\xc1\x04" + b"a" * 577),
        (Kind.ASK, b""),
        (Kind.ASK, A + b"x"),
        (Kind.ASK, A * 257),
        (Kind.PAYLOAD, b""),
        (Kind.PAYLOAD, A),
        (Kind.PAYLOAD, A * 3 + b"\x10" + SALT),
        (Kind.PAYLOAD, A * 3 + b"\x11" + SALT),
        (Kind.PAYLOAD, (A * 3 + b"\x00") * 33),
        (Kind.PAYLOAD, A * 3 + b"\x91\x20" + bytes(4113)),
    ],
)
def test_lists_beside_chains_that_are_empty_cut_off_or_too_long_are_refused(
    kind: Kind, body: bytes
) -> None:
    with pytest.raises(RemoteError):
        decode_message(kind, body)


def test_the_largest_answer_fits_in_a_frame() -> None:
    most = Payloads((Copy(A, B * 2, SALT + bytes(4096)),) * 32)
    assert taken(encode_message(most)) == [most]
