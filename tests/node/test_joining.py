"""Joining by invite: both sides vouch for each other."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import BRAKE_FLUID, Household, Street, street

from passby.node.invite import SCHEME, Invite
from passby.node.joining import Answer
from passby.node.listing import draft_of, read_listed
from passby.protocol.errors import LocalError, UsageError
from passby.protocol.limits import INVITE_FOR_S


@pytest.fixture
async def here() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as made:
        yield made


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def invited(by: Household) -> str:
    return by.participant.joining.invite(by.home, by.name).link()


async def use(household: Household, link: str) -> Answer | None:
    _peer, answer = await household.participant.joining.join(link)
    return answer


def vouched(by: Household) -> list[bytes]:
    return by.participant.circle.vouched_for()


def test_an_invite_comes_back_from_its_link() -> None:
    made = Invite(("/ip4/192.0.2.7/tcp/4411/p2p/12D3Koo",), "85", "Anna", b"a" * 32, b"t" * 16)
    assert Invite.parse(made.link()) == made
    old = Invite(made.addresses, made.cell, made.name)
    assert Invite.parse(old.link()) == old


@pytest.mark.parametrize(
    ("author", "token"), [(b"a" * 31, b"t" * 16), (b"a" * 32, b"t" * 15), (b"", b"")]
)
def test_an_invite_with_half_a_key_is_none(author: bytes, token: bytes) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Invite.parse(Invite((), "85", "Anna", author, token).link())


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: SCHEME + b64(b)))
def test_any_text_is_an_invite_or_is_said_to_be_none(text: str) -> None:
    try:
        made = Invite.parse(text)
    except UsageError:
        return
    assert Invite.parse(made.link()) == made


async def test_an_invite_vouches_both_ways_and_all_is_taken(here: Street) -> None:
    ann, ben = await here.open("ann"), await here.open("ben")
    assert await use(ben, invited(ann)) is Answer.WELCOME
    assert vouched(ann) == [ben.author]
    assert vouched(ben) == [ann.author]
    draft = draft_of(read_listed(BRAKE_FLUID), ann.home, ann.clock())
    await ann.participant.say([draft] * 100)
    await eventually(lambda: ben.participant.chains.head_seq(ann.author) == 102)


async def test_a_bare_address_or_an_invite_of_old_brings_no_vouch(here: Street) -> None:
    ann, ben = await here.open("ann"), await here.open("ben")
    assert await use(ben, ann.address) is None
    assert await use(ben, Invite((ann.address,), "85", "ann").link()) is None
    assert vouched(ann) == vouched(ben) == []


async def test_the_same_neighbour_may_use_an_invite_again(here: Street) -> None:
    ann, ben = await here.open("ann"), await here.open("ben")
    link = invited(ann)
    assert await use(ben, link) is Answer.WELCOME
    seq = ann.participant.chains.head_seq(ann.author)
    assert await use(ben, link) is Answer.WELCOME
    assert ann.participant.chains.head_seq(ann.author) == seq


async def test_an_invite_by_two_who_vouch_already_is_spent_all_the_same(here: Street) -> None:
    ann, ben, cyd = [await here.open(name) for name in ("ann", "ben", "cyd")]
    await ann.vouch(ben)
    link = invited(ann)
    assert await use(ben, link) is Answer.WELCOME
    assert await use(cyd, link) is Answer.SPENT
    assert vouched(ann) == [ben.author]


async def test_an_invite_ends(here: Street) -> None:
    ann, ben = await here.open("ann"), await here.open("ben")
    link = invited(ann)
    here.pass_time((INVITE_FOR_S + 1) * 1000)
    assert await use(ben, link) is Answer.OVER
    assert vouched(ann) == vouched(ben) == []


async def test_a_used_invite_is_known_after_a_restart(tmp_path: Path) -> None:
    async with street(MemoryMaker(), tmp_path) as here:
        ann, ben, cyd = [await here.open(name) for name in ("ann", "ben", "cyd")]
        link = invited(ann)
        assert await use(ben, link) is Answer.WELCOME
        unused = invited(ann)
        await ann.restart()
        assert await use(cyd, link) is Answer.SPENT
        assert await use(cyd, unused) is Answer.WELCOME
        assert vouched(ann) == [ben.author, cyd.author]


async def test_who_took_back_a_vouch_is_not_talked_into_it_by_the_old_invite(here: Street) -> None:
    ann, ben = await here.open("ann"), await here.open("ben")
    link = invited(ann)
    await use(ben, link)
    await ann.participant.circle.vouch(ben.author, stands=False)
    assert await use(ben, link) is Answer.WELCOME
    assert vouched(ann) == []


async def test_an_invite_where_nobody_answers_says_so(here: Street) -> None:
    ann, ben = await here.open("ann"), await here.open("ben")
    link = invited(ann)
    await ann.stop()
    with pytest.raises(LocalError):
        await use(ben, link)
    with pytest.raises(UsageError, match="names no address"):
        await use(ben, Invite((), "85", "ann").link())
    assert vouched(ben) == []
