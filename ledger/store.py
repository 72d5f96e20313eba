"""What a store promises; memory and SQLite pass one conformance suite.

A store keeps the records of every chain, what its author was proven false by, and folds that
can be built again from the records: lots, reserves, which entries speak of which trade.
One owner writes; `Reader` is what any number of others may do beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias, TypeVar

import msgspec

from passby.ledger.chain import Evidence, Head
from passby.ledger.checkpoint import SignedCheckpoint, merged
from passby.ledger.ingest import Batch, View
from passby.ledger.standing import Device, Roots, statement_in
from passby.ledger.tree import Rows
from passby.ledger.witness import Held
from passby.protocol.entry import HASH_BYTES, SALT_BYTES, Entry, Record, payload_hash
from passby.protocol.errors import Code, RemoteError, UsageError
from passby.protocol.limits import RUN_MAX, SAME_NAME_SHOWN, SEQ_MAX, STATEMENTS_MAX
from passby.protocol.statements import Statement
from passby.protocol.stock import LotStock, Reserve, StockStep, apply, carries_stock
from passby.protocol.types import EntryType

T = TypeVar("T")
_first_eight: Final = struct.Struct(">q").unpack_from
Stored: TypeAlias = tuple[int, bytes, bytes | None, int, int]
"""(seq, raw, carried, id8, checked) of an entry as it lies there, nothing of it verified.

`carried` is salt and payload, None or empty where they never came or were erased; `id8` that of
the entry's id when it came; `checked` whether its own signature was verified then. Where the
disk has flipped a bit, any of them may be of any type."""
UNTIL_MAX: Final = 2**63 - 1
"""The last day of an offer as a store keeps it; SQLite's largest integer."""
ABANDONED: Final = "of a branch that a heal gave up"
"""Why entries were set aside, to whoever looks into the quarantine."""
HELD_ASKED_MAX: Final = 256
"""Ids in one question of what is held: one query, of one size."""
PREFIX_MIN: Final = 4
"""Hex digits of a shortened id: fewer would be ambiguous in any real ledger."""


class HeldLot(msgspec.Struct, frozen=True, gc=False):
    """An open lot: its offer, with the payload where it is held, and what is left of it."""

    record: Record
    stock: LotStock


class Counts(msgspec.Struct, frozen=True):
    """How much a store holds."""

    authors: int
    entries: int
    lots: int
    trades: int
    frozen: int
    bytes: int


class Pruned(msgspec.Struct, frozen=True):
    """What was pruned of one chain, on purpose and behind a checkpoint."""

    blocks: frozenset[int] = frozenset()
    """The last seq of each block of 256 entries that is not held, only the root over it."""
    lots: frozenset[int] = frozenset()
    """Lots, by seq, some of whose entries are among those: what they came to is all there is."""
    under: SignedCheckpoint | None = None
    """The checkpoint by which the last of it went."""


NOTHING_PRUNED: Final = Pruned()


class Freed(msgspec.Struct, frozen=True):
    """What pruning let go of: entries, and the bytes they held."""

    entries: int = 0
    bytes: int = 0


class Derived(msgspec.Struct, frozen=True):
    """What a store made of one chain's entries, by seq; an audit holds it against the entries."""

    lots: dict[int, LotStock] = {}
    reserves: dict[int, Reserve] = {}
    until_ms: dict[int, int] = {}
    """The last day of each offer and request, at most UNTIL_MAX."""
    proposes: dict[int, int] = {}
    """The time of each propose."""
    vouches: dict[int, tuple[bytes, bool]] = {}
    """(who is vouched for, whether it stands) by each vouch."""


class Footprint(msgspec.Struct, frozen=True):
    """What a chain takes up."""

    size: int
    """Bytes of its entries and their payloads."""
    cell: int | None
    """The topic cell of its first offer or request, if it has one."""


class Lacking(msgspec.Struct, frozen=True, gc=False):
    """An entry that is held without what belongs to it; `place` orders them within a store."""

    place: int
    id: bytes


