"""What a person's root says of a device: it is mine, it is lost, this branch of it is kept.

Root statements are signed by the root and not by a device, since a device that is lost or
forked cannot speak for itself. They come in any chain, as entries of type STATEMENT, or
alone, in any order and any number of times: `Statements` is a set, and what it says depends
on its members and not on how they came.

A root has a say over a device when the device's own genesis commits to the root's certificate;
anybody may certify anybody's key, so a certificate alone proves nothing. A trip device's genesis
shows the commitment alone: its root opens it with the seal, once the device is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from passby.protocol.codec import Value, decode, encode
from passby.protocol.entry import HASH_BYTES, SALT_BYTES, Entry
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import (
    CERTIFICATE,
    SIGNATURE_BYTES,
    STATEMENT_MAX,
    STATEMENT_PREFIX,
    Certificate,
    SigningKey,
    certificate_commitment,
    is_point,
    verify,
)
from passby.protocol.limits import AT_MS_MAX, SEQ_MAX
from passby.protocol.types import TRADE_TYPES

SEAL: Final = 2
HEAL: Final = 3
OPENED_SEAL: Final = 4


@dataclass(frozen=True, slots=True)
class Opening:
    """What a genesis that shows no certificate commits to: the certificate, and its salt."""

    salt: bytes
    certificate: Certificate

    def opens(self, genesis: Entry) -> bool:
        """Tell whether this is what `genesis` commits to."""
        commitment = certificate_commitment(self.salt, self.certificate.raw)
        return genesis.author == self.certificate.device and genesis.body.facts == (commitment,)


@dataclass(frozen=True, slots=True)
class _AtEntry:
    """A statement that names an entry of the device's chain."""

    root: bytes
    device: bytes
    seq: int
    id: bytes
    at_ms: int
    raw: bytes

    @classmethod
    def _issue(
        cls, kind: int, root: SigningKey, device: bytes, seq: int, entry_id: bytes, at_ms: int
    ) -> Self:
        message = STATEMENT_PREFIX + encode([kind, root.public, device, seq, entry_id, at_ms])
        return cls(root.public, device, seq, entry_id, at_ms, root.sign(message) + message)


@dataclass(frozen=True, slots=True)
class Seal(_AtEntry):
    """The device is lost: the entry `id` at `seq` is the last that is its owner's.

    On the wire: signature[64] ‖ 0x01 'P' 'S' '1' ‖ msgpack [2, root, device, seq, id, at_ms]; or
    [4, root, device, seq, id, at_ms, salt b16, certificate] where it opens the genesis as well.
    """

    opening: Opening | None = None

    @classmethod
    def issue(
        cls,
        root: SigningKey,
        device: bytes,
        seq: int,
        entry_id: bytes,
        at_ms: int,
        opening: Opening | None = None,
    ) -> Self:
        """Sign a seal of `device` behind its entry `entry_id` at `seq`."""
        if opening is None:
            return cls._issue(SEAL, root, device, seq, entry_id, at_ms)
        told = [opening.salt, opening.certificate.raw]
        message = STATEMENT_PREFIX + encode(
            [OPENED_SEAL, root.public, device, seq, entry_id, at_ms, *told]
        )
        return cls(root.public, device, seq, entry_id, at_ms, root.sign(message) + message, opening)


@dataclass(frozen=True, slots=True)
class Heal(_AtEntry):
    """The device forked at `seq` without bad intent: the branch that begins with `id` is kept.

    On the wire: signature[64] ‖ 0x01 'P' 'S' '1' ‖ msgpack [3, root, device, seq, id, at_ms].
    """

    @classmethod
    def issue(cls, root: SigningKey, device: bytes, seq: int, entry_id: bytes, at_ms: int) -> Self:
        """Sign a heal of the fork of `device` at `seq` that keeps `entry_id`."""
        return cls._issue(HEAL, root, device, seq, entry_id, at_ms)


Statement = Certificate | Seal | Heal


def parse_statement(raw: bytes) -> Statement:
    """Read and verify any root statement.

    Raises:
        RemoteError: not a statement of a kind known here, or not signed by the root it names.
    """
    if raw[SIGNATURE_BYTES : SIGNATURE_BYTES + len(STATEMENT_PREFIX)] != STATEMENT_PREFIX:
        raise RemoteError(Code.MALFORMED, "not a root statement")
    value = decode(raw[SIGNATURE_BYTES + len(STATEMENT_PREFIX) :], STATEMENT_MAX)
    match value:
        case [int(kind), *_] if kind == CERTIFICATE and not isinstance(kind, bool):
            return Certificate.parse(raw)
        case [
            int(kind),
            bytes(root),
            bytes(device),
            int(seq),
            bytes(entry_id),
            int(at_ms),
            *told,
        ] if (
            (kind in (SEAL, HEAL) if not told else kind == OPENED_SEAL)
            and not any(isinstance(number, bool) for number in (kind, seq, at_ms))
            and 1 <= seq <= SEQ_MAX
            and len(entry_id) == HASH_BYTES
            and 0 <= at_ms <= AT_MS_MAX
        ):
            pass
        case _:
            raise RemoteError(Code.BAD_FIELD, "not a statement of a known kind")
    if not is_point(root) or not is_point(device):
        raise RemoteError(Code.BAD_KEY, "a statement with a key that is no curve point")
    if not verify(root, raw):
        raise RemoteError(Code.BAD_SIGNATURE, "a statement not signed by its root")
    if kind == HEAL:
        return Heal(root, device, seq, entry_id, at_ms, raw)
    opening = _opening(told, root, device) if told else None
    return Seal(root, device, seq, entry_id, at_ms, raw, opening)


def _opening(told: list[Value], root: bytes, device: bytes) -> Opening:
    match told:
        case [bytes(salt), bytes(raw)] if len(salt) == SALT_BYTES:
            certificate = Certificate.parse(raw)
        case _:
            raise RemoteError(Code.BAD_FIELD, "a seal with something else than an opening")
    if (certificate.root, certificate.device) != (root, device):
        raise RemoteError(Code.BAD_FIELD, "a seal that opens with another's certificate")
    return Opening(salt, certificate)


def counted_seal(statements: Iterable[Statement], root: bytes, device: bytes) -> Seal | None:
    """Return the seal of `device` that counts: of those by `root`, the one with the lowest seq.

    Of two at one seq the one with the lower id counts, so that every reader takes the same.
    """
    seals = [found for found in _about(statements, root, device) if isinstance(found, Seal)]
    return min(seals, key=lambda seal: (seal.seq, seal.id, seal.at_ms, seal.raw), default=None)


def counted_heal(statements: Iterable[Statement], root: bytes, device: bytes) -> Heal | None:
    """Return the heal of `device` that counts, if `root` healed it once.

    Heals that differ in seq or kept branch are void, all of them: whoever could heal twice
    could show each half of the network the branch it likes.
    """
    heals = [found for found in _about(statements, root, device) if isinstance(found, Heal)]
    if len({(heal.seq, heal.id) for heal in heals}) != 1:
        return None
    return min(heals, key=lambda heal: (heal.at_ms, heal.raw))


def may_be_abandoned(types: Iterable[int]) -> bool:
    """Tell whether a branch with entries of these types may be given up by a heal.

    A branch that proposes, reserves or promises anything binds others, who relied on it.
    """
    return not any(kind in TRADE_TYPES for kind in types)


def _about(statements: Iterable[Statement], root: bytes, device: bytes) -> list[Statement]:
    return [found for found in statements if found.root == root and found.device == device]
