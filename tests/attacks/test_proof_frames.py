"""Proofs over real streams: true ones spread, made-up ones cost whoever sends them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.attacks.lane import LISTED, Lane, lane
from tests.attacks.test_spreading_proofs import oversold
from tests.ledger.authors import Author
from tests.node.networks import eventually

from passby.ledger.checkpoint import sign_checkpoint
from passby.ledger.claim import RootClaim
from passby.ledger.ingest import Check
from passby.ledger.proof import FORK_RULE, ROOTS_RULE, RULES, Element, Proof, ProofKind
from passby.ledger.proof_bytes import proof_frames
from passby.ledger.prove import prove_claims, prove_evidence
from passby.node.clock import machine_clock
from passby.node.participant import NETWORK_ID
from passby.protocol.entry import Entry, Record, encode_record
from passby.protocol.keys import SIGNATURE_BYTES, SigningKey
from passby.protocol.messages import Head, Heads, Hello, Kind, encode_message, frame
from passby.protocol.messages_aside import Feature

HELLO = encode_message(Hello(NETWORK_ID, Feature.PROOFS, at_ms=machine_clock()))


def carl() -> tuple[Author, Author]:
    """Return the two branches of a chain that forked at its third entry."""
    one = Author("carl")
    one.genesis()
    one.note()
    one.note()
    other = one.fork(3)
    other.say(201)
    return one, other


def fork(*elements: Element) -> Proof:
    ordered = sorted(elements, key=lambda element: element[0].id)
    return Proof(ProofKind.FORK, FORK_RULE, tuple(ordered))


def shown(proof: Proof) -> bytes:
    return HELLO + LISTED + b"".join(proof_frames(proof))


def unsigned(entry: Entry) -> Entry:
    return Entry(b"\x07" * SIGNATURE_BYTES + entry.raw[SIGNATURE_BYTES:], entry.id, entry.body)


async def knows(here: Lane, records: list[Record]) -> None:
    """Let Ann, and through her Ben, hold a chain."""
    author, seq = records[-1].entry.author, records[-1].entry.seq
    here.ben.participant.following.add(author, machine_clock())
    await here.ann.participant.chains.admit(records, Check.EACH)
    await eventually(lambda: here.ben.participant.chains.head_seq(author) == seq)


def forgeries() -> Iterable[tuple[str, Proof]]:
    one, other = carl()
    first, second = one.records[2].entry, other.records[2].entry
    yield "unsigned", fork((first,), (unsigned(second),))
    yield "one entry twice", Proof(ProofKind.FORK, FORK_RULE, ((first,), (first,)))
    yield "two seqs", fork((one.records[1].entry,), (first,))
    yield "another rule", Proof(ProofKind.STOCK, RULES[ProofKind.STOCK][0], ((first,),))
    yield "a trade's", Proof(ProofKind.TRADE, RULES[ProofKind.TRADE][0], ((first,), (second,)))
    forger = SigningKey(b"\x66" * 32)
    roots = (bytes(32), b"\x01" * 32)
    notes = [sign_checkpoint(forger, 3, root).encode() for root in roots]
    renamed = [
        note.replace(forger.public.hex().encode(), one.public.hex().encode()) for note in notes
    ]
    claims = tuple(RootClaim(note) for note in renamed)
    yield "checkpoints", Proof(ProofKind.CHECKPOINT, ROOTS_RULE, (), claims=claims)


@pytest.mark.parametrize(("name", "proof"), list(forgeries()), ids=lambda value: str(value)[:24])
async def test_a_forged_proof_is_rejected_and_its_sender_scored(
    tmp_path: Path, name: str, proof: Proof
) -> None:
    del name
    one, _ = carl()
    async with lane(tmp_path) as here:
        await knows(here, one.records)
        await here.mallory.say(shown(proof))
        await here.is_penalised()
        await here.mallory.is_cut_off()
        for house in (here.ann, here.ben):
            assert not house.participant.chains.is_frozen(one.public)
            assert house.participant.chains.reader.evidence() == []


async def test_proofs_about_authors_that_nobody_here_knows_are_ignored(tmp_path: Path) -> None:
    one, other = carl()
    async with lane(tmp_path) as here:
        # A forged one, too: nobody looks into what is about a stranger.
        for proof in (
            fork((one.records[2].entry,), (other.records[2].entry,)),
            fork((one.records[2].entry,), (unsigned(other.records[2].entry),)),
        ):
            await here.mallory.say(shown(proof))
            await here.lives_on()
            assert here.mallory.network.peer_id in here.ann.participant.replication.synced_peers
            await here.mallory.hang_up()
        assert here.score == 0
        assert here.ann.participant.chains.reader.evidence() == []
        assert here.ann.participant.chains.reader.frozen() == {}


async def test_a_fork_proof_goes_from_node_to_node_over_real_streams(tmp_path: Path) -> None:
    one, other = carl()
    async with lane(tmp_path) as here:
        await knows(here, one.records)
        await here.mallory.say(shown(fork((one.records[2].entry,), (other.records[2].entry,))))
        for house in (here.ann, here.ben):
            chains = house.participant.chains
            await eventually(lambda chains=chains: chains.is_frozen(one.public))
            (evidence,) = chains.reader.evidence(one.public)
            assert evidence.seq == 3
            assert prove_evidence(evidence) is not None
        # Nothing of it is news any more, and nothing more is taken of its author.
        one.note()
        await here.ann.participant.chains.admit(one.records, Check.EACH)
        assert here.holds(one.public) == 3
        assert here.score == 0


async def test_two_checkpoints_of_one_size_freeze_their_author_on_both_sides(
    tmp_path: Path,
) -> None:
    one, _ = carl()
    roots = (b"\x01" * 32, b"\x02" * 32)
    proof = prove_claims(*(RootClaim(sign_checkpoint(one.key, 2, root).encode()) for root in roots))
    async with lane(tmp_path) as here:
        await knows(here, one.records)
        await here.mallory.say(shown(proof))
        for house in (here.ann, here.ben):
            chains = house.participant.chains
            await eventually(lambda chains=chains: chains.false_from(one.public) == 2)


async def test_a_run_whose_inner_signatures_a_relay_swapped_still_proves(tmp_path: Path) -> None:
    liar, rule = oversold()
    liar.note()
    liar.note()
    garbled = [
        Record(unsigned(record.entry), record.salt, record.payload)
        if record.entry.seq in (2, 4, 5, 6, 7)
        else record
        for record in liar.records
    ]
    async with lane(tmp_path) as here:
        await knows(here, liar.records[:1])
        last = liar.records[-1].entry
        named = Heads((Head(liar.public, last.seq, last.id[:8]),))
        await here.mallory.say(HELLO + encode_message(named) + LISTED)
        await here.mallory.hear(Kind.WANT)
        body = b"".join(map(encode_record, garbled[1:]))
        await here.mallory.say(frame(Kind.ENTRIES, body))
        for house in (here.ann, here.ben):
            chains = house.participant.chains
            await eventually(lambda chains=chains: chains.is_frozen(liar.public))
            (evidence,) = chains.reader.evidence(liar.public)
            assert evidence.rule == rule
            assert prove_evidence(evidence) is not None
        # The reserve has the last good signature before the lie.
        assert here.holds(liar.public) == 3
        assert here.score == 0