class AmbiguousError(UsageError):
    """A shortened id that several entries share; `ids` are some of them."""

    def __init__(self, prefix: str, ids: Sequence[bytes]) -> None:
        several = "Several" if len(ids) > SAME_NAME_SHOWN else str(len(ids))
        shown = ", ".join(sorted(found.hex()[: len(prefix) + 8] for found in ids)[:SAME_NAME_SHOWN])
        super().__init__(
            f"{several} entries have an id that begins with {prefix}.",
            f"Give more digits of the one you mean: {shown}.",
        )
        self.ids = tuple(ids)


class Reader(Protocol):
    """The reading half. Methods raise DamagedError when what they read is not what was written."""

    def head(self, author: bytes) -> Head | None:
        """Return the head of the author's chain."""

    def heads(self) -> Iterator[tuple[bytes, Head]]:
        """Yield (author, head) of every chain that has an entry, by author."""

    def record(self, entry_id: bytes) -> Record | None:
        """Return the record with this id."""

    def may_hold(self, ids: Sequence[bytes]) -> set[bytes]:
        """Return those of `ids` that may be held, at most HELD_ASKED_MAX of them asked at once.

        None that is held is missing; one that is not may be among them, where the first bytes
        of another's id are the same.
        """

    def find(self, prefix: str) -> Record | None:
        """Return the only record whose id, in hex, begins with `prefix`.

        Raises:
            UsageError: not hex, or under PREFIX_MIN digits.
            AmbiguousError: several do.
        """

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """Return the author's record at `seq`."""

    def run(self, author: bytes, from_seq: int, to_seq: int, max_bytes: int) -> list[Record]:
        """Return the records from `from_seq` on that are held in a row, RUN_MAX at most.

        The last one carries a signature that was checked, so that the run convinces whoever
        gets it. It is the last such one within `max_bytes` (as `Record.size` counts) and at
        or below `to_seq`; where there is none at or below, the first one above. Empty where
        `max_bytes` ends before a checked one: a run came in a frame, so a frame always holds it.
        """

    def packed_run(self, author: bytes, from_seq: int, to_seq: int, max_bytes: int) -> list[bytes]:
        """Return what `run` does as it travels, held against its hashes but not decoded."""

    def stored(self, author: bytes, from_seq: int, most: int) -> list[Stored]:
        """Return at most `most` entries from `from_seq` on that are held in a row, unverified."""

    def log(self, author: bytes, before_seq: int | None, limit: int) -> list[Record]:
        """Return at most `limit` records of the author below `before_seq`, newest first."""

    def evidence(self, author: bytes | None = None) -> list[Evidence]:
        """Return the proof against `author`, or against everybody."""

    def frozen(self) -> dict[bytes, int]:
        """Return author -> seq from which it is frozen; a healed fork freezes nobody."""

    def sealed(self) -> dict[bytes, int]:
        """Return author -> seq of the last entry below its seal."""

    def statements(self, device: bytes | None = None) -> list[Statement]:
        """Return the root statements about a device, or all, in the order of their bytes.

        Those of a root that has no say over the device are among them.
        """

    def devices(self, root: bytes) -> list[Device]:
        """Return the devices of a person, in the order of their certificates."""

    def person_of(self, author: bytes) -> bytes:
        """Return the author's person; the author itself where that is not known."""

    def lot(self, offer_id: bytes) -> LotStock | None:
        """Return the lot that an offer opened, as it is now."""

    def open_lots(self, now_ms: int) -> Iterator[HeldLot]:
        """Yield lots with something left whose last day has not come, of authors not frozen."""

    def open_requests(self, now_ms: int) -> Iterator[Record]:
        """Yield requests whose last day has not come, of authors not frozen."""

    def trade(self, propose_id: bytes) -> list[Record]:
        """Return the propose and every entry of a trade type that names it first among its refs.

        In no order that means anything; the propose itself may be missing.
        """

    def steps(self, propose_id: bytes, author: bytes, most: int) -> list[Record]:
        """Return what `trade` does, as far as `author` wrote it: the first `most`, in order."""

    def noted(self, kind: EntryType, subject: bytes, author: bytes) -> list[Record]:
        """Return the first entries of a kind of NOTED_TYPES by `author` about `subject`, in order.

        At most NOTED_MAX. Those taken in before this kind was known are not found.
        """

    def trades(self, since_ms: int) -> list[bytes]:
        """Return the ids of proposes dated at or after `since_ms`, newest first."""

    def vouched_by(self, author: bytes) -> list[bytes]:
        """Return for whom the author vouches, in the order of the vouches that stand.

        Of its vouches the newest VOUCHES_READ_MAX are read; what is older no longer counts.
        """

    def spoken(self, author: bytes) -> dict[int, int]:
        """Return topic cell -> when the author last spoke there, Unix milliseconds; see `spoken`.

        The SPOKEN_CELLS_MAX latest. What others' entries lent it stays when those are let go of,
        until `rebuild`.
        """

    def spoken_since(self, number: int) -> list[tuple[int, bytes, int]]:
        """Return (number, author, cell) of what came to `spoken` after `number`, 0 for all."""

    def footprint(self, author: bytes) -> Footprint:
        """Return what is held of the author's chain comes to."""

    def erased(self, author: bytes) -> frozenset[int]:
        """Return the seqs of the author's entries whose payload was erased here.

        A payload that is neither held nor erased has never arrived.
        """

    def lacking(self, after: int, most: int) -> list[Lacking]:
        """Return entries behind the place `after`, in order, that are not held whole.

        Their payload never came, or their own signature is garbled. Those whose payload was
        erased here are whole.
        """

    def unchecked(self) -> tuple[bytes, int] | None:
        """Return (author, seq) from where own signatures were never looked at, of some chain."""

    def stretch(self, author: bytes, from_seq: int, most: int) -> list[tuple[Entry, bool]]:
        """Return entries from `from_seq` on, and whether their own signature was checked."""

    def derived(self, author: bytes) -> Derived:
        """Return what was made of the author's entries."""

    def tree(self, author: bytes) -> Rows:
        """Return the hashes of the author's chain, as long as it is at this call.

        What of it no kept checkpoint covers is hashed from the ids when asked for.
        """

    def pruned(self, author: bytes) -> Pruned:
        """Return what was pruned of the author's chain."""

    def checkpoint(self, author: bytes) -> SignedCheckpoint | None:
        """Return the checkpoint of the author's chain that was kept, with all its lines."""

    def witnessed(self, origin: str) -> Held:
        """Return the largest tree of a log that this node cosigned, `witness.EMPTY` if none."""

    def all_witnessed(self) -> list[tuple[str, Held]]:
        """Return (origin, largest tree that this node cosigned) of every log, by origin."""

    def counts(self) -> Counts:
        """Return how much is held."""

    def structure(self) -> list[str]:
        """Return what is wrong with the file beneath the rows: its pages and indexes."""

    def integrity(self) -> list[str]:
        """Return what a quick look finds wrong, `structure` too; an audit checks every hash."""

    def close(self) -> None:
        """Let go of the files. A closed store answers nothing."""


