"""One neighbour: heads, wants, entries and credit, without a socket or a store.

Both sides do the same. Each says HELLO and waits for the other's, so that a stranger's
network learns nothing; then it names the heads of all it holds (HEADS ... LISTED), and from
then on only the heads that change, for as long as the session lives. Each asks for what it
lacks (WANT) and serves what the other lacks (ENTRIES, within CREDIT; END where there is no
more). A WANT without an upper end is served on as the chain grows: that is how one eager
neighbour for each author brings news in one frame, while the others only name heads.

What one side may say is a machine of four phases, and TRANSITIONS is the whole of it. Both
directions obey the same table: a frame that the peer's phase does not allow is the peer's
fault, one that ours does not allow is a bug of ours. HELLO comes first and once, LISTED once,
DONE last. DONE alone is success: a reset often arrives as a plain end of stream.

Besides the order there is what was asked for: `sync_ask` holds our questions and what may
answer them, `sync_serve` the peer's. Whether a record is *true* is for `ledger.ingest`: take an
event, admit its records, then take the next.

Nothing here grows with the peer's wishes. Incoming bytes are bounded by `FrameReader`,
outgoing ones by OUTGOING_MAX: what waits is a set of authors whose head has changed, and one
range for each WANT, and frames are built from them when the writer is free. After a cut a
new session goes on from the local heads, and there is nothing else to remember.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, assert_never

from passby.ledger.chain import Head as LocalHead
from passby.ledger.changes import NO_INSTANCE, HeadChanges, Heard, NamedHeads
from passby.ledger.sync_aside import Aside
from passby.ledger.sync_ask import Asking
from passby.ledger.sync_events import (
    Accused,
    CanFetch,
    Compare,
    Event,
    Finished,
    Introduced,
    ListRead,
    Met,
    Stated,
    Wanted,
)
from passby.ledger.sync_proofs import Proving
from passby.ledger.sync_scope import Telling
from passby.ledger.sync_serve import Serving
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import (
    CHANGES_EVERY,
    HEADS_PER_FRAME_MAX,
    OUTGOING_MAX,
    SEQ_MAX,
    STREAM_WRITE_MAX,
    UNKNOWN_FRAMES_MAX,
)
from passby.protocol.messages import (
    ID_SHORT,
    NEEDS,
    Changes,
    Credit,
    Done,
    End,
    Entries,
    Follows,
    FrameReader,
    Head,
    Heads,
    Hello,
    Kind,
    Listed,
    Message,
    Unknown,
    Want,
    Wants,
    decode_message,
    encode_message,
)
from passby.protocol.messages_aside import Ask, Copy, Feature, Payloads, ProofPart, Statements
from passby.protocol.packed import place_at
from passby.protocol.scope import Scope


class Phase(StrEnum):
    """How far one side has come."""

    START = "start"
    LISTING = "listing"
    LIVE = "live"
    OVER = "over"


_TALK: Final = (
    Kind.HEADS,
    Kind.WANT,
    Kind.FOLLOW,
    Kind.CHANGES,
    Kind.ENTRIES,
    Kind.END,
    Kind.CREDIT,
    *NEEDS,
)

TRANSITIONS: Final[dict[Phase, dict[Kind, Phase]]] = {
    Phase.START: {Kind.HELLO: Phase.LISTING},
    Phase.LISTING: {
        **dict.fromkeys(_TALK, Phase.LISTING),
        Kind.LISTED: Phase.LIVE,
        Kind.DONE: Phase.OVER,
    },
    Phase.LIVE: {**dict.fromkeys(_TALK, Phase.LIVE), Kind.DONE: Phase.OVER},
    Phase.OVER: {},
}


class Session:
    """The state of sync with one peer.

    Feed what the stream brings (`receive_data`, at most `room` bytes) and take events until
    there is none; write what `data_to_send` gives whenever the writer is free, and before
    that ask `next_wanted` until it gives None.

    Args:
        network: 32 bytes that both sides must share.
        local: the admitted head of each chain, by author. The caller owns it, one for all
            sessions, and calls `local_changed` after each change.
        wanted_to: the highest seq wanted of an author: 0 for none, SEQ_MAX for all there will be.
        features: feature bits of this side.
        at_ms: this side's clock, Unix milliseconds, which the peer holds against its own.
        changes: numbers the changes of `local`; note each before `local_changed`.
        heard: what the last session with this peer ended with.
        false_from: the seq from which an author is proven false, None for the others; call
            `proven_false` after each change.
        scope: of what this side wants to hear; None for all there is.
        spoken: the topic cells in which an author speaks; call `local_changed` after a change.
    """

    def __init__(
        self,
        network: bytes,
        local: Mapping[bytes, LocalHead],
        wanted_to: Callable[[bytes], int],
        features: int = 0,
        at_ms: int = 0,
        changes: HeadChanges | None = None,
        heard: Heard | None = None,
        false_from: Callable[[bytes], int | None] = lambda _author: None,
        scope: Scope | None = None,
        spoken: Callable[[bytes], Iterable[int]] = lambda _author: (),
    ) -> None:
        self.ours = Phase.START
        self.theirs = Phase.START
        self._network = network
        self._features = features | (Feature.SCOPE if scope is not None else 0)
        self._at_ms = at_ms
        self._local = local
        self._reader = FrameReader()
        self._events: deque[Event] = deque()
        self._fault: RemoteError | None = None
        self._unknown = 0
        self._finishing = False
        # What we ask for.
        self._proving = Proving(false_from)
        self._asking = Asking(local, wanted_to, self._events, self._proving)
        self._their_heads: Mapping[bytes, tuple[int, bytes]] = self._asking.their_heads
        self._names = NamedHeads()
        self._telling = Telling(scope, spoken)
        self._heard_before = heard if self._telling.may_go_on(heard) else None
        # What we serve.
        self._changes = changes
        self._told = 0
        self._serving = Serving(local)
        self._changed: dict[bytes, None] = dict.fromkeys(local)
        self._went_back: set[bytes] = set()
        self._out = bytearray()
        # Beside chains.
        self._aside = Aside(self._events)

    # --- what the peer says ------------------------------------------------------------

    @property
    def room(self) -> int:
        """Bytes that `receive_data` takes now."""
        return self._reader.room

    @property
    def in_flight(self) -> int:
        """Bytes of records received and not yet `consumed`, or not yet granted again."""
        return self._asking.in_flight

    @property
    def is_over(self) -> bool:
        """Whether both sides have said DONE and all of it is written."""
        return self.ours is self.theirs is Phase.OVER and not self._out

    def receive_data(self, data: bytes) -> None:
        """Take bytes off the stream, at most `room`; they are read by `next_event`."""
        self._reader.feed(data)

    def receive_eof(self) -> None:
        """Take the end of the stream.

        Raises:
            RemoteError: GONE, without penalty, unless the peer has said DONE.
        """
        if self.theirs is not Phase.OVER:
            raise RemoteError(Code.GONE, "the stream ended without DONE", penalty=0)

    def next_event(self) -> Event | None:
        """Return the next event, or None until more is received.

        Frames are read one at a time: none is looked into before the events of the one
        before it are taken.

        Raises:
            RemoteError: the peer broke the protocol. Every later call raises it again.
        """
        if self._fault is not None:
            raise self._fault
        try:
            while not self._events:
                taken = self._reader.take()
                if taken is None:
                    return None
                self._hear(*taken)
        except RemoteError as fault:
            self._fault = fault
            raise
        return self._events.popleft()

    def _hear(self, kind: int, body: bytes) -> None:
        if kind in _TALKED and NEEDS.get(Kind(kind), Feature(0)) in self._aside.agreed:
            heard = Kind(kind)
            if heard not in TRANSITIONS[self.theirs]:
                raise RemoteError(Code.OUT_OF_ORDER, f"{heard.name} when {self.theirs}")
            message = decode_message(kind, body)
            self.theirs = TRANSITIONS[self.theirs][heard]
        elif self.theirs in (Phase.START, Phase.OVER):
            raise RemoteError(Code.OUT_OF_ORDER, f"a frame of kind {kind} when {self.theirs}")
        else:
            message = Unknown(kind, len(body))
        self._take(message)

    def _take(self, message: Message) -> None:  # noqa: PLR0912  # one branch for each message
        match message:
            case Hello():
                self._take_hello(message)
            case Heads():
                self._names.heard(message.heads)
                for head in message.heads:
                    if self._asking.take_head(head):
                        # What it set aside may have kept us from naming ours.
                        self._changed[head.author] = None
            case Listed():
                self._events.append(ListRead())
            case Wants():
                for want in message.wants:
                    self._take_want(want)
            case Follows():
                for follow in message.follows:
                    self._take_want(self._names.want(follow))
            case Changes():
                self._asking.take_changes(message)
            case Entries():
                self._asking.take_entries(message)
            case End():
                self._asking.take_end(message)
            case Credit():
                self._serving.give_credit(message)
            case Statements():
                self._events.append(Stated(message.raws))
            case Ask():
                self._aside.take_ask(message)
            case Payloads():
                self._aside.take_payloads(message)
            case ProofPart():
                proof = self._proving.take(message.body)
                if proof is not None:
                    self._events.append(Accused(proof))
            case Scope():
                self._take_scope(message)
            case Done():
                self._asking.give_up()
                self._aside.give_up()
                self._events.append(Finished())
                self.finish()
            case Unknown():
                self._take_unknown()
            case _:
                assert_never(message)

    def _take_hello(self, hello: Hello) -> None:
        if hello.network != self._network:
            raise RemoteError(Code.VERSION, "a peer of another network", penalty=0)
        self._aside.agreed = Feature(hello.features & self._features)
        self._telling.agree(scoped=Feature.SCOPE in self._aside.agreed)
        self._events.append(Met(hello.features & self._features, hello.at_ms))
        own = self._changes
        if own is not None and hello.heard == own.instance and hello.since <= own.number:
            self._changed = dict.fromkeys(own.since(hello.since))
        self._asking.take_hello(hello, self._heard_before)

    def _take_scope(self, scope: Scope) -> None:
        if self._telling.theirs is None:
            self._events.append(Introduced(scope.own))
        self._changed |= dict.fromkeys(self._telling.take(scope, self._local))

    def _take_want(self, want: Want) -> None:
        if want.takes_back:
            if self._serving.take_back(want.author):
                self._changed[want.author] = None
        elif not self._finishing:
            self._serving.want(want)

    def _take_unknown(self) -> None:
        self._unknown += 1
        if self._unknown > UNKNOWN_FRAMES_MAX:
            raise RemoteError(Code.FLOOD, "frames of kinds that were not agreed on")

    def heard(self) -> Heard | None:
        """Return what the next session with this peer may begin with; None to hear all again.

        Ask when the session is over, and what it received is admitted.
        """
        if self.theirs is Phase.START:
            return self._heard_before
        return self._telling.heard(self._asking.heard())

    # --- what we ask for ---------------------------------------------------------------

    def can_fetch(self, author: bytes) -> CanFetch | None:
        """Return what the peer says it holds and we want of a chain, unless it is asked for.

        For when an author's other neighbour went away, or more is wanted than before: CanFetch
        events come once.
        """
        return None if self.theirs is Phase.OVER else self._asking.can_fetch(author)

    def named_seq(self, author: bytes) -> int:
        """Return up to which seq the peer says that it holds a chain, 0 for none."""
        return self._their_heads.get(author, (0, b""))[0]

    def is_asking(self, author: bytes) -> bool:
        """Tell whether a range or a bisection of this chain is open with the peer."""
        return self._asking.is_asking(author)

    def asked_to(self, author: bytes) -> int:
        """Return where the range ends that is open for this chain; 0 where there is none."""
        return self._asking.asked_to(author)

    @property
    def can_ask(self) -> bool:
        """Whether a further range may be asked for."""
        return self._asking.can_ask

    def want(self, author: bytes, from_seq: int, to_seq: int) -> None:
        """Ask for a range, both ends included; `Ended` tells when it is over.

        Raises:
            ValueError: one is open for this author, or there are too many: look first.
        """
        self._asking.want(author, from_seq, to_seq)

    def follow(self, author: bytes, from_seq: int) -> None:
        """Ask for a chain from `from_seq` on, and for what is appended to it later."""
        self.want(author, from_seq, SEQ_MAX)

    def stop(self, author: bytes) -> None:
        """Take a `want` or `follow` back. Records may still come until `Ended` does.

        A bisection is given up with it.
        """
        self._asking.stop(author)

    def bisect(self, author: bytes, seq: int) -> None:
        """Search for the first entry where the peer's chain and ours differ, up to `seq`.

        Our own entry at `seq` differs from the peer's, as its head says, or its next entry
        that does not link to ours. A range that is open is stopped first. Brings Compare
        events, and at last Diverged (or Ended, if the peer does not go along).
        """
        self._asking.bisect(author, seq)

    def compared(self, compare: Compare, own_id: bytes) -> None:
        """Answer a Compare with the id of our own entry at its seq.

        Where the bisection was stopped meanwhile, `Ended` follows.
        """
        if not self._asking.compared(compare, own_id):
            self._fault = RemoteError(Code.BAD_FIELD, "a head that the peer does not hold")

    def consumed(self, size: int) -> None:
        """Say that records of `size` bytes are admitted, so that as many more may come."""
        self._asking.consumed(size)

    # --- beside chains -----------------------------------------------------------------

    def state(self, raws: Iterable[bytes]) -> None:
        """Tell root statements, each verified, if the peer reads such."""
        self._aside.state(raws)

    @property
    def can_ask_copies(self) -> bool:
        """Whether copies may be asked for: the peer gives such, and no list is open."""
        return self._aside.can_ask and not self._finishing

    def ask_copies(self, ids: Sequence[bytes]) -> None:
        """Ask for payload and signature of entries that are held; `Copied` answers each.

        Raises:
            ValueError: they may not be asked for now, or are none or too many.
        """
        self._aside.ask(ids)

    def next_owed(self) -> Sequence[bytes]:
        """Return ids of entries whose copies the peer waits for, as many as one frame holds.

        Answer with `send_copies`. None while others wait to be written.
        """
        if self._finishing or len(self._out) + self._serving.built >= OUTGOING_MAX:
            return ()
        return self._aside.next_owed()

    def send_copies(self, copies: Sequence[Copy]) -> None:
        """Answer the first of those that `next_owed` gave, in order.

        Raises:
            ValueError: others than those.
        """
        self._aside.answer(copies)

    # --- proofs ------------------------------------------------------------------------

    def proven_false(self, authors: Iterable[bytes]) -> None:
        """Say that these authors are now proven false, or from an earlier seq on than before.

        Say it also where the peer brings news of one otherwise than on this stream.
        """
        self._proving.concerns(authors, surely=False)

    def next_to_prove(self) -> bytes | None:
        """Return an author of whose lie the peer is to be told, or None."""
        told = self.ours is not Phase.START and Feature.PROOFS in self._aside.agreed
        if not told or self._finishing or self._fault is not None:
            return None
        return self._proving.next_due(surely=self.theirs is not Phase.LIVE)

    def send_proof(self, frames: Sequence[bytes]) -> None:
        """Send a proof, by its frames, against the author that `next_to_prove` gave."""
        self._proving.tell(frames)

    def holds_proof(self, author: bytes, seq: int) -> None:
        """Say that the peer holds a true proof against `author` from `seq` on."""
        self._proving.heard(author, seq)

    # --- what we serve -----------------------------------------------------------------

    def local_changed(self, author: bytes, *, went_back: bool = False) -> None:
        """Say that `local` has a new head for `author`, after it is on disk.

        One that `went_back` is named even to a peer that holds more: it may have been silent
        because we did.
        """
        self._changed[author] = None
        if went_back:
            self._went_back.add(author)
        self._serving.local_changed(author)
        self._asking.local_changed(author)

    def next_wanted(self) -> Wanted | None:
        """Return what to read for the peer next, or None until credit or the buffer has room.

        Answer with `send_entries`, before the next call or after others.
        """
        talking = Phase.START not in (self.ours, self.theirs)
        if self._fault is not None or not talking or self._finishing:
            return None
        return self._serving.next_wanted(len(self._out))

    def send_entries(self, author: bytes, records: Sequence[bytes]) -> int:
        """Send a run of a chain, from the next wanted record on; the last signature is checked.

        Args:
            author: whose.
            records: as they travel.

        Returns how many went: those up to the WANT's end that fit in one frame. None given
        says that the store has no such run of `max_bytes`, which ends the WANT, unless a
        whole frame can still be tried.

        Raises:
            ValueError: not the records that `next_wanted` named.
        """
        count = self._serving.send_entries(author, records)
        if count:
            packed = records[count - 1]
            self._asking.holds(place_at(packed, 0), packed)
        return count

    def finish(self) -> None:
        """Say DONE once what is already built is written; open wants are given up.

        Records that were under way may still be received until the peer's DONE.
        """
        self._finishing = True
        self._asking.finish()
        self._serving.give_up()
        self._aside.finish()

    def rescope(self, scope: Scope) -> None:
        """Say that this side wants to hear of something else from now on.

        The session ends if that was said too often, or cannot be said to this peer.
        """
        if not self._telling.rescope(scope):
            self.finish()

    # --- what we say -------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        """Return the next piece to write, at most STREAM_WRITE_MAX bytes; empty if none."""
        if not self._out and self._fault is None:
            self._fill()
        piece = bytes(memoryview(self._out)[:STREAM_WRITE_MAX])
        del self._out[: len(piece)]
        return piece

    def _fill(self) -> None:
        if self.ours is Phase.START:
            before, changes = self._heard_before, self._changes
            hello = Hello(
                self._network,
                self._features,
                at_ms=self._at_ms,
                instance=changes.instance if changes is not None else NO_INSTANCE,
                heard=before.instance if before is not None else NO_INSTANCE,
                since=before.number if before is not None else 0,
            )
            self._say(hello)
        if self.theirs is Phase.START or self.ours is Phase.OVER:
            return
        if self._finishing:
            self._say_entries()
            self._say(Done())
            return
        if (scope := self._telling.take_unsaid()) is not None:
            self._say(scope)
        for message in self._names.asking(self._asking.take_wants()):
            self._say(message)
        if size := self._asking.take_grant():
            self._say(Credit(size))
        self._say_heads()
        self._say_entries()
        while len(self._out) < OUTGOING_MAX and (aside := self._aside.take_message()) is not None:
            self._say(aside)
        if frames := self._proving.take_frames():
            self._advance(Kind.PROOF)
            self._out += frames
        self._say_told()

    def _say_told(self) -> None:
        """Say how far the peer has heard, when nothing waits to be told and it is worth it."""
        changes = self._changes
        if (
            changes is not None
            and self.ours is Phase.LIVE
            and not self._changed
            and self._serving.is_idle
            and changes.number >= self._told + (CHANGES_EVERY if self._told else 1)
        ):
            self._told = changes.number
            self._say(Changes(self._told))

    def _say_heads(self) -> None:
        """One frame of heads that the peer does not know: entries need not wait for all."""
        if not self._telling.may_tell:
            return
        heads: list[Head] = []
        while self._changed and len(heads) < HEADS_PER_FRAME_MAX:
            author = next(iter(self._changed))
            del self._changed[author]
            if author not in self._local:
                continue
            own = self._local[author]
            known_seq, known_id = self._their_heads.get(author, (0, b""))
            if author in self._went_back:
                self._went_back.discard(author)
            elif (
                known_seq > own.seq
                or (known_seq == own.seq and known_id == own.id[:ID_SHORT])
                or self._serving.follows(author)
                or not self._telling.takes_in(author)
            ):
                continue
            heads.append(Head(author, own.seq, own.id[:ID_SHORT]))
        if heads:
            # Who holds the same need not say so.
            self._proving.concerns((head.author for head in heads), surely=False)
            self._names.named(heads)
            self._say(Heads(tuple(heads)))
        if self.ours is Phase.LISTING and not self._changed:
            self._say(Listed())

    def _say_entries(self) -> None:
        if frames := self._serving.take_frames():
            self._advance(Kind.ENTRIES)
            self._out += frames

    def _say(self, message: Message) -> None:
        packed = encode_message(message)
        self._advance(_KIND_OF[type(message)])
        self._out += packed

    def _advance(self, kind: Kind) -> None:
        if kind not in TRANSITIONS[self.ours]:
            raise AssertionError(f"{kind.name} when {self.ours}")
        self.ours = TRANSITIONS[self.ours][kind]


_TALKED: Final = frozenset({Kind.HELLO, Kind.LISTED, Kind.DONE, *_TALK})
_KIND_OF: Final[dict[type[Message], Kind]] = {
    Hello: Kind.HELLO,
    Heads: Kind.HEADS,
    Listed: Kind.LISTED,
    Wants: Kind.WANT,
    Follows: Kind.FOLLOW,
    Changes: Kind.CHANGES,
    Scope: Kind.SCOPE,
    End: Kind.END,
    Credit: Kind.CREDIT,
    Statements: Kind.STATEMENT,
    Ask: Kind.ASK,
    Payloads: Kind.PAYLOAD,
    Done: Kind.DONE,
}
