"""The vectors of proofs and bundles in docs/PROTOCOL.md, held against the code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.vectors.make import FOLDER

from passby.ledger.bundle import check_bundle, decode_bundle, encode_bundle
from passby.ledger.proof import verify_proof
from passby.ledger.proof_bytes import ProofParts, decode_proof, encode_proof
from passby.protocol.messages import FrameReader, Kind


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))


@pytest.mark.parametrize("case", read("proofs"), ids=lambda case: case["name"])
def test_proofs_prove_this(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["proof"])
    proof = decode_proof(data)
    assert encode_proof(proof) == data
    assert data[0] == case["kind"]
    verified = verify_proof(proof)
    assert verified.author.hex() == case["author"]
    assert (verified.kind, verified.rule, verified.seq) == (
        case["kind"],
        case["rule"],
        case["seq"],
    )
    assert [entry.id.hex() for entry in proof.accused] == case["accused"]
    assert [entry.id.hex() for entry in proof.context] == case["context"]
    reader, parts = FrameReader(), ProofParts()
    for frame in case["frames"]:
        reader.feed(bytes.fromhex(frame))
        taken = reader.take()
        assert taken is not None
        kind, body = taken
        assert kind == Kind.PROOF
        shown = parts.take(body)
        assert shown == proof


@pytest.mark.parametrize("case", read("bundles"), ids=lambda case: case["name"])
def test_bundles_show_this(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["bundle"])
    bundle = decode_bundle(data)
    assert encode_bundle(bundle) == data
    assert (bundle.about, bundle.subject.hex()) == (case["about"], case["subject"])
    entries = [record.entry.id.hex() for run in bundle.runs for record in run]
    assert entries == case["entries"]
    checked = check_bundle(data, 0)
    assert checked.lots[0].remaining == case["remaining"]
    assert checked.report.signatures == case["signatures"]