class Store(Reader, Protocol):
    """The writing half, for one owner."""

    def view(self, records: Iterable[Record]) -> View:
        """Return what is held that verdicts on `records` depend on, read in few queries.

        The view is good until the next commit.
        """

    def commit(self, batches: Sequence[Batch], *, durable: bool) -> None:
        """Write all batches, or none, in one transaction.

        Args:
            batches: made in this order, each on a view that had absorbed those before it.
            durable: on disk when this returns, whatever happens to the machine's power;
                otherwise safe from a crash of the process alone.

        Raises:
            LocalError: the disk is full or failing; nothing was written, the store can go on.
        """

    def add_payload(self, entry_id: bytes, salt: bytes, payload: bytes) -> bool:
        """Keep a payload that came later; False if the entry is not held or its payload erased.

        Raises:
            RemoteError: not the payload that the entry committed to.
        """

    def mark_checked(
        self, author: bytes, to_seq: int | None, good: Sequence[int], garbled: Sequence[int]
    ) -> None:
        """Note that the own signatures up to `to_seq` were looked at; None for the whole chain.

        Args:
            author: whose.
            to_seq: the last one.
            good: seqs of those that verify now, and were not checked before.
            garbled: seqs of those that do not.
        """

    def sign_again(self, entry: Entry) -> bool:
        """Take the signature of a copy, which was verified; False if no such body is held."""

    def erase_payload(self, entry_id: bytes) -> bool:
        """Forget a payload for good, and never take it again; False if the entry is not held."""

    def add_statement(self, statement: Statement) -> bool:
        """Keep a root statement that came outside any chain; False if it was held."""

    def keep_checkpoint(self, signed: SignedCheckpoint) -> bool:
        """Keep a checkpoint that the caller has verified, each of its lines, unless a larger is.

        To one of the same tree its lines are added, the later of each key's. One of the same
        size with another root is a fork's, and not kept. What the chain's tree needs to grow
        from there is kept with it. Returns whether anything changed.

        Safe from a crash of the process; a checkpoint that power takes can be had again.
        """

    def witness(self, origin: str, held: Held, new: Held) -> bool:
        """Put `new` in the place of `held`, on disk when this returns; False if that changed.

        Copies and backups of a ledger do not tell what was witnessed: who starts from one, or
        from what salvage saved, takes a new witness key.
        """

    def prune(self, author: bytes, blocks: Iterable[int]) -> Freed:
        """Drop whole blocks of the author's chain, by their last seqs; their roots stay.

        What cannot go stays: the first block, that of the head, what the kept checkpoint does
        not cover, and what lies behind an entry that no signature would then vouch for. What
        lots and reserves came to stays, so that nobody is accused for want of a pruned entry.

        Raises:
            DamagedError: the chain does not come to the root of its checkpoint; nothing went.
        """

    def cut(self, author: bytes, after_seq: int, why: str) -> None:
        """Set aside what is held of the author's chain behind `after_seq`; it is missing then.

        Where that reaches into what was pruned, or behind which a pruned lot went on, all of the
        chain is set aside, since what such lots came to by then cannot be told.

        What was erased stays erased when it comes again.
        """

    def set_aside(self, most: int) -> list[Record]:
        """Return entries that `cut` set aside as damaged and that go on where chains end now.

        At most so many, in the order of their chains; admitting them takes them in again. What a
        heal gave up is not among them.
        """

    def forget(self, authors: Iterable[bytes]) -> list[bytes]:
        """Let go of whole chains with their checkpoints and the proofs against their authors.

        Returns the ids of the offers and requests that went.

        The statements that they carried go too once STATEMENTS_MAX are held, but for those about
        devices whose chains are held. What was erased stays erased when it comes again.
        """

    def rebuild(self) -> None:
        """Make lots, reserves, trades, vouches and cells spoken in again from the records."""


