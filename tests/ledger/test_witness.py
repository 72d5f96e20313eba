"""The witness: whatever it is asked, killed at, or raced by, it vouches for one history."""

from __future__ import annotations

import hashlib
from typing import assert_never

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.ledger import c2sp_vectors as public

from passby.ledger.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    WitnessKey,
    chain_key,
    cosigned_at,
    parse_checkpoint,
    sign_checkpoint,
)
from passby.ledger.note import KeyKind, Note, VerifierKey, sign_note
from passby.ledger.policy import k_of, satisfied
from passby.ledger.proof import verify_proof
from passby.ledger.tree import EMPTY_ROOT, consistency_proof, is_consistent, root_at, rows_of
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
from passby.ledger.witness_messages import (
    CONFLICT,
    COSIGNED,
    Cosigned,
    Reply,
    encode_reply,
    encode_request,
    parse_reply,
    parse_request,
)
from passby.protocol.codec import read_uvarint
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import ADD_CHECKPOINT_MAX, PROOF_HASHES_MAX, WITNESS_REPLY_MAX

AUTHOR = SigningKey(b"\x01" * 32)
KEY = chain_key(AUTHOR.public)
WITNESS = WitnessKey(SigningKey(b"\x02" * 32))
AT_S = 1_700_000_000


def chain(branch: int, shared: int, length: int) -> list[bytes]:
    """Ids of a chain that leaves the trunk behind `shared` entries."""
    return [
        hashlib.sha256(b"%d %d" % (branch if at >= shared else 0, at)).digest()
        for at in range(length)
    ]


TRUNK = chain(0, 0, 40)
BRANCHES = [TRUNK, chain(1, 5, 40), chain(2, 17, 40), chain(3, 0, 40)]
ROWS = [rows_of(branch) for branch in BRANCHES]
ROOTS = [[root_at(rows, size) for size in range(41)] for rows in ROWS]


def checkpoint(branch: int, size: int) -> SignedCheckpoint:
    return sign_checkpoint(AUTHOR, size, ROOTS[branch][size])


def request(branch: int, old: int, size: int) -> AddCheckpoint:
    proof = consistency_proof(ROWS[branch], old, size) if 0 < old <= size else ()
    return AddCheckpoint(old, proof, checkpoint(branch, size))


def cosigned(held: Held, asked: AddCheckpoint) -> Held:
    verdict = witness(held, asked, KEY, AT_S)
    assert isinstance(verdict, Cosign)
    return verdict.held


# --- one request at a time ------------------------------------------------------------------


def test_the_first_tree_is_cosigned_without_a_proof() -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    assert (held.size, held.root, held.at_s) == (7, root_at(ROWS[0], 7), AT_S)
    assert parse_checkpoint(held.note) == checkpoint(0, 7)


def test_a_tree_that_grew_is_cosigned_from_the_size_held() -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    for size in (7, 8, 16, 40):
        held = cosigned(held, request(0, held.size, size))
        assert held.size == size


def test_the_same_tree_again_is_cosigned_with_a_newer_time() -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    again = witness(held, request(0, 7, 7), KEY, AT_S + 9)
    assert again == Cosign(Held(held.size, held.root, held.note, AT_S + 9))


def test_a_clock_put_back_dates_no_tree_before_a_smaller_one() -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    verdict = witness(held, request(0, 7, 9), KEY, AT_S - 3600)
    assert isinstance(verdict, Cosign)
    assert verdict.held.at_s == AT_S


def test_the_cosignature_is_of_what_was_stored() -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    signed = checkpoint(0, 7).with_lines((cosignature(held, WITNESS),))
    assert cosigned_at(signed.note, WITNESS.verifier) == AT_S


@pytest.mark.parametrize(("old", "size"), [(0, 9), (3, 9), (8, 9), (9, 9), (0, 7), (5, 6), (8, 8)])
def test_another_old_size_hears_the_one_that_is_held(old: int, size: int) -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    assert witness(held, request(0, old, size), KEY, AT_S) == Conflict(7)


def test_a_smaller_tree_is_not_cosigned_after_a_larger() -> None:
    held = cosigned(EMPTY, request(0, 0, 9))
    for old in range(9):
        assert witness(held, request(0, old, 8), KEY, AT_S) == Conflict(9)
    assert witness(held, request(0, 9, 8), KEY, AT_S) == Refuse(Reason.MALFORMED)


