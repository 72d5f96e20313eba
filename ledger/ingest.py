"""From records to verdicts, and from verdicts to one batch that a store commits whole.

`ingest` judges one entry against what is held. `admit` takes what a peer sent, checks shape,
keys and signatures, ingests each record against what is held plus what came just before it,
and returns a `Batch`: nothing is written until a store commits it, in one transaction.

An entry is authentic if it, or a descendant, carries a valid signature. So where an author's
entries come linked and in a row, only the last signature of the row is checked, and every
row that is stored ends in one that was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Protocol, assert_never

import msgspec

from passby.ledger.chain import (
    Append,
    Breach,
    ChainRule,
    Duplicate,
    Evidence,
    Fork,
    Frozen,
    Head,
    Missing,
    Outcome,
    Rejected,
    Verdict,
)
from passby.ledger.evidence import evidence_of_lie, first_valid, is_signed
from passby.ledger.proof import survives
from passby.ledger.prove import proof_in
from passby.ledger.standing import Standing, is_above, stands, statement_in
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import Code, RemoteError
from passby.protocol.keys import is_point, verify
from passby.protocol.limits import RUN_MAX
from passby.protocol.statements import Heal, Statement
from passby.protocol.stock import (
    STOCK_TYPES,
    LotStock,
    Reserve,
    StockBreach,
    StockStep,
    apply,
    names_reserve,
)
from passby.protocol.types import TRADE_TYPES, EntryType, check_form

# By name: a member of an enum is looked up for longer than a link is judged.
_OFFER: Final = EntryType.OFFER
_STATEMENT: Final = EntryType.STATEMENT


class View(Protocol):
    """What is held, as far as a verdict may depend on it."""

    def head(self, author: bytes) -> Head | None:
        """Return the chain's head; None for an author of whom nothing is held."""

    def frozen_from(self, author: bytes) -> int | None:
        """Return the seq from which the author is proven false, None for the others."""

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """Return the record held there."""

    def lot_at(self, author: bytes, lot_seq: int) -> LotStock | None:
        """Return the author's lot that the offer at `lot_seq` opened."""

    def reserve_at(self, author: bytes, seq: int) -> Reserve | None:
        """Return the author's reserve at `seq`, open or resolved."""

    def standing(self, author: bytes) -> Standing:
        """Return what the root's statements make of the author's chain, FREE for most."""

    def person_of(self, author: bytes) -> bytes:
        """Return the author's person; the author itself where that is not known."""

    def stands(self, entry: Entry) -> bool:
        """Tell whether an entry of another person that is held names `entry` in its trade."""

    def finishes(self, entry: Entry) -> bool:
        """Tell whether `entry` may still end a trade of a frozen author's; see `standing`."""


class Check(Enum):
    """Which signatures `admit` checks."""

    EACH = auto()
    """Every one: gossip, streams of a trade. A bad record is rejected alone."""
    OWN = auto()
    """None: records that this node has just signed."""
    RUNS = auto()
    """The last of every linked run: a sync frame. A bad one refuses the frame."""


class Appended(msgspec.Struct, frozen=True, gc=False):
    """A record to store; `checked` tells that its own signature was verified."""

    record: Record
    checked: bool


