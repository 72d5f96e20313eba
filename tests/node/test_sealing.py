"""Words that go with a step reach the parties of the trade and nobody else; erased is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, Street, street

from passby.ledger.draft import Draft
from passby.ledger.ingest import Check
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError
from passby.protocol.payloads import Genesis, Note, encode_payload
from passby.protocol.trade import State

WORDS = "Ring twice; the dog is friendly."


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


async def proposal(ann: Household, ben: Household, text: str | None) -> bytes:
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    trade = await ben.participant.desk.propose(lot, 473, text=text)
    await ann.sees(trade.id, State.PROPOSED)
    return trade.id


def held(household: Household, entry_id: bytes) -> Record:
    record = household.participant.chains.reader.record(entry_id)
    assert record is not None
    return record


async def test_words_with_a_propose_are_read_by_both_parties_and_by_no_neighbour(
    lane: Street,
) -> None:
    ann, ben, eve = [await lane.open(name) for name in ("ann", "ben", "eve")]
    await ben.join(ann)
    await eve.join(ann)
    trade = await proposal(ann, ben, WORDS)
    await eventually(lambda: eve.participant.chains.reader.record(trade) is not None)
    for party in (ann, ben):
        assert party.participant.desk.words(held(party, trade)) == WORDS
    seen = held(eve, trade)
    assert eve.participant.desk.words(seen) is None
    assert seen.payload is not None
    assert b"dog" not in seen.payload
    # What binds is public: a neighbour can check the terms.
    assert b"terms" in seen.payload


async def test_words_with_a_cancel_are_read_by_the_other_party(lane: Street) -> None:
    ann, ben = [await lane.open(name) for name in ("ann", "ben")]
    await ben.join(ann)
    trade = await proposal(ann, ben, None)
    await ann.participant.desk.cancel(trade, WORDS)
    await ben.sees(trade, State.DECLINED)
    said = [ben.participant.desk.words(r) for r in ben.participant.chains.reader.trade(trade)]
    assert sorted(filter(None, said)) == [WORDS]


async def test_words_to_somebody_without_a_box_key_are_refused_and_not_made_public(
    lane: Street,
) -> None:
    ann, ben = [await lane.open(name) for name in ("ann", "ben")]
    await ben.join(ann)
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    genesis = held(ben, ben.participant.chains.reader.run(ann.author, 1, 1, 10**6)[0].entry.id)
    await ben.participant.chains.erase(genesis.entry.id)
    with pytest.raises(RefusedError, match="no key"):
        await ben.participant.desk.propose(lot, 473, text=WORDS)
    assert (await ben.participant.desk.propose(lot, 473)).state is State.PROPOSED


async def test_a_genesis_publishes_the_box_key() -> None:
    assert encode_payload(Genesis("Ann", box=b"b" * 32)) == (
        b"\x82\xa3box\xc4 " + b"b" * 32 + b"\xa4name\xa3Ann"
    )


async def test_an_erased_text_leaves_the_book_and_does_not_come_back(lane: Street) -> None:
    ann, ben = [await lane.open(name) for name in ("ann", "ben")]
    await ben.join(ann)
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    chains = ben.participant.chains
    assert await chains.erase(lot)
    assert not ben.has_lot(lot)
    assert held(ben, lot).payload is None
    assert 2 in chains.reader.erased(ann.author)
    # Neither from a peer that brings it again, nor for one that asks.
    whole = held(ann, lot)
    assert whole.payload is not None
    await chains.admit([whole], Check.EACH)
    assert held(ben, lot).payload is None
    assert not ben.has_lot(lot)
    eve = await lane.open("eve")
    await eve.join(ben)
    await eventually(lambda: eve.participant.chains.reader.record(lot) is not None)
    assert held(eve, lot).payload is None
    assert eve.participant.chains.reader.erased(ann.author) == frozenset()
    assert not await chains.erase(b"x" * 32)


async def test_a_chain_set_aside_while_the_node_runs_is_fetched_again(lane: Street) -> None:
    ann, ben = [await lane.open(name) for name in ("ann", "ben")]
    await ben.join(ann)
    note = Draft(200, payload=encode_payload(Note("hello")))
    for _ in range(5):
        await ann.participant.say([note])
    head = ann.participant.chains.head_seq(ann.author)
    await eventually(lambda: ben.participant.chains.head_seq(ann.author) == head)
    # A byte of what Ben holds is another.
    chain = ben.store._chains[ann.author]
    chain[3] = Record(chain[1].entry, chain[3].salt, chain[3].payload)
    await ben.participant.replication._quarantine(ann.author)
    assert ben.participant.chains.head_seq(ann.author) <= head
    await eventually(lambda: ben.participant.chains.head_seq(ann.author) == head)
    assert [r.entry.id for r in ben.store._chains[ann.author]] == [
        r.entry.id for r in ann.store._chains[ann.author]
    ]
