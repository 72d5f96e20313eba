"""Terms: one hash for one agreement, and prices fixed at the propose's time."""

from __future__ import annotations

from hashlib import sha256

from passby.protocol.codec import encode
from passby.protocol.payloads import LotTerms, Offer, Terms, decode_payload, encode_payload
from passby.protocol.price import Price
from passby.protocol.terms import terms_hash, terms_of
from passby.protocol.units import Unit

LOT = sha256(b"lot").digest()
SALT = bytes(range(16))


def offer(price: Price) -> Offer:
    return Offer(name="oil", category="fluids", unit=Unit.MILLILITRE, price=price, cell=1)


def test_the_hash_is_of_the_tagged_salted_canonical_map() -> None:
    terms = Terms((LotTerms(LOT, 473, Unit.MILLILITRE, 200, "EUR"),))
    lot = {"amount": 473, "currency": "EUR", "lot": LOT, "total_minor": 200, "unit": "MLT"}
    assert terms_hash(SALT, terms) == sha256(b"\x03" + SALT + encode({"lots": [lot]})).digest()
    assert decode_payload(encode_payload(terms), Terms) == terms


def test_every_field_and_the_salt_change_the_hash() -> None:
    lot = LotTerms(LOT, 473, Unit.MILLILITRE, 200, "EUR")
    others = [
        LotTerms(bytes(32), 473, Unit.MILLILITRE, 200, "EUR"),
        LotTerms(LOT, 474, Unit.MILLILITRE, 200, "EUR"),
        LotTerms(LOT, 473, Unit.GRAM, 200, "EUR"),
        LotTerms(LOT, 473, Unit.MILLILITRE, 199, "EUR"),
        LotTerms(LOT, 473, Unit.MILLILITRE, 200, "USD"),
    ]
    hashes = {terms_hash(SALT, Terms((each,))) for each in (lot, *others)}
    hashes.add(terms_hash(bytes(16), Terms((lot,))))
    hashes.add(terms_hash(SALT, Terms((lot,), "by the door")))
    hashes.add(terms_hash(SALT, Terms((lot, lot))))
    assert len(hashes) == 9


def test_the_price_is_that_of_the_proposes_minute_rounded_up_once() -> None:
    falling = Price(0, 946, "EUR", ((1000, 400), (3000, 200)))
    at = [terms_of([(LOT, offer(falling), 473)], at_ms, None) for at_ms in (0, 2000, 9000)]
    assert [terms.lots[0].total_minor for terms in at] == [200, 150, 100]
    assert terms_of([(LOT, offer(Price(1, 946, "EUR")), 1)], 0, None).lots[0].total_minor == 1
    gift = terms_of([(LOT, offer(Price(0, 1, "EUR")), 5)], 0, "take it")
    assert (gift.lots[0].total_minor, gift.text) == (0, "take it")
