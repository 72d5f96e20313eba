"""Nobody is accused by a proof that somebody made up: each forgery is a RemoteError."""

from __future__ import annotations

from itertools import permutations

import pytest
from tests.ledger.authors import SALT, Author
from tests.protocol.chains import CONFIRM_BY, HANDOVER_UNTIL, Deal, Party

from passby.ledger.bundle import About, Bundle, check_bundle, encode_bundle
from passby.ledger.proof import (
    FORK_RULE,
    NO_SIGNATURE,
    RULES,
    Element,
    Proof,
    ProofKind,
    survives,
    verify_proof,
)
from passby.ledger.proof_bytes import decode_proof, encode_proof
from passby.ledger.prove import stripped
from passby.ledger.stock_proof import breaks
from passby.protocol.entry import Body, Entry, Record, parse_entry, sign
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SIGNATURE_BYTES, SigningKey
from passby.protocol.limits import RUN_MAX
from passby.protocol.stock import Rule

MALLORY = SigningKey(b"\x66" * 32)


def refused(proof: Proof) -> None:
    """Refuse it as it is, and by way of its bytes."""
    with pytest.raises(RemoteError):
        verify_proof(proof)
    with pytest.raises(RemoteError):
        verify_proof(decode_proof(encode_proof(proof)))


def fork(*elements: Element) -> Proof:
    ordered = sorted(elements, key=lambda element: element[0].id)
    return Proof(ProofKind.FORK, FORK_RULE, tuple(ordered))


def anna() -> Author:
    author = Author("anna")
    author.genesis()
    lot = author.offer(10)
    reserve = author.reserve(lot, 4)
    author.note()
    author.release(lot, reserve)
    author.note()
    return author


def chain() -> list[Entry]:
    return [record.entry for record in anna().records]


def claimed(entry: Entry, signature: bytes = b"\x07" * SIGNATURE_BYTES, **changes: object) -> Entry:
    """Return what Mallory says that the entry's author wrote instead."""
    fields = {name: getattr(entry.body, name) for name in entry.body.__struct_fields__}
    made = sign(MALLORY, Body(**(fields | changes)))
    return parse_entry(signature + made.raw[SIGNATURE_BYTES:])


def test_one_entry_twice_is_no_fork() -> None:
    entry = chain()[3]
    refused(fork((entry,), (entry,)))


def test_one_entry_with_two_valid_signatures_is_no_fork() -> None:
    # An owner of a key can sign one message in many ways; the id leaves the signature out.
    entries = chain()
    entry = entries[3]
    refused(fork((entry,), stripped(entries[3:])))


def test_entries_of_two_authors_at_one_seq_are_no_fork() -> None:
    other = Author("ben")
    other.genesis()
    refused(fork((chain()[0],), (other.records[0].entry,)))


def test_entries_at_two_seqs_are_no_fork() -> None:
    one, other = chain()[2:4]
    refused(fork((one,), (other,)))
    refused(Proof(ProofKind.FORK, FORK_RULE, ((one,),)))


def test_an_entry_that_the_author_did_not_sign_is_no_branch() -> None:
    entry = chain()[3]
    for signature in (
        NO_SIGNATURE,
        b"\x07" * SIGNATURE_BYTES,
        entry.raw[:SIGNATURE_BYTES],
        MALLORY.sign(claimed(entry, facts=(1,)).raw[SIGNATURE_BYTES:]),
    ):
        refused(fork((entry,), (claimed(entry, signature, facts=(1,)),)))


def test_an_entry_signed_by_another_under_its_own_name_is_no_branch() -> None:
    entry = chain()[3]
    own = claimed(entry, author=MALLORY.public)
    signed = parse_entry(MALLORY.sign(own.raw[SIGNATURE_BYTES:]) + own.raw[SIGNATURE_BYTES:])
    refused(fork((entry,), (signed,)))


def test_a_garbage_signature_needs_a_run_to_a_valid_one() -> None:
    entries = chain()
    bare = parse_entry(NO_SIGNATURE + entries[2].raw[SIGNATURE_BYTES:])
    refused(fork((entries[2],), (bare,)))
    refused(fork((entries[2],), (bare, parse_entry(NO_SIGNATURE + entries[3].raw[64:]))))


def test_a_made_up_entry_before_a_signed_one_is_not_vouched_for_by_it() -> None:
    entries = chain()
    for author in (entries[3].author, MALLORY.public):
        made_up = claimed(entries[3], author=author, facts=(1,))
        refused(fork((entries[3],), (made_up, entries[4])))
        refused(fork((entries[3],), (made_up, entries[4], entries[5])))


