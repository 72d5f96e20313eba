"""doctor: what is wrong, and the mend for it; also with the daemon down."""

from __future__ import annotations

import shutil
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.protocol.errors import (
    ConfigError,
    DamagedError,
    Exit,
    LocalError,
    NotRunningError,
    RemoteError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from passby.node.home import Home

DISK_MIN_BYTES: Final = 256 * 1024 * 1024
"""A full log of a neighbourhood and its write-ahead log; below it, appends are at risk."""
CLOCK_BEHIND_MAX_S: Final = 120
"""Files dated later than now by more than this were not written by this clock."""

Check = dict[str, Any]


@command(
    "doctor",
    "passby doctor",
    "passby doctor --json",
    "passby doctor --mend",
    "passby doctor --accept-clock",
)
@click.option("--mend", is_flag=True, help="Take over what a damaged ledger holds.")
@click.option("--accept-clock", is_flag=True, help="Sign by this clock, whatever others say.")
def doctor_command(session: Session, *, mend: bool, accept_clock: bool) -> int:
    """Check all that a node needs, and say the mend.

    The exit code is 0 when all is well, else 1.
    """
    if mend and accept_clock:
        raise UsageError("One at a time: --mend or --accept-clock.")
    if mend:
        return _mend(session)
    if accept_clock:
        return _accept_clock(session)
    found: dict[str, Check] = {}
    for check in _all(session):
        # The daemon looks at some things too; the worse verdict stands.
        if check["name"] not in found or found[check["name"]]["ok"]:
            found[check["name"]] = check
    checks = list(found.values())
    ill = [check for check in checks if not check["ok"]]
    session.out({"ok": not ill, "checks": checks}, lambda: _lines(session, checks))
    return Exit.FAILED if ill else Exit.DONE


def _accept_clock(session: Session) -> int:
    clock = session.post("/v1/clock/accept")
    session.out(
        {"clock": clock},
        lambda: ["Until its next start the node signs by this clock, whatever others say."],
    )
    return Exit.DONE


def _mend(session: Session) -> int:
    """Salvage the ledger if anything in it is not what was written."""
    from passby.node.mending import mend

    home = session.home
    with home.lock():
        said = _damage(home)
        if said is None:
            answer: dict[str, Any] = {"mended": False}
            session.out(answer, lambda: ["The ledger is in order; nothing was changed."])
            return Exit.DONE
        session.note(said)
        mended = mend(home.database_path)
    answer = {
        "mended": True,
        "damage": said,
        "kept": str(mended.kept),
        "entries": mended.salvaged.entries,
        "chains": len(mended.salvaged.heads),
        "unreadable": mended.salvaged.unreadable,
    }
    entries = show.count(mended.salvaged.entries, "entry", "entries")
    chains = show.count(len(mended.salvaged.heads), "chain")
    session.out(
        answer,
        lambda: [
            f"{entries} of {chains} taken over.",
            "Neighbours give back the rest once the node runs.",
            f"The damaged file is kept as {mended.kept}.",
        ],
    )
    return Exit.DONE


def _damage(home: Home) -> str | None:
    """Return what is wrong with the ledger, or None."""
    from passby.ledger.audit import audit
    from passby.ledger.findings import AuditExit, Severity
    from passby.ledger.reader_sqlite import SqliteReader

    if not home.database_path.exists():
        return None
    try:
        reader = SqliteReader.open(home.database_path)
    except (DamagedError, ConfigError) as error:
        return error.message
    try:
        report = audit(reader, int(time.time() * 1000), signatures=True)
        if report.exit_code is not AuditExit.CORRUPT:
            return next(iter(reader.integrity()), None)
        return next(one.text for one in report.findings if one.severity is Severity.CORRUPT)
    except DamagedError as error:
        return error.message
    finally:
        reader.close()


def _lines(session: Session, checks: list[Check]) -> list[str]:
    lines = []
    wide = max(len(check["name"]) for check in checks)
    for check in checks:
        mark = click.style("ok  ", fg="green") if check["ok"] else click.style("ill ", fg="red")
        lines.append(f"{mark} {clean(check['name']):<{wide}}  {clean(check['detail'])}")
        if not check["ok"] and check.get("mend"):
            lines.append(f"     {'':<{wide}}  mend: {clean(session.addressed(check['mend']))}")
    return lines


def _all(session: Session) -> Iterator[Check]:
    try:
        home = session.home
    except LocalError as error:
        yield _ill("home", error)
        return
    yield _well("home", f"{home.path}, private")
    listen: tuple[str, ...] = ()
    try:
        config = home.config()
    except LocalError as error:
        yield _ill("config", error)
    else:
        listen = config.listen
        yield _well("config", f"{config.name}, cell {config.cell}")
    yield _keys(home)
    yield _disk(home)
    yield _clock(home)
    yield _database(home)
    running = False
    try:
        session.get("/v1/status")
        running = True
        yield _well("daemon", f"answers, process {home.daemon_pid() or '?'}")
    except NotRunningError as error:
        pid = home.daemon_pid()
        if pid is None:
            yield _ill("daemon", error)
        else:
            yield {
                "name": "daemon",
                "ok": False,
                "detail": f"process {pid} holds the home but does not answer",
                "mend": f"wait a moment, or: kill {pid}",
            }
    except LocalError as error:
        yield _ill("daemon", error)
    if running:
        try:
            yield from session.get("/v1/doctor")["checks"]
        except LocalError as error:
            yield _ill("daemon's checks", error)
    else:
        yield from (_port(session, address) for address in listen)


def _well(name: str, detail: str) -> Check:
    return {"name": name, "ok": True, "detail": detail, "mend": ""}


def _ill(name: str, error: LocalError) -> Check:
    return {"name": name, "ok": False, "detail": error.message, "mend": error.hint}


def _keys(home: Home) -> Check:
    from passby.protocol.keys import Certificate

    try:
        public = home.ledger_key().public
        _ = home.transport_seed
        certificate = Certificate.parse(home.certificate)
    except LocalError as error:
        return _ill("keys", error)
    except RemoteError as error:
        return {
            "name": "keys",
            "ok": False,
            "detail": f"{home.path / 'certificate'} is damaged: {error}",
            "mend": "put it back from a copy of the home",
        }
    if certificate.device != public:
        return {
            "name": "keys",
            "ok": False,
            "detail": "the certificate is of another key than keys/ledger.key",
            "mend": "put both back from the same copy of the home",
        }
    return _well(
        "keys", f"chain {public.hex()[:12]}, certified by root {certificate.root.hex()[:12]}"
    )


def _disk(home: Home) -> Check:
    free = shutil.disk_usage(home.path).free
    detail = f"{free / 1e9:.1f} GB free"
    if free >= DISK_MIN_BYTES:
        return _well("disk", detail)
    return {
        "name": "disk",
        "ok": False,
        "detail": detail,
        "mend": f"make room where {home.path} is: at least {DISK_MIN_BYTES // 1_000_000} MB",
    }


def _clock(home: Home) -> Check:
    latest = max(
        (entry.stat().st_mtime for entry in home.path.iterdir() if entry.is_file()), default=0.0
    )
    ahead_s = latest - time.time()
    if ahead_s <= CLOCK_BEHIND_MAX_S:
        return _well("clock", time.strftime("%Y-%m-%d %H:%M:%S %z"))
    return {
        "name": "clock",
        "ok": False,
        "detail": f"it is {time.strftime('%Y-%m-%d %H:%M')} here, but the home's files were "
        f"written {ahead_s / 3600:.1f} h later than that",
        "mend": "set the clock; `timedatectl set-ntp true` keeps it right",
    }


def _database(home: Home) -> Check:
    if not home.database_path.exists():
        return _well("database", "none yet; the first `passby up` makes it")
    try:
        from passby.ledger.schema import faults, open_reader

        connection = open_reader(home.database_path)
        try:
            with faults(home.database_path):
                (version,) = connection.execute("SELECT sqlite_version()").fetchone()
                (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except LocalError as error:
        return _ill("database", error)
    if verdict != "ok":
        return {
            "name": "database",
            "ok": False,
            "detail": f"{home.database_path}: {verdict}",
            "mend": "stop the node, then: passby doctor --mend",
        }
    return _well("database", f"in order, SQLite {version}")


def _port(session: Session, address: str) -> Check:
    parts = address.split("/")
    name = f"port {parts[4] if len(parts) > 4 else '?'}"
    if len(parts) < 5 or parts[1] not in {"ip4", "ip6"} or parts[3] != "tcp":
        return {
            "name": name,
            "ok": False,
            "detail": f"{address} is no address to listen on",
            "mend": session.line("config set listen /ip4/0.0.0.0/tcp/4411"),
        }
    family = socket.AF_INET6 if parts[1] == "ip6" else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((parts[2], int(parts[4])))
    except (OSError, ValueError, OverflowError) as error:
        return {
            "name": name,
            "ok": False,
            "detail": f"{address} cannot be had: {error}",
            "mend": "end what uses it, or: " + session.line("config set listen /ip4/0.0.0.0/tcp/N"),
        }
    return _well(name, f"{address} is free")
