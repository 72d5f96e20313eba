"""Attacks on witnesses and on buyers who ask for them: a trade waits rather than being cheated."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest
import trio
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import HOME, MINUTE_MS, Household, Street, street
from tests.node.test_witnessing import cover, policy, reserved

from passby.ledger.chain import Proof as EvidenceKind
from passby.ledger.checkpoint import (
    WitnessKey,
    cosigned_at,
    origin_of,
    sign_checkpoint,
)
from passby.ledger.checkpoint_messages import AskKey, encode_answer, parse_question
from passby.ledger.claim import RootClaim
from passby.ledger.proof import ROOTS_RULE, Proof, ProofKind
from passby.ledger.prove import prove_evidence
from passby.ledger.tree import consistency_proof, root_at
from passby.ledger.witness import AddCheckpoint, Conflict, Reason, Refuse
from passby.ledger.witness_messages import (
    Cosigned,
    encode_reply,
    encode_request,
    parse_reply,
)
from passby.node.api.witnesses import Witnesses
from passby.node.asking import ask, read_framed
from passby.node.net import Stream
from passby.node.net_memory import MemoryNetwork
from passby.node.participant import NETWORK_ID
from passby.node.quorum import NoQuorumError
from passby.node.witnessing import CHECKPOINT_PROTOCOL, WITNESS_PROTOCOL
from passby.protocol.errors import Exit, RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import (
    ADD_CHECKPOINT_MAX,
    WITNESS_PEER_BURST,
    WITNESS_REPLY_MAX,
)
from passby.protocol.trade import State


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    """Give a street in memory, with nothing but time and threads real."""
    async with street(MemoryMaker()) as here:
        yield here


def maker(lane: Street) -> MemoryMaker:
    return cast("MemoryMaker", lane.maker)


async def twin(lane: Street, liar: Household) -> Household:
    """Open a second home with a liar's key and a copy of its ledger, joined to nobody."""
    other = Household(lane, f"{liar.name}-again", HOME, NETWORK_ID)
    other.key, other.store = liar.key, copy.deepcopy(liar.store)
    await other.start()
    return other


# --- a lister with two histories ---------------------------------------------------------


async def test_a_lister_who_forks_under_a_partition_sells_to_one_who_asks_for_a_quorum_only_once(
    lane: Street,
) -> None:
    liar, ben, cleo, *witnesses = await lane.settle("liar", "ben", "cleo", "w1", "w2", "w3")
    lot = await liar.list()
    await eventually(lambda: all(one.has_lot(lot) for one in (ben, cleo, *witnesses)))
    ben.policy = cleo.policy = policy(2, *witnesses)
    again = await twin(lane, liar)
    here, there = ["liar", "ben", "w1"], ["liar-again", "cleo", "w2", "w3"]
    maker(lane).world.partition([here, there])
    await again.join(cleo, *witnesses[1:])
    trades = {}
    for seller, buyer in ((liar, ben), (again, cleo)):
        trade = await buyer.participant.desk.propose(lot, None)
        await seller.sees(trade.id, State.PROPOSED)
        await seller.participant.desk.accept(trade.id)
        trades[buyer] = trade.id
    await cleo.sees(trades[cleo], State.CONFIRMED)
    await eventually(lambda: cover(ben, trades[ben]).cosigned == ("w1",))
    maker(lane).world.heal()
    await ben.join(cleo)
    for one in (ben, cleo, *witnesses):
        await eventually(lambda one=one: one.participant.chains.is_frozen(liar.author))
        (evidence,) = one.participant.chains.reader.evidence(liar.author)
        assert prove_evidence(evidence) is not None
    assert not cover(ben, trades[ben]).reached
    assert "two histories" in cover(ben, trades[ben]).why
    assert not ben.trade(trades[ben]).confirms


