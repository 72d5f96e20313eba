"""Queues, shares and standing rules: who gets what, and who is next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import MINUTE_MS, Household, Street, street

from passby.node.participant import Private
from passby.node.rules import parse_rules
from passby.protocol.errors import ConfigError, RefusedError, UsageError
from passby.protocol.limits import CONFIRM_WITHIN_S
from passby.protocol.trade import State

HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
FREE = {"minor": 0, "per_amount": 1, "currency": "EUR"}
LONG_S = 3 * 24 * 3600


@pytest.fixture
async def lane() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as here:
        yield here


async def ask(
    taker: Household,
    lister: Household,
    lot: bytes,
    amount: int = 946,
    by_ms: int | None = None,
) -> bytes:
    """Let the taker propose, as a backup if need be, and the lister hear of it."""
    await eventually(lambda: taker.has_lot(lot) or taker.participant.chains.reader.lot(lot))
    trade = await taker.participant.desk.propose(
        lot, amount, respond_within_s=LONG_S, handover_until_ms=by_ms, backup=True
    )
    await lister.sees(trade.id, State.PROPOSED)
    return trade.id


def queue(who: Household, trade: bytes) -> None:
    who.participant.backups.add(who.participant.desk.trade(trade))
    who.participant.desk.look()


async def test_the_next_in_the_queue_is_accepted_when_the_first_does_not_come(
    lane: Street,
) -> None:
    ann, ben, cem, dia = await lane.settle("ann", "ben", "cem", "dia")
    lot = await ann.list()
    soon_ms, late_ms = ann.clock() + 2 * HOUR_MS, ann.clock() + DAY_MS
    first = await ask(ben, ann, lot, by_ms=soon_ms)
    too_early = await ask(dia, ann, lot, by_ms=soon_ms)
    second = await ask(cem, ann, lot, by_ms=late_ms)
    await ann.participant.desk.accept(first)
    await ben.sees(first, State.CONFIRMED)
    queue(ann, too_early)
    queue(ann, second)
    with pytest.raises(RefusedError):
        queue(ann, first)
    assert ann.participant.desk.trade(second).state is State.PROPOSED
    lane.pass_time(2 * HOUR_MS + MINUTE_MS, ann, ben, cem, dia)
    # Ben has not come; Dia could not any more.
    await cem.sees(second, State.CONFIRMED)
    assert ann.participant.desk.trade(first).state is State.NO_SHOW
    assert ann.participant.desk.trade(too_early).state is State.PROPOSED
    assert not ann.participant.backups.has(second)


async def test_a_backup_taker_gets_what_the_first_did_not_confirm(lane: Street) -> None:
    ann, ben, cem = await lane.settle("ann", "ben", "cem")
    lot = await ann.list()
    first = await ask(ben, ann, lot)
    second = await ask(cem, ann, lot, by_ms=ann.clock() + DAY_MS)
    await ben.stop()
    await ann.participant.desk.accept(first)
    await ann.sees(first, State.RESERVED)
    queue(ann, second)
    assert ann.participant.backups.has(second)
    lane.pass_time(CONFIRM_WITHIN_S * 1000 + MINUTE_MS, ann, cem)
    await cem.sees(second, State.CONFIRMED)
    assert ann.participant.desk.trade(first).state is State.LAPSED
    assert not ann.participant.desk.trade(first).faults


async def test_the_queue_is_kept_in_its_order_and_across_a_restart(
    lane: Street, tmp_path: Path
) -> None:
    ann, ben, cem, dia = await lane.settle("ann", "ben", "cem", "dia")
    ann.private = Private(queue_path=tmp_path / "queue.json")
    await ann.restart(ben, cem, dia)
    lot = await ann.list()
    until_ms = ann.clock() + DAY_MS
    first = await ask(ben, ann, lot)
    second = await ask(dia, ann, lot, by_ms=until_ms)
    third = await ask(cem, ann, lot, by_ms=until_ms)
    await ben.stop()
    await ann.participant.desk.accept(first)
    queue(ann, third)
    queue(ann, second)
    await ann.restart(cem, dia)
    # A greeting under way would tell of the time before it was turned on.
    await eventually(lambda: sum(ann.participant.replication.synced_peers.values()) == 2)
    lane.pass_time(CONFIRM_WITHIN_S * 1000 + MINUTE_MS, ann, cem, dia)
    await cem.sees(third, State.CONFIRMED)
    assert ann.participant.desk.trade(second).state is State.PROPOSED
    assert ann.participant.backups.has(second)


async def test_one_person_gets_no_more_than_its_share(lane: Street) -> None:
    ann, ben, cem = await lane.settle("ann", "ben", "cem")
    await ann.vouch(ben, cem)
    lot = await ann.list(per_person=400, per_day=250, price=FREE)
    await eventually(lambda: ben.has_lot(lot) and cem.has_lot(lot))
    with pytest.raises(RefusedError, match="at most"):
        await ben.participant.desk.propose(lot, 251)
    first, second = await ask(ben, ann, lot, 200), await ask(ben, ann, lot, 100)
    await ann.participant.desk.accept(first)
    with pytest.raises(RefusedError, match="in a day"):
        await ann.participant.desk.accept(second)
    other = await ask(cem, ann, lot, 250)
    await ann.participant.desk.accept(other)
    await cem.sees(other, State.CONFIRMED)
    with pytest.raises(UsageError, match="share"):
        await ann.list(per_person=1, minimum=2)


RULE = """
[[accept]]
to = "followed"
expires_within_days = 2
free = true
"""


async def test_what_soon_expires_goes_to_the_first_whom_one_follows_by_a_rule(
    lane: Street, tmp_path: Path
) -> None:
    ann, ben, cem = await lane.settle("ann", "ben", "cem")
    ann.private = Private(rules_path=tmp_path / "rules.toml")
    (tmp_path / "rules.toml").write_text(RULE, encoding="utf-8")
    await ann.restart(ben, cem)
    ann.participant.following.add(cem.author, ann.clock())
    soon = await ann.list(price=FREE, best_before_ms=ann.clock() + DAY_MS)
    later = await ann.list(price=FREE, best_before_ms=ann.clock() + 9 * DAY_MS)
    dear = await ann.list(best_before_ms=ann.clock() + DAY_MS)
    unasked = [await ask(ben, ann, soon), await ask(cem, ann, later), await ask(cem, ann, dear)]
    taken = await ask(cem, ann, soon)
    await cem.sees(taken, State.CONFIRMED)
    for trade in unasked:
        assert ann.participant.desk.trade(trade).state is State.PROPOSED


async def test_strangers_starve_no_shelf_however_the_rules_are(
    lane: Street, tmp_path: Path
) -> None:
    ann, eve, mal = await lane.settle("ann", "eve", "mal")
    (tmp_path / "rules.toml").write_text('[[accept]]\nto = "vouched"\n', encoding="utf-8")
    ann.private = Private(rules_path=tmp_path / "rules.toml")
    await ann.restart(eve, mal)
    lot = await ann.list(price=FREE)
    asked = [await ask(eve, ann, lot, 100), await ask(mal, ann, lot, 100)]
    ben = await lane.open("ben")
    await ben.join(ann)
    await ann.vouch(ben)
    taken = await ask(ben, ann, lot, 100)
    await ben.sees(taken, State.CONFIRMED)
    assert [ann.participant.desk.trade(trade).state for trade in asked] == [State.PROPOSED] * 2
    await ann.participant.desk.accept(asked[0])
    more = await ask(eve, ann, lot, 100)
    with pytest.raises(RefusedError, match="one lot set aside"):
        await ann.participant.desk.accept(more)


@pytest.mark.parametrize(
    "text",
    [
        "accept = 1",
        '[[accept]]\nto = "everybody"',
        '[[accept]]\nto = "vouched"\nfrea = true',
        "[[accept]]\nfree = true",
        '[[give]]\nto = "vouched"',
        "[[accept",
    ],
)
def test_rules_that_are_not_understood_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_rules(text, "rules.toml")
