"""Whom this node lets say how much: what is handed on from voucher to voucher.

Keys are free, so what a node stores of strangers is bounded for all of them together, and a
vouch lifts its author above that. Own devices may say what they like. Everybody whom they
vouch for, with whom a trade was settled, or who is followed is at distance 1, with a whole
share. A voucher at any distance hands on half its share, in equal parts, to those it vouches
for; so all that a liar can bring in behind it, by however many keys and in however many steps,
is less than its own share. What a stranger gets anyway is not worth handing on: there the walk
ends, at the latest at TRUST_DEPTH.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from passby.protocol.limits import TRUST_DEPTH, UNVOUCHED_ENTRIES, VOUCHED_ENTRIES, VOUCHES_MAX


def standing_vouches(given: Iterable[tuple[bytes, bool]]) -> list[bytes]:
    """Return for whom a chain vouches, in the order of the vouches that stand.

    Args:
        given: (vouched, stands) of its vouches by seq; the last one about each author counts.
    """
    standing: dict[bytes, None] = {}
    for vouched, stands in given:
        standing.pop(vouched, None)
        if stands:
            standing[vouched] = None
    return list(standing)


def shares(
    own: Iterable[bytes],
    trusted: Iterable[bytes],
    vouched_by: Callable[[bytes], Sequence[bytes]],
    is_frozen: Callable[[bytes], bool],
) -> Mapping[bytes, int]:
    """Return author -> entries of its chain that are taken, for all who are vouched for.

    Args:
        own: the devices of this node's person; they are not among what is returned.
        trusted: who is at distance 1 without a vouch.
        vouched_by: for whom an author vouches; the first VOUCHES_MAX count.
        is_frozen: whether an author is proven false; it vouches for nobody. What is held of it,
            and the proof, is kept as long as somebody vouches for it.
    """
    mine = set(own)
    direct = [*trusted, *(vouched for author in sorted(mine) for vouched in vouched_by(author))]
    found: dict[bytes, int] = {}
    level = {author: VOUCHED_ENTRIES for author in direct if author not in mine}
    for _ in range(TRUST_DEPTH):
        found.update(level)
        following: dict[bytes, int] = {}
        for voucher, share in level.items():
            vouchees = () if is_frozen(voucher) else vouched_by(voucher)[:VOUCHES_MAX]
            part = share // (2 * max(len(vouchees), 1))
            if part <= UNVOUCHED_ENTRIES:
                continue
            for author in vouchees:
                if author not in found and author not in mine:
                    following[author] = max(part, following.get(author, 0))
        level = following
    return found
