"""The stateless judge: bytes, topic, now -> Accept | Ignore | Reject.

Reject only what every honest node judges alike, whatever it knows: the sender is charged for
it. Ignore what another honest node may see otherwise, as clocks differ. Whether an entry is
new, wanted or fits its chain is not for this module, and the signature is checked by its
caller only after cheaper questions ("do I have it?") have been asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from passby.protocol.codec import decode
from passby.protocol.entry import Entry, Record, read_records
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import is_point, verify
from passby.protocol.limits import (
    FUTURE_MAX_S,
    GOSSIP_BUNDLE_MAX,
    GOSSIP_RECORDS_MAX,
    PAST_MAX_S,
    PAYLOAD_MAX,
)
from passby.protocol.topics import TOPIC_RESOLUTION, is_cell_at, topic_cell
from passby.protocol.types import GOSSIPED_TYPES, PLACED_TYPES, check_form


@dataclass(frozen=True, slots=True)
class Accept:
    """Every record in the bundle is well formed and timely; signatures are still unchecked."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Ignore:
    """Not for us, or not now; nobody is to blame."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """No honest node sends this."""

    error: RemoteError


Judgement = Accept | Ignore | Reject


def judge(data: bytes, topic: str, now_ms: int) -> Judgement:
    """Judge one gossip message, a bundle of at most sixteen records (docs/PROTOCOL, Gossip)."""
    cell = topic_cell(topic)
    if cell is None:
        return Ignore("not a topic of ours")
    if len(data) > GOSSIP_BUNDLE_MAX:
        return Reject(RemoteError(Code.TOO_LARGE, f"a gossip message of {len(data)} bytes"))
    try:
        records = read_records(data, GOSSIP_RECORDS_MAX)
        if not records:
            raise RemoteError(Code.MALFORMED, "an empty bundle")
        for record in records:
            check_record(record)
            _check_topic(record.entry, cell)
            # The signature covers the payload's hash alone: whoever passes news on without what
            # it says would have everybody take it for known.
            if record.payload is None and record.entry.body.payload_len:
                raise RemoteError(Code.BAD_PAYLOAD, "news without its payload")
    except RemoteError as error:
        return Reject(error)
    for record in records:
        ahead_ms = record.entry.at_ms - now_ms
        if ahead_ms > FUTURE_MAX_S * 1000:
            return Ignore("dated ahead of our clock")
        if -ahead_ms > PAST_MAX_S * 1000:
            return Ignore("too old for gossip; it comes by sync")
    return Accept(tuple(records))


def check_record(record: Record) -> None:
    """Hold one record against every bound that needs no state, signature excepted.

    Raises:
        RemoteError: a field, a fact or the payload's form is amiss.
    """
    check_form(record.entry.body)
    body = record.entry.body
    if body.type in PLACED_TYPES:
        cell = body.facts[0]
        if not isinstance(cell, int) or not is_cell_at(cell, TOPIC_RESOLUTION):
            raise RemoteError(Code.BAD_FIELD, "a topic cell that is no cell of resolution 5")
    if record.payload is not None and not isinstance(decode(record.payload, PAYLOAD_MAX), dict):
        raise RemoteError(Code.BAD_PAYLOAD, "a payload that is no map")


def check_signature(entry: Entry) -> None:
    """Check the author's key and signature (55 µs: the dearest check, so the last).

    Raises:
        RemoteError: the key is no curve point, or the signature is not its.
    """
    if not is_point(entry.author):
        raise RemoteError(Code.BAD_KEY, "an author that is no curve point")
    if not verify(entry.author, entry.raw):
        raise RemoteError(Code.BAD_SIGNATURE, "an entry not signed by its author")


def _check_topic(entry: Entry, cell: int) -> None:
    if entry.body.type not in GOSSIPED_TYPES:
        raise RemoteError(Code.WRONG_TOPIC, "a type that is not gossiped")
    # An adjust or a close names its lot, not a cell: only who holds the lot can place it.
    if entry.body.type in PLACED_TYPES and entry.body.facts[0] != cell:
        raise RemoteError(Code.WRONG_TOPIC, "a lot gossiped under another cell")
