"""What the local API can do about what is kept at home: wishes, and own things."""

from __future__ import annotations

from typing import Any

import msgspec

from passby.node.api.shown import Json, Shown
from passby.node.garage import Garage
from passby.node.listing import read_listed
from passby.node.wishes import Wish, Wishes


class Wants:
    """Wishes and own things; none of them leaves this node.

    Args:
        wishes: saved requests.
        garage: own things.
        shown: says what matches look like.
    """

    def __init__(self, wishes: Wishes, garage: Garage, shown: Shown) -> None:
        self._wishes = wishes
        self._garage = garage
        self._shown = shown

    def wishes(self, limit: int) -> Json:
        """Return every wish with at most `limit` matches."""
        return {"wishes": [self._wish(wish, limit) for wish in self._wishes.held()]}

    def save(self, lot: dict[str, Any], limit: int) -> Json:
        """Save a wish and return it with what fits it already.

        Raises:
            LocalError: no request that can be, too many, or the disk.
        """
        return self._wish(self._wishes.save(read_listed(lot)), limit)

    def drop(self, wish_id: str) -> Json:
        """Forget a wish.

        Raises:
            LocalError: there is none, or several; or the disk.
        """
        return {"id": self._wishes.drop(wish_id).id}

    def _wish(self, wish: Wish, limit: int) -> Json:
        return {
            "id": wish.id,
            "saved_ms": wish.saved_ms,
            "lot": msgspec.to_builtins(wish.listed),
            "matches": [self._shown.match(match) for match in self._wishes.matches(wish, limit)],
        }

    def garage(self) -> Json:
        """Return the own things."""
        return {"things": [msgspec.to_builtins(thing) for thing in self._garage.held()]}

    def add(self, name: str) -> Json:
        """Keep a thing.

        Raises:
            LocalError: no name, too many, or the disk.
        """
        thing: Json = msgspec.to_builtins(self._garage.add(name))
        return thing

    def remove(self, thing_id: str) -> Json:
        """Forget a thing.

        Raises:
            LocalError: there is none, or several; or the disk.
        """
        return {"id": self._garage.drop(thing_id).id}
