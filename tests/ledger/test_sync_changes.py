"""Who comes back hears what has changed since, in one round trip, and never too little."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.ledger.chain import Head as LocalHead
from passby.ledger.changes import HeadChanges, Heard, NamedHeads
from passby.ledger.sync import Session
from passby.ledger.sync_events import CanFetch, Event, HeadConflict, Received
from passby.protocol.entry import Body, Record, encode_record, sign
from passby.protocol.keys import SigningKey
from passby.protocol.limits import CHANGES_EVERY, LACKING_MAX, SEQ_MAX
from passby.protocol.messages import Follow, Follows, FrameReader, Head, Kind, Want, Wants
from passby.protocol.packed import places

NETWORK = b"n" * 32
KEYS = [SigningKey(bytes([number, 7]) * 16) for number in range(80)]


class Side:
    """A node that keeps heads and records in memory, and remembers what it heard."""

    def __init__(self, instance: bytes) -> None:
        self.heads: dict[bytes, LocalHead] = {}
        self.records: dict[bytes, list[bytes]] = {}
        self.changes = HeadChanges(instance)
        self.heard: Heard | None = None
        self.seen: list[Event] = []
        self.named = 0
        self.session = self._session()
        self.fetches = True

    def _session(self) -> Session:
        return Session(
            NETWORK, self.heads, lambda _: SEQ_MAX, changes=self.changes, heard=self.heard
        )

    def connect(self) -> None:
        self.session = self._session()
        self.seen = []
        self.named = 0

    def restart(self, instance: bytes) -> None:
        self.changes = HeadChanges(instance, self.heads)
        self.heard = None

    def part(self) -> None:
        self.heard = self.session.heard()

    def take(self, author: bytes, seq: int, packed: bytes, short_or_id: bytes) -> None:
        self.records.setdefault(author, []).append(packed)
        self.heads[author] = LocalHead(seq, short_or_id, 0)
        self.changes.note(author)
        self.session.local_changed(author)

    def write(self, key: SigningKey, count: int = 1) -> None:
        for _ in range(count):
            head = self.heads.get(key.public)
            seq = head.seq + 1 if head else 1
            body = Body(key.public, seq, head.id if head else None, 0, 200 if head else 1)
            made = Record(sign(key, body))
            self.take(key.public, seq, encode_record(made), made.entry.id)

    def hear(self, data: bytes) -> None:
        for at in range(0, len(data), 1 << 16):
            self.session.receive_data(data[at : at + (1 << 16)])
            self._take_events()

    def _take_events(self) -> None:
        while (event := self.session.next_event()) is not None:
            self.seen.append(event)
            if isinstance(event, CanFetch) and self.fetches:
                self.session.follow(event.author, event.from_seq)
            elif isinstance(event, Received):
                for place in places(event.packed, event.count):
                    packed = event.packed[place.start : place.end]
                    # Short ids are all that heads are compared by.
                    self.take(place.author, place.seq, packed, place.short_id(event.packed))
                self.session.consumed(event.size)

    def say(self) -> bytes:
        said = b""
        while True:
            while (wanted := self.session.next_wanted()) is not None:
                held = self.records[wanted.author][wanted.from_seq - 1 : wanted.to_seq]
                self.session.send_entries(wanted.author, held[:256])
            piece = self.session.data_to_send()
            if not piece:
                return said
            said += piece


def frames(data: bytes) -> list[tuple[int, bytes]]:
    reader = FrameReader()
    found = []
    for at in range(0, len(data), 1000):
        reader.feed(data[at : at + 1000])
        while (taken := reader.take()) is not None:
            found.append(taken)
    return found


def talk(left: Side, right: Side) -> tuple[int, int]:
    """Carry bytes until both are silent; return (half trips, bytes but for ENTRIES)."""
    trips = carried = 0
    while True:
        said = left.say(), right.say()
        if not any(said):
            return trips, carried
        trips += 1
        for data, hearer, sayer in ((said[0], right, left), (said[1], left, right)):
            for kind, body in frames(data):
                carried += len(body) + 4 if kind != Kind.ENTRIES else 4
                sayer.named += len(body) // 44 if kind == Kind.HEADS else 0
            hearer.hear(data)


def agree(left: Side, right: Side) -> bool:
    def heads(side: Side) -> dict[bytes, tuple[int, bytes]]:
        return {author: (head.seq, head.id[:8]) for author, head in side.heads.items()}

    return heads(left) == heads(right)


def met() -> tuple[Side, Side]:
    left, right = Side(b"l" * 16), Side(b"r" * 16)
    for key in KEYS[:60]:
        left.write(key)
    for key in KEYS[60:]:
        right.write(key)
    talk(left, right)
    assert agree(left, right)
    for side in (left, right):
        side.part()
        assert side.heard is not None
        assert not side.heard.lacking
    return left, right


def test_after_a_cut_only_what_changed_since_is_named() -> None:
    left, right = met()
    for key in KEYS[:5]:
        left.write(key, 3)
    left.connect()
    right.connect()
    talk(left, right)
    assert agree(left, right)
    assert left.named == 5 + 20  # those that right brought are changes here too
    assert right.named <= 60


def test_a_second_cut_goes_on_from_the_first() -> None:
    left, right = met()
    for _ in range(3):
        left.connect()
        right.connect()
        talk(left, right)
        left.part()
        right.part()
    left.write(KEYS[0])
    left.connect()
    right.connect()
    talk(left, right)
    assert (left.named, right.named) == (1, 0)


def test_after_a_restart_everything_is_named_again() -> None:
    left, right = met()
    left.restart(b"m" * 16)
    left.connect()
    right.connect()
    talk(left, right)
    # What right names first need not be named back, and the other way round.
    assert left.named == len(KEYS)
    assert agree(left, right)


def test_what_was_named_and_not_fetched_is_fetched_after_the_cut() -> None:
    left, right = Side(b"l" * 16), Side(b"r" * 16)
    for key in KEYS[:9]:
        left.write(key)
    right.fetches = False
    talk(left, right)
    left.part()
    right.part()
    assert right.heard is not None
    assert len(right.heard.lacking) == 9
    right.fetches = True
    left.connect()
    right.connect()
    talk(left, right)
    assert left.named == 0
    assert agree(left, right)


def test_too_much_that_was_not_fetched_is_named_again() -> None:
    left, right = Side(b"l" * 16), Side(b"r" * 16)
    right.fetches = False
    for number in range(LACKING_MAX + 1):
        left.heads[number.to_bytes(32, "big")] = LocalHead(1, b"i" * 32, 0)
    left.changes = HeadChanges(b"l" * 16, left.heads)
    left.connect()
    talk(left, right)
    right.part()
    assert right.heard is None


def test_a_conflict_that_was_not_settled_is_met_again() -> None:
    left, right = met()
    right.heads[KEYS[0].public] = LocalHead(1, b"another fork" * 3, 0)
    left.write(KEYS[1])
    left.connect()
    right.connect()
    talk(left, right)
    right.part()
    assert right.heard is not None
    right.connect()
    left.connect()
    # A chain that was cut or healed here is not named again; whoever sets one aside hears all.
    assert not any(isinstance(event, HeadConflict) for event in right.seen)


def test_a_session_cut_before_hello_keeps_what_was_heard() -> None:
    left, right = met()
    before = right.heard
    right.connect()
    right.part()
    assert right.heard == before
    assert left.heard is not None


def test_a_number_that_was_never_told_brings_everything() -> None:
    left, right = met()
    right.heard = Heard(b"l" * 16, left.changes.number + 1, {})
    left.connect()
    right.connect()
    talk(left, right)
    assert left.named == len(KEYS)


@given(st.integers(0, 2**32))
def test_however_often_cut_nothing_is_missed(seed: int) -> None:
    dice = random.Random(seed)
    left, right = Side(b"l" * 16), Side(b"r" * 16)
    for _ in range(6):
        for side, keys in ((left, KEYS[:10]), (right, KEYS[10:20])):
            for key in dice.sample(keys, dice.randrange(4)):
                side.write(key, dice.randrange(1, 3 * CHANGES_EVERY))
        left.connect()
        right.connect()
        for _ in range(dice.randrange(6)):
            left_said, right_said = left.say(), right.say()
            if dice.random() < 0.3:
                # Cut: of what was said last each hears a part.
                right.hear(left_said[: dice.randrange(len(left_said) + 1)])
                left.hear(right_said[: dice.randrange(len(right_said) + 1)])
                break
            right.hear(left_said)
            left.hear(right_said)
        left.part()
        right.part()
    left.connect()
    right.connect()
    talk(left, right)
    assert agree(left, right)


def test_ten_thousand_shared_and_a_hundred_changed_cost_one_round_trip_and_8_kib() -> None:
    left, right = Side(b"l" * 16), Side(b"r" * 16)
    for number in range(10_000):
        author = number.to_bytes(32, "big")
        for side in (left, right):
            side.heads[author] = LocalHead(1, b"i" * 32, 0)
    for side in (left, right):
        side.changes = HeadChanges(side.changes.instance, side.heads)
    left.connect()
    right.connect()
    talk(left, right)
    left.part()
    right.part()
    for number in range(100):
        key = SigningKey(bytes([number, 9]) * 16)
        left.write(key)
    left.connect()
    right.connect()
    said = left.say(), right.say()
    right.hear(said[0])
    left.hear(said[1])
    # There: how far it had heard. And back: what has changed since.
    right.hear(left.say())
    assert sum(isinstance(event, CanFetch) for event in right.seen) == 100
    left.part()
    right.part()
    left.connect()
    right.connect()
    _, carried = talk(left, right)
    assert carried < 8192
    assert agree(left, right)


def test_one_chain_alone_is_asked_for_by_author_and_more_by_place() -> None:
    heads = NamedHeads()
    heads.heard([])
    wants = [Want(key.public, 1, SEQ_MAX) for key in KEYS[:3]]
    assert heads.asking(wants) == [Wants(tuple(wants))]
    heads.heard([Head(key.public, 1, b"12345678") for key in KEYS[:2]])
    assert heads.asking(wants) == [
        Follows((Follow(0, 1), Follow(1, 1))),
        Wants((wants[2],)),
    ]
    assert heads.asking(wants[1:]) == [Wants(tuple(wants[1:]))]
    taken_back = Want(KEYS[0].public, 0, 0)
    assert heads.asking([*wants[:2], taken_back])[-1] == Wants((taken_back,))


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_changes_since_a_number_come_in_order_each_author_once(number: int) -> None:
    changes = HeadChanges(b"i" * 16, [b"a", b"b", b"c"])
    changes.note(b"a")
    changes.note(b"b")
    assert changes.since(number) == [b"c", b"a", b"b"][max(0, number - 2) :]
