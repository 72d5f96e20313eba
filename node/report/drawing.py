"""The picture as SVG: one drawing for each strip, styled by the page's classes alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from passby.ledger.findings import Finding, Severity
from passby.node.report.layout import COLUMNS, Kind, Mark, Picture, Strip
from passby.node.report.markup import Markup, clean, join, tag
from passby.node.report.traces import GapKind, Trace
from passby.protocol.types import EntryType

LABEL_PX: Final = 168
COLUMN_PX: Final = 38
ROW_PX: Final = 50
BRANCH_PX: Final = 36
TOP_PX: Final = 34
RADIUS_PX: Final = 12
WIDTH_PX: Final = LABEL_PX + COLUMNS * COLUMN_PX + 8
NAME_MAX: Final = 18
"""Letters of a name beside its lane; the table has all of it."""
TICK_LEAST: Final = 4
"""Columns between two times."""
_DATED_MAX_MS: Final = 253_402_300_799_999
"""The end of the year 9999, the last that a date can be written of."""

GLYPHS: Final[dict[int, tuple[str, str, str]]] = {
    EntryType.GENESIS: ("G", "chain", "genesis"),
    EntryType.OFFER: ("O", "market", "offer"),
    EntryType.REQUEST: ("W", "market", "request"),
    EntryType.ADJUST: ("A", "market", "adjust"),
    EntryType.CLOSE: ("X", "market", "close"),
    EntryType.PROPOSE: ("P", "trade", "propose"),
    EntryType.RESERVE: ("R", "trade", "reserve"),
    EntryType.CONFIRM: ("C", "trade", "confirm"),
    EntryType.COMMIT: ("K", "trade", "commit"),
    EntryType.HANDOVER: ("H", "handover", "handover"),
    EntryType.RECEIPT: ("T", "handover", "receipt"),
    EntryType.RELEASE: ("L", "end", "release"),
    EntryType.CANCEL: ("N", "end", "cancel"),
    EntryType.STATEMENT: ("S", "chain", "statement"),
}
"""Of each type its letter, the family that gives it shape and colour, and its name."""
_GAP_LETTER: Final = {
    GapKind.MISSING: "?",
    GapKind.DAMAGED: "!",
    GapKind.TRUSTED: "w",
    GapKind.UNDRAWN: "…",
    GapKind.ELSEWHERE: "…",
}
GAP_CLASS: Final = {
    GapKind.MISSING: "missing",
    GapKind.DAMAGED: "damaged",
    GapKind.TRUSTED: "trusted",
    GapKind.UNDRAWN: "undrawn",
    GapKind.ELSEWHERE: "undrawn",
}
SEVERITY_CLASS: Final = {
    Severity.PROVEN: "proven",
    Severity.CORRUPT: "corrupt",
    Severity.INCOMPLETE: "incomplete",
    Severity.NOTED: "noted",
}


def moment(at_ms: int) -> str:
    """Return a time as UTC, or as its number where no calendar has it."""
    if at_ms > _DATED_MAX_MS:
        return f"{at_ms} ms"
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}"


def type_name(kind: int) -> str:
    """Return what a type is called."""
    return GLYPHS[kind][2] if kind in GLYPHS else f"type {kind}"


def called(trace: Trace) -> str:
    """Return the name of a chain's author and the beginning of its key."""
    key = trace.author.hex()[:8]
    return f"{trace.name} ({key})" if trace.name else key


