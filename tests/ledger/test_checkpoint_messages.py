"""Questions about checkpoints: read strictly, and answered by nothing that was not asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.ledger.checkpoint import WitnessKey, origin_of, sign_checkpoint
from passby.ledger.checkpoint_messages import (
    AskKey,
    AskNewest,
    Question,
    encode_answer,
    encode_question,
    parse_key_answer,
    parse_newest_answer,
    parse_question,
)
from passby.ledger.note import KeyKind, VerifierKey
from passby.ledger.witness import Reason, Refuse
from passby.protocol.codec import read_uvarint
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import CHECKPOINT_ANSWER_MAX, CHECKPOINT_QUESTION_MAX, SEQ_MAX

AUTHOR = SigningKey(b"\x01" * 32)
OTHER = SigningKey(b"\x02" * 32)
WITNESS = WitnessKey(OTHER)
SIGNED = sign_checkpoint(AUTHOR, 7, bytes(32))
ORIGIN = origin_of(AUTHOR.public)


def body(framed: bytes) -> bytes:
    length, start = read_uvarint(framed, 0, CHECKPOINT_ANSWER_MAX)
    assert len(framed) == start + length
    return framed[start:]


@pytest.mark.parametrize(
    "question", [AskKey(), AskNewest(AUTHOR.public, 1), AskNewest(AUTHOR.public, SEQ_MAX)]
)
def test_a_question_is_read_as_it_was_asked(question: Question) -> None:
    data = body(encode_question(question))
    assert parse_question(data) == question
    assert len(data) <= CHECKPOINT_QUESTION_MAX


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"witness",
        b"witness\n\n",
        b"witness \n",
        b"newest\n",
        f"newest {ORIGIN} 0\n".encode(),
        f"newest {ORIGIN} 07\n".encode(),
        f"newest {ORIGIN} {SEQ_MAX + 1}\n".encode(),
        f"newest {ORIGIN}  7\n".encode(),
        f"newest {ORIGIN} 7".encode(),
        f"newest {ORIGIN[:-1]} 7\n".encode(),
        f"newest {ORIGIN} 7\nwitness\n".encode(),
        b"newest " + b"a" * CHECKPOINT_QUESTION_MAX,
    ],
)
def test_anything_else_is_no_question(data: bytes) -> None:
    with pytest.raises(RemoteError):
        parse_question(data)


def test_an_answer_is_read_as_it_was_given() -> None:
    asked = AskNewest(AUTHOR.public, 7)
    assert parse_newest_answer(body(encode_answer(SIGNED)), asked) == SIGNED
    assert parse_key_answer(body(encode_answer(WITNESS.verifier))) == WITNESS.verifier
    for reason in (Reason.MALFORMED, Reason.UNKNOWN, Reason.BUSY):
        data = body(encode_answer(Refuse(reason)))
        assert parse_newest_answer(data, asked) == parse_key_answer(data) == Refuse(reason)


@pytest.mark.parametrize(
    "asked", [AskNewest(AUTHOR.public, 8), AskNewest(OTHER.public, 7)], ids=["smaller", "another's"]
)
def test_a_checkpoint_that_was_not_asked_for_is_refused(asked: AskNewest) -> None:
    with pytest.raises(RemoteError):
        parse_newest_answer(body(encode_answer(SIGNED)), asked)


def test_a_checkpoint_that_its_author_did_not_sign_is_refused() -> None:
    forged = (
        sign_checkpoint(OTHER, 7, bytes(32))
        .encode()
        .replace(OTHER.public.hex().encode(), AUTHOR.public.hex().encode())
    )
    with pytest.raises(RemoteError):
        parse_newest_answer(b"\x00\xc8" + forged, AskNewest(AUTHOR.public, 7))


def test_a_key_that_signs_notes_is_no_witness_key() -> None:
    key = VerifierKey("ann", KeyKind.ED25519, AUTHOR.public)
    with pytest.raises(RemoteError):
        parse_key_answer(body(encode_answer(key)))


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x00\xc8", b"\x01\x94", b"\x01\xad"]))
def test_any_bytes_are_an_answer_or_a_remote_error(data: bytes, status: bytes) -> None:
    for parse in (
        lambda given: parse_newest_answer(given, AskNewest(AUTHOR.public, 1)),
        parse_key_answer,
        parse_question,
    ):
        try:
            parse(status + data)
        except RemoteError:
            continue
