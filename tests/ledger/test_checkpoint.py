"""Notes, checkpoints and cosignatures: public ones verify, and what is not one is refused."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger import c2sp_vectors as public

from passby.ledger.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    WitnessKey,
    author_of,
    check_chain,
    cosigned_at,
    origin_of,
    parse_checkpoint,
    sign_checkpoint,
)
from passby.ledger.note import (
    KeyKind,
    Note,
    VerifierKey,
    check_signed,
    parse_note,
    parse_signatures,
    parse_vkey,
    sign_note,
)
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import NOTE_MAX, NOTE_SIGNATURES_MAX, SEQ_MAX

AUTHOR = SigningKey(b"\x01" * 32)
WITNESSES = [WitnessKey(SigningKey(bytes([at]) * 32)) for at in range(10, 14)]
ROOT = bytes(range(32))
AT_S = 1_700_000_000
SIGNED = sign_checkpoint(AUTHOR, 7, ROOT)
COSIGNED = SIGNED.with_lines(
    tuple(key.cosign(SIGNED.head.text, AT_S + at) for at, key in enumerate(WITNESSES))
)


# --- public data ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "note"),
    [
        (public.EXAMPLE_KEY, public.EXAMPLE_NOTE),
        (public.NEUMANN_KEY, public.NEUMANN_NOTE),
        *((public.SUMDB_KEY, note) for note in public.SUMDB_NOTES),
        (public.ARCHE_KEY, public.ARCHE_NOTE),
    ],
)
def test_public_notes_verify_and_with_another_text_do_not(key: str, note: str) -> None:
    read = parse_note(note.encode())
    vkey = parse_vkey(key)
    assert str(vkey) == key
    assert read.encode() == note.encode()
    check_signed(read, vkey)
    for at in range(len(read.text) - 1):
        text = read.text[:at] + bytes([read.text[at] ^ 1]) + read.text[at + 1 :]
        with pytest.raises(RemoteError):
            check_signed(Note(text, read.signatures), vkey)


@pytest.mark.parametrize("key", [public.REMORA_KEY, public.GARDEN_KEY, public.MOLE_KEY])
def test_public_cosignatures_verify_and_say_when(key: str) -> None:
    signed = parse_checkpoint(public.ARCHE_NOTE.encode())
    vkey = parse_vkey(key)
    assert str(vkey) == key
    assert cosigned_at(signed.note, vkey) == public.ARCHE_AT_S
    other = Note(signed.note.text.replace(b"1432088532", b"1432088533"), signed.note.signatures)
    with pytest.raises(RemoteError):
        cosigned_at(other, vkey)


def test_the_published_example_of_a_cosignature_has_its_published_time() -> None:
    signed = parse_checkpoint(public.COSIGNED_EXAMPLE.encode())
    assert signed.head.origin == "example.com/behind-the-sofa"
    assert signed.head.size == 20852163
    line = signed.note.signatures[1]
    assert line.name == "witness.example.com/w1"
    assert int.from_bytes(line.signature[:8], "big") == public.COSIGNED_EXAMPLE_AT_S
    assert len(line.signature) == 8 + 64
    assert signed.encode() == public.COSIGNED_EXAMPLE.encode()


def test_a_public_log_is_no_chain() -> None:
    with pytest.raises(RemoteError):
        check_chain(parse_checkpoint(public.SUMDB_NOTES[0].encode()))


# --- own checkpoints ------------------------------------------------------------------------


def test_a_checkpoint_names_the_chain_its_size_and_its_root() -> None:
    assert SIGNED.head.text.decode() == (
        f"passby/1/chain/{AUTHOR.public.hex()}\n7\n{b64encode(ROOT).decode()}\n"
    )
    assert parse_checkpoint(SIGNED.encode()) == SIGNED
    assert check_chain(SIGNED) == AUTHOR.public == author_of(origin_of(AUTHOR.public))


def test_cosignatures_travel_with_the_checkpoint_and_say_when() -> None:
    read = parse_checkpoint(COSIGNED.encode())
    assert read == COSIGNED
    assert check_chain(read) == AUTHOR.public
    for at, key in enumerate(WITNESSES):
        assert cosigned_at(read.note, key.verifier) == AT_S + at
    assert cosigned_at(SIGNED.note, WITNESSES[0].verifier) is None


def test_of_two_cosignatures_of_one_witness_the_newest_counts() -> None:
    key = WITNESSES[1]
    twice = COSIGNED.with_lines((key.cosign(SIGNED.head.text, AT_S + 90),))
    assert cosigned_at(twice.note, key.verifier) == AT_S + 90
    assert twice.with_lines(twice.note.signatures) == twice


def test_a_note_keeps_no_more_lines_than_a_reader_takes() -> None:
    key = WITNESSES[0]
    lines = tuple(key.cosign(SIGNED.head.text, AT_S + at) for at in range(NOTE_SIGNATURES_MAX + 9))
    full = SIGNED.with_lines(lines)
    assert len(full.note.signatures) == NOTE_SIGNATURES_MAX
    assert parse_checkpoint(full.encode()) == full


def test_every_flipped_bit_of_a_cosigned_checkpoint_is_refused_or_costs_its_line() -> None:
    good = COSIGNED.encode()
    ends = len(COSIGNED.head.text)
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        try:
            read = parse_checkpoint(bytes(bad))
            assert check_chain(read) == AUTHOR.public
            seen = [cosigned_at(read.note, key.verifier) for key in WITNESSES]
        except RemoteError:
            continue
        # A line whose name or key id changed belongs to nobody here; all else still stands.
        assert bit // 8 > ends
        assert read.head == SIGNED.head
        assert seen.count(None) == 1


def test_a_checkpoint_of_another_author_or_of_nobody_is_refused() -> None:
    other = SigningKey(b"\x02" * 32)
    text = SIGNED.head.text
    for note in (
        sign_note(text, other, SIGNED.head.origin),
        sign_note(text, other, origin_of(other.public)),
        Note(text, (WITNESSES[0].cosign(text, AT_S),)),
        Note(
            text,
            (*SIGNED.note.signatures, *sign_note(b"x\n", AUTHOR, SIGNED.head.origin).signatures),
        ),
    ):
        with pytest.raises(RemoteError):
            check_chain(SignedCheckpoint(SIGNED.head, note))


@pytest.mark.parametrize(
    "head",
    [
        Checkpoint(origin_of(AUTHOR.public), 0, ROOT),
        Checkpoint(origin_of(AUTHOR.public), SEQ_MAX + 1, ROOT),
        Checkpoint(origin_of(AUTHOR.public), 7, ROOT, ("more",)),
        Checkpoint(origin_of(AUTHOR.public).upper(), 7, ROOT),
        Checkpoint(origin_of(AUTHOR.public) + "0", 7, ROOT),
        Checkpoint(origin_of(AUTHOR.public) + " ", 7, ROOT),
        Checkpoint(origin_of(bytes(32)), 7, ROOT),
        Checkpoint("example.com/log", 7, ROOT),
    ],
    ids=["empty", "too long", "extension", "upper case", "longer", "space", "no point", "other"],
)
def test_what_no_chain_has_is_read_and_refused(head: Checkpoint) -> None:
    note = sign_note(head.text, AUTHOR, origin_of(AUTHOR.public))
    signed = parse_checkpoint(note.encode())
    assert signed.head == head
    with pytest.raises(RemoteError):
        check_chain(signed)


def test_a_witness_cannot_sign_for_the_author_nor_the_author_for_a_witness() -> None:
    """The kind of key is part of its id, and a cosignature signs another message."""
    both = WitnessKey(AUTHOR, SIGNED.head.origin)
    text = SIGNED.head.text
    line = both.cosign(text, AT_S)
    assert line.key_id != SIGNED.note.signatures[0].key_id
    forged = type(line)(line.name, SIGNED.note.signatures[0].key_id, line.signature[8:])
    with pytest.raises(RemoteError):
        check_chain(SignedCheckpoint(SIGNED.head, Note(text, (forged,))))


def test_a_cosignature_moved_to_another_time_is_false() -> None:
    key = WITNESSES[0]
    line = key.cosign(SIGNED.head.text, AT_S)
    for stamped in (
        (AT_S + 1).to_bytes(8, "big") + line.signature[8:],
        bytes(8) + line.signature[8:],
        b"\xff" * 8 + line.signature[8:],
        line.signature[8:],
        line.signature + b"\x00",
    ):
        moved = type(line)(line.name, line.key_id, stamped)
        with pytest.raises(RemoteError):
            cosigned_at(Note(SIGNED.head.text, (moved,)), key.verifier)


def test_a_key_of_one_name_and_another_id_is_another_key() -> None:
    stranger = WitnessKey(SigningKey(b"\x77" * 32), WITNESSES[0].verifier.name)
    line = stranger.cosign(b"lies\n", AT_S)
    note = Note(COSIGNED.head.text, (*COSIGNED.note.signatures, line))
    assert cosigned_at(note, WITNESSES[0].verifier) == AT_S


# --- strictness -----------------------------------------------------------------------------

LINE = SIGNED.note.signatures[0].line
TEXT = SIGNED.head.text
ORIGIN = SIGNED.head.origin.encode()


BELOW = TEXT + b"\n"
NO_NOTES = {
    "nothing": b"",
    "a newline": b"\n",
    "no signatures": TEXT,
    "no signatures below the blank line": BELOW,
    "no blank line": TEXT + LINE,
    "no newline at the end": BELOW + LINE[:-1],
    "a blank line at the end": BELOW + LINE + b"\n",
    "text behind signatures": BELOW + LINE + b"more\n",
    "text not ended": TEXT[:-1] + b"\n" + LINE,
    "carriage returns in the text": TEXT.replace(b"\n", b"\r\n") + b"\n" + LINE,
    "carriage returns in a signature": BELOW + LINE.replace(b"\n", b"\r\n"),
    "a hyphen": BELOW + LINE.replace("—".encode(), b"-"),
    "no space behind the dash": BELOW + LINE.replace("— ".encode(), "—".encode()),
    "two spaces behind the dash": BELOW + LINE.replace("— ".encode(), "—  ".encode()),
    "no name": BELOW + LINE.replace(ORIGIN, b""),
    "a plus in the name": BELOW + LINE.replace(ORIGIN, b"a+b"),
    "a no-break space in the name": BELOW + LINE.replace(ORIGIN, "a\u00a0b".encode()),
    "a line separator in the name": BELOW + LINE.replace(ORIGIN, "a\u2028b".encode()),
    "a long name": BELOW + LINE.replace(ORIGIN, b"a" * 256),
    "a name that is no UTF-8": BELOW + LINE.replace(ORIGIN, b"\xff"),
    "base64 without padding": BELOW + LINE.replace(b"=\n", b"\n"),
    "base64 with more padding": BELOW + LINE.replace(b"=\n", b"==\n"),
    "a tab behind base64": BELOW + LINE.replace(b"=\n", b"=\t\n"),
    "a space behind base64": BELOW + LINE.replace(b"=\n", b"= \n"),
    "a key id alone": BELOW + "— ".encode() + ORIGIN + b" AAAAAA==\n",
    "an empty signature": BELOW + "— ".encode() + ORIGIN + b" \n",
    "a name alone": BELOW + "— ".encode() + ORIGIN + b"\n",
    "a zero byte": b"\x00" + BELOW + LINE,
    "no UTF-8": b"\xff" + BELOW + LINE,
    "too many signatures": BELOW + LINE * (NOTE_SIGNATURES_MAX + 1),
    "too much text": b"a" * NOTE_MAX + BELOW + LINE,
}


@pytest.mark.parametrize("data", NO_NOTES.values(), ids=NO_NOTES)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteError):
        parse_note(data)


@pytest.mark.parametrize(
    "text",
    [
        b"\n7\n%(root)s\n",
        b"%(origin)s\n7\n",
        b"%(origin)s\n7\n\n%(root)s\n",
        b"%(origin)s\n7\n%(root)s\n\nmore\n",
        b"%(origin)s\n07\n%(root)s\n",
        b"%(origin)s\n-7\n%(root)s\n",
        b"%(origin)s\n+7\n%(root)s\n",
        b"%(origin)s\n7 \n%(root)s\n",
        b"%(origin)s\n 7\n%(root)s\n",
        b"%(origin)s\n7.0\n%(root)s\n",
        b"%(origin)s\n1_0\n%(root)s\n",
        b"%(origin)s\n\xd9\xa7\n%(root)s\n",
        b"%(origin)s\n0x7\n%(root)s\n",
        b"%(origin)s\n9223372036854775808\n%(root)s\n",
        b"%(origin)s\n10000000000000000000\n%(root)s\n",
        b"%(origin)s\n7\n%(root)s=\n",
        b"%(origin)s\n7\n%(short)s\n",
        b"%(origin)s\n7\n%(long)s\n",
        b"%(origin)s\n7\nbananas\n",
        b"%(origin)s\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        b"%(origin)s\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n",
        b"%(origin)s\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh_=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused_though_signed(text: bytes) -> None:
    filled = text % {
        b"origin": ORIGIN,
        b"root": b64encode(ROOT),
        b"short": b64encode(ROOT[:31]),
        b"long": b64encode(ROOT + b"\x00"),
    }
    with pytest.raises(RemoteError):
        parse_checkpoint(sign_note(filled, AUTHOR, SIGNED.head.origin).encode())


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+0530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k=",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+BekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example com+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "\udcff+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+\udcff",
        str(VerifierKey("low", KeyKind.ED25519, bytes(32))),
    ],
)
def test_what_is_no_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(RemoteError):
        parse_vkey(vkey)


def test_one_public_key_has_another_id_for_another_use() -> None:
    plain = VerifierKey("name", KeyKind.ED25519, AUTHOR.public)
    witness = VerifierKey("name", KeyKind.COSIGNATURE, AUTHOR.public)
    assert plain.id != witness.id
    assert parse_vkey(str(plain)) == plain
    assert parse_vkey(str(witness)) == witness


READERS: list[Callable[[bytes], object]] = [parse_note, parse_checkpoint, parse_signatures]


@pytest.mark.parametrize("read", READERS)
@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from([TEXT, LINE, b"\n", ORIGIN, b"7\n", b"\xe2\x80\x94 ", b" ", b"=", b"\xff"]),
        max_size=9,
    ).map(b"".join)
)
def test_bytes_of_any_kind_are_refused_or_read_to_the_byte(
    read: Callable[[bytes], object], data: bytes
) -> None:
    try:
        found = read(data)
    except RemoteError:
        return
    match found:
        case Note() | SignedCheckpoint():
            assert found.encode() == data
        case tuple():
            assert b"".join(line.line for line in found) == data
