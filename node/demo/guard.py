"""Whatever ends the demo: its nodes do not stay behind.

SIGKILL and a closed terminal leave the demo no time to stop its nodes, which have sessions of
their own. So a shell waits at the far end of a pipe, and hears the end of the demo as the end
of its input.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_WAIT: Final = """
while read -r line; do nodes=$line; done
for node in $nodes; do kill "$node"; done
left=100
for node in $nodes; do
    while [ $left -gt 0 ] && kill -0 "$node"; do left=$((left - 1)); sleep 0.2; done
done
for node in $nodes; do kill -9 "$node"; done
rm -rf "$1"
"""
"""Each line names the nodes that run now. A node may take 10 s to stop; it gets 20."""


class Guard:
    """A process that ends the nodes and removes `folder` if the demo goes without a word."""

    def __init__(self, folder: Path) -> None:
        self._shell = subprocess.Popen(  # noqa: S603 - our own lines, and a folder we made
            ["/bin/sh", "-c", _WAIT, "passby-demo-guard", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, pids: Iterable[int]) -> None:
        """Take care of these nodes, and of no other from now on."""
        if self._shell.stdin is not None:
            with suppress(BrokenPipeError):  # somebody ended the guard: the demo goes on
                self._shell.stdin.write((" ".join(map(str, pids)) + "\n").encode())
                self._shell.stdin.flush()

    def dismiss(self) -> None:
        """Go: the demo stops its nodes itself."""
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()