def cut(text: str, most: int) -> str:
    """Return text of at most `most` letters, clean."""
    shown = clean(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def compact(number: int) -> str:
    """Return a count in few letters, cut: 37, 1k, 45k, 3M."""
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if number >= size:
            return f"{number // size}{letter}"
    return str(number)


def words_of(picture: Picture, mark: Mark) -> str:
    """Return what a mark stands for, as a sentence would."""
    trace = picture.traces[mark.lane]
    who = called(trace)
    places = f"#{mark.from_seq}" if mark.count == 1 else f"#{mark.from_seq} to #{mark.to_seq}"
    if mark.point is not None:
        named = f" “{cut(mark.point.name, 60)}”" if mark.point.name else ""
        what = f"{type_name(mark.point.type)}{named}"
        aside = ", not of the chain that is held" if mark.kind is Kind.STRAY else ""
        above = ", above the seal" if mark.above else ""
        return f"{who} {places}: {what}{aside}{above}, {moment(mark.point.at_ms)}"
    kind = f"{mark.count:,} entries" if mark.gap is None else f"{mark.count:,} {mark.gap}"
    return f"{who} {places}: {kind}"


class Drawing:
    """Draws the strips of one picture.

    Args:
        picture: what to draw.
        findings: those that the marks' numbers count.
    """

    def __init__(self, picture: Picture, findings: tuple[Finding, ...]) -> None:
        self._picture = picture
        self._findings = findings

    def strip(self, strip: Strip) -> Markup:
        """Return one strip's drawing."""
        tops, height = self._tops(strip)
        number = strip.number
        here = [(at, mark) for at, mark in enumerate(self._picture.marks) if mark.strip == number]
        title, about = f"strip-{number}-title", f"strip-{number}-about"
        names = ", ".join(called(self._picture.traces[lane]) for lane in strip.lanes)
        first, last = strip.ticks[0].at_ms, strip.ticks[-1].at_ms
        return tag(
            "svg",
            tag("title", f"Chains from {moment(first)} to {moment(last)} UTC", id=title),
            tag("desc", f"Lanes: {names}. The table of entries says the same in words.", id=about),
            self._ticks(strip, height),
            *(self._lane(strip, lane, tops[lane], here) for lane in strip.lanes),
            *self._links(tops, here),
            *(self._branch(mark, tops) for _, mark in here if mark.kind is Kind.STRAY),
            *(self._mark(mark, tops) for _, mark in here),
            viewBox=f"0 0 {WIDTH_PX} {height}",
            role="img",
            aria_labelledby=f"{title} {about}",
            class_="strip",
        )

    @staticmethod
    def _tops(strip: Strip) -> tuple[dict[int, int], int]:
        tops: dict[int, int] = {}
        at = TOP_PX
        for lane in strip.lanes:
            tops[lane] = at + ROW_PX // 2
            at += ROW_PX + (BRANCH_PX if lane in strip.branches else 0)
        return tops, at + 4

    @staticmethod
    def _x(mark: Mark) -> int:
        return LABEL_PX + mark.column * COLUMN_PX + COLUMN_PX // 2

    def _y(self, mark: Mark, tops: dict[int, int]) -> int:
        return tops[mark.lane] + (BRANCH_PX if mark.kind is Kind.STRAY else 0)

    def _ticks(self, strip: Strip, height: int) -> Markup:
        parts: list[Markup] = []
        shown, day, before = -TICK_LEAST, "", ""
        for tick in strip.ticks:
            date, _, time = moment(tick.at_ms).partition(" ")
            if tick.column - shown < TICK_LEAST or (date, time) == (day, before):
                continue
            x = LABEL_PX + tick.column * COLUMN_PX + COLUMN_PX // 2
            parts.append(tag("line", x1=x, x2=x, y1=TOP_PX - 4, y2=height - 4, class_="grid"))
            parts.append(tag("text", time, x=x, y=TOP_PX - 8, class_="time"))
            if date != day:
                parts.append(tag("text", date, x=x, y=TOP_PX - 21, class_="date"))
            shown, day, before = tick.column, date, time
        return tag("g", *parts, aria_hidden="true")

    def _lane(self, strip: Strip, lane: int, y: int, here: list[tuple[int, Mark]]) -> Markup:
        trace = self._picture.traces[lane]
        marks = [mark for _, mark in here if mark.lane == lane and mark.kind is not Kind.STRAY]
        parts: list[Markup] = []
        others = [mark for mark in self._picture.marks if mark.lane == lane]
        if marks:
            xs = [self._x(mark) for mark in marks]
            kinds = [None if mark.gap is None else GAP_CLASS[mark.gap] for mark in marks]
            if any(mark.strip < strip.number for mark in others):
                xs, kinds = [LABEL_PX, *xs], [kinds[0], *kinds]
            if any(mark.strip > strip.number for mark in others):
                xs, kinds = [*xs, WIDTH_PX - 4], [*kinds, kinds[-1]]
            for at in range(len(xs) - 1):
                kind = kinds[at] or kinds[at + 1] or "held"
                parts.append(
                    tag("line", x1=xs[at], x2=xs[at + 1], y1=y, y2=y, class_=f"lane {kind}")
                )
        name = cut(trace.name, NAME_MAX) if trace.name else trace.author.hex()[:8]
        word = trace.word
        said = []
        if word is not None and word.sealed_at is not None:
            said.append("sealed")
        if word is not None and word.healed_at is not None:
            said.append("healed")
        under = [trace.author.hex()[:8]] if trace.name else []
        under += [f"#{trace.head_seq}"] if trace.head_seq else ["nothing held"]
        return tag(
            "g",
            tag("title", called(trace)),
            *parts,
            tag("text", name, x=4, y=y - 1, class_="name"),
            tag("text", " · ".join([*under, *said]), x=4, y=y + 14, class_="under"),
        )

    def _links(self, tops: dict[int, int], here: list[tuple[int, Mark]]) -> Iterator[Markup]:
        marks, places = self._picture.marks, {at for at, _ in here}
        for link in self._picture.links:
            if link.source not in places:
                continue
            source, target = marks[link.source], marks[link.target]
            x, y = self._x(source), self._y(source, tops)
            kind = "link grave" if link.grave else "link"
            if link.target not in places:
                # What it names stands in another strip: a stub says that there is something.
                yield tag("path", d=f"M {x - 10} {y - 7} q -9 -4 -13 -13", class_=f"{kind} stub")
                continue
            from_x, from_y = self._x(target), self._y(target, tops)
            bend = max(14, abs(x - from_x) // 2)
            path = f"M {from_x} {from_y} C {from_x + bend} {from_y} {x - bend} {y} {x} {y}"
            yield tag("path", d=path, class_=kind)

    def _branch(self, mark: Mark, tops: dict[int, int]) -> Markup:
        """Return the line on which a stray leaves its chain."""
        x, y, main = self._x(mark), self._y(mark, tops), tops[mark.lane]
        before = [
            other
            for other in self._picture.marks
            if other.lane == mark.lane
            and other.strip == mark.strip
            and other.kind is not Kind.STRAY
            and other.from_seq < mark.from_seq <= other.to_seq + 1
        ]
        from_x = self._x(before[0]) if before else LABEL_PX
        to_x = min(x, from_x + 30)
        path = f"M {from_x} {main} C {from_x + 18} {main} {from_x + 8} {y} {to_x} {y} L {x} {y}"
        return tag("path", d=path, class_=f"branch {self._gravest(mark) or 'proven'}")

    def _gravest(self, mark: Mark) -> str | None:
        if not mark.findings:
            return None
        return SEVERITY_CLASS[self._findings[min(mark.findings) - 1].severity]

    def _mark(self, mark: Mark, tops: dict[int, int]) -> Markup:
        x, y = self._x(mark), self._y(mark, tops)
        letter, family = "·", "other"
        if mark.point is not None and mark.point.type in GLYPHS:
            letter, family, _ = GLYPHS[mark.point.type]
        elif mark.kind is Kind.RUN:
            letter, family = f"+{compact(mark.count)}", "run"
        elif mark.gap is not None:
            sign = _GAP_LETTER[mark.gap]
            letter = f"{sign} {compact(mark.count)}" if mark.count > 1 else sign
            family = f"gap {GAP_CLASS[mark.gap]}"
        grave = self._gravest(mark)
        classes = ["mark", family, "stray" if mark.kind is Kind.STRAY else ""]
        classes += ["above" if mark.above else "", grave or ""]
        numbers = "".join(f" Finding {number}." for number in mark.findings)
        drawn = join(
            tag("title", f"{words_of(self._picture, mark)}.{numbers}"),
            _ring(x, y, family) if grave else None,
            shape(x, y, family),
            tag("text", letter, x=x, y=y + 4, class_="letter"),
            self._seal(mark, x, y),
            _badge(x, y, mark.findings) if mark.findings else None,
        )
        body = tag("g", drawn, class_=" ".join(filter(None, classes)))
        return tag("a", body, href=f"#finding-{min(mark.findings)}") if grave else body

    def _seal(self, mark: Mark, x: int, y: int) -> Markup | None:
        word = self._picture.traces[mark.lane].word
        if word is None or mark.kind is Kind.STRAY:
            return None
        if word.sealed_at is not None and mark.from_seq <= word.sealed_at <= mark.to_seq:
            right = x + COLUMN_PX // 2
            return tag(
                "g",
                tag("line", x1=right, x2=right, y1=y - 15, y2=y + 15, class_="seal"),
                tag("text", "sealed", x=right - 3, y=y + 24, class_="said"),
            )
        if word.healed_at is not None and mark.from_seq <= word.healed_at <= mark.to_seq:
            return tag("text", "kept", x=x - 10, y=y - 15, class_="said before")
        return None


def shape(x: int, y: int, family: str) -> Markup:
    """Return the outline of a mark of a family, around a place."""
    if family == "market":
        return tag("rect", x=x - 11, y=y - 11, width=22, height=22, rx=5)
    if family in {"trade", "handover", "end"}:
        return tag("circle", cx=x, cy=y, r=RADIUS_PX)
    if family == "chain":
        return tag("path", d=f"M {x} {y - 14} l 14 14 l -14 14 l -14 -14 z")
    if family == "other":
        return tag("circle", cx=x, cy=y, r=7)
    return tag("rect", x=x - 17, y=y - 9, width=34, height=18, rx=9)


def _ring(x: int, y: int, family: str) -> Markup:
    wide = 20 if family.startswith(("run", "gap")) else 17
    return tag("rect", x=x - wide, y=y - 17, width=2 * wide, height=34, rx=17, class_="ring")


def _badge(x: int, y: int, findings: tuple[int, ...]) -> Markup:
    more = "+" if len(findings) > 1 else ""
    return tag(
        "g",
        tag("rect", x=x + 6, y=y - 23, width=20, height=14, rx=7),
        tag("text", f"{min(findings)}{more}", x=x + 16, y=y - 12.5),
        class_="badge",
    )