def test_a_tree_with_another_beginning_is_refused() -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    assert witness(held, request(1, 7, 9), KEY, AT_S) == Refuse(Reason.INCONSISTENT)


def test_every_changed_proof_is_refused() -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    good = request(0, 7, 13)
    for proof in (
        (),
        good.proof[1:],
        good.proof[:-1],
        (*good.proof, bytes(32)),
        tuple(reversed(good.proof)),
        (bytes(32), *good.proof[1:]),
    ):
        bad = AddCheckpoint(7, proof, good.signed)
        assert witness(held, bad, KEY, AT_S) == Refuse(Reason.INCONSISTENT)
    first = request(0, 0, 7)
    surplus = AddCheckpoint(0, (bytes(32),), first.signed)
    assert witness(EMPTY, surplus, KEY, AT_S) == Refuse(Reason.INCONSISTENT)


@pytest.mark.parametrize("old", [0, 7])
def test_two_trees_of_one_size_are_a_proof_against_their_author(old: int) -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    verdict = witness(held, AddCheckpoint(old, (), checkpoint(1, 7)), KEY, AT_S)
    assert isinstance(verdict, Forked)
    refused = Refuse(Reason.INCONSISTENT, verdict.proof)
    assert verdict.reply == (refused if old == 7 else Conflict(7))
    told = encode_reply(verdict.reply)
    assert parse_reply(told[read_uvarint(told, 0, WITNESS_REPLY_MAX)[1] :]) == verdict.reply
    proven = verify_proof(verdict.proof)
    assert (proven.author, proven.seq) == (AUTHOR.public, 7)


def test_what_its_author_did_not_sign_is_refused_and_accuses_nobody() -> None:
    held = cosigned(EMPTY, request(0, 0, 7))
    stranger = SigningKey(b"\x09" * 32)
    head = checkpoint(1, 7).head
    for note in (
        sign_note(head.text, stranger, head.origin),
        sign_note(head.text, AUTHOR, "another-name"),
        Note(head.text, checkpoint(0, 7).note.signatures),
    ):
        read = parse_checkpoint(note.encode())
        assert read.head == head
        assert witness(held, AddCheckpoint(7, (), read), KEY, AT_S) == Refuse(Reason.UNSIGNED)


def test_a_log_that_is_not_witnessed_is_not_found() -> None:
    assert witness(EMPTY, request(0, 0, 7), None, AT_S) == Refuse(Reason.UNKNOWN)


def test_lines_below_the_root_are_refused_since_they_make_two_texts_of_one_tree() -> None:
    head = Checkpoint(KEY.name, 7, root_at(ROWS[0], 7), ("more",))
    signed = SignedCheckpoint(head, sign_note(head.text, AUTHOR, KEY.name))
    assert witness(EMPTY, AddCheckpoint(0, (), signed), KEY, AT_S) == Refuse(Reason.MALFORMED)


def test_an_empty_tree_has_the_empty_root() -> None:
    for root, expected in ((EMPTY_ROOT, Cosign), (bytes(32), Refuse)):
        head = Checkpoint(KEY.name, 0, root)
        signed = SignedCheckpoint(head, sign_note(head.text, AUTHOR, KEY.name))
        assert isinstance(witness(EMPTY, AddCheckpoint(0, (), signed), KEY, AT_S), expected)


def test_what_is_stored_carries_the_author_alone_and_no_cosignatures() -> None:
    signed = checkpoint(0, 7)
    busy = signed.with_lines((WITNESS.cosign(signed.head.text, AT_S),))
    assert cosigned(EMPTY, AddCheckpoint(0, (), busy)).note == signed.encode()


# --- public requests ------------------------------------------------------------------------


