"""Not an attack: one person's device forked by mishap, and healed by its root, once."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import trio
from tests.ledger.people import Person, state
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import HOME, Household, Street, street

from passby.geo.cells import topic_cell
from passby.ledger.draft import Draft, compose
from passby.ledger.frames import places_in
from passby.ledger.ingest import Appended, Batch, Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.node.net import Stream
from passby.node.participant import NETWORK_ID
from passby.node.replicate import SYNC_PROTOCOL
from passby.node.writer import Line
from passby.protocol.entry import Record, encode_record
from passby.protocol.errors import LocalError, RefusedError
from passby.protocol.messages import (
    End,
    FrameReader,
    Head,
    Heads,
    Hello,
    Kind,
    Listed,
    Want,
    Wants,
    decode_message,
    encode_message,
    frame,
)
from passby.protocol.payloads import Stated, encode_payload
from passby.protocol.statements import Heal, Statement
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
        # Its own device heard of the fork, too, and says nothing until it hears of the heal.
        await eventually(lambda: not anna.participant.chains.is_frozen(anna.author))
        # Once the kept branch is the longer one, whoever holds the other is told of it.
        more = [await anna.list(name=f"And on {number}") for number in range(3)]
        await eventually(lambda: all(bo.has_lot(lot) for lot in more))
        await eventually(lambda: cleo.participant.chains.reader.record(given_up) is None)
        await eventually(lambda: all(cleo.has_lot(lot) for lot in (kept, *more)))
        assert not cleo.has_lot(given_up)
        for other in (bo, cleo):
            assert other.participant.chains.reader.frozen() == {}


class ByHand:
    """A neighbour that serves what it is asked for, and says the rest when it is told to."""

    def __init__(self, stream: Stream, chains: Sequence[Sequence[Record]]) -> None:
        self._stream = stream
        self._chains = {chain[0].entry.author: chain for chain in chains}
        self._reader = FrameReader()
        self._next: dict[bytes, int] = {}

    async def say(self, *frames: bytes) -> None:
        await self._stream.send_all(b"".join(frames))

    def head(self, author: bytes) -> bytes:
        last = self._chains[author][-1].entry
        return encode_message(Heads((Head(author, last.seq, last.id[:8]),)))

    def entries(self, author: bytes, first: int, last: int) -> bytes:
        records = self._chains[author][first - 1 : last]
        self._next[author] = first + len(records)
        return frame(Kind.ENTRIES, b"".join(map(encode_record, records)))

    async def wants(self) -> Wants:
        """Return the next message that asks for something."""
        with trio.fail_after(60):
            return await self._wants()

    async def _wants(self) -> Wants:
        while True:
            while (taken := self._reader.take()) is not None:
                if taken[0] == Kind.WANT:
                    message = decode_message(*taken)
                    assert isinstance(message, Wants)
                    return message
            self._reader.feed(await self._stream.receive_some(self._reader.room))

    async def serve(self, after: bytes) -> None:
        """Answer what is asked, from when the chain `after` is asked for."""
        wanted: dict[bytes, Want] = {}
        waiting = True
        while True:
            for want in (await self.wants()).wants:
                waiting = waiting and want.author != after
                if not want.takes_back:
                    wanted[want.author] = want
                    self._next[want.author] = want.from_seq
                else:
                    wanted.pop(want.author, None)
                    await self.say(encode_message(End(want.author, self._next[want.author])))
            while wanted and not waiting:
                author, want = wanted.popitem()
                await self.say(self.entries(author, want.from_seq, want.to_seq))


async def test_a_heal_that_comes_before_a_conflict_is_heeded_does_not_wait() -> None:
    """The conflict was seen at a seq that is not held any more when it is looked into."""
    anna = Person("anna")
    kept, laptop = anna.device("phone"), anna.device("laptop")
    kept.note()
    given_up = kept.fork(3)
    for _ in range(2):
        kept.note()
        given_up.note(payload=b"\x81\xa1x\xc0")
    state(laptop, anna.heal(kept.records[2]))
    fence = Person("dora").device("phone")
    async with street(MemoryMaker()) as lane:
        cleo = await lane.open("cleo")
        chains = cleo.participant.chains
        await chains.admit([*given_up.records, kept.records[2]], Check.EACH)
        assert chains.reader.frozen() == {kept.public: 3}
        network = lane.maker.node("bo, by hand")
        async with network.run(), trio.open_nursery() as serving:
            await network.connect(cleo.address)
            bo = ByHand(
                await network.open_stream(cleo.network.peer_id, SYNC_PROTOCOL),
                [kept.records, laptop.records, fence.records],
            )
            hello = Hello(NETWORK_ID, at_ms=cleo.clock())
            await bo.say(encode_message(hello), bo.head(laptop.public), encode_message(Listed()))
            await bo.wants()
            # In one piece: the conflict is noticed before the heal is taken in.
            await bo.say(
                bo.entries(laptop.public, 1, 2), bo.head(kept.public), bo.head(fence.public)
            )
            serving.start_soon(bo.serve, fence.public)
            last = kept.records[-1].entry
            await eventually(lambda: chains.reader.record(last.id) is not None)
            serving.cancel_scope.cancel()


async def forked(lane: Street, *names: str) -> tuple[Household, list[Household], bytes]:
    """Let Anna's chain fork where all see it; return her, the others, and what she keeps."""
    anna, *others = await lane.settle("anna", *names)
    first = await anna.list(name="Before the mishap")
    await eventually(lambda: all(other.has_lot(first) for other in others))
    twin = MemoryStore()
    chain = anna.participant.chains.reader.log(anna.author, None, 9)[::-1]
    twin.commit([admit(twin.view(chain), chain, Check.EACH)], durable=False)
    wish = Draft(EntryType.REQUEST, facts=(topic_cell(HOME), 2**47))
    false = compose(anna.key, twin.view(()), [wish], lane.clock(), os.urandom)
    kept = await anna.list(name="Kept")
    await eventually(lambda: all(other.has_lot(kept) for other in others))
    for one in (anna, *others):
        await one.participant.chains.admit(false, Check.EACH)
        assert one.participant.chains.is_frozen(anna.author)
    return anna, others, kept


