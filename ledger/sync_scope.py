"""Of what each side of a sync session tells the other: its scope, and ours.

Where both sides know scopes, each says its own first, and hears of no chain before. What a scope
takes in is named as heads are: all of it at the beginning, or what has changed since the peer
was last heard, and then whatever changes. Authors that a scope lists are named in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from passby.ledger.chain import Head
from passby.ledger.changes import Heard
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import SCOPES_MAX
from passby.protocol.scope import Scope, covers


class Telling:
    """The two scopes of a session.

    Args:
        ours: what this side wants to hear of; None for all, said to nobody.
        spoken: the topic cells in which an author speaks.
    """

    def __init__(self, ours: Scope | None, spoken: Callable[[bytes], Iterable[int]]) -> None:
        self.theirs: Scope | None = None
        self._ours = ours
        self._spoken = spoken
        self._agreed = False
        self._unsaid: Scope | None = ours
        self._said = 0
        self._taken = 0
        self._is_wider = False

    # --- ours --------------------------------------------------------------------------

    def may_go_on(self, heard: Heard | None) -> bool:
        """Tell whether what was heard takes in all of our scope, but for the authors it lists."""
        cells = self._ours.cells if self._ours is not None else None
        return heard is not None and covers(heard.cells, cells)

    def heard(self, heard: Heard | None) -> Heard | None:
        """Return what was heard, with the scope in which it was; None where that has widened.

        Nothing tells whether the peer had read of a wider scope when it said how far it told.
        """
        if heard is None or self._is_wider:
            return None
        cells = self._ours.cells if self._agreed and self._ours is not None else None
        return msgspec.structs.replace(heard, cells=cells)

    def agree(self, *, scoped: bool) -> None:
        """Take whether both sides know scopes."""
        self._agreed = scoped
        if not scoped:
            self._unsaid = None

    def rescope(self, scope: Scope) -> bool:
        """Want something else from now on; False if it can no longer be said."""
        former, self._ours = self._ours, scope
        if former is None:
            return False
        if not covers(former.cells, scope.cells):
            self._is_wider = True
        if self._said == 0:
            self._unsaid = scope
        elif self._agreed:
            if self._said >= SCOPES_MAX:
                return False
            self._unsaid = scope
        return True

    def take_unsaid(self) -> Scope | None:
        """Return the scope to say, once."""
        scope, self._unsaid = self._unsaid, None
        if scope is not None:
            self._said += 1
        return scope

    # --- theirs ------------------------------------------------------------------------

    @property
    def may_tell(self) -> bool:
        """Whether heads may be named: the peer has said of what, or knows no scopes."""
        return not self._agreed or self.theirs is not None

    def takes_in(self, author: bytes) -> bool:
        """Tell whether the peer is told of an author."""
        return (
            self.theirs is None
            or (self._ours is not None and author == self._ours.own)
            or self.theirs.takes_in(author, self._spoken)
        )

    def take(self, scope: Scope, held: Mapping[bytes, Head]) -> list[bytes]:
        """Take the peer's scope; return the authors to name besides those that have changed.

        Raises:
            RemoteError: it has been said too often, or the peer says to be another than before.
        """
        former, self.theirs = self.theirs, scope
        self._taken += 1
        if self._taken > SCOPES_MAX:
            raise RemoteError(Code.FLOOD, f"over {SCOPES_MAX} SCOPEs in a session")
        if former is None:
            return [author for author in scope.authors if author in held]
        if former.own != scope.own:
            raise RemoteError(Code.BAD_FIELD, "a SCOPE of another chain than before")
        fresh = scope.authors if covers(former.cells, scope.cells) else held
        return [
            author
            for author in fresh
            if author in held
            and scope.takes_in(author, self._spoken)
            and not former.takes_in(author, self._spoken)
        ]
