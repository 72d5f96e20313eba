"""Replication: one sync session with each neighbour, for as long as it is there.

Of two connected peers the one with the smaller id opens the stream, so that there is one
session and not two. Every author is followed through one eager neighbour, who pushes new
entries as they come; the others only name heads. When a named head stays out of reach for
SYNC_STALL_S, the author is followed through whoever named it instead. Nothing here depends
on a gossip message arriving.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

import trio

from passby.ledger.changes import INSTANCE_BYTES, HeadChanges, Heard
from passby.ledger.frames import Digest, Places
from passby.ledger.ingest import Check
from passby.ledger.proof_bytes import proof_frames
from passby.ledger.prove import prove_evidence
from passby.ledger.sync import Session
from passby.ledger.sync_events import (
    Accused,
    CanFetch,
    Compare,
    Copied,
    Diverged,
    Ended,
    Event,
    Finished,
    HeadConflict,
    Introduced,
    ListRead,
    Met,
    Received,
    Stated,
    Wanted,
)
from passby.ledger.tree import block_of
from passby.node.chains import Chains, Forgotten
from passby.node.heals import Heals
from passby.node.inlet import Inlet
from passby.node.net import Network, PeerId, Stream
from passby.node.own_head import OwnAsked, OwnHead
from passby.node.pace import Bell, Pace
from passby.node.refill import Asked, Refill, keep_whole
from passby.protocol.entry import Record, read_record
from passby.protocol.errors import DamagedError, LocalError, RemoteError
from passby.protocol.keys import verify
from passby.protocol.limits import (
    HEALED_MAX,
    PEERS_HEARD_MAX,
    PROOF_ARRIVES_S,
    REDIAL_FIRST_S,
    RUNS_BETWEEN_LOOKS,
    SEQ_MAX,
    STREAM_READ_MAX,
    SYNC_RETRY_MAX_S,
    SYNC_STALL_S,
)
from passby.protocol.messages_aside import Feature
from passby.protocol.scope import Scope
from passby.protocol.types import TRADE_TYPES

SYNC_PROTOCOL: Final = "/passby/sync/1"
FEATURES: Final = Feature.PAYLOADS | Feature.PROOFS | Feature.STATEMENTS
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """Entries that came over all sessions, and how many of them were held already."""

    received: int = 0
    repeated: int = 0


class _Link:
    """A session, the stream it runs on, and a bell for the writer."""

    def __init__(
        self,
        peer: PeerId,
        stream: Stream,
        session: Session,
        chains: Chains,
        counts: Counts,
        pace: Pace,
    ) -> None:
        self.inlet = Inlet(chains, self._took)
        self.counts = counts
        self._chains = chains
        self.peer = peer
        self.stream = stream
        self.session = session
        self.bell = Bell(pace)
        self.listed = False
        self.asked = Asked()
        self.own = OwnAsked()
        self.heals_waiting: dict[bytes, bytes] = {}
        """Heals that the peer told of chains not held here, raw -> device."""
        self.tried: set[bytes] = set()
        """Sealed and frozen chains that were asked for here."""
        self.tried_from: dict[bytes, int] = {}
        """Where the last range began that was asked for of a chain not wanted without end."""
        self.let_go: set[bytes] = set()
        """Chains stopped because less was wanted, and not because of what the peer sent."""
        self.proven: dict[bytes, float] = {}
        """When a proof against an author was given to the stream."""

    def ring(self) -> None:
        self.bell.ring()

    def _took(self, digest: Digest, size: int) -> None:
        session = self.session
        session.consumed(size)
        for author, from_seq in digest.astray.items():
            if from_seq == self._chains.head_seq(author):
                # It does not link to our head: the peer holds another entry there.
                session.bisect(author, from_seq)
            else:
                session.stop(author)
        for author in digest.stopped:
            session.stop(author)
        self.counts.received += digest.appended + digest.repeated
        self.counts.repeated += digest.repeated
        self.ring()


@dataclass(slots=True)
class _Behind:
    """A chain of which others than its eager neighbour name more: for how long, and who."""

    since_s: float
    seq: int
    named_by: dict[PeerId, None]


class Replication:
    """Keeps the chains of all who interest this node in step with every neighbour.

    Args:
        network: whose streams carry the sessions; handlers are set at once.
        chains: reads for the peers, admits what they send, tells of new heads.
        network_id: 32 bytes that all nodes of one network share.
        wanted_to: the highest seq wanted of an author: 0 for none, SEQ_MAX for all there will be.
            Whoever changes what it returns calls `wants_changed`.
        is_open_with: whether a trade is open with an author, so that it is listened to though it
            is proven false: it may end what was agreed.
        scope: what neighbours are told to name; None for all. After a change call `rescope`.
        spoken: the topic cells in which an author speaks.
    """

    def __init__(
        self,
        network: Network,
        chains: Chains,
        network_id: bytes,
        wanted_to: Callable[[bytes], int] = lambda _author: SEQ_MAX,
        is_open_with: Callable[[bytes], bool] = lambda _author: False,
        scope: Callable[[], Scope | None] = lambda: None,
        spoken: Callable[[bytes], Iterable[int]] = lambda _author: (),
    ) -> None:
        self._network = network
        self._chains = chains
        self._network_id = network_id
        self._wanted_to = wanted_to
        self._is_open_with = is_open_with
        self._scope = scope
        self._spoken = spoken
        self._on_introduced: list[Callable[[PeerId, bytes | None], None]] = []
        self.counts = Counts()
        self._pace = Pace()
        self._changes = HeadChanges(chains.draw(INSTANCE_BYTES), chains.heads)
        self._numbered = {author: head.seq for author, head in chains.heads.items()}
        self._heard: dict[PeerId, Heard] = {}
        self._to_prove: dict[PeerId, set[bytes]] = {}
        """Of those in `_heard`: whose lies they may not have been told of."""
        self._links: dict[PeerId, _Link] = {}
        self._eager: dict[bytes, PeerId] = {}
        self._behind: dict[bytes, _Behind] = {}
        self._healed: dict[bytes, int] = {}
        """Author -> where its chain ended when its fork was healed: more may be there to fetch."""
        self.heals = Heals(chains, self._tell_heals)
        self._refill = Refill(chains)
        self.own_head = OwnHead(chains, network, lambda: self._links)
        network.handle(SYNC_PROTOCOL, self._serve)
        chains.on_heads(self._heads_changed)
        chains.on_forgotten(self._forgotten)
        chains.on_records(self._look_for_debts)
        chains.on_freed(self._fetch_kept)
        chains.on_bulk(self._look_after_bulk)
        chains.on_proven(self._proven_false)

    def on_introduced(self, tell: Callable[[PeerId, bytes | None], None]) -> None:
        """Call `tell` with the chain that a peer says is its own; None when the peer has gone."""
        self._on_introduced.append(tell)

    @property
    def synced_peers(self) -> Mapping[PeerId, bool]:
        """Peers with a session, and whether they have named all they hold."""
        return {peer: link.listed for peer, link in self._links.items()}

    def behind(self, peer: PeerId) -> int:
        """Return how many chains the peer holds more of than we do."""
        link = self._links.get(peer)
        if link is None:
            return 0
        heads = self._chains.heads
        return sum(link.session.can_fetch(author) is not None for author in heads)

    def is_behind(self, author: bytes) -> bool:
        """Tell whether a neighbour holds more of the chain than we do, or is sending it."""
        return any(link.session.can_fetch(author) is not None for link in self._links.values())

    async def keep(self, peer: PeerId) -> None:
        """Hold a session with a connected peer until cancelled; the smaller id opens it."""
        if self._network.peer_id > peer:
            await trio.sleep_forever()
        wait_s = REDIAL_FIRST_S
        while True:
            started_s = trio.current_time()
            try:
                stream = await self._network.open_stream(peer, SYNC_PROTOCOL)
                await self._converse(stream)
            except RemoteError as error:
                self._blame(peer, error)
            if trio.current_time() - started_s > SYNC_RETRY_MAX_S:
                wait_s = REDIAL_FIRST_S
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, SYNC_RETRY_MAX_S)

    def rescope(self, scope: Scope) -> None:
        """Tell every neighbour what to name from now on."""
        for link in self._links.values():
            link.session.rescope(scope)
            link.ring()

    def spoke(self, authors: Iterable[bytes]) -> None:
        """Look again at whom these authors concern: they speak in further cells than before."""
        for author in authors:
            self._changes.note(author)
            for link in self._links.values():
                link.session.local_changed(author)
        for link in self._links.values():
            link.bell.tell()

    def wants_changed(self, authors: Iterable[bytes]) -> None:
        """Look again at what is wanted of these authors: less is stopped, more is asked for."""
        for author in authors:
            eager = self._links.get(self._eager.get(author, ""))
            if eager is None:
                self._find_eager(author)
            elif eager.session.asked_to(author) > self._wanted_to(author):
                eager.let_go.add(author)
                eager.tried_from.pop(author, None)
                eager.session.stop(author)
                eager.ring()

    async def keep_whole(self) -> None:
        """Ask neighbours for what entries lack here, until cancelled."""
        await keep_whole(self._refill, self._links.values())

    async def watch(self) -> None:
        """Change the eager neighbour of authors whose named heads do not come."""
        while True:
            await trio.sleep(SYNC_STALL_S)
            for author in list(self._behind):
                self._look_after(author, trio.current_time())
            for author in list(self._healed):
                self._fetch_healed(author)
            for link in list(self._links.values()):
                try:
                    await self.heals.look_again(link.heals_waiting)
                except LocalError as error:
                    # The disk. What waits is looked at again with the next round.
                    log.warning("a statement about a device is not kept: %s", error)

    def _look_after(self, author: bytes, now_s: float) -> None:
        behind = self._behind[author]
        seq = self._chains.head_seq(author)
        for peer in list(behind.named_by):
            link = self._links.get(peer)
            if link is None or link.session.can_fetch(author) is None:
                del behind.named_by[peer]
        if not behind.named_by or self._chains.is_frozen(author):
            del self._behind[author]
        elif seq > behind.seq:
            behind.since_s, behind.seq = now_s, seq
        elif now_s - behind.since_s >= SYNC_STALL_S:
            # Each who named it has its turn, so that no liar stands before an honest one twice.
            peer = next(iter(behind.named_by))
            del behind.named_by[peer]
            behind.since_s = now_s
            self._switch(author, self._links[peer])

    def _blame(self, peer: PeerId, error: RemoteError) -> None:
        if error.penalty:
            log.info("sync with %s: %s", peer, error)
            self._network.penalise(peer, error.penalty)

    async def _serve(self, stream: Stream) -> None:
        """Take the session that a peer with a smaller id opens."""
        if stream.peer >= self._network.peer_id:
            await stream.reset()
            return
        await self._converse(stream)

    async def _converse(self, stream: Stream) -> None:
        """Run one session to its end.

        Raises:
            RemoteError: the peer broke the protocol, or went away.
        """
        session = Session(
            self._network_id,
            self._chains.heads,
            self._wanted_to,
            FEATURES,
            self._chains.now_ms(),
            changes=self._changes,
            heard=self._heard.get(stream.peer),
            false_from=self._chains.false_from,
            scope=self._scope(),
            spoken=self._spoken,
        )
        link = _Link(stream.peer, stream, session, self._chains, self.counts, self._pace)
        former = self._links.get(link.peer)
        if former is not None:
            self._drop(former)
        # Before anything is awaited: of streams opened all at once each must find the one
        # before it, or all but two would live on with nobody to end them.
        self._links[link.peer] = link
        session.proven_false(self._to_prove.get(link.peer, ()))
        fault: RemoteError | None = None
        try:
            if former is not None:
                # The peer has lost the old stream before we noticed.
                await former.stream.reset()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, link, nursery.cancel_scope)
                nursery.start_soon(link.inlet.run, nursery.cancel_scope)
                try:
                    await self._read(link)
                    await link.inlet.settled()
                except RemoteError as error:
                    fault = error
                except LocalError as error:
                    # The disk. The session ends, and the next one asks for the same again.
                    log.warning("sync with %s: %s", link.peer, error)
                nursery.cancel_scope.cancel()
        finally:
            self._keep_heard(link)
            self._drop(link)
            with trio.CancelScope(shield=True):
                await stream.reset()
        match link.inlet.fault:
            case RemoteError() as refused:
                # What it sent weighs more than how it left.
                raise refused
            case LocalError() as failed if fault is None:
                log.warning("sync with %s: %s", link.peer, failed)
            case _:
                pass
        if fault is not None:
            raise fault

    def _keep_heard(self, link: _Link) -> None:
        """Keep how far the peer was heard, for when it comes back."""
        if self._links.get(link.peer) is not link:
            return
        self._heard.pop(link.peer, None)
        self._to_prove.pop(link.peer, None)
        if link.inlet.fault is None and (heard := link.session.heard()) is not None:
            while len(self._heard) >= PEERS_HEARD_MAX:
                forgotten = next(iter(self._heard))
                del self._heard[forgotten]
                self._to_prove.pop(forgotten, None)
            self._heard[link.peer] = heard
            since_s = trio.current_time() - PROOF_ARRIVES_S
            if lost := {author for author, at_s in link.proven.items() if at_s > since_s}:
                self._to_prove[link.peer] = lost

    def _drop(self, link: _Link) -> None:
        if self._links.get(link.peer) is not link:
            return
        del self._links[link.peer]
        self.own_head.gone()
        for tell in self._on_introduced:
            tell(link.peer, None)
        for author in [a for a, peer in self._eager.items() if peer == link.peer]:
            del self._eager[author]
            self._find_eager(author)

    async def _write(self, link: _Link, scope: trio.CancelScope) -> None:
        session = link.session
        try:
            while True:
                link.bell.listen()
                runs = 0
                while (wanted := session.next_wanted()) is not None:
                    try:
                        packed = self._chains.reader.packed_run(
                            wanted.author, wanted.from_seq, wanted.to_seq, wanted.max_bytes
                        )
                    except DamagedError as error:
                        log.warning("%s", error)
                        await self._quarantine(wanted.author)
                        scope.cancel()
                        return
                    session.send_entries(wanted.author, _convincing(wanted, packed))
                    runs += 1
                    if runs % RUNS_BETWEEN_LOOKS == 0:
                        await trio.lowlevel.checkpoint()
                self._prove(link)
                if ids := session.next_owed():
                    session.send_copies(self._refill.copies(ids))
                if piece := session.data_to_send():
                    await link.stream.send_all(piece)
                elif not session.is_over:
                    await link.bell.wait()
                else:
                    return
        except RemoteError as error:
            self._blame(link.peer, error)
            scope.cancel()
        except LocalError as error:
            log.warning("sync with %s: %s", link.peer, error)
            scope.cancel()

    def _prove(self, link: _Link) -> None:
        """Let the peer know of an author's lie, if there is one that it should."""
        session = link.session
        author = session.next_to_prove()
        if author is None:
            return
        link.proven[author] = trio.current_time()
        for evidence in self._chains.reader.evidence(author):
            proof = prove_evidence(evidence)
            if proof is not None:
                session.send_proof(proof_frames(proof))

    def _proven_false(self, author: bytes) -> None:
        for peer in self._heard.keys() - self._links.keys():
            # What they hold they will not name again.
            self._to_prove.setdefault(peer, set()).add(author)
        for link in self._links.values():
            link.session.proven_false((author,))
            link.ring()

    def answer(self, peer: PeerId, author: bytes) -> None:
        """Tell a peer that brings news of an author proven false why nobody wants them."""
        link = self._links.get(peer)
        if link is not None:
            link.session.proven_false((author,))
            link.ring()

    async def _quarantine(self, author: bytes) -> None:
        """Let go of what is damaged on disk, and of every session that knew of it.

        New sessions begin with the heads that are left, and so fetch the rest again.
        """
        await self._chains.quarantine(author)
        for link in list(self._links.values()):
            await link.stream.reset()

    async def _read(self, link: _Link) -> None:
        session = link.session
        while not session.is_over:
            data = await link.stream.receive_some(min(session.room, STREAM_READ_MAX))
            if not data:
                session.receive_eof()
                return
            session.receive_data(data)
            while (event := session.next_event()) is not None:
                await self._heed(link, event)
            link.ring()

    async def _heed(  # noqa: PLR0912  # one branch for each event
        self, link: _Link, event: Event
    ) -> None:
        session = link.session
        if not isinstance(event, Received | CanFetch | Met | Introduced | ListRead):
            # What follows from it depends on what is held.
            await link.inlet.settled()
        match event:
            case Met(at_ms=at_ms):
                self._met(link, at_ms)
            case Introduced(author=author):
                self._introduced(link, author)
            case Stated(raws=raws):
                await self.heals.heard(raws, link.heals_waiting)
            case Finished():
                pass
            case Copied():
                await self._refill.heard(link, list(self._links.values()), event)
            case ListRead():
                link.listed = True
            case CanFetch(author=author):
                self._can_fetch(link, author)
            case Received():
                link.inlet.put(event)
            case HeadConflict(author=author, seq=seq):
                # What it was held against may have been given up for what the peer holds.
                if seq == self._chains.head_seq(author) and not self._chains.is_frozen(author):
                    session.bisect(author, seq)
            case Compare(author=author, record=record):
                own = self._chains.reader.record_at(author, record.entry.seq)
                own_id = own.entry.id if own is not None else b""
                if self._is_pruned(author, record.entry.seq):
                    # Nothing here speaks against it.
                    own_id = record.entry.id
                elif own is None:
                    session.stop(author)
                session.compared(event, own_id)
            case Diverged(record=record):
                await self._chains.admit((record,), Check.EACH)
                self._fetch_healed(record.entry.author)
            case Accused(proof=proof):
                false_from = await self._chains.accuse(proof)
                if false_from is not None:
                    session.holds_proof(proof.author, false_from)
            case Ended(author=author, complete=complete):
                if self._eager.get(author) == link.peer:
                    del self._eager[author]
                fair = complete or author in link.let_go
                link.let_go.discard(author)
                self._find_eager(author, besides=None if fair else link.peer)
                self._fetch_healed(author)
                if author == self._chains.author:
                    self.own_head.ended(link, complete=complete)
            case _:
                assert_never(event)

    def _is_pruned(self, author: bytes, seq: int) -> bool:
        return block_of(seq) in self._chains.reader.pruned(author).blocks

    def _met(self, link: _Link, at_ms: int) -> None:
        self._chains.clock_guard.heard(link.peer, at_ms)
        link.session.state(self.heals.known())
        self.own_head.ask(link)

    def _introduced(self, link: _Link, author: bytes) -> None:
        if self._links.get(link.peer) is link:
            for tell in self._on_introduced:
                tell(link.peer, author)

    def _can_fetch(self, link: _Link, author: bytes) -> None:
        if self._chains.is_frozen(author):
            # It may be what ends a trade.
            link.tried.discard(author)
        eager = self._eager.get(author)
        if eager is None or eager not in self._links:
            self._follow(link, author)
        elif eager != link.peer:
            seq = self._chains.head_seq(author)
            behind = self._behind.setdefault(author, _Behind(trio.current_time(), seq, {}))
            behind.named_by[link.peer] = None

    def _follow(self, link: _Link, author: bytes) -> bool:
        session = link.session
        # A session that another has replaced still hears what had come: nothing depends on it.
        if self._links.get(link.peer) is not link:
            return False
        found = session.can_fetch(author)
        if found is None or not session.can_ask:
            return False
        frozen_from = self._chains.frozen_from(author)
        # What lies below the lie is as good as anybody's, and may have been lost here.
        to_seq = SEQ_MAX
        if frozen_from is not None and found.from_seq < frozen_from:
            to_seq = min(found.to_seq, frozen_from - 1)
        elif frozen_from is not None and not self._is_open_with(author):
            return False
        elif frozen_from is not None or author in self._chains.sealed:
            # What lies above a seal and binds nobody is refused from every peer alike.
            if author in link.tried:
                return False
            link.tried.add(author)
        to_seq = min(to_seq, self._wanted_to(author))
        if to_seq == SEQ_MAX:
            session.follow(author, found.from_seq)
        else:
            if link.tried_from.get(author) == found.from_seq:
                # It brought nothing that could be kept, and would not now.
                return False
            link.tried_from[author] = found.from_seq
            session.want(author, found.from_seq, min(found.to_seq, to_seq))
        self._eager[author] = link.peer
        link.ring()
        return True

    def _look_for_debts(self, records: Iterable[Record]) -> None:
        """Ask for sealed chains again when somebody names an entry that is not held.

        It may lie above the seal, where only what others rely on is taken.
        """
        sealed = self._chains.sealed
        if not sealed or not any(
            self._chains.reader.record(ref) is None
            for record in records
            if record.entry.body.type in TRADE_TYPES
            for ref in record.entry.body.refs
        ):
            return
        self._ask_again(sealed)

    def _fetch_kept(self, author: bytes) -> None:
        """Fetch the branch that a heal kept: now, or when what is open of the chain is over."""
        while len(self._healed) >= HEALED_MAX:
            del self._healed[next(iter(self._healed))]
        self._healed[author] = self._chains.head_seq(author)
        former = self._links.get(self._eager.pop(author, ""))
        if former is not None:
            # What is open there goes on from the branch that was given up.
            former.session.stop(author)
            former.ring()
        self._fetch_healed(author)

    def _fetch_healed(self, author: bytes) -> None:
        # Whoever showed the fork may be the only one to fetch the kept branch from.
        if author in self._healed:
            if author not in self._eager:
                self._find_eager(author)
            # A range that was open may still be taken back by what it brought before the heal.
            if self._chains.head_seq(author) > self._healed[author]:
                del self._healed[author]

    def _tell_heals(self, raws: Sequence[bytes]) -> None:
        for link in self._links.values():
            link.session.state(raws)
            link.ring()

    async def _look_after_bulk(self, _places: Places) -> None:
        self._ask_again(self._chains.sealed)

    def _ask_again(self, authors: Iterable[bytes]) -> None:
        for author in list(authors):
            for link in self._links.values():
                link.tried.discard(author)
            self._find_eager(author)

    def _find_eager(self, author: bytes, besides: PeerId | None = None) -> None:
        for peer, link in self._links.items():
            if peer != besides and self._follow(link, author):
                return

    def _switch(self, author: bytes, link: _Link) -> None:
        former = self._eager.pop(author, None)
        if former is not None and former in self._links:
            self._links[former].session.stop(author)
            self._links[former].ring()
        if not self._follow(link, author):
            self._find_eager(author, besides=former)

    def _forgotten(self, gone: Forgotten) -> None:
        """Remember nothing of chains that were let go of; nobody is asked for them again."""
        for author in gone.authors:
            self._numbered.pop(author, None)
            self._changes.drop(author)
            for link in self._links.values():
                link.session.local_changed(author)
        for link in self._links.values():
            link.ring()

    def _heads_changed(self, authors: Iterable[bytes]) -> None:
        changed = list(authors)
        back: set[bytes] = set()
        for author in changed:
            seq = self._chains.head_seq(author)
            if seq < self._numbered.get(author, 0):
                back.add(author)
                # What was set aside is lacking again, and was named long ago.
                self._heard.clear()
            self._numbered[author] = seq
            self._changes.note(author)
        for link in self._links.values():
            for author in changed:
                link.session.local_changed(author, went_back=author in back)
            link.bell.tell()


def _convincing(wanted: Wanted, packed: list[bytes]) -> list[bytes]:
    """Return what is wanted of a run, or nothing where its last signature is not good.

    A run that is cut off ends in a signature that nobody has checked, and that whoever brought
    it may have swapped for garbage: the peer would blame us.
    """
    count = wanted.to_seq - wanted.from_seq + 1
    if len(packed) <= count:
        return packed
    last, _ = read_record(packed[count - 1], 0)
    return packed[:count] if verify(wanted.author, last.entry.raw) else []
