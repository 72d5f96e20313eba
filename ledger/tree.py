"""The Merkle tree over a chain, as RFC 6962 section 2.1 hashes it and RFC 9162 proves from it.

    leaf n - 1 = the id of the entry at seq n = SHA-256(0x00 ‖ body)
    node       = SHA-256(0x01 ‖ left ‖ right)
    root of n leaves = node(root of the first k, root of the rest), k the largest power of 2 below n

Trees grow at their right edge only: the roots of the perfect subtrees that the bits of the
size stand for are all that appending needs. Proofs need hashes from within; a store keeps
every eighth level (one hash for 256 entries and fewer above), and the levels between are
hashed again when asked for, some 500 hashes for a proof from any chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from passby.protocol.entry import HASH_BYTES
from passby.protocol.errors import DamagedError

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
KEPT_EVERY: Final = 8
"""Levels from one that is kept to the next: kept nodes cost an eighth of a byte an entry, and a
proof hashes at most 255 leaves for its lowest levels."""
BLOCK: Final = 1 << KEPT_EVERY
"""Leaves under one node of the lowest kept level."""

Rows = Callable[[int, int, int], Sequence[bytes]]
"""rows(level, start, end): the roots of the perfect subtrees of 2**level leaves, numbers `start`
to `end` - 1 from the left. It is asked for levels 0 (the ids) and multiples of KEPT_EVERY."""

_sha256 = hashlib.sha256


class Kept(msgspec.Struct, frozen=True, gc=False):
    """The root of a perfect subtree that a store keeps: number `index` of its level."""

    level: int
    index: int
    hash: bytes


class Edge(msgspec.Struct, frozen=True, gc=False):
    """The right edge of a tree: the roots of its perfect subtrees, the largest first."""

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        """The root of the whole tree."""
        return _folded(self.nodes) if self.nodes else EMPTY_ROOT

    def append(self, leaf: bytes) -> Edge:
        """Return the edge with one leaf more, at a hash for each bit that carries."""
        return grow(self, (leaf,))[0]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right)."""
    return _sha256(b"\x01" + left + right).digest()


def grow(edge: Edge, leaves: Sequence[bytes]) -> tuple[Edge, list[Kept]]:
    """Return the edge behind `leaves`, and what a store keeps of the subtrees they complete.

    One hash for each leaf: about half a second for a million.
    """
    size = edge.size
    held = list(edge.nodes)
    row = list(leaves)
    tail: list[bytes] = []
    kept: list[Kept] = []
    level = 0
    while row:
        if level and level % KEPT_EVERY == 0:
            first = size >> level
            kept += [Kept(level, first + at, found) for at, found in enumerate(row)]
        if size >> level & 1:
            row.insert(0, held.pop())
        if len(row) & 1:
            tail.append(row.pop())
        row = _paired(row)
        level += 1
    return Edge(size + len(leaves), (*held, *reversed(tail))), kept


def rows_of(ids: Sequence[bytes]) -> Rows:
    """Return rows over a chain whose ids are all at hand; hashes each of them once."""
    kept: dict[int, Sequence[bytes]] = {0: ids}
    row = ids
    level = 0
    while len(row) > 1:
        row = _paired(row)
        level += 1
        if level % KEPT_EVERY == 0:
            kept[level] = row
    return lambda level, start, end: kept.get(level, ())[start:end]


