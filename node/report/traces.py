"""What of a ledger is drawn: chains as traces of points and gaps, the guilty first.

Everything is bounded. Chains that find no room are counted; of a long chain the newest entries
are read, and those that findings name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import groupby, pairwise
from typing import Final, Protocol

import msgspec

from passby.ledger.bundle import Bundle
from passby.ledger.chain import Evidence, Head
from passby.ledger.findings import Finding, Report, RootWord, Severity
from passby.protocol.entry import Record
from passby.protocol.errors import DamagedError, RemoteError
from passby.protocol.limits import (
    CREDIT_MAX,
    PICTURE_LANES_MAX,
    PICTURE_READ_MAX,
    REPORT_FINDINGS_MAX,
)
from passby.protocol.payloads import Genesis, Offer, Request, decode_payload
from passby.protocol.types import EntryType

ORDER: Final = (Severity.PROVEN, Severity.CORRUPT, Severity.INCOMPLETE, Severity.NOTED)
"""How findings are listed and chains are chosen: the gravest first."""


_PARTNER_REFS: Final = 100
"""Names looked up to find whom a chain dealt with."""


class GapKind(StrEnum):
    """Why a stretch of a chain has no entries to draw."""

    MISSING = "missing"
    DAMAGED = "unreadable"
    TRUSTED = "trusted through witnesses"
    UNDRAWN = "not drawn"
    ELSEWHERE = "not in the bundle"


class Gap(msgspec.Struct, frozen=True):
    """Places of a chain, both ends included, without an entry to draw."""

    from_seq: int
    to_seq: int
    kind: GapKind


class Point(msgspec.Struct, frozen=True):
    """An entry as far as it is drawn; `name` is what its author calls it, for an offer."""

    seq: int
    at_ms: int
    type: int
    id: bytes
    refs: tuple[bytes, ...] = ()
    name: str = ""


class Trace(msgspec.Struct, frozen=True):
    """One chain: what is held in order of seq, and `strays`, which proofs show beside it.

    Strays are the other branch of a fork, and entries that broke a rule and were not appended.
    """

    author: bytes
    head_seq: int
    points: tuple[Point, ...]
    gaps: tuple[Gap, ...] = ()
    strays: tuple[Point, ...] = ()
    name: str = ""
    word: RootWord | None = None


class Traced(msgspec.Struct, frozen=True):
    """The chains that are drawn, and how many are not."""

    traces: tuple[Trace, ...]
    undrawn: int
    findings: tuple[Finding, ...]
    """The report's, the gravest first, REPORT_FINDINGS_MAX at most."""


class TraceSource(Protocol):
    """What is read of a store."""

    def heads(self) -> Iterator[tuple[bytes, Head]]:
        """As `Reader.heads`."""

    def record(self, entry_id: bytes) -> Record | None:
        """As `Reader.record`."""

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """As `Reader.record_at`."""

    def run(self, author: bytes, from_seq: int, to_seq: int, max_bytes: int) -> list[Record]:
        """As `Reader.run`."""

    def evidence(self, author: bytes | None = None) -> list[Evidence]:
        """As `Reader.evidence`."""


def trace_store(
    source: TraceSource,
    report: Report,
    trusted: Callable[[bytes], Iterable[tuple[int, int]]] = lambda _: (),
) -> Traced:
    """Return what is drawn of the chains that `report` is about.

    Args:
        source: what was audited.
        report: what the audit found; its `authors` are the chains to choose from.
        trusted: gives stretches of an author's chain that only witnesses vouch for.
    """
    findings = graver_first(report.findings)
    named = _places(source, findings)
    heads = _heads(source)
    words = {word.author: word for word in report.root_words}
    rank = dict(_gravity(findings, named, words))

    def order(author: bytes) -> tuple[int, int, bytes]:
        head = heads.get(author)
        return rank.get(author, len(ORDER) + 1), -head.at_ms if head else 0, author

    authors = sorted(set(report.authors), key=order)
    chosen: dict[bytes, Trace] = {}
    queue = deque(authors)
    while queue and len(chosen) < PICTURE_LANES_MAX:
        author = queue.popleft()
        if author in chosen:
            continue
        seqs = named.get(author, set())
        trace = _trace(source, author, heads.get(author), seqs, words, trusted)
        chosen[author] = trace
        if not rank.get(author):
            # Beside a liar those it dealt with, and beside anybody else of no note as well.
            queue.extendleft(reversed(_partners(source, trace, set(authors))))
    return Traced(tuple(chosen.values()), len(authors) - len(chosen), findings)


