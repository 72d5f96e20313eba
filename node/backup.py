"""Backups that cannot fork a chain: what a person needs again, and no key of any device.

    backup = "passby backup 1" and a line feed ‖ sealed box to the person's root of a msgpack map:
             config text, root b32, device b32, certificate, certificate_salt b16,
             peers [text], made_at_ms, boxes [b32], followed [b32] (absent: nobody),
             files {name: bytes} (absent: none; policy.txt and rides.json as they were),
             chains: uvarint-length-prefixed runs of records

A restore is a new device. Two devices that sign with one key fork its chain, which is how
people lost theirs elsewhere; so a backup holds neither the ledger key nor the transport key
nor the head guard, and the old chain comes back as anybody's chain would. The seeds of its box
keys are there, to read what was sealed to it; the new device takes a box key of its own, since
the old one may be in a thief's hands.

The box is sealed to the root, whose public key every device knows: making a backup asks for
nothing, opening it takes the 24 words.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from nacl.bindings import crypto_box_seal, crypto_sign_ed25519_pk_to_curve25519

from passby.ledger.ingest import Check, admit
from passby.ledger.reader_sqlite import SqliteReader
from passby.ledger.store import Reader, Store
from passby.ledger.store_sqlite import SqliteStore
from passby.node.config import BOOTSTRAP_MAX, Config, parse, render
from passby.node.following import Following
from passby.node.home import Home
from passby.node.private import replace_private
from passby.protocol.codec import decode, encode, encode_uvarint, read_uvarint
from passby.protocol.entry import encode_record, read_records
from passby.protocol.errors import DamagedError, Exit, LocalError, RemoteError, UsageError
from passby.protocol.keys import KEY_BYTES, Certificate, SigningKey
from passby.protocol.limits import (
    BACKUP_MAX,
    FOLLOWED_MAX,
    FORMER_BOXES_MAX,
    FRAME_MAX,
    POLICY_MAX,
    PRIVATE_FILE_MAX,
    RUN_MAX,
    SEQ_MAX,
)

MAGIC: Final = b"passby backup 1\n"
_FILES: Final = {
    "policy.txt": POLICY_MAX,
    "rides.json": PRIVATE_FILE_MAX,
    "wishes.json": PRIVATE_FILE_MAX,
    "garage.json": PRIVATE_FILE_MAX,
}
"""What else of the home comes along, and how long it may be."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What is in a backup. `chains` holds runs of records, each ending in a checked signature."""

    config: Config
    root: bytes
    device: bytes
    certificate: bytes
    certificate_salt: bytes
    peers: tuple[str, ...]
    made_at_ms: int
    chains: tuple[bytes, ...]
    boxes: tuple[bytes, ...] = ()
    """Seeds of the keys to which others sealed words for the device and those before it."""
    followed: tuple[bytes, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    """What the person's own files in the home hold, by their names."""

    @classmethod
    def of(cls, home: Home, peers: Sequence[str], now_ms: int) -> Self:
        """Gather what is worth keeping of a home, beside a daemon that may run.

        Args:
            home: the home.
            peers: addresses of neighbours, besides the configured ones.
            now_ms: the date of the backup, Unix milliseconds.

        Raises:
            ConfigError, DamagedError, LocalError: something in the home cannot be read.
        """
        certificate = Certificate.parse(home.certificate)
        chains: tuple[bytes, ...] = ()
        if home.database_path.exists():
            reader = SqliteReader.open(home.database_path)
            try:
                own = {device.key for device in reader.devices(certificate.root)}
                # A trip's chain does not show whose it is.
                own.add(certificate.device)
                chains = tuple(run for author in sorted(own) for run in _runs(reader, author))
            finally:
                reader.close()
        return cls(
            home.config(),
            certificate.root,
            certificate.device,
            certificate.raw,
            home.certificate_salt,
            tuple(peers)[:BOOTSTRAP_MAX],
            now_ms,
            chains,
            (home.box_seed, *home.former_box_seeds)[:FORMER_BOXES_MAX],
            Following(home.followed_path).authors(),
            tuple(_files(home)),
        )

    def seal(self) -> bytes:
        """Return the backup as a file's bytes, which only the root's words open.

        Raises:
            LocalError: it is too large.
        """
        plain = encode(
            {
                "config": render(self.config),
                "root": self.root,
                "device": self.device,
                "certificate": self.certificate,
                "certificate_salt": self.certificate_salt,
                "peers": list(self.peers),
                "made_at_ms": self.made_at_ms,
                "boxes": list(self.boxes),
                "followed": list(self.followed),
                "files": dict(self.files),
                "chains": b"".join(encode_uvarint(len(run)) + run for run in self.chains),
            }
        )
        if len(plain) > BACKUP_MAX:
            raise LocalError(
                f"The own chains are too long for a backup ({len(plain) >> 20} MiB).",
                "Neighbours and your other devices hold them, too.",
            )
        return MAGIC + crypto_box_seal(plain, crypto_sign_ed25519_pk_to_curve25519(self.root))

    @classmethod
    def open(cls, raw: bytes, root: SigningKey) -> Self:
        """Open a backup with the person's root.

        Raises:
            UsageError: no backup, or of a person with other words.
            DamagedError: what is in it is not what was written.
            ConfigError: its configuration is of a later passby.
        """
        if not raw.startswith(MAGIC):
            raise UsageError("This is no passby backup.", "`passby backup FILE` makes one.")
        plain = root.unseal(raw[len(MAGIC) :])
        if plain is None:
            raise UsageError(
                "These words do not open this backup, or it is damaged.",
                "Use the words of whoever made it; try another copy of the file.",
            )
        try:
            match decode(plain, BACKUP_MAX):
                case {
                    "config": str(config),
                    "root": bytes(own),
                    "device": bytes(device),
                    "certificate": bytes(certificate),
                    "certificate_salt": bytes(salt),
                    "peers": list(peers),
                    "made_at_ms": int(made_at_ms),
                    "chains": bytes(chains),
                    **rest,
                } if own == root.public and all(isinstance(peer, str) for peer in peers):
                    boxes = rest.get("boxes", [])
                    return cls(
                        parse(config, "the backup's configuration"),
                        own,
                        device,
                        certificate,
                        salt,
                        tuple(str(peer) for peer in peers),
                        made_at_ms,
                        tuple(_split(chains)),
                        # Those made before words were sealed have none.
                        tuple(one for one in boxes if isinstance(one, bytes))
                        if isinstance(boxes, list)
                        else (),
                        _keys(rest.get("followed")),
                        _known_files(rest.get("files")),
                    )
                case _:
                    raise DamagedError("This backup is not one of its root.", "Try another copy.")
        except RemoteError as error:
            raise DamagedError(f"This backup is damaged: {error}.", "Try another copy.") from None

    def restore(self, path: Path, root: SigningKey, now_ms: int) -> tuple[Home, int]:
        """Make a home for a new device of the person; return it and how many entries came along.

        The old device's chain is in its ledger as anybody's is, and never goes on from here.

        Raises:
            RefusedError, ConfigError, LocalError: as `Home.create`.
            DamagedError: an entry in the backup is not what its author signed.
        """
        known = dict.fromkeys((*self.config.bootstrap, *self.peers))
        fields = {name: getattr(self.config, name) for name in self.config.__struct_fields__}
        config = Config(**fields | {"bootstrap": tuple(known)[:BOOTSTRAP_MAX]})
        home = Home.create_for(path, config, root, now_ms=now_ms)
        home.keep_former_box_seeds(self.boxes)
        following = Following(home.followed_path)
        for author in self.followed:
            following.add(author, now_ms)
        try:
            for name, data in self.files:
                replace_private(home.path / name, data)
        except OSError as error:
            raise LocalError(
                f"{home.path} cannot be written: {error.strerror}.", "Make room on the disk."
            ) from error
        store = SqliteStore(home.database_path)
        try:
            return home, take_in(store, self.chains)
        finally:
            store.close()


def take_in(store: Store, runs: Iterable[bytes]) -> int:
    """Store runs of records the way a peer's are; return how many entries were new.

    Raises:
        DamagedError: a run that no honest peer would send.
    """
    count = 0
    for run in runs:
        try:
            records = read_records(run, RUN_MAX)
            batch = admit(store.view(records), records, Check.RUNS)
        except RemoteError as error:
            raise DamagedError(
                f"An entry in the backup is damaged: {error}.", "Try another copy."
            ) from None
        store.commit([batch], durable=False)
        count += len(batch.appended)
    return count


def write_backup(path: Path, data: bytes) -> None:
    """Put a backup in place, whole or not at all; an older backup there is replaced.

    Raises:
        UsageError: something else is there.
        LocalError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists():
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise UsageError(f"{path} is there, and no backup.", "Choose another file.")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise LocalError(
            f"{path} cannot be written: {error.strerror}.", "Choose another file.", Exit.IO
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


def read_backup(path: Path) -> bytes:
    """Return a backup file's bytes.

    Raises:
        LocalError: it cannot be read, or is too large to be one.
    """
    try:
        if path.stat().st_size > BACKUP_MAX + FRAME_MAX:
            raise UsageError(f"{path} is too large for a backup.")
        return path.read_bytes()
    except OSError as error:
        raise LocalError(
            f"{path} cannot be read: {error.strerror}.", "Look for the file.", Exit.IO
        ) from error


def _runs(reader: Reader, author: bytes) -> Iterator[bytes]:
    seq = 1
    while records := reader.run(author, seq, SEQ_MAX, FRAME_MAX):
        yield b"".join(map(encode_record, records))
        seq = records[-1].entry.seq + 1


def _split(chains: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(chains):
        length, at = read_uvarint(chains, at, FRAME_MAX * 2)
        yield chains[at : at + length]
        at += length


def _keys(value: object) -> tuple[bytes, ...]:
    members = value if isinstance(value, list) else []
    keys = tuple(one for one in members if isinstance(one, bytes) and len(one) == KEY_BYTES)
    return keys[:FOLLOWED_MAX]


def _files(home: Home) -> Iterator[tuple[str, bytes]]:
    for name, most in _FILES.items():
        path = home.path / name
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LocalError(
                f"{path} cannot be read: {error.strerror}.", "See that it belongs to you.", Exit.IO
            ) from error
        if len(data) > most:
            raise LocalError(f"{path} is over {most} bytes.", "Mend it, or move it elsewhere.")
        yield name, data


def _known_files(value: object) -> tuple[tuple[str, bytes], ...]:
    """Return the files in a backup: anybody can seal one to a root, so no other name counts."""
    members = value if isinstance(value, dict) else {}
    return tuple(
        (name, data)
        for name, most in _FILES.items()
        if isinstance(data := members.get(name), bytes) and len(data) <= most
    )
