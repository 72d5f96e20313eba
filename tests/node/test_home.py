"""The home folder: private or refused, whole or not there, one daemon at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from passby.node.config import Config
from passby.node.home import SOCKET_PATH_MAX, Home, default_path
from passby.protocol.errors import ConfigError, DamagedError, Exit, LocalError, RefusedError
from passby.protocol.keys import Certificate, root_from_words

CONFIG = Config(name="Anna", cell="881969c9b7fffff")
NOW_MS = 1_700_000_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", CONFIG, now_ms=NOW_MS)[0]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_home_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        home, _ = Home.create(tmp_path / "home", CONFIG, now_ms=NOW_MS)
    finally:
        os.umask(before)
    assert mode(home.path) == mode(home.path / "keys") == 0o700
    assert {mode(path) for path in home.key_paths} == {0o600}
    assert mode(home.config_path) == 0o600
    assert Home.open(home.path).path == home.path


def test_the_words_are_the_root_that_certifies_the_device(tmp_path: Path) -> None:
    home, words = Home.create(tmp_path / "home", CONFIG, now_ms=NOW_MS, entropy=bytes(32))
    certificate = Certificate.parse(home.certificate)
    assert len(words.split()) == 24
    assert certificate.root == root_from_words(words).public
    assert certificate.device == home.ledger_key().public
    assert certificate.at_ms == NOW_MS
    assert len(home.certificate_salt) == 16


def test_the_root_is_nowhere_in_the_home(tmp_path: Path) -> None:
    home, words = Home.create(tmp_path / "home", CONFIG, now_ms=NOW_MS)
    held = b"\n".join(path.read_bytes() for path in home.path.rglob("*") if path.is_file())
    assert words.encode() not in held
    assert bytes(32).hex().encode() not in held


def test_two_homes_share_no_key(tmp_path: Path) -> None:
    homes = [Home.create(tmp_path / name, CONFIG, now_ms=NOW_MS)[0] for name in "ab"]
    seeds = {seed for home in homes for seed in (home.ledger_seed, home.transport_seed)}
    assert len(seeds) == 4


def test_the_configuration_is_read_back_as_it_was_given(home: Home) -> None:
    assert home.config() == CONFIG


@pytest.mark.parametrize(
    ("name", "open_mode", "mend"),
    [
        (".", 0o755, "chmod 700 "),
        ("keys", 0o750, "chmod 700 "),
        ("keys/ledger.key", 0o644, "chmod 600 "),
        ("keys/transport.key", 0o640, "chmod 600 "),
    ],
)
def test_what_others_could_read_is_refused_with_the_mend(
    home: Home, name: str, open_mode: int, mend: str
) -> None:
    path = home.path / name
    path.chmod(open_mode)
    with pytest.raises(ConfigError) as caught:
        Home.open(home.path)
    assert str(path) in caught.value.message
    assert caught.value.hint == f"{mend}{path}"
    assert caught.value.exit_code == Exit.BAD_CONFIG


def test_no_home_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no passby home") as caught:
        Home.open(tmp_path / "nowhere")
    assert "passby init" in caught.value.hint


def test_a_home_is_not_made_over_another(home: Home) -> None:
    before = home.ledger_seed
    with pytest.raises(RefusedError, match="already"):
        Home.create(home.path, CONFIG, now_ms=NOW_MS)
    assert home.ledger_seed == before


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RefusedError, match=r"thesis\.txt"):
        Home.create(tmp_path, CONFIG, now_ms=NOW_MS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_becomes_a_private_home(tmp_path: Path) -> None:
    folder = tmp_path / "made-before"
    folder.mkdir(mode=0o755)
    Home.create(folder, CONFIG, now_ms=NOW_MS)
    assert mode(folder) == 0o700


def test_an_init_that_was_cut_short_can_be_done_again(home: Home) -> None:
    before = home.ledger_seed
    home.config_path.unlink()
    with pytest.raises(ConfigError, match="no passby home"):
        Home.open(home.path)
    again, _ = Home.create(home.path, CONFIG, now_ms=NOW_MS)
    assert again.ledger_seed != before


def test_a_folder_that_cannot_be_made_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot be written"):
        Home.create(tmp_path / "file" / "home", CONFIG, now_ms=NOW_MS)


@pytest.mark.parametrize("content", ["", "zz" * 32, "ab" * 31, "ab" * 33, "é"])
def test_a_damaged_key_is_named(home: Home, content: str) -> None:
    home.key_paths[0].write_text(content, encoding="utf-8")
    with pytest.raises(DamagedError, match=r"ledger\.key"):
        home.ledger_key()


def test_a_certificate_that_was_cut_is_named(home: Home) -> None:
    (home.path / "certificate").write_bytes(b"short")
    with pytest.raises(DamagedError, match="certificate"):
        _ = home.certificate


def test_the_socket_is_in_the_home_where_its_path_is_short_enough() -> None:
    assert Home(Path("/home/anna/p")).socket_path == Path("/home/anna/p/passby.sock")


def test_a_home_deep_in_the_tree_has_its_socket_elsewhere_and_always_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("long" * 40)
    home, _ = Home.create(deep, CONFIG, now_ms=NOW_MS)
    path = home.prepare_socket()
    try:
        assert len(os.fsencode(path)) <= SOCKET_PATH_MAX
        assert mode(path.parent) == 0o700
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        assert Home.open(deep).socket_path == path
        assert Home(tmp_path / ("long" * 41)).socket_path != path
    finally:
        path.parent.rmdir()


def test_a_socket_folder_that_somebody_else_prepared_is_refused(tmp_path: Path) -> None:
    home, _ = Home.create(tmp_path / ("long" * 40), CONFIG, now_ms=NOW_MS)
    folder = home.socket_path.parent
    assert home.reachable_socket() == home.socket_path
    mine = tmp_path / "private"
    mine.mkdir(mode=0o700)
    folder.symlink_to(mine)
    try:
        for ask in (home.prepare_socket, home.reachable_socket):
            with pytest.raises(ConfigError, match="is a link"):
                ask()
    finally:
        folder.unlink()
    folder.mkdir()
    folder.chmod(0o755)
    try:
        for ask in (home.prepare_socket, home.reachable_socket):
            with pytest.raises(ConfigError, match="open to other users"):
                ask()
    finally:
        folder.rmdir()


def test_a_stale_socket_is_cleared_away(home: Home) -> None:
    home.socket_path.write_text("")
    assert not home.prepare_socket().exists()


def test_one_daemon_at_a_time_and_the_second_hears_who_is_first(home: Home) -> None:
    with home.lock():
        assert home.daemon_pid() == os.getpid()
        with pytest.raises(LocalError, match=f"process {os.getpid()}"), home.lock():
            pass
    assert home.daemon_pid() is None
    with home.lock():
        pass


def test_looking_whether_a_daemon_runs_does_not_keep_one_from_starting(home: Home) -> None:
    with home.lock():
        pass
    looking = (
        "import sys; from pathlib import Path; from passby.node.home import Home\n"
        "print('go', flush=True)\nwhile True: Home(Path(sys.argv[1])).daemon_pid()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", looking, str(home.path)], stdout=subprocess.PIPE
    ) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        for _ in range(50):
            with home.lock():
                pass
        busy.kill()


def test_a_killed_daemon_leaves_the_home_free(home: Home) -> None:
    holding = (
        "import sys, signal; from pathlib import Path; from passby.node.home import Home\n"
        "with Home(Path(sys.argv[1])).lock(): print('held', flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(home.path)], stdout=subprocess.PIPE
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"held\n"
        assert home.daemon_pid() == daemon.pid
        daemon.send_signal(signal.SIGKILL)
    assert home.daemon_pid() is None
    with home.lock():
        assert home.daemon_pid() == os.getpid()


def test_the_environment_moves_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_path().name == "passby"
    monkeypatch.setenv("PASSBY_HOME", str(tmp_path / "elsewhere"))
    assert default_path() == tmp_path / "elsewhere"


def test_a_configuration_is_replaced_whole_or_not_at_all(home: Home) -> None:
    home.write_config("name = 'Bo'\ncell = '881969c9b7fffff'\n")
    assert home.config().name == "Bo"
    assert mode(home.config_path) == 0o600
    assert not list(home.path.glob(".config*"))
