"""Make the vectors of checkpoints: trees, notes, requests, questions, policies, forks."""

from __future__ import annotations

import hashlib
from typing import assert_never

from tests.protocol.chains import Party

from passby.ledger.checkpoint import SignedCheckpoint, WitnessKey, chain_key, sign_checkpoint
from passby.ledger.checkpoint_messages import (
    AskKey,
    AskNewest,
    Question,
    encode_answer,
    encode_question,
)
from passby.ledger.claim import LeafClaim, RootClaim
from passby.ledger.note import Note, VerifierKey, sign_note
from passby.ledger.policy import parse_policy, satisfied
from passby.ledger.proof import FORK_RULE, Element, Proof, ProofKind, verify_proof
from passby.ledger.proof_bytes import encode_proof
from passby.ledger.prove import prove_claims, stripped
from passby.ledger.tree import consistency_proof, inclusion_proof, root_at, rows_of
from passby.ledger.witness import (
    EMPTY,
    AddCheckpoint,
    Conflict,
    Cosign,
    Forked,
    Held,
    Reason,
    Refuse,
    cosignature,
    witness,
)
from passby.ledger.witness_messages import Cosigned, encode_reply, encode_request
from passby.protocol.keys import SigningKey

Json = dict[str, object]
AUTHOR = SigningKey(b"\x21" * 32)
WITNESSES = [WitnessKey(SigningKey(bytes([at]) * 32)) for at in (0x31, 0x32, 0x33)]
AT_S = 1_700_000_000
LEAVES = [hashlib.sha256(b"\x00leaf %d" % at).digest() for at in range(600)]
OTHER = LEAVES[:4] + [hashlib.sha256(b"\x00other %d" % at).digest() for at in range(4, 20)]
ROWS, OTHER_ROWS = rows_of(LEAVES), rows_of(OTHER)


def checkpoints() -> Json:
    """Return the whole file."""
    return {
        "trees": trees(),
        "notes": notes(),
        "requests": requests(),
        "questions": questions(),
        "policies": policies(),
        "forks": forks(),
    }


def trees() -> Json:
    """Return roots and proofs over leaves SHA-256(00 ‖ "leaf N"), N from 0."""
    inclusion = [(0, 1), (0, 2), (6, 7), (3, 8), (12, 13), (257, 600)]
    consistency = [(1, 1), (1, 2), (3, 7), (4, 7), (6, 8), (8, 13), (256, 600), (257, 600)]
    return {
        "roots": [[size, root_at(ROWS, size).hex()] for size in (0, 1, 2, 3, 7, 8, 13, 256, 600)],
        "inclusion": [
            {
                "index": index,
                "size": size,
                "proof": [found.hex() for found in inclusion_proof(ROWS, index, size)],
            }
            for index, size in inclusion
        ],
        "consistency": [
            {
                "old": old,
                "size": size,
                "proof": [found.hex() for found in consistency_proof(ROWS, old, size)],
            }
            for old, size in consistency
        ],
    }


def signed_at(size: int, *, other: bool = False) -> SignedCheckpoint:
    """Return the author's checkpoint of one of its two histories."""
    return sign_checkpoint(AUTHOR, size, root_at(OTHER_ROWS if other else ROWS, size))


def cosigned_by(signed: SignedCheckpoint, *numbers: int) -> SignedCheckpoint:
    """Return `signed` with the cosignatures of some witnesses, a second apart."""
    return signed.with_lines(
        tuple(WITNESSES[at].cosign(signed.head.text, AT_S + at) for at in numbers)
    )


def notes() -> Json:
    """Return keys, a checkpoint, the same cosigned, and notes that are refused."""
    signed = signed_at(7)
    head = signed.head
    cosigned = cosigned_by(signed, 0, 1)
    strange = head.text.replace(b"\n7\n", b"\n07\n")
    more = head.text + b"more\n"
    stranger = SigningKey(b"\x41" * 32)
    refused = {
        "a zero before the size": sign_note(strange, AUTHOR, head.origin),
        "a line below the root": sign_note(more, AUTHOR, head.origin),
        "another's signature": sign_note(head.text, stranger, head.origin),
        "no signature of the author": Note(head.text, cosigned.note.signatures[1:]),
        "another root under the signature": Note(
            signed_at(7, other=True).head.text, signed.note.signatures
        ),
    }
    return {
        "author_seed": "21" * 32,
        "author_vkey": str(chain_key(AUTHOR.public)),
        "witness_seeds": ["31" * 32, "32" * 32, "33" * 32],
        "witness_vkeys": [str(key.verifier) for key in WITNESSES],
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "checkpoint": signed.encode().decode(),
        "cosigned": cosigned.encode().decode(),
        "cosigned_at_s": [AT_S, AT_S + 1, None],
        "refused": {name: note.encode().decode() for name, note in refused.items()},
    }


