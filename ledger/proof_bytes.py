"""Proofs as bytes, in a store, and on a sync stream; the format is `ledger.proof`'s."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec

from passby.ledger.chain import Evidence
from passby.ledger.chain import Proof as EvidenceKind
from passby.ledger.claim import Claim, encode_claim, read_claim
from passby.ledger.proof import NO_SIGNATURE, RULES, Element, Proof, ProofKind
from passby.protocol.codec import encode_uvarint, read_bytes, read_uvarint
from passby.protocol.entry import Entry, parse_entry
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SIGNATURE_BYTES
from passby.protocol.limits import (
    BODY_MAX,
    FRAME_MAX,
    PROOF_CONTEXT_MAX,
    PROOF_ELEMENTS_MAX,
    PROOF_MAX,
    RUN_MAX,
)
from passby.protocol.messages import Kind, frame

_decode_elements = msgspec.msgpack.Decoder(tuple[tuple[bytes, ...], ...]).decode
CLAIMS_MAX: Final = 2
"""Sides of a fork."""
PART_MAX: Final = FRAME_MAX - 3
"""Bytes of a proof in one frame, beside the kind, the part's number and how many there are."""


def encode_proof(proof: Proof) -> bytes:
    """Return the wire bytes."""
    rule = 1 + RULES[proof.kind].index(proof.rule)
    out = [bytes((proof.kind, rule, len(proof.elements)))]
    for element in proof.elements:
        out.append(encode_uvarint(len(element)))
        out.extend(_encode_body(entry) for entry in element)
        out.append(element[-1].raw[:SIGNATURE_BYTES])
    if proof.kind is ProofKind.CHECKPOINT:
        out.append(bytes((len(proof.claims),)))
        out.extend(map(encode_claim, proof.claims))
        return b"".join(out)
    out.append(bytes((len(proof.context),)))
    out.extend(_encode_body(entry) for entry in proof.context)
    return b"".join(out)


def decode_proof(data: bytes) -> Proof:
    """Read one proof, which `data` must be exactly; whether it holds is not asked here.

    Raises:
        RemoteError: too large, cut off, or not the one encoding of a proof.
    """
    if len(data) > PROOF_MAX:
        raise RemoteError(Code.TOO_LARGE, f"a proof of {len(data)} bytes")
    if len(data) < 3:
        raise RemoteError(Code.MALFORMED, "a proof is cut off")
    number, rule, count = data[:3]
    try:
        kind = ProofKind(number)
    except ValueError:
        raise RemoteError(Code.MALFORMED, f"a proof of kind {number}") from None
    by_claims = kind is ProofKind.CHECKPOINT
    fits = count < CLAIMS_MAX if by_claims else 1 <= count <= PROOF_ELEMENTS_MAX
    if not 1 <= rule <= len(RULES[kind]) or not fits:
        raise RemoteError(Code.MALFORMED, "a proof with a rule or a number of elements amiss")
    elements: list[Element] = []
    offset = 3
    for _ in range(count):
        element, offset = _read_element(data, offset)
        elements.append(element)
    if offset == len(data) or data[offset] > (CLAIMS_MAX if by_claims else PROOF_CONTEXT_MAX):
        raise RemoteError(Code.MALFORMED, "a proof is cut off, or its context too large")
    bodies, offset = data[offset], offset + 1
    claims: list[Claim] = []
    while by_claims and bodies:
        claim, offset = read_claim(data, offset)
        claims.append(claim)
        bodies -= 1
    context: list[Entry] = []
    for _ in range(bodies):
        body, offset = read_body(data, offset)
        context.append(parse_entry(NO_SIGNATURE + body))
    if offset != len(data):
        raise RemoteError(Code.MALFORMED, "bytes behind a proof")
    if any(before.id >= after.id for before, after in pairwise(context)):
        raise RemoteError(Code.NOT_CANONICAL, "a context out of order")
    return Proof(kind, RULES[kind][rule - 1], tuple(elements), tuple(context), tuple(claims))


