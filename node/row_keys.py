"""What names a row of a file from one reading to the next."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

_KEY_MAX: Final = 64


def keys_of(lots: Sequence[Mapping[str, Any]], seen: Counter[str] | None = None) -> list[str]:
    """Return a key for each lot; a second lot with the same one has its number added.

    Args:
        lots: as the local API takes them.
        seen: keys that came before, which is added to.
    """
    counted = Counter[str]() if seen is None else seen
    keys: list[str] = []
    for lot in lots:
        named = "|".join(str(lot.get(field) or "") for field in ("name", "brand", "unit"))
        key = f"{lot.get('side', 'offer')}:{lot.get('gtin') or named.casefold()}"
        if len(key) > _KEY_MAX:
            key = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        counted[key] += 1
        keys.append(key if counted[key] == 1 else f"{key}#{counted[key]}")
    return keys
