"""Token buckets: so much of something on average, and so much at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


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


class Buckets(Generic[K]):
    """A bucket for each of `most` keys: the oldest goes first, and its owner starts afresh."""

    __slots__ = ("_burst", "_most", "_of", "_rate_per_s")

    def __init__(self, rate_per_s: float, burst: float, most: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._most = most
        self._of: OrderedDict[K, Bucket] = OrderedDict()

    def take(self, key: K, now_s: float) -> bool:
        """Take a token of the key's if there is one."""
        bucket = self._of.get(key)
        if bucket is None:
            if len(self._of) >= self._most:
                self._of.popitem(last=False)
            bucket = self._of[key] = Bucket(self._rate_per_s, self._burst, now_s)
        return bucket.take(now_s)