def requests() -> list[Json]:
    """Return what a witness is asked in turn, what it answers, and what it then holds."""

    def ask(old: int, size: int, *, other: bool = False, cut: int = 0) -> AddCheckpoint:
        rows = OTHER_ROWS if other else ROWS
        proof = consistency_proof(rows, old, size) if old <= size else ()
        return AddCheckpoint(old, proof[cut:], signed_at(size, other=other))

    story = [
        ("the first tree", ask(0, 3)),
        ("a tree that grew", ask(3, 7)),
        ("the same tree again", ask(7, 7)),
        ("from a size that is past", ask(3, 13)),
        ("a proof without its first hash", ask(7, 13, cut=1)),
        ("another history", ask(7, 13, other=True)),
        ("another root of the same size", ask(7, 7, other=True)),
        ("an old size above the checkpoint's", ask(7, 3)),
        ("a tree that grew again", ask(7, 13)),
        ("a smaller tree", ask(3, 7)),
    ]
    made: list[Json] = []
    held = EMPTY
    for at, (name, asked) in enumerate(story):
        held, answer = _answered(held, asked, AT_S + 10 * at)
        made.append(
            {
                "name": name,
                "now_s": AT_S + 10 * at,
                "request": encode_request(asked).hex(),
                "answer": answer.hex(),
                "held": [held.size, held.root.hex(), held.at_s],
            }
        )
    return made


def questions() -> list[Json]:
    """Return what nodes ask each other about checkpoints, and answers."""
    signed, key = cosigned_by(signed_at(7), 0, 1), WITNESSES[0].verifier
    newest = AskNewest(AUTHOR.public, 5)
    cases: list[tuple[Question, VerifierKey | SignedCheckpoint | Refuse]] = [
        (AskKey(), key),
        (AskKey(), Refuse(Reason.UNKNOWN)),
        (newest, signed),
        (newest, Refuse(Reason.UNKNOWN)),
        (newest, Refuse(Reason.BUSY)),
    ]
    return [
        {"question": encode_question(asked).hex(), "answer": encode_answer(answer).hex()}
        for asked, answer in cases
    ]


def _answered(held: Held, asked: AddCheckpoint, now_s: int) -> tuple[Held, bytes]:
    verdict = witness(held, asked, chain_key(AUTHOR.public), now_s)
    match verdict:
        case Cosign(stored):
            return stored, encode_reply(Cosigned((cosignature(stored, WITNESSES[0]),)))
        case Conflict() | Refuse():
            return held, encode_reply(verdict)
        case Forked(_, reply):
            return held, encode_reply(reply)
        case unknown:
            assert_never(unknown)


def policies() -> list[Json]:
    """Return policies, and which of the witnesses satisfy each."""
    listed = "".join(f"witness w{at} {key.verifier}\n" for at, key in enumerate(WITNESSES))
    files = [
        listed + "group two 2 w0 w1 w2\nquorum two\n",
        listed + "group any any w1 w2\ngroup both all w0 any\nquorum both\n",
        listed + "quorum w2\n",
        "quorum none\n",
    ]
    sets: list[tuple[int, ...]] = [(), (0,), (2,), (0, 1), (1, 2), (0, 1, 2)]
    signed = signed_at(7)
    return [
        {
            "policy": text,
            "reached": [
                [
                    list(numbers),
                    satisfied(
                        cosigned_by(signed, *numbers), parse_policy(text.encode()), AT_S
                    ).reached,
                ]
                for numbers in sets
            ],
        }
        for text in files
    ]


def forks() -> list[Json]:
    """Return forks of which a side is a checkpoint's, with whom they accuse and from where."""
    first, second = Party("forker"), Party("forker")
    for party, kind in ((first, 200), (second, 201)):
        for _ in range(3):
            party.write(kind)

    def entry(party: Party, more: int = 0) -> Element:
        return stripped(party.chain[1 : 2 + more])

    def rooted(party: Party) -> RootClaim:
        rows = rows_of([entry.id for entry in party.chain])
        return RootClaim(sign_checkpoint(party.key, 4, root_at(rows, 4)).encode())

    def leaf(party: Party) -> LeafClaim:
        ids = [entry.id for entry in party.chain]
        return LeafClaim(rooted(party).note, 2, ids[1], inclusion_proof(rows_of(ids), 1, 4))

    def mixed(element: Element, claim: LeafClaim) -> Proof:
        return Proof(ProofKind.CHECKPOINT, FORK_RULE, (element,), claims=(claim,))

    def told(name: str, proof: Proof, author: str | None, seq: int | None) -> Json:
        return {"name": name, "proof": encode_proof(proof).hex(), "author": author, "seq": seq}

    cases = {
        "two leaves": prove_claims(leaf(first), leaf(second)),
        "an entry and a leaf": mixed(entry(second), leaf(first)),
        "an entry by a run and a leaf": mixed(entry(second, more=2), leaf(first)),
        "two roots": prove_claims(rooted(first), rooted(second)),
    }
    made: list[Json] = []
    for name, proof in cases.items():
        verified = verify_proof(proof)
        made.append(told(name, proof, verified.author.hex(), verified.seq))
    twice, back = mixed(entry(first), leaf(first)), prove_claims(leaf(first), leaf(second)).claims
    uneven = Proof(ProofKind.CHECKPOINT, FORK_RULE, (), claims=(rooted(first), leaf(second)))
    wrong = Proof(ProofKind.CHECKPOINT, FORK_RULE, (), claims=back[::-1])
    made.append(told("the same entry twice", twice, None, None))
    made.append(told("a root and a leaf", uneven, None, None))
    made.append(told("two leaves out of order", wrong, None, None))
    return made
