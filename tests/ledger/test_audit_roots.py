"""An audit verifies root statements again, and what the store made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.ledger.authors import NOW_MS, Author
from tests.ledger.people import Person, state
from tests.protocol.chains import Deal, Party

from passby.ledger.audit import AuditExit, Report, Severity, audit
from passby.ledger.findings import RootWord
from passby.ledger.ingest import Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import Entry, Record
from passby.protocol.limits import FINDINGS_MAX, NOTES_MAX

ANNA, BO = Person("anna"), Person("bo")
Stores = MemoryStore | SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "l.db")
    yield made
    made.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "ledger.db")
    yield made
    made.close()


def take(store: Stores, records: Sequence[Record]) -> None:
    store.commit([admit(store.view(records), records, Check.EACH)], durable=False)


def texts(report: Report, severity: Severity) -> list[str]:
    return [finding.text for finding in report.findings if finding.severity is severity]


def sealed(store: Stores) -> tuple[Author, Author]:
    """Anna's phone with an offer, sealed by a statement that her laptop carries."""
    phone, laptop = ANNA.device("phone"), ANNA.device("laptop")
    last = phone.offer(5)
    phone.note()
    take(store, phone.records)
    state(laptop, ANNA.seal(last))
    take(store, laptop.records)
    return phone, laptop


def forked() -> tuple[Author, Author]:
    phone = ANNA.device("phone")
    phone.note()
    again = phone.fork(3)
    phone.offer(5)
    again.offer(9)
    return phone, again


def test_a_seal_is_shown_with_what_is_held_above_it(store: Stores) -> None:
    phone, _ = sealed(store)
    report = audit(store, NOW_MS)
    assert report.exit_code is AuditExit.CLEAN
    assert (report.statements, report.seals, report.heals) == (1, 1, 0)
    assert report.root_words == [RootWord(phone.public, sealed_at=2, above=1)]


def test_what_another_person_relies_on_above_a_seal_is_an_obligation(store: Stores) -> None:
    phone, bo = ANNA.device("phone"), BO.device("phone")
    lot = phone.offer(5)
    propose = bo.propose(lot)
    reserve = phone.reserve(lot, 1, propose.entry.id)
    bo.say(8, refs=(propose.entry.id, reserve.entry.id), facts=(NOW_MS * 2, b"h" * 32))
    take(store, [*phone.records, *bo.records])
    store.add_statement(ANNA.seal(lot))
    (word,) = audit(store, NOW_MS).root_words
    assert (word.sealed_at, word.above, word.obliged) == (2, 1, 1)


def test_a_healed_fork_is_worth_knowing_and_held_against_nobody(store: Stores) -> None:
    kept, again = forked()
    take(store, [*kept.records, again.records[2]])
    assert audit(store, NOW_MS).exit_code is AuditExit.PROVEN
    store.add_statement(ANNA.heal(kept.records[2]))
    report = audit(store, NOW_MS)
    assert report.exit_code is AuditExit.CLEAN
    assert texts(report, Severity.NOTED) == ["healed: two entries at one seq"]
    kept_id = kept.records[2].entry.id
    assert report.root_words == [RootWord(kept.public, healed_at=3, kept=kept_id)]


def test_heals_that_void_each_other_are_found_and_the_fork_stays_proven(store: Stores) -> None:
    kept, again = forked()
    take(store, [*kept.records, again.records[2]])
    store.add_statement(ANNA.heal(kept.records[2]))
    store.add_statement(ANNA.heal(again.records[2]))
    report = audit(store, NOW_MS)
    assert report.exit_code is AuditExit.PROVEN
    assert texts(report, Severity.NOTED) == ["healed in several ways, which voids all its heals"]
    assert report.heals == 0


def test_a_heal_of_a_branch_that_binds_others_is_found_void(store: Stores) -> None:
    kept, again = forked()
    again = kept.fork(3)
    again.propose(BO.device("phone").offer(5))
    take(store, [*kept.records, again.records[2]])
    store.add_statement(ANNA.heal(kept.records[2]))
    report = audit(store, NOW_MS)
    assert report.exit_code is AuditExit.PROVEN
    (noted,) = [at for at in report.findings if at.severity is Severity.NOTED]
    assert "void" in noted.text
    assert noted.seqs == (3,)


