"""py-libp2p's parts, so guarded that no peer's bytes end the process.

In py-libp2p an exception in one stream handler, one malformed RPC or one message during
shutdown reaches the swarm's nursery and takes every connection and the process with it.
Each class here overrides where that starts. They rest on `library.VERSION`.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import identify_handler_for
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux
from libp2p.tools.anyio_service import Service
from libp2p.tools.anyio_service.trio_manager import TrioManager
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader

from passby.protocol import limits

_log = logging.getLogger("passby.net")


class GuardedManager(TrioManager):  # type: ignore[misc]  # libp2p's classes are untyped here
    """A service in which a task that fails is logged, and the other tasks go on."""

    def run_task(self, async_fn: Any, *args: Any, **options: Any) -> None:
        """Run a task that cannot end the service."""

        async def guarded() -> None:
            try:
                await async_fn(*args)
            except Exception as error:  # noqa: BLE001  # whatever a peer's bytes cause
                _log.warning("%s in libp2p: %r", async_fn.__qualname__, error)
                muxer = getattr(async_fn, "__self__", None)
                if isinstance(muxer, GuardedYamux):
                    # Without its reader a connection only looks alive.
                    await muxer.secured_conn.close()

        options["name"] = options.get("name") or async_fn.__qualname__
        super().run_task(guarded, **options)


@asynccontextmanager
async def run_service(service: Service) -> AsyncIterator[None]:
    """Run one of libp2p's services, guarded, while the block lasts."""
    async with trio.open_nursery() as nursery:
        manager = GuardedManager(service)
        service._manager = manager
        nursery.start_soon(manager.run)
        await manager.wait_started()
        try:
            yield
        finally:
            await manager.stop()


class GuardedYamux(yamux.Yamux):  # type: ignore[misc]  # libp2p's classes are untyped here
    """A muxer that survives cancelled writes, notices a frozen peer and bounds unread bytes."""

    _ping_id: int
    _nursery: trio.Nursery

    async def _write_frame(self, data: bytes) -> None:
        # A frame that was cut off by a cancellation is a frame the peer cannot parse: noise
        # loses its place, and the connection with all of its streams is lost.
        async with self._write_lock:
            with trio.CancelScope(shield=True):
                await self.secured_conn.write(data)
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _read_data_body(self, length: int) -> bytes:
        unread = sum(map(len, self.stream_buffers.values()))
        if unread + length > limits.STREAM_UNREAD_MAX:
            # libp2p only warns when a peer writes past the window it was given.
            await self.secured_conn.close()
            raise trio.BrokenResourceError("the peer sends more than anybody reads")
        return bytes(await super()._read_data_body(length))

    async def _measure_rtt_loop(self) -> None:
        """Ping, and hang up on a peer that does not answer: TCP would wait for hours."""
        while not self.event_shutting_down.is_set():
            self._ping_id = (self._ping_id + 1) % 2**32
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            ping = struct.pack(
                yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id
            )
            # A task of its own, since a write to a frozen peer may block for ever.
            self._nursery.start_soon(self._try_write, ping)
            with trio.move_on_after(limits.PING_WITHIN_S):
                await self._ping_event.wait()
            if not self._ping_event.is_set():
                # If it was us who stood still, the answer lies unread in the socket.
                with trio.move_on_after(1):
                    await self._ping_event.wait()
            if not self._ping_event.is_set():
                _log.info("peer %s does not answer: hanging up", self.peer_id)
                # Only the socket. The reader sees it and cleans up; doing that here would
                # be cancelled halfway by the reader's own end.
                await self.secured_conn.close()
                return
            await trio.sleep(limits.PING_EVERY_S)

    async def _try_write(self, frame: bytes) -> None:
        try:
            await self._write_frame(frame)
        except Exception as error:  # noqa: BLE001  # the reader sees the same and cleans up
            _log.debug("ping to %s: %r", self.peer_id, error)

    async def close(self, error_code: int = yamux.GO_AWAY_NORMAL) -> None:
        """Say goodbye if the peer listens, then close; stock waits for a stuck writer for ever."""
        if not self.event_shutting_down.is_set():
            goodbye = struct.pack(
                yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_GO_AWAY, 0, 0, error_code
            )
            with trio.move_on_after(0.2):
                async with self._write_lock:
                    try:
                        await self.secured_conn.write(goodbye)
                    except Exception as error:  # noqa: BLE001  # it is gone: no goodbye needed
                        _log.debug("goodbye to %s: %r", self.peer_id, error)
            try:
                await self.secured_conn.close()
            except Exception as error:  # noqa: BLE001  # closed is closed
                _log.debug("closing %s: %r", self.peer_id, error)
        await super().close(error_code)


