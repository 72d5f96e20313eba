"""device list, add, accept, seal, heal: the devices of one person."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from passby.node.cli import show
from passby.node.cli.frame import Group, Session
from passby.node.cli.words import root_of_words, words_option
from passby.protocol.errors import LocalError, NotRunningError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from passby.ledger.reader_sqlite import SqliteReader
    from passby.ledger.standing import Device
    from passby.protocol.entry import Entry, Record
    from passby.protocol.keys import Certificate, SigningKey

device_command = Group(
    "device", help="Your devices: list, add, seal a lost one, heal a forked one."
)
device_command.examples = ("passby device list", "passby device seal 4be1f09c")


@device_command.add("list", "passby device list", "passby device list --json")
def device_list(session: Session) -> None:
    """List your devices as far as their chains have come here."""
    certificate = _certificate(session)
    with _reader(session) as reader:
        devices = [_told(reader, device) for device in _own(reader, certificate)]
    for device in devices:
        device["here"] = device["device"] == certificate.device.hex()
    if session.as_json:
        for device in devices:
            session.emit(device)
        return
    rows = [
        [
            show.short(device["device"]),
            show.moment(device["certified_at_ms"]),
            str(device["entries"]),
            _state(device),
        ]
        for device in devices
    ]
    for line in show.table(["device", "since", ">entries", ""], rows, squeeze=3):
        click.echo(line)


def _told(reader: SqliteReader, device: Device) -> dict[str, Any]:
    head = reader.head(device.key)
    return {
        "device": device.key.hex(),
        "certified_at_ms": device.certified_at_ms,
        "entries": head.seq if head else 0,
        "sealed_at": device.seal.seq if device.seal else None,
        "frozen_from": reader.frozen().get(device.key),
    }


def _state(device: dict[str, Any]) -> str:
    if device["sealed_at"] is not None:
        return f"sealed behind entry {device['sealed_at']}"
    if device["frozen_from"] is not None:
        return f"forked at entry {device['frozen_from']}"
    return "this one" if device["here"] else "" if device["entries"] else "has not begun"


@device_command.add(
    "add", "passby device add 4be1f09c...", "passby device add 4be1f09c... --words-file words.txt"
)
@click.argument("key")
@click.option("--trip", is_flag=True, help="Tell nobody: it was made with `init --trip`.")
@words_option
def device_add(session: Session, *, key: str, trip: bool, words_file: Path | None) -> None:
    """Certify the device whose KEY `passby init --for` showed, with your 24 words.

    Paste the certificate on that device: passby device accept CERTIFICATE
    """
    device = _key(key)
    mine = _certificate(session)
    root = _own_root(session, mine, words_file)
    from passby.node.trips import trip_certificate
    from passby.protocol.keys import Certificate

    issue = trip_certificate if trip else Certificate.issue
    certificate = issue(root, device, show.now_ms())
    carried = None if trip else _carry(session, certificate.raw)
    answer = {
        "device": device.hex(),
        "certificate": certificate.raw.hex(),
        "entry": carried,
    }
    session.out(
        answer,
        lambda: [
            f"Device {show.short(device.hex())} is yours once it has this certificate:",
            "",
            certificate.raw.hex(),
            "",
            "On that device: passby device accept CERTIFICATE",
        ],
    )


@device_command.add("accept", "passby device accept 7f03ab...")
@click.argument("certificate")
def device_accept(session: Session, *, certificate: str) -> None:
    """Take the CERTIFICATE that `passby device add` made for this device."""
    from passby.protocol.errors import RemoteError
    from passby.protocol.keys import Certificate

    try:
        found = Certificate.parse(bytes.fromhex("".join(certificate.split())))
    except (ValueError, RemoteError):
        raise UsageError(
            "This is no certificate.", "Copy all the digits that `passby device add` printed."
        ) from None
    session.home.accept(found)
    session.out(
        {"device": found.device.hex(), "root": found.root.hex()},
        lambda: ["This device is certified.", f"Next: {session.line('up')}"],
    )


@device_command.add(
    "seal",
    "passby device seal 4be1f09c",
    "passby device seal 4be1f09c --at 118 --words-file words.txt",
)
@click.argument("device")
@click.option(
    "--at",
    type=click.IntRange(1),
    metavar="SEQ",
    help="The last entry that was yours; the last one held here unless told.",
)
@words_option
def device_seal(session: Session, *, device: str, at: int | None, words_file: Path | None) -> None:
    """End the chain of a lost DEVICE of yours, for good, with your 24 words.

    What others have relied on before stands: nobody seals away a debt. The seal of a device made
    with `init --trip` tells everybody that it was yours.
    """
    mine = _certificate(session)
    with _reader(session) as reader:
        trip = _trip_genesis(session, reader, device)
        key = trip.author if trip is not None else _chosen(session, reader, mine, device)
        head = reader.head(key)
        seq = at if at is not None else head.seq if head else 0
        last = reader.record_at(key, seq)
        said = reader.statements(key)
    if head is None or last is None:
        raise RefusedError(
            f"Entry {seq} of that device is not held here.",
            "Wait until neighbours have given its chain, or choose a lower --at.",
        )
    root = _own_root(session, mine, words_file)
    from passby.node.trips import opening_of
    from passby.protocol.keys import Certificate
    from passby.protocol.statements import Seal

    opening = None
    if trip is not None:
        opening = opening_of(root, trip, [one for one in said if isinstance(one, Certificate)])
        if opening is None:
            raise RefusedError(
                "That chain does not show whose it is, and your words do not open it.",
                f"See your devices: {session.line('device list')}",
            )
    seal = Seal.issue(root, key, seq, last.entry.id, show.now_ms(), opening)
    carried = _carry(session, seal.raw, must=True)
    answer = {
        "device": key.hex(),
        "sealed_at": seq,
        "id": last.entry.id.hex(),
        "statement": seal.raw.hex(),
        "entry": carried,
    }
    session.out(
        answer,
        lambda: [
            f"Device {show.short(key.hex())} is sealed behind entry {seq}.",
            "Nothing that it says after that is taken as yours.",
        ],
    )


@device_command.add(
    "heal",
    "passby device heal 4be1f09c",
    "passby device heal 4be1f09c --keep 77ab02 --words-file words.txt",
)
@click.argument("device")
@click.option(
    "--keep",
    metavar="ID",
    help="The first entry of the branch to keep; the branch held here unless told.",
)
@words_option
def device_heal(
    session: Session, *, device: str, keep: str | None, words_file: Path | None
) -> None:
    """Say in public, once, which branch of a forked DEVICE of yours counts, with your 24 words.

    For a chain that forked without bad intent, as when a home was copied. The other branch is
    given up by everybody, so it must hold no step of a trade. Stop the copy first, for good.
    """
    mine = _certificate(session)
    with _reader(session) as reader:
        key = _chosen(session, reader, mine, device)
        kept = _branch_to_keep(reader, mine, key, session.identity(keep) if keep else None)
    root = _own_root(session, mine, words_file)
    from passby.protocol.statements import Heal

    heal = Heal.issue(root, key, kept.seq, kept.id, show.now_ms())
    carried = _carry(session, heal.raw, must=True)
    answer = {
        "device": key.hex(),
        "healed_at": kept.seq,
        "id": kept.id.hex(),
        "statement": heal.raw.hex(),
        "entry": carried,
    }
    session.out(
        answer,
        lambda: [
            f"Device {show.short(key.hex())} is healed behind entry {kept.seq - 1}.",
            f"What counts from there on begins with {show.short(kept.id.hex())}.",
            "It cannot be healed again; see that no copy of its home is started.",
        ],
    )


def _branch_to_keep(
    reader: SqliteReader, mine: Certificate, key: bytes, prefix: str | None
) -> Entry:
    """Return the first entry of the branch that a heal would keep, if a heal would count.

    Raises:
        RefusedError: it would not.
        UsageError: no branch, or both, begin with `prefix`.
    """
    from passby.ledger.chain import Proof
    from passby.protocol.statements import Heal, may_be_abandoned

    proof = next(iter(reader.evidence(key)), None)
    if proof is None or key not in reader.frozen():
        raise RefusedError("No fork of that device is known here.", "There is nothing to heal.")
    if any(isinstance(one, Heal) and one.root == mine.root for one in reader.statements(key)):
        raise RefusedError(
            "That device was healed before; a second heal would void both.",
            "Go on with another device: `passby device list` shows them.",
        )
    sides = [element for element in proof.elements if element]
    if proof.proof is not Proof.FORK or len({side[0].body.prev for side in sides}) != 1:
        raise RefusedError(
            "Where that chain forked is not known here yet, or it is proven false otherwise.",
            "Connect to a neighbour that holds the other branch, and try again.",
        )
    held = reader.record_at(key, proof.seq)
    held_id = held.entry.id if held is not None else b""
    chosen = [
        side[0]
        for side in sides
        if (side[0].id.hex().startswith(prefix) if prefix else side[0].id == held_id)
    ]
    if len(chosen) != 1:
        shown = " and ".join(side[0].id.hex()[:12] for side in sides)
        raise UsageError(f"The branches begin with {shown}.", "Say which one is to stay: --keep ID")
    kept = chosen[0]
    given_up = [entry for side in sides if side[0].id != kept.id for entry in side]
    if kept.id != held_id:
        given_up += [record.entry for record in _from(reader, key, proof.seq)]
    if not may_be_abandoned(entry.body.type for entry in given_up):
        raise RefusedError(
            "The other branch holds a step of a trade, which binds others: it cannot be given up.",
            "Keep that branch, or go on with another device.",
        )
    return kept


def _from(reader: SqliteReader, key: bytes, seq: int) -> Iterator[Record]:
    while (record := reader.record_at(key, seq)) is not None:
        yield record
        seq += 1


def _trip_genesis(session: Session, reader: SqliteReader, device: str) -> Entry | None:
    """Return the first entry of the one chain so called, where that does not show whose it is."""
    from passby.ledger.standing import certificate_in

    prefix = session.identity(device)
    named = [author for author, _ in reader.heads() if author.hex().startswith(prefix)]
    genesis = reader.record_at(named[0], 1) if len(named) == 1 else None
    return None if genesis is None or certificate_in(genesis) is not None else genesis.entry


def _chosen(session: Session, reader: SqliteReader, mine: Certificate, device: str) -> bytes:
    """Return the key of the person's device that begins with what was typed."""
    prefix = session.identity(device)
    found = [one for one in _own(reader, mine) if one.key.hex().startswith(prefix)]
    if len(found) != 1:
        raise UsageError(
            f"{len(found) or 'None'} of your devices begins with {prefix}.",
            f"See them: {session.line('device list')}",
        )
    return found[0].key