def test_a_statement_by_a_root_without_a_say_changes_nothing(store: Stores) -> None:
    phone = ANNA.device("phone")
    take(store, phone.records)
    store.add_statement(BO.seal(phone.records[0]))
    store.add_statement(BO.heal(phone.records[0]))
    report = audit(store, NOW_MS)
    assert report.findings == []
    assert (report.statements, report.seals, report.heals) == (2, 0, 0)


def test_a_forged_statement_in_a_chain_is_worth_knowing_and_counts_for_nothing(
    store: Stores,
) -> None:
    phone = ANNA.device("phone")
    phone.say(14, b"\x81\xa9statement\xc4\x01x")
    take(store, phone.records)
    report = audit(store, NOW_MS)
    assert report.exit_code is AuditExit.CLEAN
    assert texts(report, Severity.NOTED) == ["what it carries is no root statement"]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("DELETE FROM statements", "is not among those stored"),
        ("UPDATE statements SET raw = substr(raw, 2)", "a root statement is not readable"),
        ("UPDATE authors SET sealed_at = NULL", "sealed otherwise"),
        ("UPDATE authors SET sealed_at = 3 WHERE sealed_at = 2", "sealed otherwise"),
        ("UPDATE authors SET frozen_from = 2", "frozen otherwise"),
    ],
)
def test_what_the_store_made_of_statements_is_held_against_them(
    sqlite: SqliteStore, sql: str, found: str
) -> None:
    sealed(sqlite)
    sqlite._all(sql)
    report = audit(sqlite, NOW_MS)
    assert report.exit_code is AuditExit.CORRUPT
    assert any(found in text for text in texts(report, Severity.CORRUPT))
    assert not texts(report, Severity.PROVEN)


def test_notes_that_anybody_can_cause_do_not_crowd_out_what_is_proven() -> None:
    noisy = Author("noisy")
    noisy.genesis()
    for _ in range(NOTES_MAX + FINDINGS_MAX):
        noisy.say(14, b"\x80")
    store = MemoryStore()
    take(store, noisy.records)
    late = Author("zoe")
    late.genesis()
    late.note()
    late.note(b"\x81\xa1a\x01")
    other = late.fork(3)
    other.note(b"\x81\xa1a\x02")
    take(store, [*late.records, other.records[2]])
    report = audit(store, NOW_MS)
    assert len(texts(report, Severity.NOTED)) == NOTES_MAX
    assert report.unlisted == FINDINGS_MAX
    assert texts(report, Severity.PROVEN) == ["two entries at one seq"]


# --- hand-overs ------------------------------------------------------------------------


def held(*chains: Sequence[Entry]) -> MemoryStore:
    store = MemoryStore()
    for chain in chains:
        take(store, [Record(entry) for entry in chain])
    return store


def test_a_handover_with_the_receivers_secret_is_counted() -> None:
    deal = Deal.between(Party("ben"), [Party("anna")]).agree()
    deal.handover(1)
    report = audit(held(deal.taker.chain, deal.listers[0].chain), NOW_MS)
    assert (report.handovers, report.secrets) == (1, 1)
    assert report.exit_code is AuditExit.CLEAN


def test_a_handover_with_another_secret_counts_for_none_and_says_so() -> None:
    deal = Deal.between(Party("ben"), [Party("anna")]).agree()
    deal.handover(1, secret=b"a guess, 16 byte")
    report = audit(held(deal.taker.chain, deal.listers[0].chain), NOW_MS)
    assert (report.handovers, report.secrets) == (1, 0)
    (noted,) = texts(report, Severity.NOTED)
    assert "counts for none" in noted


def test_a_trade_of_which_one_side_is_not_held_is_incomplete() -> None:
    deal = Deal.between(Party("ben"), [Party("anna")]).agree()
    deal.handover(1)
    taker = deal.taker.chain[: deal.propose.seq]
    report = audit(held(taker, deal.listers[0].chain), NOW_MS)
    assert report.exit_code is AuditExit.INCOMPLETE
    assert (report.handovers, report.secrets) == (1, 0)
    (finding,) = report.findings
    assert finding.entries == (deal.propose.id, deal.confirmed.id)  # type: ignore[union-attr]  # it agreed