def trace_bundle(bundle: Bundle, report: Report) -> Traced:
    """Return what is drawn of a bundle, whose gaps are nobody's fault."""
    findings = graver_first(report.findings)
    rank = dict(_gravity(findings, {}, {}))
    records = [record for run in bundle.runs for record in run]
    by_author = {
        author: list(chain) for author, chain in groupby(records, lambda one: one.entry.author)
    }
    strays: dict[bytes, list[Point]] = {}
    held = {record.entry.id for record in records}
    for proof in bundle.proofs:
        for entry in proof.accused:
            if entry.id not in held:
                held.add(entry.id)
                strays.setdefault(entry.author, []).append(_point(Record(entry)))
    authors = sorted(
        by_author.keys() | strays.keys(),
        key=lambda author: (rank.get(author, len(ORDER)), author),
    )
    traces = []
    for author in authors[:PICTURE_LANES_MAX]:
        chain = by_author.get(author, [])
        head_seq = chain[-1].entry.seq if chain else 0
        points = tuple(_point(record) for record in chain[-PICTURE_READ_MAX:])
        cut = len(chain) > len(points)
        ranges = [(1, points[0].seq - 1, GapKind.UNDRAWN)] if cut else []
        traces.append(
            Trace(
                author,
                head_seq,
                points,
                tuple(_gaps(points, head_seq, {}, ranges, GapKind.ELSEWHERE)),
                tuple(strays.get(author, ())),
                _name(chain[0] if chain else None),
            )
        )
    return Traced(tuple(traces), len(authors) - len(traces), findings)


