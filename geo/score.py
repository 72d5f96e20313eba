"""How good a match is, in points out of a thousand, and why.

Hard rules have already said that the two fit; this says which of several to show first.
Everything is integer arithmetic on whole metres, seconds and minor units, so that two nodes
with the same view and the same trust arrive at the same points. Each part falls off as
half / (half + x): never quite to nothing, and the same for everyone at the same x.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple, assert_never


class Part(StrEnum):
    """What the points are given for."""

    SURPLUS = "surplus"
    DISTANCE = "distance"
    EXPIRY = "expiry"
    TRUST = "trust"
    FRESHNESS = "freshness"


WEIGHTS: Final[dict[Part, int]] = {
    Part.SURPLUS: 300,
    Part.DISTANCE: 250,
    Part.EXPIRY: 200,
    Part.TRUST: 150,
    Part.FRESHNESS: 100,
}
"""The most points of each part; a thousand together."""
DISTANCE_HALF_M: Final = 1_000
"""At this distance half the points for it are left."""
EXPIRY_HALF_S: Final = 14 * 24 * 3600
"""With this long to go half the points for using goods before they spoil are left."""
FRESHNESS_HALF_S: Final = 24 * 3600
"""At this age half the points for being new are left."""
TRUST_SCALE: Final = 1_000
"""Trust comes as a number from 0 to 1 and counts in thousandths."""

_PARTS: Final = tuple(Part)
_DAY_S: Final = 24 * 3600


class Features(NamedTuple):
    """What a match is judged by.

    Attributes:
        total_minor, limit_minor: what it costs, and the most that would be paid.
        distance_m: between the two cells.
        left_s: until best-before, None where there is none.
        trust: in the other side's author, 0 to `TRUST_SCALE`.
        age_s: of the other side's lot.
    """

    total_minor: int
    limit_minor: int
    distance_m: int
    left_s: int | None
    trust: int
    age_s: int


class Reason(NamedTuple):
    """One part of a score: what was seen, what it could give, what it gave, and in words."""

    part: Part
    value: int
    weight: int
    points: int
    words: str


def trust_in_thousandths(trust: float) -> int:
    """Return `trust` as `Features` has it; what lies outside 0 to 1 is brought inside."""
    return int(min(max(trust, 0.0), 1.0) * TRUST_SCALE)


def points_of(part: Part, features: Features) -> int:
    """Return the points that `features` earn for `part`, 0 to its weight."""
    weight = WEIGHTS[part]
    match part:
        case Part.SURPLUS:
            limit = features.limit_minor
            return weight * (limit - features.total_minor) // limit if limit else 0
        case Part.DISTANCE:
            return weight * DISTANCE_HALF_M // (DISTANCE_HALF_M + features.distance_m)
        case Part.EXPIRY:
            left_s = features.left_s
            return 0 if left_s is None else weight * EXPIRY_HALF_S // (EXPIRY_HALF_S + left_s)
        case Part.TRUST:
            return weight * features.trust // TRUST_SCALE
        case Part.FRESHNESS:
            return weight * FRESHNESS_HALF_S // (FRESHNESS_HALF_S + features.age_s)
        case _:
            assert_never(part)


def score(features: Features) -> int:
    """Return the points of all parts together, 0 to 1000."""
    return sum([points_of(part, features) for part in _PARTS])


def explain(features: Features) -> list[Reason]:
    """Return a reason for each part, in their order; their points add up to the score."""
    reasons = []
    for part in Part:
        value, words = _told(part, features)
        reasons.append(Reason(part, value, WEIGHTS[part], points_of(part, features), words))
    return reasons


def _told(part: Part, features: Features) -> tuple[int, str]:
    """Return the value of `part` (minor units, metres, seconds or thousandths) and its words."""
    match part:
        case Part.SURPLUS:
            surplus = features.limit_minor - features.total_minor
            return surplus, _told_surplus(features)
        case Part.DISTANCE:
            return features.distance_m, _told_distance(features.distance_m)
        case Part.EXPIRY:
            left_s = features.left_s
            if left_s is None:
                return 0, "does not spoil"
            return left_s, f"best before {_span(left_s)} from now"
        case Part.TRUST:
            trust = features.trust
            if trust == 0:
                return 0, "nobody you trust has traded with them"
            return trust, f"trusted {trust * 100 // TRUST_SCALE} %"
        case Part.FRESHNESS:
            return features.age_s, f"listed {_span(features.age_s)} ago"
        case _:
            assert_never(part)


def _told_surplus(features: Features) -> str:
    if features.total_minor == 0:
        return "free of charge"
    percent = 100 * (features.limit_minor - features.total_minor) // features.limit_minor
    return f"{percent} % below the limit" if percent else "just within the limit"


def _told_distance(distance_m: int) -> str:
    if distance_m == 0:
        return "in the same cell"
    if distance_m < 1000:
        return f"{distance_m} m away"
    return f"{distance_m // 1000}.{distance_m % 1000 // 100} km away"


def _span(seconds: int) -> str:
    for unit, size in (("day", _DAY_S), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return "less than a minute"
