"""Not an attack: one person's device forked by mishap, and healed by its root, once."""

from __future__ import annotations

from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, street

from passby.ledger.draft import Draft
from passby.ledger.ingest import Check, admit
from passby.protocol.payloads import Stated, encode_payload
from passby.protocol.statements import Heal
from passby.protocol.types import EntryType


def carried(heal: Heal) -> list[Draft]:
    return [Draft(EntryType.STATEMENT, payload=encode_payload(Stated(heal.raw)))]


async def test_both_halves_of_the_street_come_to_the_kept_branch() -> None:
    async with street(MemoryMaker()) as lane:
        anna, bo = await lane.settle("anna", "bo")
        cleo = await lane.open("cleo")
        await cleo.join(bo)
        first = await anna.list(name="Before the mishap")
        await eventually(lambda: bo.has_lot(first) and cleo.has_lot(first))
        await anna.network.disconnect(bo.network.peer_id)
        await bo.network.disconnect(cleo.network.peer_id)
        twin = Household(lane, "twin", anna.home, anna.network_id)
        twin.key, twin.root = anna.key, anna.root
        chain = anna.participant.chains.reader.log(anna.author, None, 9)[::-1]
        twin.store.commit([admit(twin.store, chain, Check.EACH)], durable=False)
        await twin.start()
        kept = await anna.list(name="Kept")
        await twin.list(name="Given up")
        given_up = await twin.list(name="Given up, too")
        await anna.join(bo)
        await twin.join(cleo)
        await eventually(lambda: bo.has_lot(kept) and cleo.has_lot(given_up))
        await twin.stop()
        await bo.join(cleo)
        await eventually(lambda: bo.participant.chains.is_frozen(anna.author))
        laptop = await lane.open("laptop", of=anna)
        entry = bo.participant.chains.reader.record(kept)
        assert entry is not None
        heal = Heal.issue(anna.root, anna.author, entry.entry.seq, kept, anna.clock())
        await laptop.join(bo)
        await laptop.participant.say(carried(heal))
        await eventually(lambda: bo.has_lot(kept))
        # Once the kept branch is the longer one, whoever holds the other is told of it.
        more = [await anna.list(name=f"And on {number}") for number in range(3)]
        await eventually(lambda: all(bo.has_lot(lot) for lot in more))
        await eventually(lambda: cleo.participant.chains.reader.record(given_up) is None)
        # At the latest with the next session.
        await bo.network.disconnect(cleo.network.peer_id)
        await bo.join(cleo)
        await eventually(lambda: all(cleo.has_lot(lot) for lot in (kept, *more)))
        assert not cleo.has_lot(given_up)
        for other in (bo, cleo):
            assert other.participant.chains.reader.frozen() == {}
