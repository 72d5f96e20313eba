"""The witness key of a home, and how a node knows that it has forgotten what it cosigned.

A witness that has forgotten a tree that it cosigned could cosign another one of that size, which
is the one thing it exists not to do. So after each tree that is stored, and before its
cosignature leaves, a guard beside the ledger notes how much was cosigned with this key: the sum
of the sizes of the largest trees, which only grows. The file is a `head_guard`, and is left out
of backups like the other one:

    passby-head 1 SUM PUBLIC-KEY MACHINE INODE SHA-256 of what stands before it

A ledger that comes to less than the guard says was put back from a backup, or salvaged; a guard
that is gone, copied or another machine's came with a copy of the home. Either way the node takes
a new key, and leaves the old one for good: who trusts this witness must be told the new one.
A crash between ledger and guard leaves the guard behind: safe, nothing was answered.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable

from passby.ledger.chain import Head
from passby.ledger.witness import Held
from passby.node.head_guard import HeadGuard, RestoredError, machine_id
from passby.node.home import Home
from passby.protocol.keys import SigningKey

log = logging.getLogger(__name__)


def derived_witness_seed(secret: bytes) -> bytes:
    """Return the seed of a witness key for whoever keeps no file of its own for it."""
    return hashlib.blake2b(secret, person=b"passby witness", digest_size=32).digest()


def witness_seed(home: Home) -> bytes:
    """Return the seed of the home's witness key; made, with its guard, where there is none.

    Raises:
        DamagedError: the key file is not what was written.
        LocalError: it cannot be written.
    """
    seed = home.witness_seed
    if seed is not None:
        return seed
    guard = HeadGuard(home.witness_guard_path, machine_id())
    try:
        return _take_new(home, guard, 0)
    finally:
        guard.close()


class WitnessGuard:
    """Notes what was cosigned with the home's witness key, for the thread that writes.

    Opening it takes a new key where the ledger is not the one that was last written here.

    Args:
        home: whose key.
        cosigned: all that the ledger knows of what was cosigned.

    Raises:
        DamagedError, LocalError: key or guard cannot be read or written.
    """

    def __init__(self, home: Home, cosigned: Iterable[Held]) -> None:
        self.seed = witness_seed(home)
        """The seed of the key that is good now."""
        self._sum = sum(held.size for held in cosigned)
        self._guard = HeadGuard(home.witness_guard_path, machine_id())
        self._public = SigningKey(self.seed).public
        try:
            self._guard.check(self._head, lambda _sum: self._public)
        except RestoredError as error:
            self.seed = _take_new(home, self._guard, self._sum)
            self._public = SigningKey(self.seed).public
            log.warning("this node witnesses by a new key, `passby witness key`: %s", error.message)

    @property
    def _head(self) -> Head:
        return Head(self._sum, self._public, 0)

    def note(self, gained: int) -> None:
        """Note that the largest trees have grown by `gained`; on disk when this returns.

        Raises:
            LocalError: the guard cannot be written; the cosignature must not leave.
        """
        self._sum += gained
        if gained:
            self._guard.write(self._head)

    def close(self) -> None:
        """Let go of the file."""
        self._guard.close()


def _take_new(home: Home, guard: HeadGuard, total: int) -> bytes:
    # A crash between the two is safe: the guard then names another key, and the next start
    # takes one more.
    seed = home.renew_witness_seed()
    guard.renew(Head(total, SigningKey(seed).public, 0))
    return seed
