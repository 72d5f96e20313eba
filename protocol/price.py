"""The price rule: integer minor units, the same on every node at the same minute.

A price is [minor, per_amount, currency]: `minor` minor units (cents) for every `per_amount`
base units. A curve replaces `minor` by knots (at_ms, minor), linear between and constant
outside. What is owed is rounded once, up, on the whole amount.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec

from passby.protocol.limits import AMOUNT_MAX

KNOTS_MAX: Final = 16
"""A price curve of sixteen corners follows any sensible markdown."""


class Price(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`minor` of `currency` (ISO 4217) for each `per_amount` base units; 0 is a gift."""

    minor: int
    per_amount: int
    currency: str
    knots: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no honest node writes (ValueError, which msgspec reports as its own)."""
        if not 0 <= self.minor <= AMOUNT_MAX or not 1 <= self.per_amount <= AMOUNT_MAX:
            raise ValueError("a price out of range")
        if len(self.currency) != 3 or not (self.currency.isascii() and self.currency.isupper()):
            raise ValueError("a currency is three capital letters")
        if len(self.knots) > KNOTS_MAX:
            raise ValueError(f"more than {KNOTS_MAX} knots")
        if any(not 0 <= at <= AMOUNT_MAX or not 0 <= m <= AMOUNT_MAX for at, m in self.knots):
            raise ValueError("a knot out of range")
        if any(later[0] <= earlier[0] for earlier, later in pairwise(self.knots)):
            raise ValueError("knots must rise in time")

    def minor_at(self, at_ms: int) -> int:
        """Return the minor units per `per_amount` at `at_ms`, floored between knots."""
        knots = self.knots
        if not knots:
            return self.minor
        if at_ms <= knots[0][0]:
            return knots[0][1]
        for (start, low), (end, high) in pairwise(knots):
            if at_ms < end:
                return low + (high - low) * (at_ms - start) // (end - start)
        return knots[-1][1]

    def total_minor(self, amount: int, at_ms: int) -> int:
        """Return what `amount` base units cost at `at_ms`: ceil(amount x minor / per_amount)."""
        return -(-amount * self.minor_at(at_ms) // self.per_amount)
