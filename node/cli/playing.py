"""demo and bench: passby shows itself, and what it can carry."""

from __future__ import annotations

import json
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


@command("bench", "passby bench", "passby bench ledger --json", "passby bench sync --json")
@click.argument("what", type=click.Choice(["ledger", "sync"]), default="ledger")
def bench_command(session: Session, *, what: str) -> None:
    """Measure this machine. Each figure beside what bounds it, in the same run."""
    from passby.node.bench import ledger, sync

    run = sync.run if what == "sync" else ledger.run
    figures: dict[str, Any] = run(lambda part: session.note(f"measuring: {part}"))
    session.out(
        figures,
        lambda: [f"{clean(key)}  {_figure(value)}" for key, value in figures.items()],
    )


def _figure(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else clean(json.dumps(value))
