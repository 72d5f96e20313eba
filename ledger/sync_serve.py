"""What a sync session serves: the peer's open ranges, and frames within its credit.

Queued are ranges, never entries: frames are built when the writer is free. A frame holds at
most one run of each author, because a reader takes what is linked for one run and checks only
its last signature; and no run is begun without credit for a whole frame, so that none is cut
where its signature may be unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from passby.ledger.chain import Head
from passby.ledger.sync_events import Wanted
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import CREDIT_MAX, FRAME_MAX, OUTGOING_MAX, SEQ_MAX, WANTS_OPEN_MAX
from passby.protocol.messages import (
    ENTRIES_MAX,
    RECORD_MAX,
    Credit,
    End,
    Kind,
    Want,
    encode_message,
    frame,
)
from passby.protocol.packed import place_at


class Range(msgspec.Struct):
    """What is left of a WANT."""

    next_seq: int
    to_seq: int
    stopping: bool = False

    @property
    def follows(self) -> bool:
        """Whether it goes on as the chain grows."""
        return self.to_seq == SEQ_MAX


class Serving:
    """The peer's WANTs, and what is built to answer them.

    Args:
        local: the heads of what can be served.
    """

    def __init__(self, local: Mapping[bytes, Head]) -> None:
        self.credit = CREDIT_MAX
        """Bytes of records that the peer still takes."""
        self._local = local
        self._wanted: dict[bytes, Range] = {}
        self._ready: dict[bytes, None] = {}
        self._ends: list[End] = []
        # The open frame, and the frames closed before it.
        self._records = bytearray()
        self._size = 0
        self._sharing: set[bytes] = set()
        self._closed = bytearray()

    @property
    def built(self) -> int:
        """Bytes of frames that wait for `take_frames`."""
        return len(self._closed) + len(self._records)

    @property
    def is_idle(self) -> bool:
        """Whether nothing that is held waits to be read and sent."""
        return not self._ready and not self.built

    def follows(self, author: bytes) -> bool:
        """Tell whether the peer is sent whatever this author appends."""
        left = self._wanted.get(author)
        return left is not None and left.follows

    # --- what the peer asks ------------------------------------------------------------

    def want(self, want: Want) -> None:
        """Take a WANT.

        Raises:
            RemoteError: one is open for the chain, or there are too many.
        """
        if want.author in self._wanted:
            raise RemoteError(Code.OUT_OF_ORDER, "a second WANT for a chain while one is open")
        if len(self._wanted) >= WANTS_OPEN_MAX:
            raise RemoteError(Code.FLOOD, f"over {WANTS_OPEN_MAX} open WANTs")
        self._wanted[want.author] = Range(want.from_seq, want.to_seq)
        self._ready[want.author] = None

    def take_back(self, author: bytes) -> bool:
        """End a WANT early; False if it was over, since the two may cross.

        Raises:
            RemoteError: the peer asks and takes back without reading our answers.
        """
        left = self._wanted.get(author)
        if left is None:
            return False
        self._end(author, left)
        # An honest peer waits for each END.
        if len(self._ends) > WANTS_OPEN_MAX:
            raise RemoteError(Code.FLOOD, "WANTs taken back and asked again, unread")
        return True

    def give_credit(self, credit: Credit) -> None:
        """Take a CREDIT.

        Raises:
            RemoteError: for more than was sent.
        """
        if self.credit + credit.size > CREDIT_MAX:
            raise RemoteError(Code.FLOOD, "credit for more than was sent")
        self.credit += credit.size

    def local_changed(self, author: bytes) -> None:
        """Look at the author's WANT again: there may be more to send."""
        if author in self._wanted:
            self._ready[author] = None

    def give_up(self) -> None:
        """Forget every WANT."""
        self._wanted.clear()
        self._ready.clear()
        self._ends.clear()

    # --- what we answer ----------------------------------------------------------------

    def next_wanted(self, waiting: int) -> Wanted | None:
        """Return what to read next, or None until there is credit, room or news.

        Args:
            waiting: bytes built before and not yet written.
        """
        while self._ready:
            if waiting + self.built >= OUTGOING_MAX or self.credit < FRAME_MAX:
                return None
            author = next(iter(self._ready))
            del self._ready[author]
            left = self._wanted.get(author)
            if left is None:
                continue
            head = self._local.get(author)
            if head is None or left.next_seq > head.seq:
                if not left.follows:
                    self._end(author, left)
                continue
            if author in self._sharing or ENTRIES_MAX - self._size < RECORD_MAX:
                self._close()
            # To the end of the line: many authors with a little each share a frame.
            self._ready[author] = None
            to_seq = min(left.to_seq, head.seq)
            return Wanted(author, left.next_seq, to_seq, ENTRIES_MAX - self._size)
        return None

    def send_entries(self, author: bytes, records: Sequence[bytes]) -> int:
        """As `Session.send_entries`."""
        left = self._wanted.get(author)
        if left is None:
            return 0
        if not records:
            if self._size:
                self._close()
            else:
                self._end(author, left)
            return 0
        if author in self._sharing or self._size + place_at(records[0], 0).size > ENTRIES_MAX:
            self._close()
        count = 0
        for record in records[: left.to_seq - left.next_seq + 1]:
            place = place_at(record, 0)
            if place.author != author or place.seq != left.next_seq:
                raise ValueError("records that the peer does not want next")
            if place.size > min(ENTRIES_MAX - self._size, self.credit):
                break
            self._records += record
            self._size += place.size
            self.credit -= place.size
            left.next_seq += 1
            count += 1
        if count:
            self._sharing.add(author)
        if left.next_seq > left.to_seq:
            self._forget(author)
        return count

    def take_frames(self) -> bytes:
        """Return all frames built, ENTRIES before the ENDs that follow them."""
        self._close()
        frames = bytes(self._closed) + b"".join(map(encode_message, self._ends))
        self._closed.clear()
        self._ends.clear()
        return frames

    def _end(self, author: bytes, left: Range) -> None:
        self._forget(author)
        self._ends.append(End(author, left.next_seq))

    def _forget(self, author: bytes) -> None:
        del self._wanted[author]
        self._ready.pop(author, None)

    def _close(self) -> None:
        if self._records:
            self._closed += frame(Kind.ENTRIES, bytes(self._records))
            self._records.clear()
            self._sharing.clear()
            self._size = 0
