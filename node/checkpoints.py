"""The checkpoints that this node signs, keeps and shows."""

from __future__ import annotations

from passby.ledger.checkpoint import (
    SignedCheckpoint,
    merged,
    origin_of,
    parse_checkpoint,
    sign_checkpoint,
)
from passby.ledger.tree import BLOCK, block_of, consistency_proof, root_at
from passby.node.chains import Chains
from passby.protocol.keys import SigningKey


class Checkpoints:
    """Own checkpoints, signed when asked for, and others' as far as the own copy bears them out.

    Args:
        chains: what is held of every chain.
        key: the one that signs the own chain.
    """

    def __init__(self, chains: Chains, key: SigningKey) -> None:
        self._chains = chains
        self._key = key

    def agrees(self, signed: SignedCheckpoint, author: bytes) -> bool | None:
        """Tell whether the own copy of the chain has this root; None where it cannot tell.

        It ends before, or what it held there was pruned.

        Raises:
            DamagedError: the own copy is not what was written.
        """
        head = signed.head
        if head.size > self._chains.head_seq(author):
            return None
        reader = self._chains.reader
        if head.size % BLOCK and block_of(head.size) in reader.pruned(author).blocks:
            return None
        return root_at(reader.tree(author), head.size) == head.root

    def proof(self, author: bytes, old: int, size: int) -> tuple[bytes, ...]:
        """Return the proof, from the own copy, that leads from `old` entries to `size`.

        Raises:
            DamagedError: the own copy is not what was written.
        """
        return consistency_proof(self._chains.reader.tree(author), old, size)

    def newest(self, author: bytes, least: int) -> SignedCheckpoint | None:
        """Return the newest checkpoint of a chain, of `least` entries at least; None without one.

        Raises:
            DamagedError: what is held of the chain is not what was written.
        """
        if self._chains.is_frozen(author):
            return None
        found = self._sign() if author == self._chains.author else self._held(author)
        return found if found is not None and found.head.size >= least else None

    def _sign(self) -> SignedCheckpoint | None:
        # The heads in memory are those of entries that are safely on disk.
        size = self._chains.head_seq(self._chains.author)
        if size == 0:
            return None
        root = root_at(self._chains.reader.tree(self._chains.author), size)
        signed = sign_checkpoint(self._key, size, root)
        held = self._chains.reader.checkpoint(self._chains.author)
        return merged(signed, held) if held is not None and held.head == signed.head else signed

    def _held(self, author: bytes) -> SignedCheckpoint | None:
        kept = self._chains.reader.checkpoint(author)
        witnessed = self._chains.reader.witnessed(origin_of(author))
        if witnessed.size > (kept.head.size if kept else 0):
            return parse_checkpoint(witnessed.note)
        return kept
