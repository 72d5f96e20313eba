"""The witness in this node: it cosigns neighbours' checkpoints, and shows those it has.

It cosigns trees of chains that it holds itself, whole and unforked, so that whoever reads its
cosignature can fetch from it what it vouched for. A tree that its own copy does not reach yet
is answered with 429: sync brings the entries, and the neighbour asks again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, assert_never

import trio

from passby.ledger.checkpoint import SignedCheckpoint, WitnessKey, author_of, chain_key
from passby.ledger.checkpoint_messages import (
    AskKey,
    AskNewest,
    Question,
    encode_answer,
    parse_question,
)
from passby.ledger.note import VerifierKey
from passby.ledger.prove import proof_in
from passby.ledger.witness import (
    AddCheckpoint,
    Conflict,
    Cosign,
    Forked,
    Held,
    Reason,
    Refuse,
    cosignature,
    witness,
)
from passby.ledger.witness_messages import Cosigned, Reply, encode_reply, parse_request
from passby.node.asking import read_framed
from passby.node.buckets import Buckets
from passby.node.chains import Chains
from passby.node.checkpoints import Checkpoints
from passby.node.net import Network, PeerId, Stream
from passby.protocol.errors import LocalError, RemoteError
from passby.protocol.limits import (
    ADD_CHECKPOINT_MAX,
    ASK_WITHIN_S,
    CHECKPOINT_QUESTION_MAX,
    WITNESS_PEER_BURST,
    WITNESS_PEER_RATE_PER_S,
    WITNESS_PEERS_METERED_MAX,
    WITNESS_STREAMS_PER_PEER_MAX,
    WITNESS_TRIES_MAX,
)

WITNESS_PROTOCOL: Final = "/passby/witness/1"
CHECKPOINT_PROTOCOL: Final = "/passby/checkpoint/1"
_BUSY: Final = Refuse(Reason.BUSY)
log = logging.getLogger(__name__)


class Witnessing:
    """Answers add-checkpoint and questions about checkpoints; handlers are set at once.

    Args:
        network: whose streams carry the questions.
        chains: what is held of every chain, and of what was cosigned.
        checkpoints: what is shown.
        key: the witness key, which signs nothing else.
        note: told by how much the trees cosigned have grown, before a cosignature leaves.
    """

    def __init__(
        self,
        network: Network,
        chains: Chains,
        checkpoints: Checkpoints,
        key: WitnessKey,
        note: Callable[[int], None],
    ) -> None:
        self._chains = chains
        self._checkpoints = checkpoints
        self._key = key
        self._note = note
        self.is_on = True
        """Whether neighbours' checkpoints are cosigned."""
        self._buckets = Buckets[PeerId](
            WITNESS_PEER_RATE_PER_S, WITNESS_PEER_BURST, WITNESS_PEERS_METERED_MAX
        )
        self._open: Counter[PeerId] = Counter()
        network.handle(WITNESS_PROTOCOL, self._serve_witness)
        network.handle(CHECKPOINT_PROTOCOL, self._serve_checkpoint)

    @property
    def verifier(self) -> VerifierKey:
        """The key that others know this witness by."""
        return self._key.verifier

    async def add(self, request: AddCheckpoint) -> Reply:
        """Judge a request, and cosign what passes; it is stored durably when this returns.

        Raises:
            LocalError: the disk is full or failing, or the ledger damaged.
        """
        origin = request.signed.head.origin
        for _ in range(WITNESS_TRIES_MAX):
            held = self._chains.reader.witnessed(origin)
            verdict = self._judge(held, request)
            match verdict:
                case Cosign(held=new):
                    if await self._chains.swap_witnessed(origin, held, new, self._note):
                        return Cosigned((cosignature(new, self._key),))
                case Forked(proof=proof, reply=reply):
                    await self._chains.accuse(proof)
                    return reply
                case Conflict() | Refuse():
                    return verdict
                case _:
                    assert_never(verdict)
        return _BUSY

    def _judge(self, held: Held, request: AddCheckpoint) -> Cosign | Conflict | Refuse | Forked:
        chains = self._chains
        try:
            author = author_of(request.signed.head.origin)
        except RemoteError:
            return Refuse(Reason.UNKNOWN)
        if not self.is_on or chains.head_seq(author) == 0:
            return Refuse(Reason.UNKNOWN)
        verdict = witness(held, request, chain_key(author), chains.now_ms() // 1000)
        if not isinstance(verdict, Cosign):
            return verdict
        if chains.is_frozen(author):
            known = chains.reader.evidence(author)
            return Refuse(Reason.INCONSISTENT, proof_in(known[0]) if known else None)
        own = chains.heads.get(chains.author)
        if chains.clock_guard.doubt(own.at_ms if own else None) is not None:
            # The time of a cosignature never falls: one by a wrong clock would stay.
            return _BUSY
        agrees = self._checkpoints.agrees(request.signed, author)
        if agrees is None:
            return _BUSY
        return verdict if agrees else Refuse(Reason.INCONSISTENT)

    def answer(self, question: Question) -> VerifierKey | SignedCheckpoint | Refuse:
        """Answer a question about checkpoints.

        Raises:
            LocalError: the ledger is damaged.
        """
        match question:
            case AskKey():
                return self.verifier if self.is_on else Refuse(Reason.UNKNOWN)
            case AskNewest(author, size):
                return self._checkpoints.newest(author, size) or Refuse(Reason.UNKNOWN)
            case unknown:
                assert_never(unknown)

    # --- streams -----------------------------------------------------------------------

    async def _serve_witness(self, stream: Stream) -> None:
        async def reply(body: bytes) -> bytes:
            try:
                request = parse_request(body)
            except RemoteError:
                return encode_reply(Refuse(Reason.MALFORMED))
            return encode_reply(await self.add(request))

        await self._serve(stream, ADD_CHECKPOINT_MAX, encode_reply(_BUSY), reply)

    async def _serve_checkpoint(self, stream: Stream) -> None:
        async def reply(body: bytes) -> bytes:
            try:
                question = parse_question(body)
            except RemoteError:
                return encode_answer(Refuse(Reason.MALFORMED))
            return encode_answer(self.answer(question))

        await self._serve(stream, CHECKPOINT_QUESTION_MAX, encode_answer(_BUSY), reply)

    async def _serve(
        self,
        stream: Stream,
        most: int,
        busy: bytes,
        reply: Callable[[bytes], Awaitable[bytes]],
    ) -> None:
        """Read one request, and answer it.

        Raises:
            RemoteError: the peer sent too much, or went away.
        """
        with self._admitted(stream.peer) as admitted, trio.move_on_after(ASK_WITHIN_S):
            if not admitted:
                await stream.send_all(busy)
                return
            body = await read_framed(stream, most)
            try:
                answer = await reply(body)
            except LocalError as error:
                log.warning("cannot answer %s on %s: %s", stream.peer, stream.protocol, error)
                answer = busy
            await stream.send_all(answer)

    @contextmanager
    def _admitted(self, peer: PeerId) -> Iterator[bool]:
        """Count what a peer has open; tell whether it may have this one, too."""
        self._open[peer] += 1
        try:
            yield self._open[peer] <= WITNESS_STREAMS_PER_PEER_MAX and self._buckets.take(
                peer, trio.current_time()
            )
        finally:
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]
