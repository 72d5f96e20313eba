"""Two sync sessions back to back over memory stores: what they agree on, and what it costs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.ledger.chain import Head, Missing
from passby.ledger.ingest import Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.ledger.sync import Session
from passby.ledger.sync_events import (
    CanFetch,
    Compare,
    Diverged,
    Ended,
    Event,
    Finished,
    HeadConflict,
    ListRead,
    Met,
    Received,
)
from passby.protocol.entry import Body, Record, payload_hash, read_records, sign
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import CREDIT_MAX, FRAME_MAX, OUTGOING_MAX, SEQ_MAX, STREAM_WRITE_MAX
from passby.protocol.messages import Hello, Want, Wants, encode_message
from passby.protocol.packed import places

NETWORK = b"n" * 32
KEYS = [SigningKey(bytes([number]) * 32) for number in range(8)]


def chain(
    key: SigningKey, count: int, *, after: Iterable[Record] = (), payload: bytes = b"\x80"
) -> list[Record]:
    """Return `count` more records of `key` behind those of `after`."""
    records = list(after)
    for _ in range(count):
        seq = len(records) + 1
        body = Body(
            key.public,
            seq,
            records[-1].entry.id if records else None,
            1_000 + seq,
            1 if seq == 1 else 200,
            facts=(b"c" * 32,) if seq == 1 else (),
            payload_len=len(payload),
            payload_hash=payload_hash(b"s" * 16, payload),
        )
        records.append(Record(sign(key, body), b"s" * 16, payload))
    return records


class Node:
    """The least driver: one store, one session, fetches what it can, bisects what differs."""

    def __init__(self, *chains: list[Record], follow: bool = False) -> None:
        self.store = MemoryStore()
        self.heads: dict[bytes, Head] = {}
        self.follow = follow
        self.seen: list[Event] = []
        self.forks: list[tuple[bytes, bytes]] = []
        self.session = Session(NETWORK, self.heads, lambda _: SEQ_MAX)
        for records in chains:
            for start in range(0, len(records), 50):
                self.append(records[start : start + 50])
        self.connect()

    def connect(self) -> None:
        self.session = Session(NETWORK, self.heads, lambda _: SEQ_MAX)

    def append(self, records: list[Record]) -> None:
        batch = admit(self.store.view(records), records, Check.RUNS)
        self.store.commit([batch], durable=False)
        for outcome in batch.outcomes:
            # What is missing is what we hold: the peer holds another entry there.
            if isinstance(outcome, Missing) and outcome.from_seq == self.heads[outcome.author].seq:
                self.session.bisect(outcome.author, outcome.from_seq)
        for author, head in batch.heads.items():
            self.heads[author] = head
            self.session.local_changed(author)

    def take_events(self) -> None:
        while (event := self.session.next_event()) is not None:
            self.seen.append(event)
            match event:
                case CanFetch():
                    self.fetch(event)
                case Ended(author=author):
                    if not self.forks and (more := self.session.can_fetch(author)) is not None:
                        self.fetch(more)
                case Received():
                    assert self.session.in_flight <= CREDIT_MAX
                    self.append(read_records(event.packed, event.count))
                    self.session.consumed(event.size)
                case HeadConflict():
                    self.session.bisect(event.author, event.seq)
                case Compare():
                    own = self.store.record_at(event.author, event.record.entry.seq)
                    assert own is not None
                    self.session.compared(event, own.entry.id)
                case Diverged():
                    own = self.store.record_at(event.author, event.record.entry.seq)
                    assert own is not None
                    self.forks.append((own.entry.id, event.record.entry.id))
                case Met() | ListRead() | Finished():
                    pass

    def fetch(self, event: CanFetch) -> None:
        if self.follow:
            self.session.follow(event.author, event.from_seq)
        else:
            self.session.want(event.author, event.from_seq, event.to_seq)

    def serve(self) -> None:
        while (wanted := self.session.next_wanted()) is not None:
            self.session.send_entries(
                wanted.author,
                self.store.packed_run(
                    wanted.author, wanted.from_seq, wanted.to_seq, wanted.max_bytes
                ),
            )
            built = len(self.session._out) + self.session._serving.built
            assert built <= OUTGOING_MAX + FRAME_MAX

    def pieces(self) -> Iterator[bytes]:
        while True:
            self.serve()
            piece = self.session.data_to_send()
            if not piece:
                return
            assert len(piece) <= STREAM_WRITE_MAX
            yield piece

    def hear(self, data: bytes, sizes: Iterator[int]) -> None:
        at = 0
        while at < len(data):
            size = min(next(sizes), self.session.room)
            self.session.receive_data(data[at : at + size])
            at += size
            self.take_events()


def whole() -> Iterator[int]:
    while True:
        yield 1 << 20


def talk(left: Node, right: Node, sizes: Iterator[int] | None = None) -> int:
    """Carry bytes both ways until both are silent; return how many."""
    carried = 0
    while True:
        before = carried
        for one, other in ((left, right), (right, left)):
            for piece in one.pieces():
                carried += len(piece)
                other.hear(piece, sizes or whole())
        if carried == before:
            return carried


def finish(left: Node, right: Node) -> None:
    left.session.finish()
    talk(left, right)
    for node in (left, right):
        node.session.receive_eof()
        assert node.session.is_over
        assert isinstance(node.seen[-1], Finished)


def heads(node: Node) -> dict[bytes, bytes]:
    return {author: head.id for author, head in node.heads.items()}


def test_two_sessions_bring_both_sides_to_the_same_heads() -> None:
    shared = chain(KEYS[0], 300)
    left = Node(shared, chain(KEYS[1], 5))
    right = Node(shared[:260], chain(KEYS[2], 700))
    talk(left, right)
    assert heads(left) == heads(right)
    assert len(heads(left)) == 3
    finish(left, right)


def test_a_fetched_record_keeps_its_payload() -> None:
    records = chain(KEYS[0], 3, payload=b"\x81\xa1t\xa1x")
    left, right = Node(records), Node()
    talk(left, right)
    assert right.store.run(KEYS[0].public, 1, 3, FRAME_MAX) == records


def test_equal_sides_exchange_heads_once_and_nothing_else() -> None:
    chains = [chain(key, 3) for key in KEYS]
    left, right = Node(*chains), Node(*chains)
    carried = talk(left, right)
    # HELLO and LISTED both ways; the second to speak has heard that its heads are known.
    hello = len(encode_message(Hello(NETWORK)))
    assert carried == 2 * (hello + 2) + 3 + 44 * len(KEYS)
    assert not any(isinstance(event, CanFetch) for event in left.seen + right.seen)


def test_nothing_is_said_to_a_stranger_before_its_hello() -> None:
    node = Node(chain(KEYS[0], 3))
    assert b"".join(node.pieces()) == encode_message(Hello(NETWORK))


@given(st.integers(0, 2**32))
def test_any_split_of_the_bytes_gives_the_same_result(seed: int) -> None:
    dice = random.Random(seed)

    def sizes() -> Iterator[int]:
        while True:
            yield dice.choice([1, 2, 3, 40, 41, 300, 5_000])

    left = Node(chain(KEYS[0], 20), chain(KEYS[1], 2))
    right = Node(chain(KEYS[2], 9), chain(KEYS[1], 1))
    talk(left, right, sizes())
    assert heads(left) == heads(right)
    plain_left = Node(chain(KEYS[0], 20), chain(KEYS[1], 2))
    plain_right = Node(chain(KEYS[2], 9), chain(KEYS[1], 1))
    talk(plain_left, plain_right)
    assert left.seen == plain_left.seen
    assert right.seen == plain_right.seen


def test_a_change_travels_as_one_head_and_is_fetched() -> None:
    records = chain(KEYS[0], 3)
    left, right = Node(records), Node(records)
    talk(left, right)
    left.append(chain(KEYS[0], 2, after=records)[3:])
    talk(left, right)
    assert heads(left) == heads(right)
    assert [event for event in right.seen if isinstance(event, CanFetch)] == [
        CanFetch(KEYS[0].public, 4, 5)
    ]
    assert not any(isinstance(event, CanFetch) for event in left.seen)


def test_changes_of_one_chain_coalesce_while_the_writer_is_busy() -> None:
    records = chain(KEYS[0], 50)
    left, right = Node(records[:1]), Node(records[:1])
    talk(left, right)
    for record in records[1:]:
        left.append([record])
    assert len(b"".join(left.pieces())) == 2 + 44


def test_a_followed_chain_is_pushed_in_one_frame_without_announcements() -> None:
    records = chain(KEYS[0], 40)
    left, right = Node(records[:2]), Node(follow=True)
    talk(left, right)
    left.append(records[2:20])
    (pushed,) = left.pieces()
    right.hear(pushed, whole())
    assert heads(right) == {KEYS[0].public: records[19].entry.id}
    assert not list(right.pieces())


def test_a_follow_taken_back_ends_and_heads_are_announced_again() -> None:
    records = chain(KEYS[0], 6)
    left, right = Node(records[:2]), Node(follow=True)
    talk(left, right)
    right.follow = False
    right.session.stop(KEYS[0].public)
    talk(left, right)
    assert right.seen[-1] == Ended(KEYS[0].public, complete=False)
    left.append(records[2:])
    talk(left, right)
    assert heads(left) == heads(right)
    assert CanFetch(KEYS[0].public, 3, 6) in right.seen


def test_a_want_taken_back_while_its_last_record_is_under_way_does_no_harm() -> None:
    left, right = Node(chain(KEYS[0], 3)), Node()
    talk_until_asked(left, right)
    right.session.stop(KEYS[0].public)
    asked_and_stopped = b"".join(right.pieces())
    want, stop = asked_and_stopped[:-42], asked_and_stopped[-42:]
    left.hear(want, whole())
    served = b"".join(left.pieces())
    left.hear(stop, whole())
    right.hear(served, whole())
    talk(left, right)
    assert heads(left) == heads(right)


def talk_until_asked(left: Node, right: Node) -> None:
    """Carry HELLO both ways and left's heads to right, which asks but has not sent its WANT."""
    hello = b"".join(right.pieces())
    left.hear(hello, whole())
    right.hear(b"".join(left.pieces()), whole())


