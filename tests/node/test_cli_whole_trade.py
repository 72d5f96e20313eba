"""A whole trade by hand, over real daemons: bid, quote, place, words, codes, rating, receipt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.node.test_cli_live import Neighbour, until

Capture = pytest.CaptureFixture[str]
Pair = tuple[Neighbour, Neighbour]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("w")
    anna = Neighbour(folder / "a", "Anna", "52.375,4.884")
    bo = Neighbour(folder / "b", "Bo", "52.377,4.884")
    assert anna.code("config", "set", "place", "Lindengracht 12, bell 3") == 0
    assert anna.code("config", "set", "pay_to", "NL91 ABNA 0417 1643 00") == 0
    try:
        for one in (anna, bo):
            code, _, said = one.up()
            assert code == 0, said
        yield anna, bo
    finally:
        anna.down()
        bo.down()


def test_a_trade_by_quote_with_place_words_rating_and_receipt(
    pair: Pair, capsys: Capture, tmp_path: Path
) -> None:
    anna, bo = pair
    assert bo.code("join", anna.says(capsys, "invite")["link"]) == 0
    fluid = ["offer", "Brake fluid", "--category", "fluids/brake-fluid", "--price", "4EUR"]
    lot = anna.says(capsys, *fluid, "--amount", "946 ml", "--per-person", "500 ml")["id"][:8]
    until(lambda: lot in bo.shows(capsys, "book"))
    assert "One person" in bo.refuses(capsys, 4, "propose", lot)
    bo.says(capsys, "bid", lot, "--price", "1.20", "--amount", "473 ml")
    until(lambda: "1.20 EUR" in anna.shows(capsys, "quotes"))
    anna.says(capsys, "quote", lot, "--lot", lot, "--price", "1.50", "--valid", "2 hours")
    quote = until(lambda: bo.says(capsys, "quotes")["quotes"])[0]
    assert f"--quote {quote['id'][:8]}" in bo.shows(capsys, "quotes")
    mark = bo.says(capsys, "propose", lot, "--quote", quote["id"][:8])["id"][:8]

    def confirmed() -> Any:
        found = bo.says(capsys, "trade", "show", mark)
        told = {said["kind"] for said in found["talk"]}
        return found if found["code"] and {"place", "payment"} <= told else None

    trade = until(confirmed)
    assert trade["legs"][0]["total_minor"] == 150
    assert trade["payments"][0]["epc"].splitlines()[7] == "EUR1.50"
    shown = bo.shows(capsys, "trade", "show", mark)
    assert "come to Lindengracht 12, bell 3" in shown
    assert "NL91ABNA0417164300" in shown
    assert "not before" in shown  # whoever wants the code before the goods
    bo.says(capsys, "say", mark, "I am at the gate")
    until(lambda: "I am at the gate" in anna.shows(capsys, "trade", "show", mark))
    (tmp_path / "words").write_text(trade["code"] + "\n", encoding="utf-8")
    until(lambda: anna.says(capsys, "trade", "show", mark)["legs"][0]["committed"])
    anna.says(capsys, "handover", mark, "--code-file", str(tmp_path / "words"))
    until(lambda: bo.says(capsys, "trade", "show", mark)["legs"][0]["handed_over"])
    same = bo.refuses(capsys, 2, "dispute", mark, "--amount", "473 ml", "--text", "hm")
    assert "nothing is in dispute" in same
    bo.says(capsys, "dispute", mark, "--amount", "400 ml", "--text", "Some had leaked")
    until(lambda: anna.says(capsys, "trade", "show", mark)["state"] == "DISPUTED")
    until(lambda: "Some had leaked" in anna.shows(capsys, "trade", "show", mark, "--evidence"))
    assert "settled" in bo.refuses(capsys, 4, "rate", mark, "5")
    bo.says(capsys, "receive", mark)
    until(lambda: anna.says(capsys, "trade", "show", mark)["legs"][0]["disputed"] is False)
    assert anna.says(capsys, "receive", mark, "--money")["state"] == "SETTLED"
    until(lambda: bo.says(capsys, "trade", "show", mark)["state"] == "SETTLED")
    assert "gives 5 of 5: as described" in bo.shows(capsys, "rate", mark, "5", "as described")
    until(lambda: anna.says(capsys, "trade", "show", mark)["ratings"])
    page = tmp_path / "receipt.html"
    assert "Written" in bo.shows(capsys, "trade", "receipt", mark, "--html", str(page))
    assert "one and 50/100 EUR" in page.read_text(encoding="utf-8")
    assert "closed" in anna.says(capsys, "close", lot)
    until(lambda: lot not in bo.shows(capsys, "book"))
    for one in pair:
        assert one.says(capsys, "audit")["exit"] == 0


def test_a_request_can_be_withdrawn_by_hand(pair: Pair, capsys: Capture) -> None:
    anna, bo = pair
    need = ["request", "Eggs", "--category", "food/eggs", "--price", "2EUR", "--amount", "6 pieces"]
    wish = bo.says(capsys, *need)["id"][:8]
    until(lambda: wish in anna.shows(capsys, "book", "--wanted"))
    assert "yours" in anna.refuses(capsys, 4, "close", wish)
    assert "Closed" in bo.shows(capsys, "close", wish)
    until(lambda: wish not in anna.shows(capsys, "book", "--wanted"))
