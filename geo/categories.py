"""Categories: lower-case paths such as "fluids/brake-fluid".

"fluids" takes in all that lies below it, by whole segments: "fluids/coolant", not
"fluidscales". The words are free; a common list can grow without any code knowing it.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from passby.protocol.errors import Code, RemoteError, UsageError
from passby.protocol.limits import CATEGORY_DEPTH_MAX

SEPARATOR: Final = "/"
_LENGTH_MAX: Final = 64


def is_category(text: str) -> bool:
    """Return whether `text` is a category: lower-case letters, digits and "-" between "/"."""
    segments = text.split(SEPARATOR)
    return (
        len(text) <= _LENGTH_MAX
        and len(segments) <= CATEGORY_DEPTH_MAX
        and text == text.lower()
        and all(
            segment and all(letter.isalnum() or letter == "-" for letter in segment)
            for segment in segments
        )
    )


def peer_category(text: str) -> str:
    """Return `text`, a category from a peer.

    Raises:
        RemoteError: not a category.
    """
    if not is_category(text):
        raise RemoteError(Code.BAD_PAYLOAD, "a category that is no lower-case path")
    return text


def parse_category(text: str) -> str:
    """Return the category that a person meant: "Fluids / Brake fluid" is "fluids/brake-fluid".

    Raises:
        UsageError: nothing that could be a category.
    """
    segments = unicodedata.normalize("NFC", text).lower().split(SEPARATOR)
    path = SEPARATOR.join("-".join(segment.split()) for segment in segments)
    if not is_category(path):
        raise UsageError(
            f"{text!r} is no category.",
            f"Write up to {CATEGORY_DEPTH_MAX} words or phrases with {SEPARATOR} between, as in "
            "fluids/brake-fluid.",
        )
    return path


def ancestors(category: str) -> tuple[str, ...]:
    """Return `category` and all that take it in, the widest first."""
    segments = category.split(SEPARATOR)
    return tuple(SEPARATOR.join(segments[: size + 1]) for size in range(len(segments)))


def takes_in(wide: str, narrow: str) -> bool:
    """Return whether `wide` is `narrow` or lies above it."""
    return narrow == wide or narrow.startswith(wide + SEPARATOR)
