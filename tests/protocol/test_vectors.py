"""The vectors of docs/PROTOCOL.md, held against the code byte by byte."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from tests.vectors.make import FOLDER, build, text

from passby.protocol.codec import decode, encode, read_uvarint
from passby.protocol.entry import encode_record, entry_id, parse_entry, payload_hash, read_record
from passby.protocol.errors import RemoteError
from passby.protocol.judge import Accept, Ignore, Reject, check_record, check_signature, judge
from passby.protocol.keys import Certificate, certificate_commitment, root_from_words
from passby.protocol.limits import TALK_MAX
from passby.protocol.payloads import Note, Offer, decode_payload
from passby.protocol.price import Price
from passby.protocol.sealed import BoxKey, unseal
from passby.protocol.secret import code_from, secret_hash, stretch
from passby.protocol.statements import Seal, counted_heal, counted_seal, parse_statement
from passby.protocol.talk import open_message, parse
from passby.protocol.trade import fold
from passby.protocol.units import to_base


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))


def test_the_vectors_are_made_again_to_the_byte() -> None:
    made = {name: text(content) for name, content in build().items()}
    kept = {path.stem: path.read_text(encoding="ascii") for path in FOLDER.glob("*.json")}
    # Other files of the folder have other makers.
    assert made == {name: kept.get(name) for name in made}


def test_canonical_values_have_these_bytes() -> None:
    for case in read("canonical"):
        data = bytes.fromhex(case["bytes"])
        assert encode(case["value"]) == data
        assert decode(data, 4096) == case["value"]


def test_keys_certificates_and_the_genesis_fact_are_these() -> None:
    case = read("keys")
    root = root_from_words(case["words"])
    raw = bytes.fromhex(case["certificate"])
    certificate = Certificate.parse(raw)
    assert root.public.hex() == case["root_public"]
    assert certificate.device.hex() == case["device_public"]
    assert certificate.root == root.public
    assert certificate.at_ms == case["at_ms"]
    salt = bytes.fromhex(case["certificate_salt"])
    assert certificate_commitment(salt, raw).hex() == case["genesis_fact"]


def test_sealed_words_are_opened_by_these_keys_alone() -> None:
    case = read("sealed")
    author, context = bytes.fromhex(case["author"]), bytes.fromhex(case["context"])
    found = decode_payload(bytes.fromhex(case["payload"]), Note).sealed
    assert found is not None
    for seed, key in zip(case["box_seeds"], case["box_keys"], strict=True):
        box = BoxKey(bytes.fromhex(seed))
        assert box.public.hex() == key
        opened = unseal(found, box, author, context)
        assert opened is not None
        assert opened.hex() == case["content"]
    assert unseal(found, BoxKey(b"\x13" * 32), author, context) is None


def test_messages_are_opened_by_their_reader_and_nothing_else_is_one() -> None:
    case = read("talk")
    box = BoxKey(bytes.fromhex(case["box_seed"]))
    for made in case["messages"]:
        data = bytes.fromhex(made["message"])
        length, start = read_uvarint(data, 0, TALK_MAX)
        assert length == len(data) - start
        message = open_message(data[start:], box)
        assert message is not None
        assert (message.raw.hex(), message.id.hex()) == (made["signed"], made["id"])
        assert (message.author.hex(), message.to.hex()) == (case["author"], case["reader"])
        assert message.kind.name.lower() == made["kind"]
        assert open_message(data[start:], BoxKey(b"\x13" * 32)) is None
    for raw in case["refused"]:
        with pytest.raises(RemoteError):
            parse(bytes.fromhex(raw))


def test_of_each_set_of_statements_these_count_in_any_order() -> None:
    case = read("statements")
    root, device = bytes.fromhex(case["root"]), bytes.fromhex(case["device"])
    for made in case["sets"]:
        held = [parse_statement(bytes.fromhex(raw)) for raw in made["statements"]]
        for order in (held, held[::-1], held * 2):
            seal, heal = counted_seal(order, root, device), counted_heal(order, root, device)
            assert (seal.raw.hex() if seal else None) == made["seal"]
            assert (heal.raw.hex() if heal else None) == made["heal"]


def test_a_seal_opens_the_genesis_that_commits_to_what_it_carries() -> None:
    case = read("statements")
    fact = bytes.fromhex(case["genesis_fact"])
    for made in case["opened"]:
        seal = parse_statement(bytes.fromhex(made["statement"]))
        assert isinstance(seal, Seal)
        assert seal.opening is not None
        certificate = seal.opening.certificate
        assert (certificate.root, certificate.device) == (seal.root, seal.device)
        found = certificate_commitment(seal.opening.salt, certificate.raw)
        assert (found == fact) is made["opens"]


def test_records_are_read_field_by_field() -> None:
    prev = None
    for case in read("records"):
        data = bytes.fromhex(case["record"])
        record, end = read_record(data, 0)
        assert end == len(data)
        assert encode_record(record) == data
        check_record(record)
        check_signature(record.entry)
        body = record.entry.body
        assert record.entry.raw.hex() == case["entry"]
        assert entry_id(record.entry.raw[64:]).hex() == record.entry.id.hex() == case["id"]
        assert (body.prev.hex() if body.prev else None) == case["prev"] == prev
        assert [body.type, body.seq, body.at_ms] == [case[k] for k in ("type", "seq", "at_ms")]
        assert [ref.hex() for ref in body.refs] == case["refs"]
        assert list(body.stock) == case["stock"]
        facts = [fact.hex() if isinstance(fact, bytes) else fact for fact in body.facts]
        assert facts == case["facts"]
        if case["payload"]:
            salt, payload = bytes.fromhex(case["payload_salt"]), bytes.fromhex(case["payload"])
            assert payload_hash(salt, payload) == body.payload_hash
        prev = case["id"]
    offer = bytes.fromhex(read("records")[1]["payload"])
    assert decode_payload(offer, Offer).name == "DOT 4 brake fluid"


@pytest.mark.parametrize("case", read("gossip"), ids=lambda case: case["name"])
def test_gossip_is_judged_so(case: dict[str, Any]) -> None:
    verdict = judge(bytes.fromhex(case["data"]), case["topic"], case["now_ms"])
    match verdict:
        case Accept():
            assert case["verdict"] == "accept"
        case Ignore():
            assert case["verdict"] == "ignore"
        case Reject(error):
            assert case["verdict"] == f"reject {error.code}"


def test_secrets_are_stretched_and_hashed_so() -> None:
    for case in read("secrets"):
        propose, giver, holder = (
            bytes.fromhex(case[name]) for name in ("propose", "giver", "holder")
        )
        assert code_from(bytes.fromhex(case["entropy"])) == case["code"]
        secret = stretch(case["code"], propose, giver, holder)
        assert secret.hex() == case["secret"]
        assert secret_hash(propose, giver, holder, secret).hex() == case["hash"]


def test_prices_are_these() -> None:
    for case in read("prices"):
        minor, per, currency, knots = case["price"]
        price = Price(minor, per, currency, tuple((at, value) for at, value in knots))
        assert price.total_minor(case["amount"], case["at_ms"]) == case["total_minor"]


def test_units_are_these() -> None:
    for case in read("units"):
        assert to_base(case["code"], 3, 2) == (case["unit"], case["amount"])


@pytest.mark.parametrize("case", read("trades"), ids=lambda case: case["name"])
def test_trades_go_so(case: dict[str, Any]) -> None:
    propose = parse_entry(bytes.fromhex(case["propose"]))
    entries = [parse_entry(bytes.fromhex(entry)) for entry in case["entries"]]
    for entry in entries:
        check_signature(entry)
    states = [
        fold(propose, entries[: count + 1], case["now_ms"]).state for count in range(len(entries))
    ]
    assert states == case["states"]
    random.Random(1).shuffle(entries)
    faults = fold(propose, entries, case["now_ms"]).faults
    assert [
        [fault.accused.hex(), fault.rule, [at.hex() for at in fault.evidence]] for fault in faults
    ] == case["faults"]
