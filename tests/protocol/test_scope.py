"""The bytes of a SCOPE."""

from __future__ import annotations

import pytest

from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import SCOPE_AUTHORS_MAX, SCOPE_CELLS_MAX
from passby.protocol.scope import Scope, covers, pack_scope, read_scope

OWN, ANN, BEN = b"\x01" * 32, b"\xaa" * 32, b"\xbb" * 32


def keys(count: int) -> frozenset[bytes]:
    return frozenset(number.to_bytes(32, "big") for number in range(count))


@pytest.mark.parametrize(
    "scope",
    [
        Scope(OWN, frozenset()),
        Scope(OWN, None, frozenset({ANN})),
        Scope(OWN, frozenset({1, 2**64 - 1}), frozenset({BEN, ANN})),
        Scope(OWN, frozenset(range(SCOPE_CELLS_MAX)), keys(SCOPE_AUTHORS_MAX)),
    ],
    ids=["nothing", "everywhere", "some", "the most"],
)
def test_a_scope_is_read_as_it_was_written(scope: Scope) -> None:
    assert read_scope(pack_scope(scope)) == scope


def test_its_bytes_are_the_own_key_the_cells_and_the_authors_in_order() -> None:
    body = pack_scope(Scope(OWN, frozenset({9, 7}), frozenset({BEN, ANN})))
    cells = bytes.fromhex("0002" + "0000000000000007" + "0000000000000009")
    assert body == OWN + cells + ANN + BEN


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (OWN, Code.MALFORMED),
        (OWN + b"\x00\x00" + ANN[:-1], Code.MALFORMED),
        (OWN + b"\x00\x02" + bytes(8), Code.MALFORMED),
        (OWN + b"\x04\x01" + bytes(8 * 1025), Code.TOO_LARGE),
        (OWN + b"\x00\x00" + b"".join(sorted(keys(SCOPE_AUTHORS_MAX + 1))), Code.TOO_LARGE),
        (OWN + b"\x00\x02" + bytes(16), Code.NOT_CANONICAL),
        (OWN + b"\x00\x00" + BEN + ANN, Code.NOT_CANONICAL),
        (OWN + b"\x00\x00" + ANN + ANN, Code.NOT_CANONICAL),
    ],
)
def test_what_is_not_exactly_a_scope_is_refused(body: bytes, code: Code) -> None:
    with pytest.raises(RemoteError) as refused:
        read_scope(body)
    assert refused.value.code is code


def test_more_than_the_bounds_is_not_written() -> None:
    with pytest.raises(ValueError, match="a scope of"):
        pack_scope(Scope(OWN, frozenset(range(SCOPE_CELLS_MAX + 1))))
    with pytest.raises(ValueError, match="a scope of"):
        pack_scope(Scope(OWN, frozenset(), keys(SCOPE_AUTHORS_MAX + 1)))


def test_every_cell_covers_any_and_only_itself_is_as_wide() -> None:
    some = frozenset({1, 2})
    assert covers(None, some)
    assert covers(None, None)
    assert covers(some, frozenset({2}))
    assert not covers(some, None)
    assert not covers(some, frozenset({3}))