def test_authors_nobody_is_interested_in_are_passed_over() -> None:
    left, right = Node(chain(KEYS[0], 3), chain(KEYS[1], 3)), Node()
    right.session = Session(
        NETWORK, right.heads, lambda author: SEQ_MAX if author == KEYS[1].public else 0
    )
    talk(left, right)
    assert set(right.heads) == {KEYS[1].public}


def test_a_chain_is_fetched_as_far_as_it_is_wanted_and_further_when_more_is() -> None:
    author, most = KEYS[0].public, {KEYS[0].public: 2}
    left, right = Node(chain(KEYS[0], 5)), Node()
    right.session = Session(NETWORK, right.heads, lambda author: most[author])
    talk(left, right)
    assert right.heads[author].seq == 2
    most[author] = SEQ_MAX
    more = right.session.can_fetch(author)
    assert more == CanFetch(author, 3, 5)
    right.fetch(more)
    talk(left, right)
    assert right.heads[author].seq == 5


def test_what_the_store_does_not_hold_ends_the_want() -> None:
    left, right = Node(chain(KEYS[0], 3)), Node()
    left.store = MemoryStore()
    talk_until_asked(left, right)
    left.hear(b"".join(right.pieces()), whole())
    right.hear(b"".join(left.pieces()), whole())
    assert right.seen[-1] == Ended(KEYS[0].public, complete=False)


