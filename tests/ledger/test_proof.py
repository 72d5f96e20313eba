"""Proofs: every breach that ingest and the trade fold find is proven by bytes alone."""

from __future__ import annotations

import random
from itertools import combinations

import msgspec
import pytest
from tests.ledger.authors import UNTIL_MS, Author, named, replace_stock
from tests.protocol.chains import CONFIRM_BY, HANDOVER_UNTIL, HOUR, T0, Deal, Party

from passby.ledger.chain import Evidence
from passby.ledger.chain import Proof as EvidenceKind
from passby.ledger.ingest import Check, admit
from passby.ledger.proof import (
    NO_SIGNATURE,
    RULES,
    Proof,
    ProofKind,
    Verified,
    survives,
    verify_proof,
)
from passby.ledger.proof_bytes import PART_MAX, ProofParts, decode_proof, encode_proof, proof_frames
from passby.ledger.prove import evidence_of, prove_evidence, prove_fault
from passby.ledger.stock_proof import breaks
from passby.ledger.store_memory import MemoryStore
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SIGNATURE_BYTES
from passby.protocol.limits import FRAME_MAX, PROOF_MAX, RUN_MAX
from passby.protocol.messages import FrameReader, Kind
from passby.protocol.stock import Rule
from passby.protocol.types import EntryType


def evidence_against(*given: list[Record], check: Check = Check.EACH) -> Evidence:
    """Bring chains to a store, one after the other, and return what it keeps."""
    store = MemoryStore()
    for records in given:
        store.commit([admit(store.view(records), records, check)], durable=False)
    (evidence,) = store.evidence()
    return evidence


def proven(evidence: Evidence) -> Verified:
    """Prove by nothing but bytes."""
    proof = prove_evidence(evidence)
    assert proof is not None
    again = decode_proof(encode_proof(proof))
    assert again == proof
    assert encode_proof(again) == encode_proof(proof)
    verified = verify_proof(again)
    assert (verified.author, verified.seq) == (evidence.author, evidence.seq)
    assert verified.rule == evidence.rule
    return verified


def lister() -> tuple[Author, Record, Record]:
    anna = Author("anna")
    anna.genesis()
    lot = anna.offer(10)
    return anna, lot, anna.reserve(lot, 4)


def unsigned(record: Record) -> Record:
    """Return what a relay makes of a record inside a run."""
    entry = record.entry
    return Record(
        Entry(b"\x07" * 64 + entry.raw[SIGNATURE_BYTES:], entry.id, entry.body),
        record.salt,
        record.payload,
    )


def forked() -> tuple[Author, Author]:
    anna, _, _ = lister()
    other = anna.fork(3)
    other.note()
    return anna, other


def garbled() -> Evidence:
    """Return what is kept of a cheat whose accused entries came with garbage signatures."""
    anna, lot, _ = lister()
    anna.note()
    anna.adjust(lot, 1)
    replace_stock(anna, -1, remaining=9)
    anna.note()
    runs = [anna.records[:4], anna.records[4:]]
    return evidence_against(
        *([*map(unsigned, run[:-1]), run[-1]] for run in runs), check=Check.RUNS
    )


def cheat(rule: Rule) -> Author:
    """Return an author whose last entry breaks `rule`."""
    anna, lot, reserve = lister()
    match rule:
        case Rule.RANGE:
            anna.reserve(lot, 1)
            replace_stock(anna, -1, amount=0)
        case Rule.NO_LOT:
            anna.adjust(lot, 1)
            replace_stock(anna, -1, lot_seq=1)
        case Rule.PREVIOUS:
            anna.note()
            anna.adjust(lot, 1)
            replace_stock(anna, -1, previous=4)
        case Rule.ARITHMETIC:
            anna.adjust(lot, 1)
            replace_stock(anna, -1, remaining=9)
        case Rule.NO_RESERVE:
            adjust = anna.adjust(lot, 1)
            anna.release(lot, reserve)
            replace_stock(anna, -1, reserve_seq=adjust.entry.seq)
        case Rule.RESOLVED:
            anna.release(lot, reserve)
            anna.release(lot, reserve)
            replace_stock(anna, -1, reserved=0)
        case Rule.AMOUNT:
            anna.release(lot, reserve)
            replace_stock(anna, -1, amount=5)
        case Rule.CLOSED:
            anna.release(lot, reserve)
            anna.close(lot)
            anna.adjust(lot, 1)
        case Rule.REFS:
            stock = anna.adjust(lot, 1).entry.body.stock
            anna.records.pop()
            anna.say(EntryType.ADJUST, refs=(named("another lot"),), stock=stock)
    return anna


