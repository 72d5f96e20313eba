"""Sealed payloads: words for the parties of a trade, in an entry that everybody may hold.

    box   = XChaCha20-Poly1305(text map, key = content key, nonce = 24 zero bytes,
                               associated = "passby sealed 1" ‖ author ‖ context)
    to    = [[first 8 bytes of a box key, content key sealed to that key], ...]
    seal  = ephemeral public key ‖ crypto_box(content key, BLAKE2b-192(ephemeral ‖ box key))

The content is encrypted once under a key used for nothing else, hence the fixed nonce, and the
key is sealed (libsodium's sealed box) to each party's box key, an X25519 key that its genesis
publishes. Author and context (the id of the trade's propose, or for the propose itself its terms
hash) are bound in: whoever copies the box into an entry of their own has copied noise. The entry's
signature says who wrote it. Lengths, recipients' key ids and the fact that something was said stay
visible; whoever learns a box key later can read what was sealed to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_box,
    crypto_box_seal_open,
    crypto_box_seed_keypair,
)
from nacl.exceptions import CryptoError

from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import PAYLOAD_MAX, SEALED_TO_MAX

KEY_ID_BYTES: Final = 8
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
SEAL_BYTES: Final = KEY_BYTES + TAG_BYTES + KEY_BYTES
_NONCE: Final = bytes(24)
_ASSOCIATED: Final = b"passby sealed 1"


class BoxKey:
    """A private X25519 key made from a 32-byte seed; what is sealed to it, it opens."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        self.public, self._secret = crypto_box_seed_keypair(seed)

    def unseal(self, sealed: bytes) -> bytes | None:
        """Return what was sealed to this key, None if nothing was."""
        try:
            return crypto_box_seal_open(sealed, self.public, self._secret)
        except (CryptoError, ValueError, TypeError):
            return None

    def __repr__(self) -> str:
        return f"BoxKey({self.public.hex()[:12]})"


class Sealed(msgspec.Struct, frozen=True):
    """A sealed text map as it stands in a payload, under the key `sealed`."""

    box: Annotated[bytes, Meta(min_length=TAG_BYTES, max_length=PAYLOAD_MAX)]
    to: Annotated[
        tuple[
            tuple[
                Annotated[bytes, Meta(min_length=KEY_ID_BYTES, max_length=KEY_ID_BYTES)],
                Annotated[bytes, Meta(min_length=SEAL_BYTES, max_length=SEAL_BYTES)],
            ],
            ...,
        ],
        Meta(min_length=1, max_length=SEALED_TO_MAX),
    ]


def seal(
    content: bytes,
    keys: Sequence[bytes],
    author: bytes,
    context: bytes,
    entropy: Callable[[int], bytes],
) -> Sealed:
    """Seal `content` to the box keys of its readers, the author's own among them if wanted.

    Args:
        content: the canonical map of a payload.
        keys: X25519 public keys, at most SEALED_TO_MAX.
        author: the device key that will sign the entry.
        context: what else the entry is bound to.
        entropy: gives so many secret random bytes, never the same twice.

    Raises:
        RemoteError: a key that no honest party publishes, too many of them, or too much content.
    """
    readers = sorted(set(keys))
    if not 1 <= len(readers) <= SEALED_TO_MAX:
        raise RemoteError(Code.BAD_FIELD, f"sealed to {len(readers)} parties")
    if len(content) + TAG_BYTES > PAYLOAD_MAX:
        raise RemoteError(Code.TOO_LARGE, f"{len(content)} bytes to seal")
    key = entropy(KEY_BYTES)
    box = crypto_aead_xchacha20poly1305_ietf_encrypt(
        content, _associated(author, context), _NONCE, key
    )
    return Sealed(
        box,
        tuple((reader[:KEY_ID_BYTES], _seal_key(key, reader, entropy)) for reader in readers),
    )


def _seal_key(key: bytes, reader: bytes, entropy: Callable[[int], bytes]) -> bytes:
    """Return libsodium's sealed box of `key`, with the given chance instead of the system's."""
    public, secret = crypto_box_seed_keypair(entropy(KEY_BYTES))
    nonce = hashlib.blake2b(public + reader, digest_size=24).digest()
    try:
        return public + crypto_box(key, nonce, reader, secret)
    except (CryptoError, ValueError, TypeError):
        # A point of low order has no secret to share.
        raise RemoteError(Code.BAD_KEY, "a box key that is none") from None


def unseal(sealed: Sealed, own: BoxKey, author: bytes, context: bytes) -> bytes | None:
    """Return what was sealed, as bytes of a payload; None where it is not sealed to this key.

    Raises:
        RemoteError: it is, but the box is not what its author made for this entry.
    """
    own_id = own.public[:KEY_ID_BYTES]
    keys = [own.unseal(sealed_key) for key_id, sealed_key in sealed.to if key_id == own_id]
    if not keys:
        return None
    found = next((key for key in keys if key is not None and len(key) == KEY_BYTES), None)
    if found is None:
        raise RemoteError(Code.BAD_PAYLOAD, "a seal that its key does not open")
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed.box, _associated(author, context), _NONCE, found
        )
    except (CryptoError, ValueError, TypeError):
        raise RemoteError(Code.BAD_PAYLOAD, "a sealed box that was tampered with") from None


def _associated(author: bytes, context: bytes) -> bytes:
    return _ASSOCIATED + author + context
