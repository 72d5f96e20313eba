"""Vouches: what they hand on, and how little a liar gains by many keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from passby.ledger.trust import shares, standing_vouches
from passby.protocol.limits import (
    TRUST_DEPTH,
    UNVOUCHED_ENTRIES,
    VOUCHED_ENTRIES,
    VOUCHES_MAX,
)

ME = b"me"


def key(number: int) -> bytes:
    return b"%06d" % number


def reckon(
    vouches: Mapping[bytes, Sequence[bytes]],
    trusted: Sequence[bytes] = (),
    frozen: Sequence[bytes] = (),
) -> Mapping[bytes, int]:
    return shares([ME], trusted, lambda author: vouches.get(author, ()), lambda a: a in frozen)


def test_whom_an_own_device_vouches_for_has_a_whole_share() -> None:
    found = reckon({ME: [b"ann", b"ben"]}, [b"cleo"])
    assert found == dict.fromkeys((b"ann", b"ben", b"cleo"), VOUCHED_ENTRIES)


def test_a_voucher_hands_on_half_its_share_in_equal_parts() -> None:
    found = reckon({ME: [b"ann"], b"ann": [b"ben", b"cleo"], b"ben": [b"dirk"]})
    assert found[b"ben"] == found[b"cleo"] == VOUCHED_ENTRIES // 4
    assert found[b"dirk"] == VOUCHED_ENTRIES // 8


def test_of_several_vouchers_the_nearest_counts_and_then_the_most_generous() -> None:
    found = reckon(
        {ME: [b"ann", b"ben"], b"ann": [b"dirk", b"ben"], b"ben": [b"dirk"], b"dirk": [b"ann"]}
    )
    assert found[b"ben"] == VOUCHED_ENTRIES
    assert found[b"dirk"] == VOUCHED_ENTRIES // 2


def test_vouches_reach_no_further_than_the_depth() -> None:
    line = {ME: [key(1)]} | {key(n): [key(n + 1)] for n in range(1, 9)}
    assert set(reckon(line)) == {key(n) for n in range(1, TRUST_DEPTH + 1)}


def test_who_is_proven_false_vouches_for_nobody_and_keeps_its_place() -> None:
    vouches = {ME: [b"ann"], b"ann": [b"ben"], b"ben": [b"cleo"]}
    assert b"cleo" in reckon(vouches)
    assert set(reckon(vouches, frozen=[b"ann"])) == {b"ann"}
    assert set(reckon(vouches, frozen=[b"ben"])) == {b"ann", b"ben"}


def test_own_devices_have_no_quota_whoever_vouches_for_them() -> None:
    assert reckon({ME: [b"ann"], b"ann": [ME]}) == {b"ann": VOUCHED_ENTRIES}


def test_a_vouch_that_was_taken_back_does_not_stand_until_it_is_given_again() -> None:
    given = [(b"ann", True), (b"ben", True), (b"ann", False)]
    assert standing_vouches(given) == [b"ben"]
    assert standing_vouches([*given, (b"ann", True)]) == [b"ben", b"ann"]


@given(st.integers(1, 3 * VOUCHES_MAX))
def test_keys_of_one_liar_share_less_than_the_liar_has(keys: int) -> None:
    sybils = [key(n) for n in range(keys)]
    found = reckon({ME: [b"liar"], b"liar": sybils})
    assert sum(found.get(sybil, 0) for sybil in sybils) <= VOUCHED_ENTRIES // 2


@given(st.dictionaries(st.integers(0, 40), st.lists(st.integers(0, 40), max_size=40), max_size=41))
def test_whatever_sybils_vouch_for_each_other_all_behind_a_liar_have_less_than_it(
    behind: dict[int, list[int]],
) -> None:
    vouches = {ME: [b"liar"], b"liar": [key(n) for n in behind]}
    for voucher, vouchees in behind.items():
        vouches[key(voucher)] = [key(n) for n in dict.fromkeys(vouchees)]
    found = dict(reckon(vouches))
    assert found.pop(b"liar") == VOUCHED_ENTRIES
    assert sum(found.values()) < VOUCHED_ENTRIES
    assert all(share > UNVOUCHED_ENTRIES for share in found.values())


@given(st.integers(0, 2**20))
def test_who_vouches_more_hands_on_no_more(seed: int) -> None:
    few, many = 1 + seed % 50, 1 + seed % 2000
    alone = reckon({ME: [b"ann"], b"ann": [key(n) for n in range(few)]})
    crowd = reckon({ME: [b"ann"], b"ann": [key(n) for n in range(max(few, many))]})
    assert crowd.get(key(0), 0) <= alone[key(0)]
