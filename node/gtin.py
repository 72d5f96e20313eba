"""Product codes: GS1's GTIN, checked and in one form."""

from __future__ import annotations

import re
from typing import Final

from passby.node.quantities import shown
from passby.protocol.errors import UsageError
from passby.protocol.limits import TYPED_MAX

LENGTHS: Final = (8, 12, 13, 14)
_PADDED_MIN: Final = 6
"""Spreadsheets drop leading zeros; below six digits it is rather somebody's own number."""


def parse_gtin(text: str, *, padded: bool = False) -> str:
    """Return the GTIN in `text` in the shortest of its forms of 8, 13 or 14 digits.

    One product so has one code, whether its twelve digits were typed with a leading zero or
    without. Spaces and hyphens are passed over. With `padded`, leading zeros that a
    spreadsheet dropped are put back.

    Raises:
        UsageError: not digits, not 8, 12, 13 or 14 of them, or a wrong check digit.
    """
    digits = re.sub(r"[\s-]", "", text) if len(text) <= TYPED_MAX else text
    if not re.fullmatch(r"[0-9]{1,14}", digits) or not digits.strip("0"):
        raise UsageError(
            f'"{shown(text)}" is not a GTIN', "give the 8, 12, 13 or 14 digits under the bar code"
        )
    if len(digits) not in LENGTHS and not (padded and len(digits) >= _PADDED_MIN):
        raise UsageError(
            f"{digits} has {len(digits)} digits, where a GTIN has 8, 12, 13 or 14",
            "give all digits under the bar code, with leading zeros",
        )
    expected = _check_digit(digits[:-1])
    if digits[-1] != expected:
        raise UsageError(
            f"{digits} ends in {digits[-1]}, where its check digit would be {expected}",
            "compare it with the digits under the bar code: one is mistyped",
        )
    bare = digits.lstrip("0")
    return bare.zfill(next(n for n in (8, 13, 14) if len(bare) <= n))


def _check_digit(digits: str) -> str:
    from stdnum.ean import calc_check_digit

    return calc_check_digit(digits)