async def test_a_heal_frees_a_chain_that_is_frozen_everywhere_and_cannot_carry_it() -> None:
    async with street(MemoryMaker()) as lane:
        anna, (bo, cleo), kept = await forked(lane, "bo", "cleo")
        await anna.network.disconnect(cleo.network.peer_id)
        with pytest.raises(RefusedError, match="forked"):
            await anna.list(name="Too early")
        heal = Heal.issue(anna.root, anna.author, 3, kept, anna.clock())
        await anna.participant.replication.heals.heal(heal)
        await anna.participant.say(carried(heal))
        after = await anna.list(name="And on")
        await eventually(lambda: bo.has_lot(after) and cleo.has_lot(after))
        for one in (anna, bo, cleo):
            assert one.participant.chains.reader.frozen() == {}
        # Who was away hears of it when it comes back.
        dora = await lane.open("dora")
        await dora.join(cleo)
        await eventually(lambda: dora.has_lot(after))
        assert dora.participant.replication.heals.known() == [heal.raw]


async def test_a_heal_by_somebody_else_frees_nobody() -> None:
    async with street(MemoryMaker()) as lane:
        anna, (bo, mallory), kept = await forked(lane, "bo", "mallory")
        forged = Heal.issue(mallory.root, anna.author, 3, kept, anna.clock())
        with pytest.raises(RefusedError, match="no device of yours"):
            await mallory.participant.replication.heals.heal(forged)
        mallory.participant.replication._tell_heals([forged.raw])
        fence = await mallory.list(name="Fence")
        await eventually(lambda: bo.has_lot(fence))
        assert bo.participant.chains.is_frozen(anna.author)
        assert bo.participant.replication.heals.known() == []


async def test_heals_that_others_write_take_no_place_of_the_own_persons() -> None:
    async with street(MemoryMaker()) as lane:
        anna, (bo, mallory), kept = await forked(lane, "bo", "mallory")
        for seq in (2, 3):
            forged = Heal.issue(mallory.root, anna.author, seq, kept, anna.clock())
            await mallory.participant.say(carried(forged))
        fence = await mallory.list(name="Fence")
        await eventually(lambda: bo.has_lot(fence) and anna.has_lot(fence))
        for one in (anna, bo):
            assert one.participant.chains.reader.statements(anna.author)
            assert one.participant.replication.heals.known() == []
        heal = Heal.issue(anna.root, anna.author, 3, kept, anna.clock())
        await anna.participant.replication.heals.heal(heal)
        await eventually(lambda: not bo.participant.chains.is_frozen(anna.author))
        assert bo.participant.replication.heals.known() == [heal.raw]


