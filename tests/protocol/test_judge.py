"""The stateless judge: what every honest node rejects, what one may ignore."""

from __future__ import annotations

import pytest
from tests.protocol.chains import CELL, T0, Party

from passby.protocol.codec import encode
from passby.protocol.entry import Body, Record, encode_record, payload_hash, sign
from passby.protocol.errors import Code, RemoteError
from passby.protocol.judge import Accept, Ignore, Reject, check_record, check_signature, judge
from passby.protocol.keys import SigningKey
from passby.protocol.limits import FUTURE_MAX_S, GOSSIP_BUNDLE_MAX, PAST_MAX_S
from passby.protocol.topics import topic_for
from passby.protocol.types import EntryType

TOPIC = topic_for(CELL)
OTHER = topic_for(0x85196957FFFFFFF)
PARTY = Party("anna")
OFFER = Record(PARTY.offer(5))


def verdict(*records: Record, topic: str = TOPIC, now_ms: int = T0) -> object:
    return judge(b"".join(encode_record(record) for record in records), topic, now_ms)


def rejected(judgement: object) -> Code:
    assert isinstance(judgement, Reject)
    return judgement.error.code


def test_a_good_bundle_is_accepted_whole() -> None:
    assert verdict(OFFER) == Accept((OFFER,))
    assert verdict(*[OFFER] * 16) == Accept((OFFER,) * 16)


def test_a_topic_of_somebody_else_is_ignored() -> None:
    assert isinstance(verdict(OFFER, topic="news"), Ignore)


def test_too_many_bytes_or_records_are_rejected() -> None:
    assert rejected(judge(bytes(GOSSIP_BUNDLE_MAX + 1), TOPIC, T0)) is Code.TOO_LARGE
    assert rejected(verdict(*[OFFER] * 17)) is Code.TOO_LARGE


def test_nothing_and_garbage_are_rejected() -> None:
    assert rejected(judge(b"", TOPIC, T0)) is Code.MALFORMED
    assert isinstance(judge(b"\x00" * 9, TOPIC, T0), Reject)


def test_one_bad_record_rejects_the_bundle() -> None:
    bad = Record(sign(PARTY.key, PARTY.body(EntryType.OFFER)))
    assert rejected(verdict(OFFER, bad)) is Code.BAD_FIELD


def test_an_offer_under_another_cell_is_rejected() -> None:
    assert rejected(verdict(OFFER, topic=OTHER)) is Code.WRONG_TOPIC


def test_an_offer_whose_fact_is_no_cell_is_rejected() -> None:
    body = PARTY.body(EntryType.OFFER, stock=(3, 0, 0, 1, 1, 0), facts=(7, T0))
    assert rejected(verdict(Record(sign(PARTY.key, body)))) is Code.BAD_FIELD


def test_an_adjust_or_close_names_no_cell_and_passes_on_any_topic() -> None:
    for kind in (EntryType.ADJUST, EntryType.CLOSE):
        body = PARTY.body(kind, [OFFER.entry.id], (2, 2, 0, 1, 1, 0))
        record = Record(sign(PARTY.key, body))
        assert verdict(record, topic=OTHER) == Accept((record,))


def test_a_trade_entry_or_an_unknown_type_is_not_gossiped() -> None:
    for kind in (EntryType.CANCEL, 200):
        body = PARTY.body(kind, [OFFER.entry.id], facts=(0,))
        assert rejected(verdict(Record(sign(PARTY.key, body)))) is Code.WRONG_TOPIC


def test_what_is_dated_ahead_or_long_ago_is_ignored_and_nobody_charged() -> None:
    at_ms = OFFER.entry.at_ms
    assert isinstance(verdict(OFFER, now_ms=at_ms - FUTURE_MAX_S * 1000), Accept)
    assert isinstance(verdict(OFFER, now_ms=at_ms - FUTURE_MAX_S * 1000 - 1), Ignore)
    assert isinstance(verdict(OFFER, now_ms=at_ms + PAST_MAX_S * 1000), Accept)
    assert isinstance(verdict(OFFER, now_ms=at_ms + PAST_MAX_S * 1000 + 1), Ignore)


def with_payload(payload: bytes) -> Record:
    salt = bytes(16)
    body = Body(PARTY.public, 2, bytes(32), T0, 200, payload_len=len(payload),
                payload_hash=payload_hash(salt, payload))  # fmt: skip
    return Record(sign(PARTY.key, body), salt, payload)


def test_a_payload_is_a_canonical_map() -> None:
    check_record(with_payload(encode({"unknown": [1, {}]})))
    for payload in (encode([1]), b"\x82\xa1b\x01\xa1a\x01", b"\xc1"):
        with pytest.raises(RemoteError):
            check_record(with_payload(payload))


def test_a_signature_must_be_the_authors() -> None:
    check_signature(OFFER.entry)
    false = sign(SigningKey(b"m" * 32), OFFER.entry.body)
    with pytest.raises(RemoteError) as caught:
        check_signature(false)
    assert caught.value.code is Code.BAD_SIGNATURE


def test_an_author_that_is_no_curve_point_is_refused() -> None:
    false = sign(PARTY.key, Body(bytes(32), 2, bytes(32), T0, 200))
    with pytest.raises(RemoteError) as caught:
        check_signature(false)
    assert caught.value.code is Code.BAD_KEY
