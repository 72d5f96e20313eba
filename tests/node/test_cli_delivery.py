"""A delivery by hand: three homes, three daemons, and a taker who is not at home."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.node.test_cli_live import Neighbour, until

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Neighbour]]:
    folder = tmp_path_factory.mktemp("d")
    places = {"Anna": "52.375,4.884", "Bo": "52.377,4.884", "Cyd": "52.376,4.886"}
    people = [Neighbour(folder / name[0].lower(), name, at) for name, at in places.items()]
    try:
        for one in people:
            code, _, said = one.up()
            assert code == 0, said
        yield people
    finally:
        for one in people:
            one.down()


def test_goods_go_by_way_of_a_carrier_and_back_when_nobody_is_home(
    street: list[Neighbour], capsys: Capture
) -> None:
    anna, bo, cyd = street
    for one in (bo, cyd):
        link = anna.shows(capsys, "invite").strip()
        assert one.code("join", link) == 0
    goods = anna.says(
        capsys, "offer", "Oil", "--category", "fluids/oil", "--amount", "1l", "--price", "4EUR"
    )["id"]
    room = cyd.says(
        capsys, "offer", "Bike", "--carry", "52.377,4.884", "--amount", "5kg", "--price", "1EUR"
    )
    assert room["lot"]["category"] == "carriage"
    until(
        lambda: all(
            {goods, room["id"]} <= {lot["id"] for lot in one.says(capsys, "book")["lots"]}
            for one in street
        )
    )
    ask = ["propose", goods[:8], "--carrier", room["id"][:8]]
    assert "Say with --room how many g" in bo.refuses(capsys, 2, *ask)
    bo.refuses(capsys, 2, "propose", goods[:8], "--room", "900g")
    trade = bo.says(capsys, *ask, "--room", "900g")["id"]
    for one in (anna, cyd):
        until(lambda one=one: trade in str(one.says(capsys, "trade", "list")))
        one.says(capsys, "accept", trade[:8])
    for one in street:
        until(lambda one=one: one.says(capsys, "trade", "show", trade[:8])["state"] == "CONFIRMED")
    assert "carried by Cyd" in bo.shows(capsys, "trade", "show", trade[:8])
    code = cyd.says(capsys, "trade", "show", trade[:8])["code"]
    anna.says(capsys, "handover", trade[:8], "--code", code)
    until(lambda: "with Cyd, who carries it" in cyd.shows(capsys, "trade", "show", trade[:8]))
    shown = cyd.says(capsys, "trade", "show", trade[:8])
    assert {turn["step"] for turn in shown["your_turn"]} >= {"handover", "return"}

    # Bo is not at home: it goes back, and Anna puts it on offer again.
    told = until(lambda: anna.says(capsys, "trade", "show", trade[:8])["return_code"])
    assert "return code" in anna.shows(capsys, "trade", "show", trade[:8])
    assert "keep the goods" in cyd.refuses(capsys, 4, "return", trade[:8], "--code", code)
    assert cyd.says(capsys, "return", trade[:8], "--code", told)["state"] == "RETURNED"
    until(lambda: anna.says(capsys, "trade", "show", trade[:8])["state"] == "RETURNED")
    back = anna.says(capsys, "putback", trade[:8])
    assert back["custody"][0]["words"] == "back with Anna, who gives it, on offer again"
    (lot,) = [lot for lot in anna.says(capsys, "book")["lots"] if lot["id"] == goods]
    assert lot["remaining"] == 1000
