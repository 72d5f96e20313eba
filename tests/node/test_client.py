"""Reading HTTP by hand: whatever the other end says becomes an answer or one clear error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.node.client import BrokenOffError, Client
from passby.node.home import Home
from passby.protocol.errors import LocalError, RefusedError

OK = b"HTTP/1.1 200 \r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Said:
    """A socket that answers the next request with given bytes, in pieces of a given size."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.asked = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.home.socket_path))
        self._listener.listen()

    def ask(
        self, answer: bytes, use: Callable[[Client], object], *, piece: int = 1 << 16
    ) -> object:
        def serve() -> None:
            link, _ = self._listener.accept()
            with link:
                self.asked = link.recv(1 << 16)
                try:
                    for at in range(0, len(answer), piece):
                        link.sendall(answer[at : at + piece])
                except OSError:
                    return  # the client had read enough

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return use(Client(self.home, "passby up"))
        finally:
            thread.join()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def said(tmp_path: Path) -> Iterator[Said]:
    one = Said(tmp_path)
    yield one
    one.close()


def get(client: Client) -> object:
    return client.call("GET", "/x", query={"a": "b c", "none": None, "n": 1})


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 11\r\n\r\n" + b'{"a": "\xc3\xa9"}',
        OK + b"Content-Length: 11\r\n\r\n" + b'{"a": "\xc3\xa9"}' + b"trailing",
        CHUNKED + b'5\r\n{"a":\r\n6\r\n "\xc3\xa9"}\r\n0\r\n\r\n',
        CHUNKED + b'B;x=y\r\n{"a": "\xc3\xa9"}\r\n0\r\n\r\n',
        OK + b"\r\n" + b'{"a": "\xc3\xa9"}',
    ],
)
def test_an_answer_is_read_however_it_is_framed(said: Said, answer: bytes, piece: int) -> None:
    assert said.ask(answer, get, piece=piece) == {"a": "é"}
    assert said.asked.startswith(b"GET /x?a=b+c&n=1 HTTP/1.1\r\n")


def test_a_refusal_is_raised_with_its_words_and_its_code(said: Said) -> None:
    body = b'{"error": {"message": "No.", "hint": "Ask again.", "exit_code": 4}}'
    answer = b"HTTP/1.1 409 \r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with pytest.raises(LocalError, match="No") as caught:
        said.ask(answer, get)
    assert caught.value.hint == "Ask again."
    assert caught.value.exit_code == RefusedError.exit_code


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        OK,
        OK + b"content-length: 10\r\n\r\nfour",
        OK + b"content-length: many\r\n\r\n{}",
        CHUNKED + b"5\r\n{}",
        CHUNKED + b"zz\r\n{}\r\n",
        CHUNKED + b"2\r\n{}{}\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x00" * 20_000,
    ],
)
def test_an_answer_that_breaks_off_is_one_clear_error(said: Said, answer: bytes) -> None:
    with pytest.raises(BrokenOffError, match="broke off"):
        said.ask(answer, get)


def test_an_answer_that_is_no_json_is_one_clear_error(said: Said) -> None:
    with pytest.raises(BrokenOffError, match="no JSON"):
        said.ask(OK + b"\r\n<html>", get)


def test_a_bare_error_page_is_still_an_error(said: Said) -> None:
    with pytest.raises(LocalError, match="HTTP 404"):
        said.ask(b"HTTP/1.1 404 \r\nContent-Length: 9\r\n\r\nNot Found", get)


def test_lines_come_as_they_are_sent(said: Said) -> None:
    answer = CHUNKED + b"7\r\none\ntwo\r\n7\r\n\nthree\n\r\n0\r\n\r\n"
    found = said.ask(answer, lambda client: list(client.lines("/x")), piece=3)
    assert found == ["one", "two", "three"]


def test_lines_that_break_off_are_not_taken_for_all_there_is(said: Said) -> None:
    with pytest.raises(BrokenOffError):
        said.ask(CHUNKED + b"4\r\none\n\r\n", lambda client: list(client.lines("/x")))


def test_a_daemon_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(home.socket_path))
        mute.listen()
        with pytest.raises(LocalError, match="did not answer"):
            Client(home, "passby up").call("GET", "/healthz", within_s=0.01)


@given(answer=st.binary(max_size=200), framed=st.sampled_from([b"", OK, CHUNKED]))
def test_no_bytes_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, answer: bytes, framed: bytes
) -> None:
    one = Said(tmp_path_factory.mktemp("s"))
    try:
        one.ask(framed + answer, get)
    except LocalError:
        pass
    finally:
        one.close()
