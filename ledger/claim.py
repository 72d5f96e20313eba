"""What an author is bound to by a checkpoint it signed: an entry at a seq, or a root at a size.

    claim = 01 ‖ uvarint n ‖ note[n] ‖ seq u32 ‖ id b32 ‖ h u8 ‖ hash b32 x h    id is leaf seq - 1
          | 02 ‖ uvarint n ‖ note[n]                                the root at the note's size

A signed entry says the same of its place as a leaf does. So two claims, or a claim and an entry,
about one place of one author's chain that differ in the hash are a fork; `ledger.proof` holds
them against each other. A fork by roots shows no differing entry: it binds the author from that
size on, at the latest.
"""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from passby.ledger.checkpoint import check_chain, parse_checkpoint
from passby.ledger.tree import is_included
from passby.protocol.codec import encode_uvarint, read_bytes, read_uvarint
from passby.protocol.entry import HASH_BYTES
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import CLAIM_NOTE_MAX, PROOF_HASHES_MAX

_LEAF: Final = 1
_ROOT: Final = 2
_SEQ_BYTES: Final = 4


class LeafClaim(msgspec.Struct, frozen=True):
    """The entry `id` stands at `seq`: it is under the root of the checkpoint `note`."""

    note: bytes
    seq: int
    id: bytes
    hashes: tuple[bytes, ...]


class RootClaim(msgspec.Struct, frozen=True):
    """The chain has this root at this size: the checkpoint `note` says so."""

    note: bytes


Claim = LeafClaim | RootClaim


class Claimed(msgspec.Struct, frozen=True):
    """What a claim binds its author to: the hash at a place in its chain.

    `place` is a seq and `hash` an id, or the size of a tree and its root where `is_root`.
    """

    author: bytes
    place: int
    is_root: bool
    hash: bytes


def check_claim(claim: Claim) -> Claimed:
    """Return what the claim's author is bound to by it.

    Raises:
        RemoteError: nobody is: the signature or the inclusion proof is false.
    """
    signed = parse_checkpoint(claim.note)
    if len(signed.note.signatures) != 1:
        # Anybody could add a line that says nothing, and make another proof of this one.
        raise RemoteError(Code.NOT_CANONICAL, "a claim with more lines than its author's")
    author, head = check_chain(signed), signed.head
    match claim:
        case LeafClaim(_, seq, leaf, hashes):
            if not is_included(leaf, seq - 1, head.size, hashes, head.root):
                raise RemoteError(Code.BAD_LINK, "an inclusion proof that shows nothing")
            return Claimed(author, seq, is_root=False, hash=leaf)
        case RootClaim():
            return Claimed(author, head.size, is_root=True, hash=head.root)
        case _:
            assert_never(claim)


def encode_claim(claim: Claim) -> bytes:
    """Return the wire bytes."""
    note = encode_uvarint(len(claim.note)) + claim.note
    match claim:
        case LeafClaim(_, seq, leaf, hashes):
            place = seq.to_bytes(_SEQ_BYTES, "big") + leaf
            return bytes((_LEAF,)) + note + place + bytes((len(hashes),)) + b"".join(hashes)
        case RootClaim():
            return bytes((_ROOT,)) + note
        case _:
            assert_never(claim)


def read_claim(data: bytes, offset: int) -> tuple[Claim, int]:
    """Return (claim, offset behind it); `check_claim` says whether it binds anybody.

    Raises:
        RemoteError: cut off, or no claim.
    """
    kind, offset = read_bytes(data, offset, 1)
    length, offset = read_uvarint(data, offset, CLAIM_NOTE_MAX)
    note, offset = read_bytes(data, offset, length)
    if kind[0] == _ROOT:
        return RootClaim(note), offset
    if kind[0] != _LEAF:
        raise RemoteError(Code.MALFORMED, f"a claim of kind {kind[0]}")
    seq, offset = read_bytes(data, offset, _SEQ_BYTES)
    leaf, offset = read_bytes(data, offset, HASH_BYTES)
    count, offset = read_bytes(data, offset, 1)
    if count[0] > PROOF_HASHES_MAX:
        raise RemoteError(Code.TOO_LARGE, f"an inclusion proof of {count[0]} hashes")
    packed, offset = read_bytes(data, offset, count[0] * HASH_BYTES)
    hashes = tuple(packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES))
    return LeafClaim(note, int.from_bytes(seq, "big"), leaf, hashes), offset