def test_a_run_with_a_gap_or_too_long_vouches_for_nothing() -> None:
    entries = chain()
    other = anna().fork(3)
    other.note()
    branch = other.records[2].entry
    verify_proof(fork(stripped(entries[2:5]), (branch,)))
    refused(fork((entries[2], entries[4]), (branch,)))
    refused(fork((entries[2], entries[2], entries[3]), (branch,)))
    long = Author("anna")
    long.genesis()
    for _ in range(RUN_MAX + 1):
        long.note(None)
    records = [record.entry for record in long.records[1:]]
    assert len(records) == RUN_MAX + 1
    with pytest.raises(RemoteError):
        verify_proof(Proof(ProofKind.STOCK, Rule.RANGE, (stripped(records),)))


def test_a_key_that_is_no_point_accuses_nobody() -> None:
    weak = bytes(32)
    one, other = (
        claimed(chain()[3], NO_SIGNATURE, author=weak, facts=(number,)) for number in (1, 2)
    )
    refused(fork((one,), (other,)))


def test_a_misshapen_entry_is_evidence_of_nothing() -> None:
    author = anna()
    body = author.records[3].entry.body
    fields = {name: getattr(body, name) for name in body.__struct_fields__}
    wrong = sign(author.key, Body(**(fields | {"facts": tuple(range(25))})))
    refused(fork((author.records[3].entry,), (wrong,)))


def test_a_healed_fork_accuses_nobody() -> None:
    one, other = anna(), anna().fork(4)
    other.note(b"\x81\xa1a\x01")
    proof = fork((one.records[3].entry,), (other.records[3].entry,))
    verify_proof(proof)
    for kept in (one, other):
        assert not survives(proof, 4, kept.records[3].entry.id)


def test_no_entries_of_an_honest_chain_prove_anything_in_any_order() -> None:
    entries = chain()
    for count in (1, 2, 3):
        for accused in permutations(entries, count):
            assert not any(breaks(rule, accused) for rule in Rule)
    for one, other in permutations(entries, 2):
        for kind in (ProofKind.FORK, ProofKind.TIME):
            refused(Proof(kind, RULES[kind][0], ((one,), (other,))))


def test_stock_of_two_authors_is_not_added_up() -> None:
    one, two = Author("anna"), Author("ben")
    lots = []
    for author, amount in ((one, 10), (two, 7)):
        author.genesis()
        lots.append(author.offer(amount))
        author.reserve(lots[-1], 4)
    mixed = (two.records[1].entry, one.records[2].entry)
    assert breaks(Rule.ARITHMETIC, mixed)
    refused(Proof(ProofKind.STOCK, Rule.ARITHMETIC, tuple((entry,) for entry in mixed)))


def test_bodies_beside_the_elements_accuse_nobody_by_themselves() -> None:
    entry = chain()[3]
    bare = parse_entry(NO_SIGNATURE + entry.raw[SIGNATURE_BYTES:])
    other = anna().fork(4)
    other.say(200)
    branch = (other.records[3].entry,)
    with pytest.raises(RemoteError):
        verify_proof(Proof(ProofKind.FORK, FORK_RULE, (branch, (entry,)), (bare,)))
    with pytest.raises(RemoteError):
        verify_proof(Proof(ProofKind.FORK, FORK_RULE, (branch,), (bare,)))
    with pytest.raises(RemoteError):
        verify_proof(Proof(ProofKind.FORK, FORK_RULE, ()))


# --- trades ------------------------------------------------------------------------------


def context(*entries: Entry) -> Element:
    bare = (parse_entry(NO_SIGNATURE + entry.raw[SIGNATURE_BYTES:]) for entry in entries)
    return tuple(sorted(bare, key=lambda entry: entry.id))


def agreed() -> Deal:
    return Deal.between(Party("ben"), [Party("anna")]).agree()


def test_no_pair_of_an_honest_trade_proves_a_breach() -> None:
    deal = agreed()
    deal.handover(1)
    deal.goods(1)
    deal.money(1)
    entries = [deal.propose, *deal.entries]
    for rule in RULES[ProofKind.TRADE]:
        for one, other in permutations(entries, 2):
            # Those that nothing names have no place beside the elements.
            named_too = reached((one, other), entries)
            with pytest.raises(RemoteError):
                verify_proof(Proof(ProofKind.TRADE, rule, ((one,), (other,)), context(*named_too)))