def _certificate(session: Session) -> Certificate:
    from passby.protocol.errors import DamagedError, RemoteError
    from passby.protocol.keys import Certificate

    try:
        return Certificate.parse(session.home.certificate)
    except RemoteError as error:
        raise DamagedError(
            f"{session.path / 'certificate'} is damaged: {error}.",
            "Put it back from a copy of the home.",
        ) from None


def _own_root(session: Session, mine: Certificate, words_file: Path | None) -> SigningKey:
    root = root_of_words(session, words_file)
    if root.public != mine.root:
        raise UsageError(
            "These words are of another person than this device.",
            "Use the words that this person's first `passby init` showed.",
        )
    return root


def _own(reader: SqliteReader, mine: Certificate) -> list[Device]:
    """Return the person's devices; this one too where its chain does not show whose it is."""
    from passby.ledger.standing import Device

    devices = reader.devices(mine.root)
    if all(device.key != mine.device for device in devices):
        begun = reader.head(mine.device) is not None
        devices.append(Device(mine.device, mine.at_ms, begun=begun, seal=None))
    return devices


@contextmanager
def _reader(session: Session) -> Iterator[SqliteReader]:
    from passby.ledger.reader_sqlite import SqliteReader

    path = session.home.database_path
    if not path.exists():
        raise LocalError(
            f"There is no ledger in {session.path} yet.",
            f"The first `{session.line('up')}` makes it.",
        )
    reader = SqliteReader.open(path)
    try:
        yield reader
    finally:
        reader.close()


def _carry(session: Session, statement: bytes, *, must: bool = False) -> str | None:
    """Let the running node say a statement in its chain; return the entry's id.

    Raises:
        NotRunningError: it must, and no node runs.
    """
    try:
        answer = session.post("/v1/statements", {"statement": statement.hex()})
    except NotRunningError:
        if must:
            raise
        session.note("  No node runs here, so neighbours hear of it from that device itself.")
        return None
    entry: str = answer["entry"]
    return entry


def _key(text: str) -> bytes:
    from passby.protocol.keys import is_point

    try:
        key = bytes.fromhex("".join(text.split()))
    except ValueError:
        key = b""
    if not is_point(key):
        raise UsageError(
            f"{text!r} is no device's key.", "Copy all 64 digits that `passby init --for` showed."
        )
    return key
