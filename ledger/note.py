r"""Signed notes and verifier keys, as c2sp.org/signed-note v1.0.0 writes them.

    note = text ‖ "\n" ‖ ("— " name " " base64(key id b4 ‖ signature) "\n") x 1..
    key id = SHA-256(name ‖ "\n" ‖ kind u8 ‖ public key)[:4]
    vkey = name "+" hex(key id) "+" base64(kind u8 ‖ public key)

A note's text means nothing until a known key's signature was verified. Signature lines of
unknown keys are kept and passed over: anybody may add a line to a note.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode
from enum import IntEnum
from typing import Final

import msgspec

from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import KEY_BYTES, SIGNATURE_BYTES, SigningKey, is_point, verify
from passby.protocol.limits import KEY_NAME_MAX, NOTE_MAX, NOTE_SIGNATURES_MAX

KEY_ID_BYTES: Final = 4
_DASH: Final = "\N{EM DASH} "
_CONTROLS: Final = frozenset(map(chr, range(0x20))) - {"\n"}


class KeyKind(IntEnum):
    """What a key signs; the byte is part of its id, so that one kind never passes for another."""

    ED25519 = 1
    """The text of a note."""
    COSIGNATURE = 4
    """A checkpoint with the time, as a witness (c2sp.org/tlog-cosignature)."""


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key, the name that its signature lines bear, and what it signs."""

    name: str
    kind: KeyKind
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes before each of its signatures."""
        named = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(named).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(bytes([self.kind]) + self.public)}"


class NoteSignature(msgspec.Struct, frozen=True):
    """One signature line; `signature` is whatever the key's kind makes of it."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> bytes:
        """The line with its newline."""
        return f"{_DASH}{self.name} {_base64(self.key_id + self.signature)}\n".encode()


class Note(msgspec.Struct, frozen=True):
    """A text that ends in a newline, and the signature lines below it, in their order."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """Return the note's bytes."""
        return self.text + b"\n" + b"".join(one.line for one in self.signatures)

    def by(self, key: VerifierKey) -> list[NoteSignature]:
        """Return the lines that claim to be `key`'s; nothing is verified."""
        key_id = key.id
        return [one for one in self.signatures if one.name == key.name and one.key_id == key_id]


def parse_vkey(text: str) -> VerifierKey:
    """Read a verifier key.

    Raises:
        RemoteError: not a verifier key, of a kind not read here, or with an id that is not its own.
    """
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise RemoteError(Code.MALFORMED, "a verifier key without its three parts")
    name, key_id, packed = parts
    _check_name(name)
    data = read_base64(packed)
    if len(data) != 1 + KEY_BYTES or data[0] not in set(KeyKind):
        raise RemoteError(Code.BAD_KEY, "a verifier key of a kind that is not read here")
    key = VerifierKey(name, KeyKind(data[0]), data[1:])
    if not is_point(key.public):
        raise RemoteError(Code.BAD_KEY, "a verifier key that is no curve point")
    if key.id.hex() != key_id:
        raise RemoteError(Code.BAD_KEY, "a verifier key under another key's id")
    return key


def parse_note(data: bytes) -> Note:
    """Read a note strictly; no signature is verified.

    Raises:
        RemoteError: too large, no UTF-8, or not text, blank line and signature lines.
    """
    if len(data) > NOTE_MAX:
        raise RemoteError(Code.TOO_LARGE, f"a note of {len(data)} bytes")
    parting = data.rfind(b"\n\n")
    if parting < 0:
        raise RemoteError(Code.MALFORMED, "a note without signatures")
    text = data[: parting + 1]
    read_text(text)
    return Note(text, parse_signatures(data[parting + 2 :]))


def parse_signatures(data: bytes) -> tuple[NoteSignature, ...]:
    """Read one signature line or more, which `data` must fill exactly.

    Raises:
        RemoteError: none, too many, or a line in another form.
    """
    text = read_text(data)
    if not text.endswith("\n"):
        raise RemoteError(Code.MALFORMED, "a signature line is cut off")
    lines = text[:-1].split("\n")
    if len(lines) > NOTE_SIGNATURES_MAX:
        raise RemoteError(Code.TOO_LARGE, f"{len(lines)} signatures")
    return tuple(map(_signature, lines))


def sign_note(text: bytes, key: SigningKey, name: str) -> Note:
    """Return `text` as a note signed by `key` under `name`."""
    made = VerifierKey(name, KeyKind.ED25519, key.public)
    return Note(text, (NoteSignature(name, made.id, key.sign(text)),))


def check_signed(note: Note, key: VerifierKey) -> None:
    """Verify that `key`, of kind ED25519, has signed the text of `note`.

    Raises:
        RemoteError: it has not, or a line of its is false.
    """
    assert key.kind is KeyKind.ED25519
    lines = note.by(key)
    if not lines:
        raise RemoteError(Code.BAD_SIGNATURE, f"a note not signed by {key.name}")
    for one in lines:
        if len(one.signature) != SIGNATURE_BYTES or not verify(
            key.public, one.signature + note.text
        ):
            raise RemoteError(Code.BAD_SIGNATURE, f"a note with a false signature of {key.name}")


def read_text(data: bytes) -> str:
    """Return `data` as text without control characters other than newlines.

    Raises:
        RemoteError: it is none.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise RemoteError(Code.MALFORMED, "a note that is no UTF-8") from None
    if not _CONTROLS.isdisjoint(text):
        raise RemoteError(Code.MALFORMED, "a note with control characters")
    return text


def read_base64(text: str) -> bytes:
    """Return the bytes of standard base64 with padding, in its one form.

    Raises:
        RemoteError: anything else, or nothing.
    """
    try:
        data = b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError):
        raise RemoteError(Code.MALFORMED, "not base64") from None
    if not data or _base64(data) != text:
        raise RemoteError(Code.NOT_CANONICAL, "base64 with a second encoding")
    return data


def _signature(line: str) -> NoteSignature:
    name, space, packed = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise RemoteError(Code.MALFORMED, "not a signature line")
    _check_name(name)
    data = read_base64(packed)
    if len(data) <= KEY_ID_BYTES:
        raise RemoteError(Code.MALFORMED, "a signature line without a signature")
    return NoteSignature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def _check_name(name: str) -> None:
    if not name or "+" in name or any(one.isspace() or one in _CONTROLS for one in name):
        raise RemoteError(Code.BAD_FIELD, "a key name that is empty or holds a space or plus")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        # A file that is no UTF-8 comes here with surrogates.
        raise RemoteError(Code.BAD_FIELD, "a key name that is no text") from None
    if length > KEY_NAME_MAX:
        raise RemoteError(Code.TOO_LARGE, f"a key name of over {KEY_NAME_MAX} bytes")


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