def concerned(batch: Batch, roots: Roots) -> list[bytes]:
    """Return the authors of whom a committed batch may change what statements make of them."""
    moved = {statement.device for statement in batch.statements}
    moved.update(evidence.author for evidence in batch.evidence)
    first = (appended.record for appended in batch.appended if appended.record.entry.seq == 1)
    moved.update(record.entry.author for record in (*first, *batch.payloads))
    return [author for author in sorted(moved) if roots.concerns(author)]


def spare(
    carried: Iterable[Statement | None], roots: Roots, is_held: Callable[[bytes], bool]
) -> list[Statement]:
    """Return the statements to let go of with the chains that carried them.

    While there is room none go: the seal of a stolen device is worth keeping for when its
    chain comes.
    """
    over = len(roots) - STATEMENTS_MAX
    found = [one for one in carried if one is not None and not is_held(one.device)]
    return found[: max(over, 0)]


def newer(held: SignedCheckpoint | None, signed: SignedCheckpoint) -> SignedCheckpoint | None:
    """Return what to keep in the place of `held` once `signed` has come, None for nothing new."""
    if held is None or signed.head.size > held.head.size:
        return signed
    if signed.head != held.head:
        return None
    both = merged(held, signed)
    return both if both != held else None


def id8(entry_id: bytes) -> int:
    """Return the first eight bytes of an id as SQLite's signed integer.

    Ids that share their first hex digit keep their order.
    """
    first: int = _first_eight(entry_id)[0]
    return first


