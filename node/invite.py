"""Invite links: what a neighbour needs to join, in one line or one QR code."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final, Self

from passby.protocol.codec import decode, encode
from passby.protocol.errors import RemoteError, UsageError
from passby.protocol.limits import INVITE_ADDRESSES_MAX, INVITE_MAX

SCHEME: Final = "passby://join/"


@dataclass(frozen=True, slots=True)
class Invite:
    """Where a node can be dialled, and where and who it says it is.

    The link is `passby://join/` and unpadded base64url of the canonical msgpack array
    [[multiaddr, ...], cell, name].
    """

    addresses: tuple[str, ...]
    cell: str
    name: str

    @staticmethod
    def is_link(text: str) -> bool:
        """Tell whether `text` means to be an invite."""
        return text.strip().startswith(SCHEME)

    def link(self) -> str:
        """Return the invite as a link."""
        packed = encode([list(self.addresses[:INVITE_ADDRESSES_MAX]), self.cell, self.name])
        return SCHEME + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    @classmethod
    def parse(cls, link: str) -> Self:
        """Read a link.

        Raises:
            UsageError: it is none, or was cut short.
        """
        text = link.strip().removeprefix(SCHEME)
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            value = decode(packed, INVITE_MAX)
        except (binascii.Error, ValueError, RemoteError):
            raise _unreadable() from None
        match value:
            case [list(addresses), str(cell), str(name)] if len(
                addresses
            ) <= INVITE_ADDRESSES_MAX and all(isinstance(address, str) for address in addresses):
                return cls(tuple(str(address) for address in addresses), cell, name)
            case _:
                raise _unreadable()


def _unreadable() -> UsageError:
    return UsageError(
        "This invite cannot be read.", "Copy the whole link, from passby:// to its end."
    )