async def test_a_heal_that_came_before_the_chain_is_told_on_once_that_begins() -> None:
    anna = Person("anna")
    phone, laptop = anna.device("phone"), anna.device("laptop")
    phone.note()
    heal = anna.heal(phone.records[1])
    state(laptop, heal)
    for bulk in (False, True):
        async with street(MemoryMaker()) as lane:
            bo = await lane.open("bo")
            chains, heals = bo.participant.chains, bo.participant.replication.heals
            for records in (laptop.records, phone.records):
                assert heals.known() == []
                if bulk:
                    packed = b"".join(map(encode_record, records))
                    intake = await chains.take([packed], Line())
                    batch = Batch(
                        appended=[Appended(record, checked=True) for record in records],
                        statements=[heal] if records is laptop.records else [],
                    )
                    intake.places = places_in(batch)
                    await chains.catch_up(intake)
                else:
                    await chains.admit(records, Check.EACH)
            assert heals.known() == [heal.raw]


async def test_a_statement_that_its_root_did_not_sign_costs_its_sender() -> None:
    async with street(MemoryMaker()) as lane:
        anna, (bo, mallory), kept = await forked(lane, "bo", "mallory")
        heal = Heal.issue(anna.root, anna.author, 3, kept, anna.clock())
        mallory.participant.replication._tell_heals([heal.raw[:-1] + b"\x00"])
        await eventually(lambda: bo.network.peers()[mallory.network.peer_id].score < 0)
        assert bo.participant.chains.is_frozen(anna.author)


async def test_a_heal_heard_before_the_chain_is_held_counts_once_it_is_found_forked() -> None:
    async with street(MemoryMaker()) as lane:
        anna, (bo,), kept = await forked(lane, "bo")
        heal = Heal.issue(anna.root, anna.author, 3, kept, anna.clock())
        waiting: dict[bytes, bytes] = {}
        cleo = await lane.open("cleo")
        heals = cleo.participant.replication.heals
        await heals.heard([heal.raw, heal.raw], waiting)
        assert waiting == {heal.raw: anna.author}
        held = bo.participant.chains.reader
        chain = held.log(anna.author, None, 9)[::-1]
        await cleo.participant.chains.admit(chain, Check.EACH)
        await heals.look_again(waiting)
        assert heals.known() == []
        (evidence,) = held.evidence(anna.author)
        false = next(side[0] for side in evidence.elements if side[0].id != kept)
        await cleo.participant.chains.admit([Record(false)], Check.EACH)
        assert cleo.participant.chains.is_frozen(anna.author)
        await heals.look_again(waiting)
        assert not waiting
        assert not cleo.participant.chains.is_frozen(anna.author)


async def test_a_full_disk_does_not_end_who_has_a_seal_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anna = Person("anna")
    phone = anna.device("phone")
    seal = anna.seal(phone.note())
    async with street(MemoryMaker()) as lane:
        bo, cleo = await lane.settle("bo", "cleo")
        chains, replication = bo.participant.chains, bo.participant.replication
        await eventually(lambda: cleo.network.peer_id in replication._links)
        waiting = replication._links[cleo.network.peer_id].heals_waiting
        await replication.heals.heard([seal.raw], waiting)
        tried = trio.Event()

        def full(_statement: Statement) -> bool:
            tried.set()
            raise LocalError("The disk is full.")

        with monkeypatch.context() as patched:
            patched.setattr(bo.store, "add_statement", full)
            await chains.admit(phone.records, Check.EACH)
            with trio.fail_after(60):
                await tried.wait()
        await eventually(lambda: phone.public in chains.sealed)
        assert not waiting
        assert replication.heals.known() == [seal.raw]


async def test_a_forked_chain_that_was_cut_comes_again_up_to_where_it_forked() -> None:
    async with street(MemoryMaker()) as lane:
        anna, (bo, cleo), _ = await forked(lane, "bo", "cleo")
        await bo.network.disconnect(cleo.network.peer_id)
        await bo.network.disconnect(anna.network.peer_id)
        chains = cleo.participant.chains
        await chains.call(lambda store: store.cut(anna.author, 1, "not what was written"))
        await cleo.restart(bo)
        chains = cleo.participant.chains
        assert chains.frozen_from(anna.author) == 3
        await eventually(lambda: chains.head_seq(anna.author) == 2)
        fence = await bo.list(name="Fence")
        await eventually(lambda: cleo.has_lot(fence))
        assert chains.head_seq(anna.author) == 2
