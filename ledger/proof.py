"""Proofs: entries of an author that together show, to anybody and offline, that it lied.

    proof   = kind u8 ‖ rule u8 ‖ elements u8 ‖ element x 1..3
              ‖ bodies u8 ‖ (uvarint n ‖ body[n]) x 0..64
    element = uvarint entries ‖ (uvarint n ‖ body[n]) x 1..256 ‖ signature b64

An element is one signed entry: its body and, where its own signature is not at hand or is
garbage, the bodies that follow it in its chain up to one with a valid signature. The links
vouch for the rest, so no other signature travels, and no bit of a proof can be changed.

The bodies behind the elements are what a trade's breach is judged by (the propose, offers,
causes). They need no signature: each is named, by its hash, by what is signed, so nobody can
bring in another one. Leaving some out proves nothing more: a fault waits for what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from itertools import pairwise
from typing import Final, assert_never

import msgspec

from passby.ledger.chain import ChainRule, Evidence
from passby.ledger.chain import Proof as EvidenceKind
from passby.ledger.stock_proof import breaks
from passby.protocol.codec import encode_uvarint, read_uvarint
from passby.protocol.entry import Entry, parse_entry
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SIGNATURE_BYTES, is_point, verify
from passby.protocol.legs import Fault
from passby.protocol.limits import (
    BODY_MAX,
    FRAME_MAX,
    PROOF_CONTEXT_MAX,
    PROOF_ELEMENTS_MAX,
    PROOF_MAX,
    RUN_MAX,
)
from passby.protocol.messages import Kind, frame
from passby.protocol.stock import Rule
from passby.protocol.trade import fold
from passby.protocol.types import EntryType, check_shape

FORK_RULE: Final = "two entries at one seq"
NO_SIGNATURE: Final = bytes(SIGNATURE_BYTES)
"""Stands where an entry's own signature was left out; it is valid for no key."""
PART_MAX: Final = FRAME_MAX - 3
"""Bytes of a proof in one frame, beside the kind, the part's number and how many there are."""


class ProofKind(IntEnum):
    """What is proven."""

    FORK = 1
    STOCK = 2
    TIME = 3
    TRADE = 4


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
}
"""The rules of each kind; a rule's number on the wire is its place, from 1."""

Element = tuple[Entry, ...]


class Proof(msgspec.Struct, frozen=True):
    """A claim and the entries it stands on; `verify_proof` tells whether it holds.

    Each element begins with the entry that matters; the last of its entries is signed, the
    others bear NO_SIGNATURE. Elements are in the order of their chain (of a fork, by id), the
    one that breaks the rule last; `context` is in the order of ids.
    """

    kind: ProofKind
    rule: str
    elements: tuple[Element, ...]
    context: tuple[Entry, ...] = ()

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
    if not accused or (proof.context and proof.kind is not ProofKind.TRADE):
        raise RemoteError(Code.MALFORMED, "a proof with too little or too much")
    last = accused[-1]
    if proof.kind is ProofKind.TRADE:
        _check_context(proof)
        holds = _is_trade_fault(proof)
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


def survives(proof: Proof, forked_seq: int, kept_id: bytes) -> bool:
    """Tell whether a valid proof still accuses an author who healed a fork in public.

    From the healed seq on, entries of both branches were signed in good faith, and must not
    be held against each other: whatever is accused there must be linked to the kept branch
    by entries of the proof itself. Entries of a trade need no such link, since a heal that
    abandons one is void.
    """
    if proof.kind is ProofKind.TRADE:
        return True
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


def _check_context(proof: Proof) -> None:
    """Hold every body of the context against the hashes that signed entries name."""
    unnamed = {entry.id: entry for entry in proof.context}
    reached = list(proof.accused)
    while reached:
        refs = reached.pop().body.refs
        reached.extend(unnamed.pop(ref) for ref in refs if ref in unnamed)
    if unnamed:
        raise RemoteError(Code.BAD_LINK, "a proof with an entry that nothing names")


