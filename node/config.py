"""config.toml: what the person chose, read strictly and written back with its comments.

A key that nobody knows is an error and not a silent wish; the nearest known key is named.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from passby.protocol.errors import ConfigError, UsageError
from passby.protocol.limits import DEFAULT_RADIUS_M

if TYPE_CHECKING:
    from pathlib import Path

PORT: Final = 4411
"""Where a node listens unless told."""

BOOTSTRAP_MAX: Final = 64
"""Each is dialled at the start, and again until it answers."""

Address = Annotated[
    str, Meta(max_length=512, pattern=r"^(/[a-z0-9]+/[^/,]+(/[^/,]+)+|passby://join/[\w-]+)$")
]
Listening = Annotated[
    str, Meta(max_length=512, pattern=r"^/ip[46]/[0-9A-Fa-f.:]+/tcp/[0-9]{1,5}(/[^/,]+)*$")
]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything config.toml may say, with its defaults."""

    name: Annotated[str, Meta(min_length=1, max_length=120)]
    cell: Annotated[str, Meta(pattern=r"^[0-9a-f]{15}$")]
    listen: Annotated[tuple[Listening, ...], Meta(max_length=16)] = (f"/ip4/0.0.0.0/tcp/{PORT}",)
    bootstrap: Annotated[tuple[Address, ...], Meta(max_length=BOOTSTRAP_MAX)] = ()
    mdns: bool = True
    witness: bool = True
    radius_m: Annotated[int, Meta(ge=0, le=20_000_000)] = DEFAULT_RADIUS_M
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] = "EUR"
    measure: Annotated[str, Meta(pattern=r"^(us|imperial)$")] | None = None
    language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"
    retention_days: Annotated[int, Meta(ge=0, le=36_500)] = 365
    place: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    pay_to: Annotated[str, Meta(pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9 ]{10,40}$")] | None = None
    stock_folder: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    log_level: Annotated[str, Meta(pattern=r"^(debug|info|warning|error)$")] = "info"


KEYS: Final[dict[str, str]] = {
    "name": "what neighbours see",
    "cell": "the home cell, H3 resolution 8; nothing finer is published",
    "listen": "where neighbours reach this node, as multiaddresses",
    "bootstrap": "whom to call at the start, as multiaddresses ending in /p2p/...",
    "mdns": "find neighbours on the home network",
    "witness": "cosign the checkpoints of neighbours' chains",
    "radius_m": "how far a lot is worth the way, metres",
    "currency": "of a price typed without one, ISO 4217",
    "measure": "what a quart is: us or imperial; asked when first needed",
    "language": "for dates and words",
    "retention_days": "how far back others' chains are kept whole, days; 0 keeps everything",
    "place": "where to come, told sealed to the other side once a trade is confirmed",
    "pay_to": "the IBAN to pay to, told sealed to a taker once the trade is binding",
    "stock_folder": "a folder whose stock files are kept in step with your offers",
    "log_level": "debug, info, warning or error",
}
"""Every key with what it means."""

_ALLOWED: Final[dict[str, str]] = {
    "name": "1 to 120 characters",
    "cell": "15 hex digits, as in 88196953a7fffff",
    "listen": 'a list such as ["/ip4/0.0.0.0/tcp/4411"]',
    "bootstrap": 'a list such as ["/ip4/192.0.2.1/tcp/4411/p2p/12D3..."]',
    "mdns": "true or false",
    "witness": "true or false",
    "radius_m": "a whole number of metres, 0 to 20000000",
    "currency": "three capital letters, as in EUR",
    "measure": '"us" or "imperial"',
    "language": 'a language tag, as in "en" or "pt-BR"',
    "retention_days": "a whole number of days, 0 to 36500",
    "place": "1 to 500 characters, or none",
    "pay_to": "an IBAN, as in NL91 ABNA 0417 1643 00, or none",
    "stock_folder": "the path of a folder, or none",
    "log_level": '"debug", "info", "warning" or "error"',
}


def load(path: Path) -> Config:
    """Read and check the file.

    Raises:
        ConfigError: unreadable, not TOML, an unknown key, or a value that does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Put it back or mend it.") from error
    return parse(text, str(path))


def parse(text: str, where: str = "config.toml") -> Config:
    """Return the configuration in TOML `text`; errors name `where`.

    Raises:
        ConfigError: not TOML, an unknown key, or a value that does not fit.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not TOML: {error}.", f"Mend that line in {where}.") from None
    for key in found:
        if key not in KEYS:
            raise ConfigError(f"{where}: there is no key {key!r}.", nearest(key))
    return _convert(found, where)


def _convert(found: dict[str, Any], where: str) -> Config:
    try:
        config = msgspec.convert(found, Config, strict=True)
    except msgspec.ValidationError as error:
        match = re.search(r"(?:`\$\.|required field `)(\w+)", str(error))
        key = match.group(1) if match else ""
        if key in KEYS and key not in found:
            raise ConfigError(
                f"{where}: {key} is missing.", f"Add {key}: {_ALLOWED[key]}."
            ) from None
        raise ConfigError(
            f"{where}: {key or 'a value'} does not fit"
            + (f" ({found[key]!r})." if key in found else f": {error}."),
            f"{key} is {_ALLOWED[key]}." if key in KEYS else "",
        ) from None
    from passby.geo.cells import PUBLISHED_RESOLUTION, is_cell, resolution_of

    name = unicodedata.normalize("NFC", config.name)
    if not name.strip():
        raise ConfigError(f"{where}: the name is empty.", f"name is {_ALLOWED['name']}.")
    cell = int(config.cell, 16)
    if not is_cell(cell) or resolution_of(cell) != PUBLISHED_RESOLUTION:
        raise ConfigError(
            f"{where}: cell {config.cell!r} is no H3 cell of resolution 8.",
            "`passby init` finds it from coordinates; it looks like 88196953a7fffff.",
        )
    return msgspec.structs.replace(config, name=name)


def nearest(key: str) -> str:
    """Return a hint that names the known key closest to `key`, or all of them."""
    import difflib

    close = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(KEYS)}."


