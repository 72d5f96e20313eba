"""Open lots and requests as typed records, for the book and for people to read.

A payload is bytes from a peer that nobody has read yet when its entry is stored. What cannot
be read is passed over and counted, so that one bad offer hides nothing but itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from passby.ledger.store import HeldLot
from passby.protocol.entry import Record
from passby.protocol.errors import Code, RemoteError
from passby.protocol.payloads import Offer, Request, decode_payload
from passby.protocol.stock import LotStock


class OpenLot(msgspec.Struct, frozen=True, gc=False):
    """An offer that can be proposed for: `remaining` is in `offer.unit`."""

    id: bytes
    author: bytes
    seq: int
    at_ms: int
    topic_cell: int
    until_ms: int
    offer: Offer
    remaining: int
    reserved: int


class OpenRequest(msgspec.Struct, frozen=True, gc=False):
    """A request that has not run out."""

    id: bytes
    author: bytes
    seq: int
    at_ms: int
    topic_cell: int
    until_ms: int
    request: Request


@dataclass(slots=True)
class Skipped:
    """What a fold passed over: payloads not held (or erased), and ones that cannot be read."""

    absent: int = 0
    unreadable: int = 0


def open_lot(record: Record, stock: LotStock) -> OpenLot | None:
    """Return the lot that an offer's record opened; None while its payload is not held.

    Raises:
        RemoteError: the payload cannot be read as an offer.
    """
    if record.payload is None:
        return None
    entry = record.entry
    cell, until_ms = cell_until(record)
    return OpenLot(
        id=entry.id,
        author=entry.author,
        seq=entry.seq,
        at_ms=entry.at_ms,
        topic_cell=cell,
        until_ms=until_ms,
        offer=decode_payload(record.payload, Offer),
        remaining=stock.remaining,
        reserved=stock.reserved,
    )


def open_request(record: Record) -> OpenRequest | None:
    """Return the request in a request's record; None while its payload is not held.

    Raises:
        RemoteError: the payload cannot be read as a request.
    """
    if record.payload is None:
        return None
    entry = record.entry
    cell, until_ms = cell_until(record)
    return OpenRequest(
        id=entry.id,
        author=entry.author,
        seq=entry.seq,
        at_ms=entry.at_ms,
        topic_cell=cell,
        until_ms=until_ms,
        request=decode_payload(record.payload, Request),
    )


def open_lots(held: Iterable[HeldLot], skipped: Skipped) -> Iterator[OpenLot]:
    """Yield what `Reader.open_lots` gave as typed records."""
    for found in held:
        try:
            lot = open_lot(found.record, found.stock)
        except RemoteError:
            skipped.unreadable += 1
            continue
        if lot is None:
            skipped.absent += 1
        else:
            yield lot


def open_requests(held: Iterable[Record], skipped: Skipped) -> Iterator[OpenRequest]:
    """Yield what `Reader.open_requests` gave as typed records."""
    for record in held:
        try:
            request = open_request(record)
        except RemoteError:
            skipped.unreadable += 1
            continue
        if request is None:
            skipped.absent += 1
        else:
            yield request


def cell_until(record: Record) -> tuple[int, int]:
    """Return (topic cell, last day in ms) of an offer's or request's record.

    Raises:
        RemoteError: it is neither.
    """
    match record.entry.body.facts:
        case (int(cell), int(until_ms)):
            return cell, until_ms
        case _:
            raise RemoteError(Code.BAD_FIELD, "neither an offer nor a request")
