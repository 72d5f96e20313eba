"""Who has cosigned what a trade rests on: what the policy asks for before goods and money move.

A reserve is covered once a checkpoint of its chain, which the own copy of the chain bears out,
reaches as far as the entry, and the policy's quorum has cosigned it. The checkpoint comes from
the lister or from any neighbour who has it; the cosignatures are asked for from here, of every
peer who says that it holds a witness's key. Peers may say anything: what counts is verified.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import assert_never

import msgspec
import trio

from passby.ledger.checkpoint import SignedCheckpoint, chain_key, merged
from passby.ledger.checkpoint_messages import (
    AskKey,
    AskNewest,
    encode_question,
    parse_key_answer,
    parse_newest_answer,
)
from passby.ledger.claim import RootClaim
from passby.ledger.note import VerifierKey
from passby.ledger.policy import NONE, Policy, readable, satisfied, sifted
from passby.ledger.prove import prove_claims
from passby.ledger.witness import AddCheckpoint, Conflict, Reason, Refuse
from passby.ledger.witness_messages import Cosigned, Reply, encode_request, parse_reply
from passby.node.asking import ask
from passby.node.chains import Chains
from passby.node.checkpoints import Checkpoints
from passby.node.net import Network, PeerId
from passby.node.witnessing import CHECKPOINT_PROTOCOL, WITNESS_PROTOCOL, Witnessing
from passby.protocol.entry import Record
from passby.protocol.errors import Exit, LocalError, PassbyError, RemoteError
from passby.protocol.limits import (
    ADD_TRIES_MAX,
    ASK_WITHIN_S,
    CHECKPOINT_ANSWER_MAX,
    QUORUM_CHAINS_MAX,
    QUORUM_RETRY_FIRST_S,
    QUORUM_RETRY_MAX_S,
    QUORUM_WANTED_S,
    WITNESS_KNOWN_S,
    WITNESS_REPLY_MAX,
)
from passby.protocol.trade import Leg, Trade
from passby.protocol.types import EntryType

Place = tuple[bytes, int, bytes]
"""An entry: its author, its seq, its id."""
Adder = Callable[[AddCheckpoint], Awaitable[Reply]]
log = logging.getLogger(__name__)


class Cover(msgspec.Struct, frozen=True):
    """How far the policy is satisfied; witnesses by the names that it gives them.

    `why` says in a clause what is lacking besides cosignatures, if anything.
    """

    reached: bool
    cosigned: tuple[str, ...]
    lacking: tuple[str, ...]
    why: str = ""


class NoQuorumError(LocalError):
    """Too few witnesses vouch for what a trade rests on."""

    exit_code = Exit.NO_QUORUM

    def __init__(self, cover: Cover) -> None:
        lacking = ", ".join(map(readable, cover.lacking))
        named = f"; lacking: {lacking}" if lacking else ""
        why = f" ({cover.why})" if cover.why else ""
        all_of = len(cover.cosigned) + len(cover.lacking)
        super().__init__(
            f"No quorum: {len(cover.cosigned)} of {all_of} witnesses have cosigned{named}{why}.",
            "Do not pay in advance. Try again when they can be reached; `passby policy check` tells"
            " who can.",
        )


class _Want(msgspec.Struct):
    seq: int
    by_ms: int


class _Known(msgspec.Struct, frozen=True):
    """What a peer says of its witness key, and how long that is good."""

    key: VerifierKey | None
    asked_s: float
    until_s: float


class Quorum:
    """Gathers cosignatures for the trades of this device.

    Args:
        network: whose peers are asked.
        chains: what is held of every chain.
        checkpoints: what is held of their checkpoints.
        own: the witness in this node, which the policy may name as well.
        policy: gives the policy in force; may raise ConfigError.
    """

    def __init__(
        self,
        network: Network,
        chains: Chains,
        checkpoints: Checkpoints,
        own: Witnessing,
        policy: Callable[[], Policy],
    ) -> None:
        self._network = network
        self._chains = chains
        self._checkpoints = checkpoints
        self._own = own
        self._read_policy = policy
        self._wanted: dict[bytes, _Want] = {}
        self._notes: dict[bytes, SignedCheckpoint] = {}
        """Checkpoints that cosignatures are gathered for: a newer one does not take their place
        while it has fewer."""
        self._known: dict[PeerId, _Known] = {}
        self._bell = trio.Event()
        self._on_reached: list[Callable[[], None]] = []
        chains.on_records(self._heard)

    @property
    def policy(self) -> Policy:
        """The policy in force.

        Raises:
            ConfigError: the policy file is not in order.
        """
        return self._read_policy()

    def on_reached(self, tell: Callable[[], None]) -> None:
        """Call `tell` when a chain that was waited for is covered."""
        self._on_reached.append(tell)

    # --- what stands -------------------------------------------------------------------

    def allows(self, trade: Trade) -> bool:
        """Tell whether the taker may confirm; if not, gather what is lacking for a while.

        Whoever goes on asking has it gathered until it is there.

        Raises:
            LocalError: the policy file is not in order, or the ledger damaged.
        """
        if self.policy.quorum == NONE:
            return True
        covered = True
        for leg in trade.legs:
            place = _reserve(leg)
            if place is not None and self._cover(*place).reached:
                continue
            covered = False
            if place is not None:
                author, seq, _ = place
                self._want(author, seq)
        return covered

    def cover(self, trade: Trade) -> Cover | None:
        """Return what vouches for the reserve of every lister; None where none is asked.

        Raises:
            LocalError: the policy file is not in order, or the ledger damaged.
        """
        return self._cover_all([_reserve(leg) for leg in trade.legs], 0)

    def _cover_all(self, promises: list[Place | None], since_s: int) -> Cover | None:
        policy = self.policy
        if policy.quorum == NONE:
            return None
        places = [place for place in promises if place is not None]
        covers = [self._cover(*place, since_s) for place in places]
        return Cover(
            all(cover.reached for cover in covers) and len(places) == len(promises),
            tuple(n for n in policy.witnesses if covers and all(n in c.cosigned for c in covers)),
            tuple(n for n in policy.witnesses if any(n in c.lacking for c in covers)),
            next((cover.why for cover in covers if cover.why), ""),
        )

    async def renew(self, trade: Trade, since_s: int) -> Cover | None:
        """Ask the witnesses once more, about each lister's newest promise.

        Cosignatures dated before `since_s` (Unix seconds) do not count.

        Raises:
            LocalError: the policy file is not in order, or the ledger damaged.
        """
        places = [_promise(leg) for leg in trade.legs]
        if self.policy.quorum != NONE:
            for place in places:
                if place is not None:
                    await self._gather(*place, since_s)
        return self._cover_all(places, since_s)

    def _cover(self, author: bytes, seq: int, entry_id: bytes, since_s: int = 0) -> Cover:
        policy = self.policy
        if self._chains.is_frozen(author):
            return _none(policy, "the lister was caught with two histories")
        held = self._chains.reader.record_at(author, seq)
        if held is None or held.entry.id != entry_id:
            return _none(policy, "the entry is not in the chain held here")
        notes = [self._notes.get(author), self._chains.reader.checkpoint(author)]
        found = [
            self._count(policy, note, author, since_s)
            for note in notes
            if note is not None and note.head.size >= seq
        ]
        if not found:
            return _none(policy, "no checkpoint of the lister covers it yet")
        return max(found, key=lambda cover: (cover.reached, len(cover.cosigned)))

    def _count(self, policy: Policy, note: SignedCheckpoint, author: bytes, since_s: int) -> Cover:
        # The chain may have been set aside, and another branch kept, since this was gathered.
        if not self._checkpoints.agrees(note, author):
            return _none(policy, "the lister's checkpoint is not of the chain held here")
        now_s = self._chains.now_ms() // 1000
        quorum = satisfied(sifted(note, policy.witnesses.values()), policy, now_s, since_s)
        lacking = tuple(name for name in policy.witnesses if name not in quorum.counted)
        return Cover(quorum.reached, quorum.counted, lacking)

    # --- gathering ---------------------------------------------------------------------

    async def run(self) -> None:
        """Gather until cancelled."""
        async with trio.open_nursery() as nursery:
            pursued: set[bytes] = set()

            async def pursue(author: bytes) -> None:
                try:
                    await self._pursue(author)
                except LocalError as error:
                    log.warning("no cosignatures for %s: %s", author.hex()[:12], error)
                except Exception:  # logged whole; a trade of strangers must not end the node
                    log.exception("a bug in gathering cosignatures for %s", author.hex())
                finally:
                    self._wanted.pop(author, None)
                    pursued.discard(author)

            while True:
                self._bell = trio.Event()
                for author in self._wanted.keys() - pursued:
                    pursued.add(author)
                    nursery.start_soon(pursue, author)
                await self._bell.wait()

    def _heard(self, records: Sequence[Record]) -> None:
        """Gather for commits to this device: when it pays in advance, their lister may sleep."""
        for record in records:
            body = record.entry.body
            if body.type != EntryType.COMMIT or body.author == self._chains.author:
                continue
            propose = self._chains.reader.record(body.refs[0])
            mine = propose is not None and propose.entry.author == self._chains.author
            if mine and self.policy.quorum != NONE:
                self._want(body.author, body.seq)

    def _want(self, author: bytes, seq: int) -> None:
        by_ms = self._chains.now_ms() + QUORUM_WANTED_S * 1000
        want = self._wanted.get(author)
        if want is None:
            if len(self._wanted) >= QUORUM_CHAINS_MAX:
                return
            self._wanted[author] = _Want(seq, by_ms)
            self._bell.set()
        else:
            want.seq, want.by_ms = max(seq, want.seq), by_ms

    async def _pursue(self, author: bytes) -> None:
        """Gather for a chain until what is wanted of it is covered, or nobody wants it any more."""
        pause_s = QUORUM_RETRY_FIRST_S
        while (want := self._wanted[author]).by_ms >= self._chains.now_ms():
            seq = want.seq
            held = self._chains.reader.record_at(author, seq)
            if held is not None and not self._chains.is_frozen(author):
                reached = await self._gather(author, seq, held.entry.id)
                if reached and seq == want.seq:
                    break
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, QUORUM_RETRY_MAX_S)
        for tell in self._on_reached:
            tell()

    async def _gather(self, author: bytes, seq: int, entry_id: bytes, since_s: int = 0) -> bool:
        """Ask everybody who may help, once; tell whether the entry is covered then."""
        if self._cover(author, seq, entry_id, since_s).reached:
            return True
        note = self._notes.get(author) or self._chains.reader.checkpoint(author)
        if note is None or note.head.size < seq or not self._checkpoints.agrees(note, author):
            note = await self._fetch(author, seq)
        for _ in range(2):
            if note is None:
                break
            self._take_up(author, note)
            ahead = await self._collect(author, since_s)
            if not ahead or self._cover(author, seq, entry_id, since_s).reached:
                break
            # A witness that has cosigned more never cosigns less again. How much more it says is
            # not believed: who names too much would keep every checkpoint from being large enough.
            note = await self._fetch(author, note.head.size + 1)
        if (taken := self._notes.get(author)) is not None:
            await self._chains.keep_checkpoint(taken)
        return self._cover(author, seq, entry_id, since_s).reached

    def _take_up(self, author: bytes, note: SignedCheckpoint) -> None:
        held = self._notes.pop(author, None)
        note = sifted(note, self.policy.witnesses.values())
        while len(self._notes) >= QUORUM_CHAINS_MAX:
            del self._notes[next(iter(self._notes))]
        if held is not None and held.head == note.head:
            note = merged(note, held)
        self._notes[author] = note

    async def _fetch(self, author: bytes, least: int) -> SignedCheckpoint | None:
        """Return a checkpoint that the own copy bears out, from the first peer that has one."""
        own = self._checkpoints.newest(author, least)
        if own is not None and self._checkpoints.agrees(own, author):
            return own
        question = AskNewest(author, least)
        found: list[SignedCheckpoint] = []

        async def look(peer: PeerId, scope: trio.CancelScope) -> None:
            try:
                data = await self._ask(peer, question)
                signed = parse_newest_answer(data, question)
                if isinstance(signed, Refuse):
                    return
                match self._checkpoints.agrees(signed, author):
                    case True:
                        found.append(signed)
                        scope.cancel()
                    case False:
                        log.warning("%s has another history of %s", peer, author.hex()[:12])
                        await self._compare(author, signed)
                    case None:
                        pass  # sync has to bring the entries first
            except PassbyError as error:
                log.info("no checkpoint from %s: %s", peer, error)

        async with trio.open_nursery() as nursery:
            for peer in self._network.peers():
                nursery.start_soon(look, peer, nursery.cancel_scope)
        return found[0] if found else None

    async def _compare(self, author: bytes, signed: SignedCheckpoint) -> None:
        """Prove a fork where another root of the same size is held, signed as well."""
        for held in (self._notes.get(author), self._chains.reader.checkpoint(author)):
            if held is not None and held.head.size == signed.head.size:
                key = chain_key(author)
                one, other = (RootClaim(note.only_by(key).encode()) for note in (held, signed))
                await self._chains.accuse(prove_claims(one, other))
                return

    async def _collect(self, author: bytes, since_s: int) -> bool:
        """Ask every reachable witness that is lacking; tell whether one has cosigned more."""
        policy = self.policy
        signed = self._notes[author]
        counted = self._count(policy, signed, author, since_s).cosigned
        wanted = {key for name, key in policy.witnesses.items() if name not in counted}
        ahead = False

        async def cosign(key: VerifierKey, add: Adder) -> None:
            nonlocal ahead
            reply = await self._add(author, signed, add)
            match reply:
                case Cosigned(lines):
                    self._merge(author, sifted(signed.with_lines(lines), (key,)))
                case Conflict(size):
                    ahead = ahead or size > signed.head.size
                case Refuse(reason, proof):
                    log.info("%s does not cosign: %s", key.name, reason.name)
                    if proof is not None:
                        await self._chains.accuse(proof)
                case _:
                    assert_never(reply)
            note = self._notes.get(author, signed)
            if self._count(policy, note, author, since_s).reached:
                nursery.cancel_scope.cancel()

        async def visit(peer: PeerId | None) -> None:
            try:
                key = self._own.verifier if peer is None else await self._key_of(peer)
                if key is not None and key in wanted:
                    add = self._own.add if peer is None else partial(self._add_at, peer)
                    await cosign(key, add)
            except PassbyError as error:
                log.info("no cosignature from %s: %s", peer or "this node", error)

        async with trio.open_nursery() as nursery:
            for peer in (None, *self._network.peers()):
                nursery.start_soon(visit, peer)
        return ahead

    def _merge(self, author: bytes, signed: SignedCheckpoint) -> None:
        held = self._notes.get(author)
        if held is not None and held.head == signed.head:
            self._notes[author] = merged(held, signed)

    async def _add(
        self,
        author: bytes,
        signed: SignedCheckpoint,
        add: Adder,
    ) -> Reply:
        """Ask a witness to cosign, from the size that it says it holds; wait where it is busy."""
        size = signed.head.size
        bare = signed.only_by(chain_key(author))
        request = AddCheckpoint(0, (), bare)
        pause_s = QUORUM_RETRY_FIRST_S
        reply = await add(request)
        for _ in range(ADD_TRIES_MAX - 1):
            match reply:
                case Conflict(old) if request.old != old <= size:
                    proof = self._checkpoints.proof(author, old, size)
                    request = AddCheckpoint(old, proof, bare)
                case Refuse(Reason.BUSY):
                    # Mostly the entries are on their way to it.
                    await trio.sleep(pause_s)
                    pause_s *= 2
                case _:
                    break
            reply = await add(request)
        return reply

    async def _add_at(self, peer: PeerId, request: AddCheckpoint) -> Reply:
        data = encode_request(request)
        return parse_reply(
            await ask(self._network, peer, WITNESS_PROTOCOL, data, WITNESS_REPLY_MAX)
        )

    # --- who is a witness --------------------------------------------------------------

    async def known(self) -> dict[PeerId, VerifierKey]:
        """Return the witness keys that connected peers say they hold; nobody has proven any."""
        found: dict[PeerId, VerifierKey] = {}

        async def visit(peer: PeerId) -> None:
            try:
                key = await self._key_of(peer)
            except RemoteError as error:
                log.info("%s does not name its witness key: %s", peer, error)
                return
            if key is not None:
                found[peer] = key

        async with trio.open_nursery() as nursery:
            for peer in self._network.peers():
                nursery.start_soon(visit, peer)
        return dict(sorted(found.items()))

    async def _key_of(self, peer: PeerId) -> VerifierKey | None:
        now_s = trio.current_time()
        here = self._network.peers()
        known = self._known.get(peer)
        # Who went away and came back may have another key, or answer where it did not.
        if (
            known is not None
            and peer in here
            and here[peer].since_s <= known.asked_s
            and now_s < known.until_s
        ):
            return known.key
        for gone in [other for other in self._known if other not in here]:
            del self._known[gone]
        try:
            answer = parse_key_answer(await self._ask(peer, AskKey()))
        except RemoteError:
            # Who is silent would hold up every round; who just went away may be back.
            silent = trio.current_time() - now_s >= ASK_WITHIN_S
            good_s = WITNESS_KNOWN_S if silent else QUORUM_RETRY_MAX_S
            self._known[peer] = _Known(None, now_s, now_s + good_s)
            raise
        if isinstance(answer, Refuse):
            self._known[peer] = _Known(None, now_s, now_s + QUORUM_RETRY_MAX_S)
            return None
        self._known[peer] = _Known(answer, now_s, now_s + WITNESS_KNOWN_S)
        return answer

    async def _ask(self, peer: PeerId, question: AskKey | AskNewest) -> bytes:
        return await ask(
            self._network,
            peer,
            CHECKPOINT_PROTOCOL,
            encode_question(question),
            CHECKPOINT_ANSWER_MAX,
        )


def _none(policy: Policy, why: str) -> Cover:
    return Cover(reached=False, cosigned=(), lacking=tuple(policy.witnesses), why=why)


def _reserve(leg: Leg) -> Place | None:
    """Return whose entry sets a leg's goods aside, at which seq; None before it."""
    if leg.lister is None or leg.reserve is None:
        return None
    return leg.lister, leg.reserve.seq, leg.reserve.id


def _promise(leg: Leg) -> Place | None:
    """Return the entry that binds a leg's lister most: its commit, or else its reserve."""
    if leg.lister is None or leg.commit is None:
        return _reserve(leg)
    return leg.lister, leg.commit.seq, leg.commit.id
