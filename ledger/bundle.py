r"""Bundles: what is known of an entry, a lot, a trade or a liar, in one file for anybody.

    bundle = "passby bundle 1\n" ‖ about u8 ‖ subject b32
             ‖ uvarint runs   ‖ run x runs
             ‖ uvarint proofs ‖ (uvarint n ‖ proof[n]) x proofs
             ‖ SHA-256 of all before
    run    = uvarint entries ‖ (uvarint n ‖ body[n] ‖ uvarint m ‖ (salt b16 ‖ payload)[m]) x entries
             ‖ signature b64

A run is linked entries of one author; the signature is the last one's and vouches for all. So
every bit is bound: bodies by links and signature, payloads by their hashes, proofs by their own
rules. The hash at the end tells a torn file from a lie; nothing is believed because of it.

A bundle shows what it holds, not what was left out: that nothing came after, only the author's
newer entries can say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import groupby, pairwise
from typing import Final, assert_never

import msgspec

from passby.ledger.audit_chain import agrees, opens
from passby.ledger.chain import ChainRule
from passby.ledger.findings import Finding, Report, Severity
from passby.ledger.proof import NO_SIGNATURE, Proof, Verified, verify_proof
from passby.ledger.proof_bytes import decode_proof, encode_proof, read_body
from passby.protocol.codec import encode_uvarint, read_bytes, read_uvarint
from passby.protocol.entry import (
    HASH_BYTES,
    SALT_BYTES,
    Entry,
    Record,
    parse_entry,
    payload_hash,
)
from passby.protocol.errors import Code, RefusedError, RemoteError
from passby.protocol.judge import check_signature
from passby.protocol.keys import SIGNATURE_BYTES
from passby.protocol.limits import (
    BUNDLE_MAX,
    BUNDLE_PROOFS_MAX,
    PAYLOAD_MAX,
    PROOF_MAX,
    RUN_MAX,
)
from passby.protocol.stock import LotStock, Reserve, StockBreach, apply, carries_stock
from passby.protocol.trade import State, fold
from passby.protocol.types import EntryType, check_shape

MAGIC: Final = b"passby bundle 1\n"
_LEAST_RUN: Final = SIGNATURE_BYTES + 2
"""A count of runs or proofs above what could follow is refused before anything is made of it."""


class About(IntEnum):
    """What a bundle is about; its subject is an entry's id, or an author's key."""

    ENTRY = 1
    LOT = 2
    TRADE = 3
    AUTHOR = 4


class Bundle(msgspec.Struct, frozen=True):
    """What a file holds: runs by author and seq, none overlapping, and proofs."""

    about: About
    subject: bytes
    runs: tuple[tuple[Record, ...], ...]
    proofs: tuple[Proof, ...] = ()


class Checked(msgspec.Struct, frozen=True):
    """What a bundle amounts to: all of it is authentic, and `report` says what it shows.

    `lots` are those whose entries are there from the offer on, as the last of them left them;
    `state` is the trade's, for a bundle about one.
    """

    bundle: Bundle
    report: Report
    proven: tuple[Verified, ...]
    lots: tuple[LotStock, ...]
    state: State | None = None


# --- bytes -------------------------------------------------------------------------------


def encode_bundle(bundle: Bundle) -> bytes:
    """Return the file.

    Raises:
        RefusedError: it would be over BUNDLE_MAX.
    """
    out = [MAGIC, bytes((bundle.about,)), bundle.subject, encode_uvarint(len(bundle.runs))]
    for run in bundle.runs:
        out.append(encode_uvarint(len(run)))
        for record in run:
            body = record.entry.raw[SIGNATURE_BYTES:]
            carried = (record.salt or b"") + record.payload if record.payload else b""
            out += (encode_uvarint(len(body)), body, encode_uvarint(len(carried)), carried)
        out.append(run[-1].entry.raw[:SIGNATURE_BYTES])
    out.append(encode_uvarint(len(bundle.proofs)))
    for proof in bundle.proofs:
        data = encode_proof(proof)
        out += (encode_uvarint(len(data)), data)
    content = b"".join(out)
    if len(content) + HASH_BYTES > BUNDLE_MAX:
        raise RefusedError(
            f"A bundle of {len(content)} bytes is more than anybody reads.",
            "Prove a single trade, or an entry.",
        )
    return content + hashlib.sha256(content).digest()


def decode_bundle(data: bytes) -> Bundle:
    """Read a file; only its form is checked, and that payloads are those named.

    Raises:
        RemoteError: it is torn, too large, or not the one encoding of a bundle.
    """
    if len(data) > BUNDLE_MAX:
        raise RemoteError(Code.TOO_LARGE, f"a bundle of {len(data)} bytes")
    content, digest = data[:-HASH_BYTES], data[-HASH_BYTES:]
    if not content.startswith(MAGIC):
        raise RemoteError(Code.MALFORMED, "not a bundle")
    if hashlib.sha256(content).digest() != digest:
        raise RemoteError(Code.MALFORMED, "a bundle that is torn or was changed")
    offset = len(MAGIC) + 1
    try:
        about = About(content[offset - 1])
    except (IndexError, ValueError):
        raise RemoteError(Code.MALFORMED, "a bundle about nothing known") from None
    subject, offset = read_bytes(content, offset, HASH_BYTES)
    count, offset = read_uvarint(content, offset, len(content) // _LEAST_RUN)
    runs: list[tuple[Record, ...]] = []
    for _ in range(count):
        run, offset = _read_run(content, offset)
        runs.append(run)
    count, offset = read_uvarint(content, offset, BUNDLE_PROOFS_MAX)
    proofs: list[Proof] = []
    for _ in range(count):
        length, offset = read_uvarint(content, offset, PROOF_MAX)
        proof, offset = read_bytes(content, offset, length)
        proofs.append(decode_proof(proof))
    if offset != len(content):
        raise RemoteError(Code.MALFORMED, "bytes behind a bundle")
    return Bundle(about, subject, tuple(runs), tuple(proofs))


def _read_run(data: bytes, offset: int) -> tuple[tuple[Record, ...], int]:
    count, offset = read_uvarint(data, offset, RUN_MAX)
    if not count:
        raise RemoteError(Code.MALFORMED, "a run of nothing")
    read: list[tuple[bytes, bytes]] = []
    for _ in range(count):
        body, offset = read_body(data, offset)
        length, offset = read_uvarint(data, offset, SALT_BYTES + PAYLOAD_MAX)
        carried, offset = read_bytes(data, offset, length)
        read.append((body, carried))
    signature, offset = read_bytes(data, offset, SIGNATURE_BYTES)
    signatures = [NO_SIGNATURE] * (count - 1) + [signature]
    run = (
        _record(at + body, carried) for at, (body, carried) in zip(signatures, read, strict=True)
    )
    return tuple(run), offset


def _record(raw: bytes, carried: bytes) -> Record:
    entry = parse_entry(raw)
    if not carried:
        return Record(entry)
    salt, payload = carried[:SALT_BYTES], carried[SALT_BYTES:]
    body = entry.body
    if len(payload) != body.payload_len or payload_hash(salt, payload) != body.payload_hash:
        raise RemoteError(Code.BAD_PAYLOAD, "a payload that its entry does not name")
    return Record(entry, salt, payload)


# --- checking ----------------------------------------------------------------------------


def check_bundle(data: bytes, now_ms: int) -> Checked:
    """Verify a file with no network and no database.

    Args:
        data: the file.
        now_ms: for the state of a trade that a deadline moves; faults do not depend on it.

    Raises:
        RemoteError: anything in it is not authentic, or it is not about its subject. What it
            shows to be missing or proven is in the report.
    """
    bundle = decode_bundle(data)
    report = Report()
    entries = _check_runs(bundle.runs, report)
    proven = tuple(verify_proof(proof) for proof in bundle.proofs)
    report.signatures += sum(len(proof.elements) + len(proof.claims) for proof in bundle.proofs)
    for proof, verified in zip(bundle.proofs, proven, strict=True):
        seqs = tuple(entry.seq for entry in proof.accused) or (verified.seq,)
        ids = tuple(entry.id for entry in proof.accused)
        report.add(Finding(Severity.PROVEN, verified.rule, verified.author, seqs, ids))
    _check_subject(bundle, entries, proven)
    lots = _check_chains(bundle, entries, report)
    state = _check_trades(bundle, entries, proven, report, now_ms)
    return Checked(bundle, report, proven, lots, state)


def _check_runs(runs: Iterable[Sequence[Record]], report: Report) -> dict[bytes, Entry]:
    entries: dict[bytes, Entry] = {}
    authors: set[bytes] = set()
    last: Entry | None = None
    for run in runs:
        for record in run:
            entry = record.entry
            check_shape(entry.body)
            if last is not None and not _may_follow(last, entry, starts=record is run[0]):
                raise RemoteError(Code.BAD_LINK, "entries that are not linked or out of order")
            if record.payload is None and entry.body.payload_hash is not None:
                report.erased += 1
            elif record.payload is not None and not _shows_what_it_names(record.payload, entry):
                rule = "a payload that is not what the entry's facts commit to"
                report.add(Finding(Severity.PROVEN, rule, entry.author, (entry.seq,), (entry.id,)))
            entries[entry.id] = entry
            last = entry
        check_signature(run[-1].entry)
        authors.add(run[-1].entry.author)
        report.signatures += 1
        report.verified += len(run)
    report.chains = len(authors)
    return entries


def _may_follow(last: Entry, entry: Entry, *, starts: bool) -> bool:
    """Tell whether `entry` may stand behind `last` in the file: linked, unless a run starts."""
    if entry.author == last.author and entry.seq == last.seq + 1:
        return entry.body.prev == last.id
    return starts and (last.author, last.seq) < (entry.author, entry.seq)


def _shows_what_it_names(payload: bytes, entry: Entry) -> bool:
    if entry.body.type == EntryType.GENESIS:
        return opens(payload, entry)
    return entry.body.type != EntryType.PROPOSE or agrees(payload, entry)


def _check_subject(bundle: Bundle, entries: dict[bytes, Entry], proven: Iterable[Verified]) -> None:
    entry = entries.get(bundle.subject)
    match bundle.about:
        case About.ENTRY:
            fits = entry is not None
        case About.LOT:
            fits = entry is not None and entry.body.type == EntryType.OFFER
        case About.TRADE:
            fits = entry is not None and entry.body.type == EntryType.PROPOSE
        case About.AUTHOR:
            fits = any(verified.author == bundle.subject for verified in proven)
        case _:
            assert_never(bundle.about)
    if not fits:
        raise RemoteError(Code.BAD_FIELD, "a bundle without what it is about")


def _check_chains(
    bundle: Bundle, entries: dict[bytes, Entry], report: Report
) -> tuple[LotStock, ...]:
    """Hold the entries of each chain against each other, as far as they are there."""
    lots: list[LotStock] = []
    # Runs are in order, and entries were put in as they came.
    for author, group in groupby(entries.values(), lambda entry: entry.author):
        chain = {entry.seq: entry for entry in group}
        for before, after in pairwise(chain.values()):
            if after.seq == before.seq + 1 and after.at_ms < before.at_ms:
                seqs = (before.seq, after.seq)
                report.add(Finding(Severity.PROVEN, str(ChainRule.TIME), author, seqs))
        lots += _check_stock(bundle, chain, report)
    return tuple(lots)


def _check_stock(bundle: Bundle, chain: dict[int, Entry], report: Report) -> list[LotStock]:
    lots: dict[int, LotStock] = {}
    reserves: dict[int, Reserve] = {}
    for entry in filter(carries_stock, chain.values()):
        body = entry.body
        lot_seq, previous, reserve_seq = body.stock[:3]
        offer = body.type == EntryType.OFFER
        lot = None if offer else lots.get(lot_seq)
        if lot is None and not offer:
            # Of a lot that is not shown from its offer on, nothing can be said.
            continue
        if lot is not None and previous > lot.last_seq and previous not in chain:
            if bundle.about is About.LOT and lot.lot_id == bundle.subject:
                text = f"the lot's entries before {entry.seq} are not all there"
                report.missing += 1
                report.add(Finding(Severity.INCOMPLETE, text, entry.author, (previous,)))
            del lots[lot_seq]
            continue
        step = apply(lot, reserves.get(reserve_seq), entry)
        if isinstance(step, StockBreach):
            report.add(Finding(Severity.PROVEN, str(step.rule), entry.author, step.accused))
            lots.pop(lot_seq, None)
            continue
        lots[step.lot.lot_seq] = step.lot
        if step.reserve is not None:
            reserves[step.reserve.seq] = step.reserve
    return list(lots.values())


def _check_trades(
    bundle: Bundle,
    entries: dict[bytes, Entry],
    proven: Iterable[Verified],
    report: Report,
    now_ms: int,
) -> State | None:
    told = {(verified.author, verified.rule) for verified in proven}
    state: State | None = None
    behind: dict[bytes, list[Entry]] = {}
    """The entries that name an entry first: of a propose its trade, of a lot its adjusts."""
    for entry in entries.values():
        if entry.body.refs:
            behind.setdefault(entry.body.refs[0], []).append(entry)
    for propose in entries.values():
        if propose.body.type != EntryType.PROPOSE:
            continue
        about = bundle.about is About.TRADE and propose.id == bundle.subject
        named = [*behind.get(propose.id, ())]
        for lot in propose.body.refs:
            named += [entries[lot]] if lot in entries else []
            named += behind.get(lot, ())
        trade = fold(propose, named, now_ms)
        report.trades += 1
        for fault in trade.faults:
            if (fault.accused, fault.rule) not in told:
                report.add(
                    Finding(Severity.PROVEN, fault.rule, fault.accused, entries=fault.evidence)
                )
        if about:
            state = trade.state
            lacking = [leg.lot for leg in trade.legs if leg.offer is None]
            lacking += sorted(trade.unshown)
            report.missing += len(lacking)
            for at in lacking:
                text = "an offer or cause that the trade names is not there"
                report.add(Finding(Severity.INCOMPLETE, text, entries=(propose.id, at)))
    return state
