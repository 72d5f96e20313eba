"""GossipSub with the settings passby needs, and so guarded that no message ends the process.

The wire is stock GossipSub v1.1 and v1.2. What differs is what we do with what arrives: one
synchronous judge decides once a message, IGNORE exists, control messages are bounded.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.score import ScoreParams, TopicScoreParams
from libp2p.pubsub.validators import signature_validator

from passby.node.net import GossipVerdict
from passby.node.net_libp2p.guards import GuardedHost, reset_quietly
from passby.protocol import limits

_log = logging.getLogger("passby.net")

Admit = Callable[[str, bytes, str], GossipVerdict]
"""(topic, data, sender) -> verdict; the host's wrapper around the judge, which never raises."""
Blame = Callable[[str, float], None]
IsMuted = Callable[[str], bool]


class GuardedGossip(GossipSub):  # type: ignore[misc]  # libp2p's classes are untyped here
    """The router: who hears what."""

    async def heartbeat(self) -> None:
        """Beat on: a beat that fails is logged, and the next one comes."""
        while True:
            try:
                await super().heartbeat()
            except Exception as error:  # noqa: BLE001  # state that a peer's messages shaped
                _log.warning("gossip heartbeat: %r", error)
            await trio.sleep(self.heartbeat_interval)

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        """Forward a message that was judged, or send our own.

        Leaner than stock: no signed record (four signature checks at each receiver), no
        IDONTWANT (another RPC for each small message), no list of times that only grows. Our
        own go to every subscriber up to the mesh's upper bound, so that a mesh which is still
        empty loses nothing.
        """
        self.mcache.put(pubsub_msg)
        assert self.pubsub is not None
        targets = set(
            self._get_peers_to_send(
                pubsub_msg.topicIDs,
                msg_forwarder=msg_forwarder,
                origin=ID(pubsub_msg.from_id),
                msg_id=self.pubsub.get_message_id(pubsub_msg),
            )
        )
        if msg_forwarder == self.pubsub.my_id:
            for topic in pubsub_msg.topicIDs:
                for peer in self.pubsub.peer_topics.get(topic, ()):
                    if len(targets) < self.degree_high:
                        targets.add(peer)
        rpc = rpc_pb2.RPC(publish=[pubsub_msg])
        for peer in targets:
            if peer in self.pubsub.peers:
                self.send_rpc(peer, rpc)
        for topic in pubsub_msg.topicIDs:
            self.time_since_last_publish[topic] = int(time.time())

    def _handle_dropped_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, reason: str) -> None:
        if rpc.publish:
            _log.warning("gossip to %s dropped: %s", peer_id, reason)
        super()._handle_dropped_rpc(peer_id, rpc, reason)

    async def handle_rpc(self, rpc: rpc_pb2.RPC, sender_peer_id: ID) -> None:
        """Follow control messages, as far as they concern us and are not too many."""
        _trim(rpc.control, set(self.mesh))
        await super().handle_rpc(rpc, sender_peer_id)


def _trim(control: rpc_pb2.ControlMessage, joined: set[str]) -> None:
    """Drop what costs memory or traffic and serves nobody.

    300,000 PRUNEs for made-up topics cost 120 MB of back-off times, and an IWANT that repeats
    one id is answered with one copy for each. Peers named in a PRUNE would be dialled unseen.
    """
    most = limits.GOSSIP_CONTROL_MAX
    for wants in control.iwant[:most]:
        unique = list(dict.fromkeys(wants.messageIDs))[:most]
        del wants.messageIDs[:]
        wants.messageIDs.extend(unique)
    for told in control.ihave[:most]:
        del told.messageIDs[most:]
    for unwanted in control.idontwant[:most]:
        del unwanted.messageIDs[most:]
    del control.iwant[most:], control.ihave[most:], control.idontwant[most:]
    grafts = [graft for graft in control.graft if graft.topicID in joined][:most]
    prunes = [prune for prune in control.prune if prune.topicID in joined][:most]
    del control.graft[:], control.prune[:]
    control.graft.extend(grafts)
    control.prune.extend(prunes)
    for prune in control.prune:
        del prune.peers[:]


