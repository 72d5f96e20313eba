"""passby device, by hand: two devices of one person, one of them lost."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from passby.ledger.reader_sqlite import SqliteReader
from passby.ledger.standing import certificate_in
from passby.node.cli import run
from passby.node.home import Home
from passby.protocol.keys import Certificate

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
