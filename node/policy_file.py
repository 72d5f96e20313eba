"""policy.txt: read again whenever it changes, so that no restart is needed to trust somebody."""

from __future__ import annotations

from pathlib import Path

from passby.ledger.policy import NO_POLICY, Policy, parse_policy
from passby.protocol.errors import ConfigError
from passby.protocol.limits import POLICY_MAX


class PolicyFile:
    """The policy in a file; a file that is not there asks for nobody."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._policy = NO_POLICY

    def __call__(self) -> Policy:
        """Return the policy that the file holds now.

        Raises:
            ConfigError: it cannot be read, or a line of it is wrong. It asks for everybody then:
                no trade goes on by the policy before.
        """
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                self._policy = parse_policy(read_policy(self._path))
                self._seen = seen
        except FileNotFoundError:
            self._policy, self._seen = NO_POLICY, None
        except OSError as error:
            raise _unreadable(self._path, error) from error
        return self._policy


def read_policy(path: Path) -> bytes:
    """Return what a policy file holds, and a byte too much where it is too long to be one.

    Raises:
        FileNotFoundError: it is not there.
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(POLICY_MAX + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path} cannot be read: {error.strerror}.", "See that it belongs to you.")
