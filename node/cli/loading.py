"""import: many lots at once, from a file."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from passby.node.cli import show
from passby.node.cli.frame import Session, clean, command
from passby.node.cli.typed import measure_of
from passby.node.zone import local_zone
from passby.protocol.errors import Exit, LocalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from passby.node.imports import BadRow, Draft

BATCH: Final = 500
"""Lots that the local API takes at once; one commit each."""
EXPORT_MAX: Final = 1000
"""Lots that the local API lists at once."""
EVERYWHERE_M: Final = 20_000_000
BAD_ROWS_SHOWN: Final = 20
"""A wrong --map makes every row a bad one; --json lists them all."""


@command(
    "import",
    "passby import lots.jsonld",
    "passby import products.csv --map name=product_name --map gtin=code \\",
    "    --set category=food --set price=1EUR --unit piece",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--map", "mapped", multiple=True, metavar="FIELD=COLUMN", help="Which column holds a field."
)
@click.option(
    "--set", "constants", multiple=True, metavar="FIELD=VALUE", help="What every row says."
)
@click.option("--unit", metavar="UNIT", help="Of amounts that are bare numbers: --set unit=UNIT.")
@click.option(
    "--until",
    default="30 days",
    show_default=True,
    metavar="TIME",
    help="Lots stand until then where the row does not say.",
)
@click.option(
    "--from",
    "first",
    type=click.IntRange(1),
    default=1,
    metavar="LINE",
    help="Pass over what is above this line: goes on where an import broke off.",
)
@click.option("--again", is_flag=True, help="List anew even what this file has listed before.")
@click.option("--dry-run", is_flag=True, help="Only read, and say what is wrong.")
def import_command(
    session: Session,
    *,
    file: Path,
    mapped: tuple[str, ...],
    constants: tuple[str, ...],
    unit: str | None,
    until: str,
    first: int,
    again: bool,
    dry_run: bool,
) -> int:
    """Offer or request what is in FILE. It is schema.org JSON-LD, or a table (.csv, .tsv).

    Fields of a table: name, gtin, brand, category, amount, unit, step, minimum, price, currency,
    condition, best_before, until, window, at, lat, lon, radius_m, text, pay, side.

    What FILE has listed before is not listed twice: a row that says the same is passed over, one
    with another amount sets what is left, and one that says something else replaces its lot.

    A row that cannot be read is named by its line, and the others go in. The exit code is 0
    when rows went in, and 4 when none did.
    """
    from passby.node.imports import Columns, Reading, line_count, read_file

    config = session.home.config()
    shared = _pairs("--set", constants)
    if unit:
        shared["unit"] = unit
    reading = Reading(
        now_ms=show.now_ms(),
        tz=local_zone(),
        measure=measure_of(session, None),
        currency=config.currency,
        until=until,
    )
    columns = Columns(_pairs("--map", mapped), shared)
    if not dry_run:
        session.get("/v1/status")
    drafts = read_file(file, reading, columns)
    started_s = time.monotonic()
    load = _Load(session, None if again else str(file.absolute()), dry_run=dry_run)
    bar = (
        click.progressbar(length=line_count(file), label=file.name, file=sys.stderr)
        if sys.stderr.isatty() and not session.as_json
        else nullcontext(None)
    )
    with bar as progress:
        load.run(drafts, first, progress.update if progress else lambda _: None)
    return load.sum_up(time.monotonic() - started_s)


class _Load:
    """One import under way: what waits, what went in, what was left out."""

    def __init__(self, session: Session, source: str | None, *, dry_run: bool) -> None:
        self._source = source
        self._keys: Counter[str] = Counter()
        self._same = 0
        self._session = session
        self._dry_run = dry_run
        self._waiting: list[tuple[int, dict[str, Any]]] = []
        self._line = 0
        self.taken = 0
        self.bad: list[tuple[int, str, str]] = []

    def run(
        self, drafts: Iterator[Draft | BadRow], first: int, advance: Callable[[int], None]
    ) -> None:
        from passby.node.imports import BadRow
        from passby.node.imports.listed import lot_of

        for row in drafts:
            if row.line < first:
                continue
            if isinstance(row, BadRow):
                self._leave_out(row.line, row.reason, row.hint)
                continue
            try:
                self._waiting.append((row.line, lot_of(row)))
            except UsageError as error:
                self._leave_out(row.line, error.message, error.hint)
            if len(self._waiting) == BATCH:
                self._send(advance)
        self._send(advance)

    def _send(self, advance: Callable[[int], None]) -> None:
        if not self._waiting:
            return
        results: list[dict[str, Any]] = [{} for _ in self._waiting]
        if not self._dry_run:
            try:
                answer = self._session.post("/v1/lots", self._body())
                results = answer["results"]
            except LocalError as error:
                raise LocalError(
                    f"{error.message} {show.count(self.taken, 'lot')} went in before.",
                    f"{error.hint} Then go on with --from {self._waiting[0][0]}.".strip(),
                    error.exit_code,
                ) from error
        for (line, _), result in zip(self._waiting, results, strict=True):
            if "error" in result:
                fault = result["error"]
                self._leave_out(line, fault["message"], fault.get("hint") or "")
            else:
                self.taken += 1
                self._same += result.get("done") == "same"
        advance(self._waiting[-1][0] - self._line)
        self._line = self._waiting[-1][0]
        self._waiting.clear()

    def _body(self) -> dict[str, Any]:
        lots = [lot for _, lot in self._waiting]
        if self._source is None:
            return {"lots": lots}
        from passby.node.row_keys import keys_of

        return {"lots": lots, "source": self._source, "keys": keys_of(lots, self._keys)}

    def _leave_out(self, line: int, reason: str, hint: str) -> None:
        self.bad.append((line, reason, hint))
        if self._session.as_json:
            error = {"message": reason, "hint": hint}
            self._session.emit({"line": line, "error": error})

    def sum_up(self, seconds: float) -> int:
        """Say how it went; return the exit code."""
        # Rows that the node refused come out of order with those that could not be read.
        self.bad.sort()
        for line, reason, hint in self.bad[:BAD_ROWS_SHOWN]:
            self._session.note(
                f"line {line}: {clean(reason)}" + (f" ({clean(hint)})" if hint else "")
            )
        more = len(self.bad) - BAD_ROWS_SHOWN
        if more > 0:
            self._session.note(f"... and {more:,} more; --json lists them all.")
        answer = {
            "taken": self.taken,
            "same": self._same,
            "left_out": len(self.bad),
            "seconds": round(seconds, 3),
            "dry_run": self._dry_run,
        }
        verb = "can be read" if self._dry_run else "in"
        as_before = f" ({self._same:,} as before)" if self._same else ""
        told = f"{self.taken:,} {verb}{as_before}, {len(self.bad):,} left out, {seconds:.1f} s."
        self._session.out(answer, lambda: [told])
        return Exit.DONE if self.taken else Exit.REFUSED


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in given:
        field, equals, value = pair.partition("=")
        if not equals or not field.strip():
            raise UsageError(
                f"{option} {pair!r} is no pair.", f"Write it as {option} name=product_name."
            )
        found[field.strip()] = value.strip()
    return found


@command("watch", "passby watch ~/shop/stock", "passby watch", "passby watch --off")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--off", is_flag=True, help="Watch no folder; what is listed stays.")
def watch_command(session: Session, *, folder: Path | None, off: bool) -> None:
    """Keep your offers in step with the stock files in FOLDER.

    They are tables (.csv, .tsv) or schema.org documents, as `passby import` reads them. A row that
    is new is offered, one with another amount sets what is left, and what is gone from its file, or
    whose file is gone, is taken off the market. The running node looks every few seconds.
    """
    from passby.node.cli.setup import change

    if folder is not None and not off and not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Make it, and put a stock file there.")
    if folder is not None or off:
        change(session, "stock_folder", "none" if off or folder is None else str(folder.absolute()))
    watched = session.home.config().stock_folder
    session.out(
        {"folder": watched},
        lambda: [f"Watching {clean(watched)}." if watched else "No folder is watched."],
    )


@command("export", "passby export > lots.jsonld", "passby export --csv --all --wanted > wanted.csv")
@click.option(
    "--schema-org", "as_schemaorg", is_flag=True, help="As JSON-LD, which is the default."
)
@click.option("--csv", "as_csv", is_flag=True, help="A table.")
@click.option("--all", "everybody", is_flag=True, help="Everybody's near you, not only your own.")
@click.option("--wanted", is_flag=True, help="Requests instead of offers.")
def export_command(
    session: Session, *, as_schemaorg: bool, as_csv: bool, everybody: bool, wanted: bool
) -> None:
    """Write your open lots as schema.org Offers, or a table.

    With --wanted, your requests, which are Demands there.
    """
    from passby.node.exports import schemaorg, table

    if as_csv and as_schemaorg:
        raise UsageError("One form at a time.", "Leave out --csv or --schema-org.")
    answer = session.get(
        "/v1/book",
        side="request" if wanted else "offer",
        own=None if everybody else 1,
        radius_m=None if everybody else EVERYWHERE_M,
        limit=EXPORT_MAX,
    )
    lots = answer["lots"]
    if len(lots) == EXPORT_MAX:
        session.note(f"  These are the nearest {EXPORT_MAX:,} lots; there may be more.")
    if as_csv and not session.as_json:
        click.echo(table(lots, show.now_ms()), nl=False)
        return
    document = schemaorg(lots, show.now_ms())
    session.out(document, lambda: [json.dumps(document, indent=2, ensure_ascii=False)])
