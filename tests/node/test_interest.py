"""Whose chains a node keeps, and that trades across towns complete all the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.node.networks import MemoryMaker, eventually
from tests.node.street import AWAY, HOME, Household, Street, street

from passby.geo.cells import cell_at, cell_text, topic_cell
from passby.geo.rings import topics_around
from passby.node.backup import Backup
from passby.node.config import Config
from passby.node.following import Following
from passby.node.home import Home
from passby.protocol.keys import SigningKey, root_from_words
from passby.protocol.trade import State

FAR = cell_at(48.858, 2.294)


async def settle(lane: Street, **homes: int) -> list[Household]:
    """Open households that know nobody yet."""
    return [await lane.open(name, home=home) for name, home in homes.items()]


def holds(household: Household, other: Household) -> bool:
    return household.participant.chains.head_seq(other.author) > 0


async def news_of(relay: Household, *others: Household) -> None:
    """Wait until others hold the relay's newest entry, and so have heard of all before it."""
    marker = await relay.list(name="Said last")
    readers = [other.participant.chains.reader for other in others]
    await eventually(lambda: all(reader.record(marker) is not None for reader in readers))


async def complete(taker: Household, lister: Household, lot: bytes) -> None:
    """Trade, and wait until both know that it is settled."""
    trade = (await taker.participant.desk.propose(lot, 473)).id
    await lister.sees(trade, State.PROPOSED)
    await lister.participant.desk.accept(trade)
    for party in (taker, lister):
        await party.sees(trade, State.CONFIRMED)
    await lister.participant.desk.handover(trade, taker.code(trade), None)
    await taker.sees(trade, State.IN_CUSTODY)
    await taker.participant.desk.receive(trade, None)
    await lister.sees(trade, State.DELIVERED)
    await lister.participant.desk.paid(trade, None)
    for party in (taker, lister):
        await party.sees(trade, State.SETTLED)


async def test_a_stranger_s_propose_reaches_the_lister_through_a_relay_in_its_cell() -> None:
    async with street(MemoryMaker()) as lane:
        lister, relay, taker = await settle(lane, lister=HOME, relay=HOME, taker=AWAY)
        taker.participant.interest.travel(topics_around(HOME))
        await relay.join(lister)
        await taker.join(relay)
        lot = await lister.list()
        await eventually(lambda: taker.has_lot(lot))
        await complete(taker, lister, lot)


async def test_a_lister_outside_its_relay_s_cells_is_found_and_served() -> None:
    async with street(MemoryMaker()) as lane:
        lister, relay, taker = await settle(lane, lister=AWAY, relay=FAR, taker=AWAY)
        await relay.join(lister)
        await taker.join(relay)
        lot = await lister.list()
        await eventually(lambda: taker.has_lot(lot))
        await complete(taker, lister, lot)


async def test_the_parties_of_one_trade_see_each_other_though_their_cells_differ() -> None:
    async with street(MemoryMaker()) as lane:
        ann, relay, cyd, taker = await settle(lane, ann=HOME, relay=HOME, cyd=AWAY, taker=HOME)
        await relay.join(ann)
        await taker.join(relay)
        lot = await ann.list()
        await eventually(lambda: taker.has_lot(lot))
        trade = await taker.participant.desk.propose(lot, 100)
        await ann.sees(trade.id, State.PROPOSED)
        # Whoever follows the taker hears of it wherever it lives.
        cyd.participant.following.add(taker.author, cyd.clock())
        await cyd.join(relay)
        await eventually(lambda: cyd.trade(trade.id) is not None)
        assert ann.participant.interest.takes_in(taker.author)
        assert not cyd.participant.interest.takes_in(ann.author)


async def test_chains_of_another_town_are_not_kept() -> None:
    async with street(MemoryMaker()) as lane:
        here, relay, there = await settle(lane, here=HOME, relay=FAR, there=AWAY)
        await relay.join(here, there)
        lots = [await here.list(), await there.list()]
        await eventually(lambda: all(relay.has_lot(lot) for lot in lots))
        await news_of(relay, here, there)
        assert not holds(here, there)
        assert not holds(there, here)


async def test_who_is_followed_is_fetched_at_once_and_pushed_from_then_on() -> None:
    async with street(MemoryMaker()) as lane:
        here, relay, there = await settle(lane, here=HOME, relay=FAR, there=AWAY)
        await relay.join(here, there)
        first = await there.list()
        await eventually(lambda: relay.has_lot(first))
        await news_of(relay, here)
        assert not here.has_lot(first)
        assert here.participant.following.add(there.author, here.clock())
        await eventually(lambda: here.has_lot(first))
        second = await there.list()
        await eventually(lambda: here.has_lot(second))
        assert here.participant.following.remove(there.author)
        third = await there.list()
        await eventually(lambda: relay.has_lot(third))
        await news_of(relay, here)
        assert not here.has_lot(third)
        # And it goes on from there when that changes again, after a restart as well.
        await here.restart(relay)
        here.participant.following.add(there.author, here.clock())
        await eventually(lambda: here.has_lot(third))


