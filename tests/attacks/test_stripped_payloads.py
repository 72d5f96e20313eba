"""Attacks that leave out what an entry says: its signature covers the payload's hash alone."""

from __future__ import annotations

from tests.node.networks import MemoryMaker, eventually
from tests.node.street import HOME, Household, street

from passby.geo.cells import topic_cell
from passby.ledger.chain import Duplicate
from passby.ledger.ingest import Check
from passby.node.net import GossipVerdict
from passby.protocol.entry import Record, encode_record
from passby.protocol.topics import topic_for

TOPIC = topic_for(topic_cell(HOME))


def record_of(household: Household, seq: int) -> Record:
    found = household.participant.chains.reader.record_at(household.author, seq)
    assert found is not None
    return found


async def test_news_without_its_payload_is_rejected_and_hides_no_lot() -> None:
    async with street(MemoryMaker()) as here:
        ann, ben = await here.open("ann"), await here.open("ben")
        lot = await ann.list()
        genesis, offer = record_of(ann, 1), record_of(ann, 2)
        await ben.participant.chains.admit([genesis], Check.EACH)
        stripped = encode_record(Record(offer.entry))
        judge = ben.participant.gossip._judge
        assert judge(TOPIC, stripped, "mallory") is GossipVerdict.REJECT
        assert judge(TOPIC, encode_record(offer), "ann") is GossipVerdict.ACCEPT
        await eventually(lambda: ben.has_lot(lot))


async def test_a_payload_that_was_left_out_comes_by_gossip_and_opens_the_lot() -> None:
    async with street(MemoryMaker()) as here:
        ann, ben = await here.open("ann"), await here.open("ben")
        lot = await ann.list()
        genesis, offer = record_of(ann, 1), record_of(ann, 2)
        chains = ben.participant.chains
        await chains.admit([Record(genesis.entry), Record(offer.entry)], Check.RUNS)
        assert not ben.has_lot(lot)
        assert ben.participant.names.of(ann.author) is None
        assert ben.participant.gossip._judge(TOPIC, encode_record(offer), "ann") is (
            GossipVerdict.ACCEPT
        )
        await eventually(lambda: ben.has_lot(lot))
        # Another copy is nothing new.
        assert ben.participant.gossip._judge(TOPIC, encode_record(offer), "ann") is (
            GossipVerdict.IGNORE
        )
        (outcome,) = await chains.admit([genesis], Check.EACH)
        assert outcome == Duplicate(completed=True)
        assert ben.participant.names.of(ann.author) == "ann"
