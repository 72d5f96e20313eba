"""The vectors of checkpoints and witnesses, read as another implementation would."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from tests.vectors.make import FOLDER

from passby.ledger.checkpoint import (
    WitnessKey,
    check_chain,
    cosigned_at,
    origin_of,
    parse_checkpoint,
    sign_checkpoint,
)
from passby.ledger.checkpoint_messages import (
    AskKey,
    AskNewest,
    encode_answer,
    encode_question,
    parse_key_answer,
    parse_newest_answer,
    parse_question,
)
from passby.ledger.note import parse_vkey
from passby.ledger.policy import parse_policy, satisfied
from passby.ledger.proof import verify_proof
from passby.ledger.proof_bytes import decode_proof, encode_proof
from passby.ledger.tree import is_consistent, is_included, root_at, rows_of
from passby.ledger.witness import EMPTY, Conflict, Cosign, Forked, Refuse, cosignature, witness
from passby.ledger.witness_messages import Cosigned, encode_reply, parse_request
from passby.protocol.codec import read_uvarint
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import (
    ADD_CHECKPOINT_MAX,
    CHECKPOINT_ANSWER_MAX,
    CHECKPOINT_QUESTION_MAX,
)

VECTORS: dict[str, Any] = json.loads((FOLDER / "checkpoints.json").read_text(encoding="ascii"))
NOTES = VECTORS["notes"]
WITNESSES = [WitnessKey(SigningKey(bytes.fromhex(seed))) for seed in NOTES["witness_seeds"]]


def test_trees_have_these_roots_and_proofs() -> None:
    leaves = [hashlib.sha256(b"\x00leaf %d" % at).digest() for at in range(600)]
    rows = rows_of(leaves)
    trees = VECTORS["trees"]
    for size, root in trees["roots"]:
        assert root_at(rows, size).hex() == root
    for case in trees["inclusion"]:
        index, size = case["index"], case["size"]
        proof = [bytes.fromhex(found) for found in case["proof"]]
        assert is_included(leaves[index], index, size, proof, root_at(rows, size))
    for case in trees["consistency"]:
        old, size = case["old"], case["size"]
        proof = [bytes.fromhex(found) for found in case["proof"]]
        assert is_consistent(old, size, root_at(rows, old), root_at(rows, size), proof)


def test_checkpoints_and_cosignatures_are_these() -> None:
    author = SigningKey(bytes.fromhex(NOTES["author_seed"]))
    signed = parse_checkpoint(NOTES["checkpoint"].encode())
    assert check_chain(signed) == author.public
    assert sign_checkpoint(author, NOTES["size"], bytes.fromhex(NOTES["root"])) == signed
    assert signed.head.origin == NOTES["origin"] == origin_of(author.public)
    assert parse_vkey(NOTES["author_vkey"]).public == author.public
    cosigned = parse_checkpoint(NOTES["cosigned"].encode())
    assert check_chain(cosigned) == author.public
    assert [cosigned_at(cosigned.note, parse_vkey(key)) for key in NOTES["witness_vkeys"]] == NOTES[
        "cosigned_at_s"
    ]


@pytest.mark.parametrize("name", NOTES["refused"])
def test_these_notes_are_no_checkpoints_of_the_chain(name: str) -> None:
    with pytest.raises(RemoteError):
        check_chain(parse_checkpoint(NOTES["refused"][name].encode()))


def test_a_witness_answers_so() -> None:
    held = EMPTY
    for case in VECTORS["requests"]:
        data = bytes.fromhex(case["request"])
        length, start = read_uvarint(data, 0, ADD_CHECKPOINT_MAX)
        assert start + length == len(data)
        asked = parse_request(data[start:])
        verdict = witness(held, asked, parse_vkey(NOTES["author_vkey"]), case["now_s"])
        match verdict:
            case Cosign(stored):
                held = stored
                answer = encode_reply(Cosigned((cosignature(held, WITNESSES[0]),)))
            case Forked(proof, reply):
                assert verify_proof(proof).seq == asked.signed.head.size
                answer = encode_reply(reply)
            case Conflict() | Refuse():
                answer = encode_reply(verdict)
        assert answer.hex() == case["answer"], case["name"]
        assert [held.size, held.root.hex(), held.at_s] == case["held"]


@pytest.mark.parametrize("case", VECTORS["questions"])
def test_questions_about_checkpoints_are_asked_and_answered_so(case: dict[str, Any]) -> None:
    asked, answered = (bytes.fromhex(case[name]) for name in ("question", "answer"))
    start = read_uvarint(asked, 0, CHECKPOINT_QUESTION_MAX)[1]
    question = parse_question(asked[start:])
    assert encode_question(question) == asked
    body = answered[read_uvarint(answered, 0, CHECKPOINT_ANSWER_MAX)[1] :]
    match question:
        case AskKey():
            assert encode_answer(parse_key_answer(body)) == answered
        case AskNewest():
            assert encode_answer(parse_newest_answer(body, question)) == answered


@pytest.mark.parametrize("case", VECTORS["policies"], ids=lambda case: case["policy"][-40:])
def test_policies_are_satisfied_by_these(case: dict[str, Any]) -> None:
    policy = parse_policy(case["policy"].encode())
    signed = parse_checkpoint(NOTES["checkpoint"].encode())
    for numbers, reached in case["reached"]:
        lines = tuple(WITNESSES[at].cosign(signed.head.text, 1_700_000_000 + at) for at in numbers)
        assert satisfied(signed.with_lines(lines), policy, 1_700_000_000).reached == reached


@pytest.mark.parametrize("case", VECTORS["forks"], ids=lambda case: case["name"])
def test_forks_are_proven_so(case: dict[str, Any]) -> None:
    proof = decode_proof(bytes.fromhex(case["proof"]))
    assert encode_proof(proof).hex() == case["proof"]
    if case["author"] is None:
        with pytest.raises(RemoteError):
            verify_proof(proof)
    else:
        proven = verify_proof(proof)
        assert (proven.author.hex(), proven.seq) == (case["author"], case["seq"])
