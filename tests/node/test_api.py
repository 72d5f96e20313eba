"""The local API of two real daemons, over their unix sockets: every route, every bad input."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import h11
import pytest

from passby.geo.cells import cell_at, cell_text
from passby.node.demo.street import Neighbour, free_ports, wait_for
from passby.protocol.errors import Exit, LocalError, RefusedError
from passby.protocol.keys import SigningKey
from passby.protocol.limits import API_BODY_MAX, API_LOTS_MAX, EVENT_READERS_MAX

CELL = cell_text(cell_at(52.375, 4.884))
EURO = {"minor": 400, "per_amount": 946, "currency": "EUR"}
DAY_MS = 24 * 3600 * 1000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def lot(**changes: Any) -> dict[str, Any]:
    return {
        "side": "offer",
        "name": "Brake fluid",
        "category": "fluids/brake-fluid",
        "unit": "MLT",
        "amount": 946,
        "price": EURO,
    } | changes


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Neighbour, Neighbour]]:
    """Give Ann and Ben, who know each other."""
    folder = tmp_path_factory.mktemp("api")
    ann, ben = (
        Neighbour(folder / name, name, CELL, port, now_ms())
        for name, port in zip(("ann", "ben"), free_ports(2), strict=True)
    )
    for each in (ann, ben):
        each.start()
    try:
        for each in (ann, ben):
            each.wait_until_up()
        ben.post("/v1/join", {"address": ann.get("/v1/invite")["link"]})
        wait_for("sync", lambda: ann.get("/v1/status")["chains"] == 2)
        yield ann, ben
    finally:
        codes = [ann.stop(), ben.stop()]
    assert codes == [0, 0]
    said = [(each.home.log_path).read_text() for each in (ann, ben)]
    assert not [line for log in said for line in log.splitlines() if "a bug" in line]


@pytest.fixture
def ann(pair: tuple[Neighbour, Neighbour]) -> Neighbour:
    return pair[0]


@pytest.fixture
def ben(pair: tuple[Neighbour, Neighbour]) -> Neighbour:
    return pair[1]


def post_lot(ann: Neighbour, **changes: Any) -> str:
    """List one lot; return its id."""
    (result,) = ann.post("/v1/lots", {"lots": [lot(**changes)]})["results"]
    found: str = result["id"]
    return found


def raw(node: Neighbour, method: str, target: str, body: bytes = b"") -> tuple[int, Any]:
    """Send any bytes as a request; return the status and the JSON answered."""
    http = h11.Connection(h11.CLIENT)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(60)
        link.connect(str(node.home.socket_path))
        head = h11.Request(
            method=method,
            target=target,
            headers=[
                ("Host", "passby"),
                ("Connection", "close"),
                ("Content-Length", str(len(body))),
            ],
        )
        said = (head, h11.Data(data=body), h11.EndOfMessage())
        # In one piece: the daemon may hang up as soon as it has answered.
        link.sendall(b"".join(http.send(event) or b"" for event in said))
        status, answer = 0, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(link.recv(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                answer += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, json.loads(answer)


def is_refused(answer: tuple[int, Any], *, status: int = 400, words: str = "") -> None:
    """Hold an answer to be a clear error."""
    assert answer[0] == status, answer
    error = answer[1]["error"]
    assert words in error["message"]
    assert error["message"][0].isupper() or not error["message"][0].isalpha()
    assert error["exit_code"] in list(Exit)
    assert len(error["message"]) < 400


# --- every route -----------------------------------------------------------------------


def test_every_route_answers(ann: Neighbour, ben: Neighbour) -> None:
    me, other = ann.get("/v1/id"), ben.get("/v1/id")
    status = ann.get("/v1/status")
    assert (status["author"], status["peer_id"]) == (me["author"], me["peer_id"])
    assert status["clock"] == {"ok": True, "note": ""}
    assert status["read_only"] is None
    assert ann.get("/healthz") == {"ok": True}
    assert [peer["peer_id"] for peer in ann.get("/v1/peers")["peers"]] == [other["peer_id"]]
    assert ann.get("/v1/invite")["link"].startswith("passby://join/")
    checks = {check["name"]: check["ok"] for check in ann.get("/v1/doctor")["checks"]}
    assert checks["own chain"]
    assert checks["clock"]
    assert checks["ledger"]
    assert ann.post("/v1/clock/accept")["ok"]
    heads = {head["name"] for head in ann.get("/v1/ledger/heads")["heads"]}
    assert {"ann", "ben"} <= heads
    (genesis,) = ann.get("/v1/ledger/log", before=2)["entries"]
    assert genesis["type_name"] == "genesis"
    assert ann.get("/v1/ledger/log", author=other["author"][:12])["entries"]
    assert ann.get(f"/v1/ledger/entries/{genesis['id'][:12]}")["raw"]
    lines = list(ann.client.lines("/v1/ledger/export", {"author": me["author"]}))
    assert bytes.fromhex(json.loads(lines[0])["record"])


def test_a_trade_by_the_api_from_offer_to_receipt(ann: Neighbour, ben: Neighbour) -> None:
    offer = post_lot(ann, best_before_ms=now_ms() + 35 * DAY_MS)
    request = post_lot(ben, side="request", amount=473)
    matches = wait_for(
        "match", lambda: [m for m in _matches(ben, request) if m["offer"]["id"] == offer]
    )
    assert (matches[0]["amount"], matches[0]["total_minor"]) == (473, 200)
    assert matches[0]["reasons"]
    assert 0 < matches[0]["suggested"] <= 473
    trade = ben.post("/v1/trades", {"lot": offer[:16], "request": request, "text": "Half of it?"})
    assert (trade["state"], trade["role"], trade["code"]) == ("PROPOSED", "taker", None)
    path = f"/v1/trades/{trade['id'][:12]}"
    wait_for("the propose", lambda: _state(ann, path) == "PROPOSED")
    turn = ann.get(path)["your_turn"]
    assert [step["step"] for step in turn] == ["reserve", "cancel"]
    assert ann.get("/v1/status")["your_turn"] == 1
    ann.post(f"{path}/accept")
    wait_for("confirm and commit", lambda: _state(ben, path) == "CONFIRMED")
    code = ben.get(path)["code"]
    assert len(code.split()) == 4
    assert ann.get(path)["code"] is None
    ann.post(f"{path}/handover", {"code": code})
    wait_for("the handover", lambda: _state(ben, path) == "IN_CUSTODY")
    ben.post(f"{path}/receive")
    wait_for("the receipt", lambda: _state(ann, path) == "DELIVERED")
    assert ann.post(f"{path}/paid")["state"] == "SETTLED"
    wait_for("the end", lambda: _state(ben, path) == "SETTLED")
    words = [entry["words"] for entry in ben.get(path)["entries"]]
    assert words[0] == "ben proposes"
    assert "ann has the money" in words
    assert trade["id"] in [each["id"] for each in ben.get("/v1/trades")["trades"]]
    assert trade["id"] not in [each["id"] for each in ben.get("/v1/trades", state="open")["trades"]]
    left = [each for each in ben.get("/v1/book", own="0")["lots"] if each["id"] == offer]
    assert [each["remaining"] for each in left] == [473]


def _matches(node: Neighbour, lot_id: str) -> list[Any]:
    found: list[Any] = node.get("/v1/matches", lot=lot_id)["matches"]
    return found


def _state(node: Neighbour, path: str) -> str | None:
    try:
        state: str = node.get(path)["state"]
    except RefusedError:
        return None
    except LocalError as error:
        if error.exit_code is not Exit.REFUSED:
            raise
        return None
    return state


def test_the_book_can_be_searched(ann: Neighbour) -> None:
    mine = post_lot(ann, name="Blue Bottle", category="household", gtin="4006381333931")

    def found(**query: Any) -> list[str]:
        return [each["id"] for each in ann.get("/v1/book", **query)["lots"]]

    assert found(text="bLUE b") == [mine]
    assert found(category="household") == [mine]
    assert found(gtin="4006381333931") == [mine]
    assert found(gtin="04006381333931") == [mine]
    assert mine not in found(own="0")
    assert mine in found(own="1", limit=1000)
    assert found(category="no-such") == []
    assert found(text="\u0000 \U0001f600") == []
    assert len(found(limit=1)) == 1


def test_events_tell_of_a_new_lot_and_too_many_listeners_are_told_so(ann: Neighbour) -> None:
    links = []
    try:
        for _ in range(EVENT_READERS_MAX + 2):
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            links.append(link)
            link.settimeout(60)
            link.connect(str(ann.home.socket_path))
            link.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            if link.recv(4096).startswith(b"HTTP/1.1 409"):
                break
        else:
            pytest.fail("nobody counts the listeners")
    finally:
        for link in links:
            link.close()

    def listener() -> Iterator[str] | None:
        lines = ann.client.lines("/v1/events")
        try:
            return lines if next(lines) else None
        except LocalError:
            return None

    lines = wait_for("room for a listener", listener)
    mine = post_lot(ann)
    assert mine in next(line for line in lines if mine in line)


# --- bad input -------------------------------------------------------------------------

BAD_LOTS: dict[str, tuple[dict[str, Any], str]] = {
    "unit": ({"unit": "furlong"}, "unit"),
    "no unit": ({"unit": None}, "unit"),
    "currency": ({"price": EURO | {"currency": "XQX"}}, "not a currency"),
    "small currency": ({"price": EURO | {"currency": "eur"}}, "currency"),
    "empty currency": ({"price": EURO | {"currency": ""}}, "not a currency"),
    "gold": ({"price": EURO | {"currency": "XAU"}}, "not a currency"),
    "no price": ({"price": None}, "price"),
    "price per nothing": ({"price": EURO | {"per_amount": 0}}, "at least one unit"),
    "negative price": ({"price": EURO | {"minor": -1}}, "minor"),
    "price beyond counting": (
        {"price": EURO | {"minor": 2**53 - 1, "per_amount": 1}},
        "more than can be counted",
    ),
    "amount 0": ({"amount": 0}, "amount is 0"),
    "amount below 0": ({"amount": -1}, "amount"),
    "amount no number": ({"amount": "946"}, "amount"),
    "amount in parts": ({"amount": 1.5}, "amount"),
    "amount true": ({"amount": True}, "amount"),
    "amount huge": ({"amount": 10**30}, "amount"),
    "below the step": ({"amount": 100, "step": 500}, "below the step"),
    "below the minimum": ({"amount": 100, "minimum": 500}, "below the minimum"),
    "step 0": ({"step": 0}, "at least 1"),
    "best-before": ({"best_before_ms": 1_000_000_000_000}, "best-before is in the past"),
    "last day": ({"until_ms": 1}, "last day is in the past"),
    "year 300000": ({"until_ms": 10**16}, "until_ms"),
    "window": ({"window": {"from_ms": 2**47, "until_ms": 2**46}}, "window ends before"),
    "window past": ({"window": {"from_ms": 1, "until_ms": 2}}, "end of the window is in the past"),
    "check digit": ({"gtin": "4006381333932"}, "check digit would be 1"),
    "no gtin": ({"gtin": "x" * 10_000}, "not a GTIN"),
    "nowhere": ({"lat": 91, "lon": 4.9}, "no latitude"),
    "half a place": ({"lat": 52.3}, "latitude and longitude"),
    "no cell": ({"cell": "zzz"}, "no H3 cell"),
    "a country": ({"cell": "821967fffffffff"}, "wider than a neighbourhood"),
    "no name": ({"name": ""}, "name"),
    "blank name": ({"name": " \t "}, "name"),
    "long name": ({"name": "x" * 121}, "name"),
    "name no text": ({"name": 5}, "name"),
    "no category": ({"category": "//"}, "no category"),
    "long text": ({"text": "x" * 1501}, "1500 characters"),
    "text of many bytes": ({"text": "\U0001f600" * 1400}, "bytes"),
    "side": ({"side": "swap"}, "side"),
    "condition": ({"condition": "shiny"}, "condition"),
    "unknown field": ({"colour": "red"}, "colour"),
    "radius": ({"radius_m": -1}, "radius_m"),
}


def test_each_bad_lot_has_its_own_clear_error_and_the_good_ones_go_in(ann: Neighbour) -> None:
    before = ann.get("/v1/status")["head"]["seq"]
    lots = [lot(**changes) for changes, _ in BAD_LOTS.values()]
    results = ann.post("/v1/lots", {"lots": [lot(), *lots, lot()]})["results"]
    assert [result["seq"] for result in (results[0], results[-1])] == [before + 1, before + 2]
    for (name, (_, words)), result in zip(BAD_LOTS.items(), results[1:-1], strict=True):
        assert words in result["error"]["message"], name
        assert len(result["error"]["message"]) < 300, name
    assert ann.get("/v1/status")["head"]["seq"] == before + 2


def test_text_is_put_into_one_form_and_half_a_surrogate_is_none(ann: Neighbour) -> None:
    name = "Cafe\u0301"
    post_lot(ann, name=name)
    names = [each["name"] for each in ann.get("/v1/book", text="Caf\u00e9")["lots"]]
    assert names == ["Caf\u00e9"]
    for body in (rb'{"lots":[{"name":"\ud800"}]}', b'{"lots":[{"name":"\xed\xa0\x80"}]}'):
        is_refused(raw(ann, "POST", "/v1/lots", body), words="cannot be read")


BAD_BODIES: dict[str, bytes] = {
    "no json": b"{",
    "binary": bytes(range(256)),
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "deep": b'{"lots":' * 100_000,
    "unknown field": b'{"surprise":1}',
    "other kinds": b'{"lots":5,"lot":5,"address":5,"code":5,"amount":"x"}',
    "a float out of range": b'{"amount":1e999}',
    "not a number": b'{"amount":NaN}',
}
POSTS = (
    "/v1/lots",
    "/v1/join",
    "/v1/trades",
    "/v1/trades/abcdef/accept",
    "/v1/trades/abcdef/handover",
    "/v1/trades/abcdef/receive",
    "/v1/trades/abcdef/paid",
    "/v1/trades/abcdef/cancel",
)


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_cannot_be_read_is_refused_on_every_route(ann: Neighbour, body: bytes) -> None:
    for target in POSTS:
        is_refused(raw(ann, "POST", target, body), words="cannot be read")


def test_a_request_too_large_is_refused(ann: Neighbour) -> None:
    is_refused(raw(ann, "POST", "/v1/lots", b" " * (API_BODY_MAX + 1)), words="may have")
    with pytest.raises(LocalError, match=f"At most {API_LOTS_MAX} lots"):
        ann.post("/v1/lots", {"lots": [{}] * (API_LOTS_MAX + 1)})


BAD_TARGETS = (
    ("GET", "/v1/trades/zz", 400),
    ("GET", "/v1/trades/abc", 400),
    ("GET", f"/v1/trades/{'0' * 64}", 409),
    ("GET", f"/v1/trades/{'0' * 65}", 400),
    ("GET", "/v1/trades/%ED%A0%80%00%FF", 400),
    ("GET", "/v1/ledger/entries/00000000", 409),
    ("GET", "/v1/ledger/entries/%2e%2e%2fetc", 404),
    ("GET", "/v1/ledger/log?author=", 409),
    ("GET", "/v1/ledger/log?author=zz", 409),
    ("GET", "/v1/ledger/log?before=-1", 400),
    ("GET", "/v1/ledger/log?limit=1e9", 400),
    ("GET", "/v1/ledger/export?author=zz", 409),
    ("GET", "/v1/matches?lot=zz", 400),
    ("GET", "/v1/book?radius_m=-5", 400),
    ("GET", "/v1/book?limit=99999999999999999999", 400),
    ("GET", "/v1/nothing", 404),
    ("DELETE", "/v1/lots", 405),
    ("POST", "/v1/trades/abcdef/steal", 400),
)


@pytest.mark.parametrize(("method", "target", "status"), BAD_TARGETS)
def test_what_does_not_exist_is_said_to_be_so(
    ann: Neighbour, method: str, target: str, status: int
) -> None:
    is_refused(raw(ann, method, target, b"{}" if method == "POST" else b""), status=status)


def test_odd_numbers_in_a_search_are_no_trouble(ann: Neighbour) -> None:
    for query in (
        "radius_m=9999999999999999",
        "radius_m=0",
        "limit=0",
        "limit=9999999999999999",
        "side=neither",
        "gtin=x",
        "gtin=%00",
        "category=%2F%2F",
        "own=maybe",
        "text=%FF%FE",
    ):
        assert raw(ann, "GET", f"/v1/book?{query}")[0] == 200, query
    assert raw(ann, "GET", "/v1/ledger/log?before=0&limit=9999")[0] == 200
    assert raw(ann, "GET", "/v1/ledger/log?before=9999999999999999")[0] == 200


BAD_PROPOSALS: dict[str, tuple[dict[str, Any], str]] = {
    "amount 0": ({"amount": 0}, "At least 1"),
    "amount below 0": ({"amount": -5}, "At least 1"),
    "amount huge": ({"amount": 10**30}, "Only 946 ml is left"),
    "wrong unit": ({"amount": 1, "unit": "GRM"}, "counted in"),
    "no unit": ({"amount": 1, "unit": "furlong"}, "cannot be read"),
    "hand-over in the past": ({"handover_until_ms": 5}, "in the past"),
    "hand-over before time": ({"handover_until_ms": -5}, "no time"),
    "hand-over beyond time": ({"handover_until_ms": 2**70}, "no time"),
    "an answer at once": ({"respond_within_s": 0}, "1 second"),
    "an answer never": ({"respond_within_s": 10**18}, "30 days"),
    "long text": ({"text": "x" * 5000}, "1500 characters"),
    "text of many bytes": ({"text": "\U0001f600" * 1400}, "one entry"),
    "a request that is none": ({"request": "00000000"}, "No entry"),
    "another lot as request": ({"request": "LOT"}, "does not match"),
}


@pytest.mark.parametrize("name", BAD_PROPOSALS)
def test_a_bad_propose_is_refused_and_nothing_is_signed(
    ann: Neighbour, ben: Neighbour, name: str
) -> None:
    offers = [each for each in ben.get("/v1/book", own="0")["lots"] if each["remaining"] == 946]
    found = offers[0]["id"] if offers else post_lot(ann)
    wait_for("the lot", lambda: ben.get("/v1/book", own="0")["lots"])
    before = ben.get("/v1/status")["head"]
    changes, words = BAD_PROPOSALS[name]
    body = {"lot": found} | {k: found if v == "LOT" else v for k, v in changes.items()}
    with pytest.raises(LocalError, match=words) as caught:
        ben.post("/v1/trades", body)
    assert caught.value.exit_code in (Exit.USAGE, Exit.REFUSED)
    assert ben.get("/v1/status")["head"] == before


def test_ids_can_be_shortened_until_they_are_ambiguous(ann: Neighbour) -> None:
    for _ in range(3):
        ann.post("/v1/lots", {"lots": [lot(name="a lot of lots")] * API_LOTS_MAX})
    entries = [json.loads(line)["record"] for line in ann.client.lines("/v1/ledger/export")]
    assert len(entries) > 1000
    ids: dict[str, int] = {}
    before: int | None = None
    while page := ann.get("/v1/ledger/log", limit=1000, before=before)["entries"]:
        for entry in page:
            ids[entry["id"][:4]] = ids.get(entry["id"][:4], 0) + 1
        before = page[-1]["seq"]
    shared = next(prefix for prefix, count in ids.items() if count > 1)
    with pytest.raises(LocalError, match="entries have an id that begins with"):
        ann.get(f"/v1/ledger/entries/{shared}")
    with pytest.raises(LocalError, match="entries have an id that begins with"):
        ann.post(f"/v1/trades/{shared}/accept")


def test_a_step_out_of_turn_names_whose_turn_it_is(ann: Neighbour, ben: Neighbour) -> None:
    offer = post_lot(ann)
    wait_for("the lot", lambda: ben.get("/v1/book", text="Brake", limit=1000)["lots"])
    trade = wait_for("the propose", lambda: _proposed(ben, offer))
    path = f"/v1/trades/{trade['id']}"
    before = ben.get("/v1/status")["head"]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("accept", {}),
        ("handover", {"code": "a b c d"}),
        ("receive", {"amount": 5}),
        ("paid", {"amount_minor": 5}),
    ]
    for step, body in steps:
        with pytest.raises(LocalError, match="lister's turn") as caught:
            ben.post(f"{path}/{step}", body)
        assert caught.value.exit_code is Exit.REFUSED
    assert ben.get("/v1/status")["head"] == before
    wait_for("the propose there", lambda: _state(ann, path))
    ann.post(f"{path}/accept")
    wait_for("confirm and commit", lambda: _state(ann, path) == "CONFIRMED")
    for code in ("", "abandon abandon abandon abandon", "\u0000", "x" * 100_000):
        with pytest.raises(LocalError) as caught:
            ann.post(f"{path}/handover", {"code": code})
        assert len(caught.value.message) < 200
    ann.post(f"{path}/handover", {"code": ben_code(ben, path), "amount": 946})
    wait_for("the handover", lambda: _state(ben, path) == "IN_CUSTODY")
    for amount in (-1, 2**53, 10**40):
        with pytest.raises(LocalError, match="0 or more"):
            ben.post(f"{path}/receive", {"amount": amount})
    with pytest.raises(LocalError, match="0 or more"):
        ann.post(f"{path}/paid", {"amount_minor": -1})


def ben_code(ben: Neighbour, path: str) -> str:
    wait_for("ben's view", lambda: _state(ben, path) == "CONFIRMED")
    code: str = ben.get(path)["code"]
    return code


def _proposed(ben: Neighbour, offer: str) -> Any:
    try:
        return ben.post("/v1/trades", {"lot": offer})
    except LocalError:
        return None


def test_garbage_instead_of_http_ends_nothing(ann: Neighbour) -> None:
    for data in (
        b"\x00\xff" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/lots HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
        b"POST /v1/lots HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/ledger/export HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.connect(str(ann.home.socket_path))
            link.sendall(data)
        assert ann.get("/healthz") == {"ok": True}


def test_many_callers_at_once_are_all_answered(ann: Neighbour) -> None:
    before = ann.get("/v1/status")["head"]["seq"]
    calls: list[Callable[[], Any]] = [
        lambda: ann.get("/v1/status"),
        lambda: ann.post("/v1/lots", {"lots": [lot()]}),
        lambda: ann.get("/v1/book"),
    ]
    threads = [threading.Thread(target=calls[n % 3]) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ann.get("/v1/status")["head"]["seq"] == before + 8


def test_an_address_that_is_none_is_not_joined(ann: Neighbour) -> None:
    own = ann.get("/v1/id")["addresses"][0]
    nobody = own.replace(own.split("/")[4], str(free_ports(1)[0]))
    for address in ("", "garbage", "passby://join/AAAA", "/ip4/127.0.0.1/tcp/1", nobody, own):
        with pytest.raises(LocalError) as caught:
            ann.client.call("POST", "/v1/join", body={"address": address})
        assert caught.value.message, address


def test_who_joined_by_invite_is_vouched_for_and_a_vouch_can_be_taken_back(
    ann: Neighbour, ben: Neighbour
) -> None:
    me, other = ann.get("/v1/id")["author"], ben.get("/v1/id")["author"]
    (given,) = ann.get("/v1/vouches")["given"]
    assert (given["author"], given["name"]) == (other, "ben")
    assert [found["author"] for found in ben.get("/v1/vouches")["given"]] == [me]
    assert ann.get("/v1/vouches")["strangers"] == {"authors": 0, "bytes": 0}
    for author, stands in (("ben", False), (other[:10], True)):
        said = ann.post("/v1/vouches", {"author": author, "stands": stands})
        assert (said["author"], said["stands"]) == (other, stands)
        assert bool(ann.get("/v1/vouches")["given"]) is stands
    entry = ann.get("/v1/ledger/log", limit=1)["entries"][0]
    assert (entry["type_name"], entry["facts"]) == ("vouch", [other, 1])


@pytest.mark.parametrize(
    ("author", "message"),
    [
        ("nobody", "No author"),
        ("", "No author"),
        ("ann", "Nobody vouches for themselves"),
        ("0" * 64, "nobody's key"),
        ("z" * 64, "No author"),
    ],
)
def test_a_vouch_for_nobody_is_refused(ann: Neighbour, author: str, message: str) -> None:
    seq = ann.get("/v1/status")["head"]["seq"]
    with pytest.raises(LocalError, match=message):
        ann.post("/v1/vouches", {"author": author})
    assert ann.get("/v1/status")["head"]["seq"] == seq


def test_a_stranger_can_be_vouched_for_by_its_key_and_is_listed_by_it(ann: Neighbour) -> None:
    key = SigningKey(b"a stranger" + bytes(22)).public.hex()
    ann.post("/v1/vouches", {"author": key})
    listed = ann.get("/v1/vouches")["given"][-1]
    assert (listed["author"], listed["name"]) == (key, None)
    ann.post("/v1/vouches", {"author": key[:8], "stands": False})
    assert key not in [found["author"] for found in ann.get("/v1/vouches")["given"]]


def test_the_link_says_what_became_of_it(ann: Neighbour, ben: Neighbour) -> None:
    link = ann.get("/v1/invite")["link"]
    assert ben.post("/v1/join", {"address": link})["vouched"] is True
    bare = ben.post("/v1/join", {"address": ann.address})
    assert (bare["vouched"], bare["note"]) == (False, "")
