"""Gossip: the first word of what is new in the cells around, and no more than that.

Own news go out within a budget, bundled; what does not fit is left to sync, which carries
everything. What comes in is judged cheapest first: form, then whether it is new, then the
sender's bucket, then the signature; only what no honest node would pass on is charged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import assert_never

import trio

from passby.ledger.ingest import Check
from passby.node.buckets import Bucket, Buckets
from passby.node.chains import Chains
from passby.node.circle import Circle
from passby.node.clock import Clock
from passby.node.net import GossipVerdict, Network, PeerId
from passby.node.quotas import Quotas
from passby.protocol.entry import Record, encode_record
from passby.protocol.errors import LocalError, RemoteError
from passby.protocol.judge import Accept, Ignore, Reject, check_signature, judge
from passby.protocol.limits import (
    GOSSIP_ADMIT_QUEUE_MAX,
    GOSSIP_AUTHOR_BURST,
    GOSSIP_AUTHOR_RATE_PER_S,
    GOSSIP_AUTHORS_METERED_MAX,
    GOSSIP_BUNDLE_MAX,
    GOSSIP_CROWD_BURST,
    GOSSIP_CROWD_RATE_PER_S,
    GOSSIP_PEER_BURST,
    GOSSIP_PEER_RATE_PER_S,
    GOSSIP_PEERS_METERED_MAX,
    GOSSIP_PUBLISH_PER_S,
    GOSSIP_RECORDS_MAX,
)
from passby.protocol.topics import topic_for
from passby.protocol.types import GOSSIPED_TYPES, PLACED_TYPES

log = logging.getLogger(__name__)


class Gossip:
    """Publishes own news and admits others'.

    Args:
        network: carries the messages; its judge is set at once.
        chains: admits records and tells of own ones.
        clock: for the judge.
        topics: cells of resolution 5 to listen to.
        circle: whose news need not share with strangers.
        quotas: how much is taken of whom.
        answer: told who brings news of an author that is proven false.
    """

    def __init__(
        self,
        network: Network,
        chains: Chains,
        clock: Clock,
        topics: Sequence[int],
        circle: Circle,
        quotas: Quotas,
        answer: Callable[[PeerId, bytes], None],
    ) -> None:
        self._network = network
        self._chains = chains
        self._clock = clock
        self._topics = tuple(topics)
        self._answer = answer
        self._peers = Buckets[PeerId](
            GOSSIP_PEER_RATE_PER_S, GOSSIP_PEER_BURST, GOSSIP_PEERS_METERED_MAX
        )
        self._quotas = quotas
        self._circle = circle
        self._authors = Buckets[bytes](
            GOSSIP_AUTHOR_RATE_PER_S, GOSSIP_AUTHOR_BURST, GOSSIP_AUTHORS_METERED_MAX
        )
        now_s = trio.current_time()
        self._crowds = {
            topic_for(cell): Bucket(GOSSIP_CROWD_RATE_PER_S, GOSSIP_CROWD_BURST, now_s)
            for cell in self._topics
        }
        self._admit_to, self._to_admit = trio.open_memory_channel[Sequence[Record]](
            GOSSIP_ADMIT_QUEUE_MAX
        )
        self._news_to, self._news = trio.open_memory_channel[Sequence[Record]](
            GOSSIP_ADMIT_QUEUE_MAX
        )
        network.on_gossip(self._judge)

    async def run(self) -> None:
        """Subscribe, then publish and admit until cancelled."""
        for cell in self._topics:
            await self._network.subscribe(topic_for(cell))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._publish)
            nursery.start_soon(self._admit)

    def announce(self, records: Sequence[Record]) -> None:
        """Queue own records for publishing; where the queue is full, sync alone tells."""
        placed = [r for r in records if r.entry.body.type in GOSSIPED_TYPES]
        if not placed or len(placed) > GOSSIP_RECORDS_MAX:
            return
        try:
            self._news_to.send_nowait(placed)
        except trio.WouldBlock:
            log.debug("gossip budget spent; sync will tell")

    async def _publish(self) -> None:
        budget = Bucket(GOSSIP_PUBLISH_PER_S, GOSSIP_PUBLISH_PER_S, trio.current_time())
        async for records in self._news:
            for topic, data in self._bundles(records):
                if budget.take(trio.current_time()):
                    await self._network.publish(topic, data)

    def _bundles(self, records: Sequence[Record]) -> list[tuple[str, bytes]]:
        """Return (topic, message) pairs, each message within the bounds of a bundle."""
        by_topic: dict[str, list[bytes]] = {}
        for record in records:
            if (cell := self._cell_of(record)) is not None:
                by_topic.setdefault(topic_for(cell), []).append(encode_record(record))
        bundles: list[tuple[str, bytes]] = []
        for topic, packed in by_topic.items():
            bundle = b""
            for one in packed:
                if len(bundle) + len(one) > GOSSIP_BUNDLE_MAX:
                    bundles.append((topic, bundle))
                    bundle = b""
                bundle += one
            bundles.append((topic, bundle))
        return bundles

    def _cell_of(self, record: Record) -> int | None:
        body = record.entry.body
        if body.type not in PLACED_TYPES:
            lot = self._chains.reader.record(body.refs[0])
            if lot is None or lot.entry.body.type not in PLACED_TYPES:
                return None
            body = lot.entry.body
        cell = body.facts[0]
        return cell if isinstance(cell, int) else None

    def _judge(self, topic: str, data: bytes, peer: PeerId) -> GossipVerdict:
        verdict = judge(data, topic, self._clock())
        match verdict:
            case Reject(error):
                log.info("gossip from %s: %s", peer, error)
                return GossipVerdict.REJECT
            case Ignore(reason):
                log.debug("gossip from %s: %s", peer, reason)
                return GossipVerdict.IGNORE
            case Accept(records):
                pass
            case _:
                assert_never(verdict)
        if not self._peers.take(peer, trio.current_time()):
            return GossipVerdict.IGNORE
        fresh = self._quotas.taken(record for record in records if not self._holds(record))
        if not fresh:
            return GossipVerdict.IGNORE
        if self._is_of_liars(fresh, peer):
            return GossipVerdict.IGNORE
        authors = {record.entry.author for record in fresh}
        known = {author for author in authors if self._circle.has(author)}
        if known != authors and not self._strangers_turn(topic):
            return GossipVerdict.IGNORE
        try:
            for record in fresh:
                check_signature(record.entry)
        except RemoteError as error:
            log.info("gossip from %s: %s", peer, error)
            return GossipVerdict.REJECT
        # Behind the signatures: nobody else spends an author's turns.
        now_s = trio.current_time()
        if not all(self._authors.take(author, now_s) for author in sorted(known)):
            return GossipVerdict.IGNORE
        try:
            self._admit_to.send_nowait(fresh)
        except trio.WouldBlock:
            return GossipVerdict.IGNORE
        return GossipVerdict.ACCEPT

    def _is_of_liars(self, fresh: Sequence[Record], peer: PeerId) -> bool:
        """Tell whether any is of an author proven false, and let the sender know of it."""
        false = [r.entry.author for r in fresh if self._chains.is_frozen(r.entry.author)]
        for author in false:
            self._answer(peer, author)
        return bool(false)

    def _holds(self, record: Record) -> bool:
        """Tell whether this very record is held: another entry at its place proves a fork.

        An entry whose payload is missing here is not held: it may have come from who left it out.
        """
        author, seq = record.entry.author, record.entry.seq
        if seq > self._chains.head_seq(author):
            return False
        held = self._chains.reader.record_at(author, seq)
        if held is None:
            return True
        lacks = held.payload is None and record.payload is not None
        return held.entry.id == record.entry.id and not lacks

    def _strangers_turn(self, topic: str) -> bool:
        crowd = self._crowds.get(topic)
        return crowd is not None and crowd.take(trio.current_time())

    async def _admit(self) -> None:
        async for records in self._to_admit:
            try:
                await self._chains.admit(self._quotas.taken(records), Check.EACH)
            except LocalError as error:
                # The disk: sync will bring the records again when there is room.
                log.warning("cannot store gossip: %s", error)
            except Exception:  # logged whole; what a peer sent must not end the node
                log.exception("gossip that trips over a bug of ours")
