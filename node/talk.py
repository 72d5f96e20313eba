"""Messages between devices: sealed, kept until delivered, delivered once, kept for the person.

Who is behind which neighbour is not known, and need not be: what waits is offered to the
neighbours in turn, and only the device it is sealed to can answer that it has it. Nothing is
passed on for others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import trio

from passby.node.asking import ask, read_framed
from passby.node.buckets import Buckets
from passby.node.chains import Chains
from passby.node.clock import Clock
from passby.node.net import Network, PeerId, Stream
from passby.node.private import PrivateFile
from passby.node.sealing import Sealing
from passby.node.trades import parties_of
from passby.protocol.errors import LocalError, RefusedError, RemoteError, UsageError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import (
    ASK_WITHIN_S,
    FUTURE_MAX_S,
    TALK_ABOUT_MAX,
    TALK_FOR_S,
    TALK_HELD_MAX,
    TALK_MAX,
    TALK_PEER_BURST,
    TALK_PEER_RATE_PER_S,
    TALK_PEERS_METERED_MAX,
    TALK_RECIPIENTS_AT_ONCE,
    TALK_RETRY_S,
    TALK_STRANGERS_MAX,
    TALK_WAITING_MAX,
)
from passby.protocol.sealed import SEAL_BYTES, BoxKey
from passby.protocol.talk import (
    RECEIPT_BYTES,
    Body,
    Kind,
    Message,
    Quote,
    Status,
    compose,
    encode_status,
    open_message,
    parse,
    parse_status,
    seal_message,
)
from passby.protocol.types import EntryType

TALK_PROTOCOL: Final = "/passby/talk/1"
_REPLACED: Final = frozenset({Kind.QUOTE, Kind.PLACE, Kind.BID, Kind.PAYMENT})
"""Of these the newest counts, and no other is kept."""
State = Literal["in", "waiting", "sent", "refused"]
log = logging.getLogger(__name__)


class Filed(msgspec.Struct, frozen=True):
    """A message as the home's file keeps it."""

    raw: bytes
    state: State


@dataclass(frozen=True, slots=True)
class Held:
    """A message that was said or heard, and what became of it."""

    message: Message
    state: State


