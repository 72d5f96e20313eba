"""Hand-over secrets: what the receiver tells the giver with the goods in hand.

The receiver commits to one secret for each party that may hand goods to it; a giver reveals
it in the handover, and so proves custody though the receiver is offline. Each hash names
giver and holder: with one secret for all, a second giver could "deliver" without goods.
People say four BIP-39 words; argon2id makes guessing them from the hash a matter of years.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Final

from mnemonic import Mnemonic
from nacl import pwhash

from passby.protocol.errors import UsageError

SECRET_BYTES: Final = 16
CODE_WORDS: Final = 4
_LIST: Final = tuple(Mnemonic("english").wordlist)
_KNOWN: Final = frozenset(_LIST)


def secret_hash(propose: bytes, giver: bytes, holder: bytes, secret: bytes) -> bytes:
    """Return SHA-256(0x04 ‖ propose id ‖ giver key ‖ holder key ‖ secret)."""
    return hashlib.sha256(b"\x04" + propose + giver + holder + secret).digest()


def code_from(entropy: bytes) -> str:
    """Return four words from 44 of the bits in eight bytes of entropy."""
    number = int.from_bytes(entropy[:8], "big")
    return " ".join(_LIST[number >> 11 * place & 2047] for place in range(CODE_WORDS))


def stretch(code: str, propose: bytes, giver: bytes, holder: bytes) -> bytes:
    """Return the 16-byte secret of a spoken code; takes about 60 ms and 64 MiB.

    Raises:
        UsageError: not four words of the list.
    """
    words = unicodedata.normalize("NFC", code).lower().replace("-", " ").split()
    unknown = [word for word in words if word not in _KNOWN]
    if unknown:
        raise UsageError(
            f"“{unknown[0][:20]}” is not a code word.", "Ask for the four words again."
        )
    if len(words) != CODE_WORDS:
        raise UsageError(f"A code has {CODE_WORDS} words, not {len(words)}.")
    salt = hashlib.sha256(propose + giver + holder).digest()[: pwhash.argon2id.SALTBYTES]
    return pwhash.argon2id.kdf(
        SECRET_BYTES,
        " ".join(words).encode(),
        salt,
        opslimit=pwhash.argon2id.OPSLIMIT_INTERACTIVE,
        memlimit=pwhash.argon2id.MEMLIMIT_INTERACTIVE,
    )
