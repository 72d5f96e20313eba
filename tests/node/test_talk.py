"""Messages between neighbours: sealed, kept until delivered, delivered once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, Street, street

from passby.node.api.talking import Talking
from passby.node.asking import ask
from passby.node.participant import Private
from passby.node.talk import TALK_PROTOCOL
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.limits import TALK_ABOUT_MAX, TALK_FOR_S
from passby.protocol.talk import Kind, Payment, Status, Words, compose, parse_status, seal_message
from passby.protocol.trade import State


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


async def proposed(ann: Household, ben: Household) -> bytes:
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    trade = await ben.participant.desk.propose(lot, 473)
    await ann.sees(trade.id, State.PROPOSED)
    return trade.id


async def confirmed(ann: Household, ben: Household) -> bytes:
    trade = await proposed(ann, ben)
    await ann.participant.desk.accept(trade)
    await ann.sees(trade, State.CONFIRMED)
    await ben.sees(trade, State.CONFIRMED)
    return trade


def heard(who: Household, about: bytes, kind: Kind = Kind.SAY) -> list[str]:
    found = (m for m in who.participant.talk.heard(kind) if m.about == about)
    return [message.body.text for message in found if isinstance(message.body, Words)]


def states(who: Household, about: bytes) -> list[str]:
    return [held.state for held in who.participant.talk.about(about)]


async def test_words_about_a_trade_reach_the_other_side_alone(lane: Street) -> None:
    ann, ben, cem = await lane.settle("ann", "ben", "cem")
    trade = await proposed(ann, ben)
    await eventually(lambda: cem.trade(trade) is not None)
    Talking(ben.participant).say(trade, "Is it still sealed?")
    await eventually(lambda: heard(ann, trade) == ["Is it still sealed?"])
    await eventually(lambda: states(ben, trade) == ["sent"])
    assert cem.participant.talk.about(trade) == []
    with pytest.raises(RefusedError, match="no party"):
        Talking(cem.participant).say(trade, "Me too")
    with pytest.raises(UsageError, match="nothing"):
        Talking(ben.participant).say(trade, "  ")


async def test_what_is_said_to_a_sleeper_waits_across_a_restart_and_comes_once(
    lane: Street, tmp_path: Path
) -> None:
    ann, ben = await lane.settle("ann", "ben")
    ben.private = Private(tmp_path / "ben.json")
    trade = await proposed(ann, ben)
    await ann.stop()
    await ben.restart()
    Talking(ben.participant).say(trade, "Tomorrow at six?")
    await ben.restart()
    assert states(ben, trade) == ["waiting"]
    await ann.start()
    await ann.join(ben)
    await eventually(lambda: states(ben, trade) == ["sent"])
    (message,) = (held.message for held in ben.participant.talk.about(trade))
    assert ann.participant.talk._take(message) is Status.TAKEN
    assert heard(ann, trade) == ["Tomorrow at six?"]
    assert (tmp_path / "ben.json").stat().st_mode & 0o077 == 0


async def test_place_and_account_are_told_with_the_confirmed_trade_and_not_before(
    lane: Street,
) -> None:
    ann, ben = await lane.settle("ann", "ben")
    account = Payment("Ann", "NL91ABNA0417164300")
    ann.private = Private(place="Lindengracht 12, bell 3", payment=account)
    await ann.restart(ben)
    trade = await proposed(ann, ben)
    assert ann.participant.talk.about(trade) == []
    await ann.participant.desk.accept(trade)
    await ben.sees(trade, State.CONFIRMED)
    await eventually(lambda: heard(ben, trade, Kind.PLACE) == ["Lindengracht 12, bell 3"])
    await eventually(lambda: len(Talking(ben.participant).payments(trade)) == 1)
    (payment,) = Talking(ben.participant).payments(trade)
    assert payment["epc"].splitlines()[4:8] == ["", "Ann", "NL91ABNA0417164300", "EUR2.00"]
    ann.participant.desk.look()
    await ann.participant.desk.handover(trade, ben.code(trade), None)
    await ben.sees(trade, State.IN_CUSTODY)
    assert len(ann.participant.talk.about(trade)) == 2


async def test_a_trade_that_ends_before_it_is_confirmed_tells_no_place(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    ann.private = Private(place="Lindengracht 12")
    await ann.restart(ben)
    trade = await proposed(ann, ben)
    await ann.participant.desk.cancel(trade)
    await ben.sees(trade, State.DECLINED)
    assert ann.participant.talk.about(trade) == []


# --- attacks -----------------------------------------------------------------------------


async def test_what_is_said_is_never_on_the_wire_in_the_open(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    trade = await confirmed(ann, ben)
    key = ann.participant.identity.key
    words = Words("the red door behind the church")
    message = compose(key, ben.author, ann.clock(), bytes(16), Kind.PLACE, trade, words)
    framed = seal_message(message, ben.participant.identity.box.public, os.urandom)
    assert b"red door" in message.raw
    for secret in (b"red door", ann.author, trade, message.receipt):
        assert secret not in framed
    answer = await ask(ann.network, ben.network.peer_id, TALK_PROTOCOL, framed, 17)
    assert parse_status(answer, message) is Status.TAKEN


async def test_a_neighbour_that_cannot_read_a_message_cannot_say_that_it_has_it(
    lane: Street,
) -> None:
    ann, ben = await lane.settle("ann", "ben")
    trade = await proposed(ann, ben)
    await ann.stop()
    eve = await lane.open("eve")
    stolen: list[bytes] = []

    async def pretend(stream) -> None:  # type: ignore[no-untyped-def]  # as a peer would
        stolen.append(await stream.receive_some())
        await stream.send_all(bytes([17, Status.TAKEN]) + bytes(16))

    eve.network.handle(TALK_PROTOCOL, pretend)
    await ben.join(eve)
    Talking(ben.participant).say(trade, "Psst")
    await eventually(lambda: len(stolen) > 0)
    assert states(ben, trade) == ["waiting"]
    await ann.start()
    await ann.join(ben)
    await eventually(lambda: states(ben, trade) == ["sent"])
    assert heard(ann, trade) == ["Psst"]


async def test_nobody_passes_on_what_was_said_to_them_as_said_to_another(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    trade = await proposed(ann, ben)
    key = ann.participant.identity.key
    elsewhere = compose(key, bytes(32), ann.clock(), bytes(16), Kind.SAY, trade, Words("for Cem"))
    assert ben.participant.talk._take(elsewhere) is Status.REFUSED
    assert ben.participant.talk.about(trade) == []


async def test_outsiders_old_words_and_floods_are_not_kept(lane: Street) -> None:
    ann, ben, eve = await lane.settle("ann", "ben", "eve")
    trade = await proposed(ann, ben)
    await eventually(lambda: eve.trade(trade) is not None)

    def from_(who: Household, at_ms: int, number: int = 0) -> Status:
        said = Words(f"word {number}")
        receipt = number.to_bytes(16, "big")
        key = who.participant.identity.key
        message = compose(key, ann.author, at_ms, receipt, Kind.SAY, trade, said)
        return ann.participant.talk._take(message)

    now_ms = ann.clock()
    assert from_(eve, now_ms) is Status.NOT_NOW
    assert from_(ben, now_ms - TALK_FOR_S * 1000 - 1) is Status.REFUSED
    assert from_(ben, now_ms + 3_600_000) is Status.NOT_NOW
    answers = [from_(ben, now_ms, number) for number in range(TALK_ABOUT_MAX + 3)]
    assert answers == [Status.TAKEN] * TALK_ABOUT_MAX + [Status.REFUSED] * 3
    assert len(ann.participant.talk.about(trade)) == TALK_ABOUT_MAX
