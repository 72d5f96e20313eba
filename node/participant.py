"""One participant: chains, replication, gossip, market and desk, joined over one network.

It knows neither sockets nor files: a daemon gives it libp2p and SQLite, a simulation gives
it a memory network and a memory store, and everything between is the same code.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from passby.geo.lots import BookLot, Side
from passby.geo.match import Match
from passby.geo.rings import topics_around
from passby.ledger.checkpoint import WitnessKey
from passby.ledger.draft import Draft
from passby.ledger.policy import NO_POLICY, Policy
from passby.node.arranging import Arranging
from passby.node.backups import Backups
from passby.node.chains import Chains, Storage
from passby.node.checkpoints import Checkpoints
from passby.node.circle import Circle
from passby.node.clock import Clock
from passby.node.desk import Desk
from passby.node.events import Events
from passby.node.following import Following
from passby.node.gossip import Gossip
from passby.node.head_guard import RestoredError
from passby.node.interest import Interest
from passby.node.joining import Joining
from passby.node.market import Market
from passby.node.names import Names
from passby.node.net import Network, PeerConnected, PeerDisconnected, PeerId
from passby.node.pruning import Pruning
from passby.node.quorum import Quorum
from passby.node.quotas import Quotas
from passby.node.quoting import Quoting
from passby.node.replicate import Replication
from passby.node.reputations import Reputations
from passby.node.rides import Stop
from passby.node.rules import Rules
from passby.node.sealing import Sealing, derived_box_seed
from passby.node.talk import Talk
from passby.node.warnings import Warnings
from passby.node.wishes import Wish
from passby.node.witness_key import derived_witness_seed
from passby.node.witnessing import Witnessing
from passby.protocol.entry import Record
from passby.protocol.keys import Certificate, SigningKey, certificate_commitment
from passby.protocol.limits import SEQ_MAX
from passby.protocol.payloads import Genesis, encode_payload
from passby.protocol.sealed import BoxKey
from passby.protocol.talk import Message, Payment
from passby.protocol.types import TRADE_TYPES, EntryType

NETWORK_ID: Final = hashlib.sha256(b"passby main network 1").digest()
_WORDS: Final = {PeerConnected: "peer-connected", PeerDisconnected: "peer-disconnected"}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Private:
    """What only counterparties hear of, and where it is kept between starts.

    Attributes:
        talk_path: the file of messages; None keeps them in memory.
        queue_path: the file of the queue; None keeps it in memory.
        rules_path: the person's standing rules; None for none.
        place: the exact place, told once a trade is confirmed.
        payment: how to pay this person, told with the own commit.
    """

    talk_path: Path | None = None
    queue_path: Path | None = None
    rules_path: Path | None = None
    place: str | None = None
    payment: Payment | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this device is: its ledger key and the root's certificate for it."""

    key: SigningKey
    name: str
    certificate: bytes
    certificate_salt: bytes
    code_key: bytes
    trip: bool = False
    box_seed: bytes | None = None
    witness_seed: bytes | None = None
    former_box_seeds: tuple[bytes, ...] = ()

    @property
    def witness(self) -> WitnessKey:
        """The key by which this device cosigns others' checkpoints, and signs nothing else."""
        seed = self.witness_seed or derived_witness_seed(self.code_key + self.key.public)
        return WitnessKey(SigningKey(seed))

    @property
    def box(self) -> BoxKey:
        """The key to which others seal what is meant for this device."""
        return BoxKey(self.box_seed or derived_box_seed(self.code_key))

    def genesis(self) -> Draft:
        """Return the chain's first entry, which shows the certificate but on a trip."""
        payload = (
            Genesis(self.name or None, box=self.box.public)
            if self.trip
            else Genesis(self.name, self.certificate, self.certificate_salt, self.box.public)
        )
        commitment = certificate_commitment(self.certificate_salt, self.certificate)
        return Draft(EntryType.GENESIS, facts=(commitment,), payload=encode_payload(payload))


