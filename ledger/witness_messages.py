r"""What author and witness say to each other: one request and one answer on a stream.

    request  = uvarint length ‖ body       body as c2sp.org/tlog-witness posts it to add-checkpoint:
               "old " size "\n" (base64(hash) "\n") x 0..63 "\n" checkpoint
    answer   = uvarint length ‖ status u16 ‖ body
               200: signature lines     409: size "\n"     400, 403, 404, 429: nothing
               422: nothing, or a proof that the author told two histories

Statuses and bodies are those of C2SP's HTTP interface, so that a witness reached by HTTP
differs in its transport alone.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final, assert_never

import msgspec

from passby.ledger.checkpoint import parse_checkpoint, read_decimal
from passby.ledger.note import NoteSignature, parse_signatures, read_base64, read_text
from passby.ledger.proof_bytes import decode_proof, encode_proof
from passby.ledger.witness import AddCheckpoint, Conflict, Reason, Refuse
from passby.protocol.codec import encode_uvarint
from passby.protocol.entry import HASH_BYTES
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import ADD_CHECKPOINT_MAX, PROOF_HASHES_MAX, WITNESS_REPLY_MAX

COSIGNED: Final = 200
CONFLICT: Final = 409
STATUS_BYTES: Final = 2


class Cosigned(msgspec.Struct, frozen=True):
    """The witness has stored the tree; these are its lines."""

    lines: tuple[NoteSignature, ...]


Reply = Cosigned | Conflict | Refuse


def encode_request(request: AddCheckpoint) -> bytes:
    """Return the request as it travels, its length first."""
    lines = [f"old {request.old}\n", *(f"{b64encode(one).decode()}\n" for one in request.proof)]
    body = "".join(lines).encode() + b"\n" + request.signed.encode()
    return encode_uvarint(len(body)) + body


def parse_request(body: bytes) -> AddCheckpoint:
    """Read a request, without its length.

    Raises:
        RemoteError: not a request; the answer is Refuse(MALFORMED).
    """
    if len(body) > ADD_CHECKPOINT_MAX:
        raise RemoteError(Code.TOO_LARGE, f"a request of {len(body)} bytes to a witness")
    above, empty, checkpoint = body.partition(b"\n\n")
    old, *hashes = read_text(above).split("\n")
    if not empty or not old.startswith("old ") or len(hashes) > PROOF_HASHES_MAX:
        raise RemoteError(Code.MALFORMED, "not a request to a witness")
    proof = tuple(map(read_base64, hashes))
    if any(len(one) != HASH_BYTES for one in proof):
        raise RemoteError(Code.BAD_FIELD, "a proof of what are no hashes")
    return AddCheckpoint(
        read_decimal(old.removeprefix("old ")), proof, parse_checkpoint(checkpoint)
    )


def encode_reply(reply: Reply) -> bytes:
    """Return the answer as it travels, its length first."""
    match reply:
        case Cosigned(lines):
            status, body = COSIGNED, b"".join(one.line for one in lines)
        case Conflict(size):
            status, body = CONFLICT, b"%d\n" % size
        case Refuse(reason, proof):
            status, body = int(reason), encode_proof(proof) if proof is not None else b""
            if len(body) > WITNESS_REPLY_MAX - STATUS_BYTES:
                body = b""
        case unknown:
            assert_never(unknown)
    return encode_uvarint(STATUS_BYTES + len(body)) + status.to_bytes(STATUS_BYTES, "big") + body


def parse_reply(data: bytes) -> Reply:
    """Read an answer, without its length; `cosigned_at` says what its lines are worth.

    Whether a proof holds is not asked here.

    Raises:
        RemoteError: not an answer.
    """
    if not STATUS_BYTES <= len(data) <= WITNESS_REPLY_MAX:
        raise RemoteError(Code.TOO_LARGE, f"an answer of {len(data)} bytes from a witness")
    status, body = int.from_bytes(data[:STATUS_BYTES], "big"), data[STATUS_BYTES:]
    if status == COSIGNED:
        return Cosigned(parse_signatures(body))
    if status == CONFLICT:
        size = read_text(body)
        if not size.endswith("\n"):
            raise RemoteError(Code.MALFORMED, "a conflict without a size")
        return Conflict(read_decimal(size[:-1]))
    if status == Reason.INCONSISTENT and body:
        return Refuse(Reason.INCONSISTENT, decode_proof(body))
    if status not in set(Reason) or body:
        raise RemoteError(Code.MALFORMED, f"an answer {status} from a witness")
    return Refuse(Reason(status))