def test_a_range_beyond_the_head_is_served_to_the_head_and_ended() -> None:
    left, right = Node(chain(KEYS[0], 3)), Node()
    talk(left, right)
    right.session.want(KEYS[0].public, 3, 9)
    talk(left, right)
    assert right.seen[-1] == Ended(KEYS[0].public, complete=False)


@pytest.mark.parametrize("cut", range(0, 6_000, 97))
def test_a_session_cut_anywhere_is_resumed_from_the_heads(cut: int) -> None:
    left = Node(chain(KEYS[0], 12), chain(KEYS[1], 4))
    right = Node(chain(KEYS[2], 7))
    carried = 0
    while carried < cut:
        before = carried
        for one, other in ((left, right), (right, left)):
            for piece in one.pieces():
                part = piece[: cut - carried]
                carried += len(part)
                other.hear(part, whole())
        if carried == before:
            break
    for node in (left, right):
        with pytest.raises(RemoteError) as caught:
            node.session.receive_eof()
        assert caught.value.code is Code.GONE
        assert caught.value.penalty == 0
        node.connect()
    talk(left, right)
    assert heads(left) == heads(right)
    finish(left, right)


def test_credit_is_never_exceeded_and_comes_back() -> None:
    """Payloads of 4,000 bytes: a third more than the credit, to a reader that does not admit."""
    records = chain(KEYS[0], 1400, payload=b"\xc5\x0f\x9d" + bytes(3997))
    left, right = Node(records), Node()
    held: list[Received] = []
    right_take = right.take_events

    def hold() -> None:
        while (event := right.session.next_event()) is not None:
            if isinstance(event, Received):
                held.append(event)
            elif isinstance(event, CanFetch):
                right.fetch(event)

    right.take_events = hold  # type: ignore[method-assign]  # a driver that stops admitting
    talk(left, right)
    under_way = sum(event.size for event in held)
    assert CREDIT_MAX - 2 * FRAME_MAX < under_way <= CREDIT_MAX
    for event in held:
        right.append(read_records(event.packed, event.count))
        right.session.consumed(event.size)
    right.take_events = right_take  # type: ignore[method-assign]  # it goes on
    talk(left, right)
    assert heads(left) == heads(right)


