"""Vectors of messages between devices: one of each kind, and what is refused."""

from __future__ import annotations

import hashlib

from passby.protocol.codec import Value, encode
from passby.protocol.keys import SigningKey
from passby.protocol.payloads import Window
from passby.protocol.sealed import BoxKey
from passby.protocol.talk import (
    TALK_PREFIX,
    Bid,
    Body,
    Kind,
    Payment,
    Quote,
    Words,
    compose,
    seal_message,
)

AUTHOR = SigningKey(b"\x31" * 32)
READER = SigningKey(b"\x32" * 32)
BOX = BoxKey(b"\x33" * 32)
T0 = 1_767_225_600_000


def talk() -> dict[str, object]:
    """Return messages of each kind, one of them as it travels, and some that are none."""
    about = hashlib.sha256(b"what it is about").digest()
    lot = hashlib.sha256(b"a lot").digest()
    bodies: list[tuple[Kind, Body]] = [
        (Kind.QUOTE, Quote(lot, 473, 180, "EUR", T0 + 3_600_000, Window(T0, T0 + 7_200_000))),
        (Kind.PLACE, Words("Lindengracht 12, bell 3")),
        (Kind.SAY, Words("I am at the gate")),
        (Kind.BID, Bid(473, 150, "EUR", "It is half empty, isn't it?")),
        (Kind.PAYMENT, Payment("Ann", "NL91ABNA0417164300")),
    ]
    receipt = bytes(range(16))
    made = [compose(AUTHOR, READER.public, T0, receipt, *kind_about) for kind_about in (
        (kind, about, body) for kind, body in bodies
    )]  # fmt: skip
    return {
        "author": AUTHOR.public.hex(),
        "reader": READER.public.hex(),
        "box_seed": (b"\x33" * 32).hex(),
        "ephemeral_seed": (b"\x34" * 32).hex(),
        "messages": [
            {
                "kind": message.kind.name.lower(),
                "signed": message.raw.hex(),
                "id": message.id.hex(),
                "message": seal_message(message, BOX.public, lambda _: b"\x34" * 32).hex(),
            }
            for message in made
        ],
        "refused": [raw.hex() for raw in _refused(about, receipt)],
    }


def _refused(about: bytes, receipt: bytes) -> list[bytes]:
    whole: list[Value] = [AUTHOR.public, READER.public, T0, receipt, 3, about, {"text": "hello"}]

    def signed(place: int, value: Value) -> bytes:
        said = TALK_PREFIX + encode([*whole[:place], value, *whole[place + 1 :]])
        return AUTHOR.sign(said) + said

    fine = signed(2, T0)
    return [
        fine[:-1],
        fine[:64] + b"\x01PS1" + fine[68:],
        bytes(64) + fine[64:],
        signed(0, READER.public),
        signed(2, -1),
        signed(3, bytes(15)),
        signed(4, 9),
        signed(4, 1),
        signed(6, {"text": ""}),
        signed(6, {"words": "hello"}),
    ]
