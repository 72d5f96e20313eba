"""Make proofs: of what a store keeps as evidence, and of a fault in a trade."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import assert_never

from passby.ledger.chain import Evidence
from passby.ledger.chain import Proof as EvidenceKind
from passby.ledger.claim import Claim, RootClaim, check_claim
from passby.ledger.proof import (
    FORK_RULE,
    NO_SIGNATURE,
    ROOTS_RULE,
    Element,
    Proof,
    ProofKind,
    Verified,
    check_context,
    is_trade_fault,
    verify_proof,
)
from passby.protocol.entry import Entry
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SIGNATURE_BYTES
from passby.protocol.legs import Fault
from passby.protocol.limits import PROOF_CONTEXT_MAX


def prove_evidence(evidence: Evidence) -> Proof | None:
    """Return the proof that a store keeps as evidence; None where it does not hold."""
    proof = proof_in(evidence)
    verified = _verified(proof)
    about = (evidence.author, evidence.seq)
    return proof if verified and (verified.author, verified.seq) == about else None


def proof_in(evidence: Evidence) -> Proof:
    """Return the proof that evidence is kept of; `verify_proof` tells whether it holds."""
    match evidence.proof:
        case EvidenceKind.FORK:
            kind = ProofKind.FORK
        case EvidenceKind.STOCK:
            kind = ProofKind.STOCK
        case EvidenceKind.TIME:
            kind = ProofKind.TIME
        case EvidenceKind.CHECKPOINT:
            kind = ProofKind.CHECKPOINT
        case _:
            assert_never(evidence.proof)
    elements = [stripped(element) for element in evidence.elements if element]
    elements.sort(key=lambda element: (element[0].seq, element[0].id))
    return Proof(kind, evidence.rule, tuple(elements), claims=evidence.claims)


def prove_claims(one: Claim, other: Claim) -> Proof:
    """Return the proof that two claims of one kind, which `verify_proof` is to judge, differ."""
    claims = sorted((one, other), key=lambda claim: check_claim(claim).hash)
    rule = ROOTS_RULE if isinstance(one, RootClaim) else FORK_RULE
    return Proof(ProofKind.CHECKPOINT, rule, (), claims=tuple(claims))


def evidence_of(proof: Proof) -> Evidence | None:
    """Return what a store keeps of a proof; None for a trade's, which freezes nobody.

    Raises:
        RemoteError: the proof does not hold.
    """
    verified = verify_proof(proof)
    match proof.kind:
        case ProofKind.FORK:
            kind = EvidenceKind.FORK
        case ProofKind.STOCK:
            kind = EvidenceKind.STOCK
        case ProofKind.TIME:
            kind = EvidenceKind.TIME
        case ProofKind.CHECKPOINT:
            kind = EvidenceKind.CHECKPOINT
        case ProofKind.TRADE:
            return None
        case _:
            assert_never(proof.kind)
    author, seq = verified.author, verified.seq
    return Evidence(author, seq, kind, proof.rule, proof.elements, proof.claims)


def prove_fault(
    fault: Fault, propose: Entry, entries: Iterable[Entry], element: Callable[[Entry], Element]
) -> Proof | None:
    """Return the smallest proof of a trade's fault that is found; None where none holds alone.

    Args:
        fault: one of the fold's.
        propose: the trade's.
        entries: those that the fold was given, offers among them.
        element: gives an entry with what follows it up to a valid signature.
    """
    known = {entry.id: entry for entry in entries} | {propose.id: propose}
    named = {
        ref
        for entry_id in fault.evidence
        for ref in known[entry_id].body.refs
        if known[entry_id].author == fault.accused
    }
    signed = [known[entry_id] for entry_id in fault.evidence if entry_id not in named]
    # Whatever can matter is named by the evidence, or by what that names.
    wanted = {propose.id, *propose.body.refs, *fault.evidence}
    for _ in range(2):
        wanted.update(ref for at in wanted & known.keys() for ref in known[at].body.refs)
    wanted -= {entry.id for entry in signed}
    context = [known[at] for at in sorted(wanted & known.keys())]
    elements = tuple(stripped(element(entry)) for entry in signed)
    proof = Proof(ProofKind.TRADE, fault.rule, elements, _bare(context))
    if _verified(proof) is None:
        return None
    for entry in proof.context:
        rest = tuple(other for other in proof.context if other.id != entry.id)
        smaller = Proof(proof.kind, proof.rule, proof.elements, rest)
        if _needs_no_more(smaller):
            proof = smaller
    return proof if len(proof.context) <= PROOF_CONTEXT_MAX else None


def _verified(proof: Proof) -> Verified | None:
    try:
        return verify_proof(proof)
    except RemoteError:
        return None


def _needs_no_more(proof: Proof) -> bool:
    try:
        check_context(proof)
        return is_trade_fault(proof)
    except RemoteError:
        return False


def stripped(entries: Iterable[Entry]) -> Element:
    """Return `entries` with no signature but the last one's."""
    *inner, last = entries
    return (*_bare(inner), last)


def _bare(entries: Iterable[Entry]) -> Element:
    return tuple(
        Entry(NO_SIGNATURE + entry.raw[SIGNATURE_BYTES:], entry.id, entry.body) for entry in entries
    )