def _encode_body(entry: Entry) -> bytes:
    body = entry.raw[SIGNATURE_BYTES:]
    return encode_uvarint(len(body)) + body


def _read_element(data: bytes, offset: int) -> tuple[Element, int]:
    count, offset = read_uvarint(data, offset, RUN_MAX)
    if not count:
        raise RemoteError(Code.MALFORMED, "an element of nothing")
    bodies: list[bytes] = []
    for _ in range(count):
        body, offset = read_body(data, offset)
        bodies.append(body)
    signature, offset = read_bytes(data, offset, SIGNATURE_BYTES)
    inner = (parse_entry(NO_SIGNATURE + body) for body in bodies[:-1])
    return (*inner, parse_entry(signature + bodies[-1])), offset


def read_body(data: bytes, offset: int) -> tuple[bytes, int]:
    """Return (body, offset behind it) of a body with its length before it.

    Raises:
        RemoteError: cut off, or longer than a body can be.
    """
    length, offset = read_uvarint(data, offset, BODY_MAX)
    return read_bytes(data, offset, length)


# --- in a store --------------------------------------------------------------------------


def pack_elements(evidence: Evidence) -> bytes:
    """Return a row's elements: entries, and behind them, for a checkpoint's kind, the claims."""
    elements = [[entry.raw for entry in element] for element in evidence.elements]
    if evidence.proof is EvidenceKind.CHECKPOINT:
        elements.append([encode_claim(claim) for claim in evidence.claims])
    return msgspec.msgpack.encode(elements)


def unpack_evidence(
    author: bytes, seq: int, proof: EvidenceKind, rule: str, packed: bytes
) -> Evidence:
    """Return the evidence of a row; whether it holds is not asked.

    Raises:
        RemoteError, msgspec.DecodeError: `packed` is not what was written.
    """
    elements = list(_decode_elements(packed))
    claims: tuple[Claim, ...] = ()
    if proof is EvidenceKind.CHECKPOINT and elements:
        claims = tuple(read_claim(claim, 0)[0] for claim in elements.pop())
    entries = tuple(tuple(parse_entry(raw) for raw in element) for element in elements)
    return Evidence(author, seq, proof, rule, entries, claims)


# --- on a sync stream --------------------------------------------------------------------


def proof_frames(proof: Proof) -> list[bytes]:
    """Return the PROOF frames that carry `proof`: part u8 ‖ parts u8 ‖ bytes, in order."""
    data = encode_proof(proof)
    parts = [data[at : at + PART_MAX] for at in range(0, len(data), PART_MAX)]
    return [
        frame(Kind.PROOF, bytes((number, len(parts))) + part)
        for number, part in enumerate(parts, 1)
    ]


class ProofParts:
    """Joins the bodies of PROOF frames of one peer; holds at most PROOF_MAX bytes."""

    def __init__(self) -> None:
        self._held = b""
        self._taken = 0
        self._parts = 0

    def take(self, body: bytes) -> Proof | None:
        """Return the proof that `body` completes, None while parts are missing.

        Raises:
            RemoteError: a part out of order, or bytes that are no proof.
        """
        if len(body) < 3:
            raise RemoteError(Code.MALFORMED, "a PROOF without any")
        part, parts = body[0], body[1]
        if part != self._taken + 1 or (self._taken and parts != self._parts) or part > parts:
            raise RemoteError(Code.OUT_OF_ORDER, "a part of a proof out of order")
        full = len(body) - 2 == PART_MAX
        if len(self._held) + len(body) - 2 > PROOF_MAX or (part < parts and not full):
            raise RemoteError(Code.TOO_LARGE, "a part of a proof of the wrong size")
        self._held += body[2:]
        self._taken, self._parts = part, parts
        if part < parts:
            return None
        data, self._held, self._taken = self._held, b"", 0
        return decode_proof(data)
