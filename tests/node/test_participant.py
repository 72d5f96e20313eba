"""Participants from listing to receipt, over both networks and both stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from tests.ledger.authors import Author
from tests.node.networks import Libp2pMaker, Maker, MemoryMaker, eventually
from tests.node.street import AWAY, HOME, MINUTE_MS, Household, Street, street

from passby.geo.cells import topic_cell
from passby.geo.lots import Side
from passby.ledger.draft import Draft, OpenLot, Reserve
from passby.ledger.ingest import Check
from passby.node.api.shown import Shown
from passby.node.net_memory import Weather
from passby.protocol.errors import LocalError, RefusedError
from passby.protocol.limits import AMOUNT_MAX
from passby.protocol.payloads import LotTerms, Offer, Propose, Terms, encode_payload
from passby.protocol.price import Price
from passby.protocol.terms import terms_hash
from passby.protocol.trade import State
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

SALT = bytes(16)


@pytest.fixture(params=["memory", "libp2p"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Maker, Path | None]:
    """Give a network and where the ledgers are: all in memory, or all real."""
    return (MemoryMaker(), None) if request.param == "memory" else (Libp2pMaker(), tmp_path)


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    """Give a street in memory, with nothing but time and threads real."""
    async with street(MemoryMaker()) as here:
        yield here


async def proposed(
    ann: Household, ben: Household, amount: int | None = 473, **listed: Any
) -> tuple[bytes, bytes]:
    """Let Ann list and Ben propose; return lot and trade once Ann sees it."""
    lot = await ann.list(**listed)
    await eventually(lambda: ben.has_lot(lot))
    trade = await ben.participant.desk.propose(lot, amount)
    await ann.sees(trade.id, State.PROPOSED)
    return lot, trade.id


async def confirmed(ann: Household, ben: Household, **listed: Any) -> tuple[bytes, bytes]:
    lot, trade = await proposed(ann, ben, **listed)
    await ann.participant.desk.accept(trade)
    await ann.sees(trade, State.CONFIRMED)
    await ben.sees(trade, State.CONFIRMED)
    return lot, trade


# --- the first word --------------------------------------------------------------------


async def test_an_offer_reaches_a_neighbours_book_by_gossip_alone(
    place: tuple[Maker, Path | None],
) -> None:
    async with street(*place) as here:
        ann = await here.open("ann")
        ben = await here.open("ben", network_id=b"another" + bytes(25))
        genesis = ann.participant.chains.reader.record_at(ann.author, 1)
        assert genesis is not None
        await ben.participant.chains.admit([genesis], Check.EACH)
        await ben.join(ann)
        lot = await ann.list()
        record = ann.participant.chains.reader.record(lot)
        assert record is not None
        with trio.fail_after(60):
            # Until the two have found each other on the topic, a word is lost.
            while not ben.has_lot(lot):
                ann.participant.gossip.announce([record])
                await trio.sleep(0.1)
        assert ben.participant.replication.synced_peers == {}


async def test_an_offer_reaches_a_neighbours_book_by_sync_alone() -> None:
    maker = MemoryMaker()
    maker.world.weather = Weather(delay_s=(0.0005, 0.002), loss=1)
    async with street(maker) as here:
        ann, ben = await here.settle("ann", "ben")
        lot = await ann.list()
        await eventually(lambda: ben.has_lot(lot))


async def test_an_offer_from_a_topic_nobody_here_listens_to_comes_by_sync(tmp_path: Path) -> None:
    async with street(Libp2pMaker(), tmp_path) as here:
        ann, ben = await here.open("ann", home=AWAY), await here.open("ben")
        await ben.join(ann)
        lot = await ann.list()
        await eventually(lambda: ben.has_lot(lot))


async def test_a_peer_of_another_network_is_left_alone(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    stranger = await lane.open("stranger", network_id=b"another" + bytes(25))
    await stranger.join(ann)
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    assert stranger.participant.chains.head_seq(ann.author) == 0
    assert ann.participant.chains.head_seq(stranger.author) == 0
    assert ann.network.peers()[stranger.network.peer_id].score == 0


# --- trades ----------------------------------------------------------------------------


async def test_a_trade_goes_all_the_way_and_the_rest_stays_on_offer(
    place: tuple[Maker, Path | None],
) -> None:
    async with street(*place) as here:
        ann, ben = await here.settle("ann", "ben")
        lot, trade = await confirmed(ann, ben)
        assert ann.participant.desk.code(ann.participant.desk.trade(trade)) is None
        await ann.participant.desk.handover(trade, ben.code(trade), None)
        await ben.sees(trade, State.IN_CUSTODY)
        await ben.participant.desk.receive(trade, None)
        await ann.sees(trade, State.DELIVERED)
        await ann.participant.desk.paid(trade, None)
        settled = await ben.sees(trade, State.SETTLED)
        assert not settled.faults
        await eventually(lambda: ben.remaining(lot) == ann.remaining(lot) == 473)


async def test_a_gift_settles_without_a_word_about_money(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    free = {"minor": 0, "per_amount": 1, "currency": "EUR"}
    _, trade = await confirmed(ann, ben, price=free)
    await ann.participant.desk.handover(trade, ben.code(trade), None)
    await ben.sees(trade, State.IN_CUSTODY)
    await ben.participant.desk.receive(trade, None)
    await ann.sees(trade, State.SETTLED)
    await ben.sees(trade, State.SETTLED)


async def test_less_than_agreed_can_be_handed_over_and_the_rest_goes_back(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot, trade = await confirmed(ann, ben)
    with pytest.raises(RefusedError, match="about 473, not 474"):
        await ann.participant.desk.handover(trade, ben.code(trade), 474)
    await ann.participant.desk.handover(trade, ben.code(trade), 400)
    await ben.sees(trade, State.IN_CUSTODY)
    await ben.participant.desk.receive(trade, None)
    await eventually(lambda: ben.remaining(lot) == 546)


async def test_a_receiver_who_got_less_disputes_and_the_giver_can_agree(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    _, trade = await confirmed(ann, ben)
    await ann.participant.desk.handover(trade, ben.code(trade), None)
    await ben.sees(trade, State.IN_CUSTODY)
    await ben.participant.desk.receive(trade, 100)
    await ann.sees(trade, State.DISPUTED)
    await ann.participant.desk.paid(trade, 50)
    await ben.sees(trade, State.SETTLED)


async def test_a_lister_can_decline(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot, trade = await proposed(ann, ben)
    await ann.participant.desk.cancel(trade, "Sorry, it leaks.")
    await ben.sees(trade, State.DECLINED)
    with pytest.raises(RefusedError, match="ended: DECLINED"):
        await ann.participant.desk.accept(trade)
    assert ann.remaining(lot) == 946


async def test_a_taker_can_cancel_before_it_is_confirmed(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot, trade = await proposed(ann, ben)
    await ben.participant.desk.cancel(trade)
    await ann.sees(trade, State.CANCELLED)
    assert ann.remaining(lot) == 946


async def test_nobody_leaves_a_confirmed_trade_by_cancel(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    _, trade = await confirmed(ann, ben)
    for household in (ann, ben):
        with pytest.raises(RefusedError, match=r"lister's turn|own turn: hand over"):
            await household.participant.desk.cancel(trade)


async def test_a_lister_can_release_until_it_has_committed(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot, trade = await proposed(ann, ben)
    await ben.stop()
    await ann.participant.desk.accept(trade)
    assert ann.remaining(lot) == 473
    await ann.participant.desk.cancel(trade)
    await ann.sees(trade, State.WITHDRAWN)
    assert ann.remaining(lot) == 946


async def test_what_nobody_confirms_is_released_without_being_asked(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot, trade = await proposed(ann, ben)
    await ben.stop()
    await ann.participant.desk.accept(trade)
    lane.pass_time(16 * MINUTE_MS, ann)
    await eventually(lambda: ann.remaining(lot) == 946)
    await ann.sees(trade, State.LAPSED)


async def test_what_nobody_fetches_is_released_without_being_asked(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot, trade = await confirmed(ann, ben)
    for household in (ann, ben):
        household.participant.chains.clock_guard.accept()
    lane.pass_time(49 * 60 * MINUTE_MS, ann, ben)
    await eventually(lambda: ann.remaining(lot) == 946)
    await ben.sees(trade, State.NO_SHOW)
    assert not ben.participant.desk.trade(trade).faults


async def test_a_reserve_that_came_too_late_to_count_is_released(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot, trade = await proposed(ann, ben)
    offer = ann.participant.chains.reader.record(lot)
    assert offer is not None
    lane.clock.ahead_ms += 3 * MINUTE_MS
    until_ms = lane.clock() + 30 * MINUTE_MS
    late = Draft(
        EntryType.RESERVE,
        (trade, lot),
        (until_ms, bytes(32)),
        move=Reserve(offer.entry.seq, 473),
    )
    await ann.participant.say([late])
    await eventually(lambda: ann.remaining(lot) == 946)


async def test_an_accept_after_the_time_to_answer_is_refused(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot, trade = await proposed(ann, ben)
    lane.pass_time(3 * MINUTE_MS, ann, ben)
    with pytest.raises(RefusedError, match="ended: LAPSED"):
        await ann.participant.desk.accept(trade)
    assert ann.remaining(lot) == 946


async def test_a_wrong_code_is_refused_and_changes_nothing(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    _, trade = await confirmed(ann, ben)
    before = ann.participant.chains.heads[ann.author]
    for wrong, words in (
        ("abandon abandon abandon abandon", "not the receiver's code"),
        ("", "has 4 words, not 0"),
        ("no such words here", "word"),
        ("ab\0cd é \ud800 x", "word"),
    ):
        with pytest.raises(LocalError, match=words):
            await ann.participant.desk.handover(trade, wrong, None)
    assert ann.participant.chains.heads[ann.author] == before
    await ann.participant.desk.handover(trade, ben.code(trade).upper() + " ", None)


async def test_a_step_out_of_turn_says_whose_turn_it_is(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    _, trade = await proposed(ann, ben)
    listers = f"the lister's turn \\({ann.author.hex()[:4]}…\\): accept or decline by 2"
    with pytest.raises(RefusedError, match=listers):
        await ben.participant.desk.accept(trade)
    with pytest.raises(RefusedError, match=listers):
        await ben.participant.desk.receive(trade, 473)
    for step in (
        ann.participant.desk.handover(trade, "a b c d", None),
        ann.participant.desk.paid(trade, None),
    ):
        with pytest.raises(RefusedError, match="your own turn: accept or decline"):
            await step
    await ann.participant.desk.accept(trade)
    await ben.sees(trade, State.CONFIRMED)
    with pytest.raises(RefusedError, match=r"lister's turn .*: hand over"):
        await ben.participant.desk.receive(trade, 473)


# --- cheats and races ------------------------------------------------------------------


async def say_propose(
    ben: Household, lot: bytes, amount: int, total_minor: int, *, salt: bytes = SALT
) -> bytes:
    """Let Ben's node, bent, propose whatever it likes."""
    terms = Terms((LotTerms(lot, amount, Unit.MILLILITRE, total_minor, "EUR"),))
    now_ms = ben.clock()
    facts = (terms_hash(SALT, terms), now_ms + MINUTE_MS, amount, 0, now_ms + 60 * MINUTE_MS)
    draft = Draft(EntryType.PROPOSE, (lot,), facts, encode_payload(Propose(terms, salt)))
    (record,) = await ben.participant.say([draft])
    return record.entry.id


