"""Attacks with many keys: made-up authors get little between them, and crowd nobody out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trio
from tests.attacks.lane import MIB, peak_rss
from tests.ledger.authors import Author
from tests.node.networks import Libp2pMaker, MemoryMaker, eventually
from tests.node.street import HOME, Household, Street, street

from passby.geo.cells import cell_at, topic_cell
from passby.ledger.ingest import Check
from passby.node import quotas as quotas_module
from passby.node.clock import machine_clock
from passby.node.net import GossipVerdict
from passby.protocol.entry import Record, encode_record, parse_entry
from passby.protocol.errors import RefusedError
from passby.protocol.limits import (
    CHAIN_WEIGHT_MIN,
    GOSSIP_AUTHOR_BURST,
    GOSSIP_CROWD_BURST,
    SAME_NAME_SHOWN,
    STRANGERS_BURST,
    UNVOUCHED_BYTES,
    UNVOUCHED_ENTRIES,
)
from passby.protocol.payloads import Genesis, Offer, encode_payload
from passby.protocol.price import Price
from passby.protocol.topics import topic_for
from passby.protocol.trade import State
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

TOPIC = topic_for(topic_cell(HOME))
DAY_MS = 24 * 3_600_000
ROOM = 64 * CHAIN_WEIGHT_MIN
"""A crowd that a test can fill."""


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


@pytest.fixture(params=["memory", "libp2p"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Street]:
    """Yield a street over the memory network, and one over real TCP with real ledgers."""
    maker, folder = (
        (MemoryMaker(), None) if request.param == "memory" else (Libp2pMaker(), tmp_path)
    )
    async with street(maker, folder) as here:
        yield here


@pytest.fixture
def small_room(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let all unvouched authors of a cell share a room for 64 of them."""
    monkeypatch.setattr(quotas_module, "CROWD_BYTES", ROOM)
    return ROOM


def sybil(name: str, lots: int = 1, cell: int = HOME, text: str = "") -> Author:
    """Make an author whose chain lists what nobody has."""
    author = Author(name)
    author.genesis()
    offer = encode_payload(
        Offer(
            name=f"bait of {name}",
            category="things",
            unit=Unit.PIECE,
            price=Price(1, 1, "EUR"),
            cell=cell,
            text=text or None,
        )
    )
    for _ in range(lots):
        seq = len(author.records) + 1
        author.say(
            EntryType.OFFER,
            offer,
            stock=(seq, 0, 0, 1, 1, 0),
            facts=(topic_cell(cell), machine_clock() + DAY_MS),
            at_ms=machine_clock(),
        )
    return author


async def flood(through: Household, authors: Sequence[Author]) -> None:
    """Let a node that trusts everybody hold the authors' chains and hand them on."""
    through.participant.circle.follow([author.public for author in authors])
    for author in authors:
        await through.participant.chains.admit(author.records, Check.RUNS)


def held(by: Household, authors: Sequence[Author]) -> list[int]:
    return [by.participant.chains.head_seq(author.public) for author in authors]


def gossip(to: Household, record: Record, sender: str) -> GossipVerdict:
    return to.participant.gossip._judge(TOPIC, encode_record(record), sender)


