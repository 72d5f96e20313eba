"""Open lots and requests as people and the book read them; no payload can break the fold."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.authors import CELL, NOW_MS, UNTIL_MS, Author

from passby.ledger.ingest import Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.ledger.views import Skipped, open_lots, open_request, open_requests
from passby.protocol.errors import RemoteError
from passby.protocol.payloads import Offer, Request, encode_payload
from passby.protocol.price import Price
from passby.protocol.units import Unit

MILK = Offer(
    name="Milk",
    category="food.dairy",
    unit=Unit.MILLILITRE,
    price=Price(90, 1000, "EUR"),
    cell=CELL,
)
WISH = Request(
    name="Milk",
    category="food.dairy",
    unit=Unit.MILLILITRE,
    amount=473,
    price=Price(100, 1000, "EUR"),
    cell=CELL,
)


def held(author: Author) -> MemoryStore:
    store = MemoryStore()
    store.commit([admit(store, author.records, Check.EACH)], durable=False)
    return store


def test_an_open_lot_says_what_is_left_of_what() -> None:
    ada = Author("ada")
    ada.genesis()
    offer = ada.offer(1000, payload=encode_payload(MILK))
    ada.reserve(offer, 473)
    skipped = Skipped()
    (lot,) = open_lots(held(ada).open_lots(NOW_MS), skipped)
    assert lot.offer == MILK
    assert (lot.id, lot.author, lot.seq) == (offer.entry.id, ada.public, 2)
    assert (lot.remaining, lot.reserved) == (527, 473)
    assert (lot.topic_cell, lot.until_ms) == (CELL, UNTIL_MS)
    assert skipped == Skipped()


def test_an_open_request_says_what_is_wanted() -> None:
    ada = Author("ada")
    ada.genesis()
    wanted = ada.request(payload=encode_payload(WISH))
    (request,) = open_requests(held(ada).open_requests(NOW_MS), Skipped())
    assert request.request == WISH
    assert (request.id, request.until_ms) == (wanted.entry.id, UNTIL_MS)


def test_what_cannot_be_read_is_passed_over_and_counted() -> None:
    ada = Author("ada")
    ada.genesis()
    for payload in (b"\x80", b"\xc1", None, encode_payload(WISH), b"\xff" * 300):
        ada.offer(5, payload=payload)
        ada.request(payload=payload)
    good = ada.offer(5, payload=encode_payload(MILK))
    store = held(ada)
    lots, requests = Skipped(), Skipped()
    # A request's payload reads as an offer's: what an offer does not know is passed over.
    found = [lot.id for lot in open_lots(store.open_lots(NOW_MS), lots)]
    assert len(found) == 2
    assert good.entry.id in found
    assert len(list(open_requests(store.open_requests(NOW_MS), requests))) == 1
    assert lots == Skipped(absent=1, unreadable=3)
    assert requests == Skipped(absent=1, unreadable=3)


@given(st.binary(min_size=1, max_size=300))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    ada = Author("ada")
    ada.genesis()
    record = ada.request(payload=payload)
    with suppress(RemoteError):
        open_request(record)


def test_a_record_of_another_type_is_no_request() -> None:
    with pytest.raises(RemoteError, match="neither"):
        open_request(Author("ada").note(encode_payload(WISH)))
