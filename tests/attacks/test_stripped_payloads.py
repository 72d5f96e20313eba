"""Attacks that leave out what an entry says: its signature covers the payload's hash alone."""

from __future__ import annotations

from tests.node.networks import MemoryMaker, eventually
from tests.node.street import HOME, Household, street

from passby.geo.cells import topic_cell
from passby.ledger.chain import Duplicate
from passby.ledger.ingest import Check
from passby.node.net import GossipVerdict
from passby.protocol.entry import Record, encode_record
from passby.protocol.messages_aside import Copy
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


async def hold(household: Household, *records: Record) -> None:
    await household.participant.chains.admit(records, Check.RUNS)


async def test_payloads_that_one_neighbour_left_out_come_from_another() -> None:
    async with street(MemoryMaker()) as here:
        ann, mallory, ben, cleo = [
            await here.open(name) for name in ("ann", "mallory", "ben", "cleo")
        ]
        lot = await ann.list()
        whole = [record_of(ann, 1), record_of(ann, 2)]
        stripped = [Record(record.entry) for record in whole]
        await hold(ben, *whole)
        await hold(mallory, *stripped)
        # By sync, as from any neighbour.
        await cleo.join(mallory)
        links = cleo.participant.replication._links
        await eventually(lambda: mallory.network.peer_id in links)
        asked = links[mallory.network.peer_id].asked
        await eventually(lambda: len(asked.had_not) == 2)
        assert not cleo.has_lot(lot)
        await cleo.join(ben)
        await eventually(lambda: cleo.has_lot(lot))
        assert cleo.participant.names.of(ann.author) == "ann"
        assert cleo.participant.chains.reader.lacking(0, 99) == []


async def test_what_was_erased_here_is_neither_asked_for_nor_stored() -> None:
    async with street(MemoryMaker()) as here:
        ann, ben = await here.open("ann"), await here.open("ben")
        lot = await ann.list()
        await hold(ben, record_of(ann, 1), record_of(ann, 2))
        await ben.participant.chains.erase(lot)
        assert ben.participant.chains.reader.lacking(0, 99) == []
        await ben.join(ann)
        after = await ann.list()
        await eventually(lambda: ben.has_lot(after))
        await hold(ben, record_of(ann, 2))
        found = ben.participant.chains.reader.record(lot)
        assert found is not None
        assert found.payload is None


async def test_what_was_erased_at_a_neighbour_is_said_to_be_none() -> None:
    async with street(MemoryMaker()) as here:
        ann, ben, cleo = [await here.open(name) for name in ("ann", "ben", "cleo")]
        lot = await ann.list()
        await hold(ben, record_of(ann, 1), record_of(ann, 2))
        await ben.participant.chains.erase(lot)
        await hold(cleo, record_of(ann, 1), Record(record_of(ann, 2).entry))
        await cleo.join(ben)
        links = cleo.participant.replication._links
        await eventually(lambda: ben.network.peer_id in links)
        asked = links[ben.network.peer_id].asked
        await eventually(lambda: asked.had_not == {lot})


async def test_a_payload_that_the_entry_does_not_commit_to_costs_its_sender() -> None:
    async with street(MemoryMaker()) as here:
        ann, mallory, cleo = [await here.open(name) for name in ("ann", "mallory", "cleo")]
        lot = await ann.list()
        await hold(cleo, record_of(ann, 1), Record(record_of(ann, 2).entry))
        refill = mallory.participant.replication._refill
        refill.copies = lambda ids: [Copy(each, bytes(64), b"s" * 16 + b"\x80") for each in ids]  # type: ignore[method-assign]  # a liar
        await cleo.join(mallory)
        await eventually(
            lambda: (
                (found := cleo.network.peers().get(mallory.network.peer_id)) is not None
                and found.score < 0
            )
        )
        assert not cleo.has_lot(lot)
