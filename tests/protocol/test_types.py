"""The shape of every type."""

from __future__ import annotations

import msgspec
import pytest

from passby.protocol.entry import Body, sign
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import AT_MS_MAX, BODY_MAX
from passby.protocol.types import SHAPES, EntryType, check_shape

H = bytes(32)
KEY = SigningKey(bytes(32))


def ref(number: int) -> bytes:
    return number.to_bytes(32, "big")


def refs(count: int) -> tuple[bytes, ...]:
    return tuple(ref(number) for number in range(count))


STOCK = (2, 2, 0, 1, 1, 1)
GOOD: dict[EntryType, Body] = {
    kind: Body(KEY.public, 1 if kind == EntryType.GENESIS else 3,
               None if kind == EntryType.GENESIS else H, 0, kind, refs(count), stock, facts)
    for kind, count, stock, facts in [
        (EntryType.GENESIS, 0, (), (H,)),
        (EntryType.OFFER, 0, STOCK, (1, 2)),
        (EntryType.REQUEST, 1, (), (1, 2)),
        (EntryType.ADJUST, 2, STOCK, ()),
        (EntryType.CLOSE, 1, STOCK, ()),
        (EntryType.PROPOSE, 2, (), (H, 9, 5, 2, 9, 5, 0, 9)),
        (EntryType.RESERVE, 2, STOCK, (9, H, H)),
        (EntryType.CONFIRM, 7, (), (9, H, H, H, H, H, H)),
        (EntryType.COMMIT, 3, (), ()),
        (EntryType.HANDOVER, 4, STOCK, (bytes(16), 1)),
        (EntryType.RECEIPT, 2, (), (1, 0)),
        (EntryType.RELEASE, 3, STOCK, (0,)),
        (EntryType.CANCEL, 1, (), (0,)),
        (EntryType.STATEMENT, 0, (), ()),
        (EntryType.WITHDRAW, 1, (), (2,)),
        (EntryType.VOUCH, 0, (), (H, 1)),
        (EntryType.RATING, 1, (), (5,)),
    ]
}  # fmt: skip


def change(kind: EntryType, **fields: object) -> Body:
    return msgspec.structs.replace(GOOD[kind], **fields)


def refuse(body: Body) -> None:
    with pytest.raises(RemoteError) as caught:
        check_shape(body)
    assert caught.value.code is Code.BAD_FIELD


def test_every_type_has_a_shape_and_a_good_example() -> None:
    assert set(SHAPES) == set(EntryType) == set(GOOD)


@pytest.mark.parametrize("kind", EntryType)
def test_a_good_example_passes(kind: EntryType) -> None:
    check_shape(GOOD[kind])


@pytest.mark.parametrize("kind", EntryType)
def test_refs_beyond_the_types_bounds_are_refused(kind: EntryType) -> None:
    shape = SHAPES[kind]
    if kind != EntryType.PROPOSE:
        refuse(change(kind, refs=refs(shape.refs_max + 1)))
    if shape.refs_min:
        refuse(change(kind, refs=refs(shape.refs_min - 1)))


@pytest.mark.parametrize("kind", EntryType)
def test_stock_where_none_belongs_and_none_where_it_does_are_refused(kind: EntryType) -> None:
    if SHAPES[kind].stock == {0}:
        refuse(change(kind, stock=STOCK))
    if SHAPES[kind].stock == {6}:
        refuse(change(kind, stock=()))
    refuse(change(kind, stock=(1, 2)))


@pytest.mark.parametrize("kind", EntryType)
def test_a_fact_too_many_is_refused(kind: EntryType) -> None:
    refuse(change(kind, facts=(*GOOD[kind].facts, 1)))


