"""Root statements: parsed strictly, merged as a set."""

from __future__ import annotations

import itertools

import pytest

from passby.protocol.codec import encode
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import STATEMENT_PREFIX, Certificate, SigningKey
from passby.protocol.limits import AT_MS_MAX
from passby.protocol.statements import (
    Heal,
    Opening,
    Seal,
    Statement,
    counted_heal,
    counted_seal,
    may_be_abandoned,
    parse_statement,
)
from passby.protocol.types import EntryType

ROOT, DEVICE, OTHER = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
A, B = b"a" * 32, b"b" * 32
SEAL = Seal.issue(ROOT, DEVICE.public, 3, A, 5)
HEAL = Heal.issue(ROOT, DEVICE.public, 3, A, 5)
CERTIFICATE = Certificate.issue(ROOT, DEVICE.public, 5)
OPENED = Seal.issue(ROOT, DEVICE.public, 3, A, 5, Opening(bytes(16), CERTIFICATE))
OTHERS = Certificate.issue(OTHER, DEVICE.public, 5)


def signed(*fields: object, key: SigningKey = ROOT) -> bytes:
    message = STATEMENT_PREFIX + encode(list(fields))  # type: ignore[arg-type]  # odd ones too
    return key.sign(message) + message


def opened(*told: object, kind: int = 4, key: SigningKey = ROOT) -> bytes:
    return signed(kind, ROOT.public, DEVICE.public, 3, A, 5, *told, key=key)


@pytest.mark.parametrize("statement", [SEAL, HEAL, CERTIFICATE, OPENED])
def test_a_statement_is_read_again(statement: Statement) -> None:
    assert parse_statement(statement.raw) == statement


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", Code.MALFORMED),
        (bytes(64) + b"\x00PB1" + SEAL.raw[68:], Code.MALFORMED),
        (SEAL.raw[:-1], Code.MALFORMED),
        (SEAL.raw + b"\x00", Code.MALFORMED),
        (signed(4, ROOT.public, DEVICE.public, 3, A, 5), Code.BAD_FIELD),
        (signed(2, ROOT.public, DEVICE.public, 3, A), Code.BAD_FIELD),
        (opened(bytes(15), CERTIFICATE.raw), Code.BAD_FIELD),
        (opened(bytes(16), CERTIFICATE.raw, 1), Code.BAD_FIELD),
        (opened(bytes(16)), Code.BAD_FIELD),
        (opened(bytes(16), SEAL.raw), Code.BAD_FIELD),
        (opened(bytes(16), b""), Code.MALFORMED),
        (opened(bytes(16), OTHERS.raw), Code.BAD_FIELD),
        (opened(bytes(16), bytes(64) + CERTIFICATE.raw[64:]), Code.BAD_SIGNATURE),
        (opened(bytes(16), CERTIFICATE.raw, kind=2), Code.BAD_FIELD),
        (opened(bytes(16), CERTIFICATE.raw, kind=3), Code.BAD_FIELD),
        (opened(bytes(16), CERTIFICATE.raw, key=OTHER), Code.BAD_SIGNATURE),
        (signed(2, ROOT.public, DEVICE.public, 0, A, 5), Code.BAD_FIELD),
        (signed(2, ROOT.public, DEVICE.public, 2**32, A, 5), Code.BAD_FIELD),
        (signed(2, ROOT.public, DEVICE.public, True, A, 5), Code.BAD_FIELD),
        (signed(2, ROOT.public, DEVICE.public, 3, A[1:], 5), Code.BAD_FIELD),
        (signed(2, ROOT.public, DEVICE.public, 3, A, -1), Code.BAD_FIELD),
        (signed(2, ROOT.public, DEVICE.public, 3, A, AT_MS_MAX + 1), Code.BAD_FIELD),
        (signed(3, bytes(32), DEVICE.public, 3, A, 5), Code.BAD_KEY),
        (signed(3, ROOT.public, bytes(32), 3, A, 5), Code.BAD_KEY),
        (signed(3, ROOT.public, DEVICE.public, 3, A, 5, key=DEVICE), Code.BAD_SIGNATURE),
        (signed(), Code.BAD_FIELD),
        (STATEMENT_PREFIX.rjust(68, b"\x00") + b"\xc0", Code.BAD_FIELD),
    ],
)
def test_a_false_statement_is_refused(raw: bytes, code: Code) -> None:
    with pytest.raises(RemoteError) as caught:
        parse_statement(raw)
    assert caught.value.code is code


@pytest.mark.parametrize("statement", [SEAL, OPENED])
def test_no_flipped_bit_passes(statement: Seal) -> None:
    for at in range(len(statement.raw) * 8):
        bent = bytearray(statement.raw)
        bent[at // 8] ^= 1 << at % 8
        with pytest.raises(RemoteError):
            parse_statement(bytes(bent))


def test_the_lowest_seal_counts_in_any_order() -> None:
    later = Seal.issue(ROOT, DEVICE.public, 9, B, 1)
    rival = Seal.issue(ROOT, DEVICE.public, 3, B, 0)
    for order in itertools.permutations([later, SEAL, rival, CERTIFICATE, SEAL]):
        assert counted_seal(order, ROOT.public, DEVICE.public) == SEAL


def test_another_root_has_no_say() -> None:
    strange = [
        Seal.issue(OTHER, DEVICE.public, 1, A, 0),
        Heal.issue(OTHER, DEVICE.public, 1, A, 0),
        Seal.issue(ROOT, OTHER.public, 1, A, 0),
    ]
    assert counted_seal(strange, ROOT.public, DEVICE.public) is None
    assert counted_heal(strange, ROOT.public, DEVICE.public) is None


def test_a_heal_said_twice_is_one_and_two_that_differ_are_none() -> None:
    again = Heal.issue(ROOT, DEVICE.public, 3, A, 99)
    assert counted_heal([again, HEAL, HEAL], ROOT.public, DEVICE.public) == HEAL
    for other in (
        Heal.issue(ROOT, DEVICE.public, 3, B, 5),
        Heal.issue(ROOT, DEVICE.public, 8, A, 5),
    ):
        assert counted_heal([other, HEAL], ROOT.public, DEVICE.public) is None


def test_only_a_branch_that_binds_nobody_may_be_abandoned() -> None:
    assert may_be_abandoned([EntryType.OFFER, EntryType.CLOSE, EntryType.STATEMENT, 200])
    for kind in range(EntryType.PROPOSE, EntryType.CANCEL + 1):
        assert not may_be_abandoned([EntryType.OFFER, kind])
