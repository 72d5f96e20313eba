"""Whose cosignatures are enough: k of n witnesses, and groups of them, in C2SP's policy format.

    # comment
    witness NAME VKEY [URL]
    group NAME all|any|K MEMBER...
    quorum NAME|none

Names are the file's own; a witness is its key. Two buyers who each demand more than half of
the same n witnesses share one that saw both views, so that, as long as fewer than 2k - n of
them are false, no two such buyers accept views that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from passby.ledger.checkpoint import SignedCheckpoint, chain_key, check_chain, cosigned_at
from passby.ledger.note import KeyKind, Note, VerifierKey, parse_vkey
from passby.protocol.errors import ConfigError, RemoteError
from passby.protocol.limits import (
    COSIGNATURE_AHEAD_MAX_S,
    NOTE_SIGNATURES_MAX,
    POLICY_MAX,
    POLICY_NAMES_MAX,
)

NONE: Final = "none"
"""The quorum that asks for nobody."""
_PRINTED = frozenset({0x09, 0x0A}) | frozenset(range(0x20, 0x7F)) | frozenset(range(0x80, 0x100))


class Group(msgspec.Struct, frozen=True):
    """`k` of `members`, each a witness or an earlier group."""

    k: int
    members: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """Witnesses and groups by name, groups after their members, and the name that must vouch."""

    witnesses: dict[str, VerifierKey]
    groups: dict[str, Group]
    quorum: str = NONE


NO_POLICY: Final = Policy({}, {})
"""Asks for nobody."""


class Quorum(msgspec.Struct, frozen=True):
    """Whether a policy is satisfied, and the witnesses that were counted, by name."""

    reached: bool
    counted: tuple[str, ...]


def k_of(k: int, witnesses: Sequence[VerifierKey]) -> Policy:
    """Return the policy that any `k` of `witnesses` must vouch; they go by their keys' names."""
    assert 1 <= k <= len(witnesses)
    named = {key.name: key for key in witnesses}
    assert len(named) == len({key.public for key in witnesses}) == len(witnesses)
    return Policy(named, {"quorum": Group(k, tuple(named))}, "quorum")


def satisfied(signed: SignedCheckpoint, policy: Policy, now_s: int, since_s: int = 0) -> Quorum:
    """Count the cosignatures of a chain's checkpoint.

    It vouches for the tree alone: that an entry is in it, its holder checks by the chain's own
    root at that size or by an inclusion proof.

    Args:
        signed: the checkpoint, its cosignatures among its lines.
        policy: whom to believe.
        now_s: the own clock, Unix seconds; what is dated ahead of it is not counted.
        since_s: what is dated before is not counted: a witness says that nothing larger was
            cosigned by then, so only a fresh word excludes a later release.

    Raises:
        RemoteError: no chain's checkpoint, not signed by its author, or a known witness's line
            is false.
    """
    check_chain(signed)
    counted: list[str] = []
    for name, key in policy.witnesses.items():
        at_s = cosigned_at(signed.note, key)
        if at_s is not None and since_s <= at_s <= now_s + COSIGNATURE_AHEAD_MAX_S:
            counted.append(name)
    vouching = {NONE, *counted}
    for name, group in policy.groups.items():
        if len(vouching.intersection(group.members)) >= group.k:
            vouching.add(name)
    return Quorum(policy.quorum in vouching, tuple(counted))


def sifted(signed: SignedCheckpoint, witnesses: Iterable[VerifierKey]) -> SignedCheckpoint:
    """Return a chain's checkpoint with its author's line and the newest true one of each witness.

    Others' lines are left out, and false ones with them: anybody may add a line to a note, and a
    single false one would otherwise spoil what the true ones say.

    Raises:
        RemoteError: no chain's checkpoint, or not signed by its author.
    """
    author = check_chain(signed)
    text = signed.note.text
    lines = list(signed.only_by(chain_key(author)).note.signatures)
    for key in witnesses:
        dated = [(_dated(Note(text, (line,)), key), line) for line in signed.note.by(key)]
        newest = max(dated, key=lambda found: found[0], default=None)
        if newest is not None and newest[0]:
            lines.append(newest[1])
    return SignedCheckpoint(signed.head, Note(text, tuple(lines)[:NOTE_SIGNATURES_MAX]))