def test_a_public_story_of_requests_is_answered_as_published() -> None:
    key = VerifierKey(public.SIGSUM_LOG, KeyKind.ED25519, bytes.fromhex(public.SIGSUM_PUBLIC))
    held = EMPTY
    for text, status, body in public.SIGSUM_STORY:
        asked = parse_request(text.encode())
        assert encode_request(asked).endswith(text.encode())
        known = key if asked.signed.head.origin == key.name else None
        match witness(held, asked, known, AT_S):
            case Cosign(stored):
                held = stored
                answer = (COSIGNED, "")
            case Conflict(size):
                answer = (CONFLICT, f"{size}\n")
            case Refuse(reason):
                answer = (int(reason), "")
            case Forked():
                raise AssertionError("nobody forked")
            case unknown:
                assert_never(unknown)
        assert answer == (status, body)
    assert held.size == 5


# --- messages -------------------------------------------------------------------------------


def unframed(data: bytes) -> bytes:
    length, start = read_uvarint(data, 0, ADD_CHECKPOINT_MAX)
    assert start + length == len(data)
    return data[start:]


@pytest.mark.parametrize(("old", "size"), [(0, 1), (0, 7), (7, 7), (7, 13), (1, 2)])
def test_a_request_is_read_as_it_was_written(old: int, size: int) -> None:
    asked = request(0, old, size)
    assert parse_request(unframed(encode_request(asked))) == asked


GOOD = unframed(encode_request(request(0, 7, 13)))
NO_REQUESTS = {
    "nothing": b"",
    "no checkpoint": GOOD[: GOOD.index(b"\n\n") + 2],
    "no old size": GOOD[GOOD.index(b"\n") + 1 :],
    "a zero before the old size": GOOD.replace(b"old 7", b"old 07"),
    "two spaces": GOOD.replace(b"old 7", b"old  7"),
    "an upper case": GOOD.replace(b"old 7", b"Old 7"),
    "a negative size": GOOD.replace(b"old 7", b"old -7"),
    "a carriage return": GOOD.replace(b"old 7\n", b"old 7\r\n"),
    "a short hash": GOOD.replace(b"old 7\n", b"old 7\nAAAA\n"),
    "no hash": GOOD.replace(b"old 7\n", b"old 7\n!\n"),
    "too many hashes": GOOD.replace(
        b"old 7\n",
        b"old 7\n" + b"KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * PROOF_HASHES_MAX,
    ),
    "a byte too many": GOOD + b"\n",
    "too large": GOOD + b"a" * ADD_CHECKPOINT_MAX,
}


@pytest.mark.parametrize("data", NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteError):
        parse_request(data)


REPLIES: list[Reply] = [
    Cosigned((WITNESS.cosign(b"x\n", AT_S),)),
    Cosigned((WITNESS.cosign(b"x\n", AT_S), WITNESS.cosign(b"x\n", AT_S + 1))),
    Conflict(0),
    Conflict(2**63 - 1),
    *(Refuse(reason) for reason in Reason),
]


@pytest.mark.parametrize("reply", REPLIES, ids=str)
def test_an_answer_is_read_as_it_was_written(reply: Reply) -> None:
    assert parse_reply(unframed(encode_reply(reply))) == reply


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00\xc8",
        b"\x00\xc8\n",
        b"\x00\xc9",
        b"\x01\x90 why",
        b"\x01\x99",
        b"\x01\x997",
        b"\x01\x9907\n",
        b"\x01\x997\n\n",
        b"\x00\xc8" + b"a" * WITNESS_REPLY_MAX,
    ],
    ids=lambda data: data[:8].hex() or "empty",
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteError):
        parse_reply(data)


@given(st.binary(max_size=60), st.integers(0, len(GOOD)), st.integers(0, 40))
def test_damaged_messages_are_refused_or_read_to_the_byte(put: bytes, at: int, cut: int) -> None:
    bad = GOOD[:at] + put + GOOD[at + cut :]
    for data in (bad, put):
        try:
            asked = parse_request(data)
        except RemoteError:
            continue
        assert unframed(encode_request(asked)) == data
    for data in (put, b"\x00\xc8" + put, b"\x01\x99" + put):
        try:
            reply = parse_reply(data)
        except RemoteError:
            continue
        assert unframed(encode_reply(reply)) == data


# --- any order, any crash -------------------------------------------------------------------


