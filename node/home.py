"""The home folder: the one place where a node keeps what is its own.

    HOME/                0700
      config.toml        what the person chose; its presence makes the folder a home
      keys/              0700
        ledger.key       0600, the seed of the device's chain, hex
        transport.key    0600, the seed of the device's name on the network, hex
        box.key          0600, the seed of the key to which others seal words, hex
        former-boxes     0600, those of devices before this one, if a backup brought them
        witness.key      0600, the seed of the key that cosigns checkpoints, hex
      certificate        salt[16] and the person root's word for the ledger key
      person             0600, that root's public key, hex, where its word is still awaited
      trip               there if the chain does not show whose it is
      passby.db          the chains
      policy.txt         whose cosignatures the trades of this node need; nobody's without it
      head.guard         how far the own chain has come; left out of backups, see `head_guard`
      stock.json         0600, what rows of files became, so that none is listed twice
      wishes.json        0600, wishes; garage.json own things: no neighbour hears of them
      rides.json         0600, own ways of the next hours; no neighbour hears of them
      followed.json      0600, whom the person follows
      queue.json         0600, proposes that wait for an own lot to be free again
      rules.toml         what the person agrees to beforehand; nothing without it
      talk.json          0600, messages to and from others, those that wait among them
      witness.guard      how much was cosigned; left out likewise, see `witness_key`
      passby.sock        0600, where the daemon answers
      daemon.lock        held by the daemon while it lives; its process id
      log                what a detached daemon has to say

The person's root key is not here: it lives as words on paper. A folder or key that others can
read is refused rather than mended, since whoever could read it may have done so.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from passby.node.private import replace_private, write_private
from passby.protocol.errors import ConfigError, DamagedError, LocalError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from passby.node.config import Config
    from passby.protocol.keys import Certificate, SigningKey

SEED_BYTES: Final = 32
SALT_BYTES: Final = 16
SOCKET_PATH_MAX: Final = 100
"""A unix socket's address ends at 104 bytes on some systems, 108 on others."""
LOCK_TRIES: Final = 10
LOCK_PAUSE_S: Final = 0.02
"""Whoever looks whether the lock is held holds it for an instant; the daemon outlasts that."""


def default_path() -> Path:
    """Return where the home is unless told: PASSBY_HOME, or the user's data folder."""
    told = os.environ.get("PASSBY_HOME")
    if told:
        return Path(told).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("passby", appauthor=False))