class Talk:
    """What this device says to others beside the ledger, and what they say to it.

    Args:
        path: the private file that keeps it; None keeps it in memory.
        network: carries it; the handler is set at once.
        chains: who is known, and by which trades.
        sealing: gives the others' box keys.
        key: signs what is said.
        box: opens what is heard.
        clock: for what is too old.
        is_known: whether somebody answers for an author, or something is agreed with it.

    Raises:
        ConfigError: the file cannot be read.
    """

    def __init__(
        self,
        path: Path | None,
        network: Network,
        chains: Chains,
        sealing: Sealing,
        key: SigningKey,
        box: BoxKey,
        clock: Clock,
        is_known: Callable[[bytes], bool],
    ) -> None:
        self._file = PrivateFile[tuple[Filed, ...]](path, tuple[Filed, ...], ())
        self._network = network
        self._chains = chains
        self._sealing = sealing
        self._key = key
        self._box = box
        self._clock = clock
        self._is_known = is_known
        self._held: dict[bytes, Held] = {}
        for filed in self._file.read():
            try:
                message = parse(filed.raw)
            except RemoteError as error:
                log.warning("a message that was kept cannot be read: %s", error)
                continue
            self._held[message.id] = Held(message, filed.state)
        self._buckets = Buckets[PeerId](
            TALK_PEER_RATE_PER_S, TALK_PEER_BURST, TALK_PEERS_METERED_MAX
        )
        self._bell = trio.Event()
        self._route: dict[bytes, PeerId] = {}
        self._on_heard: list[Callable[[Message], None]] = []
        network.handle(TALK_PROTOCOL, self._serve)

    def on_heard(self, tell: Callable[[Message], None]) -> None:
        """Call `tell` with each message that was taken."""
        self._on_heard.append(tell)

    # --- reading -----------------------------------------------------------------------

    def about(self, subject: bytes) -> list[Held]:
        """Return what was said about a trade, a request or a lot, oldest first."""
        found = [held for held in self._held.values() if held.message.about == subject]
        return sorted(found, key=lambda held: (held.message.at_ms, held.message.id))

    def heard(self, kind: Kind) -> Iterator[Message]:
        """Yield what others have said of this kind."""
        for held in self._held.values():
            if held.state == "in" and held.message.kind is kind:
                yield held.message

    def said(self, kind: Kind) -> Iterator[Message]:
        """Yield what this device has said of this kind, delivered or not."""
        for held in self._held.values():
            if held.state != "in" and held.message.kind is kind:
                yield held.message

    def find(self, text: str) -> Message:
        """Return the message whose id begins with `text`.

        Raises:
            RefusedError: there is none, or there are several.
        """
        found = [held.message for id_, held in self._held.items() if id_.hex().startswith(text)]
        if len(found) != 1:
            raise RefusedError(
                f"{'No message' if not found else 'More than one message'} begins with {text}.",
                "`passby quotes` lists what was quoted.",
            )
        return found[0]

    # --- saying ------------------------------------------------------------------------

    def say(self, to: bytes, kind: Kind, about: bytes, body: Body) -> Message:
        """Keep a message for the device `to`; it is delivered as soon as both are awake.

        Raises:
            RefusedError: the device publishes no key, or too much waits already.
            UsageError: a body that does not fit.
            LocalError: the disk.
        """
        if self._sealing.key_of(to) is None:
            raise RefusedError(f"{to.hex()[:12]} publishes no key to which words could be sealed.")
        if sum(held.state == "waiting" for held in self._held.values()) >= TALK_WAITING_MAX:
            raise RefusedError("Too many messages wait for others to wake up.", "Try again later.")
        receipt = self._chains.draw(RECEIPT_BYTES)
        try:
            message = compose(self._key, to, self._clock(), receipt, kind, about, body)
        except RemoteError as error:
            raise UsageError(f"This cannot be said: {error.detail}.", "Shorten it.") from None
        self._keep(message, "waiting")
        self.look()
        return message

    def look(self) -> None:
        """Try at once to deliver what waits: something was said, or somebody has come."""
        self._bell.set()

    def _keep(self, message: Message, state: State) -> None:
        held = dict(self._held)
        if message.kind in _REPLACED:
            slot = _slot(message)
            for old in [id_ for id_, each in held.items() if _slot(each.message) == slot]:
                del held[old]
        held[message.id] = Held(message, state)
        while len(held) > TALK_HELD_MAX:
            del held[min(held, key=lambda id_: held[id_].message.at_ms)]
        self._write(held)

    def _write(self, held: dict[bytes, Held]) -> None:
        self._file.write(tuple(Filed(each.message.raw, each.state) for each in held.values()))
        self._held = held

    # --- delivering --------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver what waits, until cancelled."""
        while True:
            self._bell = trio.Event()
            self._give_up()
            limit = trio.CapacityLimiter(TALK_RECIPIENTS_AT_ONCE)
            async with trio.open_nursery() as nursery:
                for to in {message.to for message in self._waiting()}:
                    nursery.start_soon(self._deliver, to, limit)
            pause_s = TALK_RETRY_S if any(self._waiting()) else float("inf")
            with trio.move_on_after(pause_s):
                await self._bell.wait()

    def _waiting(self) -> Iterator[Message]:
        for held in sorted(self._held.values(), key=lambda held: held.message.at_ms):
            if held.state == "waiting":
                yield held.message

    def _give_up(self) -> None:
        oldest_ms = self._clock() - TALK_FOR_S * 1000
        for message in [found for found in self._waiting() if found.at_ms < oldest_ms]:
            self._settle(message, "refused")

    def _settle(self, message: Message, state: State) -> None:
        if message.id not in self._held:  # replaced meanwhile by a newer one
            return
        try:
            self._write(self._held | {message.id: Held(message, state)})
        except LocalError as error:
            # It stays as it was, and is said again; who has it knows it again.
            log.warning("a message was delivered, but that cannot be noted: %s", error)

    async def _deliver(self, to: bytes, limit: trio.CapacityLimiter) -> None:
        async with limit:
            peers = list(self._network.peers())
            peers.sort(key=lambda peer: peer != self._route.get(to))
            for message in [found for found in self._waiting() if found.to == to]:
                for peer in peers:
                    status = await self._offer(peer, message)
                    if status in (Status.TAKEN, Status.REFUSED):
                        self._route[to] = peer
                        peers.remove(peer)
                        peers.insert(0, peer)
                        self._settle(message, "sent" if status is Status.TAKEN else "refused")
                        break

    async def _offer(self, peer: PeerId, message: Message) -> Status:
        box = self._sealing.key_of(message.to)
        if box is None:
            return Status.NOT_NOW
        try:
            framed = seal_message(message, box, self._chains.draw)
            answer = await ask(self._network, peer, TALK_PROTOCOL, framed, 1 + RECEIPT_BYTES)
            return parse_status(answer, message)
        except RemoteError as error:
            log.debug("%s does not take a message: %s", peer, error)
            return Status.NOT_NOW

    # --- hearing -----------------------------------------------------------------------

    async def _serve(self, stream: Stream) -> None:
        with trio.move_on_after(ASK_WITHIN_S):
            framed = await read_framed(stream, TALK_MAX + SEAL_BYTES)
            if not self._buckets.take(stream.peer, trio.current_time()):
                await stream.send_all(encode_status(Status.NOT_NOW))
                return
            message = open_message(framed, self._box)
            if message is None:
                await stream.send_all(encode_status(Status.NOT_MINE))
                return
            status = self._take(message)
            named = message.receipt if status in (Status.TAKEN, Status.REFUSED) else b""
            await stream.send_all(encode_status(status, named))

    def _take(self, message: Message) -> Status:
        if message.id in self._held:
            return Status.TAKEN
        status = self._verdict(message)
        if status is not Status.TAKEN:
            return status
        if message.kind in _REPLACED and any(
            _slot(held.message) == _slot(message) and held.message.at_ms >= message.at_ms
            for held in self._held.values()
        ):
            return Status.TAKEN
        try:
            self._keep(message, "in")
        except LocalError as error:
            log.warning("a message cannot be kept: %s", error)
            return Status.NOT_NOW
        for tell in self._on_heard:
            tell(message)
        return Status.TAKEN

    def _verdict(self, message: Message) -> Status:
        """Tell whether a message is wanted; nothing is kept of one that is not."""
        me, now_ms = self._chains.author, self._clock()
        if message.to != me or message.author == me:
            return Status.REFUSED
        if message.at_ms < now_ms - TALK_FOR_S * 1000:
            return Status.REFUSED
        if message.at_ms > now_ms + FUTURE_MAX_S * 1000:
            return Status.NOT_NOW
        status = self._on_subject(message)
        if status is not Status.TAKEN:
            return status
        heard = [held.message for held in self._held.values() if held.state == "in"]
        if sum(_subject(each) == _subject(message) for each in heard) >= TALK_ABOUT_MAX:
            return Status.REFUSED
        if not self._is_known(message.author):
            strangers = sum(not self._is_known(each.author) for each in heard)
            if strangers >= TALK_STRANGERS_MAX:
                return Status.NOT_NOW
        return Status.TAKEN

    def _on_subject(self, message: Message) -> Status:
        """Tell whether this author may speak of this to this device."""
        me, chains = self._chains.author, self._chains
        record = chains.reader.record(message.about)
        if record is None:
            return Status.NOT_NOW
        kind = record.entry.body.type
        if isinstance(message.body, Quote) and message.about == message.body.lot:
            # An answer to a bid: without one, it would be advertising.
            bid = (said for said in self.said(Kind.BID) if said.to == message.author)
            mine = record.entry.author == message.author
            return (
                Status.TAKEN
                if mine and message.about in {b.about for b in bid}
                else (Status.REFUSED)
            )
        if message.kind in (Kind.QUOTE, Kind.BID):
            wanted = EntryType.REQUEST if message.kind is Kind.QUOTE else EntryType.OFFER
            if record.entry.author != me or kind != wanted or chains.is_frozen(message.author):
                return Status.REFUSED
            if isinstance(message.body, Quote):
                lot = chains.reader.record(message.body.lot)
                if lot is None:
                    return Status.NOT_NOW
                if lot.entry.author != message.author or lot.entry.body.type != EntryType.OFFER:
                    return Status.REFUSED
            return Status.TAKEN
        try:
            parties = parties_of(chains, message.about)
        except RefusedError:
            return Status.REFUSED
        if me not in parties:
            return Status.REFUSED
        # Offers that make somebody a party may still be on their way.
        return Status.TAKEN if message.author in parties else Status.NOT_NOW


def _subject(message: Message) -> tuple[bytes, bytes]:
    return message.author, message.about


def _slot(message: Message) -> tuple[bytes, bytes, Kind, bytes, bytes]:
    """Return what two messages have in common of which the newer replaces the older."""
    lot = message.body.lot if isinstance(message.body, Quote) else b""
    return message.author, message.to, message.kind, message.about, lot
