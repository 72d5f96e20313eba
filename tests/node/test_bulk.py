"""Bulk in a process of its own: the same outcome as here, whatever becomes of the process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import trio

from passby.ledger.frames import Digest
from passby.ledger.ingest import Check
from passby.ledger.store_sqlite import SqliteStore
from passby.node import bulk, writer
from passby.node.bench.ledger import workload
from passby.node.bulk import BulkHelper
from passby.node.head_guard import NAME as GUARD_NAME
from passby.node.head_guard import begin
from passby.node.storage import Storage, open_storage
from passby.node.writer import HelperGoneError, Line, NoGuard, Writer
from passby.protocol.entry import Record, encode_record
from passby.protocol.errors import Code, LocalError
from passby.protocol.limits import BULK_MIN

OWN = b"o" * 32
ENTRIES = 2000


def frames_of(records: list[Record], run: int = 250) -> list[bytes]:
    parts = (records[at : at + run] for at in range(0, len(records), run))
    return [b"".join(map(encode_record, part)) for part in parts]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return workload(ENTRIES, run=250)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "ledger.db"
    SqliteStore(found).close()
    begin(tmp_path / GUARD_NAME)
    return found


def up(path: Path) -> BulkHelper:
    """Return a helper that is ready."""
    helper = BulkHelper(path)
    until_s = time.monotonic() + 60
    while not helper.is_ready():
        assert time.monotonic() < until_s
        time.sleep(0.01)
    return helper


def test_the_helper_stores_what_would_be_stored_here(
    path: Path, tmp_path: Path, records: list[Record]
) -> None:
    frames = frames_of(records)
    helper = up(path)
    theirs, places = helper.take(frames)
    helper.stop()
    here = SqliteStore(tmp_path / "here.db")
    intake = writer.Intake(frames)
    Writer(here, NoGuard(), OWN).serve([intake])
    assert intake.outcome() == theirs
    assert intake.places == places
    assert theirs.appended == ENTRIES
    there = SqliteStore(path)
    assert dict(there.heads()) == dict(here.heads()) == theirs.heads
    assert there.counts().lots == here.counts().lots > 0
    for store in (here, there):
        store.close()


def test_frames_before_a_bad_one_are_kept_and_those_behind_it_are_not(
    path: Path, records: list[Record]
) -> None:
    frames = frames_of(records[:1000])
    bad = bytearray(frames[2])
    bad[-1] ^= 1
    helper = up(path)
    digest, _ = helper.take([*frames[:2], bytes(bad), frames[3]])
    helper.stop()
    assert digest.fault is not None
    assert digest.fault.code is Code.BAD_PAYLOAD
    assert digest.appended == 500


def test_a_killed_helper_is_gone_and_a_new_one_goes_on(path: Path, records: list[Record]) -> None:
    frames = frames_of(records)
    helper = up(path)
    helper.take(frames[:2])
    assert helper.pid is not None
    os.kill(helper.pid, signal.SIGKILL)
    with pytest.raises(HelperGoneError):
        helper.take(frames[2:])
    assert not helper.is_running
    helper = up(path)
    digest, _ = helper.take(frames[1:])
    helper.stop()
    assert (digest.repeated, digest.appended) == (250, ENTRIES - 500)


class Dying(BulkHelper):
    """Commits, and is killed before it has answered."""

    def take(self, frames):  # type: ignore[no-untyped-def]  # as BulkHelper.take
        super().take(frames)
        self.kill()
        raise HelperGoneError("killed")


def test_what_a_dying_helper_had_committed_is_met_as_held(
    path: Path, records: list[Record]
) -> None:
    helper = Dying(path)
    while not helper.is_ready():
        time.sleep(0.01)
    store = SqliteStore(path)
    intake = writer.Intake(frames_of(records))
    assert intake.size >= BULK_MIN
    Writer(store, NoGuard(), OWN, helper).serve([intake])
    digest = intake.outcome()
    assert (digest.appended, digest.repeated) == (0, ENTRIES)
    # The heads are told all the same: nobody else would tell of them.
    assert digest.heads == dict(store.heads())
    store.close()


def test_behind_a_refused_frame_nothing_of_its_session_is_read(
    path: Path, records: list[Record]
) -> None:
    frames = frames_of(records[:500])
    store = SqliteStore(path)
    line = Line()
    bad, behind = writer.Intake([b"no record"], line), writer.Intake(frames, line)
    other = writer.Intake(frames)
    Writer(store, NoGuard(), OWN).serve([bad, behind, other])
    assert bad.outcome().fault is not None
    assert behind.outcome() == Digest()
    assert other.outcome().appended == 500
    store.close()


def test_trouble_with_the_disk_is_told_as_here(path: Path, records: list[Record]) -> None:
    helper = up(path)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(LocalError):
        helper.take(frames_of(records))
    helper.stop()


async def bulk_until_helped(storage: Storage, frames: list[bytes]) -> int:
    """Bring bulk until the helper has done a part; return how often."""
    for times in range(1, 2000):
        intake = await storage.take(frames, Line())
        assert intake.outcome().fault is None
        if storage._helper._is_up:
            return times
        await trio.sleep(0.01)
    raise AssertionError("the helper never comes up")


async def test_storage_starts_the_helper_for_bulk_and_stops_it_at_the_end(
    path: Path, records: list[Record]
) -> None:
    async with open_storage(path, OWN) as storage:
        small = await storage.take(frames_of(records[:2]), Line())
        assert not storage._helper.is_running
        assert small.fresh == records[:2]
        await bulk_until_helped(storage, frames_of(records))
        pid = storage._helper.pid
        assert pid is not None
        await storage.admit(records[:1], Check.EACH)
        assert storage.reader.counts().entries == ENTRIES
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_an_idle_helper_ends(
    path: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("passby.node.storage.BULK_IDLE_S", 0.05)
    async with open_storage(path, OWN) as storage:
        await bulk_until_helped(storage, frames_of(records))
        with trio.fail_after(30):
            while storage._helper.is_running:  # noqa: ASYNC110  # a thread's, which tells nobody
                await trio.sleep(0.01)
        assert (await storage.take(frames_of(records[:2]), Line())).outcome().repeated == 2


def test_an_answer_that_never_comes_is_not_waited_for(
    path: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = up(path)
    monkeypatch.setattr(bulk, "BULK_ANSWER_S", 0.05)
    assert helper.pid is not None
    os.kill(helper.pid, signal.SIGSTOP)
    with pytest.raises(HelperGoneError):
        helper.take(frames_of(records[:500]))
    assert not helper.is_running