def graver_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return what is listed of findings, the gravest first, else in the order found."""
    ordered = sorted(findings, key=lambda finding: ORDER.index(finding.severity))
    return tuple(ordered[:REPORT_FINDINGS_MAX])


# --- which chains, which entries -----------------------------------------------------------


def _places(source: TraceSource, findings: Sequence[Finding]) -> dict[bytes, set[int]]:
    """Return the seqs that findings name, by author."""
    named: dict[bytes, set[int]] = {}
    for finding in findings:
        if finding.author is not None:
            named.setdefault(finding.author, set()).update(finding.seqs)
        for entry_id in finding.entries:
            try:
                record = source.record(entry_id)
            except DamagedError:
                continue
            if record is not None:
                named.setdefault(record.entry.author, set()).add(record.entry.seq)
    return named


def _gravity(
    findings: Sequence[Finding],
    named: Mapping[bytes, set[int]],
    words: Mapping[bytes, RootWord],
) -> Iterator[tuple[bytes, int]]:
    """Yield (author, rank), the last of an author being the least: the accused before others."""
    for author in (*named, *words):
        yield author, len(ORDER)
    for finding in reversed(findings):
        if finding.author is not None:
            yield finding.author, ORDER.index(finding.severity)


def _heads(source: TraceSource) -> dict[bytes, Head]:
    """Return the heads as far as they can be read: what cannot is among the findings."""
    heads: dict[bytes, Head] = {}
    try:
        heads.update(source.heads())
    except DamagedError:
        return heads
    return heads


def _partners(source: TraceSource, trace: Trace, among: set[bytes]) -> list[bytes]:
    """Return whose entries the newest of a chain name, in the order of the chain."""
    refs = [ref for point in (*trace.points, *trace.strays) for ref in point.refs]
    found: dict[bytes, None] = {}
    for ref in refs[-_PARTNER_REFS:]:
        try:
            record = source.record(ref)
        except DamagedError:
            continue
        if record is not None and record.entry.author in among:
            found.setdefault(record.entry.author)
    return list(found)


def _trace(
    source: TraceSource,
    author: bytes,
    head: Head | None,
    named: set[int],
    words: Mapping[bytes, RootWord],
    trusted: Callable[[bytes], Iterable[tuple[int, int]]],
) -> Trace:
    head_seq = head.seq if head is not None else 0
    first = max(1, head_seq - PICTURE_READ_MAX + 1)
    wanted = {1, *(seq for seq in named if seq < first)} if head_seq else set()
    damaged: dict[int, GapKind] = {}
    found: dict[int, Record] = {}
    for seq in sorted(wanted)[:PICTURE_READ_MAX]:
        _read(source, author, seq, found, damaged)
    seq = first
    while seq <= head_seq:
        try:
            run = source.run(author, seq, head_seq, CREDIT_MAX)
        except DamagedError:
            run = []
        found.update((record.entry.seq, record) for record in run)
        if not run:
            _read(source, author, seq, found, damaged)
        seq += len(run) or 1
    points = tuple(_point(found[seq]) for seq in sorted(found))
    undrawn = [(2, first - 1)] if first > 2 else []  # the genesis is drawn
    ranges = [(start, end, GapKind.TRUSTED) for start, end in trusted(author)]
    ranges += [(start, end, GapKind.UNDRAWN) for start, end in undrawn]
    return Trace(
        author,
        head_seq,
        points,
        tuple(_gaps(points, head_seq, damaged, ranges, GapKind.MISSING)),
        tuple(_strays(source, author, {record.entry.id for record in found.values()})),
        _name(found.get(1)),
        words.get(author),
    )


def _read(
    source: TraceSource,
    author: bytes,
    seq: int,
    found: dict[int, Record],
    damaged: dict[int, GapKind],
) -> None:
    try:
        record = source.record_at(author, seq)
    except DamagedError:
        damaged[seq] = GapKind.DAMAGED
        return
    if record is not None:
        found[seq] = record


def _gaps(
    points: Sequence[Point],
    head_seq: int,
    damaged: Mapping[int, GapKind],
    ranges: Sequence[tuple[int, int, GapKind]],
    otherwise: GapKind,
) -> Iterator[Gap]:
    """Yield the stretches without a point, cut where the reason for it changes."""
    edges = {edge for start, end, _ in ranges for edge in (start, end + 1)}
    edges.update(edge for seq in damaged for edge in (seq, seq + 1))
    before = 0
    for seq in (*(point.seq for point in points), head_seq + 1):
        cuts = sorted({before + 1, seq, *(edge for edge in edges if before + 1 < edge < seq)})
        last: Gap | None = None
        for start, end in pairwise(cuts):
            kind = damaged.get(start) or next(
                (kind for low, high, kind in ranges if low <= start <= high), otherwise
            )
            if last is not None and last.kind is not kind:
                yield last
                last = None
            last = Gap(last.from_seq if last is not None else start, end - 1, kind)
        if last is not None:
            yield last
        before = max(before, seq)


def _strays(source: TraceSource, author: bytes, held: set[bytes]) -> Iterator[Point]:
    try:
        proofs = source.evidence(author)
    except DamagedError:
        return
    for evidence in proofs:
        for element in evidence.elements:
            for entry in element[:1]:
                if entry.id not in held:
                    held.add(entry.id)
                    yield _point(Record(entry))


def _point(record: Record) -> Point:
    body = record.entry.body
    name = ""
    if record.payload is not None and body.type in (EntryType.OFFER, EntryType.REQUEST):
        try:
            if body.type == EntryType.OFFER:
                name = decode_payload(record.payload, Offer).name
            else:
                name = decode_payload(record.payload, Request).name
        except RemoteError:
            name = ""
    return Point(body.seq, body.at_ms, body.type, record.entry.id, body.refs, name)


def _name(genesis: Record | None) -> str:
    if genesis is None or genesis.payload is None or genesis.entry.body.type != EntryType.GENESIS:
        return ""
    try:
        return decode_payload(genesis.payload, Genesis).name or ""
    except RemoteError:
        return ""
