"""Proofs on a sync stream: which the peer is due, and the parts of those that it sends.

A proof goes to whoever holds anything of its author, once in a session, and never back to where
it came from, unless a better one is known by then: one that proves the author false from an
earlier seq on. So every pair of entries that one honest node has seen side by side freezes their
author wherever the chain is held, while a stranger to the author is not bothered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from passby.ledger.proof import Proof
from passby.ledger.proof_bytes import ProofParts
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import PROOFS_PER_SESSION_MAX, SEQ_MAX


class Proving:
    """The proofs that are told and heard in one session.

    Args:
        false_from: the seq from which an author is proven false here, None for the others.
    """

    def __init__(self, false_from: Callable[[bytes], int | None]) -> None:
        self._false_from = false_from
        self._parts = ProofParts()
        self._heard = 0
        self._sent = 0
        self._told: dict[bytes, int] = {}
        """author -> from where on the peer knows it to be false; `_tried`: unless a stranger."""
        self._tried: dict[bytes, int] = {}
        self._due: dict[bytes, None] = {}
        self._perhaps: dict[bytes, None] = {}
        self._out = bytearray()

    # --- what the peer is due ----------------------------------------------------------

    def concerns(self, authors: Iterable[bytes], *, surely: bool) -> None:
        """Note that the peer may hold something of these authors, or surely does.

        Who may be a stranger to an author passes its proof over, and is told again once it is
        none.
        """
        due = self._due if surely else self._perhaps
        for author in authors:
            if self._lacks(author, surely=surely):
                due[author] = None

    def _lacks(self, author: bytes, *, surely: bool) -> bool:
        seq = self._false_from(author)
        told = self._told.get(author, SEQ_MAX + 1)
        if not surely:
            told = min(told, self._tried.get(author, told))
        return seq is not None and seq < told

    def next_due(self, *, surely: bool) -> bytes | None:
        """Return an author whose proof to `tell` next; None while one waits to be written.

        Args:
            surely: only what the peer surely lacks: it has not yet named all that it holds.
        """
        if self._out or self._sent >= PROOFS_PER_SESSION_MAX:
            return None
        author = self._next(self._due, self._told, surely=True)
        if author is None and not surely:
            author = self._next(self._perhaps, self._tried, surely=False)
        return author

    def _next(
        self, due: dict[bytes, None], told: dict[bytes, int], *, surely: bool
    ) -> bytes | None:
        while due:
            author = next(iter(due))
            del due[author]
            seq = self._false_from(author)
            if seq is not None and self._lacks(author, surely=surely):
                told[author] = seq
                return author
        return None

    def tell(self, frames: Sequence[bytes]) -> None:
        """Let a proof be written, by its PROOF frames."""
        self._sent += 1
        self._out += b"".join(frames)

    def take_frames(self) -> bytes:
        """Return the frames to write, once."""
        frames = bytes(self._out)
        self._out.clear()
        return frames

    # --- what the peer tells -----------------------------------------------------------

    def take(self, body: bytes) -> Proof | None:
        """Return the proof that a PROOF's `body` completes; whether it holds is not asked.

        Raises:
            RemoteError: no part of a proof, or of more than an honest peer sends.
        """
        proof = self._parts.take(body)
        if proof is not None:
            self._heard += 1
            if self._heard > PROOFS_PER_SESSION_MAX:
                raise RemoteError(Code.FLOOD, f"over {PROOFS_PER_SESSION_MAX} proofs")
        return proof

    def heard(self, author: bytes, seq: int) -> None:
        """Note that the peer holds a proof against `author` from `seq` on."""
        self._told[author] = min(seq, self._told.get(author, SEQ_MAX))
