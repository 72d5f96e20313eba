"""Messages of a sync stream that stand beside the replication of chains, by feature bits.

    STATEMENT = (uvarint length ‖ statement) x 1..64     root statements that travel alone
    ASK       = id b32 x 1..256                          entries that are not held whole
    PAYLOAD   = (id b32 ‖ signature b64 ‖ uvarint m ‖ (salt b16 ‖ payload)[m]) x 1..32
                                                         in the order of the ASK; m = 0 for no
                                                         payload, zeros where nothing is held
    PROOF     = part u8 ‖ parts u8 ‖ bytes               a part of a proof, see `ledger.proof_bytes`

A side says them only where both sides set the bit. Whether a statement is true, or a payload
the one that its entry names, is not for the reader here to say.
"""

from __future__ import annotations

from enum import IntFlag

import msgspec

from passby.protocol.codec import encode_uvarint, read_uvarint
from passby.protocol.entry import HASH_BYTES, SALT_BYTES
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SIGNATURE_BYTES, STATEMENT_MAX
from passby.protocol.limits import (
    PAYLOAD_MAX,
    PAYLOADS_ASKED_MAX,
    PAYLOADS_PER_FRAME_MAX,
    STATEMENTS_PER_FRAME_MAX,
)


class Feature(IntFlag):
    """Bits of HELLO's features: kinds that a side reads besides those that all read."""

    PAYLOADS = 1
    PROOFS = 2
    STATEMENTS = 4
    SCOPE = 8


class Statements(msgspec.Struct, frozen=True):
    """Root statements, as on the wire; not verified."""

    raws: tuple[bytes, ...]


class ProofPart(msgspec.Struct, frozen=True):
    """A part of a proof; `ledger.proof_bytes` joins them."""

    body: bytes


class Ask(msgspec.Struct, frozen=True):
    """Ids of entries of whose copies all but the body is asked for."""

    ids: tuple[bytes, ...]


class Copy(msgspec.Struct, frozen=True):
    """What a copy of an entry has beside the body; nothing is checked."""

    id: bytes
    signature: bytes = bytes(SIGNATURE_BYTES)
    """Zeros where the entry is not held."""
    carried: bytes = b""
    """Salt and payload, empty where there is none to give."""


class Payloads(msgspec.Struct, frozen=True):
    """Copies of entries asked for, in order."""

    copies: tuple[Copy, ...]


def pack_statements(statements: Statements) -> bytes:
    """Return the body of a STATEMENT."""
    return b"".join(encode_uvarint(len(raw)) + raw for raw in statements.raws)


def read_statements(body: bytes) -> Statements:
    """Read the body of a STATEMENT.

    Raises:
        RemoteError: it is none.
    """
    found = _items(body, 0, STATEMENTS_PER_FRAME_MAX, SIGNATURE_BYTES + STATEMENT_MAX)
    if not all(raw for _, raw in found):
        raise RemoteError(Code.MALFORMED, "a statement of no bytes")
    return Statements(tuple(raw for _, raw in found))


def read_ask(body: bytes) -> Ask:
    """Read the body of an ASK.

    Raises:
        RemoteError: it is none.
    """
    count, rest = divmod(len(body), HASH_BYTES)
    if rest or not 1 <= count <= PAYLOADS_ASKED_MAX:
        raise RemoteError(Code.MALFORMED, f"{len(body)} bytes are no list of ids")
    return Ask(tuple(body[at : at + HASH_BYTES] for at in range(0, len(body), HASH_BYTES)))


def pack_payloads(payloads: Payloads) -> bytes:
    """Return the body of a PAYLOAD."""
    return b"".join(
        copy.id + copy.signature + encode_uvarint(len(copy.carried)) + copy.carried
        for copy in payloads.copies
    )


def read_payloads(body: bytes) -> Payloads:
    """Read the body of a PAYLOAD.

    Raises:
        RemoteError: it is none.
    """
    fixed = HASH_BYTES + SIGNATURE_BYTES
    found = _items(body, fixed, PAYLOADS_PER_FRAME_MAX, SALT_BYTES + PAYLOAD_MAX)
    if any(0 < len(carried) <= SALT_BYTES for _, carried in found):
        raise RemoteError(Code.MALFORMED, "a salt without a payload")
    return Payloads(
        tuple(Copy(held[:HASH_BYTES], held[HASH_BYTES:], carried) for held, carried in found)
    )


def _items(body: bytes, fixed: int, most: int, largest: int) -> tuple[tuple[bytes, bytes], ...]:
    """Read pairs of `fixed` bytes and of so many bytes as a length before them says."""
    found: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(body):
        first = body[at : at + fixed]
        length, at = read_uvarint(body, at + fixed, largest)
        if len(body) - at < length or len(found) == most:
            raise RemoteError(Code.MALFORMED, "a list that is cut off, or too long")
        found.append((first, body[at : at + length]))
        at += length
    if not found:
        raise RemoteError(Code.MALFORMED, "an empty list")
    return tuple(found)