def reached(signed: tuple[Entry, ...], entries: list[Entry]) -> list[Entry]:
    found: dict[bytes, Entry] = {}
    todo = list(signed)
    while todo:
        refs = todo.pop().body.refs
        for entry in entries:
            if entry.id in refs and entry.id not in found and entry not in signed:
                found[entry.id] = entry
                todo.append(entry)
    return list(found.values())


def test_a_taker_cannot_make_its_lister_guilty_with_another_propose() -> None:
    deal = agreed()
    release = deal.release(1, at_ms=HANDOVER_UNTIL + 1)
    assert not deal.fold(HANDOVER_UNTIL + 2).faults
    commit = deal.commits[1]
    propose = deal.propose.body
    later = (*propose.facts[:4], HANDOVER_UNTIL + 10**9)
    fields = {name: getattr(propose, name) for name in propose.__struct_fields__}
    other = sign(deal.taker.key, Body(**(fields | {"facts": later})))
    beside = [deal.offers[0], deal.reserves[1]]
    for chosen in ([other, *beside], [other, deal.propose, *beside]):
        proof = Proof(
            ProofKind.TRADE, "released after commit", ((commit,), (release,)), context(*chosen)
        )
        refused(proof)


def test_an_unsigned_second_reserve_convicts_nobody() -> None:
    deal = agreed()
    reserve = deal.reserves[1]
    made_up = claimed(reserve, seq=reserve.seq + 5)
    # The forger's own entry names it, so that it may stand beside the elements.
    mallory = Party("mallory")
    names = mallory.write(200, (deal.propose.id, made_up.id, deal.offers[0].id))
    beside = context(deal.propose, deal.offers[0], made_up)
    refused(Proof(ProofKind.TRADE, "reserved twice", ((names,), (reserve,)), beside))
    refused(Proof(ProofKind.TRADE, "reserved twice", ((reserve,), (names,)), beside))


def test_a_stranger_is_not_accused_for_anothers_breach() -> None:
    deal = agreed()
    release = deal.release(1)
    last = deal.taker.write(200, (deal.propose.id, release.id, deal.commits[1].id))
    beside = context(deal.propose, deal.offers[0], deal.reserves[1], release, deal.commits[1])
    refused(Proof(ProofKind.TRADE, "released after commit", ((last,),), beside))


def test_a_cancel_for_a_release_that_is_kept_back_is_no_breach() -> None:
    deal = agreed()
    release = deal.release(1)
    confirm = deal.confirmed
    assert confirm is not None
    cancel = deal.cancel(release.id, at_ms=CONFIRM_BY + 1)
    every = [deal.propose, deal.offers[0], deal.reserves[1], deal.commits[1], release]
    for left_out in (None, release, deal.offers[0]):
        chosen = reached((confirm, cancel), [entry for entry in every if entry is not left_out])
        refused(
            Proof(
                ProofKind.TRADE,
                "cancelled after confirming",
                ((confirm,), (cancel,)),
                context(*chosen),
            )
        )


# --- bundles -----------------------------------------------------------------------------


def test_a_bundle_of_an_entry_that_its_author_never_signed_is_refused() -> None:
    entries = chain()
    made_up = claimed(entries[3], NO_SIGNATURE, facts=(1,))
    for run in ((entries[0],), (made_up,)), ((entries[0],), (made_up, entries[4])):
        records = tuple(tuple(Record(entry) for entry in part) for part in run)
        data = encode_bundle(Bundle(About.ENTRY, made_up.id, records))
        with pytest.raises(RemoteError):
            check_bundle(data, 0)


def test_a_bundle_with_another_payload_or_a_forged_proof_is_refused() -> None:
    author = anna()
    entry = author.records[3].entry
    other = Record(entry, SALT, b"\x81\xa1a\x01")
    with pytest.raises(RemoteError):
        check_bundle(encode_bundle(Bundle(About.ENTRY, entry.id, ((other,),))), 0)
    forged = fork((entry,), (claimed(entry, facts=(1,)),))
    fine = (Record(entry),)
    check_bundle(encode_bundle(Bundle(About.ENTRY, entry.id, (fine,))), 0)
    with pytest.raises(RemoteError):
        check_bundle(encode_bundle(Bundle(About.ENTRY, entry.id, (fine,), (forged,))), 0)
