"""Whether a neighbour holds newer entries of this device than the ledger here does.

A disk or a virtual machine that is set back takes the ledger and the head guard with it, so
that the two agree. What gives it away is a neighbour: each is asked, when its session begins,
for the entry behind the own head. Nothing is appended while a neighbour that came just now has
not answered, nor while one names more than is held: going on would sign a second entry with a
number already used. Entries of the own chain that come back are checked as anybody's, and only
this device can have signed them.

Whoever names more and does not show it is a liar, and is not heeded for OWN_HEAD_DOUBTED_S,
though it goes and comes back.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import trio

from passby.ledger.sync import Session
from passby.node.chains import Chains
from passby.node.head_guard import RestoredError
from passby.node.net import Network, PeerId
from passby.protocol.limits import (
    OWN_HEAD_CLAIMS_MAX,
    OWN_HEAD_DOUBTED_S,
    OWN_HEAD_GIVEN_WITHIN_S,
    OWN_HEAD_WAIT_S,
    SCORE_REJECT,
)

log = logging.getLogger(__name__)


class OwnAsked:
    """What became of asking one neighbour."""

    def __init__(self) -> None:
        self.is_answered = False
        self.asked_from: int | None = None
        """The own seq that was asked for last, until that is over."""


@dataclass(slots=True)
class _Claim:
    """What a peer names and does not show: kept beyond its session, or it would begin anew."""

    own_seq: int
    """The own head when it named more."""
    since_s: float
    has_lied: bool = False


class Neighbour(Protocol):
    """A session with what was asked in it."""

    peer: PeerId
    session: Session
    own: OwnAsked

    def ring(self) -> None:
        """Let what the session has to say be written."""


class OwnHead:
    """Asks neighbours for the own head, and says whether appends may go on.

    Args:
        chains: the own chain, and whose appends are held up.
        network: who is connected, and who is to be penalised.
        links: sessions by peer, a live view.
    """

    def __init__(
        self, chains: Chains, network: Network, links: Callable[[], Mapping[PeerId, Neighbour]]
    ) -> None:
        self._chains = chains
        self._network = network
        self._links = links
        self._bell = trio.Event()
        self._claims: OrderedDict[PeerId, _Claim] = OrderedDict()
        self.is_confirmed = False
        """Whether any neighbour has been asked and answered since the start."""
        chains.before_appending(self.certain)

    def ask(self, link: Neighbour) -> None:
        """Ask for the entry behind the own head, in a session that has begun."""
        session, author = link.session, self._chains.author
        if session.is_asking(author) or not session.can_ask:
            # The chain is being fetched; what is named says how far.
            self._answered(link)
            return
        following = self._chains.head_seq(author) + 1
        link.own.asked_from = following
        session.want(author, following, following)
        link.ring()

    def ended(self, link: Neighbour, *, complete: bool) -> None:
        """Hear that what was asked for of the own chain is over."""
        own, held = link.own, self._chains.head_seq(self._chains.author)
        named = link.session.named_seq(self._chains.author)
        asked_from, own.asked_from = own.asked_from, None
        if (
            named > held
            and not self.has_lied(link.peer)
            and (asked_from is None or held >= asked_from)
        ):
            # More is there; or somebody else's reasons ended it, and this one must say.
            self.ask(link)
            return
        if asked_from is not None and not complete and named > held and not self._is_forked():
            self._lied(link)
        self._answered(link)

    def gone(self) -> None:
        """Hear that a session has ended."""
        self._bell.set()

    async def certain(self) -> None:
        """Return when the own head here is the newest that any neighbour knows.

        Raises:
            RestoredError: a neighbour names newer entries; they are being fetched.
        """
        with trio.move_on_after(OWN_HEAD_WAIT_S):
            while (until_s := self._awaited_until_s()) is not None:
                self._bell = trio.Event()
                with trio.move_on_at(until_s):
                    await self._bell.wait()
        held = self._chains.head_seq(self._chains.author)
        named = max((self._claim(link, held) for link in self._links().values()), default=0)
        if named > held:
            raise RestoredError(
                f"This ledger is not the newest: the own chain ends at entry {held} here, and a"
                f" neighbour holds {named}.",
                "It was set back, with its disk or machine. The missing entries are being fetched;"
                " try again in a moment.",
            )

    def _awaited_until_s(self) -> float | None:
        """Return until when somebody who came just now may still answer."""
        now_s, links = trio.current_time(), self._links()
        awaited = [
            found.since_s + OWN_HEAD_WAIT_S
            for peer, found in self._network.peers().items()
            if peer not in links or not links[peer].own.is_answered
        ]
        return max((until_s for until_s in awaited if until_s > now_s), default=None)

    def _claim(self, link: Neighbour, held: int) -> int:
        """Return how much of the own chain a neighbour names, 0 where it is not to be heeded."""
        named = link.session.named_seq(self._chains.author)
        if named <= held or self._is_forked():
            return 0
        claim = self._claim_of(link.peer, held)
        if trio.current_time() - claim.since_s > OWN_HEAD_GIVEN_WITHIN_S:
            self._lied(link)
        return 0 if claim.has_lied else named

    def _claim_of(self, peer: PeerId, held: int) -> _Claim:
        now_s = trio.current_time()
        claim = self._claims.get(peer)
        if claim is None or now_s - claim.since_s > OWN_HEAD_DOUBTED_S:
            while len(self._claims) >= OWN_HEAD_CLAIMS_MAX:
                self._claims.popitem(last=False)
            claim = self._claims[peer] = _Claim(held, now_s)
        elif claim.own_seq < held and not claim.has_lied:
            # Some of what it named has come.
            claim.own_seq, claim.since_s = held, now_s
        return claim

    def has_lied(self, peer: PeerId) -> bool:
        """Tell whether the peer has named own entries that it did not show."""
        claim = self._claims.get(peer)
        return claim is not None and claim.has_lied

    def _is_forked(self) -> bool:
        # Too late; the chain is refused for that already, and nobody need be doubted.
        return self._chains.is_frozen(self._chains.author)

    def _lied(self, link: Neighbour) -> None:
        claim = self._claim_of(link.peer, self._chains.head_seq(self._chains.author))
        if not claim.has_lied:
            log.warning("%s names own entries that it does not show", link.peer)
            claim.has_lied = True
            self._network.penalise(link.peer, SCORE_REJECT)

    def _answered(self, link: Neighbour) -> None:
        link.own.is_answered = True
        self.is_confirmed = True
        self._bell.set()
