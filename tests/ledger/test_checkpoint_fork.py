"""Fork proofs: two claims convict, whatever their kinds; one history never does."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.authors import Author

from passby.ledger.checkpoint import sign_checkpoint
from passby.ledger.checkpoint_fork import (
    Claim,
    EntryClaim,
    ForkProof,
    LeafClaim,
    RootClaim,
    check_claim,
    check_fork,
    parse_fork,
)
from passby.ledger.tree import inclusion_proof, root_at, rows_of
from passby.protocol.codec import encode
from passby.protocol.errors import RemoteError
from passby.protocol.limits import FORK_PROOF_MAX


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


def entry_claim(author: Author, seq: int, more: int = 0) -> EntryClaim:
    run = [record.entry.raw for record in author.records[seq - 1 : seq + more]]
    return EntryClaim(tuple(raw[64:] for raw in run), run[-1][:64])


def leaf_claim(author: Author, seq: int, size: int) -> LeafClaim:
    ids = [record.entry.id for record in author.records]
    rows = rows_of(ids)
    note = sign_checkpoint(author.key, size, root_at(rows, size)).encode()
    return LeafClaim(note, seq, ids[seq - 1], inclusion_proof(rows, seq - 1, size))


def root_claim(author: Author, size: int) -> RootClaim:
    ids = [record.entry.id for record in author.records]
    return RootClaim(sign_checkpoint(author.key, size, root_at(rows_of(ids), size)).encode())


def claims(author: Author, seq: int) -> list[Claim]:
    return [
        entry_claim(author, seq),
        entry_claim(author, seq, more=2),
        leaf_claim(author, seq, seq),
        leaf_claim(author, seq, 9),
    ]


@pytest.mark.parametrize("seq", [4, 6])
def test_any_two_claims_of_two_entries_at_one_seq_prove_a_fork(seq: int) -> None:
    for left, right in product(claims(HONEST, seq), claims(LYING, seq)):
        proof = parse_fork(ForkProof(left, right).encode())
        assert proof == ForkProof(left, right)
        assert check_fork(proof) == (HONEST.public, seq)


@pytest.mark.parametrize("size", [4, 5, 9])
def test_two_roots_of_one_size_prove_a_fork(size: int) -> None:
    proof = ForkProof(root_claim(HONEST, size), root_claim(LYING, size))
    assert check_fork(parse_fork(proof.encode())) == (HONEST.public, size)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_one_history_never_proves_a_fork(left: int, right: int, data: st.DataObject) -> None:
    def claim(seq: int) -> Claim:
        size = data.draw(st.integers(seq, 9))
        kinds = [
            entry_claim(HONEST, seq, data.draw(st.integers(0, 9 - seq))),
            leaf_claim(HONEST, seq, size),
            root_claim(HONEST, seq),
        ]
        return data.draw(st.sampled_from(kinds))

    one, other = claim(left), claim(right)
    assert check_claim(one).author == HONEST.public
    with pytest.raises(RemoteError):
        check_fork(ForkProof(one, other))


def test_claims_before_the_fork_agree_and_of_two_authors_prove_nothing() -> None:
    before = FORKED_AT - 1
    stranger = Author("ben")
    stranger.genesis()
    for proof in (
        ForkProof(entry_claim(HONEST, before), leaf_claim(LYING, before, 9)),
        ForkProof(root_claim(HONEST, before), root_claim(LYING, before)),
        ForkProof(entry_claim(HONEST, 4), entry_claim(LYING, 5)),
        ForkProof(root_claim(HONEST, 4), root_claim(LYING, 5)),
        ForkProof(root_claim(HONEST, 4), entry_claim(LYING, 4)),
        ForkProof(entry_claim(HONEST, 1), entry_claim(stranger, 1)),
    ):
        with pytest.raises(RemoteError):
            check_fork(proof)


@pytest.mark.parametrize(
    "proof",
    [
        ForkProof(entry_claim(HONEST, 4), entry_claim(LYING, 4, more=1)),
        ForkProof(leaf_claim(HONEST, 4, 7), leaf_claim(LYING, 4, 9)),
        ForkProof(root_claim(HONEST, 5), root_claim(LYING, 5)),
    ],
    ids=["entries", "leaves", "roots"],
)
def test_every_flipped_bit_of_a_fork_proof_is_refused(proof: ForkProof) -> None:
    good = proof.encode()
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError):
            check_fork(parse_fork(bytes(bad)))


def test_a_run_with_a_gap_or_an_unsigned_end_claims_nothing() -> None:
    claim = entry_claim(HONEST, 4, more=3)
    good, signature = claim.bodies, claim.signature
    for bodies in (
        (),
        good[:-1],
        (good[0], *good[2:]),
        (*good[:-1], good[-1][:-1]),
        (entry_claim(LYING, 4).bodies[0], *good[1:]),
        good * 100,
    ):
        with pytest.raises(RemoteError):
            check_claim(EntryClaim(bodies, signature))
    for other in (b"", signature[:-1], signature + b"\x00", entry_claim(HONEST, 4).signature):
        with pytest.raises(RemoteError):
            check_claim(EntryClaim(good, other))


def test_a_leaf_at_another_place_claims_nothing() -> None:
    good = leaf_claim(HONEST, 4, 9)
    for claim in (
        LeafClaim(good.note, 5, good.id, good.proof),
        LeafClaim(good.note, 0, good.id, good.proof),
        LeafClaim(good.note, 10, good.id, good.proof),
        LeafClaim(good.note, 4, good.id, good.proof[:-1]),
        LeafClaim(root_claim(LYING, 9).note, 4, good.id, good.proof),
        LeafClaim(b"", 4, good.id, good.proof),
    ):
        with pytest.raises(RemoteError):
            check_claim(claim)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [[3, b""]],
        [[3, b""], [3, b""], [3, b""]],
        [[3, b""], [4, b""]],
        [[3, b""], [True, [b""], b""]],
        [[3, b""], [3, "text"]],
        [[3, b""], [3, b"", b""]],
        [[3, b""], [1, [b""]]],
        [[3, b""], [1, [], b""]],
        [[3, b""], [1, [1], b""]],
        [[3, b""], [1, [b""] * 257, b""]],
        [[3, b""], [1, b"abc", b""]],
        [[3, b""], [2, b"", True, b"i" * 32, []]],
        [[3, b""], [2, b"", 1, b"i" * 31, []]],
        [[3, b""], [2, b"", 1, b"i" * 32, [None]]],
        [[3, b""], [2, b"", 1, b"i" * 32, [b""] * 64]],
        [[3, b""], {"3": b""}],
        [[3, b""], [None]],
        [[3, b""], []],
    ],
    ids=lambda value: encode(value).hex()[:96],
)
def test_what_is_no_fork_proof_is_refused(value: object) -> None:
    with pytest.raises(RemoteError):
        parse_fork(encode(value))  # type: ignore[arg-type]  # plain values
    with pytest.raises(RemoteError):
        parse_fork(b"\xc4" * (FORK_PROOF_MAX + 1))
