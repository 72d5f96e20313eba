"""What is changed inside py-libp2p itself, each change with its reason.

Only what no subclass can reach. The changes rest on how one version is written, so another
version is refused until somebody has looked (`VERSION`).
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any

import libp2p.network.connection.swarm_connection as _connection
import libp2p.pubsub.gossipsub as _gossipsub
import libp2p.pubsub.pubsub as _pubsub
import libp2p.stream_muxer.yamux.yamux as _yamux
import libp2p.transport.tcp.tcp as _tcp
from libp2p.pubsub.rpc_queue import RpcQueue

from passby.protocol import limits
from passby.protocol.errors import ConfigError

VERSION = "0.8.1"

_installed = version("libp2p")
if _installed != VERSION:
    raise ConfigError(
        f"libp2p {_installed} is installed, and passby's guards are written for {VERSION}",
        f"install the pinned version: pip install libp2p=={VERSION}",
    )


def _send_logs_to_the_standard_tree() -> None:
    """Let libp2p's warnings go where the application sends all logs, and nowhere else.

    On import it cuts its logger off from the root and leaves it without a handler, so that
    Python's last resort prints each warning to stderr.
    """
    logger = logging.getLogger("libp2p")
    logger.setLevel(logging.WARNING)
    logger.propagate = True
    logger.addHandler(logging.NullHandler())
    # Every connection ends in an IncompleteReadError that these report as a warning, and every
    # refused dial in an error; what matters reaches our own log as an event.
    for noisy in (
        "libp2p.stream_muxer.yamux.yamux",
        "libp2p.network.swarm",
        "libp2p.transport.tcp.tcp",
        "libp2p.host.basic_host",
        "libp2p.protocol_muxer",
    ):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # It calls logging.debug(), which gives a root logger without handlers one on stderr.
    _connection.logging = logging.getLogger("libp2p.network.connection.swarm_connection")


def _listen_alone(sock: Any) -> None:
    """Reuse the address after a restart, but never share the port.

    libp2p sets SO_REUSEPORT for hole punching. Two daemons then listen on one port without a
    word, and the kernel deals each of them half of the connections.
    """
    sock.setsockopt(_tcp.stdlib_socket.SOL_SOCKET, _tcp.stdlib_socket.SO_REUSEADDR, 1)


_verify_record = _pubsub.maybe_consume_signed_record


def _verify_record_once(message: Any, host: Any, peer_id: Any) -> bool:
    """Skip the four signature checks for a record byte-identical to the peer's last good one.

    Stock nodes attach it to every RPC, and checking it was most of the cost of a message.
    """
    if not message.HasField("senderRecord"):
        return True
    verified = host.__dict__.setdefault("_passby_verified_records", {})
    if verified.get(peer_id) == message.senderRecord:
        return True
    if not _verify_record(message, host, peer_id):
        return False
    while len(verified) >= limits.CONNECTIONS_MAX:
        del verified[next(iter(verified))]
    verified[peer_id] = message.senderRecord
    return True


class _BoundedQueue(RpcQueue):  # type: ignore[misc]  # libp2p's classes are untyped here
    """A queue that holds a burst, of RPCs that a neighbour with our own cap accepts."""

    def __init__(self) -> None:
        super().__init__(
            max_size=limits.GOSSIP_QUEUE_MAX, max_message_size=limits.GOSSIP_RPC_MAX - 16
        )


_send_logs_to_the_standard_tree()
_tcp._set_reuse_flags = _listen_alone
_pubsub.maybe_consume_signed_record = _verify_record_once
_gossipsub.maybe_consume_signed_record = _verify_record_once
_pubsub.RpcQueue = _BoundedQueue
# Credit for one stream: it grows to 16 MiB for a peer whose data nobody reads.
_yamux.MAX_WINDOW_SIZE = limits.STREAM_WINDOW_MAX