class Home:
    """A home folder that exists, belongs to this user and keeps its secrets.

    Make one with `create` or `open`; both raise ConfigError for a folder that others may read.
    """

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r})"

    # --- making and opening ------------------------------------------------------------
    @classmethod
    def create(
        cls,
        path: Path,
        config: Config,
        *,
        now_ms: int,
        entropy: bytes | None = None,
        trip: bool = False,
    ) -> tuple[Self, str]:
        """Make a home with new keys; return it and the person's 24 backup words.

        The words are all there is of the person's root: nothing here can tell them again.

        Args:
            path: a folder that does not exist, is empty, or holds an `init` that was cut short.
            config: what goes into config.toml.
            now_ms: the date of the certificate, Unix milliseconds.
            entropy: the 32 bytes behind the words; drawn when absent.
            trip: the chain is not to show whose it is.

        Raises:
            RefusedError: there is a home already, or a folder with other things in it.
            ConfigError: a folder that is not this user's.
            LocalError: the folder cannot be written.
        """
        import secrets

        from passby.protocol.keys import root_from_words, root_words

        words = root_words(entropy or secrets.token_bytes(SEED_BYTES))
        return cls.create_for(path, config, root_from_words(words), now_ms=now_ms, trip=trip), words

    @classmethod
    def create_for(
        cls,
        path: Path,
        config: Config,
        root: SigningKey | bytes,
        *,
        now_ms: int,
        trip: bool = False,
    ) -> Self:
        """Make a home with new keys for a person who has a root already.

        Args:
            path: as for `create`.
            config: what goes into config.toml.
            root: the root; or its public key alone, whose certificate is then awaited.
            now_ms: the date of the certificate, Unix milliseconds.
            trip: the chain is not to show whose it is.

        Raises:
            RefusedError, ConfigError, LocalError: as for `create`.
        """
        import secrets

        from passby.node.config import render
        from passby.node.head_guard import NAME as GUARD_NAME
        from passby.node.head_guard import begin
        from passby.node.trips import trip_certificate
        from passby.protocol.keys import Certificate, SigningKey

        path = path.expanduser().absolute()
        home = cls(path)
        seed = secrets.token_bytes(SEED_BYTES)
        device = SigningKey(seed).public
        try:
            _claim(path)
            for name in ("certificate", "person", "trip"):
                (path / name).unlink(missing_ok=True)
            if trip:
                write_private(path / "trip", b"")
            (path / "keys").mkdir(mode=0o700, exist_ok=True)
            write_private(path / "keys" / "ledger.key", seed.hex().encode() + b"\n")
            for name in ("transport.key", "box.key"):
                write_private(path / "keys" / name, secrets.token_hex(SEED_BYTES).encode() + b"\n")
            if isinstance(root, SigningKey):
                issue = trip_certificate if trip else Certificate.issue
                home._write_certificate(issue(root, device, now_ms))
            else:
                write_private(path / "person", root.hex().encode() + b"\n")
            begin(path / GUARD_NAME)
            # Last, and whole at once. A crash before it is safe: without config.toml there is
            # no home, nothing was signed with these keys, and the next `init` begins anew.
            home.write_config(render(config))
        except OSError as error:
            raise LocalError(
                f"{path} cannot be written: {error.strerror}.",
                "Choose another folder with --home, or make room for it.",
            ) from error
        return home

    def _write_certificate(self, certificate: Certificate) -> None:
        import secrets

        from passby.node.trips import trip_salt

        # A trip's must be found again when the device is lost.
        salt = trip_salt(certificate) if self.is_trip else secrets.token_bytes(SALT_BYTES)
        write_private(self.path / "certificate", salt + certificate.raw)

    def accept(self, certificate: Certificate) -> None:
        """Keep the certificate that this device has been waiting for.

        Raises:
            RefusedError: it has one, or this one is of another device or person.
            LocalError: it cannot be written.
        """
        awaited = self.awaited_root
        if awaited is None:
            raise RefusedError(
                "This device has its certificate already.", "`passby device list` shows it."
            )
        device = self.ledger_key().public
        if certificate.device != device or certificate.root != awaited:
            raise RefusedError(
                "This certificate is of another device or person.",
                f"Let the person's other device make it: passby device add {device.hex()}",
            )
        try:
            self._write_certificate(certificate)
        except OSError as error:
            raise LocalError(f"{self.path} cannot be written: {error.strerror}.") from error

    @staticmethod
    def refuse_taken(path: Path) -> None:
        """Raise RefusedError where there is a home already."""
        if _exists(path / "config.toml"):
            raise RefusedError(
                f"There is a passby home in {path} already.",
                "Use it as it is, or choose another folder with --home.",
            )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the home in `path`. Reads no file but looks at who may.

        Raises:
            ConfigError: no home, not this user's, or open to others.
        """
        path = path.expanduser().absolute()
        home = cls(path)
        if not _exists(home.config_path):
            raise ConfigError(
                f"There is no passby home in {path}.",
                f"Make one: passby init --home {path}",
            )
        for secret in (path, path / "keys", *home.key_paths):
            _check_private(secret)
        return home

    # --- where things are --------------------------------------------------------------
    @property
    def config_path(self) -> Path:
        """Where config.toml is."""
        return self.path / "config.toml"

    @property
    def key_paths(self) -> tuple[Path, Path]:
        """Where the seeds of the ledger and of the transport are."""
        return self.path / "keys" / "ledger.key", self.path / "keys" / "transport.key"

    @property
    def database_path(self) -> Path:
        """Where the chains are."""
        return self.path / "passby.db"

    @property
    def stock_path(self) -> Path:
        """What rows of files became."""
        return self.path / "stock.json"

    @property
    def wishes_path(self) -> Path:
        """Wishes that nobody hears of."""
        return self.path / "wishes.json"

    @property
    def garage_path(self) -> Path:
        """Own vehicles and devices."""
        return self.path / "garage.json"

    @property
    def books_path(self) -> Path:
        """Where the books lie between a stop and the next start."""
        return self.path / "books.npz"

    @property
    def rides_path(self) -> Path:
        """The own ways of the next hours."""
        return self.path / "rides.json"

    @property
    def followed_path(self) -> Path:
        """Whom the person follows."""
        return self.path / "followed.json"

    @property
    def queue_path(self) -> Path:
        """Which proposes wait for an own lot to be free again."""
        return self.path / "queue.json"

    @property
    def rules_path(self) -> Path:
        """Where it may say what is agreed to beforehand."""
        return self.path / "rules.toml"

    @property
    def talk_path(self) -> Path:
        """Where messages to and from others are kept."""
        return self.path / "talk.json"

    @property
    def policy_path(self) -> Path:
        """Where it may say whose cosignatures are needed."""
        return self.path / "policy.txt"

    @property
    def witness_guard_path(self) -> Path:
        """What knows how much was cosigned."""
        return self.path / "witness.guard"

    @property
    def log_path(self) -> Path:
        """Where a detached daemon writes."""
        return self.path / "log"

    @property
    def lock_path(self) -> Path:
        """What the running daemon holds."""
        return self.path / "daemon.lock"

    @property
    def socket_path(self) -> Path:
        """Where the daemon answers: in the home, or where a path too long for a socket maps to.

        The stand-in depends on the home and the user alone, not on the environment, so that a
        daemon started by the system and a command in a terminal agree on it.
        """
        here = self.path / "passby.sock"
        if len(os.fsencode(here)) <= SOCKET_PATH_MAX:
            return here
        import hashlib

        mark = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]
        return Path(f"/tmp/passby-{os.geteuid()}-{mark}/passby.sock")  # noqa: S108 - 0700, checked

    def prepare_socket(self) -> Path:
        """Return `socket_path` with its folder made, private, and no stale socket in it.

        Only for who holds the lock.

        Raises:
            ConfigError: the folder that stands in for a long path is another user's.
        """
        path = self.socket_path
        if path.parent != self.path:
            with suppress(FileExistsError):
                path.parent.mkdir(mode=0o700)
            _check_no_link(path.parent)
        _check_private(path.parent)
        path.unlink(missing_ok=True)
        return path

    def reachable_socket(self) -> Path:
        """Return `socket_path` for whoever connects to it, and tells it codes.

        Raises:
            ConfigError: the folder that stands in for a long path is another user's.
        """
        path = self.socket_path
        if path.parent != self.path and _exists(path.parent):
            _check_no_link(path.parent)
            _check_private(path.parent)
        return path

    # --- what it holds -----------------------------------------------------------------
    @property
    def ledger_seed(self) -> bytes:
        """The 32 bytes behind the device's chain."""
        return _read_seed(self.key_paths[0])

    @property
    def transport_seed(self) -> bytes:
        """The 32 bytes behind the device's name on the network."""
        return _read_seed(self.key_paths[1])

    @property
    def box_seed(self) -> bytes:
        """The 32 bytes behind the key to which others seal words; made where there are none yet.

        Raises:
            DamagedError: the key file is not what was written.
            LocalError: it cannot be written.
        """
        path = self.path / "keys" / "box.key"
        return _read_private_seed(path) if _exists(path) else _new_seed(path)

    @property
    def former_box_seeds(self) -> tuple[bytes, ...]:
        """Those of former devices of the person, as far as a backup brought them.

        Raises:
            DamagedError: the file is not what was written.
        """
        path = self.path / "keys" / "former-boxes"
        if not _exists(path):
            return ()
        _check_private(path)
        try:
            seeds = tuple(bytes.fromhex(line) for line in _read(path).decode("ascii").split())
        except ValueError:
            seeds = (b"",)
        if any(len(seed) != SEED_BYTES for seed in seeds):
            raise DamagedError(f"{path} does not hold keys.", _FROM_BACKUP)
        return seeds

    def keep_former_box_seeds(self, seeds: Sequence[bytes]) -> None:
        """Keep the box keys of former devices, to read what was sealed to them.

        Raises:
            LocalError: they cannot be written.
        """
        path = self.path / "keys" / "former-boxes"
        if not seeds:
            return
        try:
            write_private(path, b"".join(seed.hex().encode() + b"\n" for seed in seeds))
        except OSError as error:
            raise LocalError(f"{path} cannot be written: {error.strerror}.") from error

    @property
    def witness_seed(self) -> bytes | None:
        """The 32 bytes behind the key that cosigns others' checkpoints; None where none is made.

        Raises:
            DamagedError: the key file is not what was written.
        """
        path = self.path / "keys" / "witness.key"
        return _read_private_seed(path) if _exists(path) else None

    def renew_witness_seed(self) -> bytes:
        """Take a new witness key, for good, and return its seed.

        Raises:
            LocalError: it cannot be written.
        """
        return _new_seed(self.path / "keys" / "witness.key")

    def ledger_key(self) -> SigningKey:
        """Return the key that signs the device's entries.

        Raises:
            DamagedError: the key file is not what was written.
        """
        from passby.protocol.keys import SigningKey

        return SigningKey(self.ledger_seed)

    @property
    def certificate(self) -> bytes:
        """The root's certificate for this device, as on the wire; not verified here."""
        return self._certificate_file()[SALT_BYTES:]

    @property
    def certificate_salt(self) -> bytes:
        """The 16 bytes that keep the genesis commitment from being guessed."""
        return self._certificate_file()[:SALT_BYTES]

    @property
    def awaited_root(self) -> bytes | None:
        """The root whose certificate this device still waits for."""
        if _exists(self.path / "certificate") or not _exists(self.path / "person"):
            return None
        return _read_seed(self.path / "person")

    @property
    def is_trip(self) -> bool:
        """Whether the chain is not to show whose it is."""
        return _exists(self.path / "trip")

    def _certificate_file(self) -> bytes:
        if self.awaited_root is not None:
            device = self.ledger_key().public.hex()
            raise ConfigError(
                "This device waits for the certificate of its person.",
                f"On the person's other device: passby device add {device}; and here:"
                " passby device accept CERTIFICATE",
            )
        raw = _read(self.path / "certificate")
        if len(raw) <= SALT_BYTES:
            raise DamagedError(f"{self.path / 'certificate'} is cut short.", _FROM_BACKUP)
        return raw

    def config(self) -> Config:
        """Return config.toml, read now.

        Raises:
            ConfigError: what is wrong in it, and where.
        """
        from passby.node.config import load

        return load(self.config_path)

    def write_config(self, text: str) -> None:
        """Put `text` in place of config.toml, whole or not at all."""
        replace_private(self.config_path, text.encode())

    # --- one daemon --------------------------------------------------------------------
    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home for one daemon; the system lets go of it however the process ends.

        Raises:
            LocalError: another daemon holds it, named by its process id.
        """
        handle = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            for remaining in reversed(range(LOCK_TRIES)):
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not remaining:
                        raise _second_daemon(self.path, _pid_in(handle)) from None
                    time.sleep(LOCK_PAUSE_S)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def daemon_pid(self) -> int | None:
        """Return the process id of the daemon that holds this home, 0 if unknown, else None."""
        try:
            handle = os.open(self.lock_path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid_in(handle)
        finally:
            os.close(handle)
        return None


_FROM_BACKUP = "Put it back from a copy of the home, or make a new home with `passby init`."


def _second_daemon(path: Path, pid: int) -> LocalError:
    return LocalError(
        f"A daemon already runs on {path}" + (f", process {pid}." if pid else "."),
        "See it with `passby status`, or stop it with `passby down`.",
    )


def _pid_in(handle: int) -> int:
    text = os.pread(handle, 20, 0).strip()
    return int(text) if text.isdigit() else 0


def _exists(path: Path) -> bool:
    """Tell whether `path` is there; a folder that may not be looked into is an error."""
    try:
        path.stat()
    except PermissionError:
        raise ConfigError(
            f"{path.parent} is not open to you.",
            f"Use a folder of your own with --home, or: sudo chown -R $USER {path.parent}",
        ) from None
    except OSError:
        return False
    return True


def _check_no_link(path: Path) -> None:
    """Refuse a link where anybody may put one, and turn it round later."""
    if path.is_symlink():
        raise ConfigError(
            f"{path} is a link, which another user may have put there.",
            f"Remove it, or use a home with a shorter path: rm {path}",
        )


def _check_private(path: Path) -> None:
    try:
        found = path.lstat()
    except OSError:
        raise ConfigError(f"{path} is missing.", _FROM_BACKUP) from None
    if stat.S_ISLNK(found.st_mode):
        found = path.stat()
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"{path} belongs to another user (uid {found.st_uid}).",
            f"sudo chown -R $USER {path}",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        wanted = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise ConfigError(
            f"{path} is open to other users (mode {mode:04o}).",
            f"chmod {wanted} {path}",
        )


def _claim(path: Path) -> None:
    """Make `path` a private, empty folder, or raise."""
    Home.refuse_taken(path)
    if not path.exists():
        path.mkdir(mode=0o700, parents=True)
        return
    if not path.is_dir():
        raise RefusedError(f"{path} is a file.", "Choose a folder with --home.")
    ours = {"keys", "certificate", "person", "trip", "head.guard", ".config.toml.new"}
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in ours)
    if others:
        raise RefusedError(
            f"{path} holds other things ({others[0]}) and is no passby home.",
            "Choose an empty or a new folder with --home.",
        )
    if path.stat().st_uid == os.geteuid():
        path.chmod(0o700)
    _check_private(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror}.", _FROM_BACKUP) from error


def _read_seed(path: Path) -> bytes:
    text = _read(path).strip()
    try:
        seed = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise DamagedError(f"{path} does not hold a key.", _FROM_BACKUP)
    return seed


def _read_private_seed(path: Path) -> bytes:
    _check_private(path)
    return _read_seed(path)


def _new_seed(path: Path) -> bytes:
    import secrets

    seed = secrets.token_bytes(SEED_BYTES)
    try:
        write_private(path, seed.hex().encode() + b"\n")
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error.strerror}.") from error
    return seed
