"""The tree against its definition, against public trees, and against every flipped bit."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.c2sp_vectors import CT_CONSISTENCY, CT_INCLUSION, CT_LEAVES, CT_ROOTS

from passby.ledger.tree import (
    EMPTY_ROOT,
    KEPT_EVERY,
    Edge,
    consistency_proof,
    edge_at,
    grow,
    inclusion_proof,
    is_consistent,
    is_included,
    node_hash,
    root_at,
    rows_of,
)
from passby.protocol.entry import entry_id
from passby.protocol.errors import DamagedError

CT = [entry_id(bytes.fromhex(leaf)) for leaf in CT_LEAVES]


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(count)]


LEAVES = leaves(1200)
ROWS = rows_of(LEAVES)


# --- RFC 6962 section 2.1, as it is written ------------------------------------------------


def largest_power_below(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(found: Sequence[bytes]) -> bytes:
    if not found:
        return hashlib.sha256(b"").digest()
    if len(found) == 1:
        return found[0]
    k = largest_power_below(len(found))
    return hashlib.sha256(b"\x01" + mth(found[:k]) + mth(found[k:])).digest()


def path(at: int, found: Sequence[bytes]) -> list[bytes]:
    if len(found) == 1:
        return []
    k = largest_power_below(len(found))
    if at < k:
        return [*path(at, found[:k]), mth(found[k:])]
    return [*path(at - k, found[k:]), mth(found[:k])]


def subproof(old: int, found: Sequence[bytes], known: bool = True) -> list[bytes]:
    if old == len(found):
        return [] if known else [mth(found)]
    k = largest_power_below(len(found))
    if old <= k:
        return [*subproof(old, found[:k], known), mth(found[k:])]
    return [*subproof(old - k, found[k:], False), mth(found[:k])]


# --- against it ------------------------------------------------------------------------------


def test_the_roots_of_every_small_tree_are_those_of_the_definition() -> None:
    edge = Edge()
    assert edge.root == EMPTY_ROOT == mth(())
    for size in range(1, 300):
        edge = edge.append(LEAVES[size - 1])
        assert edge.size == size
        assert len(edge.nodes) == size.bit_count()
        assert edge.root == mth(LEAVES[:size])
        assert edge == edge_at(ROWS, size)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33])
def test_every_proof_of_a_small_tree_is_that_of_the_definition(size: int) -> None:
    tree = LEAVES[:size]
    root = mth(tree)
    for at in range(size):
        found = inclusion_proof(ROWS, at, size)
        assert list(found) == path(at, tree)
        assert is_included(tree[at], at, size, found, root)
    for old in range(1, size + 1):
        found = consistency_proof(ROWS, old, size)
        assert list(found) == subproof(old, tree)
        assert is_consistent(old, size, mth(tree[:old]), root, found)
    assert consistency_proof(ROWS, 0, size) == ()
    assert is_consistent(0, size, EMPTY_ROOT, root, ())


@given(st.integers(1, 1200), st.data())
def test_any_proof_of_any_tree_is_that_of_the_definition(size: int, data: st.DataObject) -> None:
    tree = LEAVES[:size]
    at = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    root = root_at(ROWS, size)
    assert root == mth(tree)
    assert list(inclusion_proof(ROWS, at, size)) == path(at, tree)
    assert list(consistency_proof(ROWS, old, size)) == subproof(old, tree)
    assert is_included(tree[at], at, size, path(at, tree), root)
    assert is_consistent(old, size, mth(tree[:old]), root, subproof(old, tree))


@given(st.lists(st.integers(0, 400), max_size=5))
def test_an_edge_is_the_same_however_it_grew(steps: list[int]) -> None:
    edge = Edge()
    kept = {}
    total = sum(steps)
    tree = leaves(total)
    for step in steps:
        edge, completed = grow(edge, tree[edge.size : edge.size + step])
        for node in completed:
            assert (node.level, node.index) not in kept
            kept[node.level, node.index] = node.hash
    assert edge == grow(Edge(), tree)[0] == edge_at(rows_of(tree), total)
    rows = rows_of(tree)
    expected = {
        (level, index): found
        for level in (KEPT_EVERY, 2 * KEPT_EVERY)
        for index, found in enumerate(rows(level, 0, total >> level))
    }
    assert kept == expected


def test_what_a_store_keeps_serves_every_proof_as_all_ids_do() -> None:
    """A store keeps ids and the kept levels alone, in whatever steps the chain grew."""
    size = 70_000
    ids = leaves(size)
    kept: dict[int, dict[int, bytes]] = {}
    edge = Edge()
    for start in range(0, size, 997):
        edge, completed = grow(edge, ids[start : start + 997])
        for node in completed:
            kept.setdefault(node.level, {})[node.index] = node.hash
    assert sorted(kept) == [8, 16]
    assert len(kept[8]) == size >> 8
    asked = 0

    def rows(level: int, start: int, end: int) -> list[bytes]:
        nonlocal asked
        asked += end - start
        if level == 0:
            return ids[start:end]
        return [kept[level][at] for at in range(start, end)]

    assert edge_at(rows, size) == edge
    whole = rows_of(ids)
    for old in (1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999):
        asked = 0
        assert consistency_proof(rows, old, size) == consistency_proof(whole, old, size)
        assert inclusion_proof(rows, old, size) == inclusion_proof(whole, old, size)
        assert asked < 5 * 256
    leaf, proof = ids[4711], inclusion_proof(rows, 4711, size)
    assert is_included(leaf, 4711, size, proof, edge.root)


def test_a_store_that_lost_hashes_says_so() -> None:
    with pytest.raises(DamagedError):
        edge_at(ROWS, 1201)
    with pytest.raises(DamagedError):
        inclusion_proof(lambda level, start, end: (), 0, 2)


# --- public trees ---------------------------------------------------------------------------


def test_the_reference_trees_of_certificate_transparency_have_their_roots() -> None:
    rows = rows_of(CT)
    assert [root_at(rows, size).hex() for size in range(9)] == list(CT_ROOTS)


@pytest.mark.parametrize(("leaf", "size", "proof"), CT_INCLUSION)
def test_the_reference_inclusion_proofs_are_made_and_verify(
    leaf: int, size: int, proof: tuple[str, ...]
) -> None:
    hashes = tuple(map(b64decode, proof))
    assert inclusion_proof(rows_of(CT), leaf, size) == hashes
    assert is_included(CT[leaf], leaf, size, hashes, bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(("old", "size", "proof"), CT_CONSISTENCY)
def test_the_reference_consistency_proofs_are_made_and_verify(
    old: int, size: int, proof: tuple[str, ...]
) -> None:
    hashes = tuple(map(b64decode, proof))
    assert consistency_proof(rows_of(CT), old, size) == hashes
    old_root, root = (bytes.fromhex(CT_ROOTS[at]) for at in (old, size))
    assert is_consistent(old, size, old_root, root, hashes)


def test_a_node_is_no_leaf() -> None:
    left, right = CT[:2]
    assert node_hash(left, right) == bytes.fromhex(CT_ROOTS[2])
    assert node_hash(left, right) != entry_id(left + right)


# --- what is refused ------------------------------------------------------------------------


def flips(data: bytes) -> list[bytes]:
    return [
        data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
        for bit in range(8 * len(data))
    ]


@pytest.mark.parametrize(("at", "size"), [(0, 1), (0, 2), (6, 7), (3, 8), (12, 13), (1000, 1001)])
def test_every_flipped_bit_of_an_inclusion_proof_is_refused(at: int, size: int) -> None:
    leaf, root = LEAVES[at], root_at(ROWS, size)
    proof = inclusion_proof(ROWS, at, size)
    assert is_included(leaf, at, size, proof, root)
    assert not any(is_included(bad, at, size, proof, root) for bad in flips(leaf))
    assert not any(is_included(leaf, at, size, proof, bad) for bad in flips(root))
    for place, good in enumerate(proof):
        for bad in flips(good):
            assert not is_included(leaf, at, size, (*proof[:place], bad, *proof[place + 1 :]), root)


@pytest.mark.parametrize(
    ("old", "size"), [(1, 2), (3, 7), (4, 7), (6, 8), (8, 13), (512, 1001), (999, 1001), (8, 8)]
)
def test_every_flipped_bit_of_a_consistency_proof_is_refused(old: int, size: int) -> None:
    before, root = root_at(ROWS, old), root_at(ROWS, size)
    proof = consistency_proof(ROWS, old, size)
    assert is_consistent(old, size, before, root, proof)
    assert not any(is_consistent(old, size, bad, root, proof) for bad in flips(before))
    assert not any(is_consistent(old, size, before, bad, proof) for bad in flips(root))
    for place, good in enumerate(proof):
        for bad in flips(good):
            assert not is_consistent(
                old, size, before, root, (*proof[:place], bad, *proof[place + 1 :])
            )


@given(
    st.integers(-1, 40),
    st.integers(-1, 40),
    st.integers(0, 39),
    st.integers(1, 40),
    st.integers(-2, 2),
)
def test_a_proof_shows_its_own_place_and_length_alone(
    at: int, size: int, true_at: int, true_size: int, longer: int
) -> None:
    true_at %= true_size
    root = root_at(ROWS, true_size)
    proof = list(inclusion_proof(ROWS, true_at, true_size))
    changed = proof + [LEAVES[0]] * longer if longer >= 0 else proof[:longer]
    shown = is_included(LEAVES[true_at], at, size, changed, root)
    if shown and (at, size) != (true_at, true_size):
        # Some sizes share the path of a leaf; the root is signed with its size.
        assert path_turns(at, size) == path_turns(true_at, true_size)
    elif (at, size) == (true_at, true_size):
        assert shown == (changed == proof)


def path_turns(at: int, size: int) -> list[bool]:
    """Return on which side each hash of an inclusion proof goes."""
    turns = []
    low, high = 0, size
    while high - low > 1:
        middle = low + largest_power_below(high - low)
        turns.append(at < middle)
        low, high = (low, middle) if at < middle else (middle, high)
    return turns


@given(
    st.integers(-1, 40),
    st.integers(-1, 40),
    st.binary(max_size=33),
    st.binary(max_size=33),
    st.lists(st.binary(max_size=33) | st.sampled_from(LEAVES), max_size=70),
)
def test_proofs_made_of_anything_are_refused_without_an_error(
    at: int, size: int, leaf: bytes, root: bytes, proof: list[bytes]
) -> None:
    # A tree of one leaf has that leaf for its root.
    alone = (at, size, len(leaf)) == (0, 1, 32) and leaf == root and not proof
    assert is_included(leaf, at, size, proof, root) == alone
    assert is_consistent(at, size, leaf, root, proof) == (
        not proof
        and at >= 0
        and size >= 0
        and ((at == size and leaf == root) or (at == 0 != size and leaf == EMPTY_ROOT))
    )


def test_a_tree_that_changed_within_is_not_consistent() -> None:
    changed = [*LEAVES[:5], *LEAVES[6:]]
    rows = rows_of(changed)
    for old in range(6, 40):
        for size in range(old, 40):
            proof = consistency_proof(rows, old, size)
            assert not is_consistent(old, size, root_at(ROWS, old), root_at(rows, size), proof)


def test_hashes_beyond_the_root_are_refused_though_they_lead_to_another() -> None:
    """Who signs a root may choose it, and must not thereby choose the tree's height."""
    more = LEAVES[0]
    for at, size in ((0, 1), (6, 7), (3, 8)):
        above = node_hash(more, root_at(ROWS, size))
        proof = (*inclusion_proof(ROWS, at, size), more)
        assert not is_included(LEAVES[at], at, size, proof, above)
    for old, size in ((3, 7), (4, 7), (6, 8)):
        before, after = (node_hash(more, root_at(ROWS, at)) for at in (old, size))
        proof = (*consistency_proof(ROWS, old, size), more)
        assert not is_consistent(old, size, before, after, proof)
        assert not is_consistent(old, size, root_at(ROWS, old), node_hash(after, more), proof)


def test_a_proof_of_consistency_does_not_reach_a_far_larger_size() -> None:
    for size in range(2, 40):
        for old in range(1, size):
            proof = consistency_proof(ROWS, old, size)
            before, after = root_at(ROWS, old), root_at(ROWS, size)
            assert not is_consistent(old, 4 * size, before, after, proof)
            assert not is_included(LEAVES[old], old, 4 * size, (*proof, before), after)


def test_bytes_moved_from_one_hash_to_the_next_are_refused() -> None:
    """A node is the hash of what stands side by side, wherever the halves are cut apart."""
    a, b, c, d = LEAVES[:4]
    longer, shorter = a + b[:1], b[1:]
    assert not is_included(longer, 0, 2, (shorter,), node_hash(a, b))
    ab, longer, shorter = node_hash(a, b), c + d[:1], d[1:]
    before, after = node_hash(ab, longer), root_at(ROWS, 4)
    assert not is_consistent(3, 4, before, after, (longer, shorter, ab))
