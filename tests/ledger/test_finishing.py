"""Above its freeze an author may still end what was agreed, and nothing else, in every store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.authors import Author, replace_stock

from passby.ledger.audit import AuditExit, audit
from passby.ledger.chain import Append, Breach, Evidence, Frozen
from passby.ledger.chain import Proof as EvidenceKind
from passby.ledger.draft import Draft, Resolve, compose
from passby.ledger.ingest import Check, accuse, admit
from passby.ledger.proof import FORK_RULE
from passby.ledger.store import Store
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError
from passby.protocol.limits import TRADE_STEPS_MAX
from passby.protocol.types import EntryType

STRANGER = b"t" * 32


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "l.db")
    yield made
    made.close()


def outcome(store: Store, record: Record, check: Check = Check.RUNS) -> object:
    batch = admit(store.view([record]), [record], check)
    store.commit([batch], durable=False)
    return batch.outcomes[0]


class Street:
    """Anna has set goods aside for Bo, and is caught with another second entry."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.anna, self.bo = Author("anna"), Author("bo")
        self.anna.genesis()
        self.bo.genesis()
        self.lot = self.anna.offer(10)
        self.propose = self.bo.propose(self.lot)
        self.reserve = self.anna.reserve(self.lot, 4, self.propose.entry.id)
        for author in (self.anna, self.bo):
            batch = admit(store.view(author.records), author.records, Check.RUNS)
            store.commit([batch], durable=False)
        other = self.anna.fork(2)
        other.say(201)
        sides = ((self.lot.entry,), (other.records[1].entry,))
        evidence = Evidence(self.anna.public, 2, EvidenceKind.FORK, FORK_RULE, sides)
        store.commit([accuse(store.view([]), evidence)], durable=False)
        assert store.frozen() == {self.anna.public: 2}

    def head(self) -> int:
        head = self.store.head(self.anna.public)
        assert head is not None
        return head.seq


@pytest.mark.parametrize("check", [Check.EACH, Check.RUNS])
def test_what_ends_a_trade_is_appended_and_counted(store: Store, check: Check) -> None:
    street = Street(store)
    cancel = street.anna.say(EntryType.CANCEL, refs=(street.propose.entry.id,), facts=(0,))
    assert isinstance(outcome(store, cancel, check), Append)
    release = street.anna.release(street.lot, street.reserve)
    assert isinstance(outcome(store, release, check), Append)
    assert street.head() == 5
    lot = store.lot(street.lot.entry.id)
    assert lot is not None
    assert (lot.remaining, lot.reserved) == (10, 0)
    # Its lots stay hidden, and the audit finds the fork and nothing amiss in the store.
    assert list(store.open_lots(0)) == []
    report = audit(store, 0)
    assert report.exit_code is AuditExit.PROVEN
    assert {finding.text for finding in report.findings if finding.author} == {FORK_RULE}


def test_nothing_else_is_appended_above_a_freeze(store: Store) -> None:
    street = Street(store)
    trade = street.propose.entry.id
    for kind, changes in (
        (200, {}),
        (EntryType.COMMIT, {"refs": (trade, STRANGER, street.reserve.entry.id)}),
        (EntryType.CANCEL, {"refs": (STRANGER,), "facts": (0,)}),
        (EntryType.CANCEL, {"refs": (trade,), "facts": (0,), "prev": STRANGER}),
        (EntryType.CANCEL, {"refs": (trade,), "facts": (0,), "seq": 9}),
    ):
        record = street.anna.say(kind, **changes)
        street.anna.records.pop()
        assert isinstance(outcome(store, record), Frozen)
    assert street.head() == 3


def test_what_comes_behind_another_entry_is_refused_with_it(store: Store) -> None:
    street = Street(store)
    note = street.anna.note()
    cancel = street.anna.say(EntryType.CANCEL, refs=(street.propose.entry.id,), facts=(0,))
    batch = admit(store.view([note, cancel]), [note, cancel], Check.RUNS)
    assert [type(found) for found in batch.outcomes] == [Frozen, Frozen]


def test_a_propose_that_nobody_answered_is_nothing_to_finish(store: Store) -> None:
    street = Street(store)
    other = street.bo.fork(2)
    other.say(201)
    sides = ((street.propose.entry,), (other.records[1].entry,))
    bo = street.bo.public
    alone = street.bo.propose(street.lot)
    assert isinstance(outcome(store, alone), Append)
    evidence = Evidence(bo, 2, EvidenceKind.FORK, FORK_RULE, sides)
    store.commit([accuse(store.view([]), evidence)], durable=False)
    for propose, verdict in ((alone, Frozen), (street.propose, Append)):
        cancel = street.bo.say(EntryType.CANCEL, refs=(propose.entry.id,), facts=(0,))
        assert isinstance(outcome(store, cancel), verdict)
        if verdict is Frozen:
            street.bo.records.pop()


def test_a_lie_above_the_freeze_is_refused_like_any_other(store: Store) -> None:
    street = Street(store)
    street.anna.release(street.lot, street.reserve)
    lie = replace_stock(street.anna, -1, remaining=11)
    assert isinstance(outcome(store, lie), Breach)
    assert street.head() == 3
    assert store.frozen() == {street.anna.public: 2}


def test_nobody_goes_on_without_end_about_one_trade(store: Store) -> None:
    street = Street(store)
    refs = (street.propose.entry.id, street.reserve.entry.id)
    for number in range(2 * TRADE_STEPS_MAX):
        outcome(store, street.anna.say(EntryType.RECEIPT, refs=refs, facts=(2, number)))
    held = [record.entry.author for record in store.trade(refs[0])]
    assert held.count(street.anna.public) == TRADE_STEPS_MAX
    assert street.head() == 2 + TRADE_STEPS_MAX


def test_the_own_device_ends_its_trades_and_says_nothing_else(store: Store) -> None:
    street = Street(store)
    view = store.view([])
    trade = street.propose.entry.id

    def composed(draft: Draft) -> list[Record]:
        return compose(street.anna.key, view, [draft], 2**40, bytes)

    with pytest.raises(RefusedError, match="forked"):
        composed(Draft(EntryType.REQUEST, facts=(1, 2)))
    move = Resolve(2, 3, 4, 0)
    release = Draft(EntryType.RELEASE, (trade, street.reserve.entry.id), (0,), move=move)
    (record,) = composed(release)
    assert isinstance(outcome(store, record), Append)
