"""Frames of records from a peer, taken whole: decoded, judged, and told of in a few words.

Whoever moves the frames need not read them: a `Digest` says which of them were good, where
each chain now ends, and what is to be said to the peer. It crosses a pipe, where the frames
are taken in another process.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from passby.ledger.chain import Append, Breach, Duplicate, Fork, Frozen, Head, Missing, Outcome
from passby.ledger.ingest import Batch, Check, Overlay, View, admit
from passby.protocol.entry import Record, read_records
from passby.protocol.errors import Code, RemoteError
from passby.protocol.limits import ENTRIES_PER_FRAME_MAX
from passby.protocol.types import TRADE_TYPES, EntryType


class Fault(msgspec.Struct, frozen=True):
    """Why a frame was refused: a RemoteError's fields."""

    code: Code
    detail: str
    penalty: int

    def error(self) -> RemoteError:
        """Return the error that this tells of."""
        return RemoteError(self.code, self.detail, penalty=self.penalty)


class Places(msgspec.Struct):
    """What many new records speak of, for those who would otherwise be told of each."""

    lots: list[tuple[bytes, int]] = []
    """(author, seq of the offer) of each lot that is new or has changed."""
    requests: list[tuple[bytes, int]] = []
    """(author, seq) of each new request."""
    trades: list[bytes] = []
    """Ids of the proposes that new entries of a trade belong to."""
    statements: list[bytes] = []
    """Root statements that new entries carry, as they travel."""
    begun: list[bytes] = []
    """Authors whose first entry is new."""


class Digest(msgspec.Struct):
    """What came of frames, for those that were taken before one was refused."""

    appended: int = 0
    repeated: int = 0
    """Records that were held already."""
    heads: dict[bytes, Head] = {}
    """Of every author in the frames, whether its head has moved or not."""
    astray: dict[bytes, int] = {}
    """author -> the seq from which it is missing here, where its entries did not follow on."""
    stopped: list[bytes] = []
    """Authors of whom nothing more is taken: frozen, or just proven false."""
    proven: list[tuple[bytes, int]] = []
    """(author, seq) of each that was just proven false."""
    fault: Fault | None = None


class Frames:
    """Frames of one peer, on their way into the ledger."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._decoded: list[list[Record]] = []
        self._refused: Fault | None = None
        for frame in frames:
            try:
                self._decoded.append(read_records(frame, ENTRIES_PER_FRAME_MAX))
            except RemoteError as error:
                self._refused = _fault(error)
                break

    @property
    def records(self) -> list[Record]:
        """All records of the frames up to the first that cannot be read."""
        return [record for frame in self._decoded for record in frame]

    def judge(self, view: View) -> tuple[Batch, Digest]:
        """Judge the frames in order until one is refused; nothing in `view` changes."""
        overlay = Overlay(view)
        whole, digest = Batch(), Digest(fault=self._refused)
        for records in self._decoded:
            try:
                batch = admit(overlay, records, Check.RUNS)
            except RemoteError as error:
                digest.fault = _fault(error)
                break
            overlay.absorb(batch)
            _add(whole, batch)
            for record, outcome in zip(records, batch.outcomes, strict=True):
                _note(digest, record, outcome)
        for author in {record.entry.author: None for record in self.records}:
            head = overlay.head(author)
            if head is not None:
                digest.heads[author] = head
        return whole, digest


def _fault(error: RemoteError) -> Fault:
    return Fault(error.code, error.detail, error.penalty)


def _add(whole: Batch, batch: Batch) -> None:
    whole.outcomes += batch.outcomes
    whole.appended += batch.appended
    whole.heads.update(batch.heads)
    whole.lots.update(batch.lots)
    whole.reserves.update(batch.reserves)
    whole.evidence += batch.evidence
    whole.payloads += batch.payloads
    whole.statements += batch.statements


def _note(digest: Digest, record: Record, outcome: Outcome) -> None:
    match outcome:
        case Append():
            digest.appended += 1
        case Duplicate():
            digest.repeated += 1
        case Missing(author=author, from_seq=from_seq):
            digest.astray.setdefault(author, from_seq)
        case Fork(author=author) | Breach(author=author):
            digest.proven.append((author, record.entry.seq))
            if isinstance(outcome, Fork):
                digest.stopped.append(author)
        case Frozen(author=author):
            if author not in digest.stopped:
                digest.stopped.append(author)
        case _:
            pass


def news_in(batch: Batch) -> list[Record]:
    """Return the records of `batch` that are new, or whose payload is."""
    return [appended.record for appended in batch.appended] + batch.payloads


def places_in(batch: Batch) -> Places:
    """Return what the new records of `batch` speak of."""
    lots = dict.fromkeys(batch.lots)
    requests: list[tuple[bytes, int]] = []
    trades: dict[bytes, None] = {}
    begun: list[bytes] = []
    for record in news_in(batch):
        entry = record.entry
        body = entry.body
        if body.type in TRADE_TYPES:
            trades[entry.id if body.type == EntryType.PROPOSE else body.refs[0]] = None
        elif body.type == EntryType.REQUEST:
            requests.append((body.author, body.seq))
        elif body.type == EntryType.WITHDRAW and isinstance(body.facts[0], int):
            requests.append((body.author, body.facts[0]))
        elif body.type == EntryType.OFFER:
            lots[body.author, body.seq] = None
        elif body.type == EntryType.GENESIS:
            begun.append(body.author)
    statements = [statement.raw for statement in batch.statements]
    return Places(list(lots), requests, list(trades), statements, begun)
