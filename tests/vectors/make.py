"""Make the vectors of docs/PROTOCOL.md, by `python -m tests.vectors.make`.

Everything is made from fixed seeds, so the same code makes the same bytes; a test holds the
files against a fresh run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import msgspec
from tests.protocol.chains import CELL, CONFIRM_BY, DAY, HANDOVER_UNTIL, HOUR, T0, Deal, Party
from tests.vectors.checkpoints import checkpoints
from tests.vectors.talk import talk

from passby.ledger.bundle import About, Bundle, check_bundle, encode_bundle
from passby.ledger.chain import ChainRule
from passby.ledger.proof import FORK_RULE, Proof, ProofKind, verify_proof
from passby.ledger.proof_bytes import encode_proof, proof_frames
from passby.ledger.prove import prove_fault, stripped
from passby.protocol.codec import encode, encode_uvarint
from passby.protocol.entry import (
    PREFIX,
    Body,
    Entry,
    Record,
    encode_record,
    parse_entry,
    payload_hash,
    sign,
)
from passby.protocol.judge import Accept, Ignore, Reject, judge
from passby.protocol.keys import (
    Certificate,
    SigningKey,
    certificate_commitment,
    root_from_words,
    root_words,
)
from passby.protocol.messages import Message, encode_message
from passby.protocol.messages_aside import Ask, Copy, Payloads, Statements
from passby.protocol.payloads import (
    Carriage,
    Condition,
    Genesis,
    Note,
    Offer,
    Payload,
    Propose,
    Request,
    Stated,
    Vouched,
    Window,
    encode_payload,
    to_value,
)
from passby.protocol.price import Price
from passby.protocol.sealed import BoxKey, seal
from passby.protocol.secret import code_from, secret_hash, stretch
from passby.protocol.statements import Heal, Opening, Seal, counted_heal, counted_seal
from passby.protocol.stock import Rule
from passby.protocol.terms import terms_hash, terms_of
from passby.protocol.topics import topic_for
from passby.protocol.types import EntryType
from passby.protocol.units import TO_BASE, Unit, to_base

FOLDER = Path(__file__).resolve().parent
DEVICE = SigningKey(b"\x02" * 32)
FINE_CELL = 0x88196953ABFFFFF
OFFER = Offer(
    name="DOT 4 brake fluid",
    category="auto",
    unit=Unit.MILLILITRE,
    price=Price(399, 946, "EUR", ((T0, 399), (T0 + 30 * DAY, 99))),
    cell=FINE_CELL,
    step=1,
    minimum=100,
    gtin="4006381333931",
    condition=Condition.NEW,
    best_before_ms=T0 + 35 * DAY,
    window=Window(T0, T0 + 7 * DAY),
    text="A quart, unopened.",
    pay=("cash",),
)
REQUEST = Request(
    name="Brake fluid",
    category="auto",
    unit=Unit.MILLILITRE,
    amount=473,
    price=Price(500, 946, "EUR"),
    cell=FINE_CELL,
)

Json = dict[str, object]


def keys() -> Json:
    """Return a root from its words, its certificate for a device, and the genesis fact."""
    words = root_words(b"\x01" * 32)
    root = root_from_words(words)
    certificate = Certificate.issue(root, DEVICE.public, T0)
    salt = b"\x03" * 16
    return {
        "entropy": (b"\x01" * 32).hex(),
        "words": words,
        "root_public": root.public.hex(),
        "device_seed": (b"\x02" * 32).hex(),
        "device_public": DEVICE.public.hex(),
        "at_ms": T0,
        "certificate": certificate.raw.hex(),
        "certificate_salt": salt.hex(),
        "genesis_fact": certificate_commitment(salt, certificate.raw).hex(),
    }


def frames() -> list[Json]:
    """Return frames of a sync stream that are said by feature bits, with what they say."""
    root = root_from_words(root_words(b"\x01" * 32))
    ids = [bytes([number]) * 32 for number in (0x10, 0x11)]
    heal = Heal.issue(root, DEVICE.public, 4, ids[0], T0)
    payload = b"\x81\xa4name\xa3Ann"
    salt, signature = b"\x05" * 16, DEVICE.sign(b"a body")
    said: list[tuple[Message, Json]] = [
        (Statements((heal.raw,)), {"kind": "STATEMENT", "statements": [heal.raw.hex()]}),
        (Ask(tuple(ids)), {"kind": "ASK", "ids": [each.hex() for each in ids]}),
        (
            Payloads((Copy(ids[0], signature, salt + payload), Copy(ids[1]))),
            {
                "kind": "PAYLOAD",
                "answers": [
                    {
                        "id": ids[0].hex(),
                        "signature": signature.hex(),
                        "salt": salt.hex(),
                        "payload": payload.hex(),
                    },
                    {"id": ids[1].hex()},
                ],
            },
        ),
    ]
    return [{**fields, "frame": encode_message(message).hex()} for message, fields in said]


def statements() -> Json:
    """Return sets of root statements about one device, and which of them count."""
    root, other = root_from_words(root_words(b"\x01" * 32)), SigningKey(b"\x09" * 32)
    device = DEVICE.public
    ids = [bytes([number]) * 32 for number in (0x10, 0x11)]
    seals = [
        Seal.issue(root, device, 7, ids[0], T0),
        Seal.issue(root, device, 5, ids[1], T0 + HOUR),
        Seal.issue(root, device, 5, ids[0], T0 + DAY),
    ]
    heals = [Heal.issue(root, device, 4, kept, T0) for kept in ids]
    again = Heal.issue(root, device, 4, ids[0], T0 + HOUR)
    strange = Seal.issue(other, device, 2, ids[0], T0)
    certificate = Certificate.issue(root, device, T0)
    sets: dict[str, list[Certificate | Seal | Heal]] = {
        "a certificate alone": [certificate],
        "the lowest seal": [*seals[:2], certificate],
        "of two at one seq the lower id": seals,
        "a seal by a root that has no say": [strange, seals[0]],
        "a heal, said twice": [heals[0], again],
        "two heals that differ": heals,
    }
    made: list[Json] = []
    for name, members in sets.items():
        seal = counted_seal(members, root.public, device)
        heal = counted_heal(members, root.public, device)
        made.append(
            {
                "name": name,
                "statements": [member.raw.hex() for member in members],
                "seal": seal.raw.hex() if seal else None,
                "heal": heal.raw.hex() if heal else None,
            }
        )
    opening, others = (
        Opening(bytes([number]) * 16, Certificate.issue(key, device, T0))
        for number, key in ((1, root), (2, other))
    )
    fact = certificate_commitment(opening.salt, opening.certificate.raw)
    opened: list[Json] = [
        {
            "name": name,
            "statement": Seal.issue(key, device, 7, ids[0], T0, told).raw.hex(),
            "opens": told.opens(_genesis(fact)),
        }
        for name, key, told in (
            ("by the root whose certificate it is", root, opening),
            ("with another salt", root, Opening(others.salt, opening.certificate)),
            ("by another root that certified the device", other, others),
        )
    ]
    return {
        "root": root.public.hex(),
        "device": device.hex(),
        "sets": made,
        "genesis_fact": fact.hex(),
        "opened": opened,
    }


def _genesis(fact: bytes) -> Entry:
    return sign(
        DEVICE, Body(DEVICE.public, 1, None, T0, EntryType.GENESIS, (), (), (fact,), 0, None)
    )


def records() -> list[Json]:
    """Return the start of a chain as records, each with its fields spelt out."""
    made = keys()
    raw, salt = (
        bytes.fromhex(str(made["certificate"])),
        bytes.fromhex(str(made["certificate_salt"])),
    )
    fact = bytes.fromhex(str(made["genesis_fact"]))
    chain: list[Json] = []
    head: Entry | None = None

    def add(
        kind: int,
        payload: Payload | None,
        refs: Sequence[bytes] = (),
        stock: tuple[int, ...] = (),
        facts: tuple[int | bytes, ...] = (),
    ) -> Entry:
        nonlocal head
        seq = len(chain) + 1
        payload_salt = bytes([seq]) * 16
        data = encode_payload(payload) if payload is not None else b""
        body = Body(
            DEVICE.public,
            seq,
            head.id if head else None,
            T0 + seq * 1000,
            kind,
            tuple(refs),
            stock,
            facts,
            len(data),
            payload_hash(payload_salt, data) if data else None,
        )
        head = sign(DEVICE, body)
        record = Record(head, payload_salt, data) if data else Record(head)
        chain.append(
            {
                "type": kind,
                "seq": seq,
                "prev": body.prev.hex() if body.prev else None,
                "at_ms": body.at_ms,
                "refs": [ref.hex() for ref in refs],
                "stock": list(stock),
                "facts": [fact.hex() if isinstance(fact, bytes) else fact for fact in facts],
                "payload": data.hex(),
                "payload_salt": payload_salt.hex() if data else None,
                "entry": head.raw.hex(),
                "id": head.id.hex(),
                "record": encode_record(record).hex(),
            }
        )
        return head

    add(EntryType.GENESIS, Genesis("Anna", raw, salt), facts=(fact,))
    offer = add(EntryType.OFFER, OFFER, stock=(2, 0, 0, 946, 946, 0), facts=(CELL, T0 + 30 * DAY))
    request = add(EntryType.REQUEST, REQUEST, facts=(CELL, T0 + DAY))
    add(EntryType.ADJUST, Note("spilt some"), [offer.id], (2, 2, 0, 46, 900, 0))
    terms = terms_of([(offer.id, OFFER, 473)], T0, "bring a bottle")
    terms_salt = b"\x04" * 16
    facts = (terms_hash(terms_salt, terms), T0 + HOUR, 473, 0, T0 + DAY)
    propose = add(EntryType.PROPOSE, Propose(terms, terms_salt), [offer.id], facts=facts)
    add(EntryType.CLOSE, None, [offer.id], (2, 4, 0, 900, 0, 0))
    add(EntryType.STATEMENT, Stated(raw))
    add(200, None, [offer.id], facts=(7, bytes(16), bytes(32)))
    add(EntryType.VOUCH, Vouched(b"\x09" * 16), facts=(SigningKey(b"\x0a" * 32).public, 1))
    add(EntryType.VOUCH, None, facts=(SigningKey(b"\x0a" * 32).public, 0))
    room = msgspec.structs.replace(OFFER, category="carriage", carriage=Carriage(CELL))
    seq = len(chain) + 1
    add(EntryType.OFFER, room, stock=(seq, 0, 0, 946, 946, 0), facts=(CELL, T0 + 30 * DAY))
    add(EntryType.WITHDRAW, None, [request.id], facts=(3,))
    add(EntryType.RATING, Note("Sealed, as described"), [propose.id], facts=(5,))
    return chain


def refused() -> list[Json]:
    """Return messages under one topic with what a judge says of them."""
    offer = str(records()[1]["record"])
    good = bytes.fromhex(offer)
    entry = bytes.fromhex(str(records()[1]["entry"]))
    packed = entry[64 + len(PREFIX) :]
    longer = entry[:64] + PREFIX + packed[:35] + b"\xcc\x02" + packed[36:]
    cases = {
        "an offer": good,
        "two offers": good * 2,
        "nothing": b"",
        "seventeen offers": encode_record(Record(parse_entry(entry))) * 17,
        "an offer cut off": good[:-1],
        "a byte of the payload flipped": good[:-1] + bytes([good[-1] ^ 1]),
        "a seq in two bytes": encode_uvarint(len(longer)) + longer + b"\x00",
        "a genesis, which is not gossiped": bytes.fromhex(str(records()[0]["record"])),
    }
    topic = topic_for(CELL)
    made: list[Json] = []
    for name, data in cases.items():
        made.append(_judged(name, data, topic, T0))
    made.append(_judged("an offer under another cell", good, topic_for(0x85196957FFFFFFF), T0))
    made.append(_judged("an offer from the future", good, topic, T0 - HOUR))
    made.append(_judged("an offer from long ago", good, topic, T0 + HOUR))
    return made


def _judged(name: str, data: bytes, topic: str, now_ms: int) -> Json:
    said: str
    match judge(data, topic, now_ms):
        case Accept():
            said = "accept"
        case Ignore():
            said = "ignore"
        case Reject(error):
            said = f"reject {error.code}"
        case unknown:
            assert_never(unknown)
    return {"name": name, "data": data.hex(), "topic": topic, "now_ms": now_ms, "verdict": said}


def secrets() -> list[Json]:
    """Return codes, the secrets they stretch to, and their hashes."""
    made: list[Json] = []
    propose, giver, holder = b"\x05" * 32, b"\x06" * 32, b"\x07" * 32
    for entropy in (bytes(8), b"\x08" * 8):
        code = code_from(entropy)
        secret = stretch(code, propose, giver, holder)
        made.append(
            {
                "propose": propose.hex(),
                "giver": giver.hex(),
                "holder": holder.hex(),
                "entropy": entropy.hex(),
                "code": code,
                "secret": secret.hex(),
                "hash": secret_hash(propose, giver, holder, secret).hex(),
            }
        )
    return made


def prices() -> list[Json]:
    """Return totals under the price rule."""
    curve = ((T0, 100), (T0 + 3, 50))
    cases = [
        (Price(399, 946, "EUR"), 473, T0),
        (Price(0, 1, "EUR"), 473, T0),
        (Price(1, 3, "EUR"), 4, T0),
        *((Price(0, 1, "EUR", curve), 1, T0 + at) for at in (-1, 0, 1, 2, 3, 4)),
    ]
    return [
        {
            "price": to_value_of(price),
            "amount": amount,
            "at_ms": at_ms,
            "total_minor": price.total_minor(amount, at_ms),
        }
        for price, amount, at_ms in cases
    ]


def to_value_of(price: Price) -> list[object]:
    """Return the array that a price is on the wire."""
    return [price.minor, price.per_amount, price.currency, [list(knot) for knot in price.knots]]


def units() -> list[Json]:
    """Return one and a half of every unit in its base."""
    made: list[Json] = []
    for code in sorted(TO_BASE):
        unit, amount = to_base(code, 3, 2)
        made.append({"code": code, "of": "3/2", "unit": unit.value, "amount": amount})
    return made


def canonical() -> list[Json]:
    """Return values with their one encoding."""
    values: list[object] = [
        None, True, 0, 127, 128, 255, 256, 2**32, 2**64 - 1, -1, -32, -33, -(2**63),
        "", "caf\u00e9", "a" * 32, [], [1, [2]], {}, {"b": 1, "a": {"z": None, "y": "x"}},
    ]  # fmt: skip
    made: list[Json] = [{"value": v, "bytes": encode(v).hex()} for v in values]  # type: ignore[arg-type]  # plain values
    offer = to_value(OFFER)
    made.append({"value": offer, "bytes": encode_payload(OFFER).hex()})
    return made


def trades() -> list[Json]:
    """Return the entries of whole trades with the state after each, and the faults."""
    made: list[Json] = []
    plain = Deal.between(Party("ben"), [Party("anna")]).agree()
    plain.handover(1)
    plain.goods(1)
    plain.money(1)
    made.append(_trade("two parties", plain, T0))

    until = [HANDOVER_UNTIL, HANDOVER_UNTIL + HOUR]
    carried = Deal.between(Party("ben"), [Party("anna"), Party("carl")], [2, 0], until).agree()
    for number in (1, 2):
        carried.handover(number)
        carried.goods(number)
        carried.money(number)
    made.append(_trade("over a carrier", carried, T0))

    back = Deal.between(Party("ben"), [Party("anna"), Party("carl")], [2, 0], until).agree()
    back.handover(1)
    returned = back.give_back(1)
    back.release(2, returned.id)
    back.adjust(1, 473, returned.id)
    made.append(_trade("nobody home", back, T0))

    broken = Deal.between(Party("ben"), [Party("anna")]).agree()
    broken.release(1)
    made.append(_trade("released after commit", broken, T0))

    bolted = Deal.between(Party("ben"), [Party("anna")]).agree()
    bolted.cancel(bolted.commits[1].id, at_ms=CONFIRM_BY + 1)
    bolted.release(1, bolted.entries[-1].id)
    made.append(_trade("cancelled although committed", bolted, CONFIRM_BY + 2))

    waiting = Deal.between(Party("ben"), [Party("anna")]).agree()
    made.append(_trade("nobody came", waiting, HANDOVER_UNTIL + 1))
    return made


def _trade(name: str, deal: Deal, now_ms: int) -> Json:
    states = [
        deal.fold(now_ms, deal.entries[: count + 1]).state.value
        for count in range(len(deal.entries))
    ]
    return {
        "name": name,
        "now_ms": now_ms,
        "propose": deal.propose.raw.hex(),
        "entries": [entry.raw.hex() for entry in deal.entries],
        "states": states,
        "faults": [
            [fault.accused.hex(), fault.rule, [at.hex() for at in fault.evidence]]
            for fault in deal.fold(now_ms).faults
        ],
    }


def proofs() -> list[Json]:
    """Return a proof of each kind and a bundle, as bytes and with what they prove."""
    made: list[Json] = []

    def add(name: str, proof: Proof | None) -> None:
        assert proof is not None
        verified = verify_proof(proof)
        made.append(
            {
                "name": name,
                "proof": encode_proof(proof).hex(),
                "kind": int(verified.kind),
                "rule": verified.rule,
                "author": verified.author.hex(),
                "seq": verified.seq,
                "accused": [entry.id.hex() for entry in proof.accused],
                "context": [entry.id.hex() for entry in proof.context],
                "frames": [frame.hex() for frame in proof_frames(proof)],
            }
        )

    anna, other = Party("anna"), Party("anna")
    first, second = anna.write(200), other.write(200, facts=(1,))
    after = other.write(200)
    # The second branch came in a run, whose inner signature nobody vouches for.
    elements = sorted(((first,), stripped((second, after))), key=lambda element: element[0].id)
    add("a fork", Proof(ProofKind.FORK, FORK_RULE, tuple(elements)))

    back = anna.write(200, at_ms=T0 - HOUR)
    add("a time", Proof(ProofKind.TIME, str(ChainRule.TIME), ((first,), (back,))))

    carl = Party("carl")
    offer = carl.offer(10)
    reserve = carl.write(
        EntryType.RESERVE,
        (b"\x05" * 32, offer.id),
        (offer.seq, offer.seq, 0, 4, 7, 4),
        (T0, b"\x06" * 32),
    )
    add("oversold", Proof(ProofKind.STOCK, Rule.ARITHMETIC, ((offer,), (reserve,))))

    deal = Deal.between(Party("ben"), [Party("dora")]).agree()
    deal.release(1)
    (fault,) = deal.fold(T0).faults
    entries = [deal.propose, *deal.entries]
    add("a trade", prove_fault(fault, deal.propose, entries, lambda entry: (entry,)))
    return made


def bundles() -> list[Json]:
    """Return a lot as a file: its entries signed one by one, and vouched for by the last."""
    carl = Party("carl")
    offer = carl.offer(10)
    lot = carl.lots[offer.id]
    adjust = carl.write(EntryType.ADJUST, (offer.id,), carl.change(lot, 0, 3, 3, 0))
    runs = tuple((Record(entry),) for entry in (carl.chain[0], offer, adjust))
    run = tuple(map(Record, stripped(carl.chain)))
    made: list[Json] = []
    for name, shown in (("signed one by one", runs), ("a run", (run,))):
        data = encode_bundle(Bundle(About.LOT, offer.id, shown))
        checked = check_bundle(data, T0)
        made.append(
            {
                "name": name,
                "bundle": data.hex(),
                "about": int(About.LOT),
                "subject": offer.id.hex(),
                "entries": [record.entry.id.hex() for run in shown for record in run],
                "remaining": checked.lots[0].remaining,
                "signatures": checked.report.signatures,
            }
        )
    return made


def sealed() -> Json:
    """Return words sealed to two parties, what draws the chance, and who opens what."""
    taker, lister = BoxKey(b"\x11" * 32), BoxKey(b"\x12" * 32)
    context = hashlib.sha256(b"a trade").digest()
    draws = [bytes([number]) * 32 for number in (0x21, 0x22, 0x23)]
    left = iter(draws)
    content = encode_payload(Note("Ring twice; the dog is friendly."))
    made = seal(
        content, [lister.public, taker.public], DEVICE.public, context, lambda _: next(left)
    )
    return {
        "author": DEVICE.public.hex(),
        "context": context.hex(),
        "box_seeds": [(b"\x11" * 32).hex(), (b"\x12" * 32).hex()],
        "box_keys": [taker.public.hex(), lister.public.hex()],
        "content_key": draws[0].hex(),
        "ephemeral_seeds": [draw.hex() for draw in draws[1:]],
        "content": content.hex(),
        "payload": encode_payload(Note(sealed=made)).hex(),
    }


def build() -> dict[str, object]:
    """Return every file's content by its name."""
    return {
        "bundles": bundles(),
        "canonical": canonical(),
        "checkpoints": checkpoints(),
        "frames": frames(),
        "gossip": refused(),
        "keys": keys(),
        "prices": prices(),
        "proofs": proofs(),
        "records": records(),
        "sealed": sealed(),
        "secrets": secrets(),
        "statements": statements(),
        "talk": talk(),
        "trades": trades(),
        "units": units(),
    }


def text(content: object) -> str:
    """Return a file's text."""
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    for name, content in build().items():
        (FOLDER / f"{name}.json").write_text(text(content), encoding="ascii")
