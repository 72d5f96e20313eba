"""The Network contract over libp2p: one host, its peers, and keeping them."""

from __future__ import annotations

import errno
import logging
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio
from libp2p.abc import INotifee
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from passby.node.keeper import Keeper
from passby.node.net import (
    GossipVerdict,
    Judge,
    NetEvent,
    PeerConnected,
    PeerConnection,
    PeerDisconnected,
    PeerId,
    PortTakenError,
    StreamHandler,
    judge_safely,
    serve_stream,
)
from passby.node.net_libp2p.gossip import new_pubsub
from passby.node.net_libp2p.guards import new_host, run_service
from passby.node.net_libp2p.stream import Libp2pStream
from passby.node.standing import Standing
from passby.protocol import limits
from passby.protocol.errors import Code, LocalError, RemoteError, UsageError

_log = logging.getLogger("passby.net")


@dataclass(slots=True)
class _Live:
    """A connected peer."""

    since_s: float
    outbound: bool


class Libp2pNetwork:
    """A node on the real network; see `passby.node.net.Network` for what it promises.

    Args:
        transport_seed: 32 bytes; the peer id follows from them.
        listen: multiaddrs to listen on; port 0 lets the system choose.
        dice: for the jitter of redials.

    Raises:
        UsageError: a listen address is no /ip4 or /ip6 address with a TCP port.
    """

    def __init__(
        self, transport_seed: bytes, listen: list[str], dice: random.Random | None = None
    ) -> None:
        self._listen = [_listen_address(text) for text in listen]
        self._host = new_host(create_new_key_pair(transport_seed))
        self._swarm = self._host.get_network()
        self._pubsub, self._router = new_pubsub(
            self._host, self._admit, self.penalise, self._is_muted
        )
        self._swarm.register_notifee(_Notifee(self))
        self._judge: Judge | None = None
        self._standing = Standing()
        self._live: dict[PeerId, _Live] = {}
        self._dialled: dict[PeerId, str] = {}
        self._keeper = Keeper(
            self._dial,
            self._live.__contains__,
            dice or random.Random(),  # noqa: S311  # jitter, not a secret
        )
        self._events_in, self.events = trio.open_memory_channel[NetEvent](limits.NET_EVENTS_MAX)
        self._nursery: trio.Nursery | None = None
        self._has_run = False
        self._leaving = trio.Event()
        self.peer_id: PeerId = str(self._host.get_id())

    # --- running -----------------------------------------------------------------------

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `passby.node.net.Network`."""
        if self._has_run:
            raise RuntimeError("a network runs once")
        self._has_run = True
        for address in self._listen:
            _check_free(address)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            try:
                # Cancelled in the middle of it, trio would wait for the start, and the start for
                # the event below, for ever.
                with trio.CancelScope(shield=True):
                    await nursery.start(self._hold)
                failure = self._not_listening()
                if failure is None:
                    self._nursery = nursery
                    self._keeper.start(nursery)
                    yield
            except Exception as error:  # noqa: BLE001  # raised again below, outside a group
                failure = error
            finally:
                self._nursery = None
                self._keeper.stop()
                # Not only cancelled: what holds libp2p is shielded, and leaves by this event.
                self._leaving.set()
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _hold(self, task_status: trio.TaskStatus[None]) -> None:
        """Hold libp2p's services. Shielded: cancelled in the open they leave sockets behind."""
        try:
            with trio.CancelScope(shield=True) as scope:
                async with (
                    run_service(self._swarm),
                    run_service(self._router),
                    run_service(self._pubsub),
                ):
                    await self._pubsub.wait_until_ready()
                    await self._swarm.listen(*self._listen)
                    task_status.started()
                    await self._leaving.wait()
                    scope.deadline = trio.current_time() + limits.LEAVE_WITHIN_S
                    await self._say_goodbye()
        except* Exception as errors:  # the network is being left: nobody can act on this
            if not self._leaving.is_set():
                raise
            _log.info("leaving the network: %r", errors)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(0.3):
                for listener in list(self._swarm.listeners.values()):
                    await listener.close()
            self._events_in.close()

    async def _say_goodbye(self) -> None:
        with trio.move_on_after(limits.LEAVE_WITHIN_S / 2):
            async with trio.open_nursery() as nursery:
                for peer in list(self._swarm.connections):
                    nursery.start_soon(self._hang_up, peer)

    async def _hang_up(self, peer: ID) -> None:
        try:
            await self._swarm.close_peer(peer)
        except Exception as error:  # noqa: BLE001  # closed is closed
            _log.debug("hanging up on %s: %r", peer, error)

    def _not_listening(self) -> LocalError | None:
        for address in self._listen:
            if str(address) not in self._swarm.listeners:
                return _taken(address)
        return None

    def addresses(self) -> list[str]:
        """See `passby.node.net.Network`."""
        found: list[str] = []
        for address in self._host.get_transport_addrs():
            found.extend(f"{one}/p2p/{self.peer_id}" for one in _reachable(str(address)))
        return found

    # --- peers -------------------------------------------------------------------------

    async def connect(self, address: str) -> PeerId:
        """See `passby.node.net.Network`."""
        self._running()
        name = str(_peer_address(address)[0])
        if name == self.peer_id:
            raise UsageError("That is this node's own address.", "give a neighbour's")
        if self._is_muted(name):
            raise LocalError(f"{name} broke the rules and is kept out.", "try again in an hour")
        if name not in self._live:
            await self._dial(address)
        self._keeper.keep(name, address)
        return name

    async def _dial(self, address: str) -> None:
        peer, target = _peer_address(address)
        # A failed dial blocks the peer for 60 s, even for one who comes to us.
        self._swarm.unblock_peer(peer)
        self._dialled[str(peer)] = address
        try:
            with trio.fail_after(limits.DIAL_S):
                await self._swarm.dial_addr(target, peer)
        except Exception as error:
            causes = "; ".join(_causes(error))
            _log.debug("dialling %s: %s", target, causes)
            if "does not correspond" in causes or "mismatch" in causes:
                raise LocalError(
                    f"Somebody else than {peer} answers at {target}.",
                    "ask the neighbour for a new invite",
                ) from error
            raise LocalError(
                f"Nobody who speaks passby answers at {target}.",
                "check that the neighbour is up and reachable from here",
            ) from error
        finally:
            self._dialled.pop(str(peer), None)

    async def disconnect(self, peer: PeerId) -> None:
        """See `passby.node.net.Network`."""
        self._keeper.forget(peer)
        if peer in self._live:
            await self._hang_up(ID.from_base58(peer))

    def peers(self) -> dict[PeerId, PeerConnection]:
        """See `passby.node.net.Network`."""
        now_s = trio.current_time()
        return {
            peer: PeerConnection(
                addresses=tuple(str(address) for address in self._remote_ends(peer)),
                outbound=live.outbound,
                since_s=live.since_s,
                rtt_ms=self._rtt_ms(peer),
                score=self._standing.score(peer, now_s),
            )
            for peer, live in self._live.items()
        }

    def _connections(self, peer: PeerId) -> list[Any]:
        return [
            one
            for one in self._swarm.connections.get(ID.from_base58(peer), [])
            if not one.is_closed
        ]

    def _remote_ends(self, peer: PeerId) -> list[Multiaddr]:
        return [end for one in self._connections(peer) for end in one.get_transport_addresses()]

    def _rtt_ms(self, peer: PeerId) -> float | None:
        times_s = [one.muxed_conn.rtt() for one in self._connections(peer)]
        measured_s = [one for one in times_s if one > 0]
        return min(measured_s) * 1000 if measured_s else None

    def penalise(self, peer: PeerId, amount: float) -> None:
        """See `passby.node.net.Network`."""
        score = self._standing.penalise(peer, amount, trio.current_time())
        if score <= limits.SCORE_CUT and peer in self._live and self._nursery:
            _log.warning("%s is cut off, its score is %.0f", peer, score)
            self._nursery.start_soon(self.disconnect, peer)

    def _is_muted(self, peer: PeerId) -> bool:
        return self._standing.is_muted(peer, trio.current_time())

    def _arrived(self, connection: Any) -> None:
        peer = str(connection.muxed_conn.peer_id)
        if peer in self._live:
            return
        outbound = bool(connection.muxed_conn.is_initiator)
        self._live[peer] = _Live(trio.current_time(), outbound)
        self._tell(PeerConnected(peer, self._dialled.get(peer) if outbound else None, outbound))
        if self._is_muted(peer) and self._nursery:
            self._nursery.start_soon(self.disconnect, peer)

    def _left(self, connection: Any) -> None:
        peer = str(connection.muxed_conn.peer_id)
        if peer not in self._live or self._connections(peer):
            return
        del self._live[peer]
        self._tell(PeerDisconnected(peer))
        self._keeper.lost(peer)

    def _tell(self, event: NetEvent) -> None:
        try:
            self._events_in.send_nowait(event)
        except trio.WouldBlock:
            _log.warning("nobody reads network events: %r dropped", event)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass

    # --- streams -----------------------------------------------------------------------

    async def open_stream(self, peer: PeerId, protocol: str) -> Libp2pStream:
        """See `passby.node.net.Network`."""
        self._running()
        # Without this libp2p would dial whatever the peerstore holds.
        if peer not in self._live:
            raise RemoteError(Code.GONE, f"{peer} is not connected", penalty=0)
        try:
            opened = await self._host.new_stream(ID.from_base58(peer), [TProtocol(protocol)])
        except Exception as error:
            causes = "; ".join(_causes(error))
            code = Code.VERSION if "not supported" in causes else Code.GONE
            raise RemoteError(code, f"{protocol} with {peer}: {causes}", penalty=0) from error
        return Libp2pStream(opened, protocol)

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        """See `passby.node.net.Network`."""

        async def serve(opened: Any) -> None:
            await serve_stream(Libp2pStream(opened, protocol), handler, self.penalise)

        self._host.set_stream_handler(TProtocol(protocol), serve)

    # --- gossip ------------------------------------------------------------------------

    async def subscribe(self, topic: str) -> None:
        """See `passby.node.net.Network`."""
        self._running()
        await self._pubsub.subscribe(topic)

    async def unsubscribe(self, topic: str) -> None:
        """See `passby.node.net.Network`."""
        self._running()
        await self._pubsub.unsubscribe(topic)

    async def publish(self, topic: str, data: bytes) -> None:
        """See `passby.node.net.Network`."""
        self._running()
        if len(data) > limits.GOSSIP_BUNDLE_MAX:
            raise ValueError("a gossip message is at most GOSSIP_BUNDLE_MAX")
        await self._pubsub.publish(topic, data)
        # Lets the senders drain their queues in a burst.
        await trio.lowlevel.checkpoint()

    def on_gossip(self, judge: Judge) -> None:
        """See `passby.node.net.Network`."""
        self._judge = judge

    def _admit(self, topic: str, data: bytes, sender: PeerId) -> GossipVerdict:
        verdict = judge_safely(self._judge, topic, data, sender)
        if verdict is GossipVerdict.REJECT:
            self.penalise(sender, limits.SCORE_REJECT)
        return verdict

    def _running(self) -> None:
        if self._nursery is None:
            raise RuntimeError("the network is not running")