@dataclass(slots=True)
class Batch:
    """All changes that one call of `admit` makes, for one transaction.

    `outcomes` has one member for each record given, in order. `payloads` are those that came
    with entries already held without one; `statements` those that the records carry.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    appended: list[Appended] = field(default_factory=list)
    heads: dict[bytes, Head] = field(default_factory=dict)
    lots: dict[tuple[bytes, int], LotStock] = field(default_factory=dict)
    reserves: dict[tuple[bytes, int], Reserve] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)
    payloads: list[Record] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)


class Overlay:
    """A view of what is held with batches on top that are not yet committed."""

    __slots__ = (
        "_base",
        "_frozen",
        "_heads",
        "_indexed",
        "_lots",
        "_obliged",
        "_records",
        "_reserves",
        "_tail",
    )

    def __init__(self, base: View) -> None:
        self._base = base
        self._heads: dict[bytes, Head] = {}
        self._lots: dict[tuple[bytes, int], LotStock] = {}
        self._reserves: dict[tuple[bytes, int], Reserve] = {}
        self._frozen: dict[bytes, int] = {}
        self._obliged: dict[bytes, int] = {}
        # Entries are looked up by place only to tell duplicates and forks apart, so the
        # index is made of the tail when somebody asks.
        self._tail: list[Record] = []
        self._indexed = 0
        self._records: dict[tuple[bytes, int], Record] = {}

    def head(self, author: bytes) -> Head | None:
        """As `View.head`."""
        return self._heads.get(author) or self._base.head(author)

    def frozen_from(self, author: bytes) -> int | None:
        """As `View.frozen_from`."""
        return self._frozen.get(author) or self._base.frozen_from(author)

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """As `View.record_at`."""
        while self._indexed < len(self._tail):
            record = self._tail[self._indexed]
            self._records[record.entry.author, record.entry.seq] = record
            self._indexed += 1
        return self._records.get((author, seq)) or self._base.record_at(author, seq)

    def lot_at(self, author: bytes, lot_seq: int) -> LotStock | None:
        """As `View.lot_at`."""
        return self._lots.get((author, lot_seq)) or self._base.lot_at(author, lot_seq)

    def reserve_at(self, author: bytes, seq: int) -> Reserve | None:
        """As `View.reserve_at`."""
        return self._reserves.get((author, seq)) or self._base.reserve_at(author, seq)

    def standing(self, author: bytes) -> Standing:
        """As `View.standing`; a statement in a batch not yet committed has no effect yet."""
        standing = self._base.standing(author)
        obliged_to = self._obliged.get(author, 0) if self._obliged else 0
        if obliged_to <= standing.obliged_to:
            return standing
        return msgspec.structs.replace(standing, obliged_to=obliged_to)

    def person_of(self, author: bytes) -> bytes:
        """As `View.person_of`."""
        return self._base.person_of(author)

    def stands(self, entry: Entry) -> bool:
        """As `View.stands`."""
        tail = (record.entry for record in self._tail)
        return self._base.stands(entry) or stands(entry, tail, self._base.person_of)

    def finishes(self, entry: Entry) -> bool:
        """As `View.finishes`; a trade in a batch not yet committed was not open before."""
        return self._base.finishes(entry)

    def oblige(self, records: Sequence[Record]) -> None:
        """Let those of `records` be appended above a seal that stand, or that lead to such."""
        authors = {record.entry.body.author for record in records}
        seals = {author: self._base.standing(author).seal for author in authors}
        if not any(seals.values()):
            return
        for record in records:
            entry = record.entry
            author, seq = entry.author, entry.seq
            seal = seals[author]
            if (
                seal is not None
                and seq > max(seal.seq, self._obliged.get(author, 0))
                and self.stands(entry)
            ):
                self._obliged[author] = seq

    def append(self, record: Record, verdict: Append) -> None:
        """Hold `record`, whose verdict here was to append it."""
        author = record.entry.body.author
        self._heads[author] = verdict.head
        self._tail.append(record)
        if verdict.step is not None:
            lot, reserve = verdict.step.lot, verdict.step.reserve
            self._lots[author, lot.lot_seq] = lot
            if reserve is not None:
                self._reserves[author, reserve.seq] = reserve

    def freeze(self, evidence: Evidence) -> None:
        """Freeze the author that `evidence` proves false."""
        self._frozen[evidence.author] = evidence.seq

    def absorb(self, batch: Batch) -> None:
        """Hold all that `batch` holds."""
        self._heads.update(batch.heads)
        self._lots.update(batch.lots)
        self._reserves.update(batch.reserves)
        self._tail.extend(appended.record for appended in batch.appended)
        for evidence in batch.evidence:
            self.freeze(evidence)

    def into(self, batch: Batch) -> None:
        """Put the changes held here into `batch`."""
        batch.heads, batch.lots, batch.reserves = self._heads, self._lots, self._reserves


def ingest(view: View, entry: Entry) -> Verdict:
    """Judge an entry that has passed `check_form`; its signature is the caller's business."""
    body = entry.body
    author, seq = body.author, body.seq
    head = view.head(author)
    following = head.seq + 1 if head is not None else 1
    if seq < following:
        held = view.record_at(author, seq)
        # Pruned history is held no longer and cannot be told from this entry.
        if held is None or held.entry.id == entry.id or _was_given_up(view, entry):
            return Duplicate()
        return Fork(author, seq, held.entry.id, entry.id)
    frozen = view.frozen_from(author)
    if frozen is not None and seq >= frozen:
        goes_on = head is not None and seq == following and body.prev == head.id
        if not goes_on or not view.finishes(entry):
            return Frozen(author, frozen)
    standing = view.standing(author)
    if (
        standing.seal is not None
        and seq > standing.obliged_to
        and is_above(standing.seal, entry)
        and not view.stands(entry)
    ):
        return Frozen(author, standing.seal.seq + 1)
    if standing.heal is not None and seq == standing.heal.seq and entry.id != standing.heal.id:
        # The branch that was given up, where neither is held.
        return Frozen(author, seq)
    if seq > following:
        return Missing(author, following, seq - 1)
    if head is not None:
        if body.prev != head.id:
            return Missing(author, head.seq, head.seq)
        if body.at_ms < head.at_ms:
            return Breach(author, ChainRule.TIME, (head.seq, seq))
    step: StockStep | None = None
    if body.stock and body.type in STOCK_TYPES:
        judged = apply(
            view.lot_at(author, body.stock[0]) if body.type != _OFFER else None,
            view.reserve_at(author, body.stock[2]) if names_reserve(entry) else None,
            entry,
        )
        if isinstance(judged, StockBreach):
            return Breach(author, judged.rule, judged.accused)
        step = judged
    return Append(Head(seq, entry.id, body.at_ms), step)


