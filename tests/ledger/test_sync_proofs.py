"""What a session tells and hears of proofs: once, to whom it concerns, and never back."""

from __future__ import annotations

import pytest
from tests.ledger.authors import Author

from passby.ledger.chain import Head as LocalHead
from passby.ledger.proof import FORK_RULE, Proof, ProofKind
from passby.ledger.proof_bytes import proof_frames
from passby.ledger.sync import Session
from passby.ledger.sync_events import Accused
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import PROOFS_PER_SESSION_MAX, SEQ_MAX, UNKNOWN_FRAMES_MAX
from passby.protocol.messages import FrameReader, Kind, frame
from passby.protocol.messages_aside import Feature

NETWORK = b"n" * 32


def fork(name: str, at_seq: int = 3) -> Proof:
    one = Author(name)
    one.genesis()
    for _ in range(4):
        one.note()
    other = one.fork(at_seq)
    other.say(201)
    elements = sorted(
        ((author.records[at_seq - 1].entry,) for author in (one, other)), key=lambda at: at[0].id
    )
    return Proof(ProofKind.FORK, FORK_RULE, tuple(elements))


class Side:
    """A session over what a node holds: chains by their heads, and proofs."""

    def __init__(self, *known: Proof, features: int = Feature.PROOFS) -> None:
        self.heads = {proof.author: LocalHead(5, proof.author, 0) for proof in known}
        self.proofs: dict[bytes, Proof] = {}
        self.heard: list[Proof] = []
        self.session = Session(
            NETWORK, self.heads, lambda _: SEQ_MAX, features, false_from=self.false_from
        )

    def false_from(self, author: bytes) -> int | None:
        proof = self.proofs.get(author)
        return proof.accused[0].seq if proof is not None else None

    def learn(self, proof: Proof) -> None:
        self.proofs[proof.author] = proof
        self.session.proven_false([proof.author])

    def say(self) -> bytes:
        said = b""
        while True:
            author = self.session.next_to_prove()
            if author is not None:
                self.session.send_proof(proof_frames(self.proofs[author]))
            piece = self.session.data_to_send()
            if not piece:
                return said
            said += piece

    def hear(self, data: bytes) -> None:
        while data:
            piece, data = data[: self.session.room], data[self.session.room :]
            self.session.receive_data(piece)
            while (event := self.session.next_event()) is not None:
                if isinstance(event, Accused):
                    proof = event.proof
                    self.heard.append(proof)
                    if proof.author in self.heads:
                        self.session.holds_proof(proof.author, proof.accused[0].seq)
                        known = self.false_from(proof.author)
                        if known is None or proof.accused[0].seq < known:
                            self.learn(proof)


def talk(left: Side, right: Side) -> None:
    while (said := (left.say(), right.say())) != (b"", b""):
        right.hear(said[0])
        left.hear(said[1])


def kinds(data: bytes) -> list[int]:
    reader = FrameReader()
    reader.feed(data)
    found = []
    while (taken := reader.take()) is not None:
        found.append(taken[0])
    return found


def test_a_proof_goes_to_whoever_names_its_author_once_and_never_back() -> None:
    proof = fork("anna")
    left, right = Side(proof), Side(proof)
    left.learn(proof)
    talk(left, right)
    assert right.heard == [proof]
    assert left.heard == []
    for side in (left, right):
        side.session.proven_false([proof.author])
    talk(left, right)
    assert (left.heard, right.heard) == ([], [proof])


def test_a_proof_learnt_in_the_middle_is_told_then() -> None:
    proof = fork("anna")
    left, right = Side(proof), Side(proof)
    talk(left, right)
    left.learn(proof)
    talk(left, right)
    assert right.heard == [proof]


def test_a_better_proof_is_answered_to_whoever_shows_a_later_one() -> None:
    early, late = fork("anna", 2), fork("anna", 4)
    left, right = Side(early), Side(early)
    talk(left, right)
    left.proofs[early.author] = early
    right.learn(late)
    right_says = right.say()
    left.hear(right_says)
    left.session.proven_false([early.author])
    talk(left, right)
    assert left.heard == [late]
    assert right.heard == [early]
    assert right.proofs[early.author] == early


def test_a_stranger_is_told_once_more_when_it_comes_to_know_the_author() -> None:
    proof = fork("anna")
    left, right = Side(proof), Side()
    talk(left, right)
    left.learn(proof)
    talk(left, right)
    for _ in range(3):
        # It may say so as often as it likes.
        left.session.proven_false([proof.author])
        talk(left, right)
    assert right.heard == [proof]
    right.heads[proof.author] = LocalHead(6, b"what came after" + bytes(17), 0)
    right.session.local_changed(proof.author)
    talk(left, right)
    talk(left, right)
    assert right.heard == [proof, proof]
    assert right.proofs[proof.author] == proof


@pytest.mark.parametrize(("ours", "theirs"), [(0, 1), (1, 0), (0, 0)])
def test_without_the_feature_on_both_sides_nothing_is_told(ours: int, theirs: int) -> None:
    proof = fork("anna")
    left, right = Side(proof, features=ours), Side(proof, features=theirs)
    left.learn(proof)
    said = left.say()
    right.hear(said)
    left.hear(right.say())
    assert Kind.PROOF not in kinds(said + left.say())


def test_proofs_that_were_not_agreed_on_are_frames_of_an_unknown_kind() -> None:
    left, right = Side(features=0), Side()
    right.hear(left.say())
    right.hear(frame(Kind.PROOF, b"whatever it says") * UNKNOWN_FRAMES_MAX)
    with pytest.raises(RemoteError) as caught:
        right.hear(frame(Kind.PROOF, b"whatever it says"))
    assert caught.value.code == Code.FLOOD


def test_more_proofs_than_an_honest_peer_sends_end_the_session() -> None:
    proof = fork("anna")
    left, right = Side(), Side()
    right.hear(left.say())
    packed = b"".join(proof_frames(proof))
    for _ in range(PROOFS_PER_SESSION_MAX):
        right.hear(packed)
    with pytest.raises(RemoteError) as caught:
        right.hear(packed)
    assert caught.value.code == Code.FLOOD


@pytest.mark.parametrize("body", [b"", b"\x01\x01", b"\x02\x02x", b"\x01\x01garbage"])
def test_a_proof_frame_that_is_none_is_a_fault_of_the_peer(body: bytes) -> None:
    left, right = Side(), Side()
    right.hear(left.say())
    with pytest.raises(RemoteError):
        right.hear(frame(Kind.PROOF, body))
