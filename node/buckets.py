"""Token buckets: how much of something a peer may ask for."""

from __future__ import annotations

from collections import OrderedDict

from passby.node.net import PeerId


class Bucket:
    """A token bucket: `rate_per_s` on average, `burst` at once."""

    __slots__ = ("_at_s", "_burst", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take a token if there is one."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Buckets:
    """A bucket for each peer, `most` of them: the oldest goes first, and its peer starts afresh."""

    __slots__ = ("_burst", "_most", "_peers", "_rate_per_s")

    def __init__(self, rate_per_s: float, burst: float, most: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._most = most
        self._peers: OrderedDict[PeerId, Bucket] = OrderedDict()

    def take(self, peer: PeerId, now_s: float) -> bool:
        """Take a token of the peer's if there is one."""
        bucket = self._peers.get(peer)
        if bucket is None:
            if len(self._peers) >= self._most:
                self._peers.popitem(last=False)
            bucket = self._peers[peer] = Bucket(self._rate_per_s, self._burst, now_s)
        return bucket.take(now_s)