def carried_statements(reader: Reader) -> list[Statement]:
    """Return the root statements that the chains held carry."""
    return [
        statement
        for author, head in reader.heads()
        for record in reader.log(author, head.seq + 1, SEQ_MAX)
        if (statement := statement_in(record)) is not None
    ]


def until_ms(entry: Entry) -> int:
    """Return the last day of an offer or request, within what a store keeps."""
    until = entry.body.facts[1]
    return min(until, UNTIL_MAX) if isinstance(until, int) else 0


def vouch_in(entry: Entry) -> tuple[bytes, bool]:
    """Return for whom a vouch is, and whether it stands or takes one back."""
    vouched, stands = entry.body.facts
    assert isinstance(vouched, bytes), "a vouch that has not passed check_shape"
    return vouched, bool(stands)


def bounded_run(found: Iterable[tuple[T, int, int, bool]], to_seq: int, max_bytes: int) -> list[T]:
    """Cut (record, seq, size, checked) in a row as `Reader.run` promises."""
    run: list[T] = []
    good = size = 0
    for record, seq, its_size, checked in found:
        size += its_size
        if size > max_bytes or len(run) == RUN_MAX or (good and seq > to_seq):
            break
        run.append(record)
        if checked:
            good = len(run)
            if seq >= to_seq:
                break
    return run[:good]


def checked_payload(held: Record, salt: bytes, payload: bytes) -> Record:
    """Return `held` with the payload that its entry commits to.

    Raises:
        RemoteError: it commits to another, or to none.
    """
    body = held.entry.body
    if (
        len(salt) != SALT_BYTES
        or len(payload) != body.payload_len
        or payload_hash(salt, payload) != body.payload_hash
    ):
        raise RemoteError(Code.BAD_PAYLOAD, "a payload that its entry does not name")
    return Record(held.entry, salt, payload)


def prefix_bytes(prefix: str) -> tuple[bytes, bytes]:
    """Return the least and the greatest 8 bytes that an id beginning with `prefix` begins with.

    Raises:
        UsageError: not hex, too short, or longer than an id.
    """
    digits = prefix.lower()
    if not PREFIX_MIN <= len(digits) <= 2 * HASH_BYTES or set(digits) - set("0123456789abcdef"):
        raise UsageError(
            f"{prefix!r} is no id.", f"Give {PREFIX_MIN} to {2 * HASH_BYTES} hex digits of one."
        )
    shown = digits[:16]
    return bytes.fromhex(shown.ljust(16, "0")), bytes.fromhex(shown.ljust(16, "f"))


def cut_behind(pruned: Pruned, lots: Mapping[int, LotStock], after_seq: int) -> int:
    """Return behind which seq to cut a chain some of which was pruned, to cut it at `after_seq`."""
    moved = (lots[seq].last_seq for seq in pruned.lots if seq in lots)
    return 0 if max((*pruned.blocks, *moved), default=0) > after_seq else after_seq


def replay(
    entries: Iterable[Entry], pruned: frozenset[int] = frozenset()
) -> tuple[dict[int, LotStock], dict[int, Reserve]]:
    """Fold the entries of one chain, in order, into lots and reserves by seq.

    Lots in `pruned` are passed over, for want of some of their entries. The entries were judged
    when they were appended; one that breaks the rule now is passed over, as an audit will tell.
    """
    lots: dict[int, LotStock] = {}
    reserves: dict[int, Reserve] = {}
    for entry in entries:
        if not carries_stock(entry) or entry.body.stock[0] in pruned:
            continue
        stock = entry.body.stock
        step = apply(lots.get(stock[0]), reserves.get(stock[2]), entry)
        if isinstance(step, StockStep):
            lots[step.lot.lot_seq] = step.lot
            if step.reserve is not None:
                reserves[step.reserve.seq] = step.reserve
    return lots, reserves
