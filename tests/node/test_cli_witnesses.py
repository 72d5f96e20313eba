"""witness, policy and `trade check` by the command line: without a daemon, and with three."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.node.test_cli_live import Neighbour, until

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def street(tmp_path: Path) -> Iterator[list[Neighbour]]:
    names = {"Anna": "52.375,4.884", "Bo": "52.377,4.884", "Carl Groß": "52.376,4.884"}
    homes = [Neighbour(tmp_path / name[0], name, place) for name, place in names.items()]
    try:
        yield homes
    finally:
        for home in homes:
            home.down()


def line_of(home: Neighbour, capsys: Capture) -> str:
    line: str = home.says(capsys, "witness", "key")["line"]
    return line


def test_a_policy_is_written_and_read_over_without_a_daemon(
    street: list[Neighbour], capsys: Capture
) -> None:
    _, bo, carl = street
    line = line_of(carl, capsys)
    assert line.split()[:2] == ["witness", "carl-groß"]
    assert line == line_of(carl, capsys) == carl.shows(capsys, "witness", "key").strip()
    shown = bo.says(capsys, "policy", "show")
    assert (shown["quorum"], shown["witnesses"]) == ("none", {})
    assert "nobody's cosignature" in bo.shows(capsys, "policy", "show")
    assert "no " in bo.refuses(capsys, 78, "policy", "check")

    policy = bo.path / "policy.txt"
    policy.write_text(f"{line}\nquorum carl-groß\n", encoding="utf-8")
    checked = bo.says(capsys, "policy", "check")
    assert checked["quorum"] == "carl-groß"
    assert checked["witnesses"] == {"carl-groß": line.split()[2]}
    assert checked["reachable"] is None
    assert "is not running" in bo.shows(capsys, "policy", "check")

    policy.write_text(f"{line}\nquorum somebody\n", encoding="utf-8")
    assert "Line 2 of the policy" in bo.refuses(capsys, 78, "policy", "check")
    code, _, said = bo.up()
    assert code == 78
    assert "Line 2 of the policy" in said

    assert carl.says(capsys, "config", "get", "witness") == {"witness": True}
    assert carl.says(capsys, "witness", "off") == {"on": False}
    assert carl.says(capsys, "config", "get", "witness") == {"witness": False}


def test_a_buyer_waits_for_the_witness_and_asks_again_before_paying(
    street: list[Neighbour], capsys: Capture
) -> None:
    anna, bo, carl = street
    line = line_of(carl, capsys)
    (bo.path / "policy.txt").write_text(f"{line}\nquorum carl-groß\n", encoding="utf-8")
    for home in street:
        code, _, said = home.up()
        assert code == 0, said
    for home in (anna, carl):
        bo.says(capsys, "join", home.says(capsys, "id")["addresses"][0])
    carl.says(capsys, "join", anna.says(capsys, "id")["addresses"][0])
    assert carl.says(capsys, "witness", "off") == {"on": False}
    checked = bo.says(capsys, "policy", "check")
    assert checked["reachable"] == {"carl-groß": None}

    anna.says(capsys, "offer", "A bell", "--category", "things", "--amount", "1", "--price", "4EUR")
    (lot,) = until(lambda: bo.says(capsys, "book")["lots"])
    trade = bo.says(capsys, "propose", lot["id"])["id"]
    until(lambda: anna.says(capsys, "trade", "list")["trades"])
    anna.says(capsys, "accept", trade)
    waiting = until(lambda: bo.says(capsys, "trade", "show", trade)["witnesses"])
    assert waiting == {
        "reached": False,
        "cosigned": [],
        "lacking": ["carl-groß"],
        "why": waiting["why"],
    }
    assert "0 of 1 have cosigned; lacking: carl-groß" in bo.shows(capsys, "trade", "show", trade)
    assert "nothing is to be paid" in bo.refuses(capsys, 4, "trade", "check", trade)

    assert carl.says(capsys, "witness", "on") == {"on": True}
    until(lambda: bo.says(capsys, "trade", "show", trade)["state"] == "CONFIRMED")
    assert bo.says(capsys, "trade", "check", trade)["state"] == "CONFIRMED"
    assert "still stands" in bo.shows(capsys, "trade", "check", trade)
    peer = carl.says(capsys, "id")["peer_id"]
    assert bo.says(capsys, "policy", "check")["reachable"] == {"carl-groß": peer}
    cosigned = carl.says(capsys, "witness", "list")["cosigned"]
    assert [chain["name"] for chain in cosigned] == ["Anna"]
    assert "carl-groß" in bo.shows(capsys, "witness", "list")
    audited = bo.says(capsys, "audit")
    assert (audited["checkpoints"], audited["cosigned"], audited["exit"]) == (1, 1, 0)
