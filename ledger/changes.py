"""Head changes in the order in which they came, so that a peer who was away hears only of those.

Every change of a head has a number, counted from the start of this instance of the node. Who
has heard of all up to a number says so when it comes again; an author that changed a hundred
times since is named once. The count starts anew with each instance, and then all is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import PEER_HEADS_MAX, SEQ_MAX, WANTS_PER_FRAME_MAX
from passby.protocol.messages import Follow, Follows, Head, Message, Want, Wants

T = TypeVar("T")
INSTANCE_BYTES = 16
NO_INSTANCE = bytes(INSTANCE_BYTES)


class Heard(msgspec.Struct, frozen=True):
    """What was heard from a peer in earlier sessions."""

    instance: bytes
    """The peer's, as it counts its changes."""
    number: int
    """The last change of which this side is sure to have heard."""
    lacking: Mapping[bytes, tuple[int, bytes]]
    """author -> (seq, first bytes of the id) of heads that it named and that are not held here."""
    cells: frozenset[int] | None = None
    """The topic cells of whose authors it told; None for every cell."""


class HeadChanges:
    """The numbered changes of one instance.

    Args:
        instance: 16 random bytes, new with each start.
        authors: whose chains are held at the start.
    """

    def __init__(self, instance: bytes, authors: Iterable[bytes] = ()) -> None:
        self.instance = instance
        self.number = 0
        """Of the newest change."""
        self._number_of: dict[bytes, int] = {}
        for author in authors:
            self.note(author)

    def note(self, author: bytes) -> None:
        """Number a change of the author's head."""
        self.number += 1
        # The dictionary's order is that of the last changes.
        self._number_of.pop(author, None)
        self._number_of[author] = self.number

    def drop(self, author: bytes) -> None:
        """Forget an author whose chain is held no longer."""
        self._number_of.pop(author, None)

    def since(self, number: int) -> list[bytes]:
        """Return the authors whose heads have changed after `number`, the oldest change first."""
        changed: list[bytes] = []
        for author, its in reversed(self._number_of.items()):
            if its <= number:
                break
            changed.append(author)
        return changed[::-1]


class NamedHeads:
    """Heads by their place among all that each side has named in one session.

    Who asks for what was just named need not say 32 bytes of each author again. Places beyond
    PEER_HEADS_MAX are not remembered; those chains are asked for by author.
    """

    def __init__(self) -> None:
        self._ours: list[bytes] = []
        self._theirs = 0
        self._place: dict[bytes, int] = {}

    def named(self, heads: Iterable[Head]) -> None:
        """Note heads that this side names."""
        for head in heads:
            if len(self._ours) < PEER_HEADS_MAX:
                self._ours.append(head.author)

    def heard(self, heads: Iterable[Head]) -> None:
        """Note heads that the other side names."""
        for head in heads:
            if self._theirs < PEER_HEADS_MAX:
                self._place[head.author] = self._theirs
                self._theirs += 1

    def want(self, follow: Follow) -> Want:
        """Return the WANT that a FOLLOW stands for.

        Raises:
            RemoteError: of a head that was not named.
        """
        if follow.place >= len(self._ours):
            raise RemoteError(Code.BAD_FIELD, "a FOLLOW of a head that was not named")
        return Want(self._ours[follow.place], follow.from_seq, SEQ_MAX)

    def asking(self, wants: Sequence[Want]) -> list[Message]:
        """Return the messages that ask for `wants`."""
        placed = [want for want in wants if want.follows and want.author in self._place]
        # One alone would be a frame so small that it counts as one of a flood.
        placed = placed if len(placed) > 1 else []
        chosen = {want.author for want in placed}
        rest = [want for want in wants if not (want.follows and want.author in chosen)]
        follows = [Follow(self._place[want.author], want.from_seq) for want in placed]
        # A WANT that takes back may be of a chain that was asked for just before.
        return [
            *(Follows(tuple(part)) for part in _parts(follows)),
            *(Wants(tuple(part)) for part in _parts(rest)),
        ]


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), WANTS_PER_FRAME_MAX):
        yield items[start : start + WANTS_PER_FRAME_MAX]