class _Notifee(INotifee):  # type: ignore[misc]  # an interface whose types do not resolve
    """Hears from the swarm who comes and goes."""

    def __init__(self, network: Libp2pNetwork) -> None:
        self._network = network

    async def connected(self, network: Any, conn: Any) -> None:
        del network
        self._network._arrived(conn)

    async def disconnected(self, network: Any, conn: Any) -> None:
        del network
        self._network._left(conn)

    async def opened_stream(self, network: Any, stream: Any) -> None:
        """Not needed."""

    async def closed_stream(self, network: Any, stream: Any) -> None:
        """Not needed."""

    async def listen(self, network: Any, multiaddr: Any) -> None:
        """Not needed."""

    async def listen_close(self, network: Any, multiaddr: Any) -> None:
        """Not needed."""


_HOST_NAMES: Final = ("ip4", "ip6", "dns", "dns4", "dns6")

# --- addresses -------------------------------------------------------------------------


def _listen_address(text: str) -> Multiaddr:
    try:
        address = Multiaddr(text)
        names = [protocol.name for protocol in address.protocols()]
    except Exception as error:
        raise UsageError(f"{text!r} is no multiaddr.", "for example /ip4/0.0.0.0/tcp/0") from error
    if names not in (["ip4", "tcp"], ["ip6", "tcp"]):
        raise UsageError(
            f"{text!r} is no address to listen on.", "for example /ip4/0.0.0.0/tcp/4710"
        )
    return address