class Witnessed(RuleBasedStateMachine):
    """An author with four histories, and requests that overtake each other and are cut off.

    A request is judged by what was read; it is stored, by compare and swap, some time after;
    it is answered some time after that, or never, if the witness was killed in between.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stored = EMPTY
        self.judged: list[tuple[Held, Held]] = []
        self.to_answer: list[Held] = []
        self.answered: list[tuple[int, int, bytes]] = []
        self.now_s = AT_S

    @rule(branch=st.integers(0, 3), more=st.integers(0, 6))
    def ask(self, branch: int, more: int) -> None:
        old = self.stored.size
        self._judge(request(branch, old, max(1, min(40, old + more))))

    @rule(branch=st.integers(0, 3), old=st.integers(0, 40), size=st.integers(1, 40))
    def ask_in_the_dark(self, branch: int, old: int, size: int) -> None:
        asked = request(branch, old, size)
        self._judge(AddCheckpoint(asked.old, asked.proof[::-1], asked.signed))

    def _judge(self, asked: AddCheckpoint) -> None:
        size = asked.signed.head.size
        verdict = witness(self.stored, asked, KEY, self.now_s)
        match verdict:
            case Cosign(held):
                self.judged.append((self.stored, held))
            case Forked(proof):
                proven = verify_proof(proof)
                assert (proven.author, proven.seq) == (AUTHOR.public, size)
            case Conflict(held_size):
                assert held_size == self.stored.size != asked.old
            case Refuse(reason):
                assert reason in {Reason.INCONSISTENT, Reason.MALFORMED}

    @precondition(lambda self: self.judged)
    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        before, after = self.judged.pop(data.draw(st.integers(0, len(self.judged) - 1)))
        if self.stored == before:
            self.stored = after
            self.to_answer.append(after)

    @precondition(lambda self: self.to_answer)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        held = self.to_answer.pop(data.draw(st.integers(0, len(self.to_answer) - 1)))
        signed = parse_checkpoint(held.note).with_lines((cosignature(held, WITNESS),))
        assert cosigned_at(signed.note, WITNESS.verifier) == held.at_s
        assert satisfied(signed, k_of(1, [WITNESS.verifier]), held.at_s).reached
        self.answered.append((held.at_s, signed.head.size, signed.head.root))

    @rule(passed_s=st.integers(-5, 9))
    def tick(self, passed_s: int) -> None:
        self.now_s += passed_s

    @precondition(lambda self: self.judged or self.to_answer)
    @rule()
    def die(self) -> None:
        """What was judged or stored and not answered is forgotten; what is stored stays."""
        self.judged.clear()
        self.to_answer.clear()

    @invariant()
    def it_vouched_for_one_history(self) -> None:
        roots: dict[int, bytes] = {}
        largest = 0
        for at_s, size, root in sorted(self.answered):
            assert roots.setdefault(size, root) == root
            # By their times, no smaller tree was the largest after a larger one.
            assert largest <= size <= self.stored.size
            assert at_s <= self.stored.at_s
            largest = size
        if roots:
            assert any(all(root == known[size] for size, root in roots.items()) for known in ROOTS)

    @precondition(lambda self: self.stored.size)
    @rule()
    def the_author_can_always_go_on(self) -> None:
        """Killed between store and answer, the author asks from the size it is told."""
        branch = next(
            at for at, known in enumerate(ROOTS) if known[self.stored.size] == self.stored.root
        )
        told = witness(self.stored, request(branch, 0, 40), KEY, AT_S)
        assert isinstance(told, Conflict) or self.stored.size == 40
        held = cosigned(self.stored, request(branch, self.stored.size, 40))
        assert held.size == 40
        assert is_consistent(
            self.stored.size,
            40,
            self.stored.root,
            held.root,
            consistency_proof(ROWS[branch], self.stored.size, 40),
        )


TestWitnessed = Witnessed.TestCase
TestWitnessed.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_storing_without_comparing_would_cosign_a_fork() -> None:
    """The race that compare and swap is there for, so that nobody takes it out."""
    held = cosigned(EMPTY, request(0, 0, 3))
    larger = cosigned(held, request(0, 3, 9))
    smaller = cosigned(held, request(1, 3, 5))
    # Stored in this order without a look, the larger tree is forgotten,
    rolled_back = smaller
    forked = cosigned(rolled_back, request(1, 5, 9))
    # and two roots of nine leaves are cosigned.
    assert forked.size == larger.size
    assert forked.root != larger.root
