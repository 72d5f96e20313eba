"""Finding neighbours on the home network, with real multicast on loopback."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from passby.node.discovery_mdns import (
    MdnsDiscovery,
    Neighbour,
    advertisement,
    read_advertisement,
)

ANN = "12D3KooWMbbPVGsZYh3ChQjue712NHHGNybRRXwnuSpezYjGbCDS"
BOB = "12D3KooWCugzopk9fYBy1pvYVi94Qr2y9PL4CjSpYZUaXir3YWb7"
TOPIC = "/passby/1/85196953fffffff"
GOOD = {b"v": b"1", b"id": ANN.encode(), b"topic": TOPIC.encode()}


def test_what_we_advertise_is_what_others_read() -> None:
    info = advertisement(
        ANN,
        [
            f"/ip4/192.0.2.7/tcp/4710/p2p/{ANN}",
            f"/ip6/2001:db8::7/tcp/4710/p2p/{ANN}",
            f"/ip4/127.0.0.1/tcp/4710/p2p/{ANN}",
            f"/ip4/0.0.0.0/tcp/4710/p2p/{ANN}",
            "no address",
        ],
        TOPIC,
    )
    assert info is not None
    assert read_advertisement(info.properties, info.parsed_addresses(), info.port) == Neighbour(
        ANN,
        (f"/ip4/192.0.2.7/tcp/4710/p2p/{ANN}", f"/ip6/2001:db8::7/tcp/4710/p2p/{ANN}"),
        TOPIC,
    )


def test_a_node_that_only_listens_on_loopback_is_not_advertised() -> None:
    assert advertisement(ANN, [f"/ip4/127.0.0.1/tcp/4710/p2p/{ANN}"], TOPIC) is None


@pytest.mark.parametrize(
    ("properties", "addresses", "port"),
    [
        ({}, ["192.0.2.7"], 4710),
        (GOOD | {b"v": b"2"}, ["192.0.2.7"], 4710),
        (GOOD | {b"id": b"\xff\xfe"}, ["192.0.2.7"], 4710),
        (GOOD | {b"id": b"../../etc"}, ["192.0.2.7"], 4710),
        (GOOD | {b"id": None}, ["192.0.2.7"], 4710),
        (GOOD | {b"topic": b"\x1b[2J"}, ["192.0.2.7"], 4710),
        (GOOD, [], 4710),
        (GOOD, ["0.0.0.0", "224.0.0.1", "169.254.1.1", "fe80::1", "nonsense"], 4710),  # noqa: S104  # as sent by a stranger
        (GOOD, ["192.0.2.7"], None),
        (GOOD, ["192.0.2.7"], 0),
    ],
)
def test_a_record_that_is_no_passby_nodes_is_nobody(
    properties: dict[bytes, bytes | None], addresses: list[str], port: int | None
) -> None:
    assert read_advertisement(properties, addresses, port) is None


@given(
    st.dictionaries(st.sampled_from([b"v", b"id", b"topic"]), st.none() | st.binary()),
    st.lists(st.text() | st.ip_addresses().map(str)),
    st.none() | st.integers(),
)
def test_whatever_a_stranger_sends_is_read_or_refused(
    properties: dict[bytes, bytes | None], addresses: list[str], port: int | None
) -> None:
    found = read_advertisement(properties, addresses, port)
    assert found is None or found.addresses


async def test_two_nodes_on_one_network_find_each_other() -> None:
    loopback = ["127.0.0.1"]
    ann = MdnsDiscovery(ANN, [f"/ip4/127.0.0.1/tcp/4710/p2p/{ANN}"], TOPIC, loopback)
    bob = MdnsDiscovery(BOB, [f"/ip4/127.0.0.1/tcp/4711/p2p/{BOB}"], TOPIC, loopback)
    with trio.fail_after(60):
        async with ann.run(), bob.run():
            assert await bob.found.receive() == Neighbour(
                ANN, (f"/ip4/127.0.0.1/tcp/4710/p2p/{ANN}",), TOPIC
            )
            assert await ann.found.receive() == Neighbour(
                BOB, (f"/ip4/127.0.0.1/tcp/4711/p2p/{BOB}",), TOPIC
            )


async def test_a_network_without_multicast_leaves_the_node_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nowhere = MdnsDiscovery(ANN, [f"/ip4/192.0.2.7/tcp/4710/p2p/{ANN}"], TOPIC, ["192.0.2.7"])
    async with nowhere.run():
        pass
    assert "no neighbours by mDNS" in caplog.text
