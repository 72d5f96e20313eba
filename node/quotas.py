"""Quotas: what is taken of authors nobody vouches for, and who makes room.

Whatever way an entry comes, by gossip or by sync, it is held against the same bounds: so many
entries and bytes of each stranger, and so many bytes of all strangers of a topic cell together.
Sync asks for no more than surely fits, a few entries at a time, so that nothing has to be
thrown away that was paid for. Where the crowd of a cell grows too large, the chains that came
first are forgotten whole, and not fetched again for a while.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import trio

from passby.ledger.store import Footprint
from passby.node.buckets import Bucket
from passby.node.chains import Chains
from passby.node.circle import Circle
from passby.protocol.entry import Record
from passby.protocol.errors import LocalError
from passby.protocol.limits import (
    CHAIN_WEIGHT_MIN,
    CROWD_BYTES,
    FORGET_SLICE,
    FORGOTTEN_FOR_S,
    FORGOTTEN_MAX,
    LOAD_SLICE,
    SEQ_MAX,
    STRANGERS_BURST,
    STRANGERS_PER_S,
    UNVOUCHED_BYTES,
    UNVOUCHED_ENTRIES,
)
from passby.protocol.messages import RECORD_MAX

ELSEWHERE: Final = 0
"""The room of chains that place nothing in a cell of ours."""
log = logging.getLogger(__name__)


class Quotas:
    """The crowd of unvouched authors, by topic cell.

    Args:
        chains: tells which heads move, and forgets.
        circle: who is vouched for.
        cells: the topic cells that this node listens to.
    """

    def __init__(self, chains: Chains, circle: Circle, cells: Iterable[int]) -> None:
        self._chains = chains
        self._circle = circle
        self._cells = frozenset(cells)
        self._crowd: dict[bytes, Footprint] = {}
        """Its members, in the order in which they came."""
        self._held: dict[int, int] = {}
        """Room -> what its members weigh together."""
        self._forgotten: OrderedDict[bytes, float] = OrderedDict()
        """Author -> until when it is not fetched again."""
        self._let_in: OrderedDict[bytes, None] = OrderedDict()
        """Strangers that were promised a place while there was no room."""
        self._strangers = Bucket(STRANGERS_PER_S, STRANGERS_BURST, trio.current_time())
        self._full_until_s = 0.0
        self._over = trio.Event()
        self._on_wants: list[Callable[[Sequence[bytes]], None]] = []
        chains.on_heads(self._moved)
        circle.on_changed(self._changed)

    def on_wants(self, tell: Callable[[Sequence[bytes]], None]) -> None:
        """Call `tell` with authors of whom `wanted_to` says something else than before."""
        self._on_wants.append(tell)

    # --- what is taken -----------------------------------------------------------------

    def wanted_to(self, author: bytes) -> int:
        """Return the highest seq of the author's chain to ask for; 0 for none at all.

        It rises as entries come that are smaller than the largest, and so left room.
        """
        share, held = self._circle.share(author), self._chains.head_seq(author)
        if share != UNVOUCHED_ENTRIES:
            # Followed as it grows, until the share is used up.
            return SEQ_MAX if held < share else share
        if not self._is_welcome(author):
            return held
        left = UNVOUCHED_BYTES - self._size(author)
        return min(UNVOUCHED_ENTRIES, held + max(left, 0) // RECORD_MAX)

    def taken(self, records: Iterable[Record]) -> list[Record]:
        """Return those of the records, which came unasked, that are within the quotas."""
        fit: list[Record] = []
        sizes: dict[bytes, int] = {}
        for record in records:
            author, seq = record.entry.author, record.entry.seq
            share = self._circle.share(author)
            if seq > share:
                continue
            # What is no longer than the chain is a copy, or the proof of a fork.
            if share == UNVOUCHED_ENTRIES and seq > self._chains.head_seq(author):
                size = sizes.get(author, self._size(author)) + record.size
                if size > UNVOUCHED_BYTES or not self._is_welcome(author):
                    continue
                sizes[author] = size
            fit.append(record)
        return fit

    def _is_welcome(self, author: bytes) -> bool:
        """Tell whether a stranger's chain may begin here, or go on."""
        now_s = trio.current_time()
        until_s = self._forgotten.get(author)
        if until_s is not None:
            # Its chain may still be there, on its way out.
            if now_s < until_s:
                return False
            del self._forgotten[author]
        if self._chains.head_seq(author):
            return True
        if now_s >= self._full_until_s or author in self._let_in:
            return True
        if not self._strangers.take(now_s):
            return False
        self._let_in[author] = None
        while len(self._let_in) > STRANGERS_BURST:
            self._let_in.popitem(last=False)
        return True

    def _size(self, author: bytes) -> int:
        if self._chains.head_seq(author) == 0:
            return 0
        member = self._crowd.get(author) or self._chains.reader.footprint(author)
        return member.size

    # --- the crowd ---------------------------------------------------------------------

    def held(self, cell: int) -> int:
        """Return what the unvouched authors of a cell weigh together, bytes."""
        return self._held.get(self._room(cell), 0)

    @property
    def crowd(self) -> tuple[int, int]:
        """How many unvouched authors are held, and how many bytes of them."""
        return len(self._crowd), sum(member.size for member in self._crowd.values())

    def _room(self, cell: int | None) -> int:
        return cell if cell in self._cells and cell is not None else ELSEWHERE

    def _moved(self, authors: Iterable[bytes]) -> None:
        used_up: list[bytes] = []
        for author in authors:
            head = self._chains.head_seq(author)
            if author not in self._crowd and head:
                self._circle.meet(author)
            share = self._circle.share(author)
            if share == UNVOUCHED_ENTRIES:
                self._weigh(author)
            elif head >= share:
                used_up.append(author)
        self._tell(used_up)

    def _changed(self, authors: Sequence[bytes]) -> None:
        for author in authors:
            if self._circle.share(author) == UNVOUCHED_ENTRIES:
                self._weigh(author)
            else:
                self._leave(author)
                self._forgotten.pop(author, None)
        self._tell(authors)

    def _tell(self, authors: Sequence[bytes]) -> None:
        if authors:
            for tell in self._on_wants:
                tell(authors)

    def _weigh(self, author: bytes) -> None:
        """Count what is held of a stranger."""
        if self._chains.head_seq(author) == 0:
            self._leave(author)
            return
        self._let_in.pop(author, None)
        found, before = self._chains.reader.footprint(author), self._crowd.get(author)
        if before is not None:
            self._held[self._room(before.cell)] -= _weight(before)
        self._crowd[author] = found
        room = self._room(found.cell)
        self._held[room] = self._held.get(room, 0) + _weight(found)
        if self._held[room] > CROWD_BYTES:
            self._over.set()

    def _leave(self, author: bytes) -> None:
        member = self._crowd.pop(author, None)
        if member is not None:
            self._held[self._room(member.cell)] -= _weight(member)

    async def run(self) -> None:
        """Count the crowd that is held, then let its oldest make room, until cancelled."""
        for count, author in enumerate(list(self._chains.heads)):
            if author not in self._crowd:
                self._moved([author])
            if count % LOAD_SLICE == 0:
                await trio.lowlevel.checkpoint()
        while True:
            await self._over.wait()
            self._over = trio.Event()
            while leaving := self._oldest():
                await self._forget(leaving)

    def _oldest(self) -> list[bytes]:
        """Return the next to make room, a few at a time."""
        over = {room: held - CROWD_BYTES for room, held in self._held.items() if held > CROWD_BYTES}
        leaving: list[bytes] = []
        if over:
            for author, member in self._crowd.items():
                room = self._room(member.cell)
                if over.get(room, 0) > 0:
                    over[room] -= _weight(member)
                    leaving.append(author)
                    if len(leaving) == FORGET_SLICE:
                        break
        return leaving

    async def _forget(self, authors: Sequence[bytes]) -> None:
        now_s = trio.current_time()
        self._full_until_s = now_s + FORGOTTEN_FOR_S
        for author in authors:
            self._leave(author)
            self._forgotten[author] = now_s + FORGOTTEN_FOR_S
        while len(self._forgotten) > FORGOTTEN_MAX:
            self._forgotten.popitem(last=False)
        log.info("%s chains of strangers make room for newer ones", len(authors))
        try:
            await self._chains.forget(authors)
        except LocalError as error:
            # They stay on disk, uncounted until the next start.
            log.warning("cannot let go of chains: %s", error)


def _weight(member: Footprint) -> int:
    return max(member.size, CHAIN_WEIGHT_MIN)
