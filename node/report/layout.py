"""Where each mark of the picture goes: lanes for chains, columns for time, strips of columns.

Pure: traces in, places out. Columns are not to scale: each entry stands to the right of what
it names and never left of an earlier one, so that a minute of trade can be read beside a month
of silence. The columns are cut into strips, one below the other, as lines of a text are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from passby.ledger.findings import Finding, Severity
from passby.node.report.traces import Gap, GapKind, Point, Trace, Traced
from passby.protocol.limits import PICTURE_LINKS_MAX, PICTURE_MARKS_MAX
from passby.protocol.types import TRADE_TYPES

COLUMNS: Final = 24
"""Columns of one strip: what fits the width of a screen and of a printed page."""
RUN_LEAST: Final = 3
"""Entries in a row that become one mark; two take no more room than their sum would."""
_ITEMS: Final = 64
"""Types from here on say nothing of lots, trades or devices."""
_PLAIN: Final = 3


class Kind(StrEnum):
    """What a mark stands for."""

    ENTRY = "entry"
    RUN = "run"
    GAP = "gap"
    STRAY = "stray"


class Mark(msgspec.Struct, frozen=True):
    """One thing drawn: an entry, a run of them, a stretch without any, or a stray.

    `column` counts within the strip. `findings` are the numbers, from 1, of the findings about
    it; `above` tells an entry above its chain's seal.
    """

    lane: int
    strip: int
    column: int
    kind: Kind
    from_seq: int
    to_seq: int
    at_ms: int
    point: Point | None = None
    gap: GapKind | None = None
    findings: tuple[int, ...] = ()
    above: bool = False

    @property
    def count(self) -> int:
        """How many places of the chain it stands for."""
        return self.to_seq - self.from_seq + 1


class Link(msgspec.Struct, frozen=True):
    """A mark that names an entry of another: both by their place among the marks.

    It is grave where what names is proven to break a rule.
    """

    source: int
    target: int
    grave: bool


class Tick(msgspec.Struct, frozen=True):
    """The time at a column of a strip: that of the earliest mark there."""

    column: int
    at_ms: int


class Strip(msgspec.Struct, frozen=True):
    """A stretch of time: the lanes that have marks in it, and its times."""

    number: int
    lanes: tuple[int, ...]
    branches: frozenset[int]
    """Lanes of it that have a stray there, and so need a second row."""
    ticks: tuple[Tick, ...]


class Picture(msgspec.Struct, frozen=True):
    """All that is drawn. `collapsed` counts entries that stand in runs."""

    traces: tuple[Trace, ...]
    marks: tuple[Mark, ...]
    links: tuple[Link, ...]
    strips: tuple[Strip, ...]
    collapsed: int
    unlinked: int
    """Links beyond PICTURE_LINKS_MAX."""


class _Draft(msgspec.Struct):
    """A mark before it has a column."""

    lane: int
    kind: Kind
    from_seq: int
    to_seq: int
    at_ms: int
    point: Point | None = None
    gap: GapKind | None = None
    refs: tuple[bytes, ...] = ()


def lay_out(traced: Traced) -> Picture:
    """Return the picture of `traced`; the same for the same."""
    findings = _Findings(traced)
    most = PICTURE_MARKS_MAX // max(1, len(traced.traces))
    drafts: list[_Draft] = []
    for lane, trace in enumerate(traced.traces):
        grave = {point.seq for point in trace.points if findings.of(trace.author, point)}
        drafts += _squeezed(list(_drafts(lane, trace, _kept(trace, grave, most))), most)
    owner = _owners(traced.traces, drafts)
    columns = _columns(drafts, owner)
    order = sorted(range(len(drafts)), key=lambda at: (columns[at], drafts[at].lane, at))
    place = {at: number for number, at in enumerate(order)}
    marks = tuple(
        _mark(drafts[at], columns[at], traced.traces[drafts[at].lane], findings) for at in order
    )
    links, unlinked = _links(drafts, owner, place, marks, traced.findings)
    return Picture(
        traced.traces,
        marks,
        links,
        tuple(_strips(marks)),
        sum(mark.count for mark in marks if mark.kind is Kind.RUN),
        unlinked,
    )


# --- findings ------------------------------------------------------------------------------


class _Findings:
    """The numbers of findings, from 1, by the entry and by the place that they are about."""

    def __init__(self, traced: Traced) -> None:
        self._by_id: dict[bytes, list[int]] = {}
        self._by_place: dict[tuple[bytes, int], list[int]] = {}
        for number, finding in enumerate(traced.findings, 1):
            for entry_id in finding.entries:
                self._by_id.setdefault(entry_id, []).append(number)
            if finding.author is not None and not finding.entries:
                for seq in finding.seqs:
                    self._by_place.setdefault((finding.author, seq), []).append(number)
        self._all = {place: list(numbers) for place, numbers in self._by_place.items()}
        for trace in traced.traces:
            for point in trace.points:
                if point.id in self._by_id:
                    place = self._all.setdefault((trace.author, point.seq), [])
                    place += self._by_id[point.id]

    def of(self, author: bytes, point: Point) -> tuple[int, ...]:
        """Return those about an entry; of a place without an id, all that stand there."""
        place = self._by_place.get((author, point.seq), ())
        return tuple(sorted({*self._by_id.get(point.id, ()), *place}))

    def within(self, author: bytes, from_seq: int, to_seq: int) -> tuple[int, ...]:
        """Return those about any place of a stretch."""
        found = (
            numbers
            for (whose, seq), numbers in self._all.items()
            if whose == author and from_seq <= seq <= to_seq
        )
        return tuple(sorted({number for numbers in found for number in numbers}))


# --- what is drawn by itself, and what in a run ---------------------------------------------


def _kept(trace: Trace, grave: set[int], most: int) -> set[int]:
    """Return the seqs drawn by themselves: what matters most, and of that the newest."""
    strays = {stray.seq for stray in trace.strays}
    marked = grave | strays | {seq - 1 for seq in strays} | {1, trace.head_seq}
    if trace.word is not None:
        marked |= {seq for seq in (trace.word.sealed_at, trace.word.healed_at) if seq}

    def weight(point: Point) -> tuple[int, int]:
        if point.seq in marked:
            return 0, point.seq
        if point.type in TRADE_TYPES:
            return 1, -point.seq
        return (2 if point.type < _ITEMS else _PLAIN), -point.seq

    if len(trace.points) <= most:
        return {point.seq for point in trace.points if weight(point)[0] < _PLAIN}
    # Beside each may stand a run, or two entries that make none.
    return {point.seq for point in sorted(trace.points, key=weight)[: most // 4]}


def _squeezed(drafts: list[_Draft], most: int) -> list[_Draft]:
    """Put the oldest marks of a lane that has too many into one stretch that is not drawn."""
    chain = [draft for draft in drafts if draft.kind is not Kind.STRAY]
    if len(chain) <= most:
        return drafts
    old, new = chain[: 1 - most], chain[1 - most :]
    first, last = old[0], old[-1]
    stretch = _Draft(
        first.lane, Kind.GAP, first.from_seq, last.to_seq, last.at_ms, gap=GapKind.UNDRAWN
    )
    return [stretch, *new, *(draft for draft in drafts if draft.kind is Kind.STRAY)]


def _drafts(lane: int, trace: Trace, kept: set[int]) -> Iterator[_Draft]:
    """Yield the marks of a chain in its order, strays behind the entry they stand beside."""
    strays = sorted(trace.strays, key=lambda stray: (stray.seq, stray.id))
    pieces: list[Point | Gap] = sorted(
        [*trace.points, *trace.gaps],
        key=lambda piece: piece.seq if isinstance(piece, Point) else piece.from_seq,
    )
    run: list[Point] = []
    at_ms = 0
    for piece in pieces:
        if isinstance(piece, Point) and piece.seq not in kept:
            run.append(piece)
            continue
        yield from _run(lane, run, at_ms)
        at_ms = max(at_ms, *(point.at_ms for point in run)) if run else at_ms
        run = []
        if isinstance(piece, Gap):
            gap = piece
            yield _Draft(lane, Kind.GAP, gap.from_seq, gap.to_seq, at_ms, gap=gap.kind)
            continue
        at_ms = max(at_ms, piece.at_ms)
        yield _single(lane, Kind.ENTRY, piece, at_ms)
    yield from _run(lane, run, at_ms)
    for stray in strays:
        yield _single(lane, Kind.STRAY, stray, stray.at_ms)


def _single(lane: int, kind: Kind, point: Point, at_ms: int) -> _Draft:
    return _Draft(lane, kind, point.seq, point.seq, at_ms, point, refs=point.refs)


def _run(lane: int, run: Sequence[Point], at_ms: int) -> Iterator[_Draft]:
    if len(run) < RUN_LEAST:
        for point in run:
            at_ms = max(at_ms, point.at_ms)
            yield _single(lane, Kind.ENTRY, point, at_ms)
        return
    refs = tuple(dict.fromkeys(ref for point in run for ref in point.refs))
    first, last = run[0], run[-1]
    yield _Draft(lane, Kind.RUN, first.seq, last.seq, max(at_ms, first.at_ms), refs=refs)


# --- columns -------------------------------------------------------------------------------


def _owners(traces: Sequence[Trace], drafts: Sequence[_Draft]) -> dict[bytes, int]:
    """Return, for each entry id, the draft that it is drawn in."""
    owner: dict[bytes, int] = {}
    runs: dict[tuple[int, int], int] = {}
    for number, draft in enumerate(drafts):
        if draft.point is not None:
            owner[draft.point.id] = number
        elif draft.kind is Kind.RUN:
            runs |= {(draft.lane, seq): number for seq in range(draft.from_seq, draft.to_seq + 1)}
    for lane, trace in enumerate(traces):
        for point in trace.points:
            if (lane, point.seq) in runs:
                owner.setdefault(point.id, runs[lane, point.seq])
    return owner


def _before(drafts: Sequence[_Draft], owner: dict[bytes, int]) -> list[set[int]]:
    """Return, for each draft, those that stand left of it: what it names, and its own chain."""
    before: list[set[int]] = []
    last: dict[int, int] = {}
    for at, draft in enumerate(drafts):
        named = {owner[ref] for ref in draft.refs if ref in owner} - {at}
        if draft.kind is Kind.STRAY:
            named |= {
                other
                for other in range(at)
                if drafts[other].lane == draft.lane
                and drafts[other].from_seq < draft.from_seq <= drafts[other].to_seq + 1
            }
        elif draft.lane in last:
            named.add(last[draft.lane])
        if draft.kind is not Kind.STRAY:
            last[draft.lane] = at
        before.append(named)
    return before


def _columns(drafts: Sequence[_Draft], owner: dict[bytes, int]) -> list[int]:
    """Return a column for each draft: right of what comes before it, and in order of time.

    Clocks differ, so that what is named may be dated later: names come before dates. Runs can
    name each other in a circle; the earliest of a circle is then placed first.
    """
    before = _before(drafts, owner)
    after: dict[int, list[int]] = {}
    for at, named in enumerate(before):
        for other in named:
            after.setdefault(other, []).append(at)
    awaited = [len(named) for named in before]
    columns = [-1] * len(drafts)
    ready = [(draft.at_ms, at) for at, draft in enumerate(drafts) if not awaited[at]]
    heapify(ready)
    by_time = sorted((draft.at_ms, at) for at, draft in enumerate(drafts))
    front = 0
    for _ in drafts:
        while ready and columns[ready[0][1]] >= 0:
            heappop(ready)
        at = ready[0][1] if ready else next(at for _, at in by_time if columns[at] < 0)
        placed = (columns[other] for other in before[at])
        front = columns[at] = max([front, *(column + 1 for column in placed)])
        for other in after.get(at, ()):
            awaited[other] -= 1
            if not awaited[other]:
                heappush(ready, (drafts[other].at_ms, other))
    return columns


def _mark(draft: _Draft, column: int, trace: Trace, findings: _Findings) -> Mark:
    sealed_at = trace.word.sealed_at if trace.word is not None else None
    if draft.point is not None:
        found = findings.of(trace.author, draft.point)
    else:
        found = findings.within(trace.author, draft.from_seq, draft.to_seq)
    return Mark(
        draft.lane,
        *divmod(column, COLUMNS),
        draft.kind,
        draft.from_seq,
        draft.to_seq,
        draft.at_ms,
        draft.point,
        draft.gap,
        found,
        above=sealed_at is not None and draft.from_seq > sealed_at,
    )


def _links(
    drafts: Sequence[_Draft],
    owner: dict[bytes, int],
    place: dict[int, int],
    marks: Sequence[Mark],
    findings: Sequence[Finding],
) -> tuple[tuple[Link, ...], int]:
    """Return the links between lanes, each once, and how many found no room."""
    found: dict[tuple[int, int], None] = {}
    for at, draft in enumerate(drafts):
        for ref in draft.refs:
            named = owner.get(ref)
            if named is not None and drafts[named].lane != draft.lane:
                found.setdefault((place[at], place[named]))
    proven = {
        number for number, finding in enumerate(findings, 1) if finding.severity is Severity.PROVEN
    }
    links = [
        Link(
            source,
            target,
            grave=bool(proven.intersection(marks[source].findings)),
        )
        for source, target in sorted(found)
    ]
    return tuple(links[:PICTURE_LINKS_MAX]), max(0, len(links) - PICTURE_LINKS_MAX)


def _strips(marks: Sequence[Mark]) -> Iterator[Strip]:
    for number in sorted({mark.strip for mark in marks}):
        here = [mark for mark in marks if mark.strip == number]
        first: dict[int, int] = {}
        for mark in here:
            first[mark.column] = min(first.get(mark.column, mark.at_ms), mark.at_ms)
        yield Strip(
            number,
            tuple(sorted({mark.lane for mark in here})),
            frozenset(mark.lane for mark in here if mark.kind is Kind.STRAY),
            tuple(Tick(column, at_ms) for column, at_ms in sorted(first.items())),
        )
