"""The few errors, and whose fault each is.

A `LocalError` is for the person at this node: its text says what is wrong and what to do
next. A `RemoteError` is a peer's doing: nothing but a `RemoteError` may come out of code
that reads bytes from a peer. Any other exception is a bug in passby.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Exit(IntEnum):
    """Exit codes of the command line, carried by the error that causes them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NO_QUORUM = 3
    """Out of reach as well: too few witnesses have cosigned. An audit's 3 means the like."""
    REFUSED = 4
    AUDIT_USAGE = 64
    """An audit's 2 means that local data are corrupt, so its misuse has another code."""
    IO = 74
    BAD_CONFIG = 78


class PassbyError(Exception):
    """Whatever passby raises on purpose."""


class LocalError(PassbyError):
    """Something the person at this node can mend.

    Args:
        message: what is wrong, in one sentence.
        hint: what to do next, in one sentence; empty when the message says it.
        exit_code: what the command line exits with.
    """

    exit_code: Exit = Exit.FAILED

    def __init__(self, message: str, hint: str = "", exit_code: Exit | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(LocalError):
    """A value that cannot be read as what was asked for."""

    exit_code = Exit.USAGE


class RefusedError(LocalError):
    """A step that a rule forbids: out of turn, more than is left, too late."""

    exit_code = Exit.REFUSED


class NotRunningError(LocalError):
    """The daemon is not there to answer."""

    exit_code = Exit.NOT_RUNNING


class ConfigError(LocalError):
    """The home folder or its configuration cannot be used as it is."""

    exit_code = Exit.BAD_CONFIG


class DamagedError(LocalError):
    """The local database or a local file is not what was written."""

    exit_code = Exit.IO


class Code(StrEnum):
    """Why bytes from a peer were refused."""

    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    NOT_CANONICAL = "not-canonical"
    BAD_FIELD = "bad-field"
    BAD_KEY = "bad-key"
    BAD_SIGNATURE = "bad-signature"
    BAD_PAYLOAD = "bad-payload"
    BAD_LINK = "bad-link"
    WRONG_TOPIC = "wrong-topic"
    OUT_OF_ORDER = "out-of-order"
    FLOOD = "flood"
    VERSION = "version"
    GONE = "gone"


class RemoteError(PassbyError):
    """A peer sent what no honest peer sends, or went away.

    Args:
        code: the kind of fault.
        detail: one clause for the log.
        penalty: what the peer's score loses; 0 where an honest peer may be at fault.
    """

    def __init__(self, code: Code, detail: str, penalty: int = 10) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.penalty = penalty
