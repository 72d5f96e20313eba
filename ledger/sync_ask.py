"""What a sync session asks for: our open ranges, searches for a fork, and the credit we give.

Every record must be the next of an open WANT; anything else is a RemoteError at its first
record, so a liar wastes one frame. What the peer is known to hold is one head for each author,
at most PEER_HEADS_MAX: those it named, those it sent, and those that it was sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from passby.ledger.chain import Head as LocalHead
from passby.ledger.changes import NO_INSTANCE, Heard
from passby.ledger.heads import Bisection
from passby.ledger.sync_events import (
    CanFetch,
    Compare,
    Diverged,
    Ended,
    Event,
    HeadConflict,
    Received,
)
from passby.ledger.sync_proofs import Proving
from passby.ledger.sync_serve import Range
from passby.protocol.entry import read_record
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import (
    CREDIT_GRANT_MIN,
    CREDIT_MAX,
    LACKING_MAX,
    PEER_HEADS_MAX,
    SEQ_MAX,
    WANTS_OPEN_MAX,
)
from passby.protocol.messages import ID_SHORT, Changes, End, Entries, Head, Hello, Want
from passby.protocol.packed import Place, joined


class Asking:
    """What the peer holds, our WANTs, and what of the answers is not yet admitted.

    Args:
        local: the admitted head of each chain, by author.
        wanted_to: the highest seq wanted of an author, 0 for none.
        events: where to put what the session tells next.
        proving: hears of whom the peer holds something.
    """

    def __init__(
        self,
        local: Mapping[bytes, LocalHead],
        wanted_to: Callable[[bytes], int],
        events: deque[Event],
        proving: Proving,
    ) -> None:
        self.in_flight = 0
        """Bytes of records received and not yet `consumed`, or not yet granted again."""
        self.their_heads: dict[bytes, tuple[int, bytes]] = {}
        """author -> (seq, first bytes of the id) of what the peer is known to hold."""
        self._local = local
        self._wanted_to = wanted_to
        self._events = events
        self._proving = proving
        self._finishing = False
        self._asked: dict[bytes, Range] = {}
        self._unsaid: list[Want] = []
        self._bisections: dict[bytes, Bisection] = {}
        self._to_bisect: dict[bytes, int] = {}
        self._to_grant = 0
        self._their_instance = NO_INSTANCE
        self._their_number = 0

    # --- what the peer holds -----------------------------------------------------------

    def take_hello(self, hello: Hello, before: Heard | None) -> None:
        """Go on from what was heard `before`, if that is from this instance of the peer."""
        self._their_instance = hello.instance
        if before is not None and before.instance == hello.instance:
            self._their_number = before.number
            self.their_heads.update(before.lacking)
            for author, (seq, short_id) in before.lacking.items():
                self._weigh(author, seq, short_id)

    def take_head(self, head: Head) -> bool:
        """Take a head that the peer names; True if it holds less of the chain than before."""
        named = (head.seq, head.short_id)
        before = self.their_heads.get(head.author)
        if before == named:
            return False
        self._remember(head.author, *named)
        self._weigh(head.author, *named)
        return before is not None and head.seq < before[0]

    def take_changes(self, changes: Changes) -> None:
        """Take up to which of its changes the peer has named all."""
        self._their_number = changes.number

    def holds(self, place: Place, packed: bytes) -> None:
        """Note that the peer holds the record at `place`: it came from there, or went there."""
        known = self.their_heads.get(place.author)
        if known is None or known[0] < place.seq:
            self._remember(place.author, place.seq, place.short_id(packed))

    def local_changed(self, author: bytes) -> None:
        """Hold the peer's head against our new one, if they are at the same seq."""
        named = self.their_heads.get(author)
        if named is not None and named[0] == self._held(author):
            self._weigh(author, *named)

    def heard(self) -> Heard | None:
        """As `Session.heard`, once the peer has said HELLO."""
        if not self._their_number or len(self.their_heads) >= PEER_HEADS_MAX:
            return None
        named = self.their_heads
        lacking = {author: head for author, head in named.items() if self._lacks(author, head)}
        if len(lacking) > LACKING_MAX:
            return None
        return Heard(self._their_instance, self._their_number, lacking)

    def _lacks(self, author: bytes, named: tuple[int, bytes]) -> bool:
        own = self._local.get(author)
        if own is None or named[0] > own.seq:
            return True
        return named[0] == own.seq and named[1] != own.id[:ID_SHORT]

    def _remember(self, author: bytes, seq: int, short_id: bytes) -> None:
        self._proving.concerns((author,), surely=True)
        if author in self.their_heads or len(self.their_heads) < PEER_HEADS_MAX:
            self.their_heads[author] = (seq, short_id)

    def _weigh(self, author: bytes, seq: int, short_id: bytes) -> None:
        """Hold the peer's head against ours."""
        own = self._local.get(author)
        if own is not None and seq == own.seq:
            if own.id[:ID_SHORT] != short_id:
                self._events.append(HeadConflict(author, seq))
        elif not self.is_asking(author) and (found := self._beyond(author, seq)) is not None:
            self._events.append(found)

    def _beyond(self, author: bytes, seq: int) -> CanFetch | None:
        """Return what is wanted of a chain that the peer holds up to `seq`."""
        held = self._held(author)
        if seq <= held:
            return None
        to_seq = min(seq, self._wanted_to(author))
        return CanFetch(author, held + 1, to_seq) if to_seq > held else None

    def _held(self, author: bytes) -> int:
        own = self._local.get(author)
        return own.seq if own is not None else 0

    # --- what we ask for ---------------------------------------------------------------

    def can_fetch(self, author: bytes) -> CanFetch | None:
        """As `Session.can_fetch`, until the peer has said DONE."""
        seq, _ = self.their_heads.get(author, (0, b""))
        return None if self.is_asking(author) else self._beyond(author, seq)

    def is_asking(self, author: bytes) -> bool:
        """Tell whether a range or a bisection of this chain is open with the peer."""
        return author in self._asked or author in self._bisections

    def asked_to(self, author: bytes) -> int:
        """As `Session.asked_to`."""
        asked = self._asked.get(author)
        return asked.to_seq if asked is not None else 0

    @property
    def can_ask(self) -> bool:
        """Whether a further range may be asked for."""
        return len(self._asked) < WANTS_OPEN_MAX and not self._finishing

    def want(self, author: bytes, from_seq: int, to_seq: int) -> None:
        """As `Session.want`."""
        if self.is_asking(author) or not 1 <= from_seq <= to_seq <= SEQ_MAX:
            raise ValueError("a range is open for this author, or this is none")
        if len(self._asked) >= WANTS_OPEN_MAX:
            raise ValueError(f"{WANTS_OPEN_MAX} ranges are open with one peer")
        if not self._finishing:
            self._ask(author, from_seq, to_seq)

    def _ask(self, author: bytes, from_seq: int, to_seq: int) -> None:
        self._asked[author] = Range(from_seq, to_seq)
        self._unsaid.append(Want(author, from_seq, to_seq))

    def stop(self, author: bytes) -> None:
        """As `Session.stop`."""
        self._to_bisect.pop(author, None)
        asked = self._asked.get(author)
        if asked is None:
            self._bisections.pop(author, None)
        elif not asked.stopping:
            asked.stopping = True
            self._unsaid.append(Want(author, 0, 0))

    def bisect(self, author: bytes, seq: int) -> None:
        """As `Session.bisect`."""
        if author in self._bisections or self._finishing:
            return
        if author in self._asked:
            self.stop(author)
            self._to_bisect[author] = seq
            return
        search = Bisection(seq)
        self._ask(author, search.ask, search.ask)
        self._bisections[author] = search

    def compared(self, compare: Compare, own_id: bytes) -> bool:
        """As `Session.compared`; False if the peer does not hold the head that it named."""
        author = compare.author
        search = self._bisections.get(author)
        if search is None and not self.is_asking(author):
            # Stopped while this answer waited: nothing else will tell that it is over.
            self._events.append(Ended(author, complete=False))
        if search is None or search.ask != compare.record.entry.seq or self._finishing:
            return True
        if not search.told(compare.record, own_id):
            del self._bisections[author]
            return False
        self._search_on(author, search)
        return True

    def _search_on(self, author: bytes, search: Bisection) -> None:
        if (found := search.found) is not None:
            del self._bisections[author]
            self._events.append(Diverged(author, found))
        else:
            self._ask(author, search.ask, search.ask)

    def consumed(self, size: int) -> None:
        """As `Session.consumed`."""
        self._to_grant += size

    def take_wants(self) -> list[Want]:
        """Return the WANTs to say, once."""
        wants, self._unsaid = self._unsaid, []
        return wants

    def take_grant(self) -> int:
        """Return the bytes of credit to give, once; 0 while they are not worth a frame."""
        if self._to_grant < CREDIT_GRANT_MIN:
            return 0
        size, self._to_grant = self._to_grant, 0
        self.in_flight -= size
        return size

    def finish(self) -> None:
        """Ask for nothing more. Answers to what was asked may still come."""
        self._finishing = True
        self._unsaid.clear()

    def give_up(self) -> None:
        """Forget what was asked for: no answer will come."""
        self._asked.clear()
        self._bisections.clear()
        self._to_bisect.clear()

    # --- what the peer answers ---------------------------------------------------------

    def take_entries(self, entries: Entries) -> None:
        """Take records.

        Raises:
            RemoteError: one was not asked for, or they are beyond the credit.
        """
        self.in_flight += entries.size
        if self.in_flight > CREDIT_MAX:
            raise RemoteError(Code.FLOOD, "records beyond the credit")
        plain: list[Place] = []
        last: dict[bytes, Place] = {}
        after: list[Event] = []
        for place in entries.places:
            author, seq = place.author, place.seq
            asked = self._asked.get(author)
            if asked is None or seq != asked.next_seq:
                raise RemoteError(Code.OUT_OF_ORDER, "an entry nobody asked for")
            asked.next_seq += 1
            complete = seq == asked.to_seq
            if complete:
                del self._asked[author]
            if author in self._bisections:
                after.append(Compare(author, read_record(entries.packed, place.start)[0]))
                continue
            plain.append(place)
            last[author] = place
            if complete:
                after.append(self._ended(author, complete=True))
        for place in last.values():
            self.holds(place, entries.packed)
        if plain:
            whole = len(plain) == len(entries.places)
            packed = entries.packed if whole else joined(entries.packed, plain)
            self._events.append(Received(packed, len(plain), entries.size))
        else:
            self.consumed(entries.size)
        self._events.extend(after)

    def take_end(self, end: End) -> None:
        """Take the end of a range.

        Raises:
            RemoteError: it is not open, or is at another seq.
        """
        asked = self._asked.pop(end.author, None)
        if asked is None or end.next_seq != asked.next_seq:
            raise RemoteError(Code.OUT_OF_ORDER, "END of what was not open")
        search = self._bisections.get(end.author)
        if search and not asked.stopping and not self._finishing and search.pass_over():
            self._search_on(end.author, search)
            return
        self._bisections.pop(end.author, None)
        self._events.append(self._ended(end.author, complete=False))

    def _ended(self, author: bytes, *, complete: bool) -> Ended:
        """Begin the search that waited for this end, if one did."""
        if (seq := self._to_bisect.pop(author, None)) is not None:
            self.bisect(author, seq)
        return Ended(author, complete)
