"""The store that forgets: for simulations and for tests, with SQLite's exact manners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from passby.ledger.chain import Evidence, Head
from passby.ledger.checkpoint import SignedCheckpoint, author_of
from passby.ledger.ingest import Batch, View
from passby.ledger.pruning import to_drop
from passby.ledger.spoken import SpokenCells
from passby.ledger.standing import (
    Device,
    Roots,
    Standing,
    devices_of,
    finishes_among,
    stands_among,
    statement_in,
)
from passby.ledger.store import (
    ABANDONED,
    AmbiguousError,
    Counts,
    Derived,
    Footprint,
    Freed,
    HeldLot,
    Lacking,
    Pruned,
    Stored,
    bounded_run,
    carried_statements,
    checked_payload,
    concerned,
    cut_behind,
    id8,
    newer,
    prefix_bytes,
    replay,
    spare,
    until_ms,
    vouch_in,
)
from passby.ledger.tree import BLOCK, Rows, chain_rows
from passby.ledger.trust import standing_vouches
from passby.ledger.witness import EMPTY, Held
from passby.protocol.entry import Entry, Record, encode_record
from passby.protocol.limits import NOTED_MAX, RUN_MAX, VOUCHES_READ_MAX
from passby.protocol.statements import Statement
from passby.protocol.stock import LotStock, Reserve
from passby.protocol.types import NOTED_TYPES, PLACED_TYPES, TRADE_TYPES, EntryType, noted_key


class MemoryStore:
    """A `Store` in dictionaries; a durable commit is as durable as the process."""

    def __init__(self) -> None:
        self._chains: dict[bytes, list[Record | None]] = {}
        # author -> last seq of a pruned block -> its root; what was pruned is None in the chain.
        self._pruned: dict[bytes, dict[int, bytes]] = {}
        self._pruned_lots: dict[bytes, set[int]] = {}
        self._pruned_under: dict[bytes, SignedCheckpoint] = {}
        self._checked: dict[bytes, set[int]] = {}
        self._checked_to: dict[bytes, int] = {}
        self._garbled: set[tuple[bytes, int]] = set()
        self._by_id: dict[bytes, tuple[bytes, int]] = {}
        self._erased: set[bytes] = set()
        self._evidence: dict[bytes, Evidence] = {}
        self._lots: dict[tuple[bytes, int], LotStock] = {}
        self._reserves: dict[tuple[bytes, int], Reserve] = {}
        self._trades: dict[bytes, list[bytes]] = {}
        self._vouches: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
        self._checkpoints: dict[bytes, SignedCheckpoint] = {}
        self._witnessed: dict[str, Held] = {}
        self._spoken = SpokenCells(self._entry)
        self._roots = Roots(
            (), lambda author: self.record_at(author, 1), self._evidence.get, self._entries_from
        )

    # --- what verdicts depend on -------------------------------------------------------
    def view(self, records: Iterable[Record]) -> View:
        """As `Store.view`."""
        del records
        return self

    def head(self, author: bytes) -> Head | None:
        """As `Reader.head`."""
        chain = self._chains.get(author)
        last = chain[-1] if chain else None
        return Head(last.entry.seq, last.entry.id, last.entry.at_ms) if last is not None else None

    def _held(self, author: bytes) -> Iterator[Record]:
        return (record for record in self._chains.get(author, ()) if record is not None)

    def frozen_from(self, author: bytes) -> int | None:
        """As `View.frozen_from`."""
        evidence = self._evidence.get(author)
        if evidence is None or self.standing(author).heal is not None:
            return None
        return evidence.seq

    def standing(self, author: bytes) -> Standing:
        """As `View.standing`."""
        return self._roots.standing(author)

    def person_of(self, author: bytes) -> bytes:
        """As `View.person_of`."""
        return self._roots.person_of(author)

    def stands(self, entry: Entry) -> bool:
        """As `View.stands`."""
        return stands_among(entry, self.trade, self.person_of)

    def finishes(self, entry: Entry) -> bool:
        """As `View.finishes`."""
        return finishes_among(entry, self.trade)

    def _entries_from(self, author: bytes, seq: int) -> Iterator[Entry]:
        return (record.entry for record in _in_a_row(self._chains.get(author, [])[seq - 1 :]))

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """As `Reader.record_at`."""
        chain = self._chains.get(author, [])
        return chain[seq - 1] if 1 <= seq <= len(chain) else None

    def lot_at(self, author: bytes, lot_seq: int) -> LotStock | None:
        """As `View.lot_at`."""
        return self._lots.get((author, lot_seq))

    def reserve_at(self, author: bytes, seq: int) -> Reserve | None:
        """As `View.reserve_at`."""
        return self._reserves.get((author, seq))

    # --- writing -----------------------------------------------------------------------
    def commit(self, batches: Sequence[Batch], *, durable: bool) -> None:
        """As `Store.commit`."""
        del durable
        for batch in batches:
            for appended in batch.appended:
                self._append(appended.record, checked=appended.checked)
            for record in batch.payloads:
                self._give_payload(record)
            self._lots.update(batch.lots)
            self._reserves.update(batch.reserves)
            for evidence in batch.evidence:
                held = self._evidence.get(evidence.author)
                healed = self.standing(evidence.author).heal is not None
                if held is None or healed or evidence.seq < held.seq:
                    self._evidence[evidence.author] = evidence
            for statement in batch.statements:
                self._roots.add(statement)
            for author in concerned(batch, self._roots):
                self._settle(author)

    def add_statement(self, statement: Statement) -> bool:
        """As `Store.add_statement`."""
        added = self._roots.add(statement)
        if added:
            self._settle(statement.device)
        return added

    def _settle(self, author: bytes) -> None:
        """Let statements have their effect on the author's chain."""
        self._roots.look_again(author)
        heal = self.standing(author).heal
        held = self.record_at(author, heal.seq) if heal is not None else None
        if heal is not None and held is not None and held.entry.id != heal.id:
            self.cut(author, heal.seq - 1, ABANDONED)
            kept = self.checkpoint(author)
            if kept is not None and kept.head.size >= heal.seq:
                del self._checkpoints[author]
            # A proof from further up has one side in the branch that was given up.
            if author in self._evidence and self._evidence[author].seq > heal.seq:
                del self._evidence[author]
            self._roots.look_again(author)

    def _append(self, record: Record, *, checked: bool) -> None:
        entry = record.entry
        chain = self._chains.setdefault(entry.author, [])
        assert entry.seq == len(chain) + 1, "a batch committed to a store it was not made for"
        chain.append(Record(entry) if entry.id in self._erased else record)
        self._by_id[entry.id] = (entry.author, entry.seq)
        if checked:
            self._checked.setdefault(entry.author, set()).add(entry.seq)
        self._index(record)
        self._spoken.take(entry)

    def _entry(self, entry_id: bytes) -> Entry | None:
        record = self.record(entry_id)
        return record.entry if record is not None else None

    def _index(self, record: Record) -> None:
        body = record.entry.body
        if body.type == EntryType.VOUCH:
            self._vouches.setdefault(body.author, {})[body.seq] = vouch_in(record.entry)
        elif body.type in NOTED_TYPES:
            key = noted_key(body.type, body.refs[0])
            self._trades.setdefault(key, []).append(record.entry.id)
        elif body.type in TRADE_TYPES:
            propose = record.entry.id if body.type == EntryType.PROPOSE else body.refs[0]
            self._trades.setdefault(propose, []).append(record.entry.id)

    def _give_payload(self, record: Record) -> bool:
        held = self.record(record.entry.id)
        if held is None or record.entry.id in self._erased:
            return False
        self._replace(Record(held.entry, record.salt, record.payload))
        return True

    def _replace(self, record: Record) -> None:
        self._chains[record.entry.author][record.entry.seq - 1] = record

    def add_payload(self, entry_id: bytes, salt: bytes, payload: bytes) -> bool:
        """As `Store.add_payload`."""
        held = self.record(entry_id)
        return held is not None and self._give_payload(checked_payload(held, salt, payload))

    def mark_checked(
        self, author: bytes, to_seq: int | None, good: Sequence[int], garbled: Sequence[int]
    ) -> None:
        """As `Store.mark_checked`."""
        length = len(self._chains.get(author, ()))
        self._checked_to[author] = length if to_seq is None else min(to_seq, length)
        self._checked.setdefault(author, set()).update(good)
        self._garbled.update((author, seq) for seq in garbled)

    def sign_again(self, entry: Entry) -> bool:
        """As `Store.sign_again`."""
        held = self.record_at(entry.author, entry.seq)
        if held is None or held.entry.id != entry.id:
            return False
        self._replace(Record(entry, held.salt, held.payload))
        self._checked.setdefault(entry.author, set()).add(entry.seq)
        self._garbled.discard((entry.author, entry.seq))
        return True

    def erase_payload(self, entry_id: bytes) -> bool:
        """As `Store.erase_payload`."""
        held = self.record(entry_id)
        if held is None:
            return False
        self._erased.add(entry_id)
        self._replace(Record(held.entry))
        return True

    def keep_checkpoint(self, signed: SignedCheckpoint) -> bool:
        """As `Store.keep_checkpoint`."""
        author = author_of(signed.head.origin)
        kept = newer(self.checkpoint(author), signed)
        if kept is not None:
            self._checkpoints[author] = kept
        return kept is not None

    def witness(self, origin: str, held: Held, new: Held) -> bool:
        """As `Store.witness`."""
        if self.witnessed(origin) != held:
            return False
        self._witnessed[origin] = new
        return True

    def prune(self, author: bytes, blocks: Iterable[int]) -> Freed:
        """As `Store.prune`."""
        entries = size = 0
        for dropped in to_drop(self, author, blocks):
            for record in dropped.records:
                self._chains[author][record.entry.seq - 1] = None
                del self._by_id[record.entry.id]
                size += record.size
            entries += len(dropped.records)
            self._pruned.setdefault(author, {})[dropped.last] = dropped.root
            self._pruned_lots.setdefault(author, set()).update(dropped.lots)
            self._pruned_under[author] = dropped.under
            if dropped.vouched is not None:
                self._checked.setdefault(author, set()).add(dropped.vouched)
        if entries:
            self._refold()
        return Freed(entries, size)

    def _forget_pruned(self, author: bytes) -> None:
        self._pruned.pop(author, None)
        self._pruned_lots.pop(author, None)
        self._pruned_under.pop(author, None)

    def cut(self, author: bytes, after_seq: int, why: str) -> None:
        """As `Store.cut`."""
        del why
        lots = {seq: lot for (key, seq), lot in self._lots.items() if key == author}
        after_seq = cut_behind(self.pruned(author), lots, after_seq)
        chain = self._chains.get(author, [])
        for record in chain[after_seq:]:
            if record is not None:
                del self._by_id[record.entry.id]
        del chain[after_seq:]
        if after_seq == 0:
            self._forget_pruned(author)
        if not chain:
            self._chains.pop(author, None)
        self._checked[author] = {seq for seq in self._checked.get(author, ()) if seq <= after_seq}
        self._checked_to[author] = min(self._checked_to.get(author, 0), after_seq)
        self._garbled = {
            held for held in self._garbled if held[0] != author or held[1] <= after_seq
        }
        self._refold()
        self._spoken.drop(author)
        for record in self._held(author):
            self._spoken.take(record.entry)

    def set_aside(self, most: int) -> list[Record]:
        """As `Store.set_aside`; nothing is, since memory is not damaged."""
        del most
        return []

    def forget(self, authors: Iterable[bytes]) -> list[bytes]:
        """As `Store.forget`."""
        gone = [author for author in authors if author in self._chains]
        records = [record for author in gone for record in self._held(author)]
        carried = [statement_in(record) for record in records]
        for author in gone:
            for record in self._held(author):
                del self._by_id[record.entry.id]
            del self._chains[author]
            self._forget_pruned(author)
            self._checked.pop(author, None)
            self._checked_to.pop(author, None)
            self._garbled = {held for held in self._garbled if held[0] != author}
            self._evidence.pop(author, None)
            self._checkpoints.pop(author, None)
        self._roots.remove(spare(carried, self._roots, self._chains.__contains__))
        for author in gone:
            self._roots.look_again(author)
            self._spoken.drop(author)
        self._refold()
        return [r.entry.id for r in records if r.entry.body.type in PLACED_TYPES]

    def rebuild(self) -> None:
        """As `Store.rebuild`."""
        self._refold()
        for statement in carried_statements(self):
            self._roots.add(statement)
        for device in {statement.device for statement in self._roots.about(None)}:
            self._settle(device)
        self._spoken = SpokenCells(self._entry)
        for author in self._chains:
            for record in self._held(author):
                self._spoken.take(record.entry)

    def _refold(self) -> None:
        gone = {(author, seq) for author, lots in self._pruned_lots.items() for seq in lots}
        self._lots = {place: lot for place, lot in self._lots.items() if place in gone}
        self._reserves = {
            (author, seq): held
            for (author, seq), held in self._reserves.items()
            if (author, held.lot_seq) in gone
        }
        self._trades, self._vouches = {}, {}
        for author in self._chains:
            for record in self._held(author):
                self._index(record)
            lots, reserves = replay(
                (record.entry for record in self._held(author)), self.pruned(author).lots
            )
            self._lots.update({(author, seq): lot for seq, lot in lots.items()})
            self._reserves.update({(author, seq): held for seq, held in reserves.items()})

    # --- reading -----------------------------------------------------------------------
    def heads(self) -> Iterator[tuple[bytes, Head]]:
        """As `Reader.heads`."""
        for author in sorted(self._chains):
            head = self.head(author)
            if head is not None:
                yield author, head

    def record(self, entry_id: bytes) -> Record | None:
        """As `Reader.record`."""
        place = self._by_id.get(entry_id)
        return self.record_at(*place) if place is not None else None

    def may_hold(self, ids: Sequence[bytes]) -> set[bytes]:
        """As `Reader.may_hold`."""
        return {entry_id for entry_id in ids if entry_id in self._by_id}

    def find(self, prefix: str) -> Record | None:
        """As `Reader.find`."""
        prefix_bytes(prefix)
        found = [entry_id for entry_id in self._by_id if entry_id.hex().startswith(prefix.lower())]
        if len(found) > 1:
            raise AmbiguousError(prefix, found)
        return self.record(found[0]) if found else None

    def run(self, author: bytes, from_seq: int, to_seq: int, max_bytes: int) -> list[Record]:
        """As `Reader.run`."""
        checked = self._checked.get(author, set())
        chain = _in_a_row(self._chains.get(author, [])[max(from_seq, 1) - 1 :][:RUN_MAX])
        found = (
            (record, record.entry.seq, record.size, record.entry.seq in checked) for record in chain
        )
        return bounded_run(found, to_seq, max_bytes)

    def packed_run(self, author: bytes, from_seq: int, to_seq: int, max_bytes: int) -> list[bytes]:
        """As `Reader.packed_run`."""
        return [encode_record(record) for record in self.run(author, from_seq, to_seq, max_bytes)]

    def stored(self, author: bytes, from_seq: int, most: int) -> list[Stored]:
        """As `Reader.stored`."""
        checked = self._checked.get(author, set())
        found: list[Stored] = []
        for seq, record in enumerate(self._chains.get(author, [])[from_seq - 1 :][:most], from_seq):
            if record is None:
                break
            carried = record.salt + record.payload if record.salt and record.payload else None
            found.append((seq, record.entry.raw, carried, id8(record.entry.id), seq in checked))
        return found

    def log(self, author: bytes, before_seq: int | None, limit: int) -> list[Record]:
        """As `Reader.log`."""
        chain = self._chains.get(author, [])
        below = chain if before_seq is None else chain[: max(before_seq - 1, 0)]
        return [record for record in below[::-1] if record is not None][:limit]

    def evidence(self, author: bytes | None = None) -> list[Evidence]:
        """As `Reader.evidence`."""
        return [
            self._evidence[key] for key in sorted(self._evidence) if author is None or key == author
        ]

    def frozen(self) -> dict[bytes, int]:
        """As `Reader.frozen`."""
        found = ((author, self.frozen_from(author)) for author in self._evidence)
        return {author: seq for author, seq in found if seq is not None}

    def sealed(self) -> dict[bytes, int]:
        """As `Reader.sealed`."""
        found = {one.device: self.standing(one.device).seal for one in self._roots.about(None)}
        return {author: seal.seq for author, seal in found.items() if seal is not None}

    def statements(self, device: bytes | None = None) -> list[Statement]:
        """As `Reader.statements`."""
        return self._roots.about(device)

    def devices(self, root: bytes) -> list[Device]:
        """As `Reader.devices`."""
        return devices_of(root, self._chains, lambda author: self.record_at(author, 1), self._roots)

    def _is_open(self, author: bytes) -> bool:
        return self.frozen_from(author) is None and self.standing(author).seal is None

    def lot(self, offer_id: bytes) -> LotStock | None:
        """As `Reader.lot`."""
        place = self._by_id.get(offer_id)
        return self._lots.get(place) if place is not None else None

    def open_lots(self, now_ms: int) -> Iterator[HeldLot]:
        """As `Reader.open_lots`."""
        for (author, seq), stock in list(self._lots.items()):
            record = self.record_at(author, seq)
            if record is None or not self._is_open(author) or not stock.remaining:
                continue
            until_ms = record.entry.body.facts[1]
            if isinstance(until_ms, int) and until_ms > now_ms:
                yield HeldLot(record, stock)

    def open_requests(self, now_ms: int) -> Iterator[Record]:
        """As `Reader.open_requests`."""
        for author in list(self._chains):
            if not self._is_open(author):
                continue
            for record in list(self._held(author)):
                body = record.entry.body
                if body.type == EntryType.REQUEST:
                    until_ms = body.facts[1]
                    if isinstance(until_ms, int) and until_ms > now_ms:
                        yield record

    def trade(self, propose_id: bytes) -> list[Record]:
        """As `Reader.trade`."""
        found = (self.record(entry_id) for entry_id in self._trades.get(propose_id, []))
        return [record for record in found if record is not None]

    def noted(self, kind: EntryType, subject: bytes, author: bytes) -> list[Record]:
        """As `Reader.noted`."""
        found = (self.record(held) for held in self._trades.get(noted_key(kind, subject), []))
        mine = [record for record in found if record and record.entry.author == author]
        return sorted(mine, key=lambda record: record.entry.seq)[:NOTED_MAX]

    def steps(self, propose_id: bytes, author: bytes, most: int) -> list[Record]:
        """As `Reader.steps`."""
        mine = [record for record in self.trade(propose_id) if record.entry.author == author]
        return sorted(mine, key=lambda record: record.entry.seq)[:most]

    def trades(self, since_ms: int) -> list[bytes]:
        """As `Reader.trades`."""
        held = (self.record(propose) for propose in self._trades)
        dated = [
            (record.entry.at_ms, record.entry.id)
            for record in held
            if record is not None and record.entry.body.type == EntryType.PROPOSE
        ]
        return [found for at_ms, found in sorted(dated, reverse=True) if at_ms >= since_ms]

    def vouched_by(self, author: bytes) -> list[bytes]:
        """As `Reader.vouched_by`."""
        given = self._vouches.get(author, {})
        return standing_vouches(given[seq] for seq in sorted(given)[-VOUCHES_READ_MAX:])

    def spoken(self, author: bytes) -> dict[int, int]:
        """As `Reader.spoken`."""
        return self._spoken.of(author)

    def spoken_since(self, number: int) -> list[tuple[int, bytes, int]]:
        """As `Reader.spoken_since`."""
        return self._spoken.since(number)

    def footprint(self, author: bytes) -> Footprint:
        """As `Reader.footprint`."""
        chain = list(self._held(author))
        placed = (r.entry.body.facts[0] for r in chain if r.entry.body.type in PLACED_TYPES)
        cell = next(placed, None)
        return Footprint(sum(r.size for r in chain), cell if isinstance(cell, int) else None)

    def erased(self, author: bytes) -> frozenset[int]:
        """As `Reader.erased`."""
        return frozenset(r.entry.seq for r in self._held(author) if r.entry.id in self._erased)

    def lacking(self, after: int, most: int) -> list[Lacking]:
        """As `Reader.lacking`."""
        found: list[Lacking] = []
        for place, (entry_id, (author, seq)) in enumerate(self._by_id.items(), 1):
            record = self.record_at(author, seq)
            if place <= after or record is None:
                continue
            lost = (
                record.payload is None
                and record.entry.body.payload_hash is not None
                and entry_id not in self._erased
            )
            if lost or (author, seq) in self._garbled:
                found.append(Lacking(place, entry_id))
        return found[:most]

    def unchecked(self) -> tuple[bytes, int] | None:
        """As `Reader.unchecked`."""
        for author, chain in self._chains.items():
            looked = self._checked_to.get(author, 0)
            if looked < len(chain):
                return author, looked + 1
        return None

    def stretch(self, author: bytes, from_seq: int, most: int) -> list[tuple[Entry, bool]]:
        """As `Reader.stretch`."""
        checked = self._checked.get(author, set())
        chain = self._chains.get(author, [])[from_seq - 1 :][:most]
        return [(held.entry, held.entry.seq in checked) for held in chain if held is not None]

    def derived(self, author: bytes) -> Derived:
        """As `Reader.derived`."""
        entries = [record.entry for record in self._held(author)]
        dated = (EntryType.OFFER, EntryType.REQUEST)
        return Derived(
            {seq: lot for (key, seq), lot in self._lots.items() if key == author},
            {seq: held for (key, seq), held in self._reserves.items() if key == author},
            {entry.seq: until_ms(entry) for entry in entries if entry.body.type in dated},
            {entry.seq: entry.at_ms for entry in entries if entry.body.type == EntryType.PROPOSE},
            dict(self._vouches.get(author, {})),
        )

    def tree(self, author: bytes) -> Rows:
        """As `Reader.tree`."""
        chain, pruned = self._chains.get(author, []), self._pruned.get(author, {})
        return chain_rows(
            lambda start, end: [record.entry.id for record in _in_a_row(chain[start:end])],
            lambda start, end: {
                at: pruned[last] for at in range(start, end) if (last := (at + 1) * BLOCK) in pruned
            },
            len(chain),
        )

    def pruned(self, author: bytes) -> Pruned:
        """As `Reader.pruned`."""
        blocks, lots = self._pruned.get(author, ()), self._pruned_lots.get(author, ())
        return Pruned(frozenset(blocks), frozenset(lots), self._pruned_under.get(author))

    def checkpoint(self, author: bytes) -> SignedCheckpoint | None:
        """As `Reader.checkpoint`."""
        return self._checkpoints.get(author)

    def witnessed(self, origin: str) -> Held:
        """As `Reader.witnessed`."""
        return self._witnessed.get(origin, EMPTY)

    def all_witnessed(self) -> list[tuple[str, Held]]:
        """As `Reader.all_witnessed`."""
        return sorted(self._witnessed.items())

    def counts(self) -> Counts:
        """As `Reader.counts`."""
        records = [record for author in self._chains for record in self._held(author)]
        return Counts(
            authors=len(self._chains),
            entries=len(records),
            lots=len(self._lots),
            trades=len(self.trades(0)),
            frozen=len(self.frozen()),
            bytes=sum(record.size for record in records),
        )

    def structure(self) -> list[str]:
        """As `Reader.structure`."""
        return []

    def integrity(self) -> list[str]:
        """As `Reader.integrity`."""
        return []

    def close(self) -> None:
        """As `Reader.close`."""


def _in_a_row(chain: Sequence[Record | None]) -> Iterator[Record]:
    """Yield records up to the first that was pruned."""
    for record in chain:
        if record is None:
            return
        yield record
