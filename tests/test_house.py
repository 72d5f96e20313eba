"""The house itself: what is installed, what lies where, and what must not be known where."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

import passby

ROOT = Path(__file__).resolve().parent.parent
STOREYS = ("protocol", "ledger", "geo", "node")
BELOW_NODE = ("protocol", "ledger", "geo")


def sources(*storeys: str) -> list[Path]:
    return [path for storey in storeys for path in sorted((ROOT / storey).rglob("*.py"))]


def test_passby_is_imported_from_this_checkout() -> None:
    assert passby.__file__ is not None
    assert Path(passby.__file__).resolve() == ROOT / "src" / "passby" / "__init__.py"


def test_the_installed_version_is_the_declared_one() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata.version("passby") == declared["version"]


def test_the_changelog_knows_the_declared_version() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert declared["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_declared_dependency_is_pinned() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*declared["dependencies"], *declared["optional-dependencies"]["dev"]]
    names = {entry.split(">")[0].split("[")[0].lower() for entry in wanted}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert names <= pinned


@pytest.mark.parametrize("storey", STOREYS)
def test_every_folder_of_the_package_is_a_relative_link_to_the_real_one(storey: str) -> None:
    link = ROOT / "src" / "passby" / storey
    assert link.is_symlink()
    assert link.readlink() == Path("..", "..", storey)
    spec = find_spec(f"passby.{storey}")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / storey / "__init__.py"


def test_the_package_holds_its_folders_and_nothing_else() -> None:
    within = {path.name for path in (ROOT / "src" / "passby").iterdir()} - {"__pycache__"}
    assert within == {*STOREYS, "__init__.py", "py.typed"}


def test_no_other_python_package_lies_at_the_top() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "*.py"],  # noqa: S607 - whichever git made this checkout
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    tops = {line.split("/")[0] for line in listing.stdout.splitlines()}
    assert tops <= {*STOREYS, "src", "tests", "docs", "scripts"}


@pytest.mark.parametrize("storey", STOREYS)
def test_every_folder_with_modules_is_a_package(storey: str) -> None:
    bare = {path.parent for path in sources(storey) if not (path.parent / "__init__.py").exists()}
    assert not bare


def test_the_licence_is_shipped() -> None:
    meta = metadata.metadata("passby")
    assert meta["License-Expression"] == "Apache-2.0"
    assert "LICENSE" in (meta.get_all("License-File") or [])
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_nothing_below_node_asks_the_clock() -> None:
    """The import contracts forbid `time`, but not `datetime`, whose types are fine."""
    clocks = {"now", "utcnow", "today"}
    asked = [
        f"{path.relative_to(ROOT)}:{at.lineno}"
        for path in sources(*BELOW_NODE)
        for at in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(at, ast.Attribute)
        and at.attr in clocks
        and isinstance(at.value, ast.Name | ast.Attribute)
        and ast.unparse(at.value) in {"date", "datetime", "datetime.date", "datetime.datetime"}
    ]
    assert not asked


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    """Imports within functions are fine, and invisible to the import contracts."""
    code = "import sys, passby.node.cli; print(*sys.modules, sep='\\n')"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    heavy = {"libp2p", "numpy", "passby.node.daemon", "scipy", "sqlite_utils", "trio"}
    assert not heavy & set(shown.splitlines())