def chain_rows(
    ids: Callable[[int, int], Sequence[bytes]],
    kept: Callable[[int, int], Mapping[int, bytes]],
    size: int,
) -> Rows:
    """Return rows over a chain of which a store keeps the roots of some blocks, and most ids.

    Args:
        ids: gives the leaves `start` to `end` - 1, up to the first that is not held.
        kept: gives the roots that are kept of blocks `start` to `end` - 1, by their numbers.
        size: of the chain.
    """

    def blocks(start: int, end: int) -> list[bytes]:
        roots = kept(start, end)
        found: list[bytes] = []
        for at in range(start, end):
            row = [roots[at]] if at in roots else block_root(ids(at * BLOCK, (at + 1) * BLOCK))
            if not row:
                break
            found += row
        return found

    def rows(level: int, start: int, end: int) -> Sequence[bytes]:
        if level == 0:
            return ids(start, min(end, size))
        above = level - KEPT_EVERY
        return perfect_row(blocks(start << above, min(end << above, size // BLOCK)), above)

    return rows


def block_of(seq: int) -> int:
    """Return the last seq of the block that the entry at `seq` is in."""
    return -(-seq // BLOCK) * BLOCK


def block_root(ids: Sequence[bytes]) -> Sequence[bytes]:
    """Return the root of a block's ids, nothing where they are not a whole block."""
    return perfect_row(ids, KEPT_EVERY) if len(ids) == BLOCK else ()


def perfect_row(row: Sequence[bytes], levels: int) -> Sequence[bytes]:
    """Return the roots, `levels` above, of the whole subtrees that `row` begins with."""
    for _ in range(levels):
        row = _paired(row)
    return row


def edge_at(rows: Rows, size: int) -> Edge:
    """Return the right edge of the first `size` leaves.

    Raises:
        DamagedError: `rows` lacks hashes that a tree of this size has.
    """
    return Edge(size, _subtrees(rows, 0, size))


def root_at(rows: Rows, size: int) -> bytes:
    """Return the root of the first `size` leaves; raises as `edge_at`."""
    return edge_at(rows, size).root


def inclusion_proof(rows: Rows, index: int, size: int) -> tuple[bytes, ...]:
    """Return the hashes that lead from leaf `index` (from 0) to the root of `size` leaves.

    RFC 9162 section 2.1.3.1. Raises as `edge_at`.
    """
    assert 0 <= index < size
    beside: list[tuple[int, int]] = []
    low, high = 0, size
    while high - low > 1:
        middle = _split(low, high)
        if index < middle:
            beside.append((middle, high))
            high = middle
        else:
            beside.append((low, middle))
            low = middle
    return tuple(_folded(_subtrees(rows, *found)) for found in reversed(beside))


def consistency_proof(rows: Rows, old: int, size: int) -> tuple[bytes, ...]:
    """Return the hashes by which the first `old` of `size` leaves are seen to be the old tree.

    Empty for `old` 0 or `size`. RFC 9162 section 2.1.4.1. Raises as `edge_at`.
    """
    assert 0 <= old <= size
    if old in {0, size}:
        return ()
    beside: list[tuple[int, int]] = []
    low, high = 0, size
    while high != old:
        middle = _split(low, high)
        if old <= middle:
            beside.append((middle, high))
            high = middle
        else:
            beside.append((low, middle))
            low = middle
    if low:
        # Where the old tree is a whole subtree, its root is known to whoever checks.
        beside.append((low, high))
    return tuple(_folded(_subtrees(rows, *found)) for found in reversed(beside))


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether `proof` shows `leaf` at `index` in the tree of `size` leaves under `root`.

    RFC 9162 section 2.1.3.2. Takes anything from a peer, and raises nothing.
    """
    if not 0 <= index < size or not _are_hashes((leaf, *proof)):
        return False
    at, last = index, size - 1
    found = leaf
    for other in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(other, found)
            at, last = _up(at, last)
        else:
            found = node_hash(found, other)
        at >>= 1
        last >>= 1
    return last == 0 and found == root


def is_consistent(
    old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether `proof` shows the tree of `old` leaves to be the beginning of that of `size`.

    RFC 9162 section 2.1.4.2; the empty tree begins every tree. Takes anything from a peer, and
    raises nothing.
    """
    if not 0 <= old <= size:
        return False
    if old in {0, size}:
        return not proof and old_root == (root if old == size else EMPTY_ROOT)
    if not proof or not _are_hashes(proof):
        return False
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    at, last = old - 1, size - 1
    while at & 1:
        at >>= 1
        last >>= 1
    before = after = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before = node_hash(other, before)
            after = node_hash(other, after)
            at, last = _up(at, last)
        else:
            after = node_hash(after, other)
        at >>= 1
        last >>= 1
    return last == 0 and before == old_root and after == root


def _paired(row: Sequence[bytes]) -> list[bytes]:
    """Return the level above; a last one without a neighbour is left out."""
    pair = iter(row)
    return [
        _sha256(b"\x01" + left + right).digest() for left, right in zip(pair, pair, strict=False)
    ]


def _folded(nodes: Sequence[bytes]) -> bytes:
    """Return the root over perfect subtrees, the largest first."""
    root = nodes[-1]
    for node in reversed(nodes[:-1]):
        root = node_hash(node, root)
    return root


def _split(low: int, high: int) -> int:
    """Return where the tree over two or more leaves parts."""
    return low + (1 << ((high - low - 1).bit_length() - 1))


def _subtrees(rows: Rows, low: int, high: int) -> tuple[bytes, ...]:
    """Return the roots of the perfect subtrees of leaves `low` to `high` - 1, the largest first."""
    found: list[bytes] = []
    while low < high:
        level = (high - low).bit_length() - 1
        found.append(_perfect(rows, level, low >> level))
        low += 1 << level
    return tuple(found)


def _perfect(rows: Rows, level: int, index: int) -> bytes:
    above = level % KEPT_EVERY
    row: Sequence[bytes] = rows(level - above, index << above, (index + 1) << above)
    if len(row) != 1 << above:
        raise DamagedError(
            "Hashes of a chain's tree are missing.", "Run passby audit to see what is damaged."
        )
    return perfect_row(row, above)[0]


def _up(at: int, last: int) -> tuple[int, int]:
    """Pass over the levels at which the last subtree stands alone."""
    while at and not at & 1:
        at >>= 1
        last >>= 1
    return at, last


def _are_hashes(found: Sequence[bytes]) -> bool:
    return all(len(one) == HASH_BYTES for one in found)
