"""Policies: k of n, groups, and the file they are read from."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger import c2sp_vectors as public

from passby.ledger.checkpoint import SignedCheckpoint, WitnessKey, cosigned_at, sign_checkpoint
from passby.ledger.note import NoteSignature, VerifierKey, parse_note, parse_vkey
from passby.ledger.policy import Group, Policy, k_of, parse_policy, readable, satisfied, sifted
from passby.protocol.errors import ConfigError, RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import COSIGNATURE_AHEAD_MAX_S, POLICY_MAX, POLICY_NAMES_MAX

AUTHOR = SigningKey(b"\x01" * 32)
KEYS = [WitnessKey(SigningKey(bytes([at]) * 32)) for at in range(10, 15)]
VERIFIERS = [key.verifier for key in KEYS]
NOW_S = 1_700_000_000
SIGNED = sign_checkpoint(AUTHOR, 9, b"r" * 32)


def cosigned(*keys: WitnessKey, at_s: int = NOW_S) -> SignedCheckpoint:
    return SIGNED.with_lines(tuple(key.cosign(SIGNED.head.text, at_s) for key in keys))


@given(st.sets(st.integers(0, 4)), st.integers(1, 5))
def test_k_of_n_is_reached_by_k_and_not_by_fewer(have: set[int], k: int) -> None:
    quorum = satisfied(cosigned(*(KEYS[at] for at in have)), k_of(k, VERIFIERS), NOW_S)
    assert quorum.reached == (len(have) >= k)
    assert set(quorum.counted) == {VERIFIERS[at].name for at in have}


def test_a_witness_that_cosigns_twice_counts_once() -> None:
    signed = cosigned(KEYS[0]).with_lines(cosigned(KEYS[0], at_s=NOW_S - 5).note.signatures)
    assert not satisfied(signed, k_of(2, VERIFIERS), NOW_S).reached


def test_a_witness_that_the_policy_does_not_list_counts_for_nothing() -> None:
    stranger = WitnessKey(SigningKey(b"s" * 32))
    posing = WitnessKey(SigningKey(b"t" * 32), VERIFIERS[0].name)
    assert satisfied(cosigned(stranger, posing), k_of(1, VERIFIERS), NOW_S).counted == ()


def test_what_is_dated_ahead_or_too_long_ago_is_not_counted() -> None:
    policy = k_of(1, VERIFIERS)
    ahead = NOW_S + COSIGNATURE_AHEAD_MAX_S
    assert satisfied(cosigned(KEYS[0], at_s=ahead), policy, NOW_S).reached
    assert not satisfied(cosigned(KEYS[0], at_s=ahead + 1), policy, NOW_S).reached
    assert satisfied(cosigned(KEYS[0]), policy, NOW_S, since_s=NOW_S).reached
    assert not satisfied(cosigned(KEYS[0]), policy, NOW_S, since_s=NOW_S + 1).reached


def test_a_false_line_of_a_listed_witness_spoils_the_note() -> None:
    line = KEYS[1].cosign(b"another\n", NOW_S)
    with pytest.raises(RemoteError):
        satisfied(cosigned(KEYS[0]).with_lines((line,)), k_of(1, VERIFIERS), NOW_S)


def test_no_quorum_vouches_for_what_the_author_did_not_sign() -> None:
    other = sign_checkpoint(SigningKey(b"\x02" * 32), 9, b"r" * 32)
    forged = SignedCheckpoint(
        SIGNED.head, type(SIGNED.note)(SIGNED.head.text, other.note.signatures)
    )
    with pytest.raises(RemoteError):
        satisfied(forged, Policy({}, {}), NOW_S)


def test_the_policy_that_asks_for_nobody_is_satisfied() -> None:
    assert satisfied(SIGNED, parse_policy(b"quorum none\n"), NOW_S).reached


def policy_text(*lines: str) -> bytes:
    named = [f"witness w{at} {key}" for at, key in enumerate(VERIFIERS)]
    return "\n".join([*named, *lines, ""]).encode()


def test_a_policy_file_with_groups_is_read_and_counted() -> None:
    policy = parse_policy(
        policy_text(
            "# two of ours and one of theirs",
            "",
            "group ours 2 w0 w1 w2",
            "\tgroup  theirs\tany w3 w4  ",
            "group both all ours theirs",
            "quorum both",
        )
    )
    assert policy.groups == {
        "ours": Group(2, ("w0", "w1", "w2")),
        "theirs": Group(1, ("w3", "w4")),
        "both": Group(2, ("ours", "theirs")),
    }
    assert satisfied(cosigned(KEYS[0], KEYS[2], KEYS[4]), policy, NOW_S).reached
    assert not satisfied(cosigned(KEYS[0], KEYS[1], KEYS[2]), policy, NOW_S).reached
    assert not satisfied(cosigned(KEYS[0], KEYS[3], KEYS[4]), policy, NOW_S).reached


def test_a_single_witness_may_be_the_quorum_and_have_a_url() -> None:
    text = f"witness w {VERIFIERS[0]} https://witness.example/\nquorum w"
    policy = parse_policy(text.encode())
    assert satisfied(cosigned(KEYS[0]), policy, NOW_S).reached
    assert not satisfied(cosigned(KEYS[1]), policy, NOW_S).reached


def test_public_witnesses_can_be_listed() -> None:
    keys = [public.REMORA_KEY, public.GARDEN_KEY, public.MOLE_KEY]
    lines = [f"witness w{at} {key}" for at, key in enumerate(keys)]
    policy = parse_policy("\n".join([*lines, "group q 2 w0 w1 w2", "quorum q"]).encode())
    note = parse_note(public.ARCHE_NOTE.encode())
    assert [cosigned_at(note, key) for key in policy.witnesses.values()] == [public.ARCHE_AT_S] * 3
    assert [str(key) for key in policy.witnesses.values()] == keys


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "no quorum"),
        (policy_text("quorum w9"), "'w9' is not defined"),
        (policy_text("quorum w0", "quorum w0"), "a quorum already"),
        (policy_text("group g 0 w0", "quorum g"), "'0' of 1"),
        (policy_text("group g 2 w0", "quorum g"), "'2' of 1"),
        (policy_text("group g +1 w0", "quorum g"), "'+1' of 1"),
        (policy_text("group g 1 w0 w0", "quorum g"), "a member already"),
        (policy_text("group g 1 w0", "group h 1 w0 w1", "quorum h"), "a member already"),
        (policy_text("group g 1 g", "quorum g"), "'g' is not defined"),
        (policy_text("group g 1 h", "group h 1 w0", "quorum g"), "'h' is not defined"),
        (policy_text("group g 1", "quorum g"), "no policy line"),
        (policy_text("group w0 1 w1", "quorum w0"), "'w0' is taken"),
        (policy_text("group none 1 w1", "quorum none"), "'none' is taken"),
        (policy_text("group g 1 none", "quorum g"), "'none' is not defined"),
        (policy_text(f"witness again {VERIFIERS[0]}", "quorum w0"), "listed twice"),
        (
            policy_text(f"witness a {WitnessKey(SigningKey(b'a' * 32)).verifier}+", "quorum a"),
            "Line 6",
        ),
        (f"witness a {public.SUMDB_KEY}\nquorum a".encode(), "not cosignatures"),
        (f"log {public.SUMDB_KEY}\nquorum none".encode(), "logs are not listed"),
        (b"quorum\n", "no policy line"),
        (b"quorum none none\n", "no policy line"),
        (b"quorom none\n", "no policy line"),
        (b"quorum none\r\n", "control characters"),
        (b"quorum none\n\x00", "control characters"),
        (b"#" * (POLICY_MAX + 1), "at most"),
        (b"\xff\xfe\nquorum none", "no policy line"),
    ],
)
def test_a_wrong_policy_says_what_is_wrong_and_where(text: bytes, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(text)
    assert says in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint


def test_a_policy_has_a_bounded_number_of_names() -> None:
    lines = ["group g0 1 w0"]
    lines += [f"group g{at} 1 g{at - 1}" for at in range(1, POLICY_NAMES_MAX)]
    with pytest.raises(ConfigError):
        parse_policy(policy_text(*lines, "quorum g0"))
    fits = lines[: POLICY_NAMES_MAX - len(KEYS)]
    policy = parse_policy(policy_text(*fits, f"quorum g{len(fits) - 1}"))
    assert satisfied(cosigned(KEYS[0]), policy, NOW_S).reached


@given(
    st.binary(max_size=80)
    | st.lists(
        st.sampled_from(
            ["witness", "group", "quorum", "none", "a", "b", "1", "any", " ", "\n", "#", "\t"]
            + [str(key) for key in VERIFIERS[:2]]
        ),
        max_size=20,
    ).map(lambda words: " ".join(words).encode())
)
def test_a_policy_of_any_bytes_is_read_or_refused_with_an_answer(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert satisfied(SIGNED, parse_policy(data), NOW_S).counted == ()


def test_names_beyond_ascii_are_told_apart_byte_by_byte() -> None:
    latin, utf8 = b"caf\xe9", "caf\u00e9".encode()
    text = b"witness %b %b\nwitness %b %b\nquorum %b\n" % (
        latin, str(VERIFIERS[0]).encode(), utf8, str(VERIFIERS[1]).encode(), utf8
    )  # fmt: skip
    policy = parse_policy(text)
    assert satisfied(cosigned(KEYS[1]), policy, NOW_S).reached
    assert not satisfied(cosigned(KEYS[0]), policy, NOW_S).reached


def test_a_line_is_no_key_of_a_witness_by_its_name_alone() -> None:
    key = VerifierKey(VERIFIERS[0].name, VERIFIERS[0].kind, VERIFIERS[1].public)
    assert parse_vkey(str(key)) == key
    line = KEYS[0].cosign(SIGNED.head.text, NOW_S)
    renamed = NoteSignature(line.name, key.id, line.signature)
    with pytest.raises(RemoteError):
        satisfied(SIGNED.with_lines((renamed,)), k_of(1, [key]), NOW_S)


def test_sifting_leaves_the_author_and_the_newest_true_line_of_each_witness() -> None:
    asked, stranger, forger = KEYS[:3]
    signed = cosigned(asked, stranger)
    late = asked.cosign(signed.note.text, NOW_S + 5)
    forged = forger.cosign(signed.note.text, NOW_S + 9)
    false = NoteSignature(late.name, late.key_id, forged.signature)
    sifting = sifted(signed.with_lines((late, false)), [asked.verifier])
    assert sifting.note.signatures == (signed.note.signatures[0], late)
    assert cosigned_at(sifting.note, asked.verifier) == NOW_S + 5


def test_names_are_shown_as_the_text_that_they_are() -> None:
    assert readable("J\udcc3\udcb6rg") == "Jörg"
    assert readable("\udcff") == "\N{REPLACEMENT CHARACTER}"
