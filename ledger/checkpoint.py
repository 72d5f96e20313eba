r"""Checkpoints of chains, and the cosignatures of witnesses, in C2SP's formats.

    text        = origin "\n" size "\n" base64(root b32) "\n"        c2sp.org/tlog-checkpoint
    origin      = "passby/1/chain/" ‖ hex(author), also the name of the author's key
    cosigned    = "cosignature/v1\ntime " seconds "\n" ‖ text        c2sp.org/tlog-cosignature
    cosignature = seconds u64 ‖ Ed25519(witness, cosigned)

A checkpoint is the author's word that its chain of `size` entries has this tree; it is signed
by the key that signs the chain's entries. What such a key signs begins with 0x00 (an entry) or
"p" (a checkpoint), so neither can pass for the other. A witness has a key of its own: an
author who could sign both would vouch for itself.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final

import msgspec

from passby.ledger.note import (
    KeyKind,
    Note,
    NoteSignature,
    VerifierKey,
    check_signed,
    parse_note,
    read_base64,
    read_text,
    sign_note,
)
from passby.protocol.entry import HASH_BYTES
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import KEY_BYTES, SIGNATURE_BYTES, SigningKey, is_point, verify
from passby.protocol.limits import NOTE_SIGNATURES_MAX, SEQ_MAX, TREE_SIZE_MAX

ORIGIN: Final = "passby/1/chain/"
WITNESS: Final = "passby/1/witness/"
_ORIGIN = re.compile(re.escape(ORIGIN) + f"([0-9a-f]{{{2 * KEY_BYTES}}})")
_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")
_STAMP_BYTES = 8


class Checkpoint(msgspec.Struct, frozen=True):
    """The text of a checkpoint: `size` leaves of the log `origin` have this root."""

    origin: str
    size: int
    root: bytes
    extension: tuple[str, ...] = ()
    """Further lines, which mean nothing here; a chain's checkpoint has none."""

    @property
    def text(self) -> bytes:
        """What is signed and cosigned."""
        lines = (self.origin, str(self.size), b64encode(self.root).decode(), *self.extension)
        return "".join(f"{line}\n" for line in lines).encode()


class SignedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint with the note that carries it."""

    head: Checkpoint
    note: Note

    def encode(self) -> bytes:
        """Return the note's bytes."""
        return self.note.encode()

    def with_lines(self, lines: tuple[NoteSignature, ...]) -> SignedCheckpoint:
        """Return the same checkpoint with further signature lines, each once, as many as fit."""
        kept = tuple(dict.fromkeys((*self.note.signatures, *lines)))[:NOTE_SIGNATURES_MAX]
        return SignedCheckpoint(self.head, Note(self.note.text, kept))

    def only_by(self, key: VerifierKey) -> SignedCheckpoint:
        """Return the same checkpoint with no lines but one of `key`'s."""
        return SignedCheckpoint(self.head, Note(self.note.text, tuple(self.note.by(key)[:1])))


def merged(signed: SignedCheckpoint, other: SignedCheckpoint) -> SignedCheckpoint:
    """Return a checkpoint with the lines of another note of the same tree, one for each key.

    Of two cosignatures by one witness the later counts, which begins with the later time; the
    lines must have been verified. At most NOTE_SIGNATURES_MAX, those of `signed` first.
    """
    assert signed.note.text == other.note.text
    lines: dict[tuple[str, bytes], NoteSignature] = {}
    for line in (*signed.note.signatures, *other.note.signatures):
        held = lines.get((line.name, line.key_id))
        if held is None or line.signature > held.signature:
            lines[line.name, line.key_id] = line
    kept = tuple(lines.values())[:NOTE_SIGNATURES_MAX]
    return SignedCheckpoint(signed.head, Note(signed.note.text, kept))