async def test_two_signed_trees_of_one_size_leave_the_witness_with_the_proof(lane: Street) -> None:
    liar, carl = await lane.settle("liar", "carl")
    await liar.list()
    await eventually(lambda: carl.participant.chains.head_seq(liar.author) == 2)
    rows = carl.participant.chains.reader.tree(liar.author)
    told = sign_checkpoint(liar.key, 2, root_at(rows, 2))
    assert isinstance(await asked(liar, carl, AddCheckpoint(0, (), told)), Cosigned)
    lie = sign_checkpoint(liar.key, 2, bytes(32))
    refused = await asked(liar, carl, AddCheckpoint(2, (), lie))
    assert isinstance(refused, Refuse)
    assert refused.reason is Reason.INCONSISTENT
    (evidence,) = carl.participant.chains.reader.evidence(liar.author)
    assert evidence.proof is EvidenceKind.CHECKPOINT
    assert prove_evidence(evidence) is not None
    assert carl.participant.chains.is_frozen(liar.author)
    # Nor does it cosign the true one any more, and it says why to whoever asks.
    again = await asked(liar, carl, AddCheckpoint(2, (), told))
    assert isinstance(again, Refuse)
    assert again.reason is Reason.INCONSISTENT
    assert again.proof == refused.proof == prove_evidence(evidence)


async def test_a_witness_does_not_cosign_a_tree_that_is_not_of_the_chain_it_holds(
    lane: Street,
) -> None:
    liar, carl = await lane.settle("liar", "carl")
    await eventually(lambda: carl.participant.chains.head_seq(liar.author) == 1)
    lie = sign_checkpoint(liar.key, 1, bytes(32))
    assert await asked(liar, carl, AddCheckpoint(0, (), lie)) == Refuse(Reason.INCONSISTENT)
    ahead = sign_checkpoint(liar.key, 7, bytes(32))
    assert await asked(liar, carl, AddCheckpoint(0, (), ahead)) == Refuse(Reason.BUSY)
    stranger = SigningKey(bytes(31) + b"\x07")
    unknown = sign_checkpoint(stranger, 1, bytes(32))
    assert await asked(liar, carl, AddCheckpoint(0, (), unknown)) == Refuse(Reason.UNKNOWN)
    assert carl.participant.chains.reader.all_witnessed() == []


async def test_a_witness_that_is_asked_for_a_smaller_tree_than_before_cosigns_nothing(
    lane: Street,
) -> None:
    ann, carl = await lane.settle("ann", "carl")
    await ann.list()
    await ann.list(name="Another")
    await eventually(lambda: carl.participant.chains.head_seq(ann.author) == 3)
    rows = carl.participant.chains.reader.tree(ann.author)
    three, two = (sign_checkpoint(ann.key, size, root_at(rows, size)) for size in (3, 2))
    assert isinstance(await asked(ann, carl, AddCheckpoint(0, (), three)), Cosigned)
    for old in (0, 1, 2):
        proof = consistency_proof(rows, old, 2)
        assert await asked(ann, carl, AddCheckpoint(old, proof, two)) == Conflict(3)
    backwards = await asked(ann, carl, AddCheckpoint(3, (), two))
    assert backwards == Refuse(Reason.MALFORMED)
    assert carl.participant.chains.reader.witnessed(origin_of(ann.author)).size == 3


# --- a witness that dies ------------------------------------------------------------------


async def test_a_witness_killed_between_store_and_answer_vouches_for_the_same_tree_again(
    lane: Street,
) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    chains = carl.participant.chains
    swap = chains.swap_witnessed

    async def swap_and_die(*args: object) -> bool:
        await swap(*args)  # type: ignore[arg-type]  # passed on as they are
        carl.scope.cancel()
        await trio.sleep_forever()
        raise AssertionError

    chains.swap_witnessed = swap_and_die  # type: ignore[method-assign]  # the moment to die at
    trade = await reserved(ann, ben)
    await carl.gone.wait()
    stored = carl.store.witnessed(origin_of(ann.author))
    assert stored.size >= 3
    assert not ben.trade(trade).confirms
    await carl.start()
    other = sign_checkpoint(ann.key, stored.size, bytes(32))
    assert isinstance(
        await carl.participant.witnessing.add(AddCheckpoint(stored.size, (), other)), Refuse
    )
    assert carl.store.witnessed(origin_of(ann.author)) == stored


