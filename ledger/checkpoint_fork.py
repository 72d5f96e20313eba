"""Proof that an author told two histories: two claims, each signed, that cannot both be true.

A claim is about a place in one chain: which entry stands at a seq, or which root the tree of a
size has. Which entry it is, the author says in two ways, and both bind it alike: by signing the
entry (or one that follows from it), and by signing a checkpoint whose tree holds its id.

    proof = msgpack [claim, claim]
    claim = [1, [body, ...], signature b64] entries linked in a row, the last one's signature
          | [2, note, seq, id b32, [hash b32, ...]]          inclusion under the note's root
          | [3, note]                       the root at the note's size

Two claims of one author, of one place, that differ in the hash, are a fork. Kinds 1 and 2 are
about the same sort of place; kind 3 is about another, and compares with its like alone. A fork
by roots shows no differing entry: it binds the author from that size on, at the latest.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from passby.ledger.checkpoint import check_chain, parse_checkpoint
from passby.ledger.tree import is_included
from passby.protocol.codec import Value, decode, encode
from passby.protocol.entry import HASH_BYTES, parse_entry
from passby.protocol.errors import Code, RemoteError
from passby.protocol.judge import check_signature
from passby.protocol.keys import SIGNATURE_BYTES
from passby.protocol.limits import FORK_PROOF_MAX, PROOF_HASHES_MAX, RUN_MAX
from passby.protocol.types import check_shape


class EntryClaim(msgspec.Struct, frozen=True):
    """The first of `bodies` stands at its seq: linked in a row, the last one signed.

    The links vouch for all before it, so that no other signature travels.
    """

    bodies: tuple[bytes, ...]
    signature: bytes


class LeafClaim(msgspec.Struct, frozen=True):
    """The entry `id` stands at `seq`: it is under the root of the checkpoint `note`."""

    note: bytes
    seq: int
    id: bytes
    proof: tuple[bytes, ...]


class RootClaim(msgspec.Struct, frozen=True):
    """The chain has this root at this size: the checkpoint `note` says so."""

    note: bytes


Claim = EntryClaim | LeafClaim | RootClaim


class ForkProof(msgspec.Struct, frozen=True):
    """Two claims that cannot both be true, as they are sent; `check_fork` verifies them."""

    left: Claim
    right: Claim

    def encode(self) -> bytes:
        """Return the proof's bytes."""
        return encode([_value(self.left), _value(self.right)])


class Proven(msgspec.Struct, frozen=True):
    """What a claim or a fork is about: an author, and where in its chain.

    `place` is a seq, or the size of a tree where `is_root`; `hash` the id or root claimed.
    """

    author: bytes
    place: int
    is_root: bool
    hash: bytes


def parse_fork(data: bytes) -> ForkProof:
    """Read a fork proof; `check_fork` says whether it proves anything.

    Raises:
        RemoteError: not a fork proof.
    """
    match decode(data, FORK_PROOF_MAX):
        case [list(left), list(right)]:
            return ForkProof(_claim(left), _claim(right))
        case _:
            raise RemoteError(Code.BAD_FIELD, "not a fork proof")


def check_fork(proof: ForkProof) -> tuple[bytes, int]:
    """Return the author that forked and the seq it is frozen from; needs nothing but the proof.

    Raises:
        RemoteError: a claim is not what it says, or the two can both be true.
    """
    left, right = check_claim(proof.left), check_claim(proof.right)
    if (left.author, left.place, left.is_root) != (right.author, right.place, right.is_root):
        raise RemoteError(Code.BAD_LINK, "two claims about different places")
    if left.hash == right.hash:
        raise RemoteError(Code.BAD_LINK, "two claims that agree")
    return left.author, left.place


def check_claim(claim: Claim) -> Proven:
    """Return what a claim's author is bound to by it.

    Raises:
        RemoteError: nobody is: a signature, a link or an inclusion proof is false.
    """
    match claim:
        case EntryClaim():
            return _entry_claim(claim)
        case LeafClaim():
            signed = parse_checkpoint(claim.note)
            author = check_chain(signed)
            head = signed.head
            if not is_included(claim.id, claim.seq - 1, head.size, claim.proof, head.root):
                raise RemoteError(Code.BAD_LINK, "an inclusion proof that shows nothing")
            return Proven(author, claim.seq, is_root=False, hash=claim.id)
        case RootClaim():
            signed = parse_checkpoint(claim.note)
            return Proven(
                check_chain(signed), signed.head.size, is_root=True, hash=signed.head.root
            )
        case unknown:
            assert_never(unknown)


def _entry_claim(claim: EntryClaim) -> Proven:
    if not 1 <= len(claim.bodies) <= RUN_MAX or len(claim.signature) != SIGNATURE_BYTES:
        raise RemoteError(Code.BAD_FIELD, "a run without entries, or too many, or unsigned")
    entries = [parse_entry(claim.signature + body) for body in claim.bodies]
    first = before = entries[0]
    check_shape(first.body)
    for entry in entries[1:]:
        if (entry.author, entry.seq, entry.body.prev) != (before.author, before.seq + 1, before.id):
            raise RemoteError(Code.BAD_LINK, "a run with a gap")
        before = entry
    check_signature(before)
    return Proven(first.author, first.seq, is_root=False, hash=first.id)


def _value(claim: Claim) -> Value:
    match claim:
        case EntryClaim(bodies, signature):
            return [1, list(bodies), signature]
        case LeafClaim(note, seq, leaf, proof):
            return [2, note, seq, leaf, list(proof)]
        case RootClaim(note):
            return [3, note]
        case unknown:
            assert_never(unknown)


def _claim(value: list[Value]) -> Claim:
    if not value or type(value[0]) is not int:
        raise RemoteError(Code.BAD_FIELD, "not a claim")
    match value:
        case [1, [*bodies], bytes(signature)] if 1 <= len(bodies) <= RUN_MAX:
            return EntryClaim(tuple(_bytes(body) for body in bodies), signature)
        case [2, bytes(note), int(seq), bytes(leaf), [*proof]] if (
            type(seq) is int and len(leaf) == HASH_BYTES and len(proof) <= PROOF_HASHES_MAX
        ):
            return LeafClaim(note, seq, leaf, tuple(_bytes(one) for one in proof))
        case [3, bytes(note)]:
            return RootClaim(note)
        case _:
            raise RemoteError(Code.BAD_FIELD, "not a claim")


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise RemoteError(Code.BAD_FIELD, "not bytes in a claim")
    return value
