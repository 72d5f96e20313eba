"""One chain, verified again from its stored bytes.

Nothing is believed because it was stored. Every entry is read, hashed and linked anew, and
its stock rule folded anew. A signature is checked at the end of every run that the store
gives (256 entries at most), or at each entry if so asked; it vouches for all entries that
link to it.

Whoever is accused must have signed it. A flipped bit can look like a lie, so a breach is
reported only where signatures vouch for every accused entry, and of lots that were opened
after the last damage; before that the missing part might explain it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from passby.ledger.audit_source import AuditSource
from passby.ledger.chain import ChainRule, Head
from passby.ledger.findings import Finding, Report, Severity
from passby.ledger.standing import statement_in
from passby.ledger.store import NOTHING_PRUNED, Pruned, Stored, id8, until_ms, vouch_in
from passby.ledger.tree import BLOCK, block_of
from passby.protocol.codec import decode, encode
from passby.protocol.entry import SALT_BYTES, Entry, Record, carried_hash, entry_id, parse_entry
from passby.protocol.errors import DamagedError, RemoteError
from passby.protocol.keys import SIGNATURE_BYTES, Certificate, certificate_commitment, verify
from passby.protocol.limits import PAYLOAD_MAX, RUN_MAX
from passby.protocol.payloads import Genesis, decode_payload
from passby.protocol.statements import Statement
from passby.protocol.stock import (
    STOCK_TYPES,
    LotStock,
    Reserve,
    StockBreach,
    apply,
)
from passby.protocol.types import PLACED_TYPES, TRADE_TYPES, EntryType, check_form

F = TypeVar("F", LotStock, Reserve)
SEQS_SHOWN: Final = 8
"""Places of one finding: enough to look at."""
# By name: a member of an enum is looked up for longer than a hash takes.
_GENESIS: Final = EntryType.GENESIS
_OFFER: Final = EntryType.OFFER
_PROPOSE: Final = EntryType.PROPOSE
_STATEMENT: Final = EntryType.STATEMENT
_PAYLOAD_TYPES: Final = frozenset({_GENESIS, _PROPOSE, _STATEMENT})
"""Types whose payload is held against the entry that it came with, or read."""
_FOLDED_TYPES: Final = PLACED_TYPES | {EntryType.PROPOSE, EntryType.VOUCH}
"""Types of which a store keeps a fold of their own, besides stock."""
GAP_MAX: Final = 4096
"""Places looked at in a row without an entry, before the rest of a chain counts as missing: a
flipped bit in a stored head would otherwise have us look at four thousand million."""


class _Accusation(NamedTuple):
    rule: str
    accused: tuple[int, ...]


class ChainAudit:
    """The replay of one chain, and what it came to.

    Args:
        author: whose chain.
        report: where counts and findings go.
        each: check every signature, not only those at the ends of runs.
    """

    def __init__(self, author: bytes, report: Report, *, each: bool) -> None:
        self.author = author
        self.last: Entry | None = None
        self.lots: dict[int, LotStock] = {}
        self.reserves: dict[int, Reserve] = {}
        self.trade_entries: dict[bytes, bytes] = {}
        """Own id -> propose id, of every entry of a trade that a signature vouches for."""
        self.offers: set[bytes] = set()
        """Ids of the offers that a signature vouches for."""
        self.statements: dict[int, Statement] = {}
        """Root statements that its entries carry, by seq."""
        self.ids: list[bytes | None] = []
        """The id of each entry, None where none was read."""
        self.skipped: set[int] = set()
        """The last seqs of the blocks that were pruned."""
        self.pruned_to_ms = 0
        """Until when entries may have been pruned."""
        self.gone: set[int] = set()
        """Lots that cannot be followed, since entries of theirs were pruned."""
        self._report = report
        self._each = each
        self._pending: list[bytes] = []
        """Entries up to `last`, each linked to the one before, that no signature covers yet."""
        self._accusations: list[_Accusation] = []
        self._doubtful: set[int] = set()
        self._damaged_to = 0
        """The last seq that is missing, unreadable or vouched for by nobody."""
        self._gaps: list[tuple[int, int]] = []
        self._broken_lots: set[int] = set()
        self._erased: frozenset[int] = frozenset()
        self._until_ms: dict[int, int] = {}
        self._proposes: dict[int, int] = {}
        self._vouches: dict[int, tuple[bytes, bool]] = {}

    @property
    def whole(self) -> bool:
        """Whether every entry up to the last is there and vouched for."""
        return not self._damaged_to

    def id_row(self, start: int, end: int) -> list[bytes]:
        """Return the ids behind `start` up to `end`, up to the first that was not read."""
        row: list[bytes] = []
        for found in self.ids[start:end]:
            if found is None:
                break
            row.append(found)
        return row

    def run(self, source: AuditSource, head: Head, progress: Callable[[int], None]) -> None:
        """Replay the chain that the store says ends in `head`."""
        seq = 1
        empty = 0
        self._erased = source.erased(self.author)
        pruned = self._read_pruned(source)
        while True:
            try:
                found = source.stored(self.author, seq, RUN_MAX)
            except DamagedError:
                found = []
            if found:
                empty = 0
                self._take_all(found)
                seq += len(found)
                progress(len(found))
                continue
            if seq > head.seq:
                break
            if seq + BLOCK - 1 in pruned.blocks:
                self._skip(seq)
                seq += BLOCK
                progress(BLOCK)
                continue
            if empty >= GAP_MAX:
                self._lack(seq, head.seq)
                break
            for _ in range(min(RUN_MAX, head.seq - seq + 1)):
                empty = 0 if self._take_one(source, seq) else empty + 1
                seq += 1
                progress(1)
        self._settle()
        self._tell_gaps()
        self._accuse()
        self._compare(source, head)

    def _read_pruned(self, source: AuditSource) -> Pruned:
        try:
            pruned = source.pruned(self.author)
        except DamagedError:
            # Said where the chain's tree is judged.
            return NOTHING_PRUNED
        self.gone.update(pruned.lots)
        return pruned

    def _skip(self, seq: int) -> None:
        """Pass over the block that begins at `seq`: what is left before it vouches for itself."""
        self._settle()
        self.skipped.add(seq + BLOCK - 1)

    def _is_gone(self, stock: tuple[int, ...]) -> bool:
        """Tell whether a lot cannot be followed, since something that its entry names went."""
        lot_seq, previous_seq, reserve_seq, *_ = stock
        if lot_seq in self.gone:
            return True
        if any(block_of(seq) in self.skipped for seq in (lot_seq, previous_seq, reserve_seq)):
            self.gone.add(lot_seq)
            return True
        return False

    def _take_one(self, source: AuditSource, seq: int) -> bool:
        """Read one place by itself, for the rest of its run cannot be read."""
        try:
            found = source.stored(self.author, seq, 1)
        except DamagedError as error:
            self._damage(seq, error.message)
            return True
        if not found:
            self._lack(seq, seq)
            return False
        self._take_all(found)
        return True

    # --- one entry ---------------------------------------------------------------------

    def _take_all(self, found: Sequence[Stored]) -> None:
        """Take entries that lie in a row, and check the last signature that was checked before."""
        # One loop with few calls and with names of its own: what is here, each entry costs.
        author, ids, each = self.author, self.ids, self._each
        signed = next((seq for seq, *_, checked in reversed(found) if checked), 0)
        last = self.last
        for seq, raw, carried, head8, _ in found:
            try:
                entry = parse_entry(raw)
                body = entry.body
                check_form(body)
            # A flipped bit can give a column another type than its table has.
            except (RemoteError, TypeError) as error:
                self._damage(seq, f"entry {seq} is not one: {error}")
                continue
            found_id, kind, stock = entry.id, body.type, body.stock
            if body.seq != seq or body.author != author or id8(found_id) != head8:
                self._damage(seq, f"entry {seq} is not the one that came to be there")
                continue
            if len(ids) == seq - 1:
                ids.append(found_id)
            else:
                self._place(entry)
            if last is not None and (body.prev != last.id or body.at_ms < last.body.at_ms):
                self._take_misfit(last, entry)
            if carried or body.payload_hash is not None:
                self._take_payload(seq, carried, entry)
            if stock and kind in STOCK_TYPES and stock[0] > self._damaged_to:
                self._take_stock(stock[0], stock[2], entry)
            if kind in TRADE_TYPES and kind != _PROPOSE:
                self.trade_entries[found_id] = body.refs[0]
            elif kind in _FOLDED_TYPES:
                self._take_fold(seq, entry)
            self.last = last = entry
            self._pending.append(raw)
            if each or seq == signed:
                self._check_last()

    def _place(self, entry: Entry) -> None:
        """Take an entry's id behind a gap."""
        seq = entry.body.seq
        self.ids += [None] * (seq - 1 - len(self.ids)) + [entry.id]
        if seq - 1 in self.skipped:
            self.pruned_to_ms = entry.body.at_ms

    def _take_misfit(self, last: Entry, entry: Entry) -> None:
        """Take note that `entry` does not follow the last one that could be read."""
        seq = entry.seq
        if last.seq != seq - 1:
            return
        if entry.body.prev == last.id:
            self._accusations.append(_Accusation(str(ChainRule.TIME), (seq - 1, seq)))
            return
        # Whichever of the two a signature vouches for is the one that is whole.
        self._settle()
        self._note(Severity.CORRUPT, f"entry {seq} does not name the one before it", seq)
        self._damaged_to = max(self._damaged_to, seq - 1)

    def _take_fold(self, seq: int, entry: Entry) -> None:
        kind = entry.body.type
        if kind == _PROPOSE:
            self._proposes[seq] = entry.at_ms
            self.trade_entries[entry.id] = entry.id
        elif kind == EntryType.VOUCH:
            self._vouches[seq] = vouch_in(entry)
        else:
            self._until_ms[seq] = until_ms(entry)
            if kind == _OFFER:
                self.offers.add(entry.id)

    def _take_payload(self, seq: int, carried: bytes | None, entry: Entry) -> None:
        body = entry.body
        if not carried:
            if seq in self._erased:
                self._report.erased += 1
            else:
                self._report.unsent += 1
            return
        if body.payload_hash is None:
            self._note(Severity.CORRUPT, f"entry {seq} has a payload it does not name", seq)
            return
        if seq in self._erased:
            self._note(Severity.CORRUPT, f"the payload of entry {seq} was erased, and is here", seq)
        if (
            type(carried) is not bytes
            or len(carried) != SALT_BYTES + body.payload_len
            or carried_hash(carried) != body.payload_hash
        ):
            self._note(Severity.CORRUPT, f"the payload of entry {seq} is not the one it names", seq)
        elif body.type in _PAYLOAD_TYPES:
            self._read_payload(seq, carried, entry)

    def _read_payload(self, seq: int, carried: bytes, entry: Entry) -> None:
        """Hold a payload that is the one committed to against what the entry says itself."""
        kind = entry.body.type
        if kind == _STATEMENT:
            self._take_statement(Record(entry, carried[:SALT_BYTES], carried[SALT_BYTES:]))
        elif kind == _GENESIS and not opens(carried[SALT_BYTES:], entry):
            self._accusations.append(_Accusation("a certificate that is not the device's", (1,)))
        elif kind == _PROPOSE and not agrees(carried[SALT_BYTES:], entry):
            self._accusations.append(
                _Accusation("terms that are not those of its terms hash", (seq,))
            )

    def _take_statement(self, record: Record) -> None:
        entry, statement = record.entry, statement_in(record)
        if statement is not None:
            self.statements[entry.seq] = statement
        else:
            self._note(Severity.NOTED, "what it carries is no root statement", entry.seq)

    def _take_stock(self, lot_seq: int, reserve_seq: int, entry: Entry) -> None:
        if lot_seq in self._broken_lots:
            return
        if (self.skipped or self.gone) and self._is_gone(entry.body.stock):
            return
        judged = apply(self.lots.get(lot_seq), self.reserves.get(reserve_seq), entry)
        if isinstance(judged, StockBreach):
            self._accusations.append(_Accusation(str(judged.rule), judged.accused))
            # What follows in this lot follows from the lie.
            self._broken_lots.add(lot_seq)
            return
        self.lots[lot_seq] = judged.lot
        if judged.reserve is not None:
            self.reserves[judged.reserve.seq] = judged.reserve

    # --- who vouches for what ----------------------------------------------------------

    def _check_last(self) -> None:
        last = self.last
        if not self._pending or last is None:
            return
        if self._signed(self._pending[-1]):
            self._report.verified += len(self._pending)
            self._pending.clear()
        else:
            self._note(
                Severity.CORRUPT, f"the signature of entry {last.seq} does not hold", last.seq
            )

    def _signed(self, raw: bytes) -> bool:
        self._report.signatures += 1
        return verify(self.author, raw)

    def _settle(self) -> None:
        """Nothing more will link to what is pending: let its own signatures vouch for it."""
        pending, self._pending = self._pending, []
        seq = self.last.seq if self.last is not None else 0
        while pending and not self._signed(pending[-1]):
            doubtful = entry_id(pending.pop()[SIGNATURE_BYTES:])
            self.offers.discard(doubtful)
            self.trade_entries.pop(doubtful, None)
            self._report.unverified += 1
            self._doubtful.add(seq)
            self._damaged_to = max(self._damaged_to, seq)
            self._note(Severity.CORRUPT, f"no signature vouches for entry {seq}", seq)
            seq -= 1
        self._report.verified += len(pending)

    def _damage(self, seq: int, text: str) -> None:
        self._settle()
        self._report.unverified += 1
        self._doubtful.add(seq)
        self._damaged_to = seq
        self._note(Severity.CORRUPT, text, seq)

    def _lack(self, from_seq: int, to_seq: int) -> None:
        self._settle()
        self._report.missing += to_seq - from_seq + 1
        self._damaged_to = to_seq
        gap = self._gaps[-1] if self._gaps else None
        if gap is not None and gap[1] == from_seq - 1:
            self._gaps[-1] = (gap[0], to_seq)
        else:
            self._gaps.append((from_seq, to_seq))

    def _tell_gaps(self) -> None:
        for from_seq, to_seq in self._gaps:
            places = (
                f"entry {from_seq} is"
                if from_seq == to_seq
                else f"entries {from_seq} to {to_seq} are"
            )
            self._note(Severity.INCOMPLETE, f"{places} missing", from_seq)

    def _note(self, severity: Severity, text: str, *seqs: int) -> None:
        self._report.add(Finding(severity, text, self.author, seqs))

    def _accuse(self) -> None:
        for rule, accused in self._accusations:
            if not self._doubtful.intersection(accused):
                self._note(Severity.PROVEN, rule, *accused)

    # --- what the store made of it -----------------------------------------------------

    def _compare(self, source: AuditSource, head: Head) -> None:
        last = self.last
        # That the entries up to the head are missing has been said.
        if last is not None and (last.seq >= head.seq or self.whole):
            found = Head(last.seq, last.id, last.at_ms)
            if head != found:
                self._note(Severity.CORRUPT, "the stored head is not the chain's", head.seq)
        if not self.whole:
            return
        try:
            held = source.derived(self.author)
        except DamagedError as error:
            self._note(Severity.CORRUPT, error.message)
            return
        until_ms = held.until_ms
        if self.skipped:
            until_ms = {
                seq: day for seq, day in until_ms.items() if block_of(seq) not in self.skipped
            }
        self._hold("lots", self._followed(self.lots), self._followed(held.lots))
        self._hold("reserves", self._followed(self.reserves), self._followed(held.reserves))
        self._hold("last days", self._until_ms, until_ms)
        self._hold("proposes", self._proposes, held.proposes)
        self._hold("vouches", self._vouches, held.vouches)

    def _followed(self, found: dict[int, F]) -> dict[int, F]:
        """Leave out lots that end in a lie or were pruned; of most chains nothing."""
        apart = self._broken_lots | self.gone
        if not apart:
            return found
        return {seq: one for seq, one in found.items() if one.lot_seq not in apart}

    def _hold(self, what: str, made: Mapping[int, object], stored: Mapping[int, object]) -> None:
        if made == stored:
            return
        differ = [
            seq for seq in sorted(made.keys() | stored.keys()) if made.get(seq) != stored.get(seq)
        ]
        self._note(
            Severity.CORRUPT,
            f"what is stored of its {what} is not what its entries say",
            *differ[:SEQS_SHOWN],
        )


def opens(payload: bytes, entry: Entry) -> bool:
    """Tell whether a genesis' payload shows what the genesis committed to, if it shows any."""
    try:
        shown = decode_payload(payload, Genesis)
    except RemoteError:
        return True
    if shown.certificate is None or shown.certificate_salt is None:
        return True
    try:
        certificate = Certificate.parse(shown.certificate)
    except RemoteError:
        return False
    commitment = certificate_commitment(shown.certificate_salt, shown.certificate)
    return certificate.device == entry.author and entry.body.facts == (commitment,)


def agrees(payload: bytes, entry: Entry) -> bool:
    """Tell whether a propose's terms are those its facts commit to, unknown keys and all.

    A payload that shows no terms is sealed to the parties, and says nothing to others.
    """
    try:
        match decode(payload, PAYLOAD_MAX):
            case {"terms": terms, "terms_salt": bytes(salt)}:
                found = hashlib.sha256(b"\x03" + salt + encode(terms)).digest()
                return entry.body.facts[0] == found
            case _:
                return True
    except RemoteError:
        return True
