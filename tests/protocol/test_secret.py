"""Hand-over secrets."""

from __future__ import annotations

import hashlib

import pytest

from passby.protocol.errors import UsageError
from passby.protocol.secret import SECRET_BYTES, code_from, secret_hash, stretch

PROPOSE, GIVER, HOLDER = b"p" * 32, b"g" * 32, b"h" * 32


def test_the_hash_names_propose_giver_holder_and_secret() -> None:
    secret = bytes(16)
    expected = hashlib.sha256(b"\x04" + PROPOSE + GIVER + HOLDER + secret).digest()
    assert secret_hash(PROPOSE, GIVER, HOLDER, secret) == expected
    others = [
        secret_hash(HOLDER, GIVER, HOLDER, secret),
        secret_hash(PROPOSE, HOLDER, HOLDER, secret),
        secret_hash(PROPOSE, GIVER, GIVER, secret),
        secret_hash(PROPOSE, GIVER, HOLDER, b"1" * 16),
    ]
    assert len({expected, *others}) == 5


def test_a_code_is_four_words_that_tell_44_bits() -> None:
    assert code_from(bytes(8)) == "abandon abandon abandon abandon"
    assert code_from(b"\xff" * 8) == "zoo zoo zoo zoo"
    assert code_from((2**33 + 1).to_bytes(8, "big")) == "ability abandon abandon ability"


def test_a_code_said_in_any_way_gives_one_secret_for_one_giver_alone() -> None:
    secret = stretch("able baby cabin dad", PROPOSE, GIVER, HOLDER)
    assert len(secret) == SECRET_BYTES
    assert stretch(" Able-BABY cabin  dad ", PROPOSE, GIVER, HOLDER) == secret
    assert stretch("able baby cabin dad", PROPOSE, HOLDER, GIVER) != secret


@pytest.mark.parametrize("code", ["", "able baby cabin", "able baby cabin dad able"])
def test_a_code_of_other_than_four_words_is_told_so(code: str) -> None:
    with pytest.raises(UsageError, match="4 words"):
        stretch(code, PROPOSE, GIVER, HOLDER)


def test_a_word_that_is_not_on_the_list_is_named() -> None:
    with pytest.raises(UsageError, match="xyzzy"):
        stretch("able baby xyzzy dad", PROPOSE, GIVER, HOLDER)
