"""Finding neighbours on the home network by multicast DNS (RFC 6762, RFC 6763).

We advertise a `_passby._tcp.local.` service with our peer id and the topic of our coarse
cell in its TXT record, and hand on whoever else does. What comes back is what somebody on
the network claims: the handshake proves it or not.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from passby.node.net import PeerId
from passby.protocol import limits

SERVICE: Final = "_passby._tcp.local."
_log = logging.getLogger("passby.mdns")
_PEER_ID: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,63}", re.ASCII)
"""Base58 in one DNS label."""
_TOPIC: Final = re.compile(r"[A-Za-z0-9._/:-]*", re.ASCII)
_ADDRESS: Final = re.compile(r"/(ip4|ip6)/([^/]+)/tcp/(\d{1,5})(/p2p/.*)?")
_RESOLVE_MS: Final = 1500
_VERSION: Final = b"1"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Somebody on the home network who says to be a passby node."""

    peer: PeerId
    addresses: tuple[str, ...]
    """Full multiaddrs, at least one."""
    topic: str
    """The gossip topic of its coarse cell; may be empty."""


class MdnsDiscovery:
    """Advertises this node and finds others.

    Args:
        peer_id: ours.
        addresses: our multiaddrs, as `Network.addresses()` gives them. Loopback ones are
            left out unless `interfaces` names loopback.
        topic: the gossip topic of our coarse cell.
        interfaces: IPv4 addresses of the interfaces to use; None means all of them.
    """

    def __init__(
        self,
        peer_id: PeerId,
        addresses: Sequence[str],
        topic: str,
        interfaces: Sequence[str] | None = None,
    ) -> None:
        self._peer_id = peer_id
        self._interfaces = list(interfaces) if interfaces is not None else None
        self._info = advertisement(peer_id, addresses, topic, with_loopback=interfaces is not None)
        self._found_in, self.found = trio.open_memory_channel[Neighbour](limits.MDNS_FOUND_MAX)
        """Neighbours, each again when it changes. When nobody reads, new ones are dropped."""

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Advertise and listen while the block lasts.

        Without multicast the log says so, and nothing is found: the other ways to find
        neighbours must not fall with this one.
        """
        token = trio.lowlevel.current_trio_token()
        zeroconf: Zeroconf | None = None
        try:
            zeroconf = await trio.to_thread.run_sync(self._start, token)
        except Exception as error:  # noqa: BLE001  # OSError and zeroconf's own, by platform
            _log.warning("no neighbours by mDNS: %r", error)
        try:
            yield
        finally:
            self._found_in.close()
            if zeroconf is not None:
                with trio.CancelScope(shield=True), trio.move_on_after(limits.LEAVE_WITHIN_S):
                    await trio.to_thread.run_sync(_stop, zeroconf, abandon_on_cancel=True)

    def _start(self, token: trio.lowlevel.TrioToken) -> Zeroconf:
        """Open the sockets, in a thread; zeroconf runs its own loop in another."""
        for interface in self._interfaces or ():
            # zeroconf leaves its sockets open when it fails at this.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((interface, 0))
        zeroconf = (
            Zeroconf(ip_version=IPVersion.V4Only)
            if self._interfaces is None
            else Zeroconf(interfaces=self._interfaces)
        )
        try:
            if self._info is not None:
                zeroconf.register_service(self._info, allow_name_change=False)

            def changed(
                zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
            ) -> None:
                if state_change is ServiceStateChange.Removed or name.startswith(self._peer_id):
                    return
                try:
                    info = zeroconf.get_service_info(service_type, name, timeout=_RESOLVE_MS)
                    neighbour = (
                        None
                        if info is None
                        else read_advertisement(info.properties, info.parsed_addresses(), info.port)
                    )
                    if neighbour is not None and neighbour.peer != self._peer_id:
                        token.run_sync_soon(self._tell, neighbour)
                except Exception as error:  # noqa: BLE001  # a stranger's packet, or we are leaving
                    _log.debug("mDNS answer of %r: %r", name, error)

            ServiceBrowser(zeroconf, SERVICE, handlers=[changed])
        except BaseException:
            zeroconf.close()
            raise
        return zeroconf

    def _tell(self, neighbour: Neighbour) -> None:
        try:
            self._found_in.send_nowait(neighbour)
        except trio.WouldBlock:
            _log.debug("nobody reads mDNS: %r dropped", neighbour)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            _log.debug("found too late: %r", neighbour)


def _stop(zeroconf: Zeroconf) -> None:
    zeroconf.unregister_all_services()
    zeroconf.close()


def advertisement(
    peer_id: PeerId, addresses: Sequence[str], topic: str, *, with_loopback: bool = False
) -> ServiceInfo | None:
    """Build our service record; None when no address can be reached by another machine."""
    port = 0
    packed: list[bytes] = []
    for text in addresses:
        match = _ADDRESS.fullmatch(text)
        if match is None:
            continue
        ip = ipaddress.ip_address(match[2])
        if ip.is_unspecified or (ip.is_loopback and not with_loopback):
            continue
        # One service has one port: the first address's.
        port = port or int(match[3])
        if int(match[3]) == port and ip.packed not in packed:
            packed.append(ip.packed)
    if not packed:
        return None
    return ServiceInfo(
        SERVICE,
        f"{peer_id}.{SERVICE}",
        port=port,
        addresses=packed[: limits.MDNS_ADDRESSES_MAX],
        properties={"v": _VERSION, "id": peer_id, "topic": topic},
        server=f"{peer_id}.local.",
    )


def read_advertisement(
    properties: Mapping[bytes, bytes | None], addresses: Sequence[str], port: int | None
) -> Neighbour | None:
    """Read a stranger's record; None for whatever is no passby node's. Never raises."""
    peer = _text(properties.get(b"id"))
    topic = _text(properties.get(b"topic") or b"")
    if (
        properties.get(b"v") != _VERSION
        or peer is None
        or topic is None
        or _PEER_ID.fullmatch(peer) is None
        or _TOPIC.fullmatch(topic) is None
        or port is None
        or not 0 < port < 2**16
    ):
        return None
    multiaddrs: list[str] = []
    for text in addresses[: limits.MDNS_ADDRESSES_MAX]:
        try:
            ip = ipaddress.ip_address(text)
        except ValueError:
            continue
        # A link-local address means nothing without its interface.
        if not (ip.is_unspecified or ip.is_multicast or ip.is_link_local):
            multiaddrs.append(f"/ip{ip.version}/{ip.compressed}/tcp/{port}/p2p/{peer}")
    return Neighbour(peer, tuple(multiaddrs), topic) if multiaddrs else None


def _text(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode("ascii")
    except UnicodeDecodeError:
        return None
