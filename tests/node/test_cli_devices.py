"""passby device, by hand: two devices of one person, one of them lost."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from passby.geo.cells import cell_at, topic_cell
from passby.ledger.draft import Draft, compose
from passby.ledger.ingest import Check, admit
from passby.ledger.reader_sqlite import SqliteReader
from passby.ledger.standing import certificate_in
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.node.cli import run
from passby.node.clock import machine_clock
from passby.node.home import Home
from passby.node.participant import Identity
from passby.protocol.keys import Certificate, root_from_words
from passby.protocol.statements import Heal
from passby.protocol.types import AT_MS_MAX, EntryType

Capture = pytest.CaptureFixture[str]


class Device:
    """A home, spoken to as by hand."""

    def __init__(self, path: Path, capsys: Capture) -> None:
        self.path, self._capsys = path, capsys

    def code(self, *words: str) -> int:
        self._capsys.readouterr()
        return run([*words, "--json", "--home", str(self.path)])

    def says(self, *words: str) -> Any:
        code = self.code(*words)
        shown = self._capsys.readouterr()
        assert code == 0, shown.err
        return json.loads(shown.out)

    def lists(self, *words: str) -> list[Any]:
        assert self.code(*words) == 0
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]

    def refuses(self, code: int, *words: str) -> str:
        assert self.code(*words) == code
        fault = json.loads(self._capsys.readouterr().err)["error"]
        return f"{fault['message']} {fault['hint']}"

    def init(self, *words: str) -> Any:
        listen = ["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--yes"]
        return self.says("init", "--at", "52.375,4.884", *listen, *words)

    def up(self) -> None:
        command = [sys.executable, "-m", "passby.node.cli", "up", "--detach", "--json"]
        subprocess.run([*command, "--home", str(self.path)], capture_output=True, check=True)

    @property
    def home(self) -> Home:
        return Home.open(self.path)


@pytest.fixture
def phone(tmp_path: Path, capsys: Capture) -> Iterator[Device]:
    made = Device(tmp_path / "phone", capsys)
    told = made.init("--name", "Anna")
    (tmp_path / "words").write_text(told["words"])
    yield made
    if made.home.daemon_pid() is not None:
        made.code("down")


def root_of(device: Device) -> str:
    return Certificate.parse(device.home.certificate).root.hex()


def test_a_second_device_is_certified_by_the_words_on_the_first(
    phone: Device, tmp_path: Path, capsys: Capture
) -> None:
    laptop = Device(tmp_path / "laptop", capsys)
    told = laptop.init("--name", "Anna", "--for", root_of(phone))
    assert told["awaits"] == "certificate"
    assert "device add" in laptop.refuses(78, "up")
    made = phone.says("device", "add", told["author"], "--words-file", str(tmp_path / "words"))
    assert made["entry"] is None
    accepted = laptop.says("device", "accept", made["certificate"])
    assert accepted == {"device": told["author"], "root": root_of(phone)}
    assert "already" in laptop.refuses(4, "device", "accept", made["certificate"])


def test_words_are_read_from_stdin_and_must_be_the_persons(
    phone: Device, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Device(tmp_path / "bo", capsys)
    told = other.init("--name", "Bo")
    key = other.home.ledger_key().public.hex()
    monkeypatch.setattr(sys, "stdin", io.StringIO((tmp_path / "words").read_text()))
    assert phone.says("device", "add", key, "--words-file", "-")["device"] == key
    (tmp_path / "words").write_text(told["words"])
    said = phone.refuses(2, "device", "add", key, "--words-file", str(tmp_path / "words"))
    assert "another person" in said
    assert "--words-file" in phone.refuses(2, "device", "add", key)
    assert "no device's key" in phone.refuses(2, "device", "add", "00" * 32)


def test_a_certificate_of_another_device_is_refused(
    phone: Device, tmp_path: Path, capsys: Capture
) -> None:
    laptop = Device(tmp_path / "laptop", capsys)
    laptop.init("--name", "Anna", "--for", root_of(phone))
    assert "another device" in laptop.refuses(4, "device", "accept", phone.home.certificate.hex())
    assert "no certificate" in laptop.refuses(2, "device", "accept", "abc")
    assert "no root" in Device(tmp_path / "x", capsys).refuses(
        2, "init", "--at", "52,4", "--name", "x", "--for", "12"
    )


def test_a_lost_device_is_listed_and_sealed(phone: Device, tmp_path: Path, capsys: Capture) -> None:
    """From a backup, without the old device: what a person does whose phone is gone."""
    phone.up()
    phone.says("give", "Old chairs", "--amount", "4 pieces", "--category", "furniture")
    phone.says("backup", str(tmp_path / "b"))
    phone.says("down")
    laptop = Device(tmp_path / "laptop", capsys)
    words = ["--words-file", str(tmp_path / "words")]
    told = laptop.says("restore", str(tmp_path / "b"), *words)
    old = told["replaces"]
    assert "passby up" in laptop.refuses(3, "device", "seal", old[:8], *words)
    laptop.up()
    try:
        sealed = laptop.says("device", "seal", old[:8], *words)
        assert (sealed["device"], sealed["sealed_at"]) == (old, 2)
        assert "not held" in laptop.refuses(4, "device", "seal", old[:8], "--at", "99", *words)
        assert "None of your devices" in laptop.refuses(2, "device", "seal", "00" * 8, *words)
        assert laptop.code("device", "list") == 0
        shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(one["device"], one["sealed_at"], one["here"]) for one in shown] == [
            (old, 2, False),
            (told["author"], None, True),
        ]
    finally:
        laptop.says("down")


def test_a_trip_device_does_not_show_whose_it_is(tmp_path: Path, capsys: Capture) -> None:
    trip = Device(tmp_path / "trip", capsys)
    trip.init("--trip")
    trip.up()
    trip.says("down")
    key = trip.home.ledger_key().public
    reader = SqliteReader.open(trip.home.database_path)
    genesis = reader.record_at(key, 1)
    assert genesis is not None
    assert certificate_in(genesis) is None
    assert reader.person_of(key) == key
    assert genesis.payload is not None
    assert trip.home.certificate not in genesis.payload
    reader.close()


def test_a_lost_trip_device_is_sealed_with_the_words_and_nothing_else_of_it(
    phone: Device, tmp_path: Path, capsys: Capture
) -> None:
    words = ["--words-file", str(tmp_path / "words")]
    trip = Device(tmp_path / "trip", capsys)
    told = trip.init("--trip", "--for", root_of(phone))
    phone.up()
    try:
        made = phone.says("device", "add", told["author"], "--trip", *words)
        assert made["entry"] is None
        trip.says("device", "accept", made["certificate"])
        trip.up()
        trip.says("join", phone.says("status")["addresses"][0])
        me = trip.says("status")["author"]
        trip.says("give", "Old chairs", "--amount", "4 pieces", "--category", "furniture")
        eventually(lambda: phone.says("status")["lots_open"] == 1)
        trip.says("down")
        shutil.rmtree(trip.path)
        assert me not in [one["device"] for one in phone.lists("device", "list")]
        sealed = phone.says("device", "seal", me[:8], *words)
        assert (sealed["device"], sealed["sealed_at"]) == (me, 2)
        assert phone.says("status")["lots_open"] == 0
        (found,) = [one for one in phone.lists("device", "list") if one["device"] == me]
        assert found["sealed_at"] == 2
    finally:
        phone.says("down")


def test_a_strangers_trip_device_is_not_opened_by_ones_own_words(
    phone: Device, tmp_path: Path, capsys: Capture
) -> None:
    trip = Device(tmp_path / "trip", capsys)
    trip.init("--trip")
    key, home = trip.home.ledger_key(), trip.home
    identity = Identity(
        key, "", home.certificate, home.certificate_salt, bytes(32), trip=home.is_trip
    )
    store = SqliteStore(phone.home.database_path)
    records = compose(key, store.view(()), [identity.genesis()], machine_clock(), os.urandom)
    store.commit([admit(store.view(records), records, Check.OWN)], durable=True)
    store.close()
    words = ["--words-file", str(tmp_path / "words")]
    me = key.public.hex()
    assert "do not open it" in phone.refuses(4, "device", "seal", me[:8], *words)


def eventually(holds: Callable[[], Any]) -> Any:
    """Wait until something holds, and return it; a minute means never."""
    until_s = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < until_s, "it never came"
        time.sleep(0.05)
    return found


def fork_at(holder: Device, of: Device) -> None:
    """Let one more entry of a device come to a home that is down, as a copy of it would say it."""
    key = of.home.ledger_key()
    wish = Draft(EntryType.REQUEST, facts=(topic_cell(cell_at(52.375, 4.884)), AT_MS_MAX))
    store = SqliteStore(holder.home.database_path)
    records = compose(key, store.view(()), [wish], machine_clock(), os.urandom)
    store.commit([admit(store.view(records), records, Check.OWN)], durable=True)
    store.close()


def test_an_innocent_fork_is_healed_in_public_and_the_device_goes_on(
    phone: Device, tmp_path: Path, capsys: Capture
) -> None:
    give = ["give", "Old chairs", "--amount", "4 pieces", "--category", "furniture"]
    words = ["--words-file", str(tmp_path / "words")]
    phone.up()
    phone.says(*give)
    bo = Device(tmp_path / "bo", capsys)
    bo.init("--name", "Bo")
    bo.up()
    try:
        me = phone.says("status")["author"]
        assert "No fork" in phone.refuses(4, "device", "heal", me[:8], *words)
        phone.says("join", bo.says("status")["addresses"][0])
        eventually(lambda: bo.says("status")["lots_open"] == 1)
        phone.says("down")
        bo.says("down")
        fork_at(bo, phone)
        phone.up()
        kept = phone.says(*give)["id"]
        bo.up()
        phone.says("join", bo.says("status")["addresses"][0])
        assert phone.says("device", "list")["frozen_from"] in (None, 3)
        eventually(lambda: phone.says("device", "list")["frozen_from"] == 3)
        eventually(lambda: bo.says("status")["lots_open"] == 0)
        assert "forked" in phone.refuses(4, *give)
        assert phone.says("status")["frozen_from"] == 3
        assert any("device heal" in note for note in phone.says("status")["notes"])
        healed = phone.says("device", "heal", me[:8], *words)
        assert (healed["device"], healed["healed_at"], healed["id"]) == (me, 3, kept)
        assert phone.says("device", "list")["frozen_from"] is None
        phone.says(*give)
        eventually(lambda: bo.says("status")["lots_open"] == 3)
        reader = SqliteReader.open(bo.home.database_path)
        assert reader.frozen() == {}
        reader.close()
        assert "No fork" in phone.refuses(4, "device", "heal", me[:8], *words)
    finally:
        bo.code("down")


def forked(phone: Device, *, binding: bool = False) -> list[str]:
    """Let the phone hold one branch of its chain, and proof of another; return both ids."""
    key, home = phone.home.ledger_key(), phone.home
    identity = Identity(key, "Anna", home.certificate, home.certificate_salt, bytes(32))
    cell = topic_cell(cell_at(52.375, 4.884))
    wish = Draft(EntryType.REQUEST, facts=(cell, AT_MS_MAX))
    adopt = Draft(
        EntryType.PROPOSE, refs=(b"l" * 32,), facts=(b"t" * 32, AT_MS_MAX, 1, 0, AT_MS_MAX)
    )
    store, other = SqliteStore(home.database_path), MemoryStore()
    genesis = compose(key, store.view(()), [identity.genesis()], 1, os.urandom)
    ids = []
    for one, draft in (
        (other, adopt if binding else replace(wish, payload=b"\x80")),
        (store, wish),
    ):
        one.commit([admit(one.view(genesis), genesis, Check.OWN)], durable=True)
        (record,) = compose(key, one.view(()), [draft], 2, os.urandom)
        one.commit([admit(one.view([record]), [record], Check.OWN)], durable=True)
        ids.append(record.entry.id.hex())
    records = other.log(key.public, None, 9)[::-1]
    store.commit([admit(store.view(records), records, Check.EACH)], durable=True)
    store.close()
    return ids


def test_a_heal_that_would_be_void_is_refused(phone: Device, tmp_path: Path) -> None:
    words = ["--words-file", str(tmp_path / "words")]
    forked(phone, binding=True)
    me = phone.home.ledger_key().public.hex()
    assert "binds others" in phone.refuses(4, "device", "heal", me[:8], *words)
    assert "branches begin with" in phone.refuses(
        2, "device", "heal", me[:8], "--keep", "00" * 8, *words
    )
    root = root_from_words((tmp_path / "words").read_text())
    store = SqliteStore(phone.home.database_path)
    store.add_statement(Heal.issue(root, phone.home.ledger_key().public, 2, b"x" * 32, 1))
    store.close()
    assert "healed before" in phone.refuses(4, "device", "heal", me[:8], *words)
