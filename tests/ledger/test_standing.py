"""Sealed and healed chains, whatever comes first; each test runs on memory and on SQLite."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.ledger.authors import NOW_MS, SALT, Author, ids, named
from tests.ledger.people import Person, state

from passby.ledger.audit import AuditExit, audit
from passby.ledger.chain import Append, Duplicate, Fork, Frozen, Outcome
from passby.ledger.ingest import Check, admit
from passby.ledger.standing import FREE, Standing, stands
from passby.ledger.store import Store
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.protocol.entry import Record
from passby.protocol.keys import Certificate, SigningKey
from passby.protocol.statements import Opening, Seal

ANNA, BO = Person("anna"), Person("bo")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "l.db")
    yield made
    made.close()


def take(store: Store, records: Sequence[Record], check: Check = Check.EACH) -> list[type[Outcome]]:
    batch = admit(store.view(records), records, check)
    store.commit([batch], durable=False)
    return [type(outcome) for outcome in batch.outcomes]


def lot_ids(store: Store) -> list[bytes]:
    return [lot.record.entry.id for lot in store.open_lots(0)]


# --- seals ----------------------------------------------------------------------------------
def test_nothing_is_appended_above_a_seal(store: Store) -> None:
    phone, laptop = ANNA.device("phone"), ANNA.device("laptop")
    last = phone.offer(5)
    take(store, phone.records)
    state(laptop, ANNA.seal(last))
    take(store, laptop.records)
    phone.offer(7)
    phone.note()
    assert take(store, phone.records[2:]) == [Frozen, Frozen]
    assert store.head(phone.public).seq == 2  # type: ignore[union-attr]  # it is held
    assert store.sealed() == {phone.public: 2}
    assert store.frozen() == {}
    assert lot_ids(store) == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_seal_means_the_same_in_whatever_order_chains_arrive(
    store: Store, order: tuple[int, ...]
) -> None:
    phone, laptop, stranger = ANNA.device("phone"), ANNA.device("laptop"), BO.device("phone")
    last = phone.offer(5)
    state(laptop, ANNA.seal(last))
    state(stranger, ANNA.seal(last))
    chains = [phone.records, laptop.records, stranger.records]
    for at in order:
        take(store, chains[at], Check.RUNS)
    phone.note()
    assert take(store, phone.records[2:]) == [Frozen]
    assert store.sealed() == {phone.public: 2}
    assert len(store.statements(phone.public)) == 1


def test_a_seal_alone_needs_no_chain_to_carry_it(store: Store) -> None:
    phone = ANNA.device("phone")
    seal = ANNA.seal(phone.records[0])
    assert store.add_statement(seal)
    assert not store.add_statement(seal)
    take(store, phone.records)
    assert store.sealed() == {phone.public: 1}
    phone.note()
    assert take(store, phone.records[1:]) == [Frozen]


def test_a_seal_by_anybody_else_seals_nothing(store: Store) -> None:
    phone, stranger = ANNA.device("phone"), BO.device("phone")
    trip = ANNA.device("trip phone", private=True)
    state(stranger, BO.seal(phone.records[0]))
    state(stranger, BO.certify(phone))
    state(stranger, ANNA.seal(trip.records[0]))
    take(store, [*stranger.records, *phone.records, *trip.records])
    phone.note()
    trip.note()
    assert take(store, [phone.records[1], trip.records[1]]) == [Append, Append]
    assert store.sealed() == {}
    assert len(store.statements()) == 3


@pytest.mark.parametrize("first", ["seal", "chain"])
def test_a_trip_device_is_sealed_by_the_root_that_opens_its_genesis(
    store: Store, first: str
) -> None:
    trip, laptop = ANNA.device("trip phone", private=True), ANNA.device("laptop")
    last = trip.offer(5)
    state(laptop, ANNA.seal(last, ANNA.opening(trip)))
    assert ANNA.root.public not in b"".join(record.entry.raw for record in trip.records)
    for chain in (laptop, trip) if first == "seal" else (trip, laptop):
        take(store, chain.records, Check.RUNS)
    trip.note()
    assert take(store, trip.records[2:]) == [Frozen]
    assert store.sealed() == {trip.public: 2}
    assert store.person_of(trip.public) == ANNA.root.public
    assert [one.key for one in store.devices(ANNA.root.public)] == sorted(
        [trip.public, laptop.public]
    )
    # With the opening known, a plain seal further down counts as well.
    store.add_statement(ANNA.seal(trip.records[0]))
    assert store.sealed() == {trip.public: 1}
    assert audit(store, NOW_MS).exit_code is AuditExit.CLEAN


def test_a_trip_device_is_not_sealed_by_what_does_not_open_its_genesis(store: Store) -> None:
    trip, other = ANNA.device("trip phone", private=True), ANNA.device("other", private=True)
    shown = BO.device("phone")
    last = trip.records[0]
    forged = [
        BO.seal(last, BO.opening(trip)),
        ANNA.seal(last, Opening(b"x" * 16, ANNA.certify(trip))),
        ANNA.seal(last, Opening(SALT, Certificate.issue(ANNA.root, trip.public, NOW_MS + 1))),
        ANNA.seal(last),
        ANNA.seal(shown.records[0], ANNA.opening(shown)),
    ]
    take(store, [*trip.records, *other.records, *shown.records])
    for seal in forged:
        assert store.add_statement(seal)
    assert store.sealed() == {}
    assert store.person_of(trip.public) == trip.public
    assert store.person_of(shown.public) == BO.root.public
    trip.note()
    assert take(store, trip.records[1:]) == [Append]
    # What opens one device opens no other.
    assert store.add_statement(ANNA.seal(other.records[0], ANNA.opening(other)))
    assert store.sealed() == {other.public: 1}


def test_another_entry_at_the_sealed_seq_is_not_the_owners(store: Store) -> None:
    phone = ANNA.device("phone")
    mine = phone.note()
    thiefs = phone.fork(2)
    thiefs.offer(1)
    store.add_statement(ANNA.seal(mine))
    take(store, phone.records[:1])
    assert take(store, thiefs.records[1:]) == [Frozen]
    assert take(store, phone.records[1:]) == [Append]


def test_what_was_taken_before_the_seal_came_stays_and_shows_nothing(store: Store) -> None:
    phone = ANNA.device("phone")
    first = phone.offer(5)
    phone.offer(6)
    take(store, phone.records)
    assert len(lot_ids(store)) == 2
    store.add_statement(ANNA.seal(first))
    assert lot_ids(store) == []
    assert store.head(phone.public).seq == 3  # type: ignore[union-attr]  # it is held


def test_a_bad_statement_harms_neither_chain_nor_reader(store: Store) -> None:
    phone = ANNA.device("phone")
    forged = ANNA.seal(phone.records[0])
    phone.say(14, b"\x81\xa9statement\xc4\x01x")
    phone.say(14, b"\x80")
    bent = bytearray(forged.raw)
    bent[-1] ^= 1
    state(phone, Seal(forged.root, forged.device, 1, forged.id, 0, bytes(bent)))
    assert take(store, phone.records) == [Append] * 4
    assert store.statements() == []


def test_a_statement_whose_payload_comes_later_counts_then(store: Store) -> None:
    phone, laptop = ANNA.device("phone"), ANNA.device("laptop")
    carried = state(laptop, ANNA.seal(phone.records[0]))
    take(store, [*phone.records, laptop.records[0], Record(carried.entry)])
    assert store.sealed() == {}
    take(store, [carried])
    assert store.sealed() == {phone.public: 1}


# --- obligations ----------------------------------------------------------------------------
class Debt:
    """Anna's phone reserves for Bo, who confirms; then she seals it below the reserve."""

    def __init__(self, taker: Author) -> None:
        self.phone, self.taker = ANNA.device("phone"), taker
        self.lot = self.phone.offer(5)
        self.propose = taker.propose(self.lot)
        self.note = self.phone.note()
        self.reserve = self.phone.reserve(self.lot, 1, self.propose.entry.id)
        self.confirm = taker.say(
            8,
            refs=(self.propose.entry.id, self.reserve.entry.id),
            facts=(2_000_000_000_000, named("secret")),
        )
        self.seal = ANNA.seal(self.lot)


