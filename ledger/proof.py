"""Proofs: entries of an author that together show, to anybody and offline, that it lied.

    proof   = kind u8 ‖ rule u8 ‖ elements u8 ‖ element x 0..3
              ‖ bodies u8 ‖ (uvarint n ‖ body[n]) x 0..64          kinds 1 to 4
              | claims u8 ‖ claim x 1..2                           kind 5
    element = uvarint entries ‖ (uvarint n ‖ body[n]) x 1..256 ‖ signature b64

An element is one signed entry: its body and, where its own signature is not at hand or is
garbage, the bodies that follow it in its chain up to one with a valid signature. The links
vouch for the rest, so no other signature travels, and no bit of a proof can be changed.

The bodies behind the elements are what a trade's breach is judged by (the propose, offers,
causes). They need no signature: each is named, by its hash, by what is signed, so nobody can
bring in another one. Leaving some out proves nothing more: a fault waits for what is missing.

What stands at a seq an author says in two ways, which bind it alike: by signing the entry, and
by signing a checkpoint whose tree holds its id (`ledger.claim`). Kind 5 is a fork of which at
least one side is a checkpoint's.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import Final

import msgspec

from passby.ledger.chain import ChainRule
from passby.ledger.checkpoint import author_of, parse_checkpoint
from passby.ledger.claim import Claim, Claimed, check_claim
from passby.ledger.stock_proof import breaks
from passby.protocol.entry import Entry
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SIGNATURE_BYTES, is_point, verify
from passby.protocol.limits import RUN_MAX
from passby.protocol.stock import Rule
from passby.protocol.trade import fold
from passby.protocol.types import EntryType, check_shape

FORK_RULE: Final = "two entries at one seq"
ROOTS_RULE: Final = "two trees of one size"
NO_SIGNATURE: Final = bytes(SIGNATURE_BYTES)
"""Stands where an entry's own signature was left out; it is valid for no key."""


class ProofKind(IntEnum):
    """What is proven."""

    FORK = 1
    STOCK = 2
    TIME = 3
    TRADE = 4
    CHECKPOINT = 5


RULES: Final[dict[ProofKind, tuple[str, ...]]] = {
    ProofKind.FORK: (FORK_RULE,),
    ProofKind.STOCK: (
        Rule.RANGE,
        Rule.NO_LOT,
        Rule.PREVIOUS,
        Rule.ARITHMETIC,
        Rule.NO_RESERVE,
        Rule.RESOLVED,
        Rule.AMOUNT,
        Rule.CLOSED,
        Rule.REFS,
    ),
    ProofKind.TIME: (ChainRule.TIME,),
    ProofKind.TRADE: (
        "confirmed twice",
        "confirmed after cancelling",
        "reserved twice",
        "committed twice",
        "reserved after declining",
        "cancelled after confirming",
        "committed after releasing",
        "released after commit",
        "released with goods in custody",
    ),
    ProofKind.CHECKPOINT: (FORK_RULE, ROOTS_RULE),
}
"""The rules of each kind; a rule's number on the wire is its place, from 1."""

Element = tuple[Entry, ...]


class Proof(msgspec.Struct, frozen=True):
    """A claim and the entries it stands on; `verify_proof` tells whether it holds.

    Each element begins with the entry that matters; the last of its entries is signed, the
    others bear NO_SIGNATURE. Elements are in the order of their chain (of a fork, by id), the
    one that breaks the rule last; `context` is in the order of ids, two `claims` in that of
    their hashes.
    """

    kind: ProofKind
    rule: str
    elements: tuple[Element, ...]
    context: tuple[Entry, ...] = ()
    claims: tuple[Claim, ...] = ()

    @property
    def author(self) -> bytes:
        """Whom it accuses, so far as it is a proof.

        Raises:
            RemoteError: nobody.
        """
        if self.elements:
            return self.elements[-1][0].author
        if not self.claims:
            raise RemoteError(Code.MALFORMED, "a proof with too little or too much")
        return author_of(parse_checkpoint(self.claims[0].note).head.origin)

    @property
    def accused(self) -> tuple[Entry, ...]:
        """The first entry of each element."""
        return tuple(element[0] for element in self.elements)


class Verified(msgspec.Struct, frozen=True):
    """Proven: `author` broke `rule` by its entry at `seq`."""

    author: bytes
    seq: int
    kind: ProofKind
    rule: str


