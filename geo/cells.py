"""Places as H3 cells, held as integers: from degrees and text, upwards, and how far apart.

H3's own exceptions stay here. A cell that a peer sent goes through `peer_cell`, one that a
person typed through `parse_place`; every other function takes a cell that passed one of
them, and a wrong one is a bug of ours.
"""

from __future__ import annotations

import math
import re
from typing import Final

import h3.api.basic_int as h3

from passby.protocol.errors import Code, RemoteError, UsageError
from passby.protocol.limits import CELL_RESOLUTION_MAX, CELL_RESOLUTION_MIN, TOPIC_RESOLUTION

EARTH_RADIUS_M: Final = 6_371_007.180918475
"""The mean radius that H3 itself reckons with (WGS 84 authalic)."""
PUBLISHED_RESOLUTION: Final = 8
"""Where a lot says it is unless its author chooses otherwise: 0.74 km2."""

_EDGE_M: Final[tuple[float, ...]] = tuple(
    h3.average_hexagon_edge_length(at, "m") for at in range(16)
)
_EDGE_STRETCH: Final = 1.12
"""A cell's farthest corner, in average edges: at most 1.102 in 20,000 cells and all pentagons."""
_CELL_TEXT: Final = re.compile(r"(?:0x)?([0-9a-f]{15,16})", re.IGNORECASE)
_UINT64_MAX: Final = 2**64 - 1


def is_cell(value: object) -> bool:
    """Return whether `value` is the integer of a valid H3 cell, of any resolution."""
    return type(value) is int and 0 <= value <= _UINT64_MAX and bool(h3.is_valid_cell(value))


def peer_cell(value: object) -> int:
    """Return `value`, a cell from a peer, if it may stand in a lot.

    Raises:
        RemoteError: no cell, or one coarser than a topic.
    """
    if not isinstance(value, int) or not is_cell(value):
        raise RemoteError(Code.BAD_FIELD, "a place that is no cell")
    if not CELL_RESOLUTION_MIN <= h3.get_resolution(value) <= CELL_RESOLUTION_MAX:
        raise RemoteError(Code.BAD_FIELD, "a cell coarser than a topic")
    return value


def cell_at(latitude: float, longitude: float, resolution: int = PUBLISHED_RESOLUTION) -> int:
    """Return the cell of `resolution` (0 to 15) that holds a point in degrees.

    Raises:
        UsageError: degrees that are nowhere on Earth, or a resolution out of range.
    """
    if not (math.isfinite(latitude) and -90 <= latitude <= 90):
        raise UsageError(
            f"{latitude} is no latitude.",
            "Write latitude first, between -90 and 90 degrees, as in 52.375,4.884.",
        )
    if not (math.isfinite(longitude) and -180 <= longitude <= 180):
        raise UsageError(
            f"{longitude} is no longitude.",
            "Write longitude second, between -180 and 180 degrees, as in 52.375,4.884.",
        )
    if not 0 <= resolution <= CELL_RESOLUTION_MAX:
        raise UsageError(
            f"{resolution} is no cell resolution.", "Choose 0 (widest) to 15 (a square metre)."
        )
    return int(h3.latlng_to_cell(latitude, longitude, resolution))


def parse_place(text: str, resolution: int = PUBLISHED_RESOLUTION) -> int:
    """Return the cell that `text` names: "52.375,4.884" at `resolution`, or a cell as it is.

    Raises:
        UsageError: neither degrees nor a cell.
    """
    plain = text.strip()
    if cell := _CELL_TEXT.fullmatch(plain):
        return parse_cell(cell[1])
    parts = plain.replace(",", " ").split()
    try:
        latitude, longitude = (float(part) for part in parts)
    except ValueError:
        raise UsageError(
            f"{text!r} is no place.",
            "Write latitude and longitude in degrees, as in 52.375,4.884, or an H3 cell.",
        ) from None
    return cell_at(latitude, longitude, resolution)


def parse_cell(text: str) -> int:
    """Return the cell whose hexadecimal text is `text`.

    Raises:
        UsageError: not the text of a cell.
    """
    written = _CELL_TEXT.fullmatch(text.strip())
    value = int(written[1], 16) if written else -1
    if not is_cell(value):
        raise UsageError(
            f"{text!r} is no H3 cell.", "A cell is 15 hexadecimal digits, as in 881969516bfffff."
        )
    return value


def cell_text(cell: int) -> str:
    """Return `cell` in H3's usual text form, hexadecimal."""
    return f"{cell:x}"


def resolution_of(cell: int) -> int:
    """Return the resolution of `cell`, 0 (widest) to 15."""
    return int(h3.get_resolution(cell))


def parent_at(cell: int, resolution: int) -> int:
    """Return the cell of `resolution` above `cell`, or `cell` where it is as coarse or coarser."""
    if h3.get_resolution(cell) <= resolution:
        return cell
    return int(h3.cell_to_parent(cell, resolution))


def topic_cell(cell: int) -> int:
    """Return the cell whose gossip topic a lot at `cell` belongs to."""
    return parent_at(cell, TOPIC_RESOLUTION)


def index_cell(cell: int, resolution: int) -> int:
    """Return the cell of `resolution` that holds the centre of `cell`, finer or coarser."""
    latitude, longitude = h3.cell_to_latlng(cell)
    return int(h3.latlng_to_cell(latitude, longitude, resolution))


def centre_of(cell: int) -> tuple[float, float]:
    """Return the centre of `cell`: latitude and longitude in degrees."""
    latitude, longitude = h3.cell_to_latlng(cell)
    return latitude, longitude


def unit_vector(cell: int) -> tuple[float, float, float]:
    """Return the centre of `cell` as a point on the unit sphere: x, y, z."""
    latitude, longitude = map(math.radians, h3.cell_to_latlng(cell))
    ring = math.cos(latitude)
    return ring * math.cos(longitude), ring * math.sin(longitude), math.sin(latitude)


def distance_m(one: int, other: int) -> int:
    """Return whole metres between the centres of two cells, along the great circle.

    Rounded, so that machines whose trigonometry differs in the last bit agree.
    """
    if one == other:
        return 0
    metres: float = h3.great_circle_distance(h3.cell_to_latlng(one), h3.cell_to_latlng(other), "m")
    return round(metres)


def edge_m(resolution: int) -> float:
    """Return the average edge of a cell of `resolution`, metres."""
    return _EDGE_M[resolution]


def reach_of_cell_m(resolution: int) -> float:
    """Return how far the farthest point of any cell of `resolution` is from its centre, metres."""
    return _EDGE_STRETCH * _EDGE_M[resolution]


def spread_m(cell: int) -> int:
    """Return how far from its centre a lot at `cell` may be without that being counted, metres.

    0 for cells as fine as lots are published by default. A coarser one says "somewhere in
    here": its author hid among few, and is given the benefit of the doubt.
    """
    return spread_at_m(h3.get_resolution(cell))


def spread_at_m(resolution: int) -> int:
    """Return the spread of a cell of `resolution`: its average edge, or 0."""
    return 0 if resolution >= PUBLISHED_RESOLUTION else round(_EDGE_M[resolution])
