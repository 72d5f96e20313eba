"""Whose chains this node keeps: those around its home, and those that it has something to do with.

    its own chain, and those of the neighbours it is connected to
    all who speak in the topic cells around its home, or on its ways
    whoever its person follows, its other devices, and whom they vouch for
    every party of a trade that names this device

A neighbour is told of the cells and of the names that one cannot tell from cells; it then names
only chains that fit. Whether they do shows once they are fetched: a chain that somebody named and
that speaks nowhere here is taken up to UNPLACED_MAX entries, and not followed. Whoever names
false cells gains no more than that, within the quotas of strangers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice

from passby.node.chains import Chains, Forgotten
from passby.node.circle import Circle
from passby.node.following import Following
from passby.node.net import PeerId
from passby.protocol.limits import (
    FOLLOWED_MAX,
    SCOPE_AUTHORS_MAX,
    SCOPE_CELLS_MAX,
    SEQ_MAX,
    SPOKEN_CELLS_MAX,
    UNPLACED_MAX,
)
from passby.protocol.scope import Scope
from passby.protocol.trade import Trade

PARTIES_MAX = SCOPE_AUTHORS_MAX - FOLLOWED_MAX


class Interest:
    """The set of chains that this node keeps, as it changes.

    Args:
        chains: tells of what comes.
        cells: the topic cells around the home.
        following: whom the person follows.
        circle: the person's other devices, and who is vouched for.
    """

    def __init__(
        self, chains: Chains, cells: Collection[int], following: Following, circle: Circle
    ) -> None:
        self._chains = chains
        self._home = frozenset(cells)
        self._ways: frozenset[int] = frozenset()
        self._following = following
        self._circle = circle
        self._spoken: dict[bytes, set[int]] = {}
        self._number = 0
        self._grown: dict[bytes, bool] = {}
        self._neighbours: dict[PeerId, bytes] = {}
        self._parties: dict[bytes, None] = {}
        """Of own trades, those heard of last at the end."""
        self._on_scope: list[Callable[[Scope], None]] = []
        self._on_wants: list[Callable[[Sequence[bytes]], None]] = []
        self._on_spoken: list[Callable[[Sequence[bytes]], None]] = []
        self._scope = self._make_scope()
        self._read_spoken()
        chains.on_heads(self._moved)
        chains.on_forgotten(self._forgotten)
        following.on_changed(self._follow)
        circle.on_changed(lambda _authors: self._renew())
        self._follow()

    def on_scope(self, tell: Callable[[Scope], None]) -> None:
        """Call `tell` with what neighbours are to be told, whenever that changes."""
        self._on_scope.append(tell)

    def on_wants(self, tell: Callable[[Sequence[bytes]], None]) -> None:
        """Call `tell` with authors of whom `wanted_to` says something else than before."""
        self._on_wants.append(tell)

    def on_spoken(self, tell: Callable[[Sequence[bytes]], None]) -> None:
        """Call `tell` with authors that speak in further cells though their heads stand still."""
        self._on_spoken.append(tell)

    # --- what others ask ---------------------------------------------------------------

    def scope(self) -> Scope:
        """Return what neighbours are told."""
        return self._scope

    def spoken(self, author: bytes) -> Collection[int]:
        """Return the topic cells in which an author speaks."""
        return self._spoken.get(author, ())

    def wanted_to(self, author: bytes) -> int:
        """Return the highest seq wanted of an author; SEQ_MAX for all there will be."""
        return SEQ_MAX if self.takes_in(author) else UNPLACED_MAX

    def takes_in(self, author: bytes) -> bool:
        """Tell whether the author's chain is kept and followed here."""
        return self._scope.takes_in(author, self.spoken) or author in self._neighbours.values()

    # --- what changes it ---------------------------------------------------------------

    def travel(self, cells: Iterable[int]) -> None:
        """Take interest in these cells besides those around the home, instead of earlier ones."""
        self._ways = frozenset(islice(cells, SCOPE_CELLS_MAX - len(self._home)))
        self._renew()

    def introduced(self, peer: PeerId, author: bytes | None) -> None:
        """Take which chain a neighbour says is its own; None when it has gone."""
        former = self._neighbours.pop(peer, None)
        if author is not None:
            self._neighbours[peer] = author
        changed = [one for one in (former, author) if one is not None and former != author]
        self._tell_wants(changed)

    def see_trade(self, trade: Trade) -> None:
        """Take note of a trade of this device: its other parties' chains are of interest."""
        before = len(self._parties)
        for party in sorted(set(trade.parties()) - {self._chains.author}):
            self._parties.pop(party, None)
            self._parties[party] = None
        if len(self._parties) != before:
            self._renew()

    def _follow(self) -> None:
        self._circle.follow(self._following.authors())
        self._renew()

    def _make_scope(self) -> Scope:
        me = self._chains.author
        latest = list(self._parties)[-PARTIES_MAX:]
        named = dict.fromkeys((*self._following.authors(), *latest, *self._circle.members()))
        named.pop(me, None)
        return Scope(me, self._home | self._ways, frozenset(islice(named, SCOPE_AUTHORS_MAX)))

    def _renew(self) -> None:
        while len(self._parties) > PARTIES_MAX:
            del self._parties[next(iter(self._parties))]
        former, self._scope = self._scope, self._make_scope()
        if former == self._scope:
            return
        for tell in self._on_scope:
            tell(self._scope)
        cells = former.cells != self._scope.cells
        self._tell_wants(
            list(self._chains.heads) if cells else list(former.authors ^ self._scope.authors)
        )

    def _tell_wants(self, authors: Sequence[bytes]) -> None:
        for tell in self._on_wants if authors else ():
            tell(authors)

    # --- where others speak ------------------------------------------------------------

    def _moved(self, _authors: Iterable[bytes]) -> None:
        # Others are told when all know of the heads: see `tell_grown`.
        self._grown |= self._read_spoken()

    def _forgotten(self, gone: Forgotten) -> None:
        for author in gone.authors:
            self._spoken.pop(author, None)
            self._grown.pop(author, None)

    def tell_grown(self, authors: Iterable[bytes]) -> None:
        """Tell of whom more is wanted now, and of whom others may want more than before.

        Args:
            authors: whose heads have moved, of which everybody has been told.
        """
        moved, grown, self._grown = set(authors), self._grown, {}
        self._tell_wants([author for author, taken in grown.items() if taken])
        still = [author for author in grown if author not in moved]
        for tell in self._on_spoken if still else ():
            tell(still)

    def _read_spoken(self) -> dict[bytes, bool]:
        """Return who speaks in further cells, and whether it is taken in by that."""
        taken: dict[bytes, bool] = {}
        for number, author, cell in self._chains.reader.spoken_since(self._number):
            self._number = number
            if author not in taken:
                taken[author] = self.takes_in(author)
            self._spoken.setdefault(author, set()).add(cell)
        for author in taken:
            if len(self._spoken[author]) > SPOKEN_CELLS_MAX:
                self._spoken[author] = set(self._chains.reader.spoken(author))
        return {author: not was and self.takes_in(author) for author, was in taken.items()}
