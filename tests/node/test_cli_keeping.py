"""What a home keeps and forgets, by the command line and a real daemon: erasing and mending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.node.test_cli_live import Neighbour

TEXT = "left by the blue gate behind the mill"
Capture = pytest.CaptureFixture[str]


def on_disk(home: Path) -> bool:
    return any(TEXT.encode() in file.read_bytes() for file in home.glob("passby.db*"))


def test_a_text_is_erased_for_good_and_a_damaged_ledger_is_mended(
    tmp_path: Path, capsys: Capture
) -> None:
    anna = Neighbour(tmp_path / "a", "Anna", "52.375,4.884")
    try:
        assert anna.up()[0] == 0
        given = anna.says(
            capsys, "give", "apples", "--category", "food/fruit", "--amount", "2 kg", "--text", TEXT
        )
        lot: str = given["id"]
        assert on_disk(anna.path)
        assert len(anna.says(capsys, "book", "--own")) > 0

        assert "--yes" in anna.refuses(capsys, 2, "erase", lot)
        genesis = anna.says(capsys, "ledger", "log")[-1]["id"]
        assert "whose this device is" in anna.refuses(capsys, 4, "erase", genesis, "--yes")
        answer = anna.says(capsys, "erase", lot, "--yes")
        assert answer == {"id": lot, "erased": True, "own": True}
        shown: Any = anna.says(capsys, "ledger", "show", lot)
        assert shown["payload"] is None
        assert shown["payload_state"] == "erased"
        assert lot not in capsys.readouterr().out
        assert not on_disk(anna.path)
        # Again is the same.
        assert anna.says(capsys, "erase", lot, "--yes") == answer
        audited = anna.says(capsys, "audit")
        assert (audited["erased"], audited["unsent"], audited["exit"]) == (1, 0, 0)

        assert "no witnesses vouch" in anna.refuses(capsys, 4, "ledger", "prune")
        assert "passby down" in anna.refuses(capsys, 1, "doctor", "--mend")
        anna.down()
        assert anna.says(capsys, "doctor", "--mend") == {"mended": False}
        database = anna.path / "passby.db"
        damaged = bytearray(database.read_bytes())
        damaged[16] ^= 1
        database.write_bytes(damaged)
        mended = anna.says(capsys, "doctor", "--mend")
        assert mended["mended"]
        assert Path(mended["kept"]).read_bytes() == damaged

        # A node that finds it unreadable does the same by itself, and appends nothing.
        database.write_bytes(b"\x00" * 8192)
        assert anna.up()[0] == 0
        status = anna.says(capsys, "status")
        assert "not the one last written" in status["read_only"]
        assert (anna.path / "passby.db.damaged-2").exists()
    finally:
        anna.down()
