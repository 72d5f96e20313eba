"""The open lots of one side, in columns, by label and cell.

A label is a category, one of those above it, or a GTIN. A lot stands in one bucket for each
of its labels, at its cell in one of three grids: the farther its author would go, the wider
the grid, so that a question looks no further around than the lots in that grid can matter.
Everything is incremental: nothing is ever rebuilt, and a removed lot's slot is used again.

What a question reads of every candidate is one row of 32 bytes; what only the exact match reads
lies apart.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from passby.geo.categories import ancestors
from passby.geo.cells import distance_m, index_cell, spread_m, unit_vector
from passby.geo.columns import ID_BYTES, Numbers, SlotById, Slots, SlotsByKey
from passby.geo.lots import BookLot, Side
from passby.geo.rings import cover
from passby.geo.rows import (
    COLD,
    CONDITION_RANK,
    CONDITIONS,
    CURVED,
    HOT,
    NEVER_MS,
    REST,
    SECONDS_MAX,
    UNIT_NUMBER,
    UNITS,
    Rows,
    aligned,
)
from passby.protocol.limits import BOOK_LOTS_MAX, COVERS_REMEMBERED, DEFAULT_RADIUS_M
from passby.protocol.payloads import Window
from passby.protocol.price import Price

EVERYTHING: Final = ""
"""The label that every lot has."""
_GTIN: Final = "gtin:"
_FREE: Final = 0
"""The category of a slot that holds no lot."""

_KINDS: Final[dict[str, np.dtype[np.void]]] = {"_hot": HOT, "_cold": COLD, "_rest": REST}
_FORM: Final = repr((1, HOT, COLD, REST)).encode()
"""What a packed book is made of: one of another release is not to be read."""
_BUCKETS: Final = ("bucket_keys", "bucket_sizes", "bucket_slots")
_DUE: Final = ("due_hours", "due_sizes", "due_slots")
_Words = tuple[list[str | None], list[int], list[int]]
_Keys = tuple[list[bytes | None], list[int], list[int]]
_Plain = tuple[tuple[_Keys, _Words, _Words, _Words, _Words], list[int], dict[int, Price], list[int]]


class _Tier(NamedTuple):
    """A grid for lots of cells up to `spread_m` and authors that reach, with it, `reach_m`.

    None where no grid is worth its while.
    """

    resolution: int
    spread_m: int
    reach_m: int | None


_TIERS: Final = (
    _Tier(8, 0, DEFAULT_RADIUS_M),
    _Tier(7, 4_000, 10_000),
    _Tier(5, 10_000, 60_000),
    _Tier(0, 10_000, None),
)
_ASIDE_STEP_M: Final = 500
_TIER_BITS: Final = 2
_CELL_BITS: Final = 31
"""Base cell and eight digits of three bits: all that differs between cells of a grid."""


class Put(Enum):
    """What became of a lot."""

    ADDED = "added"
    REPLACED = "replaced"
    FULL = "full"


class Book:
    """The open lots of one side."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.authors: Numbers[bytes] = Numbers()
        self.brands: Numbers[str] = Numbers()
        self.currencies: Numbers[str] = Numbers()
        self._categories: Numbers[str] = Numbers()
        self._labels: Numbers[str] = Numbers()
        self._ids = SlotById()
        self._hot: Rows = aligned(64, HOT)
        self._cold: Rows = aligned(64, COLD)
        self._rest: Rows = np.zeros(64, REST)
        self._free: list[int] = []
        self._high = 0
        self._buckets = SlotsByKey()
        self._in_tier = [0] * len(_TIERS)
        self._curves: dict[int, Price] = {}
        self._due = SlotsByKey()
        self._hours: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, lot_id: bytes) -> bool:
        return self._ids.find(lot_id) >= 0

    def __iter__(self) -> Iterator[BookLot]:
        """Go through the lots, in no order that means anything."""
        held = np.flatnonzero(self._rest["category"][: self._high] != _FREE).tolist()
        return (self.lot_at(slot) for slot in held)

    def get(self, lot_id: bytes) -> BookLot | None:
        """Return the lot of `lot_id` as it stands now."""
        slot = self._ids.find(lot_id)
        return None if slot < 0 else self.lot_at(slot)

    # --- changing -----------------------------------------------------------------------

    def insert(self, lot: BookLot) -> Put:
        """Take `lot` in; one with its id makes way for it. `FULL` leaves the book as it was."""
        assert lot.side == self.side
        replaced = self.remove(lot.id)
        if self._free:
            slot = self._free.pop()
        elif self._high < BOOK_LOTS_MAX:
            slot = self._high
            self._high += 1
            if slot == len(self._hot):
                self._grow()
        else:
            return Put.FULL
        self._ids.put(lot.id, slot)
        self._write(slot, lot)
        for key in self._keys(lot, self._labels.hold):
            self._buckets.add(key, slot)
        self._in_tier[_tier_of(lot)] += 1
        hour = lot.until_ms // 3_600_000
        if hour not in self._due:
            heapq.heappush(self._hours, hour)
        self._due.add(hour, slot)
        return Put.REPLACED if replaced else Put.ADDED

    def set_remaining(self, lot_id: bytes, remaining: int) -> bool:
        """Note what is left of a lot after a partial fill, a release or an adjust.

        A lot with nothing left stays, unmatched, until removed or expired: a release may
        bring some of it back. Returns whether the lot is here.
        """
        slot = self._ids.find(lot_id)
        if slot < 0:
            return False
        self._cold["remaining"][slot] = remaining
        return True

    def remove(self, lot_id: bytes) -> bool:
        """Let a lot go; returns whether it was here."""
        slot = self._ids.find(lot_id)
        if slot < 0:
            return False
        lot = self.lot_at(slot)
        self._due.remove(lot.until_ms // 3_600_000, slot)
        self._take_out(slot, lot)
        return True

    def expire(self, now_ms: int) -> list[bytes]:
        """Let go of every lot whose last moment is before `now_ms`; returns their ids."""
        gone: list[bytes] = []
        hour_now = now_ms // 3_600_000
        while self._hours and self._hours[0] <= hour_now:
            hour = self._hours[0]
            for slot in self._due.gather((hour,)).tolist():
                if int(self._cold["until_ms"][slot]) < now_ms:
                    lot = self.lot_at(slot)
                    self._due.remove(hour, slot)
                    self._take_out(slot, lot)
                    gone.append(lot.id)
            if hour in self._due:
                break
            heapq.heappop(self._hours)
        return gone

    # --- putting away -------------------------------------------------------------------

    def packed(self) -> dict[str, NDArray[Any]]:
        """Return all there is to the book as arrays, which `unpack` makes the same book of."""
        words = [numbers.packed() for numbers in self._numberings()]
        plain = msgspec.msgpack.encode([words, self._in_tier, self._curves, self._free])
        buckets, due = self._buckets.packed(), self._due.packed()
        return {
            "form": np.frombuffer(_FORM, np.uint8),
            "hot": self._hot[: self._high].view(np.uint8),
            "cold": self._cold[: self._high].view(np.uint8),
            "rest": self._rest[: self._high].view(np.uint8),
            "ids": np.frombuffer(bytes(self._ids.ids), np.uint8)[: self._high * ID_BYTES],
            "plain": np.frombuffer(plain, np.uint8),
            **dict(zip(_BUCKETS, buckets, strict=True)),
            **dict(zip(_DUE, due, strict=True)),
        }

    @classmethod
    def unpack(cls, side: Side, parts: Mapping[str, NDArray[Any]]) -> Self:
        """Return the book that was `packed`.

        Raises:
            ValueError: these are no such parts, or those of another release.
        """
        if parts["form"].tobytes() != _FORM:
            raise ValueError("another form")
        book = cls(side)
        for name, kind in _KINDS.items():
            rows = parts[name[1:]].view(kind)
            room = aligned(max(64, 1 << (len(rows) - 1).bit_length()), kind)
            room[: len(rows)] = rows
            setattr(book, name, room)
            book._high = len(rows)
        words, book._in_tier, curves, book._free = msgspec.msgpack.decode(
            parts["plain"].tobytes(), type=_Plain
        )
        book._curves = curves
        book.authors.unpack(*words[0])
        for numbers, said in zip(book._numberings()[1:], words[1:], strict=True):
            numbers.unpack(*said)
        held = np.flatnonzero(book._rest["category"][: book._high] != _FREE)
        book._ids.unpack(parts["ids"].tobytes(), held.tolist())
        book._buckets.unpack(*(parts[name] for name in _BUCKETS))
        book._due.unpack(*(parts[name] for name in _DUE))
        book._hours = sorted(parts[_DUE[0]].tolist())
        return book

    def _numberings(self) -> list[Numbers[Any]]:
        return [self.authors, self.brands, self.currencies, self._categories, self._labels]

    # --- asking -------------------------------------------------------------------------

    def near(self, labels: Sequence[str], cell: int, radius_m: int) -> Slots:
        """Return the slots of the lots under any of `labels` that may be in reach of `cell`.

        In reach is what lies within `radius_m`, or whose author would come. Some that are a
        little further are among them, none that is nearer is missing. A lot under two of
        the labels comes once.
        """
        numbers = [number for label in labels if (number := self._labels.find(label))]
        if not numbers:
            return np.empty(0, np.uint32)
        spread = spread_m(cell)
        keys: list[int] = []
        for tier, (resolution, spread_tier, reach_m) in enumerate(_TIERS):
            if self._in_tier[tier] == 0:
                continue
            cells: tuple[int, ...] | None = (0,)
            if reach_m is not None:
                around_m = max(radius_m + spread_tier, reach_m) + spread
                cells = _compact_cover(*_standing_at(cell, around_m, resolution), resolution)
            if cells is None:
                return self._among_all(labels)
            for number in numbers:
                base = _key(number, tier, 0)
                keys.extend([base | at for at in cells])
        slots = self._buckets.gather(keys)
        return slots if len(numbers) == 1 else np.unique(slots)

    def rows(self, slots: Slots) -> Rows:
        """Return the hot rows of `slots`: a copy, in their order."""
        return self._hot.take(slots)

    def curved(self, slots: Slots) -> NDArray[np.bool_]:
        """Return which of `slots` have prices that change over time."""
        if not self._curves:
            return np.zeros(len(slots), np.bool_)
        flagged: NDArray[np.bool_] = self._hot["flags"].take(slots) == CURVED
        return flagged

    def cold_rows(self, slots: Slots) -> Rows:
        """Return what only the exact match reads of `slots`: a copy, in their order."""
        return self._cold.take(slots)

    def categories_with(self, lot: BookLot) -> list[int]:
        """Return the numbers of the categories here that are what `lot`, of the other side, is."""
        if self.side == Side.OFFER:
            return self._categories_under(subtree_label(lot.category))
        above = map(self._categories.find, ancestors(lot.category))
        return [number for number in above if number]

    def other_rows(self, slots: Slots) -> Rows:
        """Return product, category and brand of `slots`: a copy, in their order."""
        return self._rest.take(slots)

    def id_at(self, slot: int) -> bytes:
        """Return the id of the lot at `slot`."""
        return self._ids.id_of(slot)

    def lot_at(self, slot: int) -> BookLot:
        """Return the lot at `slot`."""
        (
            at_ms, until_ms, remaining, minimum, step, minor, per_amount,
            from_ms, _, day_ms, _, _, _, author_at, _, _, margin_s, currency_at, condition_at,
        ) = self._cold[slot].item()  # fmt: skip
        cell, window_until_ms, gtin, category, brand_at, radius_m = self._rest[slot].item()
        author = self.authors.word(author_at)
        word = self._categories.word(category)
        assert author is not None
        assert word is not None
        price = self._curves.get(slot)
        if price is None:
            currency = self.currencies.word(currency_at)
            assert currency is not None
            price = Price(minor, per_amount, currency)
        day = None if day_ms == NEVER_MS else day_ms
        is_offer = self.side == Side.OFFER
        return BookLot(
            side=self.side,
            id=self._ids.id_of(slot),
            author=author,
            at_ms=at_ms,
            until_ms=until_ms,
            category=word,
            unit=UNITS[self._hot["unit"][slot]],
            remaining=remaining,
            price=price,
            cell=cell,
            minimum=minimum,
            step=step,
            gtin=None if gtin < 0 else f"{gtin:014d}",
            brand=self.brands.word(brand_at),
            condition=CONDITIONS[condition_at],
            window=None if from_ms < 0 else Window(from_ms, window_until_ms),
            radius_m=None if radius_m < 0 else radius_m,
            best_before_ms=day if is_offer else None,
            needed_until_ms=None if is_offer else day,
            margin_s=margin_s,
        )

    # --- within -------------------------------------------------------------------------

    def _grow(self) -> None:
        size = len(self._hot)
        for name, kind in _KINDS.items():
            rows = aligned(2 * size, kind)
            rows[:size] = getattr(self, name)
            setattr(self, name, rows)

    def _write(self, slot: int, lot: BookLot) -> None:
        price, window, place = lot.price, lot.window, unit_vector(lot.cell)
        is_offer, spread = self.side == Side.OFFER, spread_m(lot.cell)
        day_ms = lot.best_before_ms if is_offer else lot.needed_until_ms
        day_ms = NEVER_MS if day_ms is None else day_ms
        last_ms = lot.until_ms if window is None else window.until_ms
        radius_m = DEFAULT_RADIUS_M if lot.radius_m is None else lot.radius_m
        flags = CURVED if price.knots else 0
        if flags:
            self._curves[slot] = price
        self._cold[slot] = (
            lot.at_ms, lot.until_ms, lot.remaining, lot.minimum, lot.step,
            price.minor, price.per_amount,
            -1 if window is None else window.from_ms,
            last_ms if is_offer else min(last_ms, day_ms),
            day_ms,
            *place,
            self.authors.hold(lot.author),
            radius_m,
            spread,
            lot.margin_s,
            self.currencies.hold(price.currency),
            CONDITION_RANK[lot.condition],
        )  # fmt: skip
        self._rest[slot] = (
            lot.cell,
            -1 if window is None else window.until_ms,
            -1 if lot.gtin is None else int(lot.gtin),
            self._categories.hold(lot.category),
            self.brands.hold(lot.brand),
            -1 if lot.radius_m is None else lot.radius_m,
        )
        self._hot[slot] = (
            *place,
            radius_m,
            spread,
            price.minor / price.per_amount,
            _seconds(min(lot.until_ms, last_ms, day_ms)),
            UNIT_NUMBER[lot.unit],
            flags,
        )

    def _take_out(self, slot: int, lot: BookLot) -> None:
        for key in self._keys(lot, self._labels.find):
            self._buckets.remove(key, slot)
        for label in _labels(lot):
            self._labels.let_go(self._labels.find(label))
        self._in_tier[_tier_of(lot)] -= 1
        row: Any = self._cold[slot]
        self.authors.let_go(int(row["author"]))
        self.brands.let_go(int(self._rest["brand"][slot]))
        self.currencies.let_go(int(row["currency"]))
        self._categories.let_go(self._categories.find(lot.category))
        self._curves.pop(slot, None)
        self._rest["category"][slot] = _FREE
        self._rest["gtin"][slot] = -1
        self._ids.drop(lot.id)
        self._free.append(slot)

    def _keys(self, lot: BookLot, number: Callable[[str], int]) -> list[int]:
        """Return the keys of the buckets that `lot` stands in, with `number` for its labels."""
        tier = _tier_of(lot)
        resolution, _, reach_m = _TIERS[tier]
        compact = 0
        if reach_m is not None:
            compact = _compact(index_cell(lot.cell, resolution), resolution)
        return [_key(number(label), tier, compact) for label in _labels(lot)]

    def _among_all(self, labels: Iterable[str]) -> Slots:
        """Return the slots under any of `labels` by a pass over all lots, some 10 ms a million."""
        category = self._rest["category"][: self._high]
        found = np.zeros(self._high, np.bool_)
        for label in labels:
            if label == EVERYTHING:
                found |= category != _FREE
            elif label.startswith(_GTIN):
                found |= self._rest["gtin"][: self._high] == int(label.removeprefix(_GTIN))
            else:
                found |= np.isin(category, self._categories_under(label))
        return np.flatnonzero(found).astype(np.uint32)

    def _categories_under(self, label: str) -> list[int]:
        if self.side == Side.REQUEST:
            return [number] if (number := self._categories.find(label)) else []
        return [
            number for word, number in self._categories.items() if (word + "/").startswith(label)
        ]


def subtree_label(category: str) -> str:
    """Return the label of the offers in `category` and below."""
    return category + "/"


def gtin_label(gtin: str) -> str:
    """Return the label of the lots that name a product."""
    return _GTIN + gtin


def _labels(lot: BookLot) -> list[str]:
    labels = [EVERYTHING]
    if lot.side == Side.OFFER:
        # A request for "fluids" then finds brake fluid without asking for every fluid.
        labels.extend(subtree_label(above) for above in ancestors(lot.category))
    else:
        labels.append(lot.category)
    if lot.gtin is not None:
        labels.append(gtin_label(lot.gtin))
    return labels


def _tier_of(lot: BookLot) -> int:
    reach_m = DEFAULT_RADIUS_M if lot.radius_m is None else lot.radius_m
    spread = spread_m(lot.cell)
    for tier, (_, spread_tier, reach_tier) in enumerate(_TIERS):
        if spread <= spread_tier and (reach_tier is None or reach_m + spread <= reach_tier):
            return tier
    raise AssertionError("the last grid takes all")


def _standing_at(cell: int, around_m: int, resolution: int) -> tuple[int, int]:
    """Return the grid's cell that holds `cell`, and how far around its centre to look instead.

    Rounded up, so that neighbours share what is remembered of their surroundings.
    """
    at = index_cell(cell, resolution)
    aside_m = distance_m(cell, at)
    return at, around_m + -(-aside_m // _ASIDE_STEP_M) * _ASIDE_STEP_M


@lru_cache(maxsize=COVERS_REMEMBERED)
def _compact_cover(at: int, around_m: int, resolution: int) -> tuple[int, ...] | None:
    cells = cover(at, around_m)
    return None if cells is None else tuple(_compact(near, resolution) for near in cells)


def _compact(cell: int, resolution: int) -> int:
    """Return what differs between cells of `resolution`: base cell and digits."""
    return (cell >> (3 * (15 - resolution))) & ((1 << (7 + 3 * resolution)) - 1)


def _key(label: int, tier: int, compact: int) -> int:
    return (label << _TIER_BITS | tier) << _CELL_BITS | compact


def _seconds(at_ms: int) -> int:
    return min(at_ms // 1000, SECONDS_MAX)
