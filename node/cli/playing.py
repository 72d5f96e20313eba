"""demo and bench: passby shows itself, and what it can carry."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from passby.node.cli.frame import Session, clean, command


@command("demo", "passby demo", "passby demo --exit --json", "passby demo --data mine.jsonld")
@click.option("--exit", "end", is_flag=True, help="End after the story.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Lots to add, schema.org JSON-LD.",
)
def demo_command(session: Session, *, end: bool, data: Path | None) -> int:
    """Let five nodes on this machine play one trade. From offer to receipt, for real."""
    from passby.node.demo import play

    return play(stay=not end, as_json=session.as_json, data=data)


@command("bench", "passby bench", "passby bench ledger --json", "passby bench market --json")
@click.argument("what", type=click.Choice(["ledger", "sync", "market"]), default="ledger")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("../shared/data"),
    show_default=True,
    metavar="FOLDER",
    help="Where products.csv and tracks.csv.gz are, for market.",
)
def bench_command(session: Session, *, what: str, data: Path) -> None:
    """Measure this machine. Each figure beside what bounds it, in the same run."""
    from passby.node.bench import ledger, market, sync

    runs: dict[str, Callable[[Callable[[str], None]], dict[str, Any]]] = {
        "ledger": ledger.run,
        "sync": sync.run,
        "market": partial(market.run, data=data),
    }
    figures = runs[what](lambda part: session.note(f"measuring: {part}"))
    session.out(
        figures,
        lambda: [f"{clean(key)}  {_figure(value)}" for key, value in figures.items()],
    )


def _figure(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else clean(json.dumps(value))