def _was_given_up(view: View, entry: Entry) -> bool:
    """Tell whether an entry at a place already taken is of the branch that a heal abandoned."""
    heal = view.standing(entry.author).heal
    # What binds others voids the heal, so it is a fork like any other.
    if heal is None or entry.seq < heal.seq or entry.body.type in TRADE_TYPES:
        return False
    if entry.seq == heal.seq:
        return entry.id != heal.id
    before = view.record_at(entry.author, entry.seq - 1)
    return before is None or entry.body.prev != before.entry.id


def admit(view: View, records: Sequence[Record], check: Check) -> Batch:
    """Judge `records`, in order, each against what is held and those before it.

    The codec has read each record: fields are in their bounds and payloads fit their hashes; a
    record without a payload is taken as it is.

    Raises:
        RemoteError: under RUNS, for any record that no honest peer sends. Nothing in the view
            has changed then.
    """
    batch = Batch()
    overlay = Overlay(view)
    overlay.oblige(records)
    match check:
        case Check.EACH | Check.OWN:
            signed = check is Check.OWN
            for record in records:
                batch.outcomes.append(_admit_one(overlay, record, batch, signed=signed))
        case Check.RUNS:
            try:
                for run in runs(records):
                    _admit_run(overlay, run, batch)
            except _UnvouchedError:
                batch = Batch()
                overlay = Overlay(view)
                overlay.oblige(records)
                for run in runs(records):
                    _admit_vouched(overlay, run, batch)
        case _:
            assert_never(check)
    overlay.into(batch)
    return batch


def runs(records: Sequence[Record]) -> Iterable[Sequence[Record]]:
    """Cut `records` where author, seq or link break, and after RUN_MAX in a row."""
    start = 0
    for at in range(1, len(records)):
        entry, before = records[at].entry, records[at - 1].entry
        body = entry.body
        if (
            body.prev != before.id
            or body.author != before.body.author
            or body.seq != before.body.seq + 1
            or at - start == RUN_MAX
        ):
            yield records[start:at]
            start = at
    if start < len(records):
        yield records[start:]


def accuse(view: View, evidence: Evidence) -> Batch:
    """Return what there is to store of a proof that has been verified: the evidence, or nothing.

    Nothing of an author of whom nothing is held; of one that is proven false from as early on
    already; or of a fork that its root healed, as far as the proof shows nothing beside it.
    """
    author = evidence.author
    frozen = view.frozen_from(author)
    if view.head(author) is None or (frozen is not None and frozen <= evidence.seq):
        return Batch()
    heal = view.standing(author).heal
    if heal is not None and not _outlives(view, heal, evidence):
        return Batch()
    return Batch(evidence=[evidence])


def _outlives(view: View, heal: Heal, evidence: Evidence) -> bool:
    """Tell whether evidence shows more than that two branches were begun of which one was kept."""
    if survives(proof_in(evidence), heal.seq, heal.id):
        return True
    for element in evidence.elements:
        entry = element[0]
        held = view.record_at(entry.author, entry.seq)
        if held and held.entry.id != entry.id and not _was_given_up(view, entry):
            # It binds somebody, which voids the heal, or goes on from the branch that was kept.
            return True
    return False


def _admit_one(overlay: Overlay, record: Record, batch: Batch, *, signed: bool) -> Outcome:
    entry = record.entry
    try:
        check_form(entry.body)
        verdict = ingest(overlay, entry)
        # A copy of what is held costs no signature check, and whose chain goes on has a key
        # that was checked when it began.
        if not signed and not isinstance(verdict, Duplicate):
            if not isinstance(verdict, Append) or entry.seq == 1:
                _check_key(overlay, entry)
            _check_signature(entry)
    except RemoteError as error:
        return Rejected(error)
    if isinstance(verdict, Append):
        batch.appended.append(Appended(record, checked=True))
    return _take(overlay, (record,), 0, verdict, batch)


