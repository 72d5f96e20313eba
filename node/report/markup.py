"""HTML and SVG that escape by construction: text is data unless this module made it markup."""

from __future__ import annotations

from html import escape
from typing import Final

_VOID: Final = frozenset({"br", "meta"})


class Markup(str):
    """Text that is markup already. Only `tag`, `style` and `join` make it."""

    __slots__ = ()


def clean(text: str) -> str:
    """Return text without what could steer the reader: controls, and marks that turn it round."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element; children that are not markup are escaped, None is left out.

    An attribute is named as in Python (`class_`, `aria_label`); one that is None is left out.
    Names of elements and attributes are the program's own, never anybody's text.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(clean(str(value)), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def join(*parts: object) -> Markup:
    """Return parts behind each other, escaping those that are not markup."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else escape(clean(str(part)), quote=True)
            for part in parts
            if part is not None
        )
    )


def style(rules: str) -> Markup:
    """Return a style element of the program's own rules.

    Within it nothing is escaped, so nothing of anybody else's may be in `rules`.
    """
    return Markup(f"<style>{rules}</style>")
