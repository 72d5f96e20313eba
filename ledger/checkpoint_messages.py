r"""What nodes ask each other about checkpoints: one question and one answer on a stream.

    question = uvarint length ‖ ("witness\n" | "newest " origin " " size "\n")
    answer   = uvarint length ‖ status u16 ‖ body
               200: vkey "\n" of the witness, or the checkpoint    400, 404, 429: nothing

`witness` asks which key the other end cosigns with, `newest` for the newest checkpoint of a
chain that it has, of `size` entries at least. Statuses are those of `witness_messages`.
Nothing in an answer is believed: a vkey is only whom to ask, until a cosignature of its comes;
a checkpoint is worth the signatures below it.
"""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from passby.ledger.checkpoint import (
    SignedCheckpoint,
    author_of,
    check_chain,
    origin_of,
    parse_checkpoint,
    read_decimal,
)
from passby.ledger.note import KeyKind, VerifierKey, parse_vkey, read_text
from passby.ledger.witness import Reason, Refuse
from passby.ledger.witness_messages import STATUS_BYTES
from passby.protocol.codec import encode_uvarint
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import CHECKPOINT_ANSWER_MAX, CHECKPOINT_QUESTION_MAX, SEQ_MAX

ANSWERED: Final = 200
_REFUSALS: Final = frozenset({Reason.MALFORMED, Reason.UNKNOWN, Reason.BUSY})


class AskKey(msgspec.Struct, frozen=True):
    """Which key do you cosign with?"""


class AskNewest(msgspec.Struct, frozen=True):
    """Which is the newest checkpoint of the author's chain that you have, from `size` on?"""

    author: bytes
    size: int


Question = AskKey | AskNewest


def encode_question(question: Question) -> bytes:
    """Return the question as it travels, its length first."""
    match question:
        case AskKey():
            body = b"witness\n"
        case AskNewest(author, size):
            body = f"newest {origin_of(author)} {size}\n".encode()
        case unknown:
            assert_never(unknown)
    return encode_uvarint(len(body)) + body


def parse_question(body: bytes) -> Question:
    """Read a question, without its length.

    Raises:
        RemoteError: not a question; the answer is Refuse(MALFORMED).
    """
    if len(body) > CHECKPOINT_QUESTION_MAX:
        raise RemoteError(Code.TOO_LARGE, f"a question of {len(body)} bytes")
    match read_text(body).removesuffix("\n").split(" "):
        case ["witness"] if body.endswith(b"\n"):
            return AskKey()
        case ["newest", origin, digits] if body.endswith(b"\n"):
            size = read_decimal(digits)
            if not 1 <= size <= SEQ_MAX:
                raise RemoteError(Code.BAD_FIELD, "a size that no chain has")
            return AskNewest(author_of(origin), size)
        case _:
            raise RemoteError(Code.MALFORMED, "not a question about checkpoints")


def encode_answer(answer: VerifierKey | SignedCheckpoint | Refuse) -> bytes:
    """Return the answer as it travels, its length first."""
    match answer:
        case VerifierKey():
            status, body = ANSWERED, f"{answer}\n".encode()
        case SignedCheckpoint():
            status, body = ANSWERED, answer.encode()
        case Refuse(reason):
            status, body = int(reason), b""
        case unknown:
            assert_never(unknown)
    return encode_uvarint(STATUS_BYTES + len(body)) + status.to_bytes(STATUS_BYTES, "big") + body


def parse_key_answer(data: bytes) -> VerifierKey | Refuse:
    """Read the answer to AskKey, without its length.

    Raises:
        RemoteError: not an answer, or not the key of a witness.
    """
    body = _body(data)
    if isinstance(body, Refuse):
        return body
    text = read_text(body)
    key = parse_vkey(text.removesuffix("\n"))
    if not text.endswith("\n") or key.kind is not KeyKind.COSIGNATURE:
        raise RemoteError(Code.BAD_KEY, "not the key of a witness")
    return key


def parse_newest_answer(data: bytes, question: AskNewest) -> SignedCheckpoint | Refuse:
    """Read the answer to AskNewest, without its length; cosignatures are not looked at.

    Raises:
        RemoteError: not an answer, or not a checkpoint that the author signed, of that size.
    """
    body = _body(data)
    if isinstance(body, Refuse):
        return body
    signed = parse_checkpoint(body)
    if check_chain(signed) != question.author or signed.head.size < question.size:
        raise RemoteError(Code.BAD_FIELD, "a checkpoint that was not asked for")
    return signed


def _body(data: bytes) -> bytes | Refuse:
    if not STATUS_BYTES <= len(data) <= CHECKPOINT_ANSWER_MAX:
        raise RemoteError(Code.TOO_LARGE, f"an answer of {len(data)} bytes")
    status, body = int.from_bytes(data[:STATUS_BYTES], "big"), data[STATUS_BYTES:]
    if status == ANSWERED:
        return body
    if status not in _REFUSALS or body:
        raise RemoteError(Code.MALFORMED, f"an answer {status} about a checkpoint")
    return Refuse(Reason(status))
