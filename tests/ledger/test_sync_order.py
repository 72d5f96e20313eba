"""What a peer may not do in a sync session: one test for each order and each flood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.ledger.chain import Head as LocalHead
from passby.ledger.sync import TRANSITIONS, Phase, Session
from passby.ledger.sync_events import Compare, Ended, Received
from passby.protocol.entry import Body, Record, encode_record, sign
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import (
    CREDIT_GRANT_MIN,
    CREDIT_MAX,
    PEER_HEADS_MAX,
    SEQ_MAX,
    SMALL_FRAME,
    UNKNOWN_FRAMES_MAX,
    WANTS_OPEN_MAX,
    WANTS_PER_FRAME_MAX,
)
from passby.protocol.messages import (
    Changes,
    Credit,
    Done,
    End,
    Follow,
    Follows,
    Head,
    Heads,
    Hello,
    Kind,
    Listed,
    Want,
    Wants,
    encode_message,
    frame,
)

NETWORK = b"n" * 32
KEY = SigningKey(b"k" * 32)
A = KEY.public


def record(seq: int) -> Record:
    prev = b"p" * 32 if seq > 1 else None
    return Record(sign(KEY, Body(A, seq, prev, 0, 200 if seq > 1 else 1)))


def entries(*seqs: int) -> bytes:
    return frame(Kind.ENTRIES, b"".join(encode_record(record(seq)) for seq in seqs))


SAID = {
    Kind.HELLO: encode_message(Hello(NETWORK)),
    Kind.HEADS: encode_message(Heads((Head(A, 3, b"12345678"),))),
    Kind.LISTED: encode_message(Listed()),
    Kind.WANT: encode_message(Wants((Want(A, 1, 3),))),
    Kind.FOLLOW: encode_message(Follows((Follow(0, 1),))),
    Kind.CHANGES: encode_message(Changes(7)),
    Kind.ENTRIES: entries(1),
    Kind.END: encode_message(End(A, 1)),
    Kind.CREDIT: encode_message(Credit(CREDIT_GRANT_MIN)),
    Kind.DONE: encode_message(Done()),
}
TO_PHASE = {
    Phase.START: b"",
    Phase.LISTING: SAID[Kind.HELLO],
    Phase.LIVE: SAID[Kind.HELLO] + SAID[Kind.LISTED],
    Phase.OVER: SAID[Kind.HELLO] + SAID[Kind.DONE],
}
ILLEGAL = [(phase, kind) for phase in Phase for kind in SAID if kind not in TRANSITIONS[phase]]


def met(local: dict[bytes, LocalHead] | None = None) -> Session:
    session = Session(NETWORK, local or {}, lambda _: SEQ_MAX)
    hear(session, TO_PHASE[Phase.LIVE])
    session.data_to_send()
    return session


def hear(session: Session, data: bytes) -> list[object]:
    session.receive_data(data)
    events: list[object] = []
    while (event := session.next_event()) is not None:
        events.append(event)
    return events


def refused(session: Session, data: bytes) -> Code:
    with pytest.raises(RemoteError) as caught:
        hear(session, data)
    # And again, so that a driver that goes on learns it again.
    with pytest.raises(RemoteError):
        session.next_event()
    return caught.value.code


@pytest.mark.parametrize(("phase", "kind"), ILLEGAL, ids=lambda part: part.name.lower())
def test_a_message_in_the_wrong_phase_is_refused(phase: Phase, kind: Kind) -> None:
    session = Session(NETWORK, {}, lambda _: SEQ_MAX)
    hear(session, TO_PHASE[phase])
    assert session.theirs is phase
    assert refused(session, SAID[kind]) is Code.OUT_OF_ORDER


@pytest.mark.parametrize("phase", [Phase.START, Phase.OVER])
def test_not_even_an_unknown_message_may_come_before_hello_or_after_done(phase: Phase) -> None:
    session = Session(NETWORK, {}, lambda _: SEQ_MAX)
    hear(session, TO_PHASE[phase])
    assert refused(session, frame(99, b"hint")) is Code.OUT_OF_ORDER


def test_every_phase_can_be_reached_and_only_the_last_is_an_end() -> None:
    reached = {after for allowed in TRANSITIONS.values() for after in allowed.values()}
    assert reached | {Phase.START} == set(Phase)
    assert [phase for phase, allowed in TRANSITIONS.items() if not allowed] == [Phase.OVER]


def test_a_peer_of_another_network_is_sent_away_without_blame() -> None:
    session = Session(NETWORK, {A: LocalHead(1, b"i" * 32, 0)}, lambda _: SEQ_MAX)
    with pytest.raises(RemoteError) as caught:
        hear(session, encode_message(Hello(b"m" * 32)))
    assert caught.value.code is Code.VERSION
    assert caught.value.penalty == 0
    session.data_to_send()
    assert session.data_to_send() == b""


def test_features_are_those_that_both_sides_have() -> None:
    session = Session(NETWORK, {}, lambda _: SEQ_MAX, features=0b0110)
    (event,) = hear(session, encode_message(Hello(NETWORK, features=0b1100)))
    assert event.features == 0b0100  # type: ignore[attr-defined]  # a Met


def test_an_entry_nobody_asked_for_is_refused() -> None:
    assert refused(met(), entries(1)) is Code.OUT_OF_ORDER


@pytest.mark.parametrize("seqs", [(2,), (1, 1), (1, 3), (1, 2, 3, 4)], ids=str)
def test_entries_beside_the_range_asked_for_are_refused(seqs: tuple[int, ...]) -> None:
    session = met()
    session.want(A, 1, 3)
    assert refused(session, entries(*seqs)) is Code.OUT_OF_ORDER


def test_an_end_of_what_is_not_open_is_refused() -> None:
    assert refused(met(), SAID[Kind.END]) is Code.OUT_OF_ORDER


def test_an_end_at_another_entry_than_the_next_is_refused() -> None:
    session = met()
    session.want(A, 2, 3)
    assert refused(session, SAID[Kind.END]) is Code.OUT_OF_ORDER


def test_a_second_want_for_a_chain_while_one_is_open_is_refused() -> None:
    session = met()
    hear(session, SAID[Kind.WANT])
    assert refused(session, SAID[Kind.WANT]) is Code.OUT_OF_ORDER


def test_credit_for_more_than_was_sent_is_refused() -> None:
    assert refused(met(), SAID[Kind.CREDIT]) is Code.FLOOD


def test_more_records_than_the_credit_are_refused() -> None:
    """A reader that has not admitted anything yet, and a peer that goes on."""
    session = met()
    session.want(A, 1, 2**31)
    seq = 1
    while session.in_flight + 1500 * record(2).size <= CREDIT_MAX:
        hear(session, entries(*range(seq, seq + 1500)))
        seq += 1500
    assert refused(session, entries(*range(seq, seq + 1500))) is Code.FLOOD


def test_too_many_open_wants_are_a_flood() -> None:
    session = met()
    batches = WANTS_OPEN_MAX // WANTS_PER_FRAME_MAX
    for batch in range(batches):
        hear(session, wants(batch))
    assert refused(session, wants(batches)) is Code.FLOOD


def wants(batch: int, to_seq: int = 1) -> bytes:
    start = batch * WANTS_PER_FRAME_MAX
    numbers = range(start, start + WANTS_PER_FRAME_MAX)
    from_seq = min(to_seq, 1)
    return encode_message(
        Wants(tuple(Want(number.to_bytes(32, "big"), from_seq, to_seq) for number in numbers))
    )


def test_asking_and_taking_back_without_reading_is_a_flood() -> None:
    session = met()
    for _ in range(WANTS_OPEN_MAX // WANTS_PER_FRAME_MAX):
        hear(session, wants(0))
        hear(session, wants(0, to_seq=0))
    hear(session, wants(0))
    assert refused(session, wants(0, to_seq=0)) is Code.FLOOD


def test_unknown_messages_are_passed_over_until_they_are_a_flood() -> None:
    session = met()
    hint = frame(99, bytes(SMALL_FRAME))
    assert hear(session, hint * UNKNOWN_FRAMES_MAX) == []
    assert refused(session, hint) is Code.FLOOD


def test_heads_of_endless_invented_authors_are_forgotten() -> None:
    session = met()
    for start in range(0, PEER_HEADS_MAX + 4096, 4096):
        named = (
            Head(number.to_bytes(32, "big"), 1, b"12345678")
            for number in range(start, start + 4096)
        )
        hear(session, encode_message(Heads(tuple(named))))
    assert len(session._their_heads) == PEER_HEADS_MAX


def test_a_head_said_twice_is_one_event() -> None:
    session = met()
    assert len(hear(session, SAID[Kind.HEADS])) == 1
    assert hear(session, SAID[Kind.HEADS]) == []


def test_done_gives_up_what_was_asked_for() -> None:
    session = met()
    session.want(A, 1, 3)
    hear(session, SAID[Kind.DONE])
    assert not session.is_asking(A)
    session.receive_eof()
    while session.data_to_send():
        pass
    assert session.is_over


def test_following_a_head_that_was_not_named_is_the_peers_fault() -> None:
    session = met()
    with pytest.raises(RemoteError) as caught:
        hear(session, encode_message(Follows((Follow(0, 1),))))
    assert caught.value.code is Code.BAD_FIELD


def test_asking_twice_for_one_chain_is_our_own_bug() -> None:
    session = met()
    session.want(A, 1, 3)
    with pytest.raises(ValueError, match="open"):
        session.follow(A, 4)
    with pytest.raises(ValueError, match="range"):
        session.want(b"b" * 32, 3, 2)


def test_a_bisection_given_up_leaves_the_chain_free_to_be_asked_for() -> None:
    session = met({A: LocalHead(3, b"i" * 32, 0)})
    session.bisect(A, 3)
    session.bisect(A, 3)
    (compare,) = hear(session, entries(3))
    assert session.is_asking(A)
    session.stop(A)
    assert not session.is_asking(A)
    assert isinstance(compare, Compare)
    session.compared(compare, b"i" * 32)
    assert session.next_event() == Ended(A, complete=False)
    session.follow(A, 4)
    (received, *_) = hear(session, entries(4))
    assert isinstance(received, Received)


def test_sending_what_is_not_wanted_next_is_our_own_bug() -> None:
    session = met({A: LocalHead(3, record(3).entry.id, 0)})
    hear(session, SAID[Kind.WANT])
    assert session.next_wanted() is not None
    with pytest.raises(ValueError, match="next"):
        session.send_entries(A, [encode_record(record(2))])


@given(st.lists(st.one_of(st.sampled_from(sorted(SAID.values())), st.binary(max_size=60))))
def test_whatever_a_peer_sends_is_events_or_a_remote_error(parts: list[bytes]) -> None:
    session = met({A: LocalHead(2, b"i" * 32, 0)})
    session.want(A, 3, 5)
    try:
        for part in parts:
            hear(session, part)
            while (wanted := session.next_wanted()) is not None:
                session.send_entries(wanted.author, [encode_record(record(wanted.from_seq))])
            while session.data_to_send():
                pass
    except RemoteError:
        assert session._fault is not None
