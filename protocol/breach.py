"""Breaches of a trade: what two or three entries of the accused prove by themselves.

A fault, once found, stays whatever else arrives. So nothing here asks which of two reserves
or confirms counts, nor what is missing so far: where the accused names as its cause an entry
that nobody has shown, or one that cannot be judged yet, the fault waits for it. A cause that
is never shown clears nobody; `Trade.unshown` lists it.
"""

from __future__ import annotations

from collections.abc import Iterator

from passby.protocol.entry import Entry
from passby.protocol.legs import Fault, Leg, Trade, causes, uint_fact
from passby.protocol.types import EntryType

Mine = dict[int, list[Entry]]
"""The entries of one trade by type, each list ordered by author and then by chain."""


def unshown(trade: Trade, known: dict[bytes, Entry]) -> frozenset[bytes]:
    """Return the causes of releases and cancels that are missing, or hang on what is missing."""
    missing: set[bytes] = set()
    ending = [*trade.cancels, *(entry for leg in trade.legs for entry in leg.releases)]
    for cause in {cause for entry in ending for cause in causes(entry)}:
        entry = known.get(cause)
        # A return can be judged only beside the reserve it opens and the handover it undoes.
        if entry is None or (
            entry.body.type == EntryType.HANDOVER
            and not all(ref in known for ref in entry.body.refs[2:])
        ):
            missing.add(cause)
    return frozenset(missing)


def faults(trade: Trade, mine: Mine) -> list[Fault]:
    """Return one fault for each (accused, rule) that the gathered entries prove."""
    found: dict[tuple[bytes, str], Fault] = {}
    for fault in _all_faults(trade, mine):
        found.setdefault((fault.accused, fault.rule), fault)
    return [found[key] for key in sorted(found)]


def _all_faults(trade: Trade, mine: Mine) -> Iterator[Fault]:
    yield from _twice("confirmed twice", trade.confirms)
    yield from _after("confirmed after cancelling", trade.cancels, trade.confirms)
    for leg in trade.legs:
        yield from _twice("reserved twice", leg.reserves)
        yield from _twice("committed twice", leg.commits)
        yield from _after("reserved after declining", leg.refusals, leg.reserves)
    yield from _of_cancels(trade, mine)
    yield from _of_releases(trade, mine)


def _twice(rule: str, entries: list[Entry]) -> Iterator[Fault]:
    if len(entries) > 1:
        yield Fault(entries[0].author, rule, (entries[0].id, entries[1].id))


def _after(rule: str, earlier: list[Entry], later: list[Entry]) -> Iterator[Fault]:
    """Accuse who wrote one of `later` after one of `earlier`, both lists of one chain."""
    if earlier and later and earlier[0].seq < later[-1].seq:
        yield Fault(later[-1].author, rule, (earlier[0].id, later[-1].id))


def _of_cancels(trade: Trade, mine: Mine) -> Iterator[Fault]:
    """Accuse a taker who cancels after its confirm without having waited, and without cause.

    It may cancel when dated after commit_by and not naming a timely commit of every lister,
    or naming a lister's release.
    """
    releases = _others_releases(trade, mine, trade.taker)
    for cancel in trade.cancels:
        named = set(causes(cancel))
        if named & releases or _must_wait(trade, named):
            continue
        for confirm in trade.confirms:
            commit_by_ms = uint_fact(confirm, 0)
            commits = [_named_commit(leg, named, confirm.id, commit_by_ms) for leg in trade.legs]
            seen = tuple(commit for commit in commits if commit)
            early = cancel.at_ms <= commit_by_ms
            if confirm.seq < cancel.seq and (early or len(seen) == len(trade.legs)):
                rule = "cancelled after confirming"
                yield Fault(trade.taker, rule, (confirm.id, cancel.id, *seen))


def _named_commit(leg: Leg, named: set[bytes], confirm: bytes, commit_by_ms: int) -> bytes | None:
    for commit in leg.commits:
        if commit.id in named and commit.body.refs[1] == confirm and commit.at_ms <= commit_by_ms:
            return commit.id
    return None


def _others_releases(trade: Trade, mine: Mine, author: bytes) -> set[bytes]:
    """Return the ids of other listers' releases.

    A stranger's release is no cause, or a second identity would be the way out of any commit.
    """
    listers = {leg.lister for leg in trade.legs}
    return {
        entry.id
        for entry in mine.get(EntryType.RELEASE, ())
        if entry.author != author and entry.author in listers
    }


def _must_wait(trade: Trade, named: set[bytes]) -> bool:
    """Tell whether a cause cannot be judged yet, it or the offer of its author being missing."""
    return bool(named & trade.unshown) or (bool(named) and any(not leg.offer for leg in trade.legs))


def _of_releases(trade: Trade, mine: Mine) -> Iterator[Fault]:
    """Accuse listers who release what they committed, commit what they released, or keep goods.

    After its commit a lister releases once handover_until has passed by its own clock, or
    naming the taker's cancel, another lister's release or its own return of the goods.
    """
    cancels = {entry.id for entry in trade.cancels}
    for leg in trade.legs:
        if not leg.releases:
            continue
        returns = {entry.id for up in trade.bringing_to(leg) for entry in up.returns}
        allowed = cancels | returns | _others_releases(trade, mine, leg.releases[0].author)
        first_commits = {entry.body.refs[2]: entry for entry in reversed(leg.commits)}
        last_commits = {entry.body.refs[2]: entry for entry in leg.commits}
        for release in leg.releases:
            reserve = release.body.refs[1]
            last = last_commits.get(reserve)
            if last is not None and release.seq < last.seq:
                rule = "committed after releasing"
                yield Fault(release.author, rule, (release.id, last.id))
            named = set(causes(release))
            if _must_wait(trade, named):
                continue
            first = first_commits.get(reserve)
            if (
                first is not None
                and first.seq < release.seq
                and release.at_ms <= leg.handover_until_ms
                and not named & allowed
            ):
                yield Fault(release.author, "released after commit", (first.id, release.id))
            if release.at_ms < leg.kept_until_ms:
                yield from _of_custody(trade, leg, release, named)


def _of_custody(trade: Trade, leg: Leg, release: Entry, named: set[bytes]) -> Iterator[Fault]:
    reserve = release.body.refs[1]
    for up in trade.bringing_to(leg):
        # One return answers every handover of a leg: a giver who writes two, revealing the same
        # secret, must not leave the second standing against who gave the goods back.
        if any(entry.id in named for entry in up.returns):
            continue
        for brought in up.handovers:
            if brought.body.refs[2] == reserve:
                rule = "released with goods in custody"
                yield Fault(release.author, rule, (brought.id, reserve, release.id))
