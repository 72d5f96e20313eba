"""proof: what is known of an entry, a lot, a trade or a liar, as a file that anybody can check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.protocol.errors import Exit, LocalError, RefusedError, RemoteError

if TYPE_CHECKING:
    from passby.ledger.bundle import About, Checked
    from passby.ledger.reader_sqlite import SqliteReader


@command(
    "proof",
    "passby proof 5c77aa01 --out trade.proof",
    "passby proof 4be1f0 --out liar.proof",
)
@click.argument("identity", metavar="ID")
@click.option(
    "--out",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write.",
)
@click.option("--entry", "alone", is_flag=True, help="This entry alone, not its lot or trade.")
@click.option("--force", is_flag=True, help="Write over the file if there is one.")
def proof_command(session: Session, *, identity: str, path: Path, alone: bool, force: bool) -> None:
    """Write a file that proves to anybody what is held here.

    ID is an offer, for its lot; a propose, for its trade; any other entry, for itself; or the
    key of an author that is proven false. `passby audit --bundle FILE` checks the file, on any
    machine.
    """
    from passby.ledger.bundle import encode_bundle
    from passby.ledger.gather import gather
    from passby.ledger.reader_sqlite import SqliteReader
    from passby.ledger.schema import faults, open_reader

    database = session.home.database_path
    if not database.exists():
        raise LocalError(
            f"There is no ledger in {session.path} yet.",
            f"The first `{session.line('up')}` makes it.",
            Exit.IO,
        )
    connection = open_reader(database)
    try:
        with faults(database):
            # One snapshot: the daemon may go on writing.
            connection.execute("BEGIN")
        reader = SqliteReader(database, connection)
        about, subject = _subject(session, reader, identity, alone=alone)
        bundle = gather(reader, about, subject)
    finally:
        connection.close()
    data = encode_bundle(bundle)
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(data)
    except FileExistsError:
        raise RefusedError(
            f"{path} is there already.", "Choose another name, or give --force."
        ) from None
    entries = sum(len(run) for run in bundle.runs)
    told = {
        "file": str(path),
        "about": about.name.lower(),
        "subject": subject.hex(),
        "entries": entries,
        "proofs": len(bundle.proofs),
        "bytes": len(data),
    }
    session.out(told, lambda: _lines(told))


def _lines(told: dict[str, Any]) -> list[str]:
    held = show.count(told["entries"], "entry", "entries"), show.count(told["proofs"], "proof")
    subject = f"{told['about']} {show.short(told['subject'])}"
    return [
        f"{told['file']}: {subject}, {', '.join(held)}, {told['bytes']:,} bytes.",
        f"Anybody can check it: passby audit --bundle {told['file']}",
    ]


def _subject(
    session: Session, reader: SqliteReader, text: str, *, alone: bool
) -> tuple[About, bytes]:
    from passby.ledger.bundle import About
    from passby.protocol.types import EntryType

    prefix = session.identity(text)
    keys = [key for key, _ in reader.heads() if key.hex().startswith(prefix)]
    record = reader.find(prefix)
    if len(keys) + (record is not None) > 1:
        raise RefusedError(f"{text} begins several ids.", "Give more digits of it.")
    if keys:
        return About.AUTHOR, keys[0]
    if record is None:
        raise RefusedError(f"Nothing here begins with {text}.", "passby ledger log lists ids.")
    kind = record.entry.body.type
    if alone or kind not in (EntryType.OFFER, EntryType.PROPOSE):
        return About.ENTRY, record.entry.id
    return About.LOT if kind == EntryType.OFFER else About.TRADE, record.entry.id


def read_bundle(path: Path) -> Checked:
    """Read and verify a bundle, with no network and no database.

    Raises:
        LocalError: the file cannot be read, or is not what its maker wrote.
    """
    from passby.ledger.bundle import check_bundle
    from passby.protocol.limits import BUNDLE_MAX

    try:
        with path.open("rb") as file:
            data = file.read(BUNDLE_MAX + 1)
    except OSError as error:
        raise LocalError(
            f"{path} cannot be read: {error.strerror}.", "Check the name of the file.", Exit.IO
        ) from error
    try:
        return check_bundle(data, show.now_ms())
    except RemoteError as error:
        # An audit's 2: what lies on this disk is not what was written.
        raise LocalError(
            f"{path} proves nothing: {error.detail}.",
            "Ask for it again, or for the entries themselves.",
            Exit.USAGE,
        ) from error


def plain(checked: Checked) -> dict[str, Any]:
    """Return what a bundle is about, for JSON."""
    return {
        "about": checked.bundle.about.name.lower(),
        "subject": checked.bundle.subject.hex(),
        "state": str(checked.state) if checked.state else None,
        "lots": [
            {
                "lot": lot.lot_id.hex(),
                "remaining": lot.remaining,
                "reserved": lot.reserved,
                "closed": lot.closed,
            }
            for lot in checked.lots
        ],
        "proven": [
            {"author": at.author.hex(), "seq": at.seq, "kind": at.kind.name, "rule": at.rule}
            for at in checked.proven
        ],
    }


def lines(checked: Checked) -> list[str]:
    """Return what a bundle is about, for people."""
    about = checked.bundle.about.name.lower()
    state = f", {clean(str(checked.state))}" if checked.state else ""
    return [
        f"A bundle about {about} {show.short(checked.bundle.subject.hex())}{state}.",
        *(
            f"Lot {show.short(lot.lot_id.hex())}: {lot.remaining:,} free, "
            f"{lot.reserved:,} reserved" + (", closed." if lot.closed else ".")
            for lot in checked.lots
        ),
    ]
