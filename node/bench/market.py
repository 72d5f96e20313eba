"""What matching costs and how good it is, each figure beside its reference in the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from passby.node.bench import book, passing, restart, welfare


def run(progress: Callable[[str], None], data: Path) -> dict[str, Any]:
    """Return the figures of every part.

    Args:
        progress: told what is measured next.
        data: the folder that holds `products.csv` and `tracks.csv.gz`.

    Raises:
        UsageError: the data are not there.
    """
    figures: dict[str, Any] = {}
    progress("a million open lots")
    figures |= book.figures()
    progress("a restart with a million lots, and wishes to a node")
    figures |= restart.figures(data)
    progress("meetings along real trips")
    figures["passing_by"] = passing.figures(data)
    progress("who gets what in a town of two hundred")
    figures |= welfare.figures(data)
    return figures
