"""Every decoder: a value or a RemoteError, whatever the bytes.

Each valid case is read whole, cut off at every byte, with bytes behind it, and with bytes
changed, put in and taken out at random; and what is accepted encodes to the very same bytes.
`HYPOTHESIS_PROFILE=long` goes on for a night.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors.make import FOLDER

from passby.ledger.proof_bytes import decode_proof, encode_proof
from passby.protocol.codec import Value, decode, encode
from passby.protocol.entry import (
    Body,
    Record,
    encode_record,
    parse_entry,
    payload_hash,
    read_records,
    sign,
)
from passby.protocol.errors import RemoteError
from passby.protocol.judge import Reject, judge
from passby.protocol.keys import Certificate, SigningKey, certificate_commitment
from passby.protocol.limits import FRAME_MAX, PAYLOAD_MAX
from passby.protocol.messages import (
    Credit,
    Done,
    End,
    FrameReader,
    Head,
    Heads,
    Hello,
    Kind,
    Listed,
    Message,
    Want,
    Wants,
    decode_message,
    encode_message,
    frame,
)
from passby.protocol.messages_aside import Ask, Copy, Payloads, ProofPart, Statements
from passby.protocol.payloads import (
    Adjust,
    Genesis,
    LotTerms,
    Note,
    Offer,
    Payload,
    Propose,
    Request,
    Stated,
    Terms,
    decode_payload,
    encode_payload,
)
from passby.protocol.price import Price
from passby.protocol.statements import Heal, Opening, Seal, parse_statement
from passby.protocol.topics import topic_for
from passby.protocol.types import SHAPES, EntryType, check_shape
from passby.protocol.units import Unit

KEY = SigningKey(b"k" * 32)
SALT = b"s" * 16
ID = b"\x11" * 32
CELL = 0x851FA447FFFFFFF
"""Somewhere, at resolution 5."""
ROOT = SigningKey(b"r" * 32)
CERTIFICATE = Certificate.issue(ROOT, KEY.public, 1_000)


class Target(NamedTuple):
    """One decoder, what encodes its values again (None: not), and valid bytes for it."""

    name: str
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes] | None
    cases: tuple[bytes, ...]


PRICE = Price(130, 750, "EUR", ((1, 130), (1_000, 20)))
PAYLOADS: dict[type[Payload], Payload] = {
    Genesis: Genesis("Ada", CERTIFICATE.raw, SALT),
    Stated: Stated(CERTIFICATE.raw),
    Offer: Offer(name="Milk", category="food", unit=Unit.MILLILITRE, price=PRICE, cell=7, text="é"),
    Request: Request(
        name="Milk", category="food", unit=Unit.MILLILITRE, amount=5, price=PRICE, cell=2**62
    ),
    Adjust: Adjust("spilt"),
    Propose: Propose(Terms((LotTerms(ID, 5, Unit.PIECE, 9, "EUR"),), "now"), SALT),
    Note: Note("thanks"),
}


def bodies() -> list[Body]:
    """One body of every type, and one of a type of a later version."""
    key, at = KEY.public, 1_700_000_000_000
    refs = tuple(bytes([number]) * 32 for number in range(1, 9))
    lot = (2, 2, 0, 5, 5, 0)
    shaped: dict[int, tuple[tuple[bytes, ...], tuple[int, ...], tuple[int | bytes, ...]]] = {
        EntryType.GENESIS: ((), (), (certificate_commitment(SALT, CERTIFICATE.raw),)),
        EntryType.OFFER: ((), (3, 0, 0, 5, 5, 0), (1, 2**63)),
        EntryType.REQUEST: (refs[:1], (), (1, 2)),
        EntryType.ADJUST: (refs[:2], lot, ()),
        EntryType.CLOSE: (refs[:1], lot, ()),
        EntryType.PROPOSE: (refs[:2], (), (ID, 9, 5, 2, 9, 5, 0, 9)),
        EntryType.RESERVE: (refs[:2], lot, (9, ID)),
        EntryType.CONFIRM: (refs[:7], (), (9, *refs[:6])),
        EntryType.COMMIT: (refs[:3], (), ()),
        EntryType.HANDOVER: (refs, lot, (SALT, 5)),
        EntryType.RECEIPT: (refs[:2], (), (1, 0)),
        EntryType.RELEASE: (refs[:3], lot, (4,)),
        EntryType.CANCEL: (refs[:3], (), (4,)),
        EntryType.STATEMENT: ((), (), ()),
        EntryType.WITHDRAW: (refs[:1], (), (2,)),
        EntryType.RATING: (refs[:1], (), (5,)),
        EntryType.VOUCH: ((), (), (ID, 1)),
        200: (refs[:1], (), (SALT, 2**64 - 1)),
    }
    assert set(SHAPES) <= set(shaped)
    return [
        Body(key, 1 if kind == 1 else 3, None if kind == 1 else ID, at, kind, refs, stock, facts)
        for kind, (refs, stock, facts) in shaped.items()
    ]


def records() -> list[Record]:
    found = [Record(sign(KEY, body)) for body in bodies()]
    for payload in PAYLOADS.values():
        packed = encode_payload(payload)
        body = msgspec.structs.replace(
            bodies()[1], payload_len=len(packed), payload_hash=payload_hash(SALT, packed)
        )
        found.append(Record(sign(KEY, body), SALT, packed))
    return found


def read_frames(data: bytes) -> list[Message]:
    """Read a stream to its end, as a session does; what is left over is an error."""
    reader = FrameReader()
    reader.feed(data)
    found = []
    while (taken := reader.take()) is not None:
        found.append(decode_message(*taken))
    return found


def read_shape(data: bytes) -> Body:
    body = parse_entry(data).body
    check_shape(body)
    return body


def bundles() -> list[bytes]:
    """Gossip messages that are well formed, of offers and requests alone and together."""
    found = []
    for at in (1, 2):
        payload = encode_payload(tuple(PAYLOADS.values())[at])
        body = msgspec.structs.replace(
            bodies()[at],
            facts=(CELL, 2**60),
            payload_len=len(payload),
            payload_hash=payload_hash(SALT, payload),
        )
        found.append(encode_record(Record(sign(KEY, body), SALT, payload)))
    return [*found, b"".join(found)]


def judged(data: bytes) -> object:
    """Judge a gossip message; a judge says what it finds and raises nothing."""
    match judge(data, topic_for(CELL), 1_700_000_000_000):
        case Reject(error=error):
            raise error
        case verdict:
            return verdict


def encoded_entry(value: Any) -> bytes:
    return bytes(value.raw)


def proofs() -> tuple[bytes, ...]:
    """Proofs of every kind, as the vectors have them."""
    found = read("proofs") + read("checkpoints")["forks"]
    return tuple(bytes.fromhex(case["proof"]) for case in found)


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))


MESSAGES: tuple[Message, ...] = (
    Hello(b"n" * 32, 7),
    Heads((Head(ID, 1, b"12345678"), Head(ID, 2**32 - 1, b"87654321"))),
    Listed(),
    Wants((Want(ID, 1, 9), Want(ID, 9, 2**32 - 1), Want(ID, 0, 0))),
    End(ID, 4),
    Credit(65_536),
    Statements((b"said",)),
    Ask((ID, ID)),
    ProofPart(b"\x01\x01whatever"),
    Payloads((Copy(ID, ID * 2, SALT + b"\x80"), Copy(ID))),
    Done(),
)
FRAMES = (
    *(encode_message(message) for message in MESSAGES),
    *(frame(Kind.ENTRIES, encode_record(record)) for record in records()),
    frame(99, b"a hint"),
)
VALUES: tuple[Value, ...] = (
    None,
    0,
    2**64 - 1,
    -1,
    True,
    b"",
    "é",
    [1, [b"x", {}]],
    {"a": [None], "b": {"c": "d"}},
)

TARGETS = [
    Target(
        "codec",
        lambda data: decode(data, 4096),
        encode,
        (*map(encode, VALUES), *map(encode_payload, PAYLOADS.values())),
    ),
    Target("entry", parse_entry, encoded_entry, tuple(record.entry.raw for record in records())),
    Target("shape", read_shape, None, tuple(record.entry.raw for record in records())),
    Target(
        "records",
        lambda data: read_records(data, 16),
        lambda found: b"".join(map(encode_record, found)),
        tuple(encode_record(record) for record in records()),
    ),
    Target("certificate", Certificate.parse, lambda found: bytes(found.raw), (CERTIFICATE.raw,)),
    Target(
        "statement",
        parse_statement,
        lambda found: bytes(found.raw),
        tuple(
            made.raw
            for made in (
                CERTIFICATE,
                Seal.issue(ROOT, KEY.public, 3, bytes(32), 1_000),
                Seal.issue(ROOT, KEY.public, 3, bytes(32), 1_000, Opening(SALT, CERTIFICATE)),
                Heal.issue(ROOT, KEY.public, 3, bytes(32), 1_000),
            )
        ),
    ),
    Target("proof", decode_proof, encode_proof, proofs()),
    Target("frames", read_frames, None, FRAMES),
    Target("judge", judged, None, tuple(bundles())),
    *(
        Target(
            kind.__name__.lower(),
            lambda data, kind=kind: decode_payload(data, kind),  # type: ignore[misc]  # bound early
            None,
            (encode_payload(payload),),
        )
        for kind, payload in PAYLOADS.items()
    ),
]
each_target = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


def attempt(target: Target, data: bytes) -> object:
    """Return the value, or None; whatever else comes out fails the test."""
    try:
        value = target.read(data)
    except RemoteError:
        return None
    if target.write is not None:
        assert target.write(value) == data
    return value


@each_target
def test_every_valid_case_is_read_whole(target: Target) -> None:
    for case in target.cases:
        value = target.read(case)
        if target.write is not None:
            assert target.write(value) == case


@each_target
def test_every_valid_case_cut_off_anywhere_is_refused_or_another_value(target: Target) -> None:
    for case in target.cases:
        for end in range(len(case)):
            attempt(target, case[:end])


@each_target
def test_every_valid_case_with_bytes_behind_it_is_refused_or_another_value(target: Target) -> None:
    for case in target.cases:
        for tail in (b"\x00", b"\x01", b"\x80", b"\xc0", b"\xff", b"\x00" * 9, case):
            attempt(target, case + tail)


@each_target
def test_every_valid_case_with_any_one_byte_changed_is_refused_or_another_value(
    target: Target,
) -> None:
    for case in target.cases:
        for at in range(len(case)):
            for mask in (0x01, 0x80, 0xFF):
                attempt(target, case[:at] + bytes([case[at] ^ mask]) + case[at + 1 :])


@pytest.mark.parametrize("name", ["codec", "entry", "shape", "certificate", *("offer", "note")])
def test_what_is_one_value_has_nothing_behind_it(name: str) -> None:
    (target,) = (target for target in TARGETS if target.name == name)
    for case in target.cases:
        for tail in (b"\x00", b"\xc0", case):
            with pytest.raises(RemoteError):
                target.read(case + tail)


Edit = tuple[str, int, bytes]
EDITS: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(
        st.sampled_from(["put", "set", "cut", "twice"]), st.integers(0, 2000), st.binary(max_size=6)
    ),
    min_size=1,
    max_size=4,
)


def edited(case: bytes, edits: list[Edit]) -> bytes:
    for how, place, data in edits:
        at = place % (len(case) + 1)
        match how:
            case "put":
                case = case[:at] + data + case[at:]
            case "set":
                case = case[:at] + data + case[at + len(data) :]
            case "cut":
                case = case[:at] + case[at + max(1, len(data)) :]
            case _:
                case = case[:at] + case[at // 2 : at] + case[at:]
    return case


@each_target
@given(st.data(), EDITS)
def test_mutated_bytes_are_refused_or_another_value(
    target: Target, data: st.DataObject, edits: list[Edit]
) -> None:
    attempt(target, edited(data.draw(st.sampled_from(target.cases)), edits))


@each_target
@given(st.binary(max_size=400))
def test_random_bytes_are_refused_or_a_value(target: Target, data: bytes) -> None:
    attempt(target, data)


@given(st.integers(0, 255), st.binary(max_size=300))
def test_any_frame_of_any_kind_is_refused_or_a_message(kind: int, body: bytes) -> None:
    with contextlib.suppress(RemoteError):
        decode_message(kind, body)


@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 4000 + b"\xc0",
        b"\x81\xa1a" * 1300 + b"\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc7\x01\x00\x00",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xcb" + bytes(8),
        b"\xca\x7f\xc0\x00\x00",
        b"\xcf" + bytes(8),
        b"\x82\xa1a\x00\xa1a\x01",
        b"\x82\xa1b\x00\xa1a\x01",
        b"\x81\x90\x00",
        b"\x81\x80\x00",
        b"\xa1\xff",
        b"\xa3e\xcc\x81",
        b"\xa3\xed\xa0\x80",
        b"\xc1",
        b"",
    ],
    ids=lambda data: data[:8].hex() or "empty",
)
def test_known_tricks_of_msgpack_are_refused_everywhere(data: bytes) -> None:
    """Depth, sizes without bytes, extensions, floats, second encodings, odd keys and text."""
    with pytest.raises(RemoteError):
        decode(data, PAYLOAD_MAX)
    with pytest.raises(RemoteError):
        parse_entry(bytes(64) + b"\x00PB1" + data)
    with pytest.raises(RemoteError):
        decode_payload(data, Offer)
    with pytest.raises(RemoteError):
        Certificate.parse(bytes(64) + b"\x01PS1" + data)


INTS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.sampled_from([0, 1, 2**32, 2**53]))
BYTES = st.one_of(st.binary(max_size=40), st.sampled_from([ID, SALT]))
BODIES = st.builds(
    Body,
    author=st.one_of(BYTES, st.just(KEY.public)),
    seq=INTS,
    prev=st.none() | BYTES,
    at_ms=INTS,
    type=st.one_of(st.integers(0, 14), INTS),
    refs=st.lists(BYTES, max_size=10).map(tuple),
    stock=st.lists(INTS, max_size=8).map(tuple),
    facts=st.lists(st.one_of(INTS, BYTES), max_size=26).map(tuple),
    payload_len=INTS,
    payload_hash=st.none() | BYTES,
)
PLAUSIBLE = st.builds(
    lambda body, kind, refs, facts: msgspec.structs.replace(
        body, type=kind, refs=refs, facts=facts
    ),
    st.sampled_from(bodies()[1:]),
    st.integers(2, 14),
    st.lists(st.binary(min_size=32, max_size=32), max_size=9, unique=True).map(tuple),
    st.lists(st.one_of(st.integers(0, 2**64 - 1), st.just(ID), st.just(SALT)), max_size=25).map(
        tuple
    ),
)


@given(st.one_of(BODIES, PLAUSIBLE))
def test_the_shape_of_any_body_is_judged(body: Body) -> None:
    with contextlib.suppress(RemoteError):
        check_shape(body)


@given(st.one_of(BODIES, PLAUSIBLE))
def test_any_body_that_is_read_is_written_the_same(body: Body) -> None:
    raw = sign(KEY, body).raw
    with contextlib.suppress(RemoteError):
        assert parse_entry(raw).raw == raw


@given(st.sampled_from(FRAMES), st.lists(st.integers(1, 50), min_size=1, max_size=40), EDITS)
def test_a_damaged_stream_says_the_same_however_it_is_split(
    case: bytes, sizes: list[int], edits: list[Edit]
) -> None:
    stream = FRAMES[0] + edited(case, edits)
    pieces: list[bytes] = []
    at = 0
    while at < len(stream):
        pieces.append(stream[at : at + sizes[len(pieces) % len(sizes)]])
        at += len(pieces[-1])
    assert spoken(pieces) == spoken([stream])


def spoken(pieces: list[bytes]) -> list[Message | str]:
    reader = FrameReader()
    found: list[Message | str] = []
    for piece in pieces:
        assert len(piece) <= FRAME_MAX
        reader.feed(piece)
        try:
            while (taken := reader.take()) is not None:
                found.append(decode_message(*taken))
        except RemoteError as error:
            return [*found, str(error)]
    return found
