"""Attack 20: an old copy of a node comes back to life, by accident or not."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from tests.ledger.authors import CELL, NOW_MS, UNTIL_MS
from tests.node.networks import MemoryMaker, eventually
from tests.node.street import Household, street
from trio.testing import MockClock

from passby.ledger.draft import Draft, compose
from passby.ledger.ingest import View
from passby.ledger.reader_sqlite import SqliteReader
from passby.node.backup import Backup
from passby.node.cli import run
from passby.node.config import Config
from passby.node.following import Following
from passby.node.head_guard import RestoredError
from passby.node.home import Home
from passby.node.net import Network, Stream
from passby.node.participant import NETWORK_ID, Identity
from passby.node.replicate import SYNC_PROTOCOL
from passby.node.sealing import Sealing
from passby.node.storage import open_storage
from passby.protocol.entry import Record
from passby.protocol.errors import LocalError, RefusedError, UsageError
from passby.protocol.keys import Certificate, SigningKey, root_from_words
from passby.protocol.limits import OWN_HEAD_GIVEN_WITHIN_S, POLICY_MAX
from passby.protocol.messages import End, Head, Heads, Hello, encode_message
from passby.protocol.payloads import Note, encode_payload
from passby.protocol.sealed import BoxKey
from passby.protocol.types import EntryType

CONFIG = Config(name="Anna", cell="881969c9b7fffff", bootstrap=("/ip4/10.0.0.1/tcp/1/p2p/x",))
WISH = Draft(EntryType.REQUEST, facts=(CELL, UNTIL_MS), payload=b"\x80")
Capture = pytest.CaptureFixture[str]


def made(path: Path) -> tuple[Home, str]:
    return Home.create(path, CONFIG, now_ms=NOW_MS)


async def say(home: Home, count: int = 1) -> list[Record]:
    """Append to the chain of a home's device, as its daemon would."""
    key = home.ledger_key()
    identity = Identity(key, "Anna", home.certificate, home.certificate_salt, bytes(32))

    def make(view: View) -> list[Record]:
        opening = [] if view.head(key.public) else [identity.genesis()]
        return compose(key, view, [*opening, *[WISH] * count], NOW_MS, os.urandom)

    async with open_storage(home.database_path, key.public) as storage:
        return await storage.append(key.public, make)


def keep(database: Path, folder: Path) -> None:
    """Copy a database with its log into a folder."""
    folder.mkdir()
    for file in database.parent.glob(f"{database.name}*"):
        shutil.copy(file, folder)


def put_back(database: Path, folder: Path) -> None:
    """Put what `keep` copied in place of the database; nothing where there is no folder."""
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()
    for file in folder.glob("*"):
        shutil.copy(file, database.parent)


# --- by passby backup and restore ----------------------------------------------------------
async def test_a_restore_is_a_new_device_that_holds_the_old_chain(tmp_path: Path) -> None:
    home, words = made(tmp_path / "home")
    records = await say(home, 300)
    root = root_from_words(words)
    data = Backup.of(home, ["/ip4/10.0.0.2/tcp/1/p2p/y"], NOW_MS).seal()
    await say(home, 5)
    backup = Backup.open(data, root)
    again, count = backup.restore(tmp_path / "again", root, NOW_MS + 1)
    assert count == 301
    assert again.ledger_seed != home.ledger_seed
    assert again.transport_seed != home.transport_seed
    certificate = Certificate.parse(again.certificate)
    assert certificate.root == root.public
    assert certificate.device == again.ledger_key().public != home.ledger_key().public
    assert again.config().bootstrap == ("/ip4/10.0.0.1/tcp/1/p2p/x", "/ip4/10.0.0.2/tcp/1/p2p/y")
    reader = SqliteReader.open(again.database_path)
    old = reader.head(home.ledger_key().public)
    assert old is not None
    assert (old.seq, old.id) == (301, records[-1].entry.id)
    assert reader.person_of(home.ledger_key().public) == root.public
    reader.close()
    (genesis, _) = await say(again)
    assert genesis.entry.seq == 1
    assert genesis.entry.author == again.ledger_key().public


