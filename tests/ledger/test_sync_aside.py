"""What a sync session carries beside chains: by agreement, in order, one list at a time."""

from __future__ import annotations

import pytest

from passby.ledger.sync import Session
from passby.ledger.sync_events import Copied, Event, Met, Stated
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import PAYLOADS_PER_FRAME_MAX, SEQ_MAX, UNKNOWN_FRAMES_MAX
from passby.protocol.messages import encode_message
from passby.protocol.messages_aside import Ask, Copy, Feature, Payloads, Statements

NETWORK = b"n" * 32
IDS = [bytes([number]) * 32 for number in range(100)]
SALT = b"s" * 16
ALL = Feature.PAYLOADS | Feature.STATEMENTS


def pair(left: int = ALL, right: int = ALL) -> tuple[Session, Session]:
    made = (
        Session(NETWORK, {}, lambda _: SEQ_MAX, left),
        Session(NETWORK, {}, lambda _: SEQ_MAX, right),
    )
    for _ in range(2):
        carry(*made)
        carry(*made[::-1])
    return made


def said(session: Session) -> bytes:
    written = b""
    while piece := session.data_to_send():
        written += piece
    return written


def hear(session: Session, data: bytes) -> list[Event]:
    session.receive_data(data)
    events = []
    while (event := session.next_event()) is not None:
        events.append(event)
    return events


def carry(source: Session, target: Session) -> list[Event]:
    return hear(target, said(source))


def test_statements_are_told_to_whoever_reads_them() -> None:
    left, right = pair()
    left.state([b"one", b"two"])
    assert carry(left, right) == [Stated((b"one",)), Stated((b"two",))]


@pytest.mark.parametrize(("left", "right"), [(ALL, 0), (0, ALL)])
def test_nothing_is_said_beside_chains_that_was_not_agreed_on(left: int, right: int) -> None:
    one, other = pair(left, right)
    one.state([b"one"])
    assert not said(one)
    assert not one.can_ask_copies
    with pytest.raises(ValueError, match="open"):
        one.ask_copies(IDS[:1])
    # A frame of a kind that was not agreed on is a hint that is passed over, a few times.
    statement = encode_message(Statements((b"told all the same",)))
    assert hear(other, statement * UNKNOWN_FRAMES_MAX) == []
    with pytest.raises(RemoteError):
        hear(other, statement)


def test_payloads_are_answered_in_order_a_frame_at_a_time() -> None:
    left, right = pair()
    left.ask_copies(IDS)
    assert not left.can_ask_copies
    assert carry(left, right) == []
    came: list[Copied] = []
    while ids := right.next_owed():
        assert len(ids) <= PAYLOADS_PER_FRAME_MAX
        right.send_copies([Copy(each, each * 2, SALT + each[:1]) for each in ids])
        came += [event for event in carry(right, left) if isinstance(event, Copied)]
    assert [event.copy for event in came] == [Copy(one, one * 2, SALT + one[:1]) for one in IDS]
    assert [event.last for event in came] == [False] * 99 + [True]
    assert left.can_ask_copies


@pytest.mark.parametrize(
    "answer",
    [
        Payloads((Copy(IDS[1]),)),
        Payloads((Copy(IDS[0]), Copy(IDS[1]))),
        Payloads((Copy(IDS[0]), Copy(IDS[0]))),
    ],
)
def test_payloads_that_nobody_asked_for_are_refused(answer: Payloads) -> None:
    left, _ = pair()
    left.ask_copies(IDS[:1])
    with pytest.raises(RemoteError) as caught:
        hear(left, encode_message(answer))
    assert caught.value.code is Code.OUT_OF_ORDER


def test_a_second_list_before_the_first_is_answered_is_refused() -> None:
    _, right = pair()
    hear(right, encode_message(Ask(tuple(IDS[:40]))))
    right.send_copies([Copy(each) for each in right.next_owed()])
    with pytest.raises(RemoteError) as caught:
        hear(right, encode_message(Ask(tuple(IDS[:1]))))
    assert caught.value.code is Code.OUT_OF_ORDER


def test_no_more_is_answered_than_is_owed() -> None:
    _, right = pair()
    with pytest.raises(ValueError, match="asks for next"):
        right.send_copies([Copy(IDS[0])])
    hear(right, encode_message(Ask(tuple(IDS[:1]))))
    with pytest.raises(ValueError, match="asks for next"):
        right.send_copies([Copy(IDS[0]), Copy(IDS[1])])


def test_an_answer_under_way_when_we_finish_is_still_received() -> None:
    left, right = pair()
    left.ask_copies(IDS[:1])
    carry(left, right)
    right.send_copies([Copy(IDS[0])])
    left.finish()
    assert Copied(Copy(IDS[0]), last=True) in carry(right, left)


def test_the_features_met_are_those_of_both() -> None:
    left = Session(NETWORK, {}, lambda _: SEQ_MAX, 6)
    right = Session(NETWORK, {}, lambda _: SEQ_MAX, 3)
    assert carry(left, right) == [Met(2)]
