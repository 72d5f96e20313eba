"""The Network contract over py-libp2p: TCP, noise, yamux, GossipSub.

Nothing else in passby knows libp2p. `library` changes the few things in it that cannot be
changed by subclassing, `guards` and `gossip` are the subclasses without which one malformed
message ends the process, `stream` and `host` keep the contract.
"""

from __future__ import annotations

# First, since it changes what the others import.
from passby.node.net_libp2p import library  # noqa: F401  # the order matters
from passby.node.net_libp2p.host import Libp2pNetwork

__all__ = ["Libp2pNetwork"]
