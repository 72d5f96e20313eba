"""Invite links: what a neighbour needs to join, in one line or one QR code."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final, Self

from passby.protocol.codec import Value, decode, encode
from passby.protocol.errors import RemoteError, UsageError
from passby.protocol.keys import KEY_BYTES
from passby.protocol.limits import INVITE_ADDRESSES_MAX, INVITE_MAX

SCHEME: Final = "passby://join/"
TOKEN_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Invite:
    """Where a node can be dialled, where and who it says it is, and what lets one in.

    The link is `passby://join/` and unpadded base64url of the canonical msgpack array
    [[multiaddr, ...], cell, name, author, token]; one without the last two lets a node dial,
    and nobody vouch.
    """

    addresses: tuple[str, ...]
    cell: str
    name: str
    author: bytes | None = None
    token: bytes | None = None

    @staticmethod
    def is_link(text: str) -> bool:
        """Tell whether `text` means to be an invite."""
        return text.strip().startswith(SCHEME)

    def link(self) -> str:
        """Return the invite as a link."""
        addresses: list[Value] = list(self.addresses[:INVITE_ADDRESSES_MAX])
        lets_in = [] if self.author is None or self.token is None else [self.author, self.token]
        packed = encode([addresses, self.cell, self.name, *lets_in])
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
            case [list(addresses), str(cell), str(name), *lets_in] if len(
                addresses
            ) <= INVITE_ADDRESSES_MAX and all(isinstance(address, str) for address in addresses):
                dialled = tuple(str(address) for address in addresses)
            case _:
                raise _unreadable()
        match lets_in:
            case []:
                return cls(dialled, cell, name)
            case [bytes(author), bytes(token)] if (
                len(author) == KEY_BYTES and len(token) == TOKEN_BYTES
            ):
                return cls(dialled, cell, name, author, token)
            case _:
                raise _unreadable()


def _unreadable() -> UsageError:
    return UsageError(
        "This invite cannot be read.", "Copy the whole link, from passby:// to its end."
    )
