"""What is taken of strangers, and of those who are vouched for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.ledger.authors import Author
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import BRAKE_FLUID, Household, Street, street

from passby.ledger.ingest import Check
from passby.node.listing import draft_of, read_listed
from passby.protocol.limits import UNVOUCHED_BYTES, UNVOUCHED_ENTRIES


@pytest.fixture
async def here() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as made:
        yield made


async def list_many(household: Household, count: int, text: str = "") -> None:
    listed = BRAKE_FLUID | ({"text": text} if text else {})
    draft = draft_of(read_listed(listed), household.home, household.clock())
    while count > 0:
        await household.participant.say([draft] * min(count, 100))
        count -= 100


def held(at: Household, of: Household) -> int:
    return at.participant.chains.head_seq(of.author)


def wanted(at: Household, of: Household) -> int:
    return at.participant.quotas.wanted_to(of.author)


async def test_of_a_stranger_the_first_entries_are_taken_and_of_a_friend_all(here: Street) -> None:
    ann, ben, cyd = await here.settle("ann", "ben", "cyd")
    await ben.vouch(ann)
    await list_many(ann, 300)
    await eventually(lambda: held(ben, ann) == 301)
    await eventually(lambda: held(cyd, ann) == wanted(cyd, ann) == UNVOUCHED_ENTRIES)


async def test_the_bytes_of_a_stranger_are_bounded_too(here: Street) -> None:
    ann, ben = await here.settle("ann", "ben")
    await list_many(ann, 60, "x" * 1400)
    await eventually(lambda: held(ben, ann) == wanted(ben, ann) > 1)
    size = ben.participant.chains.reader.footprint(ann.author).size
    assert UNVOUCHED_BYTES // 2 < size <= UNVOUCHED_BYTES
    assert held(ben, ann) < UNVOUCHED_ENTRIES


async def test_who_becomes_vouched_for_is_fetched_to_the_end_at_once(here: Street) -> None:
    ann, ben = await here.settle("ann", "ben")
    await list_many(ann, 200)
    await eventually(lambda: held(ben, ann) == UNVOUCHED_ENTRIES)
    await ben.vouch(ann)
    await eventually(lambda: held(ben, ann) == 201)
    lot = await ann.list()
    await eventually(lambda: ben.has_lot(lot))


async def test_a_vouch_that_is_taken_back_ends_the_following(here: Street) -> None:
    ann, ben = await here.settle("ann", "ben")
    await ben.vouch(ann)
    await list_many(ann, 100)
    await eventually(lambda: held(ben, ann) == 101)
    await ben.participant.circle.vouch(ann.author, stands=False)
    assert wanted(ben, ann) <= 101
    await ben.vouch(ann)
    await list_many(ann, 10)
    await eventually(lambda: held(ben, ann) == 111)


async def test_a_friend_s_friend_is_no_stranger(here: Street) -> None:
    ann, ben, cyd = await here.settle("ann", "ben", "cyd")
    await ann.vouch(ben)
    await ben.vouch(cyd)
    await list_many(cyd, 150)
    await eventually(lambda: held(ann, cyd) == 151)
    assert ann.participant.circle.has(cyd.author)


async def test_another_device_of_the_same_person_is_no_stranger(here: Street) -> None:
    phone = await here.open("phone")
    laptop = await here.open("laptop", of=phone)
    await laptop.join(phone)
    await list_many(phone, 150)
    await eventually(lambda: held(laptop, phone) == 151)


async def test_what_came_by_gossip_counts_like_what_came_by_sync(here: Street) -> None:
    ann = await here.open("ann")
    author = Author("stranger")
    author.genesis()
    for _ in range(100):
        author.note(b"\x80")
    quotas = ann.participant.quotas
    for record in author.records:
        await ann.participant.chains.admit(quotas.taken([record]), Check.EACH)
    assert ann.participant.chains.head_seq(author.public) == UNVOUCHED_ENTRIES
    assert len(quotas.taken(author.records)) == UNVOUCHED_ENTRIES


async def test_quotas_hold_over_a_restart(tmp_path: Path) -> None:
    async with street(MemoryMaker(), tmp_path) as here:
        ann, ben, cyd = await here.settle("ann", "ben", "cyd")
        await cyd.vouch(ann)
        await list_many(ann, 100)
        await eventually(lambda: held(ben, ann) == UNVOUCHED_ENTRIES)
        await eventually(lambda: held(cyd, ann) == 101)
        for each in (ben, cyd):
            await each.restart(ann)
        await list_many(ann, 10)
        await eventually(lambda: held(cyd, ann) == 111)
        assert held(ben, ann) == UNVOUCHED_ENTRIES
