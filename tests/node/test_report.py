"""The picture of an audit: what is drawn, where, and how much of it at most."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.authors import NOW_MS, Author, named
from tests.ledger.people import Person, state
from tests.protocol.chains import Deal, Party

from passby.ledger.audit import audit
from passby.ledger.bundle import About, check_bundle, encode_bundle
from passby.ledger.findings import Finding, Report, RootWord, Severity
from passby.ledger.gather import gather
from passby.ledger.ingest import Check, admit
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.node.report.drawing import Drawing, compact, moment
from passby.node.report.layout import COLUMNS, Kind, Mark, Picture, lay_out
from passby.node.report.page import page
from passby.node.report.traces import Gap, GapKind, Point, Trace, Traced, trace_bundle, trace_store
from passby.protocol.entry import Entry, Record
from passby.protocol.limits import (
    PICTURE_LANES_MAX,
    PICTURE_LINKS_MAX,
    PICTURE_MARKS_MAX,
    PICTURE_READ_MAX,
    REPORT_FINDINGS_MAX,
)
from passby.protocol.types import EntryType

LATER = NOW_MS + 10**9
Stores = MemoryStore | SqliteStore


def hold(store: Stores, *chains: Sequence[Record] | Sequence[Entry]) -> None:
    for chain in chains:
        records = [one if isinstance(one, Record) else Record(one) for one in chain]
        store.commit([admit(store.view(records), records, Check.EACH)], durable=False)


def town() -> MemoryStore:
    """An honest trade, a fork, a healed fork, a seal, and a long chain."""
    store = MemoryStore()
    deal = Deal.between(Party("ben"), [Party("anna")]).agree()
    deal.handover(1)
    hold(store, deal.taker.chain, deal.listers[0].chain)
    liar = Person("liar").device("phone")
    liar.note()
    again = liar.fork(3)
    liar.offer(1)
    again.offer(2)
    hold(store, liar.records, again.records[2:])
    tom = Person("Tom")
    phone = tom.device("phone")
    phone.note()
    other = phone.fork(3)
    kept = phone.offer(3)
    other.offer(4)
    laptop = tom.device("laptop")
    state(laptop, tom.heal(kept))
    hold(store, phone.records, other.records[2:], laptop.records)
    zoe = Person("Zoë").device("phone")
    last = zoe.offer(5)
    zoe.note()
    hold(store, zoe.records)
    store.add_statement(Person("Zoë").seal(last))
    long = Author("long")
    long.genesis()
    for at in range(400):
        long.note() if at % 9 else long.offer(2)
    hold(store, long.records)
    return store


def drawn(store: MemoryStore | SqliteStore) -> tuple[Report, Traced, Picture]:
    report = audit(store, LATER)
    traced = trace_store(store, report)
    return report, traced, lay_out(traced)


def place(mark: Mark) -> int:
    return mark.strip * COLUMNS + mark.column


def check(picture: Picture) -> None:
    """Hold a picture against what every picture promises."""
    for lane, trace in enumerate(picture.traces):
        chain = [
            mark for mark in picture.marks if mark.lane == lane and mark.kind is not Kind.STRAY
        ]
        assert [place(mark) for mark in chain] == sorted({place(mark) for mark in chain})
        assert all(after.from_seq == before.to_seq + 1 for before, after in pairwise(chain))
        if chain:
            assert (chain[0].from_seq, chain[-1].to_seq) == (1, trace.head_seq)
    for link in picture.links:
        assert picture.marks[link.source].lane != picture.marks[link.target].lane
    assert all(0 <= mark.column < COLUMNS for mark in picture.marks)
    assert len(picture.traces) <= PICTURE_LANES_MAX
    strays = sum(mark.kind is Kind.STRAY for mark in picture.marks)
    assert len(picture.marks) - strays <= PICTURE_MARKS_MAX
    assert len(picture.links) <= PICTURE_LINKS_MAX
    drawn = {(strip.number, lane) for strip in picture.strips for lane in strip.lanes}
    assert drawn == {(mark.strip, mark.lane) for mark in picture.marks}


# --- what is drawn -------------------------------------------------------------------------


def test_a_trade_is_drawn_with_a_line_for_each_entry_that_names_anothers() -> None:
    store = MemoryStore()
    deal = Deal.between(Party("ben"), [Party("anna")]).agree()
    deal.handover(1)
    hold(store, deal.taker.chain, deal.listers[0].chain)
    _, _, picture = drawn(store)
    check(picture)
    ids = {mark.point.id: number for number, mark in enumerate(picture.marks) if mark.point}
    authors = {entry.id: entry.author for entry in (*deal.taker.chain, *deal.listers[0].chain)}
    expected = {
        (ids[entry.id], ids[ref])
        for entry in (*deal.taker.chain, *deal.listers[0].chain)
        for ref in entry.body.refs
        if authors[ref] != entry.author
    }
    assert {(link.source, link.target) for link in picture.links} == expected
    for link in picture.links:
        # All its dates are one: what names stands to the right all the same.
        assert place(picture.marks[link.target]) < place(picture.marks[link.source])


def test_the_guilty_come_first_and_beside_them_those_they_dealt_with() -> None:
    store = MemoryStore()
    for name in ("abe", "bob", "carl"):
        hold(store, Person(name).device("phone").records)
    deal = Deal.between(Party("ben"), [Party("anna")]).agree()
    deal.reserve(1)
    hold(store, deal.taker.chain, deal.listers[0].chain)
    report, traced, picture = drawn(store)
    assert report.exit_code == 1
    authors = [trace.author for trace in traced.traces]
    assert authors[:2] == [deal.listers[0].public, deal.taker.public]
    accused = [mark for mark in picture.marks if mark.findings]
    assert {mark.point.id for mark in accused if mark.point} == set(report.findings[0].entries)
    assert any(link.grave for link in picture.links)


def test_a_fork_leaves_its_chain_as_a_branch_and_a_healed_one_too() -> None:
    report, _, picture = drawn(town())
    strays = [mark for mark in picture.marks if mark.kind is Kind.STRAY]
    assert [mark.from_seq for mark in strays] == [3, 3]
    severities = {report.findings[0].severity}
    assert severities == {Severity.PROVEN}
    check(picture)
    for stray in strays:
        before = next(
            mark for mark in picture.marks if mark.lane == stray.lane and mark.to_seq == 2
        )
        assert place(before) < place(stray)


def test_seals_heals_and_what_lies_above_a_seal_are_drawn() -> None:
    _, traced, picture = drawn(town())
    drawing = Drawing(picture, traced.findings)
    shown = "".join(drawing.strip(strip) for strip in picture.strips)
    assert shown.count('class="seal"') == 1
    assert ">kept<" in shown
    assert [mark.from_seq for mark in picture.marks if mark.above] == [3]


def test_missing_unreadable_and_trusted_stretches_are_drawn_apart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    author = Author("gap")
    author.genesis()
    for _ in range(12):
        author.offer(2)
    hold(store, author.records)
    number = store._number(author.public)
    assert number is not None
    for seq in (4, 5, 6, 7):
        store._all("DELETE FROM entries WHERE place = ?", (number << 32 | seq,))
    store._all("UPDATE entries SET raw = x'00' WHERE place = ?", (number << 32 | 9,))
    report = audit(store, LATER)
    traced = trace_store(store, report, lambda _: [(2, 3), (4, 4), (5, 5)])
    (trace,) = traced.traces
    # What is held is drawn, whoever vouches for it.
    assert trace.gaps == (
        Gap(4, 5, GapKind.TRUSTED),
        Gap(6, 7, GapKind.MISSING),
        Gap(9, 9, GapKind.DAMAGED),
    )
    picture = lay_out(traced)
    check(picture)
    text = page(report, traced, about="all", now_ms=LATER)
    assert all(f"gap {kind}" in text for kind in ("trusted", "missing", "damaged"))
    store.close()


def test_a_finding_about_a_place_is_marked_where_it_is() -> None:
    store = town()
    report, traced, picture = drawn(store)
    for number, finding in enumerate(traced.findings, 1):
        marked = [mark for mark in picture.marks if number in mark.findings]
        assert marked, finding
        assert all(picture.traces[mark.lane].author == finding.author for mark in marked)
    assert len(traced.findings) == len(report.findings)


def test_a_bundle_is_drawn_with_what_it_leaves_out() -> None:
    store = MemoryStore()
    deal = Deal.between(Party("ben"), [Party("anna")]).agree()
    lister = deal.listers[0]
    lister.offer(3)
    deal.reserve(1)
    hold(store, deal.taker.chain, lister.chain)
    bundle = gather(store, About.TRADE, deal.propose.id)
    checked = check_bundle(encode_bundle(bundle), LATER)
    traced = trace_bundle(checked.bundle, checked.report)
    assert traced.traces[0].author == lister.public
    check(lay_out(traced))
    text = page(checked.report, traced, about="a bundle", now_ms=LATER, bundle=True)
    assert "A bundle shows what it holds" in text


# --- bounds --------------------------------------------------------------------------------


def test_a_long_chain_is_drawn_by_its_newest_and_what_findings_name() -> None:
    store = MemoryStore()
    author = Author("long")
    author.genesis()
    for _ in range(PICTURE_READ_MAX + 50):
        author.note()
    hold(store, author.records)
    report = audit(store, LATER)
    report.add(Finding(Severity.NOTED, "something old", author.public, (20,)))
    traced = trace_store(store, report)
    (trace,) = traced.traces
    assert len(trace.points) == PICTURE_READ_MAX + 2
    assert {gap.kind for gap in trace.gaps} == {GapKind.UNDRAWN}
    picture = lay_out(traced)
    check(picture)
    assert [mark.from_seq for mark in picture.marks if mark.findings] == [20]


def chains(count: int, length: int, dice: random.Random) -> Iterator[Trace]:
    """Traces of chains that name each other at random, some entries far ahead of their time."""
    ids: list[bytes] = []
    for number in range(count):
        points, gaps = [], []
        for seq in range(1, length + 1):
            if seq > 1 and dice.random() < 0.3:
                gaps.append(Gap(seq, seq, dice.choice(list(GapKind))))
                continue
            refs = tuple(dice.sample(ids, min(len(ids), dice.randrange(4))))
            at_ms = dice.choice([0, NOW_MS, NOW_MS + seq, 2**48])
            kind = dice.choice([*EntryType, 64, 200])
            points.append(Point(seq, at_ms, kind, named(f"{number} {seq}"), refs, "x"))
            ids.append(points[-1].id)
        strays = (Point(length, NOW_MS, 2, named(f"stray {number}")),)
        word = RootWord(named(str(number)), sealed_at=length // 2, healed_at=1)
        yield Trace(named(str(number)), length, tuple(points), tuple(gaps), strays, "n", word)


@given(st.integers(0, 2**32), st.integers(1, PICTURE_LANES_MAX), st.integers(1, 90))
def test_any_ledger_gives_a_picture_within_its_bounds(seed: int, count: int, length: int) -> None:
    traces = tuple(chains(count, length, random.Random(seed)))  # a test's dice
    findings = tuple(
        Finding(Severity.PROVEN, "f", trace.author, (1 + seed % length,)) for trace in traces
    )
    picture = lay_out(Traced(traces, 7, findings))
    check(picture)
    drawing = Drawing(picture, findings)
    for strip in picture.strips:
        Xml.fromstring(drawing.strip(strip))  # noqa: S314  # our own


def test_runs_that_name_each_other_in_a_circle_are_drawn() -> None:
    def trace(name: str, other: str) -> Trace:
        points = [
            Point(seq, NOW_MS, 200, named(f"{name} {seq}"), (named(f"{other} {9 - seq}"),))
            for seq in range(1, 9)
        ]
        return Trace(named(name), 8, tuple(points))

    picture = lay_out(Traced((trace("a", "b"), trace("b", "a")), 0, ()))
    check(picture)
    assert picture.links


def test_more_chains_than_lanes_are_counted() -> None:
    store = MemoryStore()
    for number in range(PICTURE_LANES_MAX + 5):
        hold(store, Person(f"p{number}").device("phone").records)
    report, traced, picture = drawn(store)
    check(picture)
    assert traced.undrawn == 5
    assert "5 further chains" in page(report, traced, about="all", now_ms=LATER)


def test_findings_are_listed_gravest_first_and_the_rest_counted() -> None:
    report = Report()
    for number in range(REPORT_FINDINGS_MAX + 9):
        report.add(Finding(Severity.INCOMPLETE, f"gap {number}"))
    report.add(Finding(Severity.PROVEN, "a lie"))
    traced = trace_store(MemoryStore(), report)
    assert traced.findings[0].text == "a lie"
    text = page(report, traced, about="all", now_ms=LATER)
    assert text.count('id="finding-') == REPORT_FINDINGS_MAX
    assert "And 10 more." in text


@pytest.mark.parametrize(
    ("number", "shown"), [(7, "7"), (999, "999"), (1999, "1k"), (2**32, "4G"), (3_500_000, "3M")]
)
def test_counts_are_cut_short(number: int, shown: str) -> None:
    assert compact(number) == shown


def test_a_time_that_no_calendar_has_is_shown_as_its_number() -> None:
    assert moment(0) == "1970-01-01 00:00:00"
    assert moment(2**48) == f"{2**48} ms"


# --- the page ------------------------------------------------------------------------------


class Outline(HTMLParser):
    """Reads a page strictly: what is opened is closed, and nothing is asked of a network."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.targets: set[str] = set()
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in {"src", "srcset", "style", "action", "data"}
            if name in {"href", "xlink:href"}:
                assert value is not None
                assert value.startswith("#")
                self.targets.add(value[1:])
            if name == "id":
                self.ids.append(str(value))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_nothing_of_anybody() -> None:
    report, traced, _ = drawn(town())
    text = page(report, traced, about="everything held", now_ms=LATER)
    outline = Outline(text)
    assert outline.tags.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form"})
    assert outline.targets <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))
    assert "://" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_says_the_verdict_and_the_exit_code_in_words() -> None:
    store = town()
    report, traced, _ = drawn(store)
    text = page(report, traced, about="everything held", now_ms=LATER)
    assert "Misbehaviour is proven" in text
    assert "Exit code 1." in text
    assert report.findings[0].entries[0].hex() in text


def test_every_drawing_has_a_title_a_description_and_a_table_that_says_the_same() -> None:
    report, traced, picture = drawn(town())
    text = page(report, traced, about="all", now_ms=LATER)
    strips = len(picture.strips)
    assert text.count('role="img"') == text.count("<desc") == strips
    for mark in picture.marks:
        if mark.point is not None:
            assert mark.point.id.hex()[:16] in text


def test_the_same_ledger_gives_the_same_page(tmp_path: Path) -> None:
    pages = set()
    for number in range(2):
        store = SqliteStore(tmp_path / f"{number}.db")
        for author in (Person("Tom").device("phone"), Person("Zoë").device("phone")):
            author.offer(3)
            hold(store, author.records)
        report = audit(store, LATER)
        pages.add(page(report, trace_store(store, report), about="all", now_ms=LATER))
        store.close()
    assert len(pages) == 1


def test_an_empty_ledger_has_a_page() -> None:
    report, traced, picture = drawn(MemoryStore())
    assert picture.marks == ()
    text = page(report, traced, about="all", now_ms=LATER)
    Outline(text)
    assert "Clean" in text