async def test_who_moves_into_a_cell_is_heard_of_there_with_all_it_said_before() -> None:
    async with street(MemoryMaker()) as lane:
        here, relay, mover = await settle(lane, here=HOME, relay=FAR, mover=AWAY)
        await relay.join(here, mover)
        before = await mover.list()
        await eventually(lambda: relay.has_lot(before))
        await news_of(relay, here)
        assert not holds(here, mover)
        mover.home = HOME
        after = await mover.list()
        await eventually(lambda: here.has_lot(after))
        assert here.participant.chains.reader.record(before) is not None
        assert here.participant.interest.takes_in(mover.author)


async def test_a_liar_who_names_false_cells_is_not_followed() -> None:
    async with street(MemoryMaker()) as lane:
        here, liar, there = await settle(lane, here=HOME, liar=FAR, there=AWAY)
        # It tells everybody that everybody speaks wherever they want to hear of.
        everywhere = {topic_cell(HOME), topic_cell(AWAY)}
        liar.participant.replication._spoken = lambda _author: everywhere
        await liar.join(here, there)
        lot = await there.list()
        await eventually(lambda: here.participant.chains.reader.record(lot) is not None)
        interest = here.participant.interest
        assert not interest.takes_in(there.author)
        for one, other in ((here, there), (there, here)):
            eager = one.participant.replication._eager
            await eventually(
                partial(lambda eager, author: author not in eager, eager, other.author)
            )


async def test_a_node_that_comes_back_goes_on_with_the_parties_of_its_trades() -> None:
    async with street(MemoryMaker()) as lane:
        lister, relay, taker = await settle(lane, lister=HOME, relay=HOME, taker=AWAY)
        taker.participant.interest.travel(topics_around(HOME))
        await relay.join(lister)
        await taker.join(relay)
        lot = await lister.list()
        await eventually(lambda: taker.has_lot(lot))
        trade = (await taker.participant.desk.propose(lot, 473)).id
        await lister.sees(trade, State.PROPOSED)
        # Its way is over; what it has begun is not.
        await taker.restart(relay)
        await lister.participant.desk.accept(trade)
        for party in (taker, lister):
            await party.sees(trade, State.CONFIRMED)


def test_whom_one_follows_is_kept_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "followed.json"
    following = Following(path)
    heard: list[tuple[bytes, ...]] = []
    following.on_changed(lambda: heard.append(following.authors()))
    ann, ben = b"\x01" * 32, b"\x02" * 32
    assert following.add(ann, 1)
    assert following.add(ben, 2)
    assert not following.add(ann, 3)
    assert following.remove(ann)
    assert not following.remove(ann)
    assert heard == [(ann,), (ann, ben), (ben,)]
    (kept,) = Following(path).all()
    assert (kept.key, kept.since_ms) == (ben, 2)
    assert path.stat().st_mode & 0o777 == 0o600


def test_whom_one_follows_comes_back_with_a_backup(tmp_path: Path) -> None:
    config = Config(cell=cell_text(HOME), name="Anna", currency="EUR")
    home, words = Home.create(tmp_path / "home", config, now_ms=1)
    root = root_from_words(words)
    followed = SigningKey(b"\x05" * 32).public
    Following(home.followed_path).add(followed, 2)
    backup = Backup.open(Backup.of(home, [], 3).seal(), root)
    assert backup.followed == (followed,)
    again, _ = backup.restore(tmp_path / "again", root, 4)
    assert Following(again.followed_path).authors() == (followed,)


async def test_of_a_chain_that_was_let_go_of_nothing_is_remembered() -> None:
    async with street(MemoryMaker()) as lane:
        anna, bo = await lane.settle("anna", "bo")
        lot = await anna.list()
        await eventually(lambda: bo.has_lot(lot))
        interest = bo.participant.interest
        assert set(interest.spoken(anna.author)) == {topic_cell(HOME)}
        await anna.stop()
        await bo.participant.chains.forget([anna.author])
        assert not interest.spoken(anna.author)
        await anna.start()
        await anna.join(bo)
        await eventually(lambda: bo.has_lot(lot))
        assert set(interest.spoken(anna.author)) == {topic_cell(HOME)}
