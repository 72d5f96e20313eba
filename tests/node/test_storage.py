"""The storage thread: save, then send; and the head guard, which knows an old copy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from tests.ledger.authors import CELL, NOW_MS, UNTIL_MS, Author, named

from passby.ledger.chain import Append, Duplicate, Head
from passby.ledger.draft import Draft, OpenLot, Reserve, compose
from passby.ledger.ingest import Check, View
from passby.ledger.store import Store
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.node.head_guard import HeadGuard, begin, machine_id
from passby.node.storage import InlineStorage, Storage, open_storage
from passby.node.writer import Admission, Guard, NoGuard, OwnAppend, Writer
from passby.protocol.entry import Record
from passby.protocol.errors import DamagedError, LocalError, RefusedError, RemoteError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import WRITES_WAITING_MAX
from passby.protocol.types import EntryType

KEY = SigningKey(named("own"))
OWN = KEY.public
GENESIS = Draft(EntryType.GENESIS, facts=(named("certificate"),))
WISH = Draft(EntryType.REQUEST, facts=(CELL, UNTIL_MS), payload=b"\x80")


async def say(storage: Storage | InlineStorage, *drafts: Draft) -> list[Record]:
    def make(view: View) -> list[Record]:
        return compose(KEY, view, drafts, NOW_MS, lambda size: b"s" * size)

    return await storage.append(OWN, make)


def note(view: View, count: int = 1) -> list[Record]:
    opening = [] if view.head(OWN) else [GENESIS]
    drafts = [*opening, *[WISH] * count]
    return compose(KEY, view, drafts, NOW_MS, lambda size: b"s" * size)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    begin(tmp_path / "head.guard")
    return tmp_path / "ledger.db"


async def test_an_own_entry_is_on_disk_when_append_returns(path: Path) -> None:
    async with open_storage(path, OWN) as storage:
        records = await say(storage, GENESIS, WISH)
        beside = SqliteStore(path)
        assert beside.record(records[1].entry.id) == records[1]
        beside.close()
        assert storage.reader.head(OWN) == Head(2, records[1].entry.id, NOW_MS)
        guard = (path.parent / "head.guard").read_text()
        assert f" 2 {records[1].entry.id.hex()} " in guard


async def test_appends_from_many_tasks_make_one_chain(path: Path) -> None:
    async with open_storage(path, OWN) as storage:
        await say(storage, GENESIS)
        made: list[int] = []

        async def task() -> None:
            for _ in range(5):
                records = await say(storage, WISH)
                made.extend(record.entry.seq for record in records)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(task)
        assert sorted(made) == list(range(2, 102))
        chain = storage.reader.log(OWN, None, 200)[::-1]
        for before, after in pairwise(chain):
            assert after.entry.body.prev == before.entry.id


async def test_more_waiting_than_the_queue_holds_all_get_through(path: Path) -> None:
    async with open_storage(path, OWN) as storage:
        outcomes: list[object] = []

        async def bring(number: int) -> None:
            author = Author(str(number))
            author.genesis()
            outcomes.extend(await storage.admit(author.records, Check.RUNS))

        async with trio.open_nursery() as nursery:
            for number in range(3 * WRITES_WAITING_MAX):
                nursery.start_soon(bring, number)
        assert all(isinstance(outcome, Append) for outcome in outcomes)
        assert storage.reader.counts().authors == 3 * WRITES_WAITING_MAX


async def test_a_bad_frame_harms_only_who_brought_it(path: Path) -> None:
    good, bad = Author("good"), Author("bad")
    for author in (good, bad):
        author.genesis()
    bad.say(2, facts=(1,))
    results: list[object] = []
    async with open_storage(path, OWN) as storage:

        async def bring(records: Sequence[Record]) -> None:
            try:
                results.append(await storage.admit(records, Check.RUNS))
            except RemoteError as error:
                results.append(error)

        async with trio.open_nursery() as nursery:
            for records in (good.records, bad.records, good.records):
                nursery.start_soon(bring, records)
        assert sum(isinstance(result, RemoteError) for result in results) == 1
        assert storage.reader.head(good.public) is not None
        assert storage.reader.head(bad.public) is None


async def test_what_compose_refuses_reaches_who_asked(path: Path) -> None:
    async with open_storage(path, OWN) as storage:
        await say(storage, GENESIS)
        lot = Draft(EntryType.OFFER, facts=(CELL, UNTIL_MS), payload=b"\x80", move=OpenLot(5))
        (offer,) = await say(storage, lot)
        reserve = Draft(
            EntryType.RESERVE,
            refs=(named("propose"), offer.entry.id),
            facts=(UNTIL_MS, named("secret")),
            move=Reserve(offer.entry.seq, 6),
        )
        with pytest.raises(RefusedError, match="Only 5 is left"):
            await say(storage, reserve)
        assert storage.reader.counts().entries == 2


async def test_a_failing_caller_does_not_stop_the_thread(path: Path) -> None:
    async with open_storage(path, OWN) as storage:

        def broken(_: object) -> list[Record]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await storage.append(OWN, broken)
        with pytest.raises(ZeroDivisionError):
            await storage.call(broken)
        await say(storage, GENESIS)


async def test_any_work_runs_where_the_store_is_written(path: Path) -> None:
    async with open_storage(path, OWN) as storage:
        records = await say(storage, GENESIS, WISH)
        assert await storage.call(lambda store: store.erase_payload(records[1].entry.id))
        held = storage.reader.record(records[1].entry.id)
        assert held is not None
        assert held.payload is None


async def test_a_full_disk_fails_the_step_and_not_the_node(path: Path) -> None:
    async with open_storage(path, OWN) as storage:
        await say(storage, GENESIS)

        def limit(store: Store, pages: int) -> None:
            assert isinstance(store, SqliteStore)
            store._db.execute(f"PRAGMA max_page_count={pages}")

        await storage.call(lambda store: limit(store, 1))
        with pytest.raises(LocalError, match="No space is left"):
            await say(storage, *[WISH] * 300)
        await storage.call(lambda store: limit(store, 10**6))
        await say(storage, WISH)
        assert storage.reader.counts().entries == 2


def test_one_that_finds_no_room_does_not_take_others_with_it(path: Path) -> None:
    store = SqliteStore(path)
    writer = Writer(store, NoGuard(), OWN)
    writer.serve([OwnAppend(OWN, note)])
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages + 1}")
    ada = Author("ada")
    ada.genesis()
    for _ in range(200):
        ada.note(b"\xc4\xc8" + b"x" * 200)
    large, small = Admission(ada.records, Check.RUNS), OwnAppend(OWN, note)
    writer.serve([large, small])
    with pytest.raises(LocalError, match="No space"):
        large.outcome()
    assert len(small.outcome()) == 1
    writer.close()


def test_requests_of_one_transaction_build_on_each_other() -> None:
    store = MemoryStore()
    writer = Writer(store, NoGuard(), OWN)
    ada = Author("ada")
    ada.genesis()
    ada.note()
    requests = [
        Admission(ada.records[:1], Check.EACH),
        OwnAppend(OWN, note),
        Admission(ada.records, Check.EACH),
        OwnAppend(OWN, note),
    ]
    writer.serve(requests)
    assert [type(outcome) for outcome in requests[2].outcome()] == [Duplicate, Append]
    assert [record.entry.seq for record in requests[3].outcome()] == [3]


async def test_what_waits_at_the_end_is_still_written(path: Path) -> None:
    records: list[Record] = []
    async with open_storage(path, OWN) as storage, trio.open_nursery() as nursery:

        async def last() -> None:
            records.extend(await say(storage, GENESIS, WISH))

        nursery.start_soon(last)
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    again = SqliteStore(path)
    assert (again.counts().entries == 2) == bool(records)
    again.close()


@pytest.fixture
def garbage(path: Path) -> Path:
    path.write_bytes(b"x" * 5000)
    return path


async def test_a_damaged_ledger_says_so_at_opening(garbage: Path) -> None:
    with pytest.raises(DamagedError):
        async with open_storage(garbage, OWN):
            pass


async def test_the_inline_storage_keeps_the_same_promises() -> None:
    storage = InlineStorage(MemoryStore(), OWN)
    await say(storage, GENESIS, WISH)
    ada = Author("ada")
    ada.genesis()
    assert [type(o) for o in await storage.admit(ada.records, Check.RUNS)] == [Append]
    assert storage.reader.counts().entries == 3


# --- the head guard -------------------------------------------------------------------------
async def append(path: Path, count: int = 1, machine: str = "m") -> RefusedError | None:
    async with open_storage(path, OWN, machine=machine) as storage:
        if storage.refusal is None:
            await storage.append(OWN, lambda view: note(view, count))
        else:
            with pytest.raises(RefusedError):
                await storage.append(OWN, note)
        return storage.refusal


def backup(path: Path, to: str) -> None:
    shutil.copytree(path.parent, path.parent.parent / to, ignore=lambda *_: ["head.guard"])


def restore(path: Path, source: str) -> None:
    for file in (path.parent.parent / source).iterdir():
        shutil.copy(file, path.parent / file.name)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    begin(tmp_path / "home" / "head.guard", "m")
    return tmp_path / "home" / "ledger.db"


async def test_a_node_goes_on_after_a_restart(home: Path) -> None:
    for _ in range(4):
        assert await append(home) is None


async def test_a_restored_backup_refuses_to_append(home: Path) -> None:
    await append(home)
    backup(home, "backup")
    await append(home, 3)
    restore(home, "backup")
    refusal = await append(home)
    assert refusal is not None
    assert "ends at entry 2, though 5 were written" in refusal.message
    assert "passby init" in refusal.hint


async def test_a_backup_restored_to_an_empty_home_refuses_to_append(home: Path) -> None:
    await append(home)
    backup(home, "other")
    refusal = await append(home.parent.parent / "other" / "ledger.db")
    assert refusal is not None
    assert "is gone" in refusal.message


async def test_a_copied_home_refuses_to_append(home: Path) -> None:
    await append(home)
    shutil.copytree(home.parent, home.parent.parent / "copy")
    refusal = await append(home.parent.parent / "copy" / "ledger.db")
    assert refusal is not None
    assert "is a copy" in refusal.message
    assert await append(home) is None


async def test_a_home_on_another_machine_refuses_to_append(home: Path) -> None:
    await append(home)
    refusal = await append(home, machine="another")
    assert refusal is not None
    assert "another machine" in refusal.message


async def test_keys_without_guard_and_ledger_do_not_begin_a_second_chain(home: Path) -> None:
    (home.parent / "head.guard").unlink()
    for _ in range(2):
        refusal = await append(home)
        assert refusal is not None
        assert "is gone" in refusal.message


async def test_a_ledger_put_back_beside_its_guard_catches_up_and_goes_on(home: Path) -> None:
    await append(home)
    backup(home, "backup")
    await append(home, 3)
    async with open_storage(home, OWN, machine="m") as storage:
        chain = storage.reader.log(OWN, None, 9)[::-1]
    restore(home, "backup")
    async with open_storage(home, OWN, machine="m") as storage:
        await storage.admit(chain[2:4], Check.RUNS)
        with pytest.raises(RefusedError, match="ends at entry 4, though 5"):
            await storage.append(OWN, note)
        await storage.admit(chain[4:], Check.RUNS)
        assert storage.refusal is None
        (record,) = await storage.append(OWN, note)
        assert record.entry.seq == 6
    assert await append(home) is None


async def test_a_copy_of_the_whole_folder_does_not_go_on_whatever_neighbours_give_back(
    home: Path,
) -> None:
    await append(home)
    shutil.copytree(home.parent, home.parent.parent / "copy")
    await append(home)
    async with open_storage(home, OWN, machine="m") as storage:
        chain = storage.reader.log(OWN, None, 9)[::-1]
    copy = home.parent.parent / "copy" / "ledger.db"
    async with open_storage(copy, OWN, machine="m") as storage:
        await storage.admit(chain, Check.RUNS)
        assert storage.reader.head(OWN) == Head(3, chain[2].entry.id, NOW_MS)
        with pytest.raises(RefusedError, match="is a copy"):
            await storage.append(OWN, note)


async def test_a_refused_node_still_follows_others(home: Path) -> None:
    await append(home)
    (home.parent / "head.guard").unlink()
    ada = Author("ada")
    ada.genesis()
    async with open_storage(home, OWN) as storage:
        assert storage.refusal is not None
        assert [type(o) for o in await storage.admit(ada.records, Check.EACH)] == [Append]


async def test_a_vouched_head_goes_on(home: Path) -> None:
    await append(home)
    (home.parent / "head.guard").unlink()
    async with open_storage(home, OWN, machine="m") as storage:
        head = storage.reader.head(OWN)
        assert head is not None
        with pytest.raises(RefusedError, match="not 7"):
            await storage.vouch(Head(7, named("later"), NOW_MS))
        await storage.vouch(head)
        await storage.append(OWN, note)
    assert await append(home) is None


async def test_a_crash_between_commit_and_guard_is_allowed(home: Path) -> None:
    await append(home)
    store = SqliteStore(home)
    Writer(store, NoGuard(), OWN).serve([OwnAppend(OWN, note), OwnAppend(OWN, note)])
    store.close()
    assert await append(home) is None
    assert await append(home) is None


async def test_a_crash_before_the_first_entry_is_allowed(home: Path) -> None:
    async with open_storage(home, OWN, machine="m"):
        pass
    assert await append(home) is None


@pytest.mark.parametrize("slot", [0, 1])
async def test_a_torn_guard_write_is_allowed(home: Path, slot: int) -> None:
    """Only the slot being written can be torn, so the other one is a step behind at most."""
    await append(home, 4)
    guard = home.parent / "head.guard"
    raw = guard.read_bytes()
    newest = max((0, 1), key=lambda at: int(raw[at * 192 :].split()[2]))
    with guard.open("r+b") as file:
        file.seek(newest * 192 + 10 * slot)
        file.write(b"\x00" * 100)
    if slot == 0:
        assert await append(home) is None
    assert await append(home) is None


async def test_a_guard_that_is_all_garbage_refuses(home: Path) -> None:
    await append(home)
    with (home.parent / "head.guard").open("r+b") as file:
        file.write(os.urandom(384))
    refusal = await append(home)
    assert refusal is not None
    assert "not readable" in refusal.message


def test_another_entry_at_the_guarded_seq_refuses(home: Path) -> None:
    path = home.parent / "head.guard"
    guard = HeadGuard(path, "m")
    guard.write(Head(4, named("written"), NOW_MS))
    guard.close()
    with pytest.raises(RefusedError, match="is another than the one written"):
        HeadGuard(path, "m").check(Head(9, named("head"), NOW_MS), lambda _: named("found"))
    HeadGuard(path, "m").check(Head(9, named("head"), NOW_MS), lambda _: named("written"))


def test_a_guard_that_cannot_be_written_fails_the_append_and_says_it_is_saved(
    home: Path,
) -> None:
    class Failing(NoGuard):
        def write(self, head: Head | None) -> None:
            if head is not None:
                raise LocalError("The head guard cannot be used.")

    guard: Guard = Failing()
    store = SqliteStore(home)
    writer = Writer(store, guard, OWN)
    ada = Author("ada")
    ada.genesis()
    own, other = OwnAppend(OWN, note), Admission(ada.records, Check.EACH)
    writer.serve([own, other])
    with pytest.raises(LocalError, match="head guard"):
        own.outcome()
    assert [type(outcome) for outcome in other.outcome()] == [Append]
    writer.close()


def test_the_machine_s_name_stays_the_same_and_is_not_told() -> None:
    assert machine_id() == machine_id()
    assert len(machine_id()) == 16
    source = Path("/etc/machine-id")
    if source.exists():
        assert source.read_text().strip()[:16] != machine_id()
