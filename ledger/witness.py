"""The witness: it cosigns trees that only grow, one at each size, and remembers the last.

The rule is c2sp.org/tlog-witness's `add-checkpoint`, as a pure function of what the witness
holds for a log and what it is asked. Its caller owes three things, in this order:

    held    = what is stored for the origin, EMPTY if nothing is
    verdict = witness(held, request, key, now_s)
    Cosign: store verdict.held if what is stored is still `held` (compare and swap, in one
            durable transaction); if it is not, begin again, from a new look at the clock
    then    answer with cosignature(verdict.held, own key)

What each order would cost:

- Killed between the store and the answer: the author asks again with the old size it knows,
  hears Conflict with the stored one, and asks once more from there; the second cosignature is
  of the very tree that is stored. Nothing was promised that is not kept.
- Answered before the store, killed between: the witness would come back without the tree it
  vouched for, and cosign another one of that size. This is the one thing it exists not to do.
- Stored without comparing: two requests from one old size both pass the rule; the smaller
  tree stored last would take back the larger one, and a fork between them be cosigned.
- Dated when answered and not when stored: an answer that was held up behind a larger tree's
  would say that the smaller one was still the largest. The time is part of what is stored, and
  never falls, whatever the clock does.
- Restored from a backup, a witness has forgotten trees that it cosigned. It must then take a
  new witness key, and leave the old one for good.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from passby.ledger.checkpoint import SignedCheckpoint, WitnessKey
from passby.ledger.claim import RootClaim
from passby.ledger.note import NoteSignature, VerifierKey, check_signed, parse_note
from passby.ledger.proof import Proof
from passby.ledger.prove import prove_claims
from passby.ledger.tree import EMPTY_ROOT, is_consistent
from passby.protocol.errors import RemoteError


class Held(msgspec.Struct, frozen=True):
    """The largest tree of a log that a witness has cosigned, last at `at_s` (Unix seconds).

    `note` is the checkpoint with the author's signature alone: if the author ever signs another
    tree of this size, the two notes are the proof. Empty while nothing was cosigned.
    """

    size: int
    root: bytes
    note: bytes
    at_s: int


EMPTY: Final = Held(0, EMPTY_ROOT, b"", 0)
"""What is held for a log that was never cosigned."""


class AddCheckpoint(msgspec.Struct, frozen=True):
    """A request: cosign this, `proof` leading to it from the tree of `old` leaves."""

    old: int
    proof: tuple[bytes, ...]
    signed: SignedCheckpoint


class Reason(IntEnum):
    """Why a witness does not cosign; the numbers are HTTP's, as C2SP uses them."""

    MALFORMED = 400
    """No request, an old size above the checkpoint's, or lines below its root: they would make
    two texts of one tree."""
    UNSIGNED = 403
    """Not signed by the log's key, or falsely."""
    UNKNOWN = 404
    """A log that is not witnessed here."""
    INCONSISTENT = 422
    """The proof does not lead from the tree held to the one asked for."""
    BUSY = 429
    """Not now."""


class Cosign(msgspec.Struct, frozen=True):
    """Store `held` in the place of what was held; then answer with its `cosignature`."""

    held: Held


class Conflict(msgspec.Struct, frozen=True):
    """The largest tree cosigned has `size` leaves: ask again with a proof from there."""

    size: int


class Refuse(msgspec.Struct, frozen=True):
    """No cosignature, and nothing to store; with INCONSISTENT, the proof that the author forked.

    The proof is None where there is none, or where it is too long for an answer.
    """

    reason: Reason
    proof: Proof | None = None


class Forked(msgspec.Struct, frozen=True):
    """The author signed two trees of one size: keep and spread `proof`, and answer `reply`."""

    proof: Proof
    reply: Conflict | Refuse


Verdict = Cosign | Conflict | Refuse | Forked


def witness(held: Held, request: AddCheckpoint, key: VerifierKey | None, now_s: int) -> Verdict:
    """Judge a request by what is held for its log.

    Promises that of the trees it says Cosign to, each stored before the next request is
    judged, every one begins with all before it, and that no size has two roots.

    Args:
        held: what is stored for the request's origin.
        request: anything that a peer asks.
        key: the key that this witness trusts for the origin (`chain_key`), None if it does
            not witness that log.
        now_s: the own clock, Unix seconds.
    """
    head = request.signed.head
    if key is None:
        return Refuse(Reason.UNKNOWN)
    try:
        check_signed(request.signed.note, key)
    except RemoteError:
        return Refuse(Reason.UNSIGNED)
    if request.old > head.size or head.extension:
        return Refuse(Reason.MALFORMED)
    reply: Conflict | Refuse = (
        Refuse(Reason.INCONSISTENT) if request.old == held.size else Conflict(held.size)
    )
    note = request.signed.only_by(key).encode()
    if head.size == held.size > 0 and head.root != held.root:
        proof = prove_claims(RootClaim(held.note), RootClaim(note))
        told = reply if isinstance(reply, Conflict) else Refuse(reply.reason, proof)
        return Forked(proof, told)
    if request.old != held.size:
        return reply
    if not is_consistent(held.size, head.size, held.root, head.root, request.proof):
        return reply
    same = head.size == held.size and held.note
    return Cosign(Held(head.size, head.root, held.note if same else note, max(now_s, held.at_s)))


def cosignature(held: Held, key: WitnessKey) -> NoteSignature:
    """Return the cosignature of what has been stored: not before it has been."""
    return key.cosign(parse_note(held.note).text, held.at_s)
