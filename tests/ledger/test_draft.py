"""Own entries: what a draft leaves out is filled in, and what the ledger forbids is refused."""

from __future__ import annotations

import pytest
from tests.ledger.authors import CELL, NOW_MS, UNTIL_MS, named

from passby.ledger.draft import Change, Close, Draft, Move, OpenLot, Reserve, Resolve, compose
from passby.ledger.ingest import Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.keys import SigningKey, verify
from passby.protocol.limits import AMOUNT_MAX, PAYLOAD_MAX
from passby.protocol.types import EntryType

KEY = SigningKey(named("own"))
GENESIS = Draft(EntryType.GENESIS, facts=(named("certificate"),))
PROPOSE, COMMIT, CONFIRM = (named(word) for word in ("propose", "commit", "confirm"))
SALT = b"s" * 16


def offer(amount: int = 10, payload: bytes | None = b"\x80") -> Draft:
    return Draft(EntryType.OFFER, (), (CELL, UNTIL_MS), payload, OpenLot(amount))


class Chain:
    """An own chain in a store, as the node keeps it, and drafts that fit it."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def say(self, *drafts: Draft, at_ms: int = NOW_MS) -> list[Record]:
        records = compose(KEY, self.store, drafts, at_ms, lambda size: b"s" * size)
        self.store.commit([admit(self.store, records, Check.EACH)], durable=True)
        return records

    def left(self) -> tuple[int, int]:
        lot = self.store.lot_at(KEY.public, 2)
        assert lot is not None
        return lot.remaining, lot.reserved

    def id_at(self, seq: int) -> bytes:
        record = self.store.record_at(KEY.public, seq)
        return record.entry.id if record else named("nothing")

    def reserve(self, amount: int) -> Draft:
        facts = (UNTIL_MS, named("secret"))
        return Draft(EntryType.RESERVE, (PROPOSE, self.id_at(2)), facts, move=Reserve(2, amount))

    def release(self, reserve_seq: int, amount: int) -> Draft:
        refs = (PROPOSE, self.id_at(reserve_seq))
        return Draft(EntryType.RELEASE, refs, (1,), move=Resolve(2, reserve_seq, amount, 0))

    def step(self, kind: EntryType, move: Move) -> Draft:
        return Draft(kind, (self.id_at(2),), move=move)


def handover(reserve_seq: int, reserved: int, handed: int) -> Draft:
    move = Resolve(2, reserve_seq, reserved, handed)
    return Draft(EntryType.HANDOVER, (PROPOSE, COMMIT, CONFIRM), (SALT, handed), move=move)


@pytest.fixture
def chain() -> Chain:
    found = Chain()
    found.say(GENESIS, offer())
    return found


def test_entries_are_linked_numbered_and_signed() -> None:
    records = Chain().say(GENESIS, offer(), offer())
    assert [record.entry.seq for record in records] == [1, 2, 3]
    assert [record.entry.body.prev for record in records[1:]] == [
        record.entry.id for record in records[:2]
    ]
    assert all(verify(KEY.public, record.entry.raw) for record in records)


def test_a_clock_that_ran_back_does_not_take_the_chain_with_it(chain: Chain) -> None:
    (record,) = chain.say(offer(), at_ms=NOW_MS - 5000)
    assert record.entry.at_ms == NOW_MS


def test_every_way_a_lot_can_go_leaves_its_amounts_right(chain: Chain) -> None:
    chain.say(chain.reserve(4))
    assert chain.left() == (6, 4)
    chain.say(chain.release(3, 4))
    assert chain.left() == (10, 0)
    chain.say(chain.reserve(4), handover(5, 4, 3))
    assert chain.left() == (7, 0)
    chain.say(chain.step(EntryType.ADJUST, Change(2, 20)))
    assert chain.left() == (20, 0)
    chain.say(chain.step(EntryType.CLOSE, Close(2)))
    assert chain.left() == (0, 0)


def test_later_drafts_see_what_earlier_ones_did(chain: Chain) -> None:
    with pytest.raises(RefusedError, match="Only 4 is left of this lot, not 5"):
        chain.say(chain.reserve(6), chain.reserve(5))
    assert chain.left() == (10, 0)


def test_what_the_stock_rule_forbids_is_refused(chain: Chain) -> None:
    with pytest.raises(RefusedError, match="no lot of this device"):
        chain.say(chain.step(EntryType.ADJUST, Change(9, 1)))
    with pytest.raises(RefusedError, match="holds already"):
        chain.say(chain.step(EntryType.ADJUST, Change(2, 10)))
    chain.say(chain.reserve(4), chain.reserve(4), handover(3, 4, 4))
    with pytest.raises(RefusedError, match="stock rule forbids"):
        chain.say(handover(3, 4, 4))
    assert chain.left() == (2, 4)


def test_a_lot_is_not_closed_under_a_reserve_nor_used_after(chain: Chain) -> None:
    chain.say(chain.reserve(4))
    with pytest.raises(RefusedError, match="4 of this lot is reserved"):
        chain.say(chain.step(EntryType.CLOSE, Close(2)))
    chain.say(chain.release(3, 4), chain.step(EntryType.CLOSE, Close(2)))
    with pytest.raises(RefusedError, match="closed"):
        chain.say(chain.reserve(1))


@pytest.mark.parametrize(
    "draft",
    [
        offer(payload=bytes(PAYLOAD_MAX + 1)),
        offer(AMOUNT_MAX + 1),
        Draft(EntryType.ADJUST, (named("lot"),), move=Change(2, -1)),
        Draft(EntryType.REQUEST, (), (CELL, 2**64)),
        GENESIS,
    ],
)
def test_what_no_entry_can_hold_is_the_users_error_and_not_a_peers(
    chain: Chain, draft: Draft
) -> None:
    with pytest.raises(UsageError, match="in one entry"):
        chain.say(draft)


def test_a_forked_chain_does_not_go_on(chain: Chain) -> None:
    other = Chain()
    other.say(GENESIS, offer(11))
    fork = other.store.record_at(KEY.public, 2)
    assert fork is not None
    chain.store.commit([admit(chain.store, [fork], Check.EACH)], durable=True)
    with pytest.raises(RefusedError, match="ended before entry 2"):
        chain.say(offer())