def _admit_run(overlay: Overlay, run: Sequence[Record], batch: Batch) -> None:
    """Judge linked records of one author; the last signature stands for all."""
    first, last = run[0].entry, run[-1].entry
    for record in run:
        check_form(record.entry.body)
    head = overlay.head(last.author)
    if head is None or head.seq < last.seq or not _holds(overlay, last):
        _check_key(overlay, first)
        _check_signature(last)
    appended: list[Record] = []
    for at, record in enumerate(run):
        verdict = ingest(overlay, record.entry)
        if isinstance(verdict, Append):
            appended.append(record)
        batch.outcomes.append(_take(overlay, run, at, verdict, batch))
    if not appended:
        return
    # A run that was cut short still ends, in the store, in a signature that was checked.
    if appended[-1] is not run[-1] and not is_signed(appended[-1]):
        raise _UnvouchedError
    final = len(appended) - 1
    batch.appended.extend([Appended(record, at == final) for at, record in enumerate(appended)])


class _UnvouchedError(Exception):
    """A run was cut short behind a record whose own signature is garbage."""


def _admit_vouched(overlay: Overlay, run: Sequence[Record], batch: Batch) -> None:
    """Judge a run like `_admit_run`, and keep of it what ends in a valid signature.

    A relay can swap the signatures inside a run. Where the run then proves its author false, the
    proof must not be lost with them: its elements are led to the signature at the run's end,
    while of the entries before the lie those are stored that a signature of their own vouches for.
    """
    trial, judged = Overlay(overlay), Batch()
    try:
        _admit_run(trial, run, judged)
    except _UnvouchedError:
        first = next(
            at for at, outcome in enumerate(judged.outcomes) if isinstance(outcome, Append)
        )
        cut = sum(isinstance(outcome, Append) for outcome in judged.outcomes)
        good = next((at for at in range(cut, 0, -1) if is_signed(run[first + at - 1])), 0)
        refused = judged.outcomes[first + cut :]
        evidence = judged.evidence
        trial, judged = Overlay(overlay), Batch()
        if first + good:
            _admit_run(trial, run[: first + good], judged)
        from_seq = evidence[0].seq if evidence else run[first + cut].entry.seq
        gone = Frozen(run[0].entry.author, from_seq)
        judged.outcomes += [*([gone] * (cut - good)), *refused]
        judged.evidence += evidence
    trial.into(judged)
    overlay.absorb(judged)
    batch.outcomes += judged.outcomes
    batch.appended += judged.appended
    batch.evidence += judged.evidence
    batch.payloads += judged.payloads
    batch.statements += judged.statements


def _take(
    overlay: Overlay, run: Sequence[Record], at: int, verdict: Verdict, batch: Batch
) -> Verdict:
    """Let the verdict on `run[at]` have its effect, but for appending it to the batch."""
    record = run[at]
    match verdict:
        case Append():
            overlay.append(record, verdict)
            if record.entry.body.type == _STATEMENT:
                _take_statement(record, batch)
        case Duplicate():
            held = overlay.record_at(record.entry.author, record.entry.seq)
            if (
                held is not None
                and held.payload is None
                and record.payload is not None
                # An entry of a branch that was given up is no second copy of this one.
                and held.entry.id == record.entry.id
            ):
                batch.payloads.append(record)
                _take_statement(record, batch)
                return Duplicate(completed=True)
        case Fork() | Breach():
            seq = record.entry.seq
            frozen = overlay.frozen_from(record.entry.author)
            # One proof for each author is enough, but an earlier one frees fewer entries.
            if frozen is None or seq < frozen:
                evidence = evidence_of_lie(overlay, first_valid(run[at:]), verdict)
                batch.evidence.append(evidence)
                overlay.freeze(evidence)
        case Missing() | Frozen():
            pass
        case _:
            assert_never(verdict)
    return verdict


def _take_statement(record: Record, batch: Batch) -> None:
    statement = statement_in(record)
    if statement is not None:
        batch.statements.append(statement)


def _holds(view: View, entry: Entry) -> bool:
    held = view.record_at(entry.author, entry.seq)
    return held is not None and held.entry.id == entry.id


def _check_key(view: View, entry: Entry) -> None:
    if view.head(entry.author) is None and not is_point(entry.author):
        raise RemoteError(Code.BAD_KEY, "an author that is no curve point")


def _check_signature(entry: Entry) -> None:
    if not verify(entry.body.author, entry.raw):
        raise RemoteError(Code.BAD_SIGNATURE, "an entry not signed by its author")