@pytest.mark.parametrize("rule", list(Rule), ids=lambda rule: rule.name)
def test_every_stock_rule_is_proven_by_at_most_three_entries(rule: Rule) -> None:
    evidence = evidence_against(cheat(rule).records)
    assert evidence.rule == rule
    verified = proven(evidence)
    assert verified.kind is ProofKind.STOCK
    assert len(evidence.elements) <= 3


def test_a_sum_over_a_reserve_and_another_entry_is_proven_by_three() -> None:
    anna, lot, reserve = lister()
    anna.adjust(lot, 1)
    anna.release(lot, reserve)
    replace_stock(anna, -1, remaining=12)
    evidence = evidence_against(anna.records)
    assert len(evidence.elements) == 3
    assert proven(evidence).rule == Rule.ARITHMETIC


@pytest.mark.parametrize("rule", list(Rule), ids=lambda rule: rule.name)
def test_the_honest_part_of_a_cheats_chain_breaks_no_rule(rule: Rule) -> None:
    entries = [record.entry for record in cheat(rule).records[:-1]]
    for count in (1, 2, 3):
        for accused in combinations(entries, count):
            assert not any(breaks(other, accused) for other in Rule)


def test_a_fork_is_proven_whichever_branch_came_first() -> None:
    one, other = forked()
    proofs = []
    for first, second in ((one, other), (other, one)):
        evidence = evidence_against(first.records, second.records)
        assert proven(evidence).kind is ProofKind.FORK
        proof = prove_evidence(evidence)
        assert proof is not None
        proofs.append(encode_proof(proof))
    assert proofs[0] == proofs[1]


def test_a_time_before_that_of_the_entry_before_is_proven() -> None:
    anna = Author("anna")
    anna.genesis()
    anna.note()
    anna.say(200, at_ms=5)
    assert proven(evidence_against(anna.records)).kind is ProofKind.TIME


def test_garbage_in_place_of_inner_signatures_saves_nobody() -> None:
    evidence = garbled()
    assert [len(element) for element in evidence.elements] == [2, 2]
    proven(evidence)
    proof = prove_evidence(evidence)
    assert proof is not None
    assert proof.elements[0][0].raw.startswith(NO_SIGNATURE)