def test_a_session_with_a_slow_writer_holds_a_bounded_number_of_bytes() -> None:
    records = chain(KEYS[0], 400, payload=b"\xc5\x0f\x9d" + bytes(3997))
    left, right = Node(records), Node()
    talk_until_asked(left, right)
    left.hear(b"".join(right.pieces()), whole())
    left.serve()
    assert left.session.next_wanted() is None


@pytest.mark.parametrize("split", [1, 2, 7, 19, 20])
def test_a_fork_is_found_by_bisection_at_its_first_entry(split: int) -> None:
    key = KEYS[0]
    common = chain(key, split - 1)
    left_chain = chain(key, 21 - split, after=common)
    right_chain = chain(key, 21 - split, after=common, payload=b"\x81\xa1x\xc0")
    left, right = Node(left_chain), Node(right_chain)
    talk(left, right)
    ids = left_chain[split - 1].entry.id, right_chain[split - 1].entry.id
    assert left.forks == [ids]
    assert right.forks == [ids[::-1]]


def test_a_conflict_that_appears_when_we_catch_up_is_noticed() -> None:
    key = KEYS[0]
    common = chain(key, 2)
    left = Node(chain(key, 3, after=common))
    right = Node(common)
    right.fetch = lambda event: None  # type: ignore[method-assign]  # asks somebody else
    talk(left, right)
    right.append(chain(key, 3, after=common, payload=b"\x81\xa1x\xc0")[2:])
    talk(left, right)
    assert right.forks
    assert left.forks


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize(("ours", "theirs"), [(5, 9), (9, 5), (4, 300)])
def test_a_fork_is_found_where_one_branch_is_longer(ours: int, theirs: int, follow: bool) -> None:
    key = KEYS[0]
    common = chain(key, 2)
    left_chain = chain(key, ours - 2, after=common)
    right_chain = chain(key, theirs - 2, after=common, payload=b"\x81\xa1x\xc0")
    left, right = Node(left_chain, follow=follow), Node(right_chain, follow=follow)
    talk(left, right)
    ids = left_chain[2].entry.id, right_chain[2].entry.id
    assert left.forks + [pair[::-1] for pair in right.forks] == [ids]


def test_a_range_stopped_twice_is_taken_back_once() -> None:
    left, right = Node(chain(KEYS[0], 2)), Node(follow=True)
    talk(left, right)
    right.session.stop(KEYS[0].public)
    right.session.stop(KEYS[0].public)
    assert b"".join(right.pieces()) == encode_message(Wants((Want(KEYS[0].public, 0, 0),)))