class Participant:
    """The parts of a node, and who tells whom.

    Args:
        identity: keys and name.
        home: the cell from which it looks, resolution 8.
        storage: where records go.
        network: the way to others; not yet running.
        clock: for everything.
        salt: gives so many random bytes.
        network_id: tells networks apart.
        policy: gives whose cosignatures this node's trades need; nobody's unless told.
        keep_ms: how far back others' chains are kept whole, 0 for ever.
        private: what is told to counterparties alone.
        note_cosigned: told by how much the trees cosigned here have grown; see `WitnessGuard`.
        following: whom the person follows; nobody unless told.
    """

    def __init__(
        self,
        identity: Identity,
        home: int,
        storage: Storage,
        network: Network,
        clock: Clock,
        salt: Callable[[int], bytes],
        network_id: bytes = NETWORK_ID,
        policy: Callable[[], Policy] = lambda: NO_POLICY,
        note_cosigned: Callable[[int], None] = lambda _gained: None,
        keep_ms: int = 0,
        following: Following | None = None,
        private: Private = Private(),
    ) -> None:
        self.identity = identity
        self.clock = clock
        self.network = network
        self.events = Events()
        self.chains = Chains(storage, identity.key, clock, salt)
        self.names = Names(self.chains)
        self.market = Market(self.chains, clock, home)
        self.sealing = Sealing(
            self.chains, identity.box, salt, [BoxKey(seed) for seed in identity.former_box_seeds]
        )
        self.checkpoints = Checkpoints(self.chains, identity.key)
        self.witnessing = Witnessing(
            network, self.chains, self.checkpoints, identity.witness, note_cosigned
        )
        self.quorum = Quorum(network, self.chains, self.checkpoints, self.witnessing, policy)
        self.circle = Circle(self.chains, Certificate.parse(identity.certificate).root)
        self.reputations = Reputations(self.chains, self.circle, clock)
        self.market.trust = lambda: self.reputations.trust
        self.desk = Desk(
            self.chains,
            clock,
            identity.code_key,
            salt,
            self.sealing,
            self.quorum.allows,
            self.circle.has,
        )
        self.quorum.on_reached(self.desk.look)
        self.talk = Talk(
            private.talk_path,
            network,
            self.chains,
            self.sealing,
            identity.key,
            identity.box,
            clock,
            lambda author: self.circle.has(author) or self.desk.is_open_with(author),
        )
        self.arranging = Arranging(self.talk, self.chains, private.place, private.payment)
        self.desk.on_trade(self.arranging.see_trade)
        self.quoting = Quoting(self.talk, self.chains, clock)
        self.desk.on_terms(self.quoting.quoted)
        self.desk.on_asked(self.quoting.accepts)
        self.backups = Backups(private.queue_path, self.chains, clock)
        self.desk.on_asked(self.backups.accepts)
        self.desk.on_trade(self.backups.see_trade)
        self.rules = Rules(
            private.rules_path,
            self.chains,
            clock,
            lambda author: author in self.following.authors(),
            self.circle.has,
        )
        self.desk.on_asked(self.rules.accepts)
        self.talk.on_heard(self._tell_of_message)
        cells = topics_around(home)
        self.quotas = Quotas(self.chains, self.circle, cells)
        self.following = following or Following()
        # Hears of heads before replication does, which asks it whom they concern.
        self.interest = Interest(self.chains, cells, self.following, self.circle)
        self.replication = Replication(
            network,
            self.chains,
            network_id,
            lambda author: min(self.interest.wanted_to(author), self.quotas.wanted_to(author)),
            self.desk.is_open_with,
            self.interest.scope,
            self.interest.spoken,
        )
        self.warnings = Warnings(self.chains, self.desk, self.events)
        self.gossip = Gossip(
            network,
            self.chains,
            clock,
            cells,
            self.circle,
            self.quotas,
            self.replication.answer,
        )
        self.joining = Joining(
            network, self.chains, self.circle, clock, identity.code_key, self.chains.draw
        )
        self.quotas.on_wants(self.replication.wants_changed)
        self.desk.on_trade(self.circle.see_trade)
        self.desk.on_trade(self.interest.see_trade)
        self.interest.on_scope(self.replication.rescope)
        self.interest.on_wants(self.replication.wants_changed)
        self.interest.on_spoken(self.replication.spoke)
        self.replication.on_introduced(self.interest.introduced)
        self.chains.on_heads(self.interest.tell_grown)
        self.pruning = Pruning(
            self.chains, policy, lambda author: self.circle.share(author) == SEQ_MAX, keep_ms
        )
        self._keeping: dict[PeerId, trio.CancelScope] = {}
        self.chains.on_records(self._tell_of_records)
        self.market.on_lot(self._tell_of_matches)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled; started once the genesis entry is on disk.

        Raises:
            LocalError: the network cannot be reached, or the disk not written.
        """
        if self.chains.head_seq(self.chains.author) == 0:
            try:
                await self.chains.say(lambda _at_ms: [self.identity.genesis()])
            except RestoredError as error:
                # A ledger that was lost: the neighbours may give the own chain back.
                log.warning("nothing can be said: %s %s", error.message, error.hint)
        async with self.network.run(), trio.open_nursery() as nursery:
            nursery.start_soon(self.circle.run)
            nursery.start_soon(self.quotas.run)
            nursery.start_soon(self.market.run)
            nursery.start_soon(self.reputations.run)
            nursery.start_soon(self.gossip.run)
            nursery.start_soon(self.replication.watch)
            nursery.start_soon(self.replication.keep_whole)
            nursery.start_soon(self.desk.run)
            nursery.start_soon(self.quorum.run)
            nursery.start_soon(self.pruning.run)
            nursery.start_soon(self.talk.run)
            nursery.start_soon(self._follow_peers, nursery)
            task_status.started()

    async def say(self, drafts: Sequence[Draft]) -> list[Record]:
        """Append drafts to the own chain, then announce them."""
        return await self.chains.say(lambda _at_ms: drafts)

    async def _follow_peers(self, nursery: trio.Nursery) -> None:
        async for event in self.network.events:
            self.events.tell({"kind": _WORDS[type(event)], "peer": event.peer})
            # Events can be lost in a burst; who is connected is the truth.
            here = self.network.peers()
            self.talk.look()
            for peer in [peer for peer in self._keeping if peer not in here]:
                self._keeping.pop(peer).cancel()
            for peer in here:
                if peer not in self._keeping:
                    self._keeping[peer] = scope = trio.CancelScope()
                    nursery.start_soon(self._keep, peer, scope)

    async def _keep(self, peer: PeerId, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await self.replication.keep(peer)
            except Exception:  # logged whole
                # Ours, or a library's; the node lives on, without sync with this peer.
                log.exception("a bug in sync with %s", peer)

    def _tell_of_records(self, records: Sequence[Record]) -> None:
        own = [r for r in records if r.entry.author == self.chains.author]
        if own:
            self.gossip.announce(own)
        for record in records:
            body = record.entry.body
            if body.type in TRADE_TYPES:
                trade_id = record.entry.id if body.type == EntryType.PROPOSE else body.refs[0]
                self.events.tell(
                    {
                        "kind": "trade",
                        "trade": trade_id.hex(),
                        "step": EntryType(body.type).name.lower(),
                        "author": body.author.hex(),
                        "at_ms": body.at_ms,
                    }
                )

    def _tell_of_message(self, message: Message) -> None:
        self.events.tell(
            {
                "kind": "message",
                "about": message.about.hex(),
                "said": message.kind.name.lower(),
                "author": message.author.hex(),
                "at_ms": message.at_ms,
            }
        )

    def tell_of_wish(self, wish: Wish, match: Match) -> None:
        """Tell who listens that a lot was listed that fits a saved wish."""
        self.events.tell(
            {
                "kind": "wish",
                "wish": wish.id,
                "lot": match.offer.id.hex(),
                "amount": match.amount,
                "total_minor": match.total_minor,
            }
        )

    def tell_of_stop(self, stop: Stop) -> None:
        """Tell who listens that a lot was listed beside an own way."""
        self.events.tell(
            {
                "kind": "stop",
                "ride": stop.ride.id,
                "lot": stop.lot.id.hex(),
                "detour_s": stop.meeting.detour_s,
                "passing_ms": stop.meeting.passing_ms,
            }
        )

    def _tell_of_matches(self, lot: BookLot) -> None:
        self.events.tell(
            {
                "kind": "offer" if lot.side is Side.OFFER else "request",
                "lot": lot.id.hex(),
                "author": lot.author.hex(),
                "category": lot.category,
            }
        )
