"""Records that no honest node makes, as bytes on the wire."""

from __future__ import annotations

from collections.abc import Callable

from tests.node.street import HOME

from passby.geo.cells import topic_cell
from passby.node.clock import machine_clock
from passby.protocol.codec import encode_uvarint
from passby.protocol.entry import Body, Record, encode_record, payload_hash, sign
from passby.protocol.keys import SigningKey
from passby.protocol.payloads import Offer, encode_payload
from passby.protocol.price import Price
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
SMALL_ORDER = b"\x01" + bytes(31)
"""The neutral element: any message verifies under it for who does not look."""
SALT = bytes(16)


def offer_body(author: bytes, prev: bytes | None, at_ms: int, name: str = "bait") -> Body:
    """Return the second entry of a chain, an offer in the home's topic."""
    packed = payload(name)
    return Body(
        author=author,
        seq=2,
        prev=prev,
        at_ms=at_ms,
        type=EntryType.OFFER,
        stock=(2, 0, 0, 5, 5, 0),
        facts=(topic_cell(HOME), at_ms + 10**9),
        payload_len=len(packed),
        payload_hash=payload_hash(SALT, packed),
    )


def payload(name: str) -> bytes:
    offer = Offer(
        name=name, category="things", unit=Unit.PIECE, price=Price(1, 1, "EUR"), cell=HOME
    )
    return encode_payload(offer)


def genesis(key: SigningKey, at_ms: int) -> Record:
    return Record(
        sign(key, Body(key.public, 1, None, at_ms, EntryType.GENESIS, facts=(bytes(32),)))
    )


def offer(key: SigningKey, first: Record, at_ms: int, name: str = "bait") -> Record:
    """Return a flawless offer that follows `first`."""
    body = offer_body(key.public, first.entry.id, at_ms, name)
    return Record(sign(key, body), SALT, payload(name))


def record_of(raw: bytes) -> bytes:
    """Return the wire form of an entry with the bait's payload, whatever its bytes are."""
    carried = SALT + payload("bait")
    return encode_uvarint(len(raw)) + raw + encode_uvarint(len(carried)) + carried


def flipped_byte(key: SigningKey, first: Record) -> bytes:
    raw = bytearray(offer(key, first, machine_clock()).entry.raw)
    raw[-40] ^= 1
    return record_of(bytes(raw))


def flipped_signature(key: SigningKey, first: Record) -> bytes:
    raw = bytearray(offer(key, first, machine_clock()).entry.raw)
    raw[5] ^= 1
    return record_of(bytes(raw))


def non_canonical(key: SigningKey, first: Record) -> bytes:
    """The sequence number 2 in two bytes instead of one, and signed so."""
    entry = offer(key, first, machine_clock()).entry
    body = entry.raw[64:]
    at = 4 + 1 + 2 + 32
    assert body[at] == 2
    longer = body[:at] + b"\xcc\x02" + body[at + 1 :]
    return record_of(key.sign(longer) + longer)


def malleated(key: SigningKey, first: Record) -> bytes:
    """The signature's S plus the group's order: the same point, another signature."""
    raw = offer(key, first, machine_clock()).entry.raw
    again = int.from_bytes(raw[32:64], "little") + GROUP_ORDER
    return record_of(raw[:32] + again.to_bytes(32, "little") + raw[64:])


def another_key(key: SigningKey, first: Record) -> bytes:
    body = offer_body(key.public, first.entry.id, machine_clock())
    return record_of(sign(SigningKey(bytes(32)), body).raw)


def another_payload(key: SigningKey, first: Record) -> bytes:
    record = offer(key, first, machine_clock())
    return encode_record(Record(record.entry, SALT, payload("switched")))


FORGERIES: dict[str, Callable[[SigningKey, Record], bytes]] = {
    "flipped byte": flipped_byte,
    "flipped signature": flipped_signature,
    "non-canonical": non_canonical,
    "malleated": malleated,
    "another key": another_key,
    "another payload": another_payload,
}


def small_order_genesis() -> bytes:
    """A genesis under the neutral element, with R the same and S zero."""
    body = sign(
        SigningKey(bytes(32)),
        Body(SMALL_ORDER, 1, None, machine_clock(), EntryType.GENESIS, facts=(bytes(32),)),
    ).raw[64:]
    raw = SMALL_ORDER + bytes(32) + body
    return encode_uvarint(len(raw)) + raw + b"\x00"