def _dated(note: Note, witness: VerifierKey) -> int:
    """Return when the witness cosigned, 0 if its line is false."""
    try:
        return cosigned_at(note, witness) or 0
    except RemoteError:
        return 0


def parse_policy(data: bytes) -> Policy:
    """Read a policy file.

    Raises:
        ConfigError: what is wrong, and in which line.
    """
    if len(data) > POLICY_MAX or not _PRINTED.issuperset(data):
        raise ConfigError(
            "The policy is no text file of a policy's size.",
            f"It holds at most {POLICY_MAX} bytes, and no control characters but tabs.",
        )
    reader = _Reader()
    for number, raw in enumerate(data.split(b"\n"), 1):
        # Octets beyond ASCII are opaque; surrogateescape keeps them apart.
        words = raw.decode("ascii", "surrogateescape").replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if words and not words[0].startswith("#"):
            reader.line(number, words)
    return reader.end()


class _Reader:
    def __init__(self) -> None:
        self._witnesses: dict[str, VerifierKey] = {}
        self._groups: dict[str, Group] = {}
        self._members: set[str] = set()
        self._quorum: str | None = None

    def line(self, number: int, words: list[str]) -> None:
        match words:
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._name(number, name)
                self._witnesses[name] = self._key(number, vkey)
            case ["group", name, count, *members] if members:
                self._name(number, name)
                self._groups[name] = self._group(number, count, members)
            case ["quorum", name]:
                if self._quorum is not None:
                    raise _wrong(number, "there is a quorum already", "Keep one quorum line.")
                if name != NONE and not self._knows(name):
                    raise _wrong(number, f"{_shown(name)} is not defined above", _DEFINE)
                self._quorum = name
            case ["log", *_]:
                raise _wrong(
                    number,
                    "logs are not listed here",
                    "Take the log line out: a chain is known by its author's key.",
                )
            case _:
                raise _wrong(
                    number,
                    f"{_shown(words[0])} with {len(words) - 1} words is no policy line",
                    "Write witness NAME VKEY, group NAME K MEMBER... or quorum NAME.",
                )

    def end(self) -> Policy:
        if self._quorum is None:
            raise ConfigError(
                "The policy has no quorum line.", "End it with quorum NAME, or with quorum none."
            )
        return Policy(self._witnesses, self._groups, self._quorum)

    def _knows(self, name: str) -> bool:
        return name in self._witnesses or name in self._groups

    def _name(self, number: int, name: str) -> None:
        if name == NONE or self._knows(name):
            raise _wrong(number, f"{_shown(name)} is taken", "Give each line another name.")
        if len(self._witnesses) + len(self._groups) == POLICY_NAMES_MAX:
            raise _wrong(number, f"there are over {POLICY_NAMES_MAX} names", "Take some out.")

    def _key(self, number: int, vkey: str) -> VerifierKey:
        try:
            key = parse_vkey(vkey)
        except RemoteError as error:
            raise _wrong(number, error.detail, "Ask the witness for its key again.") from None
        if key.kind is not KeyKind.COSIGNATURE:
            raise _wrong(
                number, "this key signs notes, not cosignatures", "Ask for the witness key."
            )
        if any(key.public == other.public for other in self._witnesses.values()):
            raise _wrong(number, "this key is listed twice", "Each witness counts once.")
        return key

    def _group(self, number: int, count: str, members: list[str]) -> Group:
        for member in members:
            if not self._knows(member):
                raise _wrong(number, f"{_shown(member)} is not defined above", _DEFINE)
            if member in self._members:
                raise _wrong(
                    number, f"{_shown(member)} is a member already", "Name each member once."
                )
            self._members.add(member)
        match count:
            case "all":
                k = len(members)
            case "any":
                k = 1
            case _:
                k = int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 0
        if not 1 <= k <= len(members):
            raise _wrong(
                number, f"{_shown(count)} of {len(members)}", "Write any, all, or 1 to that many."
            )
        return Group(k, tuple(members))


def readable(name: str) -> str:
    """Return a policy's name as text: its octets beyond ASCII are UTF-8 where they can be."""
    return name.encode("ascii", "surrogateescape").decode("utf-8", "replace")


_DEFINE: Final = "Define witnesses and groups before the lines that name them."


def _wrong(number: int, what: str, hint: str) -> ConfigError:
    return ConfigError(f"Line {number} of the policy: {what}.", hint)


def _shown(name: str) -> str:
    return ascii(name)
