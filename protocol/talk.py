"""Talk: what two devices say to each other beside the ledger, signed, then sealed to one of them.

    signed  = signature[64] ‖ 0x01 'P' 'T' '1' ‖ msgpack [author, to, at_ms, receipt, kind, about,
              body]
    sealed  = first 8 bytes of the reader's box key ‖ crypto_box_seal(signed)
    message = uvarint length ‖ sealed
    answer  = status u8 ‖ receipt[16] where the reader has opened it

The reader is named within the signature, so that nobody can pass a message on as meant for
another. The receipt is drawn for one message and known only to who opens it: an answer that
names it comes from the reader, whoever carries it. Neither author nor kind is seen outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta
from nacl.bindings import crypto_box, crypto_box_seed_keypair
from nacl.exceptions import CryptoError

from passby.protocol.codec import decode, encode, encode_uvarint
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import KEY_BYTES, SIGNATURE_BYTES, SigningKey, verify
from passby.protocol.limits import AMOUNT_MAX, AT_MS_MAX, TALK_MAX
from passby.protocol.payloads import Amount, Hash, Millis, Text, Window
from passby.protocol.sealed import KEY_ID_BYTES, BoxKey

TALK_PREFIX: Final = b"\x01PT1"
RECEIPT_BYTES: Final = 16
_ID_BYTES: Final = 32


class Kind(IntEnum):
    """What a message is about: of QUOTE a request, of BID a lot, of all others a trade."""

    QUOTE = 1
    PLACE = 2
    SAY = 3
    BID = 4
    PAYMENT = 5


class Status(IntEnum):
    """What becomes of a message."""

    TAKEN = 0
    """Stored for the person; again is the same."""
    NOT_MINE = 1
    """Sealed to somebody else."""
    NOT_NOW = 2
    """To be said again later: too many, or what it is about has not arrived."""
    REFUSED = 3
    """Read, and not wanted: it will not help to say it again."""


Total = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]


class Words(msgspec.Struct, frozen=True):
    """What a person says; of a PLACE, where to come."""

    text: Annotated[str, Meta(min_length=1, max_length=1500)]


class Payment(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to pay: an account, or words."""

    name: Annotated[str, Meta(min_length=1, max_length=70)]
    iban: Annotated[str, Meta(pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}$")] | None = None
    text: Text | None = None


class Quote(msgspec.Struct, frozen=True, omit_defaults=True):
    """A lister's answer to a request: so much of this lot for so much, if proposed in time."""

    lot: Hash
    amount: Amount
    total_minor: Total
    currency: Currency
    valid_until_ms: Millis
    window: Window | None = None
    text: Text | None = None


class Bid(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a taker would give for so much of a lot; a quote answers it."""

    amount: Amount
    total_minor: Total
    currency: Currency
    text: Text | None = None


Body: TypeAlias = Words | Payment | Quote | Bid
_BODIES: Final[dict[Kind, type[Words] | type[Payment] | type[Quote] | type[Bid]]] = {
    Kind.QUOTE: Quote,
    Kind.PLACE: Words,
    Kind.SAY: Words,
    Kind.BID: Bid,
    Kind.PAYMENT: Payment,
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message, its signature verified or made."""

    author: bytes
    to: bytes
    at_ms: int
    receipt: bytes
    kind: Kind
    about: bytes
    body: Body
    raw: bytes
    """As it was signed."""

    @property
    def id(self) -> bytes:
        """SHA-256(0x06 ‖ what is signed): a message said again is the same."""
        return hashlib.sha256(b"\x06" + self.raw[SIGNATURE_BYTES:]).digest()


def compose(
    key: SigningKey, to: bytes, at_ms: int, receipt: bytes, kind: Kind, about: bytes, body: Body
) -> Message:
    """Sign a message to the device `to`.

    Raises:
        RemoteError: a body that does not fit, or that is too long.
    """
    plain = msgspec.to_builtins(body, builtin_types=(bytes,))
    said = TALK_PREFIX + encode([key.public, to, at_ms, receipt, int(kind), about, plain])
    return parse(key.sign(said) + said)


def parse(raw: bytes) -> Message:
    """Return the message in `raw`, whose signature holds.

    Raises:
        RemoteError: no message, or not signed by the author it names.
    """
    start = SIGNATURE_BYTES + len(TALK_PREFIX)
    if raw[SIGNATURE_BYTES:start] != TALK_PREFIX:
        raise RemoteError(Code.MALFORMED, "not a message")
    match decode(raw[start:], TALK_MAX):
        case [
            bytes(author),
            bytes(to),
            int(at_ms),
            bytes(receipt),
            int(number),
            bytes(about),
            dict(plain),
        ] if (
            len(author) == len(to) == KEY_BYTES
            and len(receipt) == RECEIPT_BYTES
            and len(about) == _ID_BYTES
            and not isinstance(at_ms, bool)
            and not isinstance(number, bool)
            and 0 <= at_ms <= AT_MS_MAX
            and number in set(Kind)
        ):
            kind = Kind(number)
        case _:
            raise RemoteError(Code.BAD_FIELD, "a message of no known form")
    try:
        body = msgspec.convert(plain, _BODIES[kind], strict=True)
    except msgspec.ValidationError as error:
        raise RemoteError(Code.BAD_FIELD, f"{kind.name.lower()}: {error}") from None
    if not verify(author, raw):
        raise RemoteError(Code.BAD_SIGNATURE, "a message that its author did not sign")
    return Message(author, to, at_ms, receipt, kind, about, body, raw)


def seal_message(message: Message, box: bytes, entropy: Callable[[int], bytes]) -> bytes:
    """Return the message as it travels, its length before it, sealed to the box key `box`.

    Raises:
        RemoteError: a box key that no honest device publishes.
    """
    public, secret = crypto_box_seed_keypair(entropy(KEY_BYTES))
    nonce = hashlib.blake2b(public + box, digest_size=24).digest()
    try:
        sealed = public + crypto_box(message.raw, nonce, box, secret)
    except (CryptoError, ValueError, TypeError):
        raise RemoteError(Code.BAD_KEY, "a box key that is none") from None
    framed = box[:KEY_ID_BYTES] + sealed
    return encode_uvarint(len(framed)) + framed


def open_message(framed: bytes, own: BoxKey) -> Message | None:
    """Return the message in a frame, None where it is sealed to somebody else.

    Raises:
        RemoteError: sealed to this key, and no message.
    """
    if framed[:KEY_ID_BYTES] != own.public[:KEY_ID_BYTES]:
        return None
    raw = own.unseal(framed[KEY_ID_BYTES:])
    # Eight bytes may be another's, too; or somebody has garbled it on its way.
    return None if raw is None else parse(raw)


def encode_status(status: Status, receipt: bytes = b"") -> bytes:
    """Return an answer with its length before it."""
    return encode_uvarint(1 + len(receipt)) + bytes([status]) + receipt


def parse_status(answer: bytes, message: Message) -> Status:
    """Return what became of `message`; only who opened it can say that it was taken or refused.

    Raises:
        RemoteError: no answer, or one by who has not opened it.
    """
    if not answer or answer[0] not in set(Status):
        raise RemoteError(Code.MALFORMED, "an answer that is none")
    status = Status(answer[0])
    if status in (Status.TAKEN, Status.REFUSED):
        if answer[1:] != message.receipt:
            raise RemoteError(Code.BAD_FIELD, "a message acknowledged by who cannot read it")
    elif len(answer) > 1:
        raise RemoteError(Code.MALFORMED, "an answer with more behind it")
    return status