@pytest.mark.parametrize(
    "fields",
    [
        {"author": bytes(31)},
        {"seq": 0},
        {"seq": 2**32},
        {"prev": None},
        {"prev": bytes(31)},
        {"at_ms": -1},
        {"at_ms": AT_MS_MAX + 1},
        {"type": 0},
        {"type": 256},
        {"type": EntryType.GENESIS},
        {"payload_len": 4097, "payload_hash": H},
        {"payload_len": 1},
        {"payload_hash": H},
        {"payload_len": 1, "payload_hash": bytes(31)},
        {"refs": (ref(1), ref(2), ref(2))},
        {"refs": (ref(1), ref(2), bytes(31))},
    ],
)
def test_a_field_out_of_range_is_refused_whatever_the_type(fields: dict[str, object]) -> None:
    refuse(change(EntryType.COMMIT, **fields))


def test_an_unknown_type_passes_within_the_common_bounds() -> None:
    check_shape(change(EntryType.COMMIT, type=200, refs=refs(8), facts=(1, bytes(16), H)))
    refuse(change(EntryType.COMMIT, type=200, refs=refs(9)))
    refuse(change(EntryType.COMMIT, type=200, facts=(bytes(17),)))
    refuse(change(EntryType.COMMIT, type=200, facts=(2**64,)))
    refuse(change(EntryType.COMMIT, type=200, facts=(-1,)))
    refuse(change(EntryType.COMMIT, type=200, stock=(2**53,)))


def test_a_chain_starts_with_a_genesis_and_has_only_one() -> None:
    refuse(change(EntryType.GENESIS, seq=2, prev=H))
    refuse(change(EntryType.OFFER, seq=1, prev=None))


@pytest.mark.parametrize(
    "facts",
    [
        (H, 9, 5, 2, 9, 5, 1, 9),
        (H, 9, 5, 1, 9, 5, 0, 9),
        (H, 9, 5, 3, 9, 5, 0, 9),
        (H, 9, 0, 2, 9, 5, 0, 9),
        (9, 9, 5, 2, 9, 5, 0, 9),
        (H, 9, 5, 2, 9),
        (H, 9, 5, 2, 9, 5, 0, H),
    ],
    ids=["circle", "to itself", "to nowhere", "nothing", "no terms", "a lot short", "no time"],
)
def test_a_proposes_lots_all_lead_to_the_taker(facts: tuple[int | bytes, ...]) -> None:
    refuse(change(EntryType.PROPOSE, facts=facts))


def test_a_receipt_is_of_goods_or_of_money() -> None:
    check_shape(change(EntryType.RECEIPT, facts=(2, 0)))
    refuse(change(EntryType.RECEIPT, facts=(3, 0)))
    refuse(change(EntryType.RECEIPT, facts=(0, 0)))


def test_a_secret_is_sixteen_bytes() -> None:
    refuse(change(EntryType.HANDOVER, facts=(H, 1)))
    refuse(change(EntryType.HANDOVER, facts=(bytes(16), 0)))


def test_the_largest_confirm_is_under_650_bytes() -> None:
    body = Body(KEY.public, 2**32 - 1, H, AT_MS_MAX, EntryType.CONFIRM, refs(7), (),
                (AT_MS_MAX, *[H] * 6), 4096, H)  # fmt: skip
    check_shape(body)
    assert len(sign(KEY, body).raw) - 64 < 650 <= BODY_MAX


@pytest.mark.parametrize(
    "facts", [(), (H,), (1, H), (H, 2), (H, H), (H, 1, 0), (bytes(16), 1), (H, 2**63)]
)
def test_a_vouch_names_an_author_and_says_yes_or_no(facts: tuple[int | bytes, ...]) -> None:
    refuse(change(EntryType.VOUCH, facts=facts))
    check_shape(change(EntryType.VOUCH, facts=(H, 0)))


@pytest.mark.parametrize("facts", [(), (0,), (6,), (1, 1), (H,), (2**64 - 1,)])
def test_a_rating_has_one_to_five_stars(facts: tuple[int | bytes, ...]) -> None:
    refuse(change(EntryType.RATING, facts=facts))


@pytest.mark.parametrize("facts", [(), (0,), (2**32,), (1, 1), (H,)])
def test_a_withdrawal_names_the_request_s_place(facts: tuple[int | bytes, ...]) -> None:
    refuse(change(EntryType.WITHDRAW, facts=facts))
