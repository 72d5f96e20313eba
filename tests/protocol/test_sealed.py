"""Words sealed to the parties of a trade: who opens them, and what tampering comes to."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey, SealedBox

from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import PAYLOAD_MAX, SEALED_TO_MAX, TEXT_MAX
from passby.protocol.payloads import Note, decode_payload, encode_payload
from passby.protocol.sealed import KEY_ID_BYTES, BoxKey, Sealed, seal, unseal

KEYS = [BoxKey(bytes([number]) * 32) for number in range(1, 10)]
ANN, BO, EVE = KEYS[:3]
AUTHOR, CONTEXT = b"a" * 32, b"t" * 32
NOTE = encode_payload(Note("Ring twice, the dog is friendly."))


def sealed_to(*keys: BoxKey, content: bytes = NOTE) -> Sealed:
    entropy = random.Random(7).randbytes
    return seal(content, [key.public for key in keys], AUTHOR, CONTEXT, entropy)


def travelled(sealed: Sealed) -> Sealed:
    data = encode_payload(Note(sealed=sealed))
    found = decode_payload(data, Note).sealed
    assert found is not None
    return found


def test_each_party_opens_what_was_sealed_to_all() -> None:
    sealed = travelled(sealed_to(ANN, BO))
    for key in (ANN, BO):
        assert unseal(sealed, key, AUTHOR, CONTEXT) == NOTE


def test_a_stranger_opens_nothing_and_sees_no_text() -> None:
    sealed = sealed_to(ANN, BO)
    assert unseal(sealed, EVE, AUTHOR, CONTEXT) is None
    assert b"dog" not in encode_payload(Note(sealed=sealed))


def test_a_stranger_who_puts_own_id_over_a_seal_opens_nothing() -> None:
    sealed = sealed_to(ANN, BO)
    stolen = Sealed(sealed.box, ((EVE.public[:KEY_ID_BYTES], sealed.to[0][1]),))
    with pytest.raises(RemoteError) as caught:
        unseal(stolen, EVE, AUTHOR, CONTEXT)
    assert caught.value.code is Code.BAD_PAYLOAD


def test_a_box_copied_into_anothers_entry_or_trade_does_not_open() -> None:
    sealed = sealed_to(ANN, BO)
    for author, context in ((b"e" * 32, CONTEXT), (AUTHOR, b"u" * 32)):
        with pytest.raises(RemoteError):
            unseal(sealed, BO, author, context)


def test_the_same_key_ids_first_bytes_do_not_hide_the_seal_that_opens() -> None:
    sealed = sealed_to(ANN)
    decoy = (ANN.public[:KEY_ID_BYTES], bytes(80))
    assert unseal(Sealed(sealed.box, (decoy, *sealed.to)), ANN, AUTHOR, CONTEXT) == NOTE


def test_the_seal_is_libsodiums() -> None:
    private = PrivateKey.from_seed(b"\x01" * 32)
    assert bytes(private.public_key) == ANN.public
    sealed = sealed_to(ANN)
    assert len(SealedBox(private).decrypt(sealed.to[0][1])) == 32
    assert ANN.unseal(SealedBox(private.public_key).encrypt(b"x" * 32)) == b"x" * 32


@given(st.data())
def test_a_single_flipped_bit_opens_nothing(data: st.DataObject) -> None:
    sealed = sealed_to(ANN, BO)
    raw = bytearray(encode_payload(Note(sealed=sealed)))
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    try:
        found = decode_payload(bytes(raw), Note).sealed
        opened = None if found is None else unseal(found, ANN, AUTHOR, CONTEXT)
    except RemoteError:
        return
    # The bit was in the seal for the other party, or hid this one's id.
    assert opened in (None, NOTE)


@given(st.binary(max_size=200), st.binary(min_size=80, max_size=80))
def test_whatever_a_peer_writes_is_refused_or_not_for_us(box: bytes, sealed_key: bytes) -> None:
    try:
        found = travelled(Sealed(box, ((ANN.public[:KEY_ID_BYTES], sealed_key),)))
        assert unseal(found, ANN, AUTHOR, CONTEXT) is None
    except RemoteError:
        pass


def test_too_many_readers_none_and_keys_that_are_none_are_refused() -> None:
    with pytest.raises(RemoteError):
        sealed_to(*KEYS)
    with pytest.raises(RemoteError):
        sealed_to()
    for bad in (bytes(32), b"\x01" + bytes(31), b"short"):
        with pytest.raises(RemoteError) as caught:
            seal(NOTE, [ANN.public, bad], AUTHOR, CONTEXT, random.Random(7).randbytes)
        assert caught.value.code is Code.BAD_KEY


def test_a_full_page_to_as_many_as_may_be_fits_a_payload() -> None:
    page = encode_payload(Note("x" * TEXT_MAX))
    whole = encode_payload(Note(sealed=sealed_to(*KEYS[:SEALED_TO_MAX], content=page)))
    assert len(whole) <= PAYLOAD_MAX
    with pytest.raises(RemoteError):
        sealed_to(ANN, content=bytes(PAYLOAD_MAX))
