"""Keys, backup words and certificates."""

from __future__ import annotations

import hashlib

import pytest

from passby.protocol.codec import encode
from passby.protocol.errors import Code, RemoteError, UsageError
from passby.protocol.keys import (
    STATEMENT_PREFIX,
    Certificate,
    SigningKey,
    certificate_commitment,
    is_point,
    root_from_words,
    root_words,
    verify,
)

ROOT = root_from_words(root_words(bytes(32)))
DEVICE = SigningKey(b"d" * 32)
ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_signature_verifies_under_its_key_alone() -> None:
    signed = DEVICE.sign(b"hi") + b"hi"
    assert verify(DEVICE.public, signed)
    assert not verify(ROOT.public, signed)
    assert not verify(DEVICE.public, signed + b"!")
    assert not verify(b"short", signed)
    assert not verify(DEVICE.public, b"short")


def test_a_signature_with_s_plus_the_group_order_is_refused() -> None:
    signature = DEVICE.sign(b"hi")
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(DEVICE.public, signature[:32] + s.to_bytes(32, "little") + b"hi")


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"short"])
def test_small_order_and_broken_keys_are_no_points(point: bytes) -> None:
    assert not is_point(point)
    assert is_point(DEVICE.public)


def test_the_private_key_does_not_show_in_its_repr() -> None:
    assert repr(DEVICE) == f"SigningKey({DEVICE.public.hex()[:12]})"


def test_backup_words_bring_the_same_root_back_however_they_are_typed() -> None:
    words = root_words(b"\x07" * 32)
    assert len(words.split()) == 24
    again = root_from_words("  " + words.upper().replace(" ", "\n "))
    assert again.public == root_from_words(words).public


def test_a_wrong_backup_word_is_told_to_the_person() -> None:
    words = root_words(bytes(32)).split()
    for wrong in ([*words[:23], "abandon"], words[:23], [*words[:23], "xyzzy"]):
        with pytest.raises(UsageError, match="do not fit together"):
            root_from_words(" ".join(wrong))


def test_a_certificate_is_read_again() -> None:
    certificate = Certificate.issue(ROOT, DEVICE.public, 5)
    assert Certificate.parse(certificate.raw) == certificate


def statement(*fields: object, key: SigningKey = ROOT) -> bytes:
    message = STATEMENT_PREFIX + encode(list(fields))  # type: ignore[arg-type]  # odd ones too
    return key.sign(message) + message


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", Code.MALFORMED),
        (statement(1, ROOT.public, DEVICE.public, 5)[:-1], Code.MALFORMED),
        (statement(2, ROOT.public, DEVICE.public, 5), Code.BAD_FIELD),
        (statement(True, ROOT.public, DEVICE.public, 5), Code.BAD_FIELD),
        (statement(1, ROOT.public, DEVICE.public, -1), Code.BAD_FIELD),
        (statement(1, ROOT.public, DEVICE.public), Code.BAD_FIELD),
        (statement(1, bytes(32), DEVICE.public, 5), Code.BAD_KEY),
        (statement(1, ROOT.public, bytes(32), 5), Code.BAD_KEY),
        (statement(1, ROOT.public, DEVICE.public, 5, key=DEVICE), Code.BAD_SIGNATURE),
    ],
)
def test_a_false_certificate_is_refused(raw: bytes, code: Code) -> None:
    with pytest.raises(RemoteError) as caught:
        Certificate.parse(raw)
    assert caught.value.code is code


def test_the_genesis_fact_commits_to_certificate_and_salt() -> None:
    raw = Certificate.issue(ROOT, DEVICE.public, 5).raw
    expected = hashlib.sha256(b"\x05" + b"s" * 16 + raw).digest()
    assert certificate_commitment(b"s" * 16, raw) == expected
