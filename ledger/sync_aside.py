"""What a sync session carries beside chains: root statements, and what entries lack here.

Payloads and signatures are asked for by the ids of their entries, one list at a time, and
answered one by one in that order. The side that answers builds a frame when its writer is free,
and the side that asks waits for the whole answer: so neither holds more than one list and one
frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from passby.ledger.sync_events import Copied, Event
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import PAYLOADS_ASKED_MAX, PAYLOADS_PER_FRAME_MAX
from passby.protocol.messages import Message
from passby.protocol.messages_aside import Ask, Copy, Feature, Payloads, Statements


class Aside:
    """Both halves of it.

    Args:
        events: where to put what the session tells next.
    """

    def __init__(self, events: deque[Event]) -> None:
        self.agreed = Feature(0)
        """The features of both sides, once both have said HELLO."""
        self._events = events
        self._to_say: deque[Message] = deque()
        self._asked: deque[bytes] = deque()
        self._owed: deque[bytes] = deque()

    # --- what we ask for, and say ------------------------------------------------------

    @property
    def can_ask(self) -> bool:
        """Whether copies may be asked for now."""
        return Feature.PAYLOADS in self.agreed and not self._asked

    def ask(self, ids: Sequence[bytes]) -> None:
        """As `Session.ask_copies`."""
        if not self.can_ask or not 1 <= len(ids) <= PAYLOADS_ASKED_MAX:
            raise ValueError("a list is open, or this is none")
        self._asked.extend(ids)
        self._to_say.append(Ask(tuple(ids)))

    def state(self, raws: Iterable[bytes]) -> None:
        """As `Session.state`."""
        if Feature.STATEMENTS in self.agreed:
            self._to_say.extend(Statements((raw,)) for raw in raws)

    def take_payloads(self, payloads: Payloads) -> None:
        """Take answers.

        Raises:
            RemoteError: more than was asked for.
        """
        for copy in payloads.copies:
            if not self._asked or copy.id != self._asked.popleft():
                raise RemoteError(Code.OUT_OF_ORDER, "a payload nobody asked for")
            self._events.append(Copied(copy, last=not self._asked))

    # --- what we answer ----------------------------------------------------------------

    def take_ask(self, ask: Ask) -> None:
        """Take the peer's question.

        Raises:
            RemoteError: the one before is not answered yet.
        """
        if self._owed:
            raise RemoteError(Code.OUT_OF_ORDER, "an ASK while one is open")
        self._owed.extend(ask.ids)

    def next_owed(self) -> list[bytes]:
        """Return the ids to answer in one frame, none while another waits to be written."""
        if self._to_say:
            return []
        return [self._owed[at] for at in range(min(len(self._owed), PAYLOADS_PER_FRAME_MAX))]

    def answer(self, copies: Sequence[Copy]) -> None:
        """As `Session.send_copies`."""
        ids = self.next_owed()[: len(copies)]
        if not copies or [copy.id for copy in copies] != ids:
            raise ValueError("not what the peer asks for next")
        for _ in ids:
            self._owed.popleft()
        self._to_say.append(Payloads(tuple(copies)))

    # --- both --------------------------------------------------------------------------

    def take_message(self) -> Message | None:
        """Return the next message to say, or None."""
        return self._to_say.popleft() if self._to_say else None

    def finish(self) -> None:
        """Say nothing more. Answers to what was asked may still come."""
        self._to_say.clear()
        self._owed.clear()

    def give_up(self) -> None:
        """Forget what was asked for: no answer will come."""
        self._asked.clear()