@pytest.mark.parametrize("check", [Check.EACH, Check.RUNS])
def test_what_another_person_relied_on_stands_with_all_that_leads_to_it(
    store: Store, check: Check
) -> None:
    debt = Debt(BO.device("phone"))
    store.add_statement(debt.seal)
    take(store, [*debt.taker.records, *debt.phone.records[:2]])
    debt.phone.note()
    after = debt.phone.records[2:]
    assert take(store, after, check) == [Append, Append, Frozen]
    stock = store.lot(debt.lot.entry.id)
    assert stock is not None
    assert stock.reserved == 1


def test_what_nobody_relied_on_does_not_stand(store: Store) -> None:
    debt = Debt(BO.device("phone"))
    store.add_statement(debt.seal)
    take(store, [*debt.taker.records[:-1], *debt.phone.records[:2]])
    assert take(store, debt.phone.records[2:]) == [Frozen, Frozen]
    take(store, debt.taker.records[-1:])
    assert take(store, debt.phone.records[2:]) == [Append, Append]


def test_the_persons_own_devices_make_nothing_stand(store: Store) -> None:
    debt = Debt(ANNA.device("laptop"))
    store.add_statement(debt.seal)
    take(store, [*debt.taker.records, *debt.phone.records[:2]])
    assert take(store, debt.phone.records[2:]) == [Frozen, Frozen]