def verify_proof(proof: Proof) -> Verified:
    """Judge `proof` by nothing but itself; the same bytes give the same answer everywhere.

    Raises:
        RemoteError: it does not prove what it says.
    """
    for element in proof.elements:
        _check_element(element)
    accused = proof.accused
    by_claims, in_trade = proof.kind is ProofKind.CHECKPOINT, proof.kind is ProofKind.TRADE
    if (proof.context and not in_trade) or bool(proof.claims) != by_claims:
        raise RemoteError(Code.MALFORMED, "a proof with too little or too much")
    if by_claims:
        return _check_claims(proof)
    if not accused:
        raise RemoteError(Code.MALFORMED, "a proof without entries")
    last = accused[-1]
    if in_trade:
        check_context(proof)
        holds = is_trade_fault(proof)
    else:
        holds = all(entry.author == last.author for entry in accused) and _holds(proof, accused)
    if not holds:
        raise RemoteError(Code.BAD_FIELD, f"no proof of {proof.rule}")
    return Verified(last.author, last.seq, proof.kind, proof.rule)


def _holds(proof: Proof, accused: tuple[Entry, ...]) -> bool:
    match proof.kind, accused:
        case ProofKind.FORK, (one, other):
            return one.seq == other.seq and one.id < other.id
        case ProofKind.TIME, (before, after):
            return after.body.prev == before.id and after.at_ms < before.at_ms
        case ProofKind.STOCK, _:
            return breaks(Rule(proof.rule), accused)
        case _:
            return False


def _check_claims(proof: Proof) -> Verified:
    said = [
        Claimed(entry.author, entry.seq, is_root=False, hash=entry.id) for entry in proof.accused
    ]
    said += map(check_claim, proof.claims)
    match said:
        case (one, other):
            about = (one.author, one.place, one.is_root)
            agree = one.hash >= other.hash if len(proof.claims) == 2 else one.hash == other.hash
            if (
                about == (other.author, other.place, other.is_root)
                and one.is_root == (proof.rule == ROOTS_RULE)
                and not agree
            ):
                return Verified(one.author, one.place, proof.kind, proof.rule)
        case _:
            pass
    raise RemoteError(Code.BAD_FIELD, f"no proof of {proof.rule}")


def survives(proof: Proof, forked_seq: int, kept_id: bytes) -> bool:
    """Tell whether a valid proof still accuses an author who healed a fork in public.

    From the healed seq on, entries of both branches were signed in good faith, and must not
    be held against each other: whatever is accused there must be linked to the kept branch
    by entries of the proof itself. Entries of a trade need no such link, since a heal that
    abandons one is void. A checkpoint shows no links.
    """
    if proof.kind is ProofKind.TRADE:
        return True
    if proof.kind is ProofKind.CHECKPOINT:
        return check_claim(proof.claims[0]).place < forked_seq
    shown = {entry.id: entry for element in proof.elements for entry in element}
    for entry in proof.accused:
        at: Entry | None = entry
        while at is not None and at.seq > forked_seq:
            at = shown.get(at.body.prev or b"")
        if at is None or (at.seq == forked_seq and at.id != kept_id):
            return False
    return True


# --- what the entries of a proof must be ------------------------------------------------


def _check_element(element: Element) -> None:
    if not 1 <= len(element) <= RUN_MAX:
        raise RemoteError(Code.MALFORMED, f"an element of {len(element)} entries")
    first, last = element[0], element[-1]
    check_shape(first.body)
    if any(
        after.body.prev != before.id or after.author != before.author or after.seq != before.seq + 1
        for before, after in pairwise(element)
    ):
        raise RemoteError(Code.BAD_LINK, "an element whose entries are not linked")
    if not is_point(first.author):
        raise RemoteError(Code.BAD_KEY, "an author that is no curve point")
    if not verify(first.author, last.raw):
        raise RemoteError(Code.BAD_SIGNATURE, "an element that no signature vouches for")


def check_context(proof: Proof) -> None:
    """Hold every body of the context against the hashes that signed entries name.

    Raises:
        RemoteError: nothing names one of them.
    """
    unnamed = {entry.id: entry for entry in proof.context}
    reached = list(proof.accused)
    while reached:
        refs = reached.pop().body.refs
        reached.extend(unnamed.pop(ref) for ref in refs if ref in unnamed)
    if unnamed:
        raise RemoteError(Code.BAD_LINK, "a proof with an entry that nothing names")


def is_trade_fault(proof: Proof) -> bool:
    """Tell whether the fold of the entries shown finds the fault, on entries that are signed.

    The accused must have signed each entry of the evidence, or named it in one that it signed.
    """
    accused = proof.accused
    author = accused[-1].author
    known = {entry.id: entry for entry in (*proof.context, *accused)}
    propose = known.get(accused[-1].body.refs[0]) if accused[-1].body.refs else None
    if propose is None or propose.body.type != EntryType.PROPOSE:
        return False
    check_shape(propose.body)
    vouched = {entry.id for entry in accused}
    for entry in accused:
        if entry.author == author:
            vouched.update(entry.body.refs)
    return any(
        fault.accused == author and fault.rule == proof.rule and vouched.issuperset(fault.evidence)
        for fault in fold(propose, known.values(), 0).faults
    )
