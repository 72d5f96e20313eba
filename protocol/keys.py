"""Ed25519 keys: the person's offline root, and the key of each device.

A person is a root key that lives as words on paper; each device has its own key and its own
chain. The root says so in a certificate, a small signed format of its own, so that a second
device, a seal or a heal needs no change to the entry. Verification is libsodium's alone:
libraries disagree on the edge cases of Ed25519, and two honest nodes must not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from mnemonic import Mnemonic
from nacl.bindings import (
    crypto_box_seal_open,
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError, CryptoError

from passby.protocol.codec import decode, encode
from passby.protocol.errors import Code, RemoteError, UsageError

SIGNATURE_BYTES: Final = 64
KEY_BYTES: Final = 32
STATEMENT_PREFIX: Final = b"\x01PS1"
STATEMENT_MAX: Final = 512
CERTIFICATE: Final = 1
_WORDS = Mnemonic("english")


class SigningKey:
    """A private Ed25519 key made from a 32-byte seed."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        self.public, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        return crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def unseal(self, sealed: bytes) -> bytes | None:
        """Return what was sealed to this key (libsodium's sealed box), None if nothing was.

        The box is made to the X25519 form of the public key, so that whoever knows a person's
        root can seal to it; it needs no second key among the backup words.
        """
        secret = crypto_sign_ed25519_sk_to_curve25519(self._secret)
        public = crypto_sign_ed25519_pk_to_curve25519(self.public)
        try:
            return crypto_box_seal_open(sealed, public, secret)
        except (CryptoError, ValueError, TypeError):
            return None

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hex()[:12]})"


def is_point(public: bytes) -> bool:
    """Tell whether `public` is a canonical curve point of the prime-order group."""
    return len(public) == KEY_BYTES and crypto_core_ed25519_is_valid_point(public)


def verify(public: bytes, signed: bytes) -> bool:
    """Tell whether `signed` (signature ‖ message) verifies under `public`, by libsodium."""
    try:
        crypto_sign_open(signed, public)
    except (BadSignatureError, ValueError):
        return False
    return True


def root_words(entropy: bytes) -> str:
    """Return the 24 BIP-39 words of 32 bytes of entropy."""
    return _WORDS.to_mnemonic(entropy)


def root_from_words(words: str) -> SigningKey:
    """Return the person's root key.

    Raises:
        UsageError: a word or the checksum is wrong.
    """
    text = " ".join(words.split()).lower()
    if not _WORDS.check(text):
        raise UsageError(
            "These backup words do not fit together.",
            "Check the spelling and the order of all 24 words.",
        )
    return SigningKey(hashlib.sha256(b"passby root\x00" + _WORDS.to_entropy(text)).digest())


@dataclass(frozen=True, slots=True)
class Certificate:
    """A root's word that a device key is its own.

    On the wire: signature[64] ‖ 0x01 'P' 'S' '1' ‖ msgpack [1, root b32, device b32, at_ms].
    """

    root: bytes
    device: bytes
    at_ms: int
    raw: bytes

    @classmethod
    def issue(cls, root: SigningKey, device: bytes, at_ms: int) -> Self:
        """Sign a certificate for `device`."""
        message = STATEMENT_PREFIX + encode([CERTIFICATE, root.public, device, at_ms])
        return cls(root.public, device, at_ms, root.sign(message) + message)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read and verify a certificate.

        Raises:
            RemoteError: not a certificate, or not signed by the root it names.
        """
        if raw[SIGNATURE_BYTES : SIGNATURE_BYTES + 4] != STATEMENT_PREFIX:
            raise RemoteError(Code.MALFORMED, "not a root statement")
        value = decode(raw[SIGNATURE_BYTES + 4 :], STATEMENT_MAX)
        match value:
            case [int(kind), bytes(root), bytes(device), int(at_ms)] if (
                kind == CERTIFICATE
                and not isinstance(kind, bool)
                and not isinstance(at_ms, bool)
                and at_ms >= 0
            ):
                pass
            case _:
                raise RemoteError(Code.BAD_FIELD, "not a certificate")
        if not is_point(root) or not is_point(device):
            raise RemoteError(Code.BAD_KEY, "a certificate with a key that is no curve point")
        if not verify(root, raw):
            raise RemoteError(Code.BAD_SIGNATURE, "a certificate not signed by its root")
        return cls(root, device, at_ms, raw)


def certificate_commitment(salt: bytes, certificate: bytes) -> bytes:
    """Return the genesis fact, SHA-256(0x05 ‖ salt16 ‖ certificate)."""
    return hashlib.sha256(b"\x05" + salt + certificate).digest()