async def test_whom_one_follows_the_policy_and_the_rides_come_back(tmp_path: Path) -> None:
    home, words = made(tmp_path / "home")
    root = root_from_words(words)
    followed = SigningKey(bytes(31) + b"\1").public
    Following(home.followed_path).add(followed, NOW_MS)
    home.policy_path.write_text("quorum none\n")
    home.rides_path.write_bytes(b'{"rides": []}')
    backup = Backup.open(Backup.of(home, [], NOW_MS).seal(), root)
    again, _ = backup.restore(tmp_path / "again", root, NOW_MS + 1)
    assert Following(again.followed_path).authors() == (followed,)
    assert again.policy_path.read_text() == "quorum none\n"
    assert again.rides_path.read_bytes() == b'{"rides": []}'
    assert again.rides_path.stat().st_mode & 0o777 == 0o600


async def test_a_backup_that_somebody_else_sealed_writes_no_other_file(tmp_path: Path) -> None:
    home, words = made(tmp_path / "home")
    root = root_from_words(words)
    made_up = Backup.of(home, [], NOW_MS)
    files = (("policy.txt", bytes(POLICY_MAX + 1)), ("../evil", b"x"), ("keys/ledger.key", b"x"))
    backup = Backup.open(replace(made_up, files=files).seal(), root)
    assert backup.files == ()
    again, _ = backup.restore(tmp_path / "again", root, NOW_MS + 1)
    assert not (tmp_path / "evil").exists()
    assert not again.policy_path.exists()
    assert len(again.ledger_seed) == 32


async def test_no_key_and_no_guard_is_in_a_backup(tmp_path: Path) -> None:
    home, words = made(tmp_path / "home")
    await say(home)
    data = Backup.of(home, [], NOW_MS).seal()
    plain = root_from_words(words).unseal(data[len(b"passby backup 1\n") :])
    assert plain is not None
    for secret in (home.ledger_seed, home.transport_seed):
        assert secret not in plain
        assert secret.hex().encode() not in plain
    assert (home.path / "head.guard").read_bytes()[:100] not in plain
    assert CONFIG.name.encode() not in data


async def test_what_was_sealed_to_the_old_device_can_be_read_by_the_new_one(
    tmp_path: Path,
) -> None:
    home, words = made(tmp_path / "home")
    await say(home)
    root = root_from_words(words)
    backup = Backup.open(Backup.of(home, [], NOW_MS).seal(), root)
    second, _ = backup.restore(tmp_path / "second", root, NOW_MS)
    # Whoever stole the old one must not read what is sealed to the new one.
    assert second.box_seed != home.box_seed
    assert second.former_box_seeds == (home.box_seed,)
    again = Backup.open(Backup.of(second, [], NOW_MS).seal(), root)
    third, _ = again.restore(tmp_path / "third", root, NOW_MS)
    assert third.former_box_seeds == (second.box_seed, home.box_seed)
    async with street(MemoryMaker()) as lane:
        ann = await lane.open("ann")
        chains = ann.participant.chains
        old, me = BoxKey(home.box_seed), chains.author
        sealed = Sealing(chains, old, os.urandom).seal("Ring twice", [], b"c" * 32)
        note = Draft(EntryType.CANCEL, (b"c" * 32,), (0,), encode_payload(Note(sealed=sealed)))
        (record,) = await ann.participant.say([note])
        assert record.entry.author == me
        own = BoxKey(third.box_seed)
        former = [BoxKey(seed) for seed in third.former_box_seeds]
        assert Sealing(chains, own, os.urandom).words(record) is None
        assert Sealing(chains, own, os.urandom, former).words(record) == "Ring twice"


