"""The home's own small files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from passby.node.private import PrivateFile
from passby.protocol.errors import ConfigError, LocalError
from passby.protocol.limits import PRIVATE_FILE_MAX

Names = tuple[str, ...]


def kept(path: Path | None) -> PrivateFile[Names]:
    return PrivateFile(path, tuple[str, ...], ())


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    kept(tmp_path / "names.json").write(("ann", "bo"))
    assert kept(tmp_path / "names.json").read() == ("ann", "bo")


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    kept(tmp_path / "names.json").write(("ann",))
    assert stat.S_IMODE((tmp_path / "names.json").stat().st_mode) == 0o600


def test_a_file_that_was_never_written_holds_what_was_given_for_that(tmp_path: Path) -> None:
    assert kept(tmp_path / "names.json").read() == ()
    assert not (tmp_path / "names.json").exists()


def test_without_a_path_it_is_held_in_memory() -> None:
    held = kept(None)
    held.write(("ann",))
    assert held.read() == ("ann",)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"a": 1}', b"[1]", b"\xff", b" " * (PRIVATE_FILE_MAX + 1)]
)
def test_a_file_that_holds_something_else_is_named_with_its_mend(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "names.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"names\.json") as caught:
        kept(path).read()
    assert str(path) in caught.value.hint


def test_a_write_that_fails_leaves_what_was_held(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    held = kept(folder / "names.json")
    held.write(("ann",))
    (folder / "names.json").unlink()
    folder.rmdir()
    with pytest.raises(LocalError, match="cannot be written"):
        held.write(("bo",))
    assert held.read() == ("ann",)
