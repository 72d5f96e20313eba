"""Keeping peers: what was connected by address once is redialled whenever it is lost."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from passby.protocol import limits
from passby.protocol.errors import LocalError

_log = logging.getLogger("passby.net")


@dataclass(slots=True)
class _Kept:
    addresses: list[str] = field(default_factory=list)
    is_redialling: bool = False


class Keeper:
    """The kept addresses, and one redialling task for each lost peer.

    Args:
        dial: dials an address; raises LocalError when that fails.
        is_connected: whether a peer is there.
        dice: for the jitter.
    """

    def __init__(
        self,
        dial: Callable[[str], Awaitable[None]],
        is_connected: Callable[[str], bool],
        dice: random.Random,
    ) -> None:
        self._dial = dial
        self._is_connected = is_connected
        self._dice = dice
        self._kept: dict[str, _Kept] = {}
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """Run the redials in `nursery` from now on."""
        self._nursery = nursery

    def stop(self) -> None:
        """Start no more redials."""
        self._nursery = None

    def keep(self, peer: str, address: str) -> None:
        """Redial the peer there whenever it is lost; the newest address first."""
        kept = self._kept.get(peer)
        if kept is None:
            while len(self._kept) >= limits.KEPT_PEERS_MAX:
                del self._kept[next(iter(self._kept))]
            kept = self._kept[peer] = _Kept()
        if address not in kept.addresses:
            kept.addresses.insert(0, address)
            del kept.addresses[limits.KEPT_ADDRESSES_PER_PEER_MAX :]
        # It may have gone since it was dialled.
        self.lost(peer)

    def forget(self, peer: str) -> None:
        """Redial the peer no more."""
        self._kept.pop(peer, None)

    def lost(self, peer: str) -> None:
        """Redial the peer if it is kept and away."""
        kept = self._kept.get(peer)
        if (
            kept is not None
            and self._nursery is not None
            and not kept.is_redialling
            and not self._is_connected(peer)
        ):
            kept.is_redialling = True
            self._nursery.start_soon(self._redial, peer, kept)

    async def _redial(self, peer: str, kept: _Kept) -> None:
        attempt = 0
        while True:
            await trio.sleep(redial_after_s(attempt, self._dice.random()))
            if self._kept.get(peer) is not kept or self._is_connected(peer):
                break
            address = kept.addresses[attempt % len(kept.addresses)]
            attempt += 1
            try:
                await self._dial(address)
            except LocalError as error:
                _log.debug("redial %d: %s", attempt, error)
        kept.is_redialling = False


def redial_after_s(attempt: int, roll: float) -> float:
    """How long to wait before redial number `attempt` (from 0), with `roll` in [0, 1).

    Doubles from REDIAL_FIRST_S to REDIAL_MAX_S; jitter of a half either way, so that the
    neighbours of a node that returns do not all knock at once.
    """
    wait_s = min(limits.REDIAL_MAX_S, limits.REDIAL_FIRST_S * 2 ** min(attempt, 16))
    return float(wait_s * (0.5 + roll))