def _peer_address(text: str) -> tuple[ID, Multiaddr]:
    try:
        address = Multiaddr(text)
        peer = ID.from_base58(str(address.value_for_protocol("p2p")))
        target = address.decapsulate(Multiaddr(f"/p2p/{peer}"))
        names = [protocol.name for protocol in target.protocols()]
    except Exception as error:
        raise UsageError(
            f"{text!r} is no address of a peer.",
            "it looks like /ip4/192.0.2.7/tcp/4710/p2p/12D3Koo...",
        ) from error
    if len(names) != 2 or names[0] not in _HOST_NAMES or names[1] != "tcp":
        raise UsageError(f"{text!r} is not reached over TCP.", "ask the neighbour for another")
    return peer, target


def _host_and_port(address: Multiaddr) -> tuple[socket.AddressFamily, str, int]:
    family = socket.AF_INET6 if str(address).startswith("/ip6/") else socket.AF_INET
    name = "ip6" if family == socket.AF_INET6 else "ip4"
    host, port = (str(address.value_for_protocol(part)) for part in (name, "tcp"))
    return family, host, int(port)


def _check_free(address: Multiaddr) -> None:
    """Bind as libp2p will, since it swallows the reason when it cannot.

    Raises:
        LocalError: the port is taken, not allowed, or the address is not ours.
    """
    family, host, port = _host_and_port(address)
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _taken(address) from error
            if error.errno in (errno.EACCES, errno.EPERM):
                raise LocalError(
                    f"Port {port} may not be used by this user.", "choose one above 1023"
                ) from error
            raise LocalError(
                f"Cannot listen on {host} port {port}: {error.strerror}.",
                "choose an address of this machine, or 0.0.0.0 for all of them",
            ) from error


def _taken(address: Multiaddr) -> LocalError:
    _, _, port = _host_and_port(address)
    return PortTakenError(
        f"Port {port} is taken by another program.",
        "stop that program, or choose another port to listen on (0 lets the system choose)",
    )


def _reachable(listening: str) -> list[str]:
    """Expand a wildcard address to this machine's own, loopback last."""
    import ifaddr

    for wildcard, kind, is_v4 in (("/ip4/0.0.0.0/", "ip4", True), ("/ip6/::/", "ip6", False)):
        if listening.startswith(wildcard):
            rest = listening.removeprefix(wildcard)
            own = [ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
            texts = [str(ip.ip) if is_v4 else str(ip.ip[0]) for ip in own if ip.is_IPv4 == is_v4]
            usable = [text for text in texts if not text.startswith(("169.254.", "fe80"))]
            usable.sort(key=lambda text: text.startswith("127.") or text == "::1")
            return [f"/{kind}/{text}/{rest}" for text in usable]
    return [listening]


def _causes(error: BaseException) -> list[str]:
    found: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(found) < 8:
        found.append(str(cause) or type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return found