async def test_price_bait_is_refused(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    for total_minor, salt, words in (
        (1, SALT, "terms differ"),
        (200, b"x" * 16, "not its own"),
    ):
        trade = await say_propose(ben, lot, 473, total_minor, salt=salt)
        await ann.sees(trade, State.PROPOSED)
        with pytest.raises(RefusedError, match=words):
            await ann.participant.desk.accept(trade)
    assert ann.remaining(lot) == 946


async def test_numbers_beyond_all_calendars_hold_up_neither_desk_nor_book(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    dear = Offer(
        name="gold", category="things", unit=Unit.PIECE, cell=HOME,
        price=Price(AMOUNT_MAX, 1, "EUR"), best_before_ms=AMOUNT_MAX, step=AMOUNT_MAX,
    )  # fmt: skip
    for until_ms in (0, AMOUNT_MAX, 2**64 - 1):
        await ben.participant.say(
            [
                Draft(
                    EntryType.OFFER,
                    facts=(topic_cell(HOME), until_ms),
                    payload=encode_payload(dear),
                    move=OpenLot(AMOUNT_MAX),
                )
            ]
        )
    terms = Terms((LotTerms(lot, 473, Unit.MILLILITRE, 200, "EUR"),))
    last = 2**64 - 1
    me = ann.participant
    shown = Shown(me.chains, me.market, me.desk, me.names, me.clock)
    trades = []
    for until_ms in (last, ann.clock() + 60 * MINUTE_MS):
        facts = (terms_hash(SALT, terms), last, 473, 0, until_ms)
        payload = encode_payload(Propose(terms, SALT))
        (record,) = await ben.participant.say([Draft(EntryType.PROPOSE, (lot,), facts, payload)])
        trades.append(record.entry.id)
        await ann.sees(trades[-1], State.PROPOSED)
        assert msgspec.json.encode(shown.trade(me.desk.trade(trades[-1]), entries=True))
    with pytest.raises(RefusedError, match="more than a year"):
        await me.desk.accept(trades[0])
    trade = trades[1]
    await me.desk.accept(trade)
    await ann.sees(trade, State.CONFIRMED)
    await ben.sees(trade, State.CONFIRMED)
    await me.desk.handover(trade, ben.code(trade), None)
    answer = msgspec.json.decode(
        msgspec.json.encode(shown.trade(me.desk.trade(trade), entries=True))
    )
    assert answer["state"] == "IN_CUSTODY"
    lots = me.market.near(Side.OFFER, radius_m=3000, limit=10)
    assert [shown.lot(each)["name"] for each, _ in lots].count("gold") == 1
    assert all(shown.lot(each)["total_minor"] <= AMOUNT_MAX for each, _ in lots)


async def test_more_than_is_left_is_refused_on_both_sides(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))
    with pytest.raises(RefusedError, match="Only 946 ml is left of this lot, not 947 ml"):
        await ben.participant.desk.propose(lot, 947)
    trade = await say_propose(ben, lot, 947, 401)
    await ann.sees(trade, State.PROPOSED)
    with pytest.raises(RefusedError, match="Only 946 ml is left of this lot, not 947 ml"):
        await ann.participant.desk.accept(trade)
    assert ann.remaining(lot) == 946


async def test_of_two_proposes_for_the_last_piece_one_is_accepted(lane: Street) -> None:
    ann, ben, cyd = await lane.settle("ann", "ben", "cyd")
    piece = {
        "unit": "H87",
        "amount": 1,
        "price": {"minor": 100, "per_amount": 1, "currency": "EUR"},
    }
    lot = await ann.list(**piece)
    trades = []
    for taker in (ben, cyd):
        await eventually(lambda taker=taker: taker.has_lot(lot))
        trades.append((await taker.participant.desk.propose(lot, None)).id)
    for trade in trades:
        await ann.sees(trade, State.PROPOSED)
    errors: list[RefusedError] = []

    async def accept(trade: bytes) -> None:
        try:
            await ann.participant.desk.accept(trade)
        except RefusedError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for trade in trades:
            nursery.start_soon(accept, trade)
    (error,) = errors
    assert "Nothing is left" in error.message
    await eventually(
        lambda: (
            sorted(ann.participant.desk.trade(trade).state for trade in trades)
            == [State.CONFIRMED, State.PROPOSED]
        )
    )


async def test_nobody_proposes_for_what_is_gone_over_or_their_own(lane: Street) -> None:
    ann, ben = await lane.settle("ann", "ben")
    lot = await ann.list(until_ms=lane.clock() + 60 * MINUTE_MS, step=100, minimum=200)
    await eventually(lambda: ben.has_lot(lot))
    propose = ben.participant.desk.propose
    with pytest.raises(RefusedError, match="own lot"):
        await ann.participant.desk.propose(lot, 473)
    with pytest.raises(RefusedError, match="not known"):
        await propose(bytes(32), 1)
    for amount, words in (
        (250, "steps of 100"),
        (100, "At least 200"),
        (0, "At least"),
        (-5, "At"),
    ):
        with pytest.raises(RefusedError, match=words):
            await propose(lot, amount)
    lane.clock.ahead_ms += 61 * MINUTE_MS
    with pytest.raises(RefusedError, match="has ended"):
        await propose(lot, 300)


# --- falling over and getting up ---------------------------------------------------------


async def test_a_restart_before_each_step_loses_nothing(tmp_path: Path) -> None:
    async with street(MemoryMaker(), tmp_path) as here:
        ann, ben = await here.settle("ann", "ben")
        lot = await ann.list()
        await eventually(lambda: ben.has_lot(lot))
        await ben.restart(ann)
        await eventually(lambda: ben.has_lot(lot))
        trade = (await ben.participant.desk.propose(lot, 473)).id
        await ann.sees(trade, State.PROPOSED)
        await ann.restart(ben)
        # Gone before it could confirm: whether Ben's node saw the reserve or not, it goes on.
        await ben.stop()
        await ann.participant.desk.accept(trade)
        await ann.restart()
        await ben.start()
        await ben.join(ann)
        await ann.sees(trade, State.CONFIRMED)
        await ben.sees(trade, State.CONFIRMED)
        await ben.restart(ann)
        await ann.restart(ben)
        await ann.participant.desk.handover(trade, ben.code(trade), None)
        await ben.restart(ann)
        await ben.sees(trade, State.IN_CUSTODY)
        await ben.participant.desk.receive(trade, None)
        await ann.restart(ben)
        await ann.sees(trade, State.DELIVERED)
        await ann.participant.desk.paid(trade, None)
        await ben.restart(ann)
        await ben.sees(trade, State.SETTLED)
        await eventually(lambda: ben.remaining(lot) == 473)


async def test_when_the_eager_neighbour_dies_another_takes_over(lane: Street) -> None:
    ann, ben, cyd = await lane.settle("ann", "ben", "cyd")
    dan = await lane.open("dan", home=AWAY)
    await dan.join(ben, cyd)
    await dan.vouch(ann)
    lots = [await ann.list()]
    await eventually(lambda: dan.has_lot(lots[0]))
    for _ in range(2):
        eager = dan.participant.replication._eager[ann.author]
        (household,) = [each for each in (ben, cyd) if each.network.peer_id == eager]
        await household.stop()
        lots.append(await ann.list())
        await eventually(lambda: dan.has_lot(lots[-1]))
        await household.start()
        await household.join(ann, dan)
        await eventually(lambda household=household: household.has_lot(lots[-1]))


def forked() -> tuple[Author, Author]:
    """Make an author that shows one offer to some and another to others."""
    one = Author("forker")
    one.genesis()
    other = one.fork(2)
    for branch, name in ((one, "for Ann"), (other, "for Ben")):
        offer = Offer(
            name=name, category="things", unit=Unit.PIECE, price=Price(1, 1, "EUR"), cell=HOME
        )
        branch.say(
            EntryType.OFFER,
            encode_payload(offer),
            stock=(2, 0, 0, 5, 5, 0),
            facts=(topic_cell(HOME), 2_000_000_000_000),
        )
    return one, other


async def test_a_fork_shown_to_two_is_frozen_on_both_and_leaves_both_books(
    place: tuple[Maker, Path | None],
) -> None:
    async with street(*place) as here:
        ann, ben = await here.open("ann"), await here.open("ben")
        branches = forked()
        for household, branch in zip((ann, ben), branches, strict=True):
            await household.participant.chains.admit(branch.records, Check.EACH)
            assert household.has_lot(branch.records[1].entry.id)
        await ben.join(ann)
        for household, branch in zip((ann, ben), branches, strict=True):
            await eventually(
                lambda it=household: it.participant.chains.is_frozen(branches[0].public)
            )
            assert not household.has_lot(branch.records[1].entry.id)
            assert household.participant.chains.reader.evidence(branch.public)
        await ann.restart(ben)
        await eventually(lambda: len(ann.participant.market.offers) == 0)
        with pytest.raises(RefusedError, match="forking"):
            await ann.participant.desk.propose(branches[0].records[1].entry.id, 1)


async def test_a_fork_told_by_gossip_is_proven_too(lane: Street) -> None:
    ann = await lane.open("ann")
    one, other = forked()
    await ann.participant.chains.admit(one.records, Check.EACH)
    lane.clock.ahead_ms = one.records[1].entry.at_ms - lane.clock()
    stranger = lane.maker.node("stranger")
    async with stranger.run():
        await stranger.connect(ann.network.addresses()[0])
        from passby.protocol.entry import encode_record
        from passby.protocol.topics import topic_for

        topic = topic_for(topic_cell(HOME))
        await stranger.subscribe(topic)
        with trio.fail_after(60):
            while not ann.participant.chains.is_frozen(one.public):
                await stranger.publish(topic, encode_record(other.records[1]))
                await trio.sleep(0.05)