def _is_trade_fault(proof: Proof) -> bool:
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


# --- making proofs -----------------------------------------------------------------------


def prove_evidence(evidence: Evidence) -> Proof | None:
    """Return the proof that `ingest` kept as evidence; None where it does not hold alone."""
    match evidence.proof:
        case EvidenceKind.FORK:
            kind = ProofKind.FORK
        case EvidenceKind.STOCK:
            kind = ProofKind.STOCK
        case EvidenceKind.TIME:
            kind = ProofKind.TIME
        case _:
            assert_never(evidence.proof)
    elements = [stripped(element) for element in evidence.elements if element]
    elements.sort(key=lambda element: (element[0].seq, element[0].id))
    return _if_it_holds(Proof(kind, evidence.rule, tuple(elements)))


def evidence_of(proof: Proof) -> Evidence | None:
    """Return what a store keeps of a valid proof; None for a trade's, which freezes nobody."""
    match proof.kind:
        case ProofKind.FORK:
            kind = EvidenceKind.FORK
        case ProofKind.STOCK:
            kind = EvidenceKind.STOCK
        case ProofKind.TIME:
            kind = EvidenceKind.TIME
        case ProofKind.TRADE:
            return None
        case _:
            assert_never(proof.kind)
    last = proof.accused[-1]
    return Evidence(last.author, last.seq, kind, proof.rule, proof.elements)


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
    if _if_it_holds(proof) is None:
        return None
    for entry in proof.context:
        rest = tuple(other for other in proof.context if other.id != entry.id)
        smaller = Proof(proof.kind, proof.rule, proof.elements, rest)
        if _needs_no_more(smaller):
            proof = smaller
    return proof if len(proof.context) <= PROOF_CONTEXT_MAX else None


def _if_it_holds(proof: Proof) -> Proof | None:
    try:
        verify_proof(proof)
    except RemoteError:
        return None
    return proof


def _needs_no_more(proof: Proof) -> bool:
    try:
        _check_context(proof)
        return _is_trade_fault(proof)
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


# --- bytes -------------------------------------------------------------------------------


def encode_proof(proof: Proof) -> bytes:
    """Return the wire bytes."""
    rule = 1 + RULES[proof.kind].index(proof.rule)
    out = [bytes((proof.kind, rule, len(proof.elements)))]
    for element in proof.elements:
        out.append(encode_uvarint(len(element)))
        out.extend(_encode_body(entry) for entry in element)
        out.append(element[-1].raw[:SIGNATURE_BYTES])
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
    if not 1 <= rule <= len(RULES[kind]) or not 1 <= count <= PROOF_ELEMENTS_MAX:
        raise RemoteError(Code.MALFORMED, "a proof with a rule or a number of elements amiss")
    elements: list[Element] = []
    offset = 3
    for _ in range(count):
        element, offset = _read_element(data, offset)
        elements.append(element)
    if offset == len(data) or data[offset] > PROOF_CONTEXT_MAX:
        raise RemoteError(Code.MALFORMED, "a proof is cut off, or its context too large")
    bodies, offset = data[offset], offset + 1
    context: list[Entry] = []
    for _ in range(bodies):
        body, offset = read_body(data, offset)
        context.append(parse_entry(NO_SIGNATURE + body))
    if offset != len(data):
        raise RemoteError(Code.MALFORMED, "bytes behind a proof")
    if any(before.id >= after.id for before, after in pairwise(context)):
        raise RemoteError(Code.NOT_CANONICAL, "a context out of order")
    return Proof(kind, RULES[kind][rule - 1], tuple(elements), tuple(context))


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


def read_bytes(data: bytes, offset: int, length: int) -> tuple[bytes, int]:
    """Return (the bytes, offset behind them).

    Raises:
        RemoteError: there are fewer.
    """
    end = offset + length
    if end > len(data):
        raise RemoteError(Code.MALFORMED, "bytes are cut off")
    return data[offset:end], end


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