async def test_a_witness_that_came_back_cosigns_what_it_had_stored(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    await eventually(lambda: carl.participant.chains.head_seq(ann.author) == 1)
    rows = carl.participant.chains.reader.tree(ann.author)
    signed = sign_checkpoint(ann.key, 1, root_at(rows, 1))
    await carl.participant.witnessing.add(AddCheckpoint(0, (), signed))
    await carl.restart(ann, ben)
    trade = await reserved(ann, ben)
    await ben.sees(trade, State.CONFIRMED)
    assert carl.store.witnessed(origin_of(ann.author)).size >= 3


# --- a buyer among liars ------------------------------------------------------------------

Answer = Callable[[Stream, bytes], Awaitable[None]]


async def sybil(lane: Street, name: str, claimed: Household, answer: Answer) -> MemoryNetwork:
    """Open a peer that claims another's witness key, and answers add-checkpoint as told."""
    network = maker(lane).world.node(name)

    async def tell_key(stream: Stream) -> None:
        question = parse_question(await read_framed(stream, 1000))
        if isinstance(question, AskKey):
            await stream.send_all(encode_answer(claimed.participant.witnessing.verifier))
        else:
            await stream.send_all(encode_answer(Refuse(Reason.UNKNOWN)))

    async def add(stream: Stream) -> None:
        await answer(stream, await read_framed(stream, ADD_CHECKPOINT_MAX))

    network.handle(CHECKPOINT_PROTOCOL, tell_key)
    network.handle(WITNESS_PROTOCOL, add)

    async def live(*, task_status: trio.TaskStatus[None]) -> None:
        async with network.run():
            task_status.started()
            await trio.sleep_forever()

    await lane.nursery.start(live)
    return network


async def garbage(stream: Stream, _request: bytes) -> None:
    await stream.send_all(b"\x09not a reply")


async def too_much(stream: Stream, _request: bytes) -> None:
    await stream.send_all(b"\xff\xff\x7f" + bytes(100_000))


async def silence(_stream: Stream, _request: bytes) -> None:
    await trio.sleep_forever()


async def a_larger_tree(stream: Stream, _request: bytes) -> None:
    await stream.send_all(encode_reply(Conflict(2**62)))


async def no_size_twice_the_same(stream: Stream, request: bytes) -> None:
    await stream.send_all(encode_reply(Conflict(1 if b"old 0\n" in request else 0)))


async def a_foreign_cosignature(stream: Stream, request: bytes) -> None:
    key = WitnessKey(SigningKey(b"\x09" * 32))
    text = request.partition(b"\n\n")[2].partition(b"\n\n")[0] + b"\n"
    await stream.send_all(encode_reply(Cosigned((key.cosign(text, 1_900_000_000),))))


def forged_by(claimed: Household) -> Answer:
    """Answer with a cosignature under the claimed key's name, signed by another."""

    async def answer(stream: Stream, request: bytes) -> None:
        verifier = claimed.participant.witnessing.verifier
        key = WitnessKey(SigningKey(b"\x09" * 32), verifier.name)
        key.verifier = verifier
        text = request.partition(b"\n\n")[2].partition(b"\n\n")[0] + b"\n"
        await stream.send_all(encode_reply(Cosigned((key.cosign(text, 1_700_000_000),))))

    return answer


async def test_a_buyer_whose_every_neighbour_lies_gets_no_quorum_and_does_not_confirm(
    lane: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How long the silent one is waited for.
    monkeypatch.setattr("passby.node.asking.ASK_WITHIN_S", 0.5)
    carl = await lane.open("carl")
    ann, ben = await lane.settle("ann", "ben")
    ben.policy = policy(1, carl)
    answers = {
        "garbage": garbage,
        "much": too_much,
        "silent": silence,
        "larger": a_larger_tree,
        "turning": no_size_twice_the_same,
        "foreign": a_foreign_cosignature,
        "forged": forged_by(carl),
    }
    for name, answer in answers.items():
        network = await sybil(lane, name, carl, answer)
        await ben.network.connect(network.addresses()[0])
    trade = await reserved(ann, ben)
    await eventually(lambda: ann.author in ben.participant.quorum._notes)
    found = ben.participant.desk.trade(trade)
    shown = await ben.participant.quorum.renew(found, 0)
    assert shown is not None
    assert (shown.reached, shown.cosigned, shown.lacking) == (False, (), ("carl",))
    assert not ben.trade(trade).confirms
    # Liars who claim the key of an honest witness do not keep it from being heard.
    await carl.join(ann, ben)
    await ben.sees(trade, State.CONFIRMED)


@pytest.mark.parametrize("is_true", [True, False])
async def test_a_buyer_believes_a_refusal_that_proves_a_fork_and_no_other(
    lane: Street, is_true: bool
) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    trade = await reserved(ann, ben)
    await ben.sees(trade, State.CONFIRMED)
    ben.policy = policy(1, carl)
    await carl.stop()
    key = ann.key if is_true else SigningKey(b"\x09" * 32)
    two = [sign_checkpoint(key, 2, bytes([at]) * 32).encode() for at in (1, 2)]
    claims = [
        RootClaim(note.replace(key.public.hex().encode(), ann.author.hex().encode()))
        for note in two
    ]
    proof = Proof(ProofKind.CHECKPOINT, ROOTS_RULE, (), claims=tuple(claims))

    async def refuse(stream: Stream, _request: bytes) -> None:
        await stream.send_all(encode_reply(Refuse(Reason.INCONSISTENT, proof)))

    network = await sybil(lane, "teller", carl, refuse)
    await ben.network.connect(network.addresses()[0])
    vouched = await ben.participant.quorum.renew(ben.participant.desk.trade(trade), 0)
    assert vouched is not None
    assert not vouched.reached
    assert ben.participant.chains.is_frozen(ann.author) is is_true


async def test_in_an_eclipse_paying_in_advance_ends_in_no_quorum(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    trade = await reserved(ann, ben)
    await ben.sees(trade, State.CONFIRMED)
    maker(lane).world.partition([["carl"]])
    lane.pass_time(10 * MINUTE_MS, ann, ben, carl)
    with pytest.raises(NoQuorumError, match=r"No quorum: 0 of 1 .* lacking: carl") as refused:
        await Witnesses(ben.participant).check(trade)
    assert refused.value.exit_code == Exit.NO_QUORUM == 3


async def test_an_old_checkpoint_with_true_cosignatures_covers_no_later_reserve(
    lane: Street,
) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    await eventually(lambda: carl.participant.chains.head_seq(ann.author) == 1)
    signed = sign_checkpoint(
        ann.key, 1, root_at(carl.participant.chains.reader.tree(ann.author), 1)
    )
    reply = await carl.participant.witnessing.add(AddCheckpoint(0, (), signed))
    assert isinstance(reply, Cosigned)
    old = signed.with_lines(reply.lines)
    await carl.stop()

    async def replay(stream: Stream, _request: bytes) -> None:
        await stream.send_all(encode_reply(Cosigned(old.note.signatures)))

    network = await sybil(lane, "replay", carl, replay)

    async def give_old(stream: Stream) -> None:
        await read_framed(stream, 1000)
        await stream.send_all(encode_answer(old))

    network.handle(CHECKPOINT_PROTOCOL, give_old)
    await ben.network.connect(network.addresses()[0])
    await ben.participant.chains.keep_checkpoint(old)
    trade = await reserved(ann, ben)
    await eventually(lambda: ann.author in ben.participant.quorum._notes)
    shown = await ben.participant.quorum.renew(ben.participant.desk.trade(trade), 0)
    assert shown is not None
    assert shown.cosigned == ()
    assert not ben.trade(trade).confirms


async def test_false_lines_below_a_checkpoint_do_not_spoil_the_true_ones(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    trade = await reserved(ann, ben)
    await ben.sees(trade, State.CONFIRMED)
    ben.policy = policy(1, carl)
    quorum = ben.participant.quorum
    vouched = await quorum.renew(ben.participant.desk.trade(trade), 0)
    assert vouched is not None
    assert vouched.reached
    note = quorum._notes[ann.author]
    verifier = carl.participant.witnessing.verifier
    at_s = cosigned_at(note.note, verifier)
    assert at_s is not None
    forger = WitnessKey(SigningKey(b"\x09" * 32), verifier.name)
    forger.verifier = verifier
    spoiled = note.with_lines((forger.cosign(note.note.text, at_s + 9),))
    quorum._take_up(ann.author, spoiled)
    assert cover(ben, trade).cosigned == ("carl",)


# --- floods -------------------------------------------------------------------------------


async def test_a_peer_that_floods_a_witness_is_put_off_and_others_are_served(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    await eventually(lambda: carl.participant.chains.head_seq(ann.author) == 1)
    mallory = maker(lane).world.node("mallory")
    root = root_at(carl.participant.chains.reader.tree(ann.author), 1)
    request = AddCheckpoint(0, (), sign_checkpoint(ann.key, 1, root))
    replies = []

    async def flood() -> None:
        for _ in range(WITNESS_PEER_BURST):
            data = encode_request(request)
            answer = await ask(
                mallory, carl.network.peer_id, WITNESS_PROTOCOL, data, WITNESS_REPLY_MAX
            )
            replies.append(parse_reply(answer))

    async with mallory.run():
        await mallory.connect(carl.network.addresses()[0])
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(flood)
        put_off = [reply for reply in replies if reply == Refuse(Reason.BUSY)]
        assert len(replies) - len(put_off) >= WITNESS_PEER_BURST
        assert len(put_off) >= WITNESS_PEER_BURST
        trade = await reserved(ann, ben)
        await ben.sees(trade, State.CONFIRMED)


async def test_a_peer_that_opens_many_requests_and_sends_none_costs_nothing(lane: Street) -> None:
    ann, ben, carl = await lane.settle("ann", "ben", "carl")
    ben.policy = policy(1, carl)
    mallory = maker(lane).world.node("mallory")
    async with mallory.run():
        await mallory.connect(carl.network.addresses()[0])
        streams = [
            await mallory.open_stream(carl.network.peer_id, WITNESS_PROTOCOL) for _ in range(20)
        ]
        for stream in streams[-10:]:
            assert parse_reply(await read_framed(stream, 100)) == Refuse(Reason.BUSY)
        trade = await reserved(ann, ben)
        await ben.sees(trade, State.CONFIRMED)


async def test_a_request_longer_than_any_is_not_read(lane: Street) -> None:
    (carl,) = await lane.settle("carl")
    mallory = maker(lane).world.node("mallory")
    async with mallory.run():
        await mallory.connect(carl.network.addresses()[0])
        for data in (b"\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x80\x01", b"\x85\x00"):
            with pytest.raises(RemoteError):
                await ask(mallory, carl.network.peer_id, WITNESS_PROTOCOL, data, 100)
        answer = await ask(mallory, carl.network.peer_id, WITNESS_PROTOCOL, b"\x03old", 100)
        assert parse_reply(answer) == Refuse(Reason.MALFORMED)


async def asked(
    asker: Household, carl: Household, request: AddCheckpoint
) -> Cosigned | Conflict | Refuse:
    """Ask over a stream."""
    data = encode_request(request)
    peer = carl.network.peer_id
    return parse_reply(await ask(asker.network, peer, WITNESS_PROTOCOL, data, WITNESS_REPLY_MAX))
