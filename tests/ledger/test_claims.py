"""Forks by checkpoints: two sides convict, whatever their kinds; one history never does."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.authors import Author
from tests.ledger.people import Person

from passby.ledger.audit import AuditExit, audit
from passby.ledger.chain import Evidence
from passby.ledger.chain import Proof as EvidenceKind
from passby.ledger.checkpoint import parse_checkpoint, sign_checkpoint
from passby.ledger.claim import Claim, LeafClaim, RootClaim, check_claim, encode_claim, read_claim
from passby.ledger.ingest import Batch, Check, admit
from passby.ledger.note import NoteSignature
from passby.ledger.proof import (
    FORK_RULE,
    ROOTS_RULE,
    Element,
    Proof,
    ProofKind,
    Verified,
    survives,
    verify_proof,
)
from passby.ledger.proof_bytes import decode_proof, encode_proof
from passby.ledger.prove import evidence_of, prove_claims, prove_evidence, stripped
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.ledger.tree import inclusion_proof, root_at, rows_of
from passby.protocol.errors import RemoteError
from passby.protocol.limits import CLAIM_NOTE_MAX


def history(length: int, at_seq: int | None = None, other: Author | None = None) -> Author:
    author = other.fork(at_seq) if other and at_seq else Author("ada")
    if not author.records:
        author.genesis()
    while len(author.records) < length:
        author.note(b"\x80" if other is None else b"\x81\xa1a\x01")
    return author


FORKED_AT = 4
HONEST = history(9)
LYING = history(9, FORKED_AT, HONEST)


Side = Element | Claim


def entry_side(author: Author, seq: int, more: int = 0) -> Element:
    return stripped(record.entry for record in author.records[seq - 1 : seq + more])


def leaf_claim(author: Author, seq: int, size: int) -> LeafClaim:
    ids = [record.entry.id for record in author.records]
    rows = rows_of(ids)
    note = sign_checkpoint(author.key, size, root_at(rows, size)).encode()
    return LeafClaim(note, seq, ids[seq - 1], inclusion_proof(rows, seq - 1, size))


def root_claim(author: Author, size: int) -> RootClaim:
    ids = [record.entry.id for record in author.records]
    return RootClaim(sign_checkpoint(author.key, size, root_at(rows_of(ids), size)).encode())


def sides(author: Author, seq: int) -> list[Side]:
    return [
        entry_side(author, seq),
        entry_side(author, seq, more=2),
        leaf_claim(author, seq, seq),
        leaf_claim(author, seq, 9),
    ]


def fork(left: Side, right: Side) -> Proof:
    """Return the proof in its one form, whatever it is worth."""
    match left, right:
        case tuple(), tuple():
            ordered = sorted((left, right), key=lambda element: element[0].id)
            return Proof(ProofKind.FORK, FORK_RULE, tuple(ordered))
        case tuple(), LeafClaim() | RootClaim():
            return Proof(ProofKind.CHECKPOINT, FORK_RULE, (left,), claims=(right,))
        case LeafClaim() | RootClaim(), tuple():
            return Proof(ProofKind.CHECKPOINT, FORK_RULE, (right,), claims=(left,))
        case LeafClaim() | RootClaim(), LeafClaim() | RootClaim():
            return prove_claims(left, right)
    raise AssertionError


def proven(proof: Proof) -> Verified:
    """Prove by nothing but bytes."""
    assert decode_proof(encode_proof(proof)) == proof
    return verify_proof(decode_proof(encode_proof(proof)))


@pytest.mark.parametrize("seq", [4, 6])
def test_any_two_sides_of_two_entries_at_one_seq_prove_a_fork(seq: int) -> None:
    for left, right in product(sides(HONEST, seq), sides(LYING, seq)):
        verified = proven(fork(left, right))
        assert (verified.author, verified.seq) == (HONEST.public, seq)


@pytest.mark.parametrize("size", [4, 5, 9])
def test_two_roots_of_one_size_prove_a_fork(size: int) -> None:
    verified = proven(fork(root_claim(HONEST, size), root_claim(LYING, size)))
    assert (verified.author, verified.seq) == (HONEST.public, size)
    assert verified.rule == ROOTS_RULE


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_one_history_never_proves_a_fork(left: int, right: int, data: st.DataObject) -> None:
    def side(seq: int) -> Side:
        size = data.draw(st.integers(seq, 9))
        kinds: list[Side] = [
            entry_side(HONEST, seq, data.draw(st.integers(0, 9 - seq))),
            leaf_claim(HONEST, seq, size),
            root_claim(HONEST, seq),
        ]
        return data.draw(st.sampled_from(kinds))

    with pytest.raises(RemoteError):
        verify_proof(fork(side(left), side(right)))


def test_sides_before_the_fork_agree_and_of_two_authors_prove_nothing() -> None:
    before = FORKED_AT - 1
    stranger = Author("ben")
    stranger.genesis()
    for proof in (
        fork(entry_side(HONEST, before), leaf_claim(LYING, before, 9)),
        fork(root_claim(HONEST, before), root_claim(LYING, before)),
        fork(root_claim(HONEST, 4), root_claim(LYING, 5)),
        fork(root_claim(HONEST, 4), entry_side(LYING, 4)),
        fork(leaf_claim(HONEST, 4, 9), entry_side(LYING, 5)),
        fork(leaf_claim(stranger, 1, 1), entry_side(HONEST, 1)),
        fork(root_claim(HONEST, 9), leaf_claim(LYING, 9, 9)),
    ):
        with pytest.raises(RemoteError):
            verify_proof(proof)


def test_a_proof_has_two_sides_in_one_order_and_of_its_kind() -> None:
    good = fork(leaf_claim(HONEST, 4, 9), leaf_claim(LYING, 4, 9))
    one, other = good.claims
    entry = entry_side(HONEST, 4)
    for wrong in (
        Proof(good.kind, good.rule, (), claims=(other, one)),
        Proof(good.kind, ROOTS_RULE, (), claims=(one, other)),
        Proof(good.kind, good.rule, (), claims=(one,)),
        Proof(good.kind, good.rule, ()),
        Proof(good.kind, good.rule, (entry,)),
        Proof(good.kind, good.rule, (entry,), claims=(one, other)),
        Proof(good.kind, good.rule, (entry,), entry, (other,)),
        Proof(ProofKind.FORK, FORK_RULE, (entry, entry_side(LYING, 4)), claims=(one,)),
    ):
        with pytest.raises(RemoteError):
            verify_proof(wrong)


@pytest.mark.parametrize(
    "proof",
    [
        fork(entry_side(HONEST, 4, more=1), leaf_claim(LYING, 4, 9)),
        fork(leaf_claim(HONEST, 4, 7), leaf_claim(LYING, 4, 9)),
        fork(root_claim(HONEST, 5), root_claim(LYING, 5)),
    ],
    ids=["an entry and a leaf", "leaves", "roots"],
)
def test_every_flipped_bit_of_a_fork_by_checkpoints_is_refused(proof: Proof) -> None:
    good = encode_proof(proof)
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError):
            verify_proof(decode_proof(bytes(bad)))


def test_every_cut_of_a_fork_by_checkpoints_is_refused() -> None:
    good = encode_proof(fork(leaf_claim(HONEST, 4, 7), leaf_claim(LYING, 4, 9)))
    for length in range(len(good)):
        with pytest.raises(RemoteError):
            decode_proof(good[:length])
    with pytest.raises(RemoteError):
        decode_proof(good + b"\x00")


def test_a_leaf_at_another_place_claims_nothing() -> None:
    good = leaf_claim(HONEST, 4, 9)
    check_claim(good)
    for claim in (
        LeafClaim(good.note, 5, good.id, good.hashes),
        LeafClaim(good.note, 0, good.id, good.hashes),
        LeafClaim(good.note, 10, good.id, good.hashes),
        LeafClaim(good.note, 4, good.id, good.hashes[:-1]),
        LeafClaim(root_claim(LYING, 9).note, 4, good.id, good.hashes),
        LeafClaim(b"", 4, good.id, good.hashes),
    ):
        with pytest.raises(RemoteError):
            check_claim(claim)


def test_a_checkpoint_with_a_line_that_anybody_added_claims_nothing() -> None:
    signed = parse_checkpoint(root_claim(HONEST, 9).note)
    more = signed.with_lines((NoteSignature("somebody", b"\x01\x02\x03\x04", bytes(64)),))
    with pytest.raises(RemoteError, match="more lines"):
        check_claim(RootClaim(more.encode()))


def test_what_is_no_claim_is_refused() -> None:
    good = encode_claim(leaf_claim(HONEST, 4, 9))
    at_count = len(good) - 32 * len(leaf_claim(HONEST, 4, 9).hashes) - 1
    for data in (
        b"",
        b"\x03" + good[1:],
        good[:at_count] + b"\x40" + bytes(64 * 32),
        encode_claim(RootClaim(bytes(CLAIM_NOTE_MAX + 1))),
    ):
        with pytest.raises(RemoteError):
            read_claim(data, 0)


def test_a_fork_by_checkpoints_does_not_survive_its_heal() -> None:
    kept = HONEST.records[FORKED_AT - 1].entry.id
    for proof in (
        fork(leaf_claim(HONEST, 4, 7), leaf_claim(LYING, 4, 9)),
        fork(root_claim(HONEST, 5), root_claim(LYING, 5)),
    ):
        assert not survives(proof, FORKED_AT, kept)
        assert survives(proof, FORKED_AT + 2, kept)


@pytest.mark.parametrize("make", [lambda _: MemoryStore(), SqliteStore], ids=["memory", "sqlite"])
def test_a_store_keeps_the_proof_and_freezes_its_author(make: Any, tmp_path: Path) -> None:
    store = make(tmp_path / "passby.db")
    for proof in (
        fork(root_claim(HONEST, 9), root_claim(LYING, 9)),
        fork(entry_side(HONEST, 5, more=2), leaf_claim(LYING, 5, 9)),
        fork(leaf_claim(HONEST, 4, 7), leaf_claim(LYING, 4, 9)),
    ):
        evidence = evidence_of(proof)
        assert evidence is not None
        assert evidence.proof is EvidenceKind.CHECKPOINT
        store.commit([Batch(evidence=[evidence])], durable=False)
        assert store.frozen() == {HONEST.public: evidence.seq}
        (kept,) = store.evidence(HONEST.public)
        assert kept == evidence
        assert prove_evidence(kept) == proof
    store.close()


@pytest.mark.parametrize("make", [lambda _: MemoryStore(), SqliteStore], ids=["memory", "sqlite"])
def test_a_heal_lifts_what_checkpoints_show_of_the_fork(make: Any, tmp_path: Path) -> None:
    person = Person("ada")
    ada = person.device("phone")
    while len(ada.records) < 5:
        ada.note(b"\x80")
    other = ada.fork(4)
    while len(other.records) < 5:
        other.note(b"\x81\xa1a\x01")
    evidence = evidence_of(fork(root_claim(ada, 5), root_claim(other, 5)))
    assert evidence is not None
    for held, evidence_first in product((ada, other), (True, False)):
        store = make(tmp_path / f"{held is ada}-{evidence_first}.db")
        batch = admit(store.view(held.records), held.records, Check.EACH)
        store.commit([batch], durable=False)
        heal = person.heal(ada.records[3])
        if evidence_first:
            store.commit([Batch(evidence=[evidence])], durable=False)
            assert store.frozen() == {ada.public: 5}
        store.add_statement(heal)
        if not evidence_first:
            store.commit([Batch(evidence=[evidence])], durable=False)
        assert store.frozen() == {}
        head = store.head(ada.public)
        assert head is not None
        assert head.seq == (5 if held is ada else 3)
        report = audit(store, 0)
        assert report.exit_code is AuditExit.CLEAN, report.findings
        store.close()


def test_evidence_about_another_seq_than_its_proof_is_none() -> None:
    evidence = evidence_of(fork(root_claim(HONEST, 5), root_claim(LYING, 5)))
    assert evidence is not None
    wrong = Evidence(evidence.author, 4, evidence.proof, evidence.rule, (), evidence.claims)
    assert prove_evidence(wrong) is None
