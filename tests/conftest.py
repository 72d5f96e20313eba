"""What every test stands on: Hypothesis' profiles, and a home that is nobody's."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline anywhere: a shared machine is slow when it pleases, and tests time nothing.
settings.register_profile("local", deadline=None, print_blob=True)
# The same examples each time, so that a red run is red for what changed.
settings.register_profile(
    "ci",
    parent=settings.get_profile("local"),
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# For a night: HYPOTHESIS_PROFILE=long make test T=tests/fuzz
settings.register_profile("long", parent=settings.get_profile("local"), max_examples=20_000)

_home = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile, and point whatever looks for a home at an empty one."""
    by_default = "ci" if os.environ.get("CI") else "local"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", by_default))

    # Short, since a unix socket's path ends at 104 bytes on some systems.
    home = Path(tempfile.mkdtemp(prefix="pb-"))
    config.stash[_home] = home
    for name in ("CACHE", "CONFIG", "DATA", "RUNTIME", "STATE"):
        os.environ[f"XDG_{name}_{'DIR' if name == 'RUNTIME' else 'HOME'}"] = str(home)
    os.environ["HOME"] = str(home)
    for name in [name for name in os.environ if name.startswith("PASSBY_")]:
        del os.environ[name]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the empty home away."""
    shutil.rmtree(config.stash[_home], ignore_errors=True)
