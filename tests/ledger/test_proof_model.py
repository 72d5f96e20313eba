"""No honest history is accused, and every dishonest one is proven, by four judges alike."""

from __future__ import annotations

import os

from tests.ledger.proof_model import CHEATS, compare_all

from passby.ledger.proof import RULES, ProofKind

HISTORIES = int(os.environ.get("PASSBY_HISTORIES", "500"))


def test_replay_local_proofs_and_audit_agree_on_every_history() -> None:
    counts = compare_all(range(HISTORIES))
    assert counts["histories"] == HISTORIES
    assert counts["honest"] > HISTORIES / 4
    assert counts["dishonest"] > HISTORIES / 4
    for cheat in CHEATS:
        assert counts[f"dishonest by {cheat}"]
    for kind in (ProofKind.FORK, ProofKind.TIME):
        assert counts[f"rule: {RULES[kind][0]}"]
    assert counts["proofs that lean on a run"]
