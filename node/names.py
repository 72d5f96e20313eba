"""What people call each other: the names in the genesis entries, which nobody vouches for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from passby.ledger.store import PREFIX_MIN
from passby.node.chains import Chains
from passby.protocol.errors import RefusedError, RemoteError
from passby.protocol.limits import NAMES_REMEMBERED, SAME_NAME_SHOWN
from passby.protocol.payloads import Genesis, decode_payload


class Names:
    """Looks up, and remembers, the name that each chain opens with."""

    def __init__(self, chains: Chains) -> None:
        self._chains = chains
        self._name = lru_cache(maxsize=NAMES_REMEMBERED)(self._read)
        chains.on_erased(lambda _: self._name.cache_clear())
        chains.on_forgotten(lambda _: self._name.cache_clear())

    def of(self, author: bytes) -> str | None:
        """Return the author's name for itself; None where it gives none or is a stranger."""
        if self._chains.head_seq(author) == 0:
            return None
        try:
            return self._name(author)
        except LookupError:
            return None

    def shown(self, author: bytes) -> str:
        """Return the name, or the beginning of the key."""
        return self.of(author) or author.hex()[:12]

    def find(self, text: str, among: Iterable[bytes]) -> bytes:
        """Return the only author whose key begins with `text`, or whose name it is.

        Raises:
            RefusedError: none, or several; at most SAME_NAME_SHOWN of them are named.
        """
        wanted = text.strip().casefold()
        is_key = len(wanted) >= PREFIX_MIN
        # Both, since a name may be spelled in hex digits: then nobody is taken for the other.
        found = [
            key
            for key in dict.fromkeys(among)
            if (is_key and key.hex().startswith(wanted))
            or (wanted and (self.of(key) or "").casefold() == wanted)
        ]
        if len(found) == 1:
            return found[0]
        if not found:
            raise RefusedError(
                f"No author known here is called “{text[:20]}”, by name or by key.",
                "`passby ledger heads` lists them.",
            )
        # Keys and names are free: anybody can make as many that look alike as they please.
        shown = ", ".join(sorted(key.hex()[: len(wanted) + 8] for key in found)[:SAME_NAME_SHOWN])
        raise RefusedError(
            f"{len(found)} authors have “{text[:20]}” as their name, or as the start of their key.",
            f"Give more digits of the key of the one you mean: {shown}"
            + (" and more." if len(found) > SAME_NAME_SHOWN else "."),
        )

    def _read(self, author: bytes) -> str:
        """Return the name; a LookupError is not remembered, since the payload may yet come."""
        record = self._chains.reader.record_at(author, 1)
        if record is None or record.payload is None:
            raise LookupError
        try:
            name = decode_payload(record.payload, Genesis).name
        except RemoteError:
            name = None
        if name is None:
            raise LookupError
        return name