def test_a_proof_over_the_longest_runs_fits_and_travels_in_parts() -> None:
    anna, other = (Author("anna") for _ in range(2))
    for author, text in ((anna, b"a"), (other, b"b")):
        author.genesis()
        author.say(200, facts=(text * 32,))
        for _ in range(RUN_MAX - 1):
            author.say(
                200,
                refs=tuple(named(str(number)) for number in range(8)),
                facts=tuple(named(str(number)) for number in range(17)),
            )
    runs = [author.records[1:] for author in (anna, other)]
    elements = sorted(
        (tuple(record.entry for record in (*map(unsigned, run[:-1]), run[-1])) for run in runs),
        key=lambda element: element[0].id,
    )
    evidence = Evidence(
        anna.public, 2, EvidenceKind.FORK, "two entries at one seq", tuple(elements)
    )
    proof = prove_evidence(evidence)
    assert proof is not None
    data = encode_proof(proof)
    assert FRAME_MAX < len(data) < PROOF_MAX
    frames = proof_frames(proof)
    assert len(frames) == -(-len(data) // PART_MAX)
    assert joined(frames) == proof


def joined(frames: list[bytes]) -> Proof | None:
    parts, reader = ProofParts(), FrameReader()
    proof = None
    for data in frames:
        reader.feed(data)
        taken = reader.take()
        assert taken is not None
        kind, body = taken
        assert kind == Kind.PROOF
        assert proof is None
        proof = parts.take(body)
    return proof


def test_a_small_proof_travels_in_one_frame_and_the_next_one_behind_it() -> None:
    proof = prove_evidence(evidence_against(*(author.records for author in forked())))
    assert proof is not None
    (only,) = proof_frames(proof)
    parts = ProofParts()
    for _ in range(2):
        assert parts.take(only[-(2 + len(encode_proof(proof))) :]) == proof


@pytest.mark.parametrize("head", [b"\x02\x02", b"\x00\x01", b"\x01\x00", b"\x01\x02"])
def test_parts_out_of_order_or_of_the_wrong_size_are_refused(head: bytes) -> None:
    with pytest.raises(RemoteError):
        ProofParts().take(head + b"a proof")


def test_a_received_proof_is_kept_as_evidence_that_proves_again() -> None:
    for evidence in (
        evidence_against(*(author.records for author in forked())),
        evidence_against(cheat(Rule.RESOLVED).records),
    ):
        proof = prove_evidence(evidence)
        assert proof is not None
        kept = evidence_of(decode_proof(encode_proof(proof)))
        assert kept is not None
        assert (kept.author, kept.seq, kept.rule) == (
            evidence.author,
            evidence.seq,
            evidence.rule,
        )
        assert prove_evidence(kept) == proof


def test_evidence_that_a_pruned_entry_is_missing_from_proves_nothing_to_others() -> None:
    evidence = evidence_against(*(author.records for author in forked()))
    assert prove_evidence(msgspec.structs.replace(evidence, elements=evidence.elements[:1])) is None


# --- healing -----------------------------------------------------------------------------


def test_a_healed_fork_is_held_against_nobody_and_another_one_is() -> None:
    one, other = forked()
    proof = prove_evidence(evidence_against(one.records, other.records))
    assert proof is not None
    kept = one.records[2].entry.id
    assert not survives(proof, 3, kept)
    # Healed elsewhere: the entries were not linked to what was kept.
    assert not survives(proof, 2, named("kept"))
    assert survives(proof, 7, named("kept"))


def test_entries_of_both_branches_of_a_healed_fork_are_not_held_against_each_other() -> None:
    anna, lot, reserve = lister()
    other = anna.fork(4)
    other.note()
    other.release(lot, reserve)
    anna.release(lot, reserve)
    anna.note()
    # One branch releases at seq 5 what the other one, at 4 already, releases at 6 again.
    stock = (2, 5, 3, 4, 10, 0)
    anna.say(
        EntryType.RELEASE,
        refs=(reserve.entry.body.refs[0], reserve.entry.id),
        stock=stock,
        facts=(1,),
    )
    last = anna.records[-1].entry
    across = Proof(ProofKind.STOCK, Rule.RESOLVED, ((other.records[4].entry,), (last,)))
    verify_proof(across)
    kept = anna.records[3].entry
    assert not survives(across, 4, kept.id)
    within = Proof(
        ProofKind.STOCK,
        Rule.RESOLVED,
        (tuple(record.entry for record in anna.records[3:]), (last,)),
    )
    verify_proof(within)
    assert survives(within, 4, kept.id)
    assert not survives(within, 4, other.records[3].entry.id)


# --- trades ------------------------------------------------------------------------------


def deals() -> dict[str, Deal]:
    """Return one deal for each breach of a trade."""

    def plain() -> Deal:
        return Deal.between(Party("ben"), [Party("anna")])

    made: dict[str, Deal] = {}
    deal = made["confirmed twice"] = plain().agree()
    deal.confirm()
    deal = made["confirmed after cancelling"] = plain()
    deal.reserve(1)
    deal.cancel()
    deal.confirm()
    deal = made["reserved twice"] = plain()
    deal.reserve(1)
    deal.reserve(1)
    deal = made["committed twice"] = plain().agree()
    deal.commit(1)
    deal = made["reserved after declining"] = plain()
    deal.cancel(by=deal.party(1))
    deal.reserve(1)
    deal = made["cancelled after confirming"] = plain().agree()
    deal.cancel(deal.commits[1].id, at_ms=CONFIRM_BY + 1)
    deal = made["committed after releasing"] = plain()
    deal.reserve(1)
    deal.confirm()
    deal.release(1)
    deal.commit(1)
    deal = made["released after commit"] = plain().agree()
    deal.release(1)
    until = [HANDOVER_UNTIL, HANDOVER_UNTIL + HOUR]
    deal = made["released with goods in custody"] = Deal.between(
        Party("ben"), [Party("anna"), Party("carl")], [2, 0], until
    ).agree()
    deal.handover(1)
    deal.release(2, at_ms=HANDOVER_UNTIL + 2 * HOUR)
    return made


def trade_proofs(deal: Deal) -> list[Proof]:
    made = []
    entries = [deal.propose, *deal.entries]
    for fault in deal.fold(T0).faults:
        proof = prove_fault(fault, deal.propose, entries, lambda entry: (entry,))
        assert proof is not None
        assert proof.accused[-1].author == fault.accused
        made.append(proof)
    return made


@pytest.mark.parametrize("rule", RULES[ProofKind.TRADE])
def test_every_breach_of_a_trade_is_proven_by_itself(rule: str) -> None:
    found = {}
    for proof in trade_proofs(deals()[rule]):
        again = decode_proof(encode_proof(proof))
        assert again == proof
        found[verify_proof(again).rule] = proof
    assert rule in found
    assert len(found[rule].elements) <= 3
    # The propose is always there; without any one body of the context nothing is proven.
    for left_out in found[rule].context:
        rest = tuple(entry for entry in found[rule].context if entry is not left_out)
        with pytest.raises(RemoteError):
            verify_proof(Proof(ProofKind.TRADE, rule, found[rule].elements, rest))


def test_a_cause_that_excuses_is_missed_where_it_is_left_out() -> None:
    deal = Deal.between(Party("ben"), [Party("anna")]).agree()
    cancel = deal.cancel(at_ms=CONFIRM_BY + 1)
    release = deal.release(1, cancel.id, at_ms=CONFIRM_BY + 2)
    commit, confirm, reserve = deal.commits[1], deal.confirmed, deal.reserves[1]
    assert confirm is not None
    bodies = [deal.propose, deal.offers[0], confirm, reserve, cancel]
    for count in range(len(bodies) + 1):
        for chosen in combinations(bodies, count):
            context = tuple(sorted(chosen, key=lambda entry: entry.id))
            proof = Proof(
                ProofKind.TRADE, "released after commit", ((commit,), (release,)), context
            )
            with pytest.raises(RemoteError):
                verify_proof(proof)


def test_a_trade_freezes_nobody() -> None:
    (proof,) = trade_proofs(deals()["released after commit"])
    assert evidence_of(proof) is None
    assert survives(proof, 1, named("kept"))


# --- bytes -------------------------------------------------------------------------------


def samples() -> dict[str, Proof]:
    fork = prove_evidence(evidence_against(*(author.records for author in forked())))
    stock = prove_evidence(garbled())
    (trade,) = trade_proofs(deals()["released after commit"])
    assert fork is not None
    assert stock is not None
    return {"fork": fork, "stock over runs": stock, "trade": trade}


@pytest.mark.parametrize("name", list(samples()))
def test_every_flipped_bit_of_a_proof_is_refused(name: str) -> None:
    data = encode_proof(samples()[name])
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            with pytest.raises(RemoteError):
                verify_proof(decode_proof(bytes(changed)))


@pytest.mark.parametrize("name", list(samples()))
def test_a_proof_cut_short_or_with_bytes_behind_it_is_refused(name: str) -> None:
    data = encode_proof(samples()[name])
    for end in range(len(data)):
        with pytest.raises(RemoteError):
            decode_proof(data[:end])
    with pytest.raises(RemoteError):
        decode_proof(data + b"\x00")
    with pytest.raises(RemoteError):
        decode_proof(bytes(PROOF_MAX + 1))


def test_noise_is_a_proof_of_nothing_and_raises_nothing_else() -> None:
    dice = random.Random(7)
    data = encode_proof(samples()["trade"])
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(changed))
            if dice.random() < 0.3:
                del changed[at]
            else:
                changed[at] = dice.randrange(256)
        with pytest.raises(RemoteError):
            verify_proof(decode_proof(bytes(changed)))


def test_the_rules_of_the_proofs_are_those_of_the_code() -> None:
    assert set(RULES[ProofKind.STOCK]) == set(Rule)
    assert set(deals()) == set(RULES[ProofKind.TRADE])
    assert UNTIL_MS > T0