class GuardedPubsub(Pubsub):  # type: ignore[misc]  # libp2p's classes are untyped here
    """Reads peers' RPCs, has new messages judged, and hands the accepted ones to the router."""

    def __init__(
        self,
        host: GuardedHost,
        router: GuardedGossip,
        admit: Admit,
        blame: Blame,
        is_muted: IsMuted,
    ) -> None:
        self._admit = admit
        self._blame = blame
        self._is_muted = is_muted
        super().__init__(
            host,
            router,
            strict_signing=True,
            seen_ttl=limits.GOSSIP_SEEN_S,
            max_inbound_rpc_size=limits.GOSSIP_RPC_MAX,
            max_subscriptions_per_peer=limits.GOSSIP_SUBSCRIPTIONS_MAX,
            max_subscriptions_per_rpc=limits.GOSSIP_SUBSCRIPTIONS_MAX,
        )

    async def stream_handler(self, stream: Any) -> None:
        """Read a peer's RPCs until one of them is none."""
        peer = stream.muxed_conn.peer_id
        try:
            await super().stream_handler(stream)
        except Exception as error:  # noqa: BLE001  # DecodeError, or the nursery closed under us
            if not self.manager.is_running:
                return
            _log.warning("broken gossip RPC from %s: %r", peer, error)
            await reset_quietly(stream)
            self._handle_dead_peer(peer)
            self._blame(str(peer), limits.SCORE_REJECT)

    def _handle_dead_peer(self, peer_id: ID) -> None:
        try:
            super()._handle_dead_peer(peer_id)
        except Exception as error:  # noqa: BLE001  # it runs in a task that must not end
            _log.warning("forgetting %s: %r", peer_id, error)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Judge a message once and forward it if accepted; never raise."""
        try:
            await self._push(msg_forwarder, msg)
        except Exception as error:  # noqa: BLE001  # a key that is no key, and its like
            _log.warning("broken gossip message from %s: %r", msg_forwarder, error)
            self._blame(str(msg_forwarder), limits.SCORE_REJECT)

    async def _push(self, forwarder: ID, msg: rpc_pb2.Message) -> None:
        if forwarder == self.my_id:
            self._mark_msg_seen(msg)
            await self.router.publish(forwarder, msg)
            return
        sender = str(forwarder)
        if self._is_muted(sender) or self._is_msg_seen(msg):
            return
        if len(msg.topicIDs) != 1 or not signature_validator(msg):
            self._blame(sender, limits.SCORE_REJECT)
            return
        # Only after the signature: or a stranger could mark others' messages as seen. And
        # before the judge: an ignored message is not judged again for each copy.
        self._mark_msg_seen(msg)
        if ID(msg.from_id) == self.my_id:
            return
        if self._admit(msg.topicIDs[0], msg.data, sender) is GossipVerdict.ACCEPT:
            await self.router.publish(forwarder, msg)

    def handle_subscription(self, origin_id: ID, sub_message: rpc_pb2.RPC.SubOpts) -> None:
        """Remember who listens to what; names that are too long are nobody's topic."""
        if len(sub_message.topicid) <= limits.GOSSIP_TOPIC_MAX:
            super().handle_subscription(origin_id, sub_message)

    def notify_subscriptions(self, publish_message: rpc_pb2.Message) -> None:
        """Do nothing: the judge has the message, and nobody reads the queue of 32."""


def new_pubsub(
    host: GuardedHost, admit: Admit, blame: Blame, is_muted: IsMuted
) -> tuple[GuardedPubsub, GuardedGossip]:
    """Build router and pubsub; both must run, or connecting blocks for ever.

    The message id stays libp2p's: with one of our own, dedup and IHAVE would not agree.
    """
    router = GuardedGossip(
        protocols=[PROTOCOL_ID_V12, PROTOCOL_ID_V11],
        degree=6,
        degree_low=4,
        degree_high=12,
        heartbeat_interval=1,
        adaptive_gossip_enabled=False,
        spam_protection_enabled=False,
        eclipse_protection_enabled=False,
        score_params=ScoreParams(
            p4_invalid_messages=TopicScoreParams(weight=10, cap=100, decay=0.9),
            publish_threshold=-50,
            gossip_threshold=-20,
            graylist_threshold=-80,
        ),
    )
    return GuardedPubsub(host, router, admit, blame, is_muted), router
