"""Letting go, once a day, of what of others' chains need not be held any longer.

Only behind a checkpoint that as many witnesses have cosigned as the policy asks for: without
one that names witnesses nothing goes. Nothing goes of the chains that this person writes or
follows, nor of those that an open trade of its own binds it to; see `ledger.retention` for
what is kept of the others. A crash is safe at any point: each call drops whole blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from passby.ledger.policy import Policy, satisfied, sifted
from passby.ledger.retention import Retention
from passby.ledger.store import Freed, Reader, Store
from passby.ledger.tree import BLOCK
from passby.protocol.errors import DamagedError, LocalError, RefusedError, RemoteError, UsageError
from passby.protocol.limits import PRUNE_BLOCKS_MAX, PRUNE_EVERY_S
from passby.protocol.trade import OPEN_STATES, fold

if TYPE_CHECKING:
    from passby.node.chains import Chains

DAY_MS: Final = 24 * 3600 * 1000
log = logging.getLogger(__name__)


class Chosen(msgspec.Struct, frozen=True):
    """What may go of a chain: the last seq of each block, and the bytes that it frees."""

    author: bytes
    blocks: dict[int, int]


class Pruning:
    """Prunes by itself, and when it is told to.

    Args:
        chains: what is held.
        policy: gives whose cosignatures are enough.
        is_kept: tells of an author whether all of its chain stays.
        keep_ms: how far back everything stays, 0 for ever.
    """

    def __init__(
        self,
        chains: Chains,
        policy: Callable[[], Policy],
        is_kept: Callable[[bytes], bool],
        keep_ms: int = 0,
    ) -> None:
        self._chains = chains
        self._policy = policy
        self._is_kept = is_kept
        self.keep_ms = keep_ms

    async def run(self) -> None:
        """Prune every day, until cancelled."""
        while True:
            await trio.sleep(PRUNE_EVERY_S)
            if not self.keep_ms:
                continue
            try:
                freed = await self.prune(self.keep_ms)
            except RefusedError:
                continue
            except LocalError as error:
                log.warning("nothing more was pruned: %s %s", error.message, error.hint)
                continue
            if freed:
                entries = sum(one.entries for one in freed.values())
                log.info("%s entries of %s chains were pruned", entries, len(freed))

    async def prune(self, keep_ms: int, *, dry: bool = False) -> dict[bytes, Freed]:
        """Let go of what is older than `keep_ms`; return what it freed, by author.

        Args:
            keep_ms: how far back everything stays, milliseconds.
            dry: only tell what would go.

        Raises:
            RefusedError: the policy names no witnesses.
            LocalError: the policy cannot be read, or the disk is failing.
        """
        policy, now_ms = self._policy(), self._chains.now_ms()
        kept = {author for author in self._chains.heads if self._is_kept(author)}
        kept.add(self._chains.author)
        chosen = await self._chains.read(
            lambda reader: list(choose(reader, kept, policy, now_ms - keep_ms, now_ms))
        )
        if dry:
            return {one.author: _freed(one) for one in chosen}
        freed: dict[bytes, Freed] = {}
        for one in chosen:
            for blocks in _parts(one):
                # Between two of them others get to write.
                part = await self._chains.prune(one.author, blocks)
                freed[one.author] = _sum(freed.get(one.author, Freed()), part)
        return {author: one for author, one in freed.items() if one.entries}


def prune_alone(
    store: Store, kept: Collection[bytes], policy: Policy, before_ms: int, now_ms: int, *, dry: bool
) -> dict[bytes, Freed]:
    """Do what `Pruning.prune` does, on a store that nobody else has open."""
    chosen = list(choose(store, kept, policy, before_ms, now_ms))
    if dry:
        return {one.author: _freed(one) for one in chosen}
    freed = {one.author: store.prune(one.author, one.blocks) for one in chosen}
    return {author: one for author, one in freed.items() if one.entries}


def choose(
    reader: Reader, kept: Collection[bytes], policy: Policy, before_ms: int, now_ms: int
) -> Iterator[Chosen]:
    """Yield what may go of each chain but those of `kept`.

    Raises:
        RefusedError: the policy names no witnesses.
        DamagedError: the ledger as a whole is not what was written.
    """
    if not policy.witnesses:
        raise RefusedError(
            "Nothing may be pruned: no witnesses vouch for what would be gone.",
            "Name witnesses that you trust in policy.txt; `passby policy show` tells where.",
        )
    retention = Retention(reader, before_ms, now_ms)
    for author, _ in list(reader.heads()):
        if author in kept:
            continue
        try:
            signed = reader.checkpoint(author)
            if signed is None:
                continue
            quorum = satisfied(sifted(signed, policy.witnesses.values()), policy, now_ms // 1000)
            if not quorum.reached or not quorum.counted:
                continue
            blocks = retention.blocks(author, signed.head.size)
        except (DamagedError, RemoteError) as error:
            log.warning("nothing of %s is pruned: %s", author.hex()[:12], error)
            continue
        if blocks:
            yield Chosen(author, blocks)


def bound(reader: Reader, own: Collection[bytes], now_ms: int) -> set[bytes]:
    """Return the parties of open trades that one of `own` is a party of."""
    found: set[bytes] = set()
    for propose_id in reader.trades(0):
        entries = {record.entry.id: record.entry for record in reader.trade(propose_id)}
        propose = entries.get(propose_id)
        if propose is None:
            continue
        offers = (reader.record(lot) for lot in propose.body.refs)
        entries |= {offer.entry.id: offer.entry for offer in offers if offer is not None}
        parties = {entry.author for entry in entries.values()}
        if parties.isdisjoint(own):
            continue
        if fold(propose, entries.values(), now_ms).state in OPEN_STATES:
            found |= parties
    return found


def checked_keep_ms(keep_ms: int) -> int:
    """Return how far back everything is to stay.

    Raises:
        UsageError: that is for ever, or not at all.
    """
    if keep_ms <= 0:
        raise UsageError(
            "All history is kept here: retention_days is 0.", "Say how much: --older-than 365d"
        )
    return keep_ms


def plain_freed(
    freed: Mapping[bytes, Freed], name_of: Callable[[bytes], str | None], *, dry: bool
) -> dict[str, Any]:
    """Return what was freed, or would be, as JSON has it."""
    return {
        "dry_run": dry,
        "entries": sum(one.entries for one in freed.values()),
        "bytes": sum(one.bytes for one in freed.values()),
        "chains": [
            {
                "author": author.hex(),
                "name": name_of(author),
                "entries": one.entries,
                "bytes": one.bytes,
            }
            for author, one in sorted(freed.items(), key=lambda item: -item[1].bytes)
        ],
    }


def _freed(one: Chosen) -> Freed:
    return Freed(len(one.blocks) * BLOCK, sum(one.blocks.values()))


def _sum(one: Freed, other: Freed) -> Freed:
    return Freed(one.entries + other.entries, one.bytes + other.bytes)


def _parts(one: Chosen) -> Iterator[list[int]]:
    blocks = sorted(one.blocks)
    for start in range(0, len(blocks), PRUNE_BLOCKS_MAX):
        yield blocks[start : start + PRUNE_BLOCKS_MAX]
