"""Two sync sessions that tell each other what they want to hear of."""

from __future__ import annotations

import pytest
from tests.ledger.test_sync_changes import KEYS, NETWORK, Side, frames, talk

from passby.ledger.sync import Session
from passby.ledger.sync_events import Introduced, ListRead
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import SCOPES_MAX, SEQ_MAX
from passby.protocol.messages import Hello, Kind, encode_message
from passby.protocol.messages_aside import Feature
from passby.protocol.scope import Scope

HERE, THERE = 11, 22
OWN = [b"L" * 32, b"R" * 32]


class Scoped(Side):
    """A side with a scope, and a table of who speaks where."""

    def __init__(self, instance: bytes, scope: Scope | None) -> None:
        self.scope = scope
        self.spoken: dict[bytes, set[int]] = {}
        super().__init__(instance)

    def _session(self) -> Session:
        return Session(
            NETWORK,
            self.heads,
            lambda _: SEQ_MAX,
            changes=self.changes,
            heard=self.heard,
            scope=self.scope,
            spoken=lambda author: self.spoken.get(author, ()),
        )

    def rescope(self, scope: Scope) -> None:
        self.scope = scope
        self.session.rescope(scope)

    def speaks(self, number: int, cell: int) -> None:
        """Let an author speak in a cell, and tell whom it may concern."""
        author = KEYS[number].public
        self.spoken.setdefault(author, set()).add(cell)
        self.changes.note(author)
        self.session.local_changed(author)


def scope(own: bytes, *cells: int, authors: tuple[int, ...] = ()) -> Scope:
    return Scope(own, frozenset(cells), frozenset(KEYS[number].public for number in authors))


def pair(theirs: Scope | None) -> tuple[Scoped, Scoped]:
    """Return who holds chains 0 to 3 here, 4 to 7 there, 8 and 9 nowhere; and who wants some."""
    left = Scoped(b"l" * 16, scope(OWN[0], HERE))
    right = Scoped(b"r" * 16, theirs)
    for number in range(10):
        left.write(KEYS[number])
        if number < 8:
            left.speaks(number, HERE if number < 4 else THERE)
    return left, right


def held(side: Side) -> set[int]:
    return {number for number, key in enumerate(KEYS) if key.public in side.heads}


def test_a_peer_hears_of_those_who_speak_in_its_cells() -> None:
    left, right = pair(scope(OWN[1], HERE))
    talk(left, right)
    assert held(right) == {0, 1, 2, 3}
    assert Introduced(OWN[0]) in right.seen
    assert ListRead() in right.seen


def test_a_peer_hears_of_whom_it_names_and_of_the_own_chain() -> None:
    left, right = pair(scope(OWN[1], authors=(5, 8)))
    left.scope = scope(KEYS[9].public, HERE)
    left.connect()
    talk(left, right)
    assert held(right) == {5, 8, 9}


@pytest.mark.parametrize("theirs", [None, Scope(OWN[1], None)], ids=["knows no scopes", "all"])
def test_a_peer_that_asks_for_no_less_is_told_everything(theirs: Scope | None) -> None:
    left, right = pair(theirs)
    talk(left, right)
    assert held(right) == set(range(10))


def test_nothing_is_named_before_the_scope_is_read() -> None:
    left, _ = pair(None)
    first = encode_message(Hello(NETWORK, Feature.SCOPE))
    left.hear(first)
    assert {kind for kind, _ in frames(left.say())} == {Kind.HELLO, Kind.SCOPE}
    left.hear(encode_message(scope(OWN[1], THERE)))
    assert {kind for kind, _ in frames(left.say())} == {Kind.HEADS, Kind.LISTED, Kind.CHANGES}


def test_who_comes_to_speak_in_a_cell_of_the_peer_is_named_to_it() -> None:
    left, right = pair(scope(OWN[1], HERE))
    talk(left, right)
    left.write(KEYS[4], 2)
    talk(left, right)
    assert 4 not in held(right)
    left.speaks(4, HERE)
    talk(left, right)
    assert held(right) == {0, 1, 2, 3, 4}
    assert right.heads[KEYS[4].public].seq == 3