async def test_a_flood_of_sybils_leaves_honest_lots_in_sight(both: Street, small_room: int) -> None:
    """Attack 15."""
    ann, ben, mallory = await both.settle("ann", "ben", "mallory")
    await ann.vouch(ben)
    lot = await ben.list()
    await eventually(lambda: ann.has_lot(lot))
    sybils = [sybil(f"sybil {number}") for number in range(200)]
    await flood(mallory, sybils)
    quotas = ann.participant.quotas
    await eventually(lambda: sum(held(mallory, sybils)) == 2 * len(sybils))
    await eventually(lambda: sum(1 for seq in held(ann, sybils) if seq) > 30)
    with trio.move_on_after(0.5):
        while True:
            assert quotas.held(topic_cell(HOME)) <= 2 * small_room
            await trio.sleep(0.01)
    await eventually(lambda: quotas.held(topic_cell(HOME)) <= small_room)
    assert ann.has_lot(lot)
    # And what is new of honest people still comes.
    another = await ben.list()
    await eventually(lambda: ann.has_lot(another))

    def baits() -> int:
        return sum(found.author != ben.author for found in ann.participant.market.offers)

    await eventually(lambda: baits() <= small_room // CHAIN_WEIGHT_MIN)


async def test_a_flood_through_sync_fills_no_disk(both: Street, small_room: int) -> None:
    """Attack 31: chains as long as they please, of as many authors as they please."""
    ann, mallory = await both.settle("ann", "mallory")
    before = peak_rss()
    elsewhere = cell_at(-33.87, 151.21)
    sybils = [
        sybil(f"sybil {number}", 100, HOME if number % 2 else elsewhere, "x" * 1400)
        for number in range(30)
    ]
    await flood(mallory, sybils)
    reader, quotas = ann.participant.chains.reader, ann.participant.quotas
    await eventually(lambda: sum(held(mallory, sybils)) == 101 * len(sybils))
    await eventually(lambda: sum(1 for seq in held(ann, sybils) if seq) >= 2)
    with trio.move_on_after(2):
        while True:
            for author in sybils:
                assert reader.footprint(author.public).size <= UNVOUCHED_BYTES
            await trio.sleep(0.05)
    for cell in (topic_cell(HOME), topic_cell(elsewhere)):
        await eventually(lambda cell=cell: quotas.held(cell) <= small_room)
    assert ann.participant.replication.synced_peers[mallory.network.peer_id]
    assert peak_rss() - before < 64 * MIB


async def test_who_had_to_make_room_is_not_fetched_again_at_once(
    lane: Street, small_room: int
) -> None:
    ann, mallory = await lane.settle("ann", "mallory")
    sybils = [sybil(f"sybil {number}") for number in range(100)]
    await flood(mallory, sybils)
    quotas = ann.participant.quotas
    await eventually(lambda: quotas._forgotten)
    gone = next(iter(quotas._forgotten))
    await eventually(lambda: ann.participant.chains.head_seq(gone) == 0)
    assert quotas.wanted_to(gone) == 0
    received = ann.participant.replication.counts.received
    await mallory.restart(ann)
    await eventually(lambda: ann.participant.replication.synced_peers)
    assert ann.participant.replication.counts.received - received < 2 * len(sybils)
    assert small_room >= quotas.held(topic_cell(HOME))


async def test_a_full_room_takes_only_so_many_more_strangers(lane: Street, small_room: int) -> None:
    ann = await lane.open("ann")
    quotas = ann.participant.quotas
    for number in range(small_room // CHAIN_WEIGHT_MIN + 1):
        await ann.participant.chains.admit(sybil(f"sybil {number}").records, Check.RUNS)
    await eventually(lambda: quotas._forgotten)
    welcome = [author for n in range(1000) if quotas.wanted_to(author := b"%032d" % n)]
    assert len(welcome) == STRANGERS_BURST
    # Who was let in once stays so while it is on its way.
    assert all(quotas.wanted_to(author) for author in welcome)


async def test_gossip_of_many_keys_has_one_bucket_and_is_never_rejected(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    await ann.vouch(ben)
    said = [
        gossip(ann, sybil(f"sybil {number}").records[1], f"peer {number}")
        for number in range(GOSSIP_CROWD_BURST + 50)
    ]
    assert said.count(GossipVerdict.ACCEPT) <= GOSSIP_CROWD_BURST + 1
    assert GossipVerdict.REJECT not in said
    lot = await ben.list()
    await eventually(lambda: ann.has_lot(lot))


async def test_a_vouched_author_that_gossips_without_end_is_ignored_not_rejected(
    lane: Street,
) -> None:
    ann = await lane.open("ann")
    loud = sybil("loud", 3 * GOSSIP_AUTHOR_BURST)
    await ann.participant.circle.vouch(loud.public, stands=True)
    said = [gossip(ann, r, f"peer {n % 9}") for n, r in enumerate(loud.records[1:])]
    assert GossipVerdict.REJECT not in said
    assert said.count(GossipVerdict.IGNORE) > GOSSIP_AUTHOR_BURST


async def test_forgeries_in_a_friend_s_name_do_not_silence_it(lane: Street) -> None:
    ann = await lane.open("ann")
    friend = sybil("friend", 2)
    await ann.participant.circle.vouch(friend.public, stands=True)
    real = friend.records[1]
    for number in range(2 * GOSSIP_AUTHOR_BURST):
        forged = bytearray(encode_record(real))
        forged[2 + number % 60] ^= 1
        verdict = ann.participant.gossip._judge(TOPIC, bytes(forged), f"peer {number}")
        assert verdict is GossipVerdict.REJECT
    assert gossip(ann, real, "honest") is GossipVerdict.ACCEPT


async def test_keys_behind_a_liar_are_cut_to_its_share(lane: Street) -> None:
    ann, mallory = await lane.settle("ann", "mallory")
    await ann.vouch(mallory)
    sybils = [sybil(f"sybil {number}", 80) for number in range(5)]
    for author in sybils:
        await mallory.participant.circle.vouch(author.public, stands=True)
    await flood(mallory, sybils)
    await eventually(lambda: held(ann, sybils) == [81] * 5)
    await ann.participant.circle.vouch(mallory.author, stands=False)
    await eventually(lambda: not any(ann.participant.circle.has(s.public) for s in sybils))
    late = sybil("late", 80)
    await mallory.participant.circle.vouch(late.public, stands=True)
    await flood(mallory, [*sybils, late])
    await eventually(lambda: held(ann, [late]) == [UNVOUCHED_ENTRIES])


async def test_free_identities_reserve_no_more_than_one_lot_each(lane: Street) -> None:
    """Attack 27."""
    ann, ben = await lane.settle("ann", "ben")
    lots = [await ann.list(), await ann.list()]
    await eventually(lambda: all(ben.has_lot(lot) for lot in lots))
    trades = [(await ben.participant.desk.propose(lot, 473)).id for lot in lots]
    for trade in trades:
        await ann.sees(trade, State.PROPOSED)
    await ann.participant.desk.accept(trades[0])
    with pytest.raises(RefusedError, match="one lot set aside at a time"):
        await ann.participant.desk.accept(trades[1])
    assert ann.remaining(lots[1]) == 946
    # Once somebody answers for it, it may have more.
    await ann.vouch(ben)
    await ann.participant.desk.accept(trades[1])
    await ben.sees(trades[1], State.CONFIRMED)


async def test_a_stranger_whose_trade_is_over_may_have_another_lot(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lots = [await ann.list(), await ann.list()]
    await eventually(lambda: all(ben.has_lot(lot) for lot in lots))
    first = (await ben.participant.desk.propose(lots[0], 473)).id
    await ann.sees(first, State.PROPOSED)
    await ann.participant.desk.accept(first)
    await ann.sees(first, State.CONFIRMED)
    await ben.sees(first, State.CONFIRMED)
    await ann.participant.desk.handover(first, ben.code(first), None)
    await ben.sees(first, State.IN_CUSTODY)
    second = (await ben.participant.desk.propose(lots[1], 473)).id
    await ann.sees(second, State.PROPOSED)
    await ann.participant.desk.accept(second)
    await ann.sees(second, State.CONFIRMED)


async def test_whom_a_settled_trade_joins_is_no_stranger_and_an_open_one_is_never_cut_off(
    lane: Street,
) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    trade = (await ben.participant.desk.propose(lot, 473)).id
    await ann.sees(trade, State.PROPOSED)
    # Asking alone makes nobody known.
    assert ann.participant.quotas.wanted_to(ben.author) <= UNVOUCHED_ENTRIES
    await ann.participant.desk.accept(trade)
    await eventually(lambda: ann.participant.quotas.wanted_to(ben.author) > UNVOUCHED_ENTRIES)
    assert not ann.participant.circle.has(ben.author)
    for _ in range(100):
        await ben.list()
    for household in (ann, ben):
        await household.sees(trade, State.CONFIRMED)
    await ann.participant.desk.handover(trade, ben.code(trade), None)
    await ben.sees(trade, State.IN_CUSTODY)
    await ben.participant.desk.receive(trade, None)
    await ann.sees(trade, State.DELIVERED)
    await ann.participant.desk.paid(trade, None)
    await ben.sees(trade, State.SETTLED)
    for one, other in ((ann, ben), (ben, ann)):
        await eventually(lambda one=one, other=other: one.participant.circle.has(other.author))


async def test_ground_keys_fill_no_more_than_a_page(lane: Street) -> None:
    """Attack 19: whatever shares the first digits of a key, a bounded part of it is named."""
    ann = await lane.open("ann")
    ground = [bytes.fromhex("abcd") + b"%030d" % number for number in range(5000)]
    with pytest.raises(RefusedError) as caught:
        ann.participant.names.find("abcd", [*ground, ann.author])
    assert caught.value.hint.count("abcd") == SAME_NAME_SHOWN
    assert len(caught.value.hint) < 400
    # The whole key, or enough of it, still finds the honest one.
    assert ann.participant.names.find(ann.author.hex()[:12], [*ground, ann.author]) == ann.author


async def test_a_name_that_many_have_taken_names_nobody(lane: Street) -> None:
    ann = await lane.open("ann")
    names, chains = ann.participant.names, ann.participant.chains
    assert names.find("Ann", chains.heads) == ann.author
    for number in range(20):
        false = Author(f"false Ann {number}")
        false.say(EntryType.GENESIS, encode_payload(Genesis("ANN")), facts=(bytes(32),))
        await chains.admit(false.records, Check.RUNS)
    with pytest.raises(RefusedError, match="21 authors") as caught:
        names.find("ann", chains.heads)
    assert caught.value.hint.count(",") < SAME_NAME_SHOWN
    with pytest.raises(RefusedError, match="No author"):
        names.find("mallory", chains.heads)


async def test_whoever_hands_on_a_part_of_a_chain_is_not_framed_by_its_author(
    lane: Street,
) -> None:
    """A chain signed in earnest only at its end goes to strangers in part, or not at all."""
    ann, ben = await lane.settle("ann", "ben")
    sly = sybil("sly", 100)
    garbage = [
        Record(parse_entry(bytes(64) + record.entry.raw[64:]), record.salt, record.payload)
        for record in sly.records[:-1]
    ]
    sly.records[:-1] = garbage
    honest = sybil("honest", 100)
    await flood(ben, [sly, honest])
    await eventually(lambda: held(ann, [honest]) == [UNVOUCHED_ENTRIES])
    assert held(ann, [sly]) == [0]
    for one, other in ((ann, ben), (ben, ann)):
        assert one.network.peers()[other.network.peer_id].score == 0
    await ann.participant.circle.vouch(sly.public, stands=True)
    await eventually(lambda: held(ann, [sly]) == [101])
