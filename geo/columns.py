"""What the book's columns stand on: numbers for words, slots for ids, slots by key.

Each of the three costs as little per lot as Python allows, since a million lots are to fit
in 400 MiB, and each gives back what it no longer needs.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

ID_BYTES: Final = 32
Slots = NDArray[np.uint32]
W = TypeVar("W", bound=Hashable)


class Numbers(Generic[W]):
    """Words as small numbers from 1, each kept while something holds it; 0 means no word."""

    def __init__(self) -> None:
        self._number: dict[W, int] = {}
        self._word: list[W | None] = [None]
        self._held: list[int] = [0]
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._number)

    def items(self) -> Iterable[tuple[W, int]]:
        """Return the words held and their numbers."""
        return self._number.items()

    def find(self, word: W | None) -> int:
        """Return the number of `word`, 0 where nothing holds it."""
        return 0 if word is None else self._number.get(word, 0)

    def word(self, number: int) -> W | None:
        """Return the word of `number`."""
        return self._word[number]

    def hold(self, word: W | None) -> int:
        """Return the number of `word` and hold it once more."""
        if word is None:
            return 0
        number = self._number.get(word)
        if number is None:
            if self._free:
                number = self._free.pop()
                self._word[number] = word
            else:
                number = len(self._word)
                self._word.append(word)
                self._held.append(0)
            self._number[word] = number
        self._held[number] += 1
        return number

    def packed(self) -> list[Any]:
        """Return all there is to it, in plain values; see `unpack`."""
        return [self._word, self._held, self._free]

    def unpack(self, word: list[W | None], held: list[int], free: list[int]) -> None:
        """Become what was `packed`."""
        self._word, self._held, self._free = word, held, free
        self._number = {said: at for at, said in enumerate(word) if said is not None}

    def let_go(self, number: int) -> None:
        """Hold the word of `number` once less; the last one frees the number."""
        if number == 0:
            return
        self._held[number] -= 1
        if self._held[number] == 0:
            word = self._word[number]
            assert word is not None
            del self._number[word]
            self._word[number] = None
            self._free.append(number)


class SlotById:
    """Slots by id, open addressing with linear probing: 40 bytes a lot where a dict takes 160.

    Ids can be ground until they share leading bits, so what is looked up is Python's keyed
    hash of them, which differs from process to process.
    """

    _EMPTY: Final = -1
    _GONE: Final = -2

    def __init__(self) -> None:
        self._ids = bytearray()
        self._table = array("i", [self._EMPTY]) * 64
        self._live = 0
        self._used = 0

    def __len__(self) -> int:
        return self._live

    def id_of(self, slot: int) -> bytes:
        """Return the id that was put at `slot`."""
        return bytes(self._ids[slot * ID_BYTES : (slot + 1) * ID_BYTES])

    def find(self, lot_id: bytes) -> int:
        """Return the slot of `lot_id`, -1 where there is none."""
        at = self._seek(lot_id)
        return -1 if at < 0 else self._table[at]

    @property
    def ids(self) -> bytearray:
        """The ids by slot, one behind the other; where nothing is, what was there last."""
        return self._ids

    def unpack(self, ids: bytes, slots: Sequence[int]) -> None:
        """Become what holds `ids` at `slots` and nothing else."""
        self._ids, self._live = bytearray(ids), len(slots)
        self._rehash(slots)

    def put(self, lot_id: bytes, slot: int) -> None:
        """Remember that `lot_id`, which is not here yet, is at `slot`."""
        assert len(lot_id) == ID_BYTES
        # At most two thirds full, the graves counted, or probing grows long.
        if 3 * (self._used + 1) > 2 * len(self._table):
            self._rehash([slot for slot in self._table if slot >= 0])
        lack = (slot + 1) * ID_BYTES - len(self._ids)
        if lack > 0:
            self._ids.extend(bytes(lack))
        self._ids[slot * ID_BYTES : (slot + 1) * ID_BYTES] = lot_id
        self._place(lot_id, slot)
        self._live += 1

    def drop(self, lot_id: bytes) -> None:
        """Forget `lot_id`, which is here."""
        at = self._seek(lot_id)
        assert at >= 0
        self._table[at] = self._GONE
        self._live -= 1

    def _seek(self, lot_id: bytes) -> int:
        table, mask = self._table, len(self._table) - 1
        at = hash(lot_id) & mask
        while (slot := table[at]) != self._EMPTY:
            if slot >= 0 and self._ids[slot * ID_BYTES : (slot + 1) * ID_BYTES] == lot_id:
                return at
            at = (at + 1) & mask
        return -1

    def _place(self, lot_id: bytes, slot: int) -> None:
        table, mask = self._table, len(self._table) - 1
        at = hash(lot_id) & mask
        while table[at] >= 0:
            at = (at + 1) & mask
        if table[at] == self._EMPTY:
            self._used += 1
        table[at] = slot

    def _rehash(self, slots: Sequence[int]) -> None:
        size = len(self._table)
        while 2 * len(slots) + 2 > size:
            size *= 2
        table = array("i", [self._EMPTY]) * size
        mask, ids = size - 1, bytes(self._ids)
        for slot in slots:
            at = hash(ids[slot * ID_BYTES : (slot + 1) * ID_BYTES]) & mask
            while table[at] != self._EMPTY:
                at = (at + 1) & mask
            table[at] = slot
        self._table, self._used = table, len(slots)


class SlotsByKey:
    """Slots in buckets by an integer key. A bucket of one is a bare number, a third the size."""

    def __init__(self) -> None:
        self._buckets: dict[int, int | array[int]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def __contains__(self, key: int) -> bool:
        return key in self._buckets

    def add(self, key: int, slot: int) -> None:
        """Put `slot` into the bucket of `key`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = slot
        elif isinstance(bucket, int):
            self._buckets[key] = array("I", (bucket, slot))
        else:
            bucket.append(slot)

    def remove(self, key: int, slot: int) -> None:
        """Take `slot`, which is there, out of the bucket of `key`; the order is not kept."""
        bucket = self._buckets[key]
        if isinstance(bucket, int):
            assert bucket == slot
            del self._buckets[key]
            return
        # A view, not a copy; it must be gone before the array may shrink.
        at = int(np.flatnonzero(np.frombuffer(bucket, np.uint32) == slot)[0])
        last = bucket.pop()
        if at < len(bucket):
            bucket[at] = last
        if len(bucket) == 1:
            self._buckets[key] = bucket[0]

    def packed(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Slots]:
        """Return keys, sizes of their buckets, and the slots in them, one after the other."""
        sizes = [1 if isinstance(b, int) else len(b) for b in self._buckets.values()]
        slots = array("I")
        for bucket in self._buckets.values():
            if isinstance(bucket, int):
                slots.append(bucket)
            else:
                slots.extend(bucket)
        keys = np.fromiter(self._buckets, np.int64, len(sizes))
        return keys, np.array(sizes, np.int64), np.frombuffer(slots.tobytes(), np.uint32)

    def unpack(self, keys: NDArray[np.int64], sizes: NDArray[np.int64], slots: Slots) -> None:
        """Become what was `packed`."""
        if int(sizes.sum()) != len(slots) or len(keys) != len(sizes):
            raise ValueError("buckets that do not add up")
        whole, start = slots.tobytes(), 0
        self._buckets = {}
        for key, size in zip(keys.tolist(), sizes.tolist(), strict=True):
            bucket = array("I", whole[4 * start : 4 * (start + size)])
            self._buckets[key] = bucket[0] if size == 1 else bucket
            start += size

    def gather(self, keys: Iterable[int]) -> Slots:
        """Return the slots in the buckets of `keys`, in one new array."""
        get = self._buckets.get
        singles = array("I")
        many: list[array[int]] = [singles]
        for key in keys:
            bucket = get(key)
            if bucket is None:
                continue
            if isinstance(bucket, int):
                singles.append(bucket)
            else:
                many.append(bucket)
        return np.frombuffer(b"".join(many), np.uint32)