def test_a_scope_that_changes_brings_what_is_new_in_it_and_nothing_twice() -> None:
    left, right = pair(scope(OWN[1], HERE))
    talk(left, right)
    named = left.named
    right.rescope(scope(OWN[1], HERE, authors=(8,)))
    talk(left, right)
    assert held(right) == {0, 1, 2, 3, 8}
    right.rescope(scope(OWN[1], THERE))
    talk(left, right)
    assert held(right) == {0, 1, 2, 3, 4, 5, 6, 7, 8}
    assert left.named == named + 1 + 4
    # And back: what was told before is not told again.
    right.rescope(scope(OWN[1], HERE, THERE))
    talk(left, right)
    assert left.named == named + 5


def parted(left: Scoped, right: Scoped) -> None:
    for side in (left, right):
        side.part()
    left.write(KEYS[0])
    left.write(KEYS[4])
    left.connect()
    right.connect()
    talk(left, right)


def test_whoever_comes_again_with_the_same_cells_hears_only_what_changed() -> None:
    left, right = pair(scope(OWN[1], HERE))
    talk(left, right)
    parted(left, right)
    assert left.named == 1
    assert right.heads[KEYS[0].public].seq == 2


def test_whoever_comes_again_with_more_names_hears_of_those_as_well() -> None:
    left, right = pair(scope(OWN[1], HERE))
    talk(left, right)
    right.scope = scope(OWN[1], HERE, authors=(8,))
    parted(left, right)
    assert left.named == 2
    assert held(right) == {0, 1, 2, 3, 8}


@pytest.mark.parametrize("live", [True, False], ids=["in the session", "between two"])
def test_whoever_comes_again_with_more_cells_hears_of_all_in_them(*, live: bool) -> None:
    left, right = pair(scope(OWN[1], HERE))
    talk(left, right)
    wider = scope(OWN[1], HERE, THERE)
    if live:
        # Cut before the other side has read of it.
        right.rescope(wider)
        assert right.say()
        assert right.session.heard() is None
    right.scope = wider
    parted(left, right)
    assert held(right) == set(range(8))


def test_a_peer_that_changes_its_scope_too_often_is_cut() -> None:
    left, _ = pair(None)
    left.hear(encode_message(Hello(NETWORK, Feature.SCOPE)))
    left.say()
    for number in range(SCOPES_MAX):
        left.hear(encode_message(scope(OWN[1], number)))
    with pytest.raises(RemoteError) as refused:
        left.hear(encode_message(scope(OWN[1], HERE)))
    assert refused.value.code is Code.FLOOD


def test_a_side_that_has_changed_its_scope_often_ends_the_session() -> None:
    left, right = pair(scope(OWN[1], HERE))
    talk(left, right)
    for number in range(SCOPES_MAX):
        right.rescope(scope(OWN[1], HERE, 100 + number))
        talk(left, right)
    assert right.session.is_over
    assert left.session.is_over


def test_a_peer_that_says_to_be_another_is_cut() -> None:
    left, _ = pair(None)
    left.hear(encode_message(Hello(NETWORK, Feature.SCOPE)))
    left.hear(encode_message(scope(OWN[1], HERE)))
    with pytest.raises(RemoteError) as refused:
        left.hear(encode_message(scope(OWN[0], HERE)))
    assert refused.value.code is Code.BAD_FIELD


def test_a_scope_that_was_not_agreed_on_is_passed_over() -> None:
    left, _ = pair(None)
    left.hear(encode_message(Hello(NETWORK)) + encode_message(scope(OWN[1], THERE)))
    assert not any(isinstance(event, Introduced) for event in left.seen)
    assert sum(len(body) // 44 for kind, body in frames(left.say()) if kind == Kind.HEADS) == 10
