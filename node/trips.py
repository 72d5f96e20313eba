"""Trip devices: nobody can tell whose they are, but for the person that holds the words.

A trip device's genesis commits to a certificate that nobody is shown. When the device is lost, so
are its certificate and the salt; so both are made such that the 24 words and the chain itself,
which neighbours hold, give them again:

    certificate   issued for midnight (UTC) of its day: Ed25519 signs the same thing the same way
    salt          the first 16 bytes of SHA-256("passby trip" ‖ certificate)

The commitment stays hidden: whoever does not hold the words cannot make the certificate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from passby.protocol.entry import SALT_BYTES, Entry
from passby.protocol.keys import Certificate, SigningKey
from passby.protocol.limits import TRIP_DAYS_MAX
from passby.protocol.statements import Opening

_DAY_MS: Final = 24 * 3600 * 1000


def trip_certificate(root: SigningKey, device: bytes, now_ms: int) -> Certificate:
    """Sign a certificate for a trip device, which `opening_of` finds again."""
    return Certificate.issue(root, device, now_ms - now_ms % _DAY_MS)


def trip_salt(certificate: Certificate) -> bytes:
    """Return the salt of a trip device's commitment."""
    return hashlib.sha256(b"passby trip" + certificate.raw).digest()[:SALT_BYTES]


def opening_of(root: SigningKey, genesis: Entry, known: Iterable[Certificate]) -> Opening | None:
    """Return what a trip device's genesis commits to, None if the device is not of this root.

    Args:
        root: the person's.
        genesis: the device's first entry.
        known: certificates that may be the one; those of the days before are tried behind them.
    """
    for certificate in known:
        if (opening := Opening(trip_salt(certificate), certificate)).opens(genesis):
            return opening
    # A day more, for a device whose clock was behind that of whoever certified it.
    newest_ms = genesis.body.at_ms + _DAY_MS
    for days in range(TRIP_DAYS_MAX):
        if (at_ms := newest_ms - days * _DAY_MS) < 0:
            break
        certificate = trip_certificate(root, genesis.author, at_ms)
        if (opening := Opening(trip_salt(certificate), certificate)).opens(genesis):
            return opening
    return None