class GuardedSwarm(Swarm):  # type: ignore[misc]  # libp2p's classes are untyped here
    """Connections, with inbound ones bounded before their handshake and let go when closed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._shaking: Counter[str] = Counter()

    async def run(self) -> None:
        """Run, without the dialler of its own choice of peers."""
        self.auto_connector.start = _do_nothing
        await super().run()

    async def _do_handle_inbound_connection(
        self, read_write_closer: Any, maddr: Any, failure_event: Any
    ) -> None:
        # Stock keeps this task, and the connection's place among the inbound ones, until the
        # swarm ends: after some hundred redials nobody could connect any more.
        del failure_event
        remote = read_write_closer.get_remote_address()
        address = remote[0] if remote else ""
        if (
            self._shaking[address] >= limits.HANDSHAKES_PER_ADDRESS_MAX
            or self._shaking.total() >= limits.HANDSHAKES_MAX
        ):
            await read_write_closer.close()
            return
        self._shaking[address] += 1
        try:
            connection = await self.upgrade_inbound_raw_conn(
                RawConnection(read_write_closer, initiator=False), maddr
            )
        except Exception as error:  # noqa: BLE001  # anything a stranger sends before noise
            _log.debug("handshake with %s: %r", address, error)
            await read_write_closer.close()
            return
        finally:
            self._shaking[address] -= 1
            if not self._shaking[address]:
                del self._shaking[address]
        await connection.event_closed.wait()


class GuardedMuxers(MuxerMultistream):  # type: ignore[misc]  # libp2p's classes are untyped here
    """Negotiates yamux; stock builds its own class, whichever was registered."""

    async def new_conn(self, conn: Any, peer_id: ID) -> GuardedYamux:
        """Agree on yamux and put the guarded one on the connection."""
        await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        return GuardedYamux(conn, peer_id, is_initiator=conn.is_initiator)


async def _do_nothing() -> None:
    await trio.lowlevel.checkpoint()


class GuardedHost(BasicHost):  # type: ignore[misc]  # libp2p's classes are untyped here
    """Negotiates streams; a handler that fails costs its stream and nothing else."""

    def __init__(self, swarm: GuardedSwarm) -> None:
        self._streams_open: Counter[ID] = Counter()
        super().__init__(
            network=swarm,
            negotiate_timeout=limits.STREAM_NEGOTIATE_S,
            default_protocols=OrderedDict(),
            disable_identify_address_discovery=True,
        )
        # Others may ask who we are. Pushed identities, and pings, are not on offer: nobody
        # here reads the first, and the muxer answers the second.
        self.multiselect.handlers.clear()
        self.set_stream_handler(IDENTIFY, identify_handler_for(self, use_varint_format=True))

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        # Its answer would fill the peerstore with a stranger's addresses; what a neighbour
        # speaks is asked when a stream is opened.
        del peer_id, reason

    async def _swarm_stream_handler(self, net_stream: Any) -> None:
        peer = net_stream.muxed_conn.peer_id
        if self._streams_open[peer] >= limits.STREAMS_PER_PEER_MAX:
            await reset_quietly(net_stream)
            return
        self._streams_open[peer] += 1
        try:
            await super()._swarm_stream_handler(net_stream)
        except Exception as error:  # noqa: BLE001  # whatever a peer's bytes cause
            _log.warning("stream from %s: %r", peer, error)
            await reset_quietly(net_stream)
        finally:
            self._streams_open[peer] -= 1
            if not self._streams_open[peer]:
                del self._streams_open[peer]


async def reset_quietly(net_stream: Any) -> None:
    """Reset one of libp2p's streams, whatever state it is in."""
    try:
        with trio.CancelScope(shield=True), trio.move_on_after(1):
            await net_stream.reset()
    except Exception as error:  # noqa: BLE001  # it is gone, and that is what was wanted
        _log.debug("reset: %r", error)


def new_host(keys: KeyPair) -> GuardedHost:
    """Build a host that speaks TCP, noise and yamux and nothing else.

    Noise alone, because with libp2p's defaults a stranger can choose plaintext and connect
    under any peer's id without its key.
    """
    peer_id = ID.from_pubkey(keys.public_key)
    peerstore = PeerStore()
    peerstore.add_key_pair(peer_id, keys)
    noise = NoiseTransport(keys, noise_privkey=new_noise_key_pair().private_key)
    muxers = {TProtocol(yamux.PROTOCOL_ID): GuardedYamux}
    upgrader = TransportUpgrader({NOISE: noise}, muxers, limits.HANDSHAKE_S)
    upgrader.muxer_multistream = GuardedMuxers(muxers, limits.HANDSHAKE_S)
    swarm = GuardedSwarm(
        peer_id,
        peerstore,
        upgrader,
        transports=[TCP()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=ConnectionConfig(
            max_connections=limits.CONNECTIONS_MAX,
            min_connections=0,
            low_watermark=0,
            high_watermark=limits.CONNECTIONS_MAX,
            inbound_upgrade_timeout=limits.HANDSHAKE_S,
            outbound_upgrade_timeout=limits.HANDSHAKE_S,
            outbound_stream_protocol_negotiation_timeout=limits.STREAM_NEGOTIATE_S,
            inbound_stream_protocol_negotiation_timeout=limits.STREAM_NEGOTIATE_S,
        ),
    )
    return GuardedHost(swarm)
