"""What only the real network has: a process that stays quiet, and leaves when told."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256

import pytest
import trio
from tests.node.networks import Ear, eventually

from passby.node.net_libp2p import Libp2pNetwork
from passby.node.net_libp2p.host import _reachable
from passby.protocol import limits

TWO_NODES_MEET_AND_LEAVE = """
import trio
from passby.node.net_libp2p import Libp2pNetwork

nobody = Libp2pNetwork(bytes(32), []).peer_id

async def main():
    a, b = (Libp2pNetwork(bytes([n]) * 32, ["/ip4/127.0.0.1/tcp/0"]) for n in (1, 2))
    async with a.run(), b.run():
        await a.subscribe("t")
        await b.subscribe("t")
        await a.connect(b.addresses()[0])
        await a.publish("t", b"hello")
        await (await a.open_stream(b.peer_id, "/ipfs/id/1.0.0")).receive_some()
        try:
            await a.connect(f"/ip4/127.0.0.1/tcp/1/p2p/{nobody}")
        except Exception as error:
            print(error)

trio.run(main)
print("left")
"""


def test_a_process_with_the_network_says_nothing_of_its_own_and_exits_zero() -> None:
    clean = {name: value for name, value in os.environ.items() if "LIBP2P" not in name}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TWO_NODES_MEET_AND_LEAVE],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["left"]
    assert done.stdout.startswith("Nobody who speaks passby answers")
    assert done.returncode == 0


@pytest.mark.parametrize("steps", [0, 1, 3, 10])
async def test_a_network_that_is_left_while_it_starts_is_left(steps: int) -> None:
    network = Libp2pNetwork(bytes([3]) * 32, ["/ip4/127.0.0.1/tcp/0"])

    async def run() -> None:
        async with network.run():
            await trio.sleep_forever()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


def test_a_seed_gives_always_the_same_peer_id() -> None:
    ids = {Libp2pNetwork(bytes(32), []).peer_id for _ in range(2)}
    assert ids == {"12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"}


def test_a_wildcard_is_shown_as_addresses_that_others_can_dial() -> None:
    assert _reachable("/ip4/192.0.2.7/tcp/4710") == ["/ip4/192.0.2.7/tcp/4710"]
    own = _reachable("/ip4/0.0.0.0/tcp/4710")
    assert own[-1] == "/ip4/127.0.0.1/tcp/4710"
    assert not any(one.startswith("/ip4/0.") for one in own)


async def test_a_node_on_all_interfaces_is_reached_at_each_of_its_addresses() -> None:
    a = Libp2pNetwork(sha256(b"a").digest(), ["/ip4/0.0.0.0/tcp/0"])
    async with a.run():
        for n, address in enumerate(a.addresses()):
            b = Libp2pNetwork(sha256(b"b%d" % n).digest(), [])
            async with b.run():
                assert await b.connect(address) == a.peer_id


async def test_the_round_trip_time_is_known_once_a_ping_came_back() -> None:
    a, b = (Libp2pNetwork(sha256(name).digest(), ["/ip4/127.0.0.1/tcp/0"]) for name in (b"a", b"b"))
    async with a.run(), b.run():
        await a.connect(b.addresses()[0])
        await eventually(lambda: a.peers()[b.peer_id].rtt_ms)


async def test_a_message_over_the_bound_is_our_own_bug() -> None:
    a = Libp2pNetwork(bytes(32), [])
    async with a.run():
        with pytest.raises(ValueError, match="GOSSIP_BUNDLE_MAX"):
            await a.publish("t", bytes(limits.GOSSIP_BUNDLE_MAX + 1))


async def test_a_late_subscriber_hears_what_was_said_a_moment_ago() -> None:
    a, b = (Libp2pNetwork(sha256(name).digest(), ["/ip4/127.0.0.1/tcp/0"]) for name in (b"a", b"b"))
    ear = Ear()
    b.on_gossip(ear)
    async with a.run(), b.run():
        await a.subscribe("t")
        await a.connect(b.addresses()[0])
        await a.publish("t", b"before")
        await b.subscribe("t")
        await eventually(lambda: b"before" in ear.data())


async def test_leaving_hangs_up_on_every_peer() -> None:
    hub = Libp2pNetwork(bytes(32), ["/ip4/127.0.0.1/tcp/0"])
    others = [Libp2pNetwork(sha256(b"%d" % n).digest(), []) for n in range(12)]
    stop = trio.Event()

    async def live(network: Libp2pNetwork, task_status: trio.TaskStatus[None]) -> None:
        async with network.run():
            task_status.started()
            await stop.wait()

    async with trio.open_nursery() as nursery:
        async with hub.run():
            for other in others:
                await nursery.start(live, other)
                await other.connect(hub.addresses()[0])
            await eventually(lambda: len(hub.peers()) == len(others))
        for other in others:
            await eventually(lambda other=other: not other.peers())
        stop.set()
