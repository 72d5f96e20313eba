"""init and config: the home and the choices in it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

import click

from passby.node.cli import show
from passby.node.cli.frame import Group, Session, command
from passby.protocol.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from passby.node.home import Home

TRIP_NAME: Final = "traveller"
"""What neighbours see of somebody passing through who gives no name."""


@command(
    "init",
    'passby init --at 52.375,4.884 --name "Anna on the corner"',
    "passby --home /tmp/a init --at 52.375,4.884 --name Anna --yes \\",
    "    --listen /ip4/127.0.0.1/tcp/4411",
    "passby init --at 52.375,4.884 --trip",
)
@click.option(
    "--at",
    "place",
    metavar="PLACE",
    help="Home: latitude,longitude or an H3 cell. Only the cell (0.7 km²) is kept and shown.",
)
@click.option("--name", metavar="NAME", help="What neighbours see.")
@click.option("--listen", multiple=True, metavar="MULTIADDR", help="Where neighbours reach you.")
@click.option("--bootstrap", multiple=True, metavar="MULTIADDR", help="Whom to call at the start.")
@click.option("--mdns/--no-mdns", default=True, help="Find neighbours on the home network.")
@click.option("--currency", metavar="ISO4217", help="Of prices typed without one; EUR unless told.")
@click.option("--measure", type=click.Choice(["us", "imperial"]), help="Whose quarts are meant.")
@click.option(
    "--for",
    "person",
    metavar="ROOT",
    help="A further device of this person: `passby id` shows the root on the others.",
)
@click.option("--trip", is_flag=True, help="A device whose chain does not show whose it is.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def init_command(
    session: Session,
    *,
    place: str | None,
    name: str | None,
    listen: tuple[str, ...],
    bootstrap: tuple[str, ...],
    mdns: bool,
    currency: str | None,
    measure: str | None,
    person: str | None,
    trip: bool,
    yes: bool,
) -> None:
    """Make a home. Keys for this device, backup words for you, a cell for your offers."""
    from passby.geo.cells import PUBLISHED_RESOLUTION, cell_text, parent_at, parse_place
    from passby.node.config import parse, render_fields
    from passby.node.home import Home

    Home.refuse_taken(session.path)
    root = None if person is None else _root(person)
    if name is None and trip:
        name = TRIP_NAME
    if name is None:
        name = session.ask("Your name for the neighbours", "--name NAME")
    if place is None:
        place = session.ask("Your home (latitude,longitude)", "--at 52.375,4.884")
    cell = parent_at(parse_place(place), PUBLISHED_RESOLUTION)
    fields: dict[str, object] = {
        "name": unicodedata.normalize("NFC", name.strip()),
        "cell": cell_text(cell),
        "mdns": mdns,
    }
    told = {
        "listen": list(listen),
        "bootstrap": list(bootstrap),
        "currency": currency and currency.upper(),
        "measure": measure,
    }
    fields |= {key: value for key, value in told.items() if value}
    try:
        config = parse(render_fields(fields), "init")
    except ConfigError as error:
        message = error.message.removeprefix("init: ")
        raise UsageError(message, error.hint) from None
    if root is not None:
        home = Home.create_for(session.path, config, root, now_ms=show.now_ms(), trip=trip)
        _await_certificate(session, home)
        return
    home, words = Home.create(session.path, config, now_ms=show.now_ms(), trip=trip)
    answer = {
        "home": str(home.path),
        "name": config.name,
        "cell": config.cell,
        "author": home.ledger_key().public.hex(),
        "listen": list(config.listen),
        "words": words,
    }
    session.out(answer, lambda: _welcome(session, config.cell, words))
    if session.can_ask and not yes:
        click.pause("Press any key when the words are on paper ...")
        click.clear()


def _root(text: str) -> bytes:
    from passby.protocol.keys import is_point

    try:
        root = bytes.fromhex(text.strip())
    except ValueError:
        root = b""
    if not is_point(root):
        raise UsageError(
            f"{text!r} is no root.", "Copy all 64 digits that `passby id` shows as root."
        )
    return root


def _await_certificate(session: Session, home: Home) -> None:
    device = home.ledger_key().public.hex()
    answer = {"home": str(home.path), "author": device, "awaits": "certificate"}
    session.out(
        answer,
        lambda: [
            f"Your home is {session.path}; its device waits to be certified.",
            f"On your other device: passby device add {device}",
            f"Then here: {session.line('device accept')} CERTIFICATE",
        ],
    )


def _welcome(session: Session, cell: str, words: str) -> list[str]:
    parts = words.split()
    rows = [
        "  " + "  ".join(f"{at + 1:2} {parts[at]:<9}" for at in range(row, row + 6)).rstrip()
        for row in range(0, len(parts), 6)
    ]
    return [
        f"Your home is {session.path}, in cell {cell}.",
        "",
        "These 24 words are your root key. They are shown once and kept nowhere:",
        "write them down and keep the paper. They bring back your name if this device is lost.",
        "",
        *rows,
        "",
        f"Next: {session.line('up')}",
    ]


config_command = Group("config", help="Read and change config.toml.")
config_command.examples = ("passby config set currency GBP",)


@config_command.add("get", "passby config get", "passby config get listen")
@click.argument("key", required=False)
def config_get(session: Session, *, key: str | None) -> None:
    """Show one choice, or all of them."""
    from passby.node.config import KEYS, nearest

    config = session.home.config()
    if key is not None and key not in KEYS:
        raise UsageError(f"There is no key {key!r}.", nearest(key))
    values = {name: getattr(config, name) for name in ([key] if key else KEYS)}
    session.out(
        values,
        lambda: (
            [_shown(value) for value in values.values()]
            if key
            else show.facts([(name, _shown(value) or "-") for name, value in values.items()])
        ),
    )


@config_command.add(
    "set", "passby config set currency GBP", "passby config set listen /ip4/0.0.0.0/tcp/4412"
)
@click.argument("key")
@click.argument("value")
def config_set(session: Session, *, key: str, value: str) -> None:
    """Change one choice. Lists are typed with commas, `none` takes one out."""
    home = session.home
    change(session, key, value)
    session.out(
        {key: getattr(home.config(), key)},
        lambda: [f"{key} is {_shown(getattr(home.config(), key)) or 'not set'} now."],
    )
    if home.daemon_pid() is not None:
        session.note(f"  The running node takes it up after: {session.line('down')}")


@config_command.add("path", "passby config path")
def config_path(session: Session) -> None:
    """Show where config.toml is."""
    path = str(session.home.config_path)
    session.out({"path": path}, lambda: [path])


@config_command.add("check", "passby config check")
def config_check(session: Session) -> None:
    """Read config.toml over. Exit 78 and a line that names the mistake, or 0."""
    path = session.home.config_path
    session.home.config()
    session.out({"ok": True, "path": str(path)}, lambda: [f"{path} is in order."])


def change(session: Session, key: str, value: str) -> None:
    """Set one key of config.toml, leaving the rest of the file as it is."""
    from passby.node.config import with_value

    home = session.home
    text = home.config_path.read_text(encoding="utf-8")
    typed = unicodedata.normalize("NFC", value)
    match key:
        case "currency":
            typed = typed.upper()
        case "measure" | "log_level":
            typed = typed.lower()
        case _:
            pass
    home.write_config(with_value(text, key, typed))


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(str(part) for part in value)
        case _:
            return str(value)
