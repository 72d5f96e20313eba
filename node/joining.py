"""Joining by invite: who was invited is vouched for, and vouches for whom it joins.

    joiner   author b32 ‖ token b16
    inviter  answer u8

A token is `expires_s u32 ‖ nonce b4 ‖ proof b8`, the proof a keyed hash that only the inviter
can make, so that nothing is kept of an invite until it is used; a used one stands in the vouch
that it brought, and serves nobody else.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from enum import IntEnum
from typing import Final

import trio

from passby.geo.cells import cell_text, topic_cell
from passby.node.chains import Chains
from passby.node.circle import Circle
from passby.node.clock import Clock
from passby.node.invite import TOKEN_BYTES, Invite
from passby.node.net import Network, PeerId, Stream
from passby.protocol.entry import Record
from passby.protocol.errors import Code, LocalError, RemoteError, UsageError
from passby.protocol.keys import KEY_BYTES, is_point
from passby.protocol.limits import INVITE_FOR_S, JOIN_WITHIN_S, TOKENS_SPENT_MAX
from passby.protocol.payloads import Vouched, decode_payload
from passby.protocol.types import EntryType

JOIN_PROTOCOL: Final = "/passby/join/1"
_PROVEN_BYTES: Final = 8
"""Expiry and nonce, in front of the proof. A guess costs its maker a fault, so 8 bytes of proof
are plenty."""
log = logging.getLogger(__name__)


class Answer(IntEnum):
    """What the inviter says to a token."""

    WELCOME = 0
    OVER = 1
    """It has expired."""
    SPENT = 2
    """Somebody else has used it."""
    NOT_NOW = 3
    """Nothing can be signed here at the moment."""


class Joining:
    """Makes invites, honours them, and presents those of others.

    Args:
        network: carries the streams; its handler is set at once.
        chains: the own chain, in which used tokens stand.
        circle: vouches.
        clock: for the end of an invite.
        code_key: 32 secret bytes of this device.
        draw: gives so many random bytes.
    """

    def __init__(
        self,
        network: Network,
        chains: Chains,
        circle: Circle,
        clock: Clock,
        code_key: bytes,
        draw: Callable[[int], bytes],
    ) -> None:
        self._network = network
        self._chains = chains
        self._circle = circle
        self._clock = clock
        self._secret = hashlib.blake2b(code_key, person=b"passby invite", digest_size=32).digest()
        self._draw = draw
        self._spent: dict[bytes, bytes] = {}
        """Token -> who used it, of those that have not expired."""
        self._answering = trio.Lock()
        for seq in chains.reader.derived(chains.author).vouches:
            self._note(chains.reader.record_at(chains.author, seq))
        network.handle(JOIN_PROTOCOL, self._serve)

    # --- inviting ----------------------------------------------------------------------

    def invite(self, home: int, name: str) -> Invite:
        """Return an invite to here, good for one neighbour and for INVITE_FOR_S."""
        expires_s = self._clock() // 1000 + INVITE_FOR_S
        said = expires_s.to_bytes(4, "big") + self._draw(_PROVEN_BYTES - 4)
        # The cell is as wide as the topic that listening tells peers anyway: a link may travel.
        return Invite(
            tuple(self._network.addresses()),
            cell_text(topic_cell(home)),
            name,
            self._chains.author,
            said + self._proof(said),
        )

    def _proof(self, said: bytes) -> bytes:
        size = TOKEN_BYTES - _PROVEN_BYTES
        return hashlib.blake2b(said, key=self._secret, digest_size=size).digest()

    def _expires_s(self, token: bytes) -> int:
        return int.from_bytes(token[:4], "big")

    def _note(self, record: Record | None) -> None:
        """Remember the token that an own vouch has spent."""
        if record is None or record.payload is None or record.entry.body.type != EntryType.VOUCH:
            return
        try:
            token = decode_payload(record.payload, Vouched).token
        except RemoteError:
            return
        vouched = record.entry.body.facts[0]
        if token is not None and isinstance(vouched, bytes):
            self._spend(token, vouched)

    def _spend(self, token: bytes, author: bytes) -> None:
        now_s = self._clock() // 1000
        for old in [old for old in self._spent if self._expires_s(old) < now_s]:
            del self._spent[old]
        if self._expires_s(token) >= now_s:
            self._spent[token] = author

    async def _serve(self, stream: Stream) -> None:
        with trio.move_on_after(JOIN_WITHIN_S):
            said = await _read(stream, KEY_BYTES + TOKEN_BYTES)
            answer = await self._answer(said[:KEY_BYTES], said[KEY_BYTES:])
            await stream.send_all(bytes([answer]))

    async def _answer(self, author: bytes, token: bytes) -> Answer:
        said, proof = token[:_PROVEN_BYTES], token[_PROVEN_BYTES:]
        if not hmac.compare_digest(proof, self._proof(said)):
            raise RemoteError(Code.BAD_FIELD, "an invite that was never given")
        if author == self._chains.author or not is_point(author):
            raise RemoteError(Code.BAD_KEY, "an invite used for what is no other author")
        async with self._answering:
            if self._expires_s(token) < self._clock() // 1000:
                return Answer.OVER
            if token in self._spent:
                return Answer.WELCOME if self._spent[token] == author else Answer.SPENT
            if len(self._spent) >= TOKENS_SPENT_MAX:
                return Answer.NOT_NOW
            try:
                await self._circle.vouch(author, stands=True, token=token)
            except LocalError as error:
                log.warning("cannot vouch for who was invited: %s", error)
                return Answer.NOT_NOW
            self._spend(token, author)
            return Answer.WELCOME

    # --- joining -----------------------------------------------------------------------

    async def join(self, address: str) -> tuple[PeerId, Answer | None]:
        """Connect to an address or by an invite, and keep the connection.

        Returns:
            Whom with, and what was said to the invite: None without one, or if it is of a kind
            that carries no token. With WELCOME both sides vouch for each other.

        Raises:
            UsageError: neither an address nor an invite.
            LocalError: nobody answers there, or nothing can be signed here.
        """
        invite = Invite.parse(address) if Invite.is_link(address) else Invite((address,), "", "")
        failure: LocalError = UsageError("This invite names no address.")
        for one in invite.addresses:
            try:
                peer = await self._network.connect(one)
            except LocalError as error:
                failure = error
            else:
                return peer, await self._present(peer, invite)
        raise failure

    async def _present(self, peer: PeerId, invite: Invite) -> Answer | None:
        if invite.author is None or invite.token is None or invite.author == self._chains.author:
            return None
        try:
            with trio.fail_after(JOIN_WITHIN_S):
                stream = await self._network.open_stream(peer, JOIN_PROTOCOL)
                await stream.send_all(self._chains.author + invite.token)
                (said,) = await _read(stream, 1)
                await stream.close()
            answer = Answer(said)
        except (RemoteError, trio.TooSlowError, ValueError) as error:
            log.info("%s does not answer the invite: %r", peer, error)
            # A node that does not speak of invites will not learn it by being asked again.
            unknown = isinstance(error, RemoteError) and error.code is Code.VERSION
            return None if unknown else Answer.NOT_NOW
        if answer is Answer.WELCOME:
            await self._circle.vouch(invite.author, stands=True)
        return answer


async def _read(stream: Stream, size: int) -> bytes:
    """Return exactly `size` bytes.

    Raises:
        RemoteError: the peer has closed its end before.
    """
    found = b""
    while len(found) < size:
        part = await stream.receive_some(size - len(found))
        if not part:
            raise RemoteError(Code.GONE, "a peer that said half of it", penalty=0)
        found += part
    return found
