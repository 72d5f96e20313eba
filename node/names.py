"""What people call each other: the names in the genesis entries, which nobody vouches for."""

from __future__ import annotations

from functools import lru_cache

from passby.node.chains import Chains
from passby.protocol.errors import RemoteError
from passby.protocol.limits import NAMES_REMEMBERED
from passby.protocol.payloads import Genesis, decode_payload


class Names:
    """Looks up, and remembers, the name that each chain opens with."""

    def __init__(self, chains: Chains) -> None:
        self._chains = chains
        self._name = lru_cache(maxsize=NAMES_REMEMBERED)(self._read)
        chains.on_erased(lambda _: self._name.cache_clear())

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