class WitnessKey:
    """The key that a node cosigns with; never the one that signs its chain."""

    __slots__ = ("_key", "verifier")

    def __init__(self, key: SigningKey, name: str | None = None) -> None:
        named = name or WITNESS + key.public.hex()
        self._key = key
        self.verifier = VerifierKey(named, KeyKind.COSIGNATURE, key.public)

    def cosign(self, text: bytes, at_s: int) -> NoteSignature:
        """Return the cosignature line of a checkpoint's `text`, dated `at_s` (Unix seconds).

        A witness signs what it has stored, by `passby.ledger.witness.cosignature`.
        """
        assert at_s > 0
        signature = self._key.sign(_cosigned(text, at_s))
        stamped = at_s.to_bytes(_STAMP_BYTES, "big") + signature
        return NoteSignature(self.verifier.name, self.verifier.id, stamped)


def origin_of(author: bytes) -> str:
    """Return the origin of an author's chain."""
    return ORIGIN + author.hex()


def author_of(origin: str) -> bytes:
    """Return the author whose chain an origin names.

    Raises:
        RemoteError: it names none.
    """
    found = _ORIGIN.fullmatch(origin)
    if not found or not is_point(author := bytes.fromhex(found[1])):
        raise RemoteError(Code.BAD_FIELD, "an origin that names no chain")
    return author


def chain_key(author: bytes) -> VerifierKey:
    """Return the key that signs the checkpoints of an author's chain."""
    return VerifierKey(origin_of(author), KeyKind.ED25519, author)


def sign_checkpoint(key: SigningKey, size: int, root: bytes) -> SignedCheckpoint:
    """Return the checkpoint of the own chain at `size` entries.

    Promises to sign what it is given and no more: an author that signs two roots of one size,
    or a tree that does not begin with an earlier one, has forked its chain.
    """
    assert 1 <= size <= SEQ_MAX
    head = Checkpoint(origin_of(key.public), size, root)
    return SignedCheckpoint(head, sign_note(head.text, key, head.origin))


def parse_checkpoint(data: bytes) -> SignedCheckpoint:
    """Read a checkpoint of any log; no signature is verified.

    Raises:
        RemoteError: not a note, or not one of origin, size and root.
    """
    note = parse_note(data)
    # Lines end in "\n" alone: splitlines() would break at other characters, too.
    lines = read_text(note.text)[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise RemoteError(Code.MALFORMED, "a checkpoint without its three lines")
    origin, size, packed, *extension = lines
    root = read_base64(packed)
    if len(root) != HASH_BYTES:
        raise RemoteError(Code.BAD_FIELD, "a checkpoint's root that is no hash")
    head = Checkpoint(origin, read_decimal(size), root, tuple(extension))
    return SignedCheckpoint(head, note)


def check_chain(signed: SignedCheckpoint) -> bytes:
    """Verify the checkpoint of a chain, and return its author; cosignatures are not looked at.

    Raises:
        RemoteError: it names no chain, no entry or further lines, or its author did not sign it.
    """
    author = author_of(signed.head.origin)
    if not 1 <= signed.head.size <= SEQ_MAX or signed.head.extension:
        raise RemoteError(Code.BAD_FIELD, "a checkpoint that no chain has")
    check_signed(signed.note, chain_key(author))
    return author


def cosigned_at(note: Note, witness: VerifierKey) -> int | None:
    """Return when `witness` last cosigned the note (Unix seconds), None if it did not.

    Raises:
        RemoteError: a line of its is false.
    """
    assert witness.kind is KeyKind.COSIGNATURE
    newest: int | None = None
    for line in note.by(witness):
        stamped = line.signature
        at_s = int.from_bytes(stamped[:_STAMP_BYTES], "big")
        if (
            len(stamped) != _STAMP_BYTES + SIGNATURE_BYTES
            or not 0 < at_s < 2**63
            or not verify(witness.public, stamped[_STAMP_BYTES:] + _cosigned(note.text, at_s))
        ):
            raise RemoteError(Code.BAD_SIGNATURE, f"a false cosignature of {witness.name}")
        newest = max(newest or 0, at_s)
    return newest


def read_decimal(text: str) -> int:
    """Return 0 to TREE_SIZE_MAX, written without leading zeroes.

    Raises:
        RemoteError: anything else.
    """
    if not _DECIMAL.fullmatch(text) or (number := int(text)) > TREE_SIZE_MAX:
        raise RemoteError(Code.BAD_FIELD, "not the size of a tree")
    return number


def _cosigned(text: bytes, at_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % at_s + text