def render(config: Config) -> str:
    """Return the whole file for `config`, each key under what it means."""
    lines = ["# passby: this node's choices. `passby config check` reads it over.", ""]
    for key, meaning in KEYS.items():
        value = getattr(config, key)
        lines += [f"# {meaning}", f"# {key} =" if value is None else f"{key} = {_toml(value)}", ""]
    return "\n".join(lines)


def render_fields(fields: dict[str, object]) -> str:
    """Return TOML of just these keys, for `parse` to judge and to fill with defaults."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in fields.items())


def with_value(text: str, key: str, typed: str) -> str:
    """Return the file `text` with `key` set to what the person typed; comments stay.

    Lists are typed with commas, `none` takes an optional key out.

    Raises:
        UsageError: an unknown key, or a value that does not fit.
        ConfigError: `text` itself is not in order.
    """
    if key not in KEYS:
        raise UsageError(f"There is no key {key!r}.", nearest(key))
    config = parse(text)
    value = _typed(key, typed)
    try:
        changed = _convert({**_plain(config), key: value}, "config.toml")
    except ConfigError:
        raise UsageError(f"{key} cannot be {typed!r}.", f"It is {_ALLOWED[key]}.") from None
    line = f"# {key} =" if value is None else f"{key} = {_toml(value)}"
    pattern = re.compile(rf"^[ \t]*(?:#[ \t]*)?{key}[ \t]*=.*$", re.MULTILINE)
    edited, count = pattern.subn(lambda _: line, text, count=1)
    if not count:
        edited = text.rstrip("\n") + f"\n\n{line}\n"
    try:
        if parse(edited) == changed:
            return edited
    except ConfigError:
        pass  # a value over several lines: only the whole file written anew is right
    return render(changed)


def _plain(config: Config) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(config)
    return plain


def _typed(key: str, typed: str) -> str | int | bool | list[str] | None:
    """Return what was typed as the type that `key` has, or as it is when it has none of it."""
    default = Config.__struct_defaults__
    fields = dict(zip(Config.__struct_fields__[-len(default) :], default, strict=True))
    match fields.get(key, ""):
        case bool():
            words = {"true": True, "yes": True, "on": True, "false": False, "no": False}
            return {**words, "off": False}.get(typed.lower(), typed)
        case int():
            return int(typed) if re.fullmatch(r"[0-9]{1,9}", typed) else typed
        case tuple():
            return [part.strip() for part in typed.split(",") if part.strip()]
        case None if typed.lower() in {"none", ""}:
            return None
        case _:
            return typed


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case list() | tuple():
            return "[" + ", ".join(_toml(part) for part in value) + "]"
        case _:
            # JSON's strings are TOML's, but for DEL.
            return msgspec.json.encode(str(value)).decode().replace("\x7f", "\\u007f")
