"""Attack 21: a device is stolen with its key, and whoever has it goes on in its owner's name."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, Street, street

from passby.ledger.checkpoint import WitnessKey
from passby.ledger.draft import Draft
from passby.ledger.policy import k_of
from passby.protocol.errors import RefusedError, RemoteError
from passby.protocol.keys import Certificate, SigningKey
from passby.protocol.payloads import Stated, encode_payload
from passby.protocol.statements import Opening, Seal
from passby.protocol.trade import State
from passby.protocol.types import EntryType


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


async def seal(lost: Household, by: Household, seq: int, opening: Opening | None = None) -> None:
    """Let another device of the person carry the seal of the lost one."""
    await eventually(lambda: by.participant.chains.head_seq(lost.author) >= seq)
    last = by.participant.chains.reader.record_at(lost.author, seq)
    assert last is not None
    made = Seal.issue(lost.root, lost.author, seq, last.entry.id, by.clock(), opening)
    draft = Draft(EntryType.STATEMENT, payload=encode_payload(Stated(made.raw)))
    await by.participant.say([draft])


async def test_what_a_stolen_device_says_after_the_seal_is_taken_by_nobody(lane: Street) -> None:
    phone, bo, cleo = await lane.settle("phone", "bo", "cleo")
    laptop = await lane.open("laptop", of=phone)
    await laptop.join(phone, bo)
    lot = await phone.list()
    await eventually(lambda: bo.has_lot(lot) and cleo.has_lot(lot))
    await seal(phone, laptop, 2)
    for other in (bo, cleo, laptop):
        await eventually(lambda other=other: not other.has_lot(lot))  # type: ignore[misc]  # bound early
        assert other.participant.chains.reader.sealed() == {phone.author: 2}
        with pytest.raises(RefusedError, match="sealed its chain"):
            await other.participant.desk.propose(lot, 100)


async def test_a_thief_who_keeps_the_device_off_the_net_cannot_go_on_later(lane: Street) -> None:
    phone, bo = await lane.settle("phone", "bo")
    laptop = await lane.open("laptop", of=phone)
    await laptop.join(bo)
    lot = await phone.list()
    await eventually(lambda: bo.has_lot(lot))
    await phone.network.disconnect(bo.network.peer_id)
    false = await phone.list(name="Not mine to give")
    await seal(phone, laptop, 2)
    await eventually(lambda: not bo.has_lot(lot))
    await phone.join(bo)
    later = await laptop.list(name="Honest goods")
    await eventually(lambda: bo.has_lot(later))
    # The phone itself hears of the seal, and says nothing more.
    await eventually(lambda: phone.participant.chains.is_closed(phone.author))
    with pytest.raises(RefusedError, match="has ended"):
        await phone.list(name="Too late")
    assert not bo.has_lot(false)
    assert bo.participant.chains.head_seq(phone.author) == 2


async def test_a_stolen_trip_device_is_sealed_by_the_words_of_whose_it_is(lane: Street) -> None:
    laptop, bo = await lane.settle("laptop", "bo")
    phone = await lane.open("phone", of=laptop, trip=True)
    await phone.join(laptop, bo)
    lot = await phone.list()
    await eventually(lambda: bo.has_lot(lot) and laptop.has_lot(lot))
    assert bo.participant.chains.reader.person_of(phone.author) == phone.author
    await seal(phone, laptop, 2, Opening(bytes(16), phone.certificate))
    for other in (bo, laptop):
        await eventually(lambda other=other: not other.has_lot(lot))  # type: ignore[misc]  # bound early
        assert other.participant.chains.reader.sealed() == {phone.author: 2}
        assert other.participant.chains.reader.person_of(phone.author) == laptop.root.public
    await eventually(lambda: phone.participant.chains.is_closed(phone.author))


async def test_a_stranger_cannot_seal_a_trip_device_nor_open_it(lane: Street) -> None:
    phone = await lane.open("phone", trip=True)
    bo, thief = await lane.settle("bo", "thief")
    await phone.join(bo, thief)
    lot = await phone.list()
    await eventually(lambda: bo.has_lot(lot) and thief.has_lot(lot))
    genesis = thief.participant.chains.reader.record_at(phone.author, 1)
    assert genesis is not None
    # The thief's root certifies the key, and seals with that; or with what it saw of the owner's.
    own = Opening(bytes(16), Certificate.issue(thief.root, phone.author, thief.clock()))
    seen = Opening(bytes(16), phone.certificate)
    sealed = [
        Seal.issue(thief.root, phone.author, 1, genesis.entry.id, thief.clock(), opening)
        for opening in (None, own, seen)
    ]
    drafts = [Draft(EntryType.STATEMENT, payload=encode_payload(Stated(one.raw))) for one in sealed]
    carried = await thief.participant.say(drafts)
    told: dict[bytes, bytes] = {}
    heals = bo.participant.replication.heals
    await heals.heard([one.raw for one in sealed[:2]], told)
    with pytest.raises(RemoteError):
        await heals.heard([sealed[2].raw], told)
    last = carried[-1].entry.seq
    await eventually(lambda: bo.participant.chains.head_seq(thief.author) >= last)
    assert bo.has_lot(lot)
    assert bo.participant.chains.reader.sealed() == {}
    assert bo.participant.chains.reader.person_of(phone.author) == phone.author


async def test_what_a_thief_agreed_to_before_the_seal_came_shows_no_longer(lane: Street) -> None:
    phone, bo = await lane.settle("phone", "bo")
    laptop = await lane.open("laptop", of=phone)
    await laptop.join(phone, bo)
    # Bo confirms nothing that a witness who is not there has not cosigned.
    absent = SigningKey(b"w" * 32)
    bo.policy = k_of(1, [WitnessKey(absent).verifier])
    lot = await phone.list()
    await eventually(lambda: bo.has_lot(lot))
    desk = bo.participant.desk
    trade = await desk.propose(lot, 473)
    await phone.sees(trade.id, State.PROPOSED)
    await phone.participant.desk.accept(trade.id)
    await eventually(lambda: bool(desk.trade(trade.id).legs[0].reserves))
    await seal(phone, laptop, 2)
    await eventually(lambda: bo.participant.chains.is_closed(phone.author))
    assert not desk.trade(trade.id).legs[0].reserves


async def test_a_thief_cannot_seal_what_it_holds_no_words_for(lane: Street) -> None:
    phone, bo, thief = await lane.settle("phone", "bo", "thief")
    lot = await phone.list()
    await eventually(lambda: bo.has_lot(lot) and thief.has_lot(lot))
    genesis = thief.participant.chains.reader.record_at(phone.author, 1)
    assert genesis is not None
    forged = Seal.issue(thief.root, phone.author, 1, genesis.entry.id, thief.clock())
    draft = Draft(EntryType.STATEMENT, payload=encode_payload(Stated(forged.raw)))
    (carried,) = await thief.participant.say([draft])
    await eventually(lambda: bo.participant.chains.head_seq(thief.author) >= carried.entry.seq)
    assert bo.has_lot(lot)
    assert bo.participant.chains.reader.sealed() == {}
