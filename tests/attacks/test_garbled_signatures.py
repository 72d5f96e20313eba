"""Attack 29: a relay swaps the signatures within a run, which nobody checks, for garbage."""

from __future__ import annotations

from tests.ledger.people import Person
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, street

from passby.ledger.ingest import Check
from passby.protocol.entry import Record, parse_entry
from passby.protocol.keys import SIGNATURE_BYTES, verify


def chain(count: int) -> list[Record]:
    author = Person("ann").device("phone")
    for _ in range(count - 1):
        author.note()
    return author.records


def garbled(records: list[Record]) -> list[Record]:
    """Return them with garbage for every signature but the last one."""
    return [
        Record(parse_entry(bytes(64) + held.entry.raw[SIGNATURE_BYTES:]), held.salt, held.payload)
        for held in records[:-1]
    ] + records[-1:]


def signed(household: Household, records: list[Record]) -> bool:
    found = [household.participant.chains.reader.record(held.entry.id) for held in records]
    return all(held is not None and verify(held.entry.author, held.entry.raw) for held in found)


async def hold(household: Household, records: list[Record]) -> None:
    await household.participant.chains.admit(records, Check.RUNS)


async def test_garbled_signatures_are_found_and_fetched_from_whoever_has_good_ones() -> None:
    records = chain(9)
    async with street(MemoryMaker()) as here:
        ben, mallory, cleo = [await here.open(name) for name in ("ben", "mallory", "cleo")]
        await hold(ben, records)
        await hold(mallory, garbled(records))
        await hold(cleo, garbled(records))
        assert not signed(cleo, records)
        await cleo.join(mallory)
        links = cleo.participant.replication._links
        await eventually(lambda: mallory.network.peer_id in links)
        refused = links[mallory.network.peer_id].asked.had_not
        await eventually(lambda: len(refused) == 8)
        assert not signed(cleo, records)
        await cleo.join(ben)
        await eventually(lambda: signed(cleo, records))
        reader = cleo.participant.chains.reader
        assert reader.lacking(0, 99) == []
        assert all(checked for _, checked in reader.stretch(records[0].entry.author, 1, 99))
        assert reader.head(records[0].entry.author) is not None


async def test_the_signature_of_another_body_is_not_taken() -> None:
    records = chain(3)
    async with street(MemoryMaker()) as here:
        ben, cleo = await here.settle("ben", "cleo")
        refill = ben.participant.replication._refill
        told: list[bytes] = []
        copies = refill.copies

        def swapped(ids: list[bytes]) -> list[object]:
            told.extend(ids)
            return [
                type(copy)(copy.id, records[-1].entry.raw[:SIGNATURE_BYTES], copy.carried)
                for copy in copies(ids)
            ]

        refill.copies = swapped  # type: ignore[method-assign,assignment]  # a liar
        await hold(ben, records)
        await hold(cleo, garbled(records))
        await eventually(lambda: len(told) >= 2)
        asked = cleo.participant.replication._links[ben.network.peer_id].asked
        await eventually(lambda: len(asked.had_not) == 2)
        assert not signed(cleo, records)