def test_a_search_that_is_stopped_while_its_answer_waits_has_ended() -> None:
    common = chain(KEYS[0], 2)
    left = Node(chain(KEYS[0], 2, after=common))
    right = Node(chain(KEYS[0], 2, after=common, payload=b"\x81\xa1x\xc0"))
    author = KEYS[0].public
    compared = right.session.compared

    def stopped_meanwhile(compare: Compare, own_id: bytes) -> None:
        right.session.stop(author)
        compared(compare, own_id)

    right.session.compared = stopped_meanwhile  # type: ignore[method-assign]  # as if set aside
    talk(left, right)
    assert Ended(author, complete=False) in right.seen
    assert not right.session.is_asking(author)


def test_a_head_that_went_back_is_named_and_answered() -> None:
    common = chain(KEYS[0], 2)
    author = KEYS[0].public
    left, right = Node(chain(KEYS[0], 2, after=common)), Node(common)
    right.fetch = lambda event: None  # type: ignore[method-assign]  # it is frozen here
    talk(left, right)
    kept = chain(KEYS[0], 1, after=common, payload=b"\x81\xa1x\xc0")
    right.append(kept[2:])
    talk(left, right)
    assert left.session._their_heads[author][0] == 2
    left.store.cut(author, 2, "given up")
    left.heads[author] = Head(2, common[1].entry.id, common[1].entry.at_ms)
    left.session.local_changed(author, went_back=True)
    talk(left, right)
    assert heads(left)[author] == kept[2].entry.id


def test_a_head_that_the_peer_does_not_hold_is_its_fault() -> None:
    records = chain(KEYS[0], 4)
    left, right = Node(records), Node(records)
    left.heads[KEYS[0].public] = Head(4, b"\x00" * 32, 0)
    with pytest.raises(RemoteError) as caught:
        talk(left, right)
    assert caught.value.code is Code.BAD_FIELD


def test_a_liar_wastes_one_frame() -> None:
    """Frames behind the one whose records are being judged are not even read."""
    records = chain(KEYS[0], 600)
    left, right = Node(records), Node()
    talk_until_asked(left, right)
    left.hear(b"".join(right.pieces()), whole())
    right.session.receive_data(b"".join(left.pieces()))
    found = right.session.next_event()
    assert isinstance(found, Received)
    assert found.size < FRAME_MAX
    assert right.session.in_flight == found.size


def test_a_frame_holds_at_most_one_run_of_each_author() -> None:
    """Two runs would be read as one, whose inner signatures nobody has checked."""
    left, right = Node(chain(KEYS[0], 600), chain(KEYS[1], 10)), Node()
    talk(left, right)
    for event in right.seen:
        if isinstance(event, Received):
            authors = [place.author for place in places(event.packed, event.count)]
            assert all(authors.count(author) <= 256 for author in set(authors))
    sizes = [event.count for event in right.seen if isinstance(event, Received)]
    assert sizes == [250 + 10, 250, 100]


def test_two_peers_that_say_done_at_once_are_both_done() -> None:
    left, right = Node(chain(KEYS[0], 3)), Node()
    talk(left, right)
    left.session.finish()
    right.session.finish()
    crossing = b"".join(left.pieces()), b"".join(right.pieces())
    right.hear(crossing[0], whole())
    left.hear(crossing[1], whole())
    assert left.session.is_over
    assert right.session.is_over
    assert left.session.data_to_send() == b""


def test_records_under_way_when_we_finish_are_still_received() -> None:
    left, right = Node(chain(KEYS[0], 3)), Node()
    talk_until_asked(left, right)
    left.hear(b"".join(right.pieces()), whole())
    served = b"".join(left.pieces())
    right.session.finish()
    right.hear(served, whole())
    assert heads(left) == heads(right)
    talk(left, right)
    assert left.session.is_over
    assert right.session.is_over


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(1, 5)), max_size=20))
def test_honest_nodes_converge_while_chains_grow(steps: list[tuple[int, int, int]]) -> None:
    nodes = Node(follow=True), Node(follow=False)
    grown: dict[int, list[Record]] = {}
    for side, which, count in steps:
        # Each author writes on one side only: a chain has one device.
        before = grown.get(which, [])
        grown[which] = chain(KEYS[which], count, after=before)
        nodes[which % 2].append(grown[which][len(before) :])
        if side:
            talk(*nodes)
    talk(*nodes)
    assert heads(nodes[0]) == heads(nodes[1])
    assert len(heads(nodes[0])) == len(grown)
    assert not nodes[0].forks