def test_stands_asks_for_a_trade_another_person_and_the_very_id() -> None:
    debt = Debt(BO.device("phone"))
    reserve, confirm = debt.reserve.entry, debt.confirm.entry
    people = {debt.phone.public: b"anna", debt.taker.public: b"bo"}
    assert stands(reserve, [confirm], people.__getitem__)
    assert not stands(reserve, [], people.__getitem__)
    assert not stands(reserve, [debt.propose.entry], people.__getitem__)
    assert not stands(reserve, [confirm], lambda _: b"anna")
    assert not stands(debt.lot.entry, [debt.propose.entry], people.__getitem__)


# --- heals ----------------------------------------------------------------------------------
def forked() -> tuple[Author, Author]:
    """A device and what it said again after a restore, without bad intent."""
    phone = ANNA.device("phone")
    phone.note()
    again = phone.fork(3)
    phone.offer(5)
    phone.note()
    again.offer(9)
    again.note()
    again.note()
    return phone, again


def test_a_heal_unfreezes_and_the_kept_branch_goes_on(store: Store) -> None:
    kept, abandoned = forked()
    take(store, kept.records)
    assert take(store, abandoned.records[2:3]) == [Fork]
    assert store.frozen() == {kept.public: 3}
    store.add_statement(ANNA.heal(kept.records[2]))
    assert store.frozen() == {}
    assert len(lot_ids(store)) == 1
    kept.note()
    assert take(store, kept.records[4:]) == [Append]
    assert take(store, abandoned.records[2:]) == [Duplicate] * 3
    assert store.frozen() == {}
    (evidence,) = store.evidence()
    assert evidence.seq == 3


def test_who_holds_the_abandoned_branch_gives_it_up_for_the_other(store: Store) -> None:
    kept, abandoned = forked()
    take(store, abandoned.records)
    take(store, kept.records[2:3])
    laptop = ANNA.device("laptop")
    state(laptop, ANNA.heal(kept.records[2]))
    take(store, laptop.records)
    assert store.head(kept.public).seq == 2  # type: ignore[union-attr]  # it is held
    assert take(store, kept.records[2:], Check.RUNS) == [Append, Append]
    assert ids(store.log(kept.public, None, 9)[::-1]) == ids(kept.records)
    assert store.frozen() == {}


@pytest.mark.parametrize("heal_first", [False, True])
def test_heal_and_fork_may_come_in_any_order(store: Store, *, heal_first: bool) -> None:
    kept, abandoned = forked()
    heal = ANNA.heal(kept.records[2])
    if heal_first:
        store.add_statement(heal)
    take(store, abandoned.records)
    take(store, kept.records[2:])
    if not heal_first:
        store.add_statement(heal)
    take(store, kept.records)
    assert ids(store.log(kept.public, None, 9)[::-1]) == ids(kept.records)
    assert store.frozen() == {}


def test_a_second_heal_voids_both(store: Store) -> None:
    kept, abandoned = forked()
    take(store, kept.records)
    take(store, abandoned.records[2:3])
    store.add_statement(ANNA.heal(kept.records[2]))
    store.add_statement(ANNA.heal(abandoned.records[2]))
    assert store.frozen() == {kept.public: 3}


