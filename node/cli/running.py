"""up, down, status, id, version: the daemon's life."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.node.client import BrokenOffError
from passby.protocol.errors import Exit, LocalError, NotRunningError, UsageError

if TYPE_CHECKING:
    import subprocess

UP_WITHIN_S: Final = 60.0
"""Importing the network takes 3 s on a fast machine and ten on a small one."""
DOWN_WITHIN_S: Final = 20.0
"""Streams linger up to 10 s; then the daemon closes them."""
LOOK_EVERY_S: Final = 0.05


@command(
    "up",
    "passby up",
    "passby up --detach --listen /ip4/0.0.0.0/tcp/4411",
    "passby up --join passby://join/gqJ0b...",
)
@click.option(
    "--join", multiple=True, metavar="ADDRESS", help="Call this neighbour; an address or a link."
)
@click.option(
    "--listen", multiple=True, metavar="MULTIADDR", help="Listen here instead of as configured."
)
@click.option("--detach", is_flag=True, help="In the background; what it says goes to HOME/log.")
def up_command(
    session: Session, *, join: tuple[str, ...], listen: tuple[str, ...], detach: bool
) -> None:
    """Run the node, until Ctrl-C, SIGTERM or `passby down`."""
    home = session.home
    home.config()
    pid = home.daemon_pid()
    if pid is not None:
        raise LocalError(
            f"A daemon already runs on {home.path}" + (f", process {pid}." if pid else "."),
            f"See it: {session.line('status')}; stop it: {session.line('down')}",
        )
    for address in join:
        _check_address(address)
    if detach:
        _detach(session, join, listen)
        return
    from passby.node.daemon import serve

    serve(home, join=list(join), listen=list(listen))


def _check_address(address: str) -> None:
    """Refuse what the daemon would dial in vain for ever.

    Raises:
        UsageError: neither an invite nor an address of a peer.
    """
    from passby.node.invite import Invite

    if Invite.is_link(address):
        Invite.parse(address)
    elif not (address.startswith("/") and "/p2p/" in address):
        raise UsageError(
            f"{address!r} is no address of a peer.",
            "It looks like /ip4/192.0.2.7/tcp/4411/p2p/12D3Koo..., or passby://join/...",
        )


def _detach(session: Session, join: tuple[str, ...], listen: tuple[str, ...]) -> None:
    import subprocess
    import sys

    home = session.home
    # -P: what happens to lie in the working folder is not imported.
    arguments = [sys.executable, "-P", "-m", "passby.node.cli", "up", "--json"]
    arguments += ["--home", str(home.path)]
    for address in join:
        arguments += ["--join", address]
    for address in listen:
        arguments += ["--listen", address]
    with home.log_path.open("ab") as log:
        home.log_path.chmod(0o600)
        before = log.tell()
        daemon = subprocess.Popen(  # noqa: S603 - passby itself, with words we checked
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _await_answer(session, daemon, before)
    status = session.get("/v1/status")
    answer = {
        "pid": daemon.pid,
        "log": str(home.log_path),
        "socket": str(home.socket_path),
        "addresses": status["addresses"],
    }
    session.out(
        answer,
        lambda: [
            f"{clean(status['name'])} is up, process {daemon.pid}.",
            *show.facts(
                [
                    *(("address", clean(address)) for address in status["addresses"]),
                    ("log", str(home.log_path)),
                    ("stop it", session.line("down")),
                ]
            ),
        ],
    )


def _await_answer(session: Session, daemon: subprocess.Popen[bytes], before: int) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while True:
        try:
            session.client.call("GET", "/healthz", within_s=UP_WITHIN_S)
        except LocalError:
            if daemon.poll() is not None:
                raise _last_words(session, before, daemon.returncode) from None
            if time.monotonic() > deadline:
                raise LocalError(
                    f"The daemon (process {daemon.pid}) does not answer yet.",
                    f"Look into {session.home.log_path}, or wait and ask: {session.line('status')}",
                ) from None
            time.sleep(LOOK_EVERY_S)
        else:
            return


def _last_words(session: Session, before: int, code: int) -> LocalError:
    """Return the error with which a daemon ended, as it stands in its log."""
    import json

    with session.home.log_path.open("rb") as log:
        log.seek(before)
        lines = log.read().decode(errors="replace").splitlines()
    for line in reversed(lines):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        match said:
            case {"error": {"message": str(message), "hint": str(hint), "exit_code": int(its)}}:
                return LocalError(message, hint, Exit(its) if its in list(Exit) else None)
            case _:
                continue
    last = f": {lines[-1].strip()}" if lines else "."
    return LocalError(
        f"The daemon ended at once (exit {code}){last}",
        f"Its log is {session.home.log_path}",
    )


@command("down", "passby down")
def down_command(session: Session) -> None:
    """Stop the node. It finishes what it writes and says goodbye to its neighbours."""
    home = session.home
    pid = home.daemon_pid()
    try:
        session.post("/v1/shutdown")
    except BrokenOffError:
        pass  # it was quicker to stop than to say so
    except NotRunningError:
        if pid is None:
            raise
        raise LocalError(
            f"Process {pid or '(unknown)'} holds {home.path} but does not answer.",
            f"If it does not come up by itself, end it: kill {pid}" if pid else "",
        ) from None
    deadline = time.monotonic() + DOWN_WITHIN_S
    while home.daemon_pid() is not None:
        if time.monotonic() > deadline:
            raise LocalError(
                f"The daemon (process {pid}) is still busy after {DOWN_WITHIN_S:.0f} s.",
                f"Wait, or end it: kill {pid}. Nothing that was acknowledged gets lost.",
            )
        time.sleep(LOOK_EVERY_S)
    session.out({"stopped": True, "pid": pid}, lambda: ["The node is down."])


@command("status", "passby status")
def status_command(session: Session) -> None:
    """Show how the node is doing, and whether anything awaits you."""
    status = session.get("/v1/status")
    session.out(status, lambda: _status_lines(session, status))


def _status_lines(session: Session, status: dict[str, Any]) -> list[str]:
    turn = status["your_turn"]
    trades = show.count(status["trades_open"], "open trade")
    if turn:
        trades += click.style(
            f", {turn} waiting for you: {session.line('trade list')}", fg="yellow", bold=True
        )
    head = status.get("head") or {}
    lines = [
        click.style(clean(status["name"]), bold=True)
        + f" is up for {show.span(status['uptime_s'])} (passby {clean(status['version'])})",
        *show.facts(
            [
                ("peers", show.count(status["peers"], "peer") + _how_to_join(session, status)),
                (
                    "ledger",
                    show.count(status["entries"], "entry", "entries")
                    + f" in {show.count(status['chains'], 'chain')}",
                ),
                (
                    "market",
                    show.count(status["lots_open"], "open lot")
                    + f", {show.count(status['requests_open'], 'request')}",
                ),
                ("trades", trades),
                (
                    "head",
                    f"#{head['seq']} {show.short(head['id'])}" if head.get("id") else "",
                ),
                ("cell", clean(status["cell"])),
                *(("address", clean(address)) for address in status["addresses"]),
            ]
        ),
    ]
    if status.get("read_only"):
        lines.append(click.style(f"  reads only: {clean(status['read_only'])}", fg="red"))
    if not status["clock"]["ok"]:
        lines.append(click.style(f"  clock: {clean(status['clock'].get('note') or '')}", fg="red"))
    lines += [f"  {clean(note)}" for note in status.get("notes", [])]
    return lines


def _how_to_join(session: Session, status: dict[str, Any]) -> str:
    return "" if status["peers"] else f"; call one: {session.line('join')} ADDRESS"


@command("id", "passby id", "passby id --json")
def id_command(session: Session) -> None:
    """Show who this node is. Its chain, its person's root, its name on the network."""
    me = session.get("/v1/id")
    session.out(
        me,
        lambda: show.facts(
            [
                ("name", clean(me["name"])),
                ("chain", clean(me["author"])),
                ("root", clean(me["root"])),
                ("peer", clean(me["peer_id"])),
                ("cell", clean(me["cell"])),
                *(("address", clean(address)) for address in me["addresses"]),
            ]
        ),
    )


@command("version", "passby version --json")
def version_command(session: Session) -> None:
    """Show the versions of passby, Python and SQLite's binding."""
    import platform
    from importlib import metadata

    versions = {"passby": metadata.version("passby"), "python": platform.python_version()}
    for part in ("libp2p", "pysqlite3", "h3"):
        try:
            versions[part] = metadata.version(part)
        except metadata.PackageNotFoundError:
            continue
    session.out(versions, lambda: [f"{part} {number}" for part, number in versions.items()])
