"""An audit as one HTML file: the verdict, the chains as a picture, every finding, and tables.

The file needs nothing else: no script, no network, no font. Every text in it is escaped by
`markup`, and its own policy forbids whatever would not be.
"""

from __future__ import annotations

from typing import Final

from passby.ledger.findings import Finding, Report, Severity
from passby.node.report import words
from passby.node.report.drawing import (
    GLYPHS,
    SEVERITY_CLASS,
    Drawing,
    called,
    moment,
    shape,
    type_name,
    words_of,
)
from passby.node.report.layout import Kind, Mark, Picture, lay_out
from passby.node.report.look import RULES
from passby.node.report.markup import Markup, join, style, tag
from passby.node.report.traces import GapKind, Trace, Traced

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(report: Report, traced: Traced, *, about: str, now_ms: int, bundle: bool = False) -> str:
    """Return the whole file; the same for the same arguments.

    Args:
        report: what the audit found.
        traced: the chains that are drawn.
        about: what was audited, in words.
        now_ms: when.
        bundle: that it was a file, which shows nothing of what came later.
    """
    picture = lay_out(traced)
    code = int(report.exit_code)
    body = tag(
        "main",
        tag("h1", "Audit of ", about),
        tag("p", f"Made {moment(now_ms)} UTC by passby. All times are UTC.", class_="soft"),
        tag(
            "div",
            tag("strong", words.VERDICT[code]),
            *(tag("span", line, " ") for line in words.counted(report)),
            tag("span", f" Exit code {code}.", class_="soft"),
            class_=f"verdict exit-{code}",
            role="status",
        ),
        _counts(report),
        _findings(report, traced),
        _picture(picture, traced),
        _chains(picture, report),
        _entries(picture),
        _limits(bundle=bundle),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", "passby audit: ", about),
        style(RULES),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', body), lang='en')}\n"


def _counts(report: Report) -> Markup:
    counts = {
        "chains": report.chains,
        "entries verified": report.verified,
        "signatures checked": report.signatures,
        "trades": report.trades,
        "hand-overs proven": report.secrets,
        "hand-overs unproven": report.handovers - report.secrets,
        "checkpoints": report.checkpoints,
        "checkpoints cosigned": report.cosigned,
        "root statements": report.statements,
        "chains sealed": report.seals,
        "chains healed": report.heals,
        "trusted through witnesses": report.trusted,
        "on their author's word": report.on_word,
        "payloads erased here": report.erased,
        "payloads never sent": report.unsent,
        "entries missing": report.missing,
        "entries unverified": report.unverified,
        "entries that name it": report.named,
    }
    always = {"chains", "entries verified", "signatures checked", "trades"}
    shown = [(what, number) for what, number in counts.items() if number or what in always]
    boxes = (tag("div", tag("dt", what), tag("dd", f"{number:,}")) for what, number in shown)
    return tag("dl", *boxes, class_="counts")


# --- findings ------------------------------------------------------------------------------


def _findings(report: Report, traced: Traced) -> Markup:
    names = {trace.author: called(trace) for trace in traced.traces}
    rest = len(report.findings) - len(traced.findings) + report.unlisted
    if not traced.findings:
        return join(tag("h2", "Findings"), tag("p", "None.", class_="soft"))
    return join(
        tag("h2", "Findings"),
        tag(
            "ol",
            *(_finding(number, one, names) for number, one in enumerate(traced.findings, 1)),
            class_="findings",
        ),
        tag("p", f"And {rest:,} more.", class_="soft") if rest else None,
    )


def _finding(number: int, finding: Finding, names: dict[bytes, str]) -> Markup:
    parts: list[object] = []
    if finding.author is not None:
        who = names.get(finding.author, finding.author.hex()[:8])
        parts.append(f"{'by' if finding.severity is Severity.PROVEN else 'in the chain of'} {who}")
    if finding.seqs:
        parts.append(" ".join(f"#{seq}" for seq in finding.seqs))
    where = tag("div", ", ".join(map(str, parts)), class_="where") if parts else None
    ids = [tag("div", entry.hex(), class_="id where") for entry in finding.entries]
    return tag(
        "li",
        tag("b", f"{number}. {str(finding.severity).capitalize()}"),
        ": ",
        finding.text,
        where,
        *ids,
        id=f"finding-{number}",
        class_=SEVERITY_CLASS[finding.severity],
    )


# --- the picture ---------------------------------------------------------------------------


def _picture(picture: Picture, traced: Traced) -> Markup:
    drawing = Drawing(picture, traced.findings)
    apart = []
    if traced.undrawn:
        apart.append(f"{traced.undrawn:,} further chains are counted above and not drawn.")
    if picture.collapsed:
        apart.append(f"{picture.collapsed:,} entries are drawn as stretches.")
    if picture.unlinked:
        apart.append(f"{picture.unlinked:,} lines are left out.")
    return join(
        tag("h2", "Chains"),
        tag(
            "p",
            "A lane for each chain, its entries from left to right in order of time, not to scale;"
            " lines join an entry with those of other chains that it names. ",
            " ".join(apart),
            class_="soft",
        ),
        _legend(picture),
        *(tag("div", drawing.strip(strip), class_="plate") for strip in picture.strips),
    )


def _legend(picture: Picture) -> Markup:
    """Explain the letters and signs that occur."""
    types = {mark.point.type for mark in picture.marks if mark.point is not None}
    items = [
        tag("li", _sample(*GLYPHS[kind][:2]), GLYPHS[kind][2])
        for kind in sorted(types & GLYPHS.keys())
    ]
    if types - GLYPHS.keys():
        items.append(tag("li", _sample("·", "other"), "another type"))
    gaps = {mark.gap for mark in picture.marks}
    signs = {
        GapKind.MISSING: ("? 3", "missing", "entries that are missing"),
        GapKind.DAMAGED: ("!", "damaged", "unreadable"),
        GapKind.TRUSTED: ("w 3", "trusted", "pruned behind a checkpoint"),
        GapKind.UNDRAWN: ("… 3", "undrawn", "entries that are not drawn"),
        GapKind.ELSEWHERE: ("… 3", "undrawn", "entries that are not in the bundle"),
    }
    if any(mark.kind is Kind.RUN for mark in picture.marks):
        items.append(tag("li", _sample("+3", "run"), "so many entries in a row"))
    items += [
        tag("li", _sample(text, f"gap {kind}"), said)
        for gap, (text, kind, said) in signs.items()
        if gap in gaps
    ]
    if any(mark.kind is Kind.STRAY for mark in picture.marks):
        items.append(tag("li", _sample("O", "market stray"), "shown by a proof, not in the chain"))
    return tag("ul", *items, class_="legend", aria_hidden="true")


def _sample(letter: str, family: str) -> Markup:
    wide = family.startswith(("run", "gap"))
    x = 21 if wide else 15
    return tag(
        "svg",
        tag(
            "g",
            shape(x, 15, family.split(maxsplit=1)[0]),
            tag("text", letter, x=x, y=19, class_="letter"),
            class_=f"mark {family}",
        ),
        viewBox=f"0 0 {2 * x} 30",
        class_="wide" if wide else None,
    )


# --- tables --------------------------------------------------------------------------------


def _chains(picture: Picture, report: Report) -> Markup:
    said: dict[bytes, list[str]] = {}
    for author, text in words.sealed_and_healed(report):
        said.setdefault(author, []).append(text)
    rows = (_chain(trace, said.get(trace.author, [])) for trace in picture.traces)
    return tag(
        "div",
        tag(
            "table",
            tag("caption", "The chains that are drawn, in the order of their lanes."),
            _head("name", "key", ">entries", "first", "last", "remarks"),
            tag("tbody", *rows),
        ),
        class_="table",
    )


def _chain(trace: Trace, said: list[str]) -> Markup:
    gaps = [
        f"{gap.to_seq - gap.from_seq + 1:,} {gap.kind}, #{gap.from_seq} to #{gap.to_seq}"
        for gap in trace.gaps[:4]
    ]
    more = [f"{len(trace.gaps) - 4:,} more gaps"] if len(trace.gaps) > 4 else []  # as above
    strays = [f"{len(trace.strays)} shown by a proof beside it"] if trace.strays else []
    times = (
        [moment(point.at_ms) for point in (trace.points[0], trace.points[-1])]
        if (trace.points)
        else ["", ""]
    )
    return tag(
        "tr",
        tag("td", trace.name or "-", class_="text"),
        tag("td", trace.author.hex(), class_="id"),
        tag("td", f"{trace.head_seq:,}", class_="number"),
        *(tag("td", time) for time in times),
        tag("td", "; ".join([*said, *gaps, *more, *strays])),
    )


def _entries(picture: Picture) -> Markup:
    """Say in words what the picture draws, for who cannot see it."""
    named: dict[int, list[int]] = {}
    for link in picture.links:
        named.setdefault(link.source, []).append(link.target)
    rows = (
        _entry(picture, mark, [picture.marks[target] for target in named.get(at, ())])
        for at, mark in enumerate(picture.marks)
    )
    return tag(
        "details",
        tag("summary", f"The picture in words: {len(picture.marks):,} marks"),
        tag(
            "div",
            tag(
                "table",
                tag("caption", "Every mark, from left to right."),
                _head("what", "id", "names", "findings"),
                tag("tbody", *rows),
            ),
            class_="table",
        ),
    )


def _entry(picture: Picture, mark: Mark, targets: list[Mark]) -> Markup:
    names = (
        f"{called(picture.traces[target.lane])} #{target.from_seq}"
        + (f" {type_name(target.point.type)}" if target.point is not None else "")
        for target in targets
    )
    findings = (tag("a", str(number), " ", href=f"#finding-{number}") for number in mark.findings)
    return tag(
        "tr",
        tag("td", words_of(picture, mark), class_="text"),
        tag("td", mark.point.id.hex()[:16] if mark.point is not None else "", class_="id"),
        tag("td", "; ".join(names), class_="text"),
        tag("td", *findings),
    )


def _head(*titles: str) -> Markup:
    cells = (
        tag("th", title.lstrip(">"), scope="col", class_="number" if title[0] == ">" else None)
        for title in titles
    )
    return tag("thead", tag("tr", *cells))


def _limits(*, bundle: bool) -> Markup:
    return join(
        tag("h2", "What this says, and what it cannot"),
        tag(
            "p",
            "Proven means that entries signed by the accused prove it to anybody: their ids are"
            " given, and passby proof writes them into a file. Names are what authors call"
            " themselves; nobody vouches for them. Times are the authors' own.",
        ),
        tag(
            "p",
            "A bundle shows what it holds: that nothing came after, or was left out, it cannot."
            if bundle
            else "An audit sees what this machine holds: what nobody showed it, it cannot know."
            " That goods exist, no ledger can tell.",
        ),
    )