def test_a_branch_that_binds_others_is_not_given_up(store: Store) -> None:
    phone = ANNA.device("phone")
    lot = BO.device("phone").offer(5)
    again = phone.fork(2)
    phone.note()
    again.propose(lot)
    for first, second in ((phone, again), (again, phone)):
        held = MemoryStore() if first is phone else store
        take(held, first.records)
        take(held, second.records[1:])
        held.add_statement(ANNA.heal(phone.records[1]))
        assert held.frozen() == {phone.public: 2}


def test_a_binding_entry_that_turns_up_later_voids_the_heal(store: Store) -> None:
    kept, abandoned = forked()
    abandoned.propose(BO.device("phone").offer(5))
    kept.note()
    kept.note()
    kept.note()
    take(store, kept.records)
    take(store, abandoned.records[2:3])
    store.add_statement(ANNA.heal(kept.records[2]))
    assert store.frozen() == {}
    assert take(store, abandoned.records[-1:]) == [Fork]
    assert store.frozen() == {kept.public: 6}


def test_a_second_fork_of_the_kept_branch_freezes_again(store: Store) -> None:
    kept, abandoned = forked()
    take(store, kept.records)
    take(store, abandoned.records[2:3])
    store.add_statement(ANNA.heal(kept.records[2]))
    thief = kept.fork(4)
    thief.offer(1)
    assert take(store, thief.records[3:]) == [Fork]
    assert store.frozen() == {kept.public: 4}
    (evidence,) = store.evidence()
    assert evidence.seq == 4


def test_statements_survive_a_restart(tmp_path: Path) -> None:
    kept, abandoned = forked()
    laptop = ANNA.device("laptop")
    first = SqliteStore(tmp_path / "l.db")
    take(first, [*kept.records, abandoned.records[2], *laptop.records])
    first.add_statement(ANNA.heal(kept.records[2]))
    first.add_statement(ANNA.seal(laptop.records[0]))
    first.close()
    again = SqliteStore(tmp_path / "l.db")
    assert again.frozen() == {}
    assert again.sealed() == {laptop.public: 1}
    laptop.note()
    kept.note()
    assert take(again, [laptop.records[-1], kept.records[-1]]) == [Frozen, Append]
    again.close()


# --- people ---------------------------------------------------------------------------------
def test_a_persons_devices_are_those_whose_chains_show_it_and_those_yet_to_begin(
    store: Store,
) -> None:
    phone, laptop, trip = (
        ANNA.device("phone"),
        ANNA.device("laptop"),
        ANNA.device("trip", private=True),
    )
    bos, coming = BO.device("phone"), Author("coming")
    state(phone, ANNA.certify(coming))
    state(phone, ANNA.certify(bos))
    state(laptop, ANNA.seal(phone.records[0]))
    chains = [phone, laptop, trip, bos]
    take(store, [record for chain in chains for record in chain.records])
    found = {device.key: device for device in store.devices(ANNA.root.public)}
    assert set(found) == {phone.public, laptop.public, coming.public}
    assert not found[coming.public].begun
    assert found[phone.public].seal == ANNA.seal(phone.records[0])
    assert found[laptop.public].seal is None
    assert store.person_of(phone.public) == store.person_of(laptop.public) == ANNA.root.public
    assert store.person_of(trip.public) == trip.public
    assert store.person_of(SigningKey(bytes(32)).public) == SigningKey(bytes(32)).public


def test_most_authors_have_nothing_said_of_them(store: Store) -> None:
    phone = ANNA.device("phone")
    take(store, phone.records)
    assert store.view([]).standing(phone.public) is FREE
    assert Standing() == FREE


def test_rebuilding_takes_the_statements_that_chains_carry_again(tmp_path: Path) -> None:
    person = Person("anna")
    phone, laptop = person.device("phone"), person.device("laptop")
    last = phone.note()
    state(laptop, person.seal(last))
    path = tmp_path / "l.db"
    store = SqliteStore(path)
    take(store, phone.records)
    take(store, laptop.records)
    store._db.execute("DELETE FROM statements")
    store._db.execute("UPDATE authors SET sealed_at = NULL")
    store.close()
    store = SqliteStore(path)
    assert store.sealed() == {}
    store.rebuild()
    assert store.sealed() == {phone.public: 2}
    assert [one.raw for one in store.statements(phone.public)] == [person.seal(last).raw]
    store.close()
