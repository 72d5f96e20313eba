"""Attacks on invites: forged, replayed, stolen and expired tokens bring nobody in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, Street, street

from passby.node.invite import TOKEN_BYTES, Invite
from passby.node.joining import JOIN_PROTOCOL, Answer
from passby.node.net import Network
from passby.protocol.errors import LocalError, RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import INVITE_FOR_S, SCORE_CUT

MALLORY = SigningKey(b"mallory" + bytes(25)).public


@pytest.fixture
async def here() -> AsyncIterator[Street]:
    async with street(MemoryMaker()) as made:
        yield made


async def present(to: Household, said: bytes, by: Network) -> bytes:
    """Return what Ann answers to raw bytes; nothing where she resets the stream."""
    await by.connect(to.address)
    stream = await by.open_stream(to.network.peer_id, JOIN_PROTOCOL)
    try:
        await stream.send_all(said)
        await stream.close()
        return await stream.receive_some()
    except RemoteError:
        return b""


def token_of(ann: Household) -> bytes:
    token = Invite.parse(ann.participant.joining.invite(ann.home, "ann").link()).token
    assert token is not None
    return token


async def test_a_forged_token_is_refused_and_charged(here: Street) -> None:
    ann, mallory = await here.open("ann"), await here.open("mallory")
    good = token_of(ann)
    late = (int.from_bytes(good[:4], "big") + 1).to_bytes(4, "big") + good[4:]
    flipped = [bytes(b ^ (at == n) for at, b in enumerate(good)) for n in range(TOKEN_BYTES)]
    for token in (bytes(TOKEN_BYTES), late, *flipped[:3]):
        assert await present(ann, MALLORY + token, mallory.network) == b""
    assert ann.participant.circle.vouched_for() == []
    (score,) = [each.score for each in ann.network.peers().values()]
    assert SCORE_CUT < score < 0


async def test_who_guesses_on_is_cut_off(here: Street) -> None:
    ann, mallory = await here.open("ann"), await here.open("mallory")

    async def guess_on() -> None:
        for guess in range(50):
            await present(ann, MALLORY + guess.to_bytes(TOKEN_BYTES, "big"), mallory.network)

    with pytest.raises((LocalError, RemoteError)):
        await guess_on()
    await eventually(lambda: mallory.network.peer_id not in ann.network.peers())
    assert ann.participant.circle.vouched_for() == []


async def test_a_replayed_token_lets_nobody_else_in(here: Street) -> None:
    ann, ben, mallory = [await here.open(name) for name in ("ann", "ben", "mallory")]
    token = token_of(ann)
    assert await present(ann, ben.author + token, ben.network) == bytes([Answer.WELCOME])
    # By then everybody can read it in the vouch.
    assert await present(ann, MALLORY + token, mallory.network) == bytes([Answer.SPENT])
    assert ann.participant.circle.vouched_for() == [ben.author]


async def test_an_expired_token_lets_nobody_in(here: Street) -> None:
    ann, mallory = await here.open("ann"), await here.open("mallory")
    token = token_of(ann)
    here.pass_time((INVITE_FOR_S + 1) * 1000)
    assert await present(ann, MALLORY + token, mallory.network) == bytes([Answer.OVER])
    assert ann.participant.circle.vouched_for() == []


async def test_another_inviter_s_token_is_worth_nothing(here: Street) -> None:
    ann, ben, mallory = [await here.open(name) for name in ("ann", "ben", "mallory")]
    assert await present(ann, MALLORY + token_of(ben), mallory.network) == b""
    assert ann.participant.circle.vouched_for() == []


async def test_no_token_makes_a_node_vouch_for_itself_or_for_no_key(here: Street) -> None:
    ann, mallory = await here.open("ann"), await here.open("mallory")
    for key in (ann.author, bytes(32), b"\xff" * 32):
        assert await present(ann, key + token_of(ann), mallory.network) == b""
    assert ann.participant.circle.vouched_for() == []


async def test_half_a_token_is_waited_for_by_nobody_else(here: Street) -> None:
    ann, ben, mallory = [await here.open(name) for name in ("ann", "ben", "mallory")]
    assert await present(ann, MALLORY + token_of(ann)[:-1], mallory.network) == b""
    assert await present(ann, ben.author + token_of(ann), ben.network) == bytes([Answer.WELCOME])