async def test_only_the_persons_words_open_a_backup(tmp_path: Path) -> None:
    home, words = made(tmp_path / "home")
    _, others = made(tmp_path / "other")
    data = Backup.of(home, [], NOW_MS).seal()
    with pytest.raises(UsageError, match="do not open"):
        Backup.open(data, root_from_words(others))
    for at in (20, len(data) // 2, len(data) - 1):
        bent = bytearray(data)
        bent[at] ^= 1
        with pytest.raises(LocalError):
            Backup.open(bytes(bent), root_from_words(words))
    with pytest.raises(UsageError, match="no passby backup"):
        Backup.open(b"x" * 99, root_from_words(words))


def test_backup_and_restore_from_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    home, words = made(tmp_path / "home")
    file, sheet, again = tmp_path / "anna.backup", tmp_path / "words", tmp_path / "again"
    sheet.write_text(words)
    assert run(["--home", str(home.path), "backup", str(file)]) == 0
    assert run(["--home", str(home.path), "backup", str(file), "--json"]) == 0
    assert file.stat().st_mode & 0o077 == 0
    capsys.readouterr()
    restore = ["restore", str(file), "--words-file", str(sheet), "--json", "--home"]
    assert run([*restore, str(again)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["replaces"] == home.ledger_key().public.hex()
    assert told["author"] == Home.open(again).ledger_key().public.hex()
    assert run([*restore, str(home.path)]) == 4
    sheet.write_text(" ".join(["abandon"] * 24))
    assert run([*restore, str(tmp_path / "third")]) == 2
    assert not (tmp_path / "third").exists()
    precious = tmp_path / "thesis"
    precious.write_text("years of work")
    assert run(["--home", str(home.path), "backup", str(precious)]) == 2
    assert precious.read_text() == "years of work"


# --- by copying the folder -----------------------------------------------------------------
async def test_a_home_copied_byte_for_byte_refuses_to_append(tmp_path: Path) -> None:
    home, _ = made(tmp_path / "home")
    await say(home)
    shutil.copytree(home.path, tmp_path / "copy")
    with pytest.raises(RefusedError, match="is a copy"):
        await say(Home.open(tmp_path / "copy"))
    await say(home)


async def test_keys_alone_do_not_begin_a_second_chain(tmp_path: Path) -> None:
    home, _ = made(tmp_path / "home")
    await say(home)
    for gone in ("passby.db", "passby.db-wal", "passby.db-shm", "head.guard"):
        (home.path / gone).unlink(missing_ok=True)
    with pytest.raises(RefusedError, match="is gone"):
        await say(home)


async def test_an_old_ledger_beside_the_newer_guard_refuses_to_append(tmp_path: Path) -> None:
    home, _ = made(tmp_path / "home")
    await say(home)
    keep(home.database_path, tmp_path / "old")
    await say(home, 3)
    put_back(home.database_path, tmp_path / "old")
    with pytest.raises(RefusedError, match="ends at entry 2, though 5 were written"):
        await say(home)


# --- and back, with the neighbours' help -----------------------------------------------------
@pytest.mark.parametrize("lost", ["some", "all"])
async def test_neighbours_give_the_lost_entries_back_and_the_chain_goes_on(
    tmp_path: Path, lost: str
) -> None:
    async with street(MemoryMaker(), tmp_path) as lane:
        anna, bo = await lane.settle("anna", "bo")
        await anna.list(name="Before")
        await anna.stop()
        database = tmp_path / "anna.db"
        keep(database, tmp_path / "old")
        await anna.start()
        await anna.join(bo)
        after = [await anna.list(name=f"After {number}") for number in range(3)]
        await eventually(lambda: all(bo.has_lot(lot) for lot in after))
        await anna.stop()
        put_back(database, tmp_path / ("old" if lost == "some" else "nothing"))
        await anna.start()
        with pytest.raises(RefusedError, match="though 5 were written"):
            await anna.list(name="Too early")
        await anna.join(bo)
        await eventually(lambda: seq(anna) == 5)
        last = await anna.list(name="And on")
        await eventually(lambda: bo.has_lot(last))
        assert seq(bo, anna) == 6
        assert bo.participant.chains.reader.frozen() == {}


# --- with the guard, as a disk or a virtual machine is set back ---------------------------------
async def set_back(anna: Household, tmp_path: Path, *others: Household) -> list[bytes]:
    """Let Anna's machine be set back to before its last three entries; return their lots."""
    database, guard = tmp_path / "anna.db", tmp_path / "anna.guard"
    await anna.list(name="Before")
    await anna.stop()
    keep(database, tmp_path / "old")
    then = guard.read_bytes()
    await anna.start()
    await anna.join(*others)
    after = [await anna.list(name=f"After {number}") for number in range(3)]
    await eventually(lambda: all(other.has_lot(lot) for other in others for lot in after))
    for one in (anna, *others):
        await one.stop()
    put_back(database, tmp_path / "old")
    # In place: the file is the same one, on the same machine.
    guard.write_bytes(then)
    await anna.start()
    assert seq(anna) == 2
    return after


async def test_a_machine_that_was_set_back_goes_on_from_what_a_neighbour_holds(
    tmp_path: Path,
) -> None:
    async with street(MemoryMaker(), tmp_path) as lane:
        anna, bo = await lane.settle("anna", "bo")
        await set_back(anna, tmp_path, bo)
        await bo.start()
        await anna.join(bo)
        # At once, before anything has come.
        with suppress(RestoredError):
            await anna.list(name="As if nothing had been")
        await eventually(lambda: seq(anna) >= 5)
        last = await anna.list(name="And on")
        await eventually(lambda: bo.has_lot(last))
        assert bo.participant.chains.reader.frozen() == {}
        assert anna.participant.replication.own_head.is_confirmed


async def test_nothing_is_appended_while_a_neighbour_names_newer_own_entries(
    tmp_path: Path,
) -> None:
    async with street(MemoryMaker(), tmp_path) as lane:
        anna, bo = await lane.settle("anna", "bo")
        await set_back(anna, tmp_path, bo)
        by_hand = lane.maker.node("a neighbour by hand")
        async with by_hand.run():
            await by_hand.connect(anna.address)
            stream = await by_hand.open_stream(anna.network.peer_id, SYNC_PROTOCOL)
            await stream.send_all(encode_message(Hello(NETWORK_ID)))
            await stream.send_all(encode_message(End(anna.author, 3)))
            own_head = anna.participant.replication.own_head
            await eventually(lambda: own_head.is_confirmed)
            await anna.list(name="Nobody has more")
            head = encode_message(Heads((Head(anna.author, 9, b"12345678"),)))
            await stream.send_all(head)
            link = anna.participant.replication._links[by_hand.peer_id]
            await eventually(lambda: link.session.named_seq(anna.author) == 9)
            with pytest.raises(RestoredError, match="a neighbour holds 9"):
                await anna.list(name="Not now")
            assert seq(anna) == 3
            # It has none of them, whatever it is asked for.
            await stream.send_all(encode_message(End(anna.author, 4)) * 2)
            await eventually(lambda: own_head.has_lied(by_hand.peer_id))
            assert anna.network.peers()[by_hand.peer_id].score < 0
            await anna.list(name="What a liar says holds nobody up")
            await stream.reset()


class Namer:
    """A neighbour that names nine entries of Anna's in each session, and shows none."""

    def __init__(self, anna: Household, network: Network) -> None:
        self._anna = anna
        self._network = network

    async def name(self, *frames: bytes) -> Stream:
        """Begin a session in the place of the one before, once that is over."""
        anna, peer = self._anna, self._network.peer_id
        links = anna.participant.replication._links
        await eventually(lambda: peer not in links)
        stream = await self._network.open_stream(anna.network.peer_id, SYNC_PROTOCOL)
        head = encode_message(Heads((Head(anna.author, 9, b"12345678"),)))
        await stream.send_all(encode_message(Hello(NETWORK_ID)) + head + b"".join(frames))
        await eventually(lambda: peer in links and links[peer].session.named_seq(anna.author) == 9)
        return stream


async def test_a_liar_that_comes_back_in_a_new_session_holds_up_nothing_again() -> None:
    async with street(MemoryMaker()) as lane:
        anna = await lane.open("anna")
        by_hand = lane.maker.node("a neighbour by hand")
        async with by_hand.run():
            await by_hand.connect(anna.address)
            namer, own_head = Namer(anna, by_hand), anna.participant.replication.own_head
            stream = await namer.name(encode_message(End(anna.author, 2)))
            await eventually(lambda: own_head.has_lied(by_hand.peer_id))
            await anna.list(name="One lie")
            for _ in range(3):
                await stream.reset()
                stream = await namer.name()
                await anna.list(name="The same lie")
            await stream.reset()


async def test_a_neighbour_that_comes_and_goes_wins_no_time_for_what_it_names(
    autojump_clock: MockClock,
) -> None:
    async with street(MemoryMaker()) as lane:
        anna = await lane.open("anna")
        by_hand = lane.maker.node("a neighbour by hand")
        async with by_hand.run():
            await by_hand.connect(anna.address)
            namer, begun_s = Namer(anna, by_hand), trio.current_time()
            listed = False
            while not listed:
                assert trio.current_time() - begun_s < 2 * OWN_HEAD_GIVEN_WITHIN_S
                stream = await namer.name()
                with suppress(RestoredError):
                    await anna.list(name="Held up")
                    listed = True
                await trio.sleep(OWN_HEAD_GIVEN_WITHIN_S / 4)
                await stream.reset()
            assert trio.current_time() - begun_s > OWN_HEAD_GIVEN_WITHIN_S


async def test_who_knows_nobody_goes_on_and_says_that_nobody_was_asked(tmp_path: Path) -> None:
    async with street(MemoryMaker(), tmp_path) as lane:
        anna = await lane.open("anna")
        await anna.list()
        assert not anna.participant.replication.own_head.is_confirmed
        bo = await lane.open("bo")
        await bo.join(anna)
        await eventually(lambda: anna.participant.replication.own_head.is_confirmed)


def seq(holder: Household, of: Household | None = None) -> int:
    return holder.participant.chains.head_seq((of or holder).author)
