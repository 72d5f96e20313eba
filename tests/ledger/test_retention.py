"""What may be pruned of a chain, and that nothing is the worse for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from tests.ledger.authors import NOW_MS, UNTIL_MS, Author, ids, named

from passby.ledger.audit import audit
from passby.ledger.bundle import About
from passby.ledger.chain import Append
from passby.ledger.checkpoint import SignedCheckpoint, WitnessKey, sign_checkpoint
from passby.ledger.findings import AuditExit, Report, Severity
from passby.ledger.gather import gather
from passby.ledger.ingest import Check, admit
from passby.ledger.note import Note, NoteSignature
from passby.ledger.policy import NO_POLICY, Policy, k_of
from passby.ledger.retention import Retention
from passby.ledger.salvage import sound_to
from passby.ledger.store import Freed, Store
from passby.ledger.store_memory import MemoryStore
from passby.ledger.store_sqlite import SqliteStore
from passby.ledger.tree import BLOCK, root_at, rows_of
from passby.protocol.entry import Record, parse_entry
from passby.protocol.errors import DamagedError, RefusedError
from passby.protocol.keys import SIGNATURE_BYTES, SigningKey, verify
from passby.protocol.limits import CREDIT_MAX, RUN_MAX, SEQ_MAX

AT_S: Final = NOW_MS // 1000
WITNESSES: Final = [WitnessKey(SigningKey(bytes([at]) * 32)) for at in (1, 2, 3)]
POLICY: Final = k_of(2, [key.verifier for key in WITNESSES])
LATER_MS: Final = NOW_MS + 10**9
PAST_MS: Final = NOW_MS - 1


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "l.db")
    yield made
    made.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "ledger.db")
    yield made
    made.close()


def take(store: Store, records: Sequence[Record], check: Check = Check.RUNS) -> None:
    batch = admit(store.view(records), records, check)
    assert all(isinstance(outcome, Append) for outcome in batch.outcomes)
    store.commit([batch], durable=False)


def notes(author: Author, upto: int) -> None:
    while len(author.records) < upto:
        author.note(None)


def quiet(length: int = 5 * BLOCK + 9) -> Author:
    author = Author("ada")
    author.genesis()
    notes(author, length)
    return author


def cosigned(author: Author, size: int, witnesses: int = 2) -> SignedCheckpoint:
    root = root_at(rows_of([record.entry.id for record in author.records]), size)
    signed = sign_checkpoint(author.key, size, root)
    return signed.with_lines(
        tuple(key.cosign(signed.head.text, AT_S) for key in WITNESSES[:witnesses])
    )


def prune(store: Store, author: Author, before_ms: int = LATER_MS) -> Freed:
    signed = store.checkpoint(author.public)
    assert signed is not None
    retention = Retention(store, before_ms, LATER_MS)
    return store.prune(author.public, retention.blocks(author.public, signed.head.size))


def look(store: Store, policy: Policy | None = POLICY) -> Report:
    return audit(store, LATER_MS, policy=policy)


def total(report: Report) -> int:
    return report.verified + report.unverified + report.trusted + report.on_word + report.missing


def garbled(records: Sequence[Record]) -> list[Record]:
    """Return records as a relay may pass them on: no signature but the last one is real."""
    inner = [
        Record(
            parse_entry(bytes(SIGNATURE_BYTES) + r.entry.raw[SIGNATURE_BYTES:]), r.salt, r.payload
        )
        for r in records[:-1]
    ]
    return [*inner, *records[-1:]]


# --- which blocks ----------------------------------------------------------------------


def test_whole_blocks_between_the_first_and_the_head_s_go(store: Store) -> None:
    ada = quiet()
    take(store, ada.records)
    store.keep_checkpoint(cosigned(ada, len(ada.records)))
    freed = prune(store, ada)
    assert freed == Freed(4 * BLOCK, sum(r.size for r in ada.records[BLOCK : 5 * BLOCK]))
    pruned = store.pruned(ada.public)
    assert pruned.blocks == {2 * BLOCK, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK}
    assert pruned.lots == frozenset()
    assert store.counts().entries == BLOCK + 9
    assert store.record_at(ada.public, BLOCK + 1) is None
    assert store.record(ada.records[BLOCK].entry.id) is None
    head = store.head(ada.public)
    assert head is not None
    assert head.seq == len(ada.records)
    # It goes on, and what was pruned goes once.
    take(store, [ada.note()])
    assert prune(store, ada) == Freed()


def test_nothing_goes_that_no_checkpoint_covers(store: Store) -> None:
    ada = quiet()
    take(store, ada.records)
    assert store.prune(ada.public, [2 * BLOCK]) == Freed()
    store.keep_checkpoint(cosigned(ada, 3 * BLOCK - 1))
    prune(store, ada)
    store.prune(ada.public, [3 * BLOCK, 4 * BLOCK])
    assert store.pruned(ada.public).blocks == {2 * BLOCK}


def test_neither_the_first_block_nor_the_head_s_goes_whatever_is_asked(store: Store) -> None:
    ada = quiet(2 * BLOCK)
    take(store, ada.records)
    store.keep_checkpoint(cosigned(ada, 2 * BLOCK))
    assert store.prune(ada.public, [0, 7, BLOCK, 2 * BLOCK, 3 * BLOCK]) == Freed()


def test_nothing_goes_of_a_chain_that_is_not_what_its_checkpoint_says(store: Store) -> None:
    ada = quiet()
    take(store, ada.records)
    store.keep_checkpoint(sign_checkpoint(ada.key, 1000, named("another tree")))
    with pytest.raises(DamagedError, match="not what its checkpoint says"):
        prune(store, ada)
    assert store.pruned(ada.public).blocks == frozenset()


def test_recent_entries_stay_with_their_block(store: Store) -> None:
    ada = quiet()
    take(store, ada.records)
    store.keep_checkpoint(cosigned(ada, len(ada.records)))
    prune(store, ada, before_ms=ada.records[3 * BLOCK + 5].entry.at_ms)
    assert store.pruned(ada.public).blocks == {2 * BLOCK, 3 * BLOCK}


@pytest.mark.parametrize(
    "needed",
    [
        lambda ada: ada.offer(5),
        lambda ada: ada.request(),
        lambda ada: ada.vouch(named("bob")),
        lambda ada: ada.say(14, b"\x80"),
        lambda ada: ada.propose(ada.records[0]),
    ],
    ids=["open lot", "open request", "vouch", "statement", "open trade"],
)
def test_a_block_stays_for_one_entry_that_is_needed(
    store: Store, needed: Callable[[Author], Record]
) -> None:
    ada = quiet(2 * BLOCK + 40)
    needed(ada)
    notes(ada, 5 * BLOCK)
    take(store, ada.records)
    store.keep_checkpoint(cosigned(ada, 5 * BLOCK))
    prune(store, ada)
    assert store.pruned(ada.public).blocks == {2 * BLOCK, 4 * BLOCK}


@pytest.mark.parametrize("ended", ["closed", "expired"])
def test_a_lot_that_ended_goes_and_what_it_came_to_stays(store: Store, ended: str) -> None:
    ada = quiet(BLOCK + 7)
    lot = ada.offer(9, until_ms=UNTIL_MS if ended == "closed" else PAST_MS)
    notes(ada, 2 * BLOCK + 7)
    reserve = ada.reserve(lot, 4)
    ada.release(lot, reserve)
    if ended == "closed":
        ada.close(lot)
    notes(ada, 4 * BLOCK)
    take(store, ada.records)
    store.keep_checkpoint(cosigned(ada, 4 * BLOCK))
    before = store.view([]).lot_at(ada.public, lot.entry.seq)
    prune(store, ada)
    assert store.pruned(ada.public).blocks == {2 * BLOCK, 3 * BLOCK}
    assert store.pruned(ada.public).lots == {lot.entry.seq}
    store.rebuild()
    assert store.view([]).lot_at(ada.public, lot.entry.seq) == before
    if ended == "expired":
        # Its author is late, and breaks no rule.
        ada.close(lot)
        take(store, ada.records[4 * BLOCK :])
    assert look(store).exit_code is AuditExit.CLEAN


def test_the_offer_of_a_late_trade_stays(store: Store) -> None:
    ada = quiet(BLOCK + 7)
    lot = ada.offer(9, until_ms=PAST_MS)
    notes(ada, 4 * BLOCK)
    bob = Author("bob")
    bob.genesis()
    bob.propose(lot, at_ms=LATER_MS)
    take(store, [*ada.records, *bob.records])
    store.keep_checkpoint(cosigned(ada, 4 * BLOCK))
    prune(store, ada)
    assert store.pruned(ada.public).blocks == {3 * BLOCK}


def test_nothing_goes_of_an_author_that_is_proven_false(store: Store) -> None:
    ada = quiet()
    fork = ada.fork(700)
    fork.note()
    take(store, ada.records)
    store.commit([admit(store.view([]), fork.records[-1:], Check.EACH)], durable=False)
    assert store.evidence(ada.public)
    store.keep_checkpoint(cosigned(ada, len(ada.records)))
    assert prune(store, ada) == Freed()


def test_what_is_left_before_a_gap_ends_in_a_signature_of_its_own(store: Store) -> None:
    ada = quiet()
    for start in range(0, len(ada.records), 200):
        take(store, garbled(ada.records[start : start + 200]))
    store.keep_checkpoint(cosigned(ada, len(ada.records)))
    # Runs end at 200, 400, 600, 800, 1000 ...: no block's last entry has a real signature.
    assert prune(store, ada) == Freed()
    other = Author("bob")
    other.genesis()
    notes(other, 5 * BLOCK + 9)
    ends = (0, 200, 400, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK, 5 * BLOCK + 9)
    for start, end in pairwise(ends):
        take(store, garbled(other.records[start:end]))
    store.keep_checkpoint(cosigned(other, len(other.records)))
    prune(store, other)
    assert store.pruned(other.public).blocks == {3 * BLOCK, 4 * BLOCK, 5 * BLOCK}
    assert look(store).exit_code is AuditExit.CLEAN


# --- what an audit says ----------------------------------------------------------------


def test_pruned_history_is_trusted_by_a_policy_and_else_rests_on_the_author(store: Store) -> None:
    ada = quiet()
    take(store, ada.records)
    store.keep_checkpoint(cosigned(ada, len(ada.records)))
    prune(store, ada)
    trusting = look(store)
    assert trusting.exit_code is AuditExit.CLEAN
    assert (trusting.trusted, trusting.verified) == (4 * BLOCK, BLOCK + 9)
    alone = look(store, None)
    assert alone.exit_code is AuditExit.INCOMPLETE
    assert (alone.trusted, alone.on_word, alone.verified) == (0, 4 * BLOCK, BLOCK + 9)
    demanding = look(store, k_of(3, [key.verifier for key in WITNESSES]))
    assert demanding.exit_code is AuditExit.INCOMPLETE
    assert demanding.on_word == 4 * BLOCK
    # A newer checkpoint that nobody has cosigned yet takes nothing back.
    notes(ada, len(ada.records) + 5)
    take(store, ada.records[-5:])
    store.keep_checkpoint(cosigned(ada, len(ada.records), witnesses=0))
    assert look(store).trusted == 4 * BLOCK
    assert look(store).exit_code is AuditExit.CLEAN


@pytest.mark.parametrize(
    ("change", "exit_code"),
    [
        ("UPDATE blocks SET root = zeroblob(32) WHERE place & 0xFFFFFFFF = 768", 2),
        ("UPDATE blocks SET root = zeroblob(32) WHERE place & 0xFFFFFFFF = 256", 2),
        ("UPDATE prunings SET root = zeroblob(32)", 2),
        ("UPDATE prunings SET size = size + 1", 2),
        ("UPDATE prunings SET note = CAST(replace(note, 'chain/', 'chaim/') AS BLOB)", 2),
        ("UPDATE prunings SET note = CAST(replace(note, ' AAAA', ' AAAB') AS BLOB)", 0),
        ("UPDATE checkpoints SET root = zeroblob(32)", 2),
        ("DELETE FROM prunings", 2),
        ("UPDATE blocks SET pruned = 0 WHERE place & 0xFFFFFFFF = 768", 3),
        ("DELETE FROM blocks WHERE place & 0xFFFFFFFF = 768", 3),
        ("UPDATE lots SET pruned = 0", 2),
    ],
)
def test_damage_to_what_stands_for_pruned_history_is_found(
    sqlite: SqliteStore, change: str, exit_code: int
) -> None:
    ada = quiet(BLOCK - 9)
    lot = ada.offer(9)
    notes(ada, BLOCK + 9)
    ada.close(lot)
    notes(ada, 5 * BLOCK)
    take(sqlite, ada.records)
    sqlite.keep_checkpoint(cosigned(ada, 5 * BLOCK))
    prune(sqlite, ada)
    assert look(sqlite).exit_code is AuditExit.CLEAN
    sqlite._db.execute(change)
    report = look(sqlite)
    assert report.exit_code == exit_code
    assert not [one for one in report.findings if one.severity is Severity.PROVEN]
    assert total(report) == 5 * BLOCK


def test_every_flipped_bit_of_a_kept_note_is_found(sqlite: SqliteStore) -> None:
    ada = quiet(3 * BLOCK)
    take(sqlite, ada.records)
    signed = cosigned(ada, 3 * BLOCK)
    sqlite.keep_checkpoint(signed)
    prune(sqlite, ada)
    note = signed.encode()
    for at in range(0, 8 * len(note), 37):
        flipped = bytearray(note)
        flipped[at // 8] ^= 1 << at % 8
        sqlite._db.execute("UPDATE prunings SET note = ?", (bytes(flipped),))
        assert look(sqlite).exit_code in {AuditExit.CORRUPT, AuditExit.INCOMPLETE}, at


def test_checkpoints_are_counted_and_those_that_the_policy_has_cosigned(store: Store) -> None:
    ada = quiet(BLOCK)
    take(store, ada.records)
    store.keep_checkpoint(cosigned(ada, BLOCK))
    for policy, expected in ((POLICY, (1, 1)), (None, (1, 0)), (NO_POLICY, (1, 0))):
        report = look(store, policy)
        assert report.exit_code is AuditExit.CLEAN
        assert (report.checkpoints, report.cosigned) == expected
    demanding = look(store, k_of(3, [key.verifier for key in WITNESSES]))
    assert (demanding.checkpoints, demanding.cosigned) == (1, 0)


def test_a_false_cosignature_below_a_kept_checkpoint_is_damage(sqlite: SqliteStore) -> None:
    ada = quiet(BLOCK)
    take(sqlite, ada.records)
    signed = cosigned(ada, BLOCK)
    *lines, last = signed.note.signatures
    spoiled = bytes([*last.signature[:-1], last.signature[-1] ^ 1])
    false = NoteSignature(last.name, last.key_id, spoiled)
    sqlite.keep_checkpoint(SignedCheckpoint(signed.head, Note(signed.note.text, (*lines, false))))
    report = look(sqlite)
    assert report.exit_code is AuditExit.CORRUPT
    assert "cosignature" in report.findings[0].text


def test_an_author_that_signed_another_tree_than_its_entries_is_proven_false(store: Store) -> None:
    ada = quiet(300)
    take(store, ada.records)
    store.keep_checkpoint(sign_checkpoint(ada.key, 290, named("another tree")))
    assert look(store).exit_code is AuditExit.PROVEN


def test_a_lie_about_a_pruned_lot_freezes_the_liar_and_is_no_damage(store: Store) -> None:
    ada = quiet(BLOCK + 7)
    lot = ada.offer(9, until_ms=PAST_MS)
    reserve = ada.reserve(lot, 4)
    ada.reserve(lot, 4)
    ada.release(lot, reserve)
    notes(ada, 4 * BLOCK)
    take(store, ada.records)
    store.keep_checkpoint(cosigned(ada, 4 * BLOCK))
    prune(store, ada)
    assert store.pruned(ada.public).lots == {lot.entry.seq}
    lie = ada.release(lot, reserve)
    store.commit([admit(store.view([lie]), [lie], Check.EACH)], durable=False)
    assert store.frozen() == {ada.public: lie.entry.seq}
    report = look(store)
    # The entries that prove it are the author's to show.
    assert report.exit_code is AuditExit.INCOMPLETE
    assert "was pruned" in report.findings[-1].text


def test_no_bundle_is_made_of_a_lot_some_of_which_was_pruned(store: Store) -> None:
    ada = quiet(9)
    lot = ada.offer(9, until_ms=PAST_MS)
    notes(ada, BLOCK + 9)
    ada.adjust(lot, 1)
    notes(ada, 4 * BLOCK)
    ada.adjust(lot, 1)
    take(store, ada.records)
    store.keep_checkpoint(cosigned(ada, 4 * BLOCK))
    prune(store, ada)
    with pytest.raises(RefusedError, match="pruned"):
        gather(store, About.LOT, lot.entry.id)
    gather(store, About.ENTRY, lot.entry.id)
    assert look(store).exit_code is AuditExit.CLEAN


# --- nothing is the worse for it -------------------------------------------------------


class Market:
    """A lister that does what listers do, and a taker; and which lots are still open."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.ada, self.bob = Author("ada"), Author("bob")
        self.ada.genesis()
        self.bob.genesis()
        self.lots: list[Record] = []
        self.reserved: list[tuple[Record, Record]] = []
        self.left: dict[int, int] = {}

    def step(self) -> None:
        ada, dice = self.ada, self.dice
        match dice.randrange(12):
            case 0 if len(self.lots) < 6:
                expired = dice.random() < 0.3
                lot = ada.offer(1000, until_ms=PAST_MS if expired else UNTIL_MS)
                self.lots.append(lot)
                self.left[lot.entry.seq] = 1000
            case 1 | 2 if self.lots:
                lot = dice.choice(self.lots)
                if self.left[lot.entry.seq] < 5:
                    return
                # Most of the trades are others' that are not held; some are open here.
                propose = self.bob.propose(lot).entry.id if dice.random() < 0.05 else None
                self.reserved.append((lot, ada.reserve(lot, 5, propose)))
                self.left[lot.entry.seq] -= 5
            case 3 | 4 | 5 if self.reserved:
                lot, reserve = self.reserved.pop(dice.randrange(len(self.reserved)))
                if dice.random() < 0.5:
                    ada.release(lot, reserve)
                    self.left[lot.entry.seq] += 5
                else:
                    ada.handover(lot, reserve, 5, ada.commit(reserve))
            case 6 if self.lots:
                self.close(dice.choice(self.lots))
            case 7 if dice.random() < 0.02:
                ada.request()
            case _:
                ada.note(None if dice.random() < 0.5 else b"\x80")

    def close(self, lot: Record) -> None:
        if self.dice.random() < 0.3 and all(held is not lot for held, _ in self.reserved):
            self.ada.close(lot)
            self.lots.remove(lot)


def frames(
    records: Sequence[Record], dice: random.Random, *, garbage: bool
) -> Iterator[list[Record]]:
    start = 0
    while start < len(records):
        size = dice.choice((1, 7, 64, 100, 256))
        frame = list(records[start : start + size])
        yield garbled(frame) if garbage else frame
        start += size


@pytest.mark.parametrize("seed", range(12))
def test_whatever_was_pruned_nobody_is_accused_and_everything_goes_on(
    seed: int, tmp_path: Path
) -> None:
    market = Market(seed)
    dice = random.Random(-seed - 1)
    ada = market.ada
    whole = MemoryStore()
    stores: list[Store] = [MemoryStore(), SqliteStore(tmp_path / "l.db")]
    fed = 0
    for _ in range(3):
        upto = len(ada.records) + dice.randrange(400, 900)
        while len(ada.records) < upto:
            market.step()
        frames_made = list(frames(ada.records[fed:], dice, garbage=dice.random() < 0.4))
        for held in (whole, *stores):
            for frame in frames_made:
                take(held, frame)
            bobs = held.head(market.bob.public)
            take(held, market.bob.records[bobs.seq if bobs else 0 :])
        fed = len(ada.records)
        checkpoint = cosigned(ada, dice.randrange(fed - 300, fed + 1))
        before_ms = ada.records[dice.randrange(fed)].entry.at_ms
        freed = []
        for held in stores:
            held.keep_checkpoint(checkpoint)
            freed.append(prune(held, ada, before_ms))
            agree(held, whole, market)
            held.rebuild()
            agree(held, whole, market)
        assert freed[0] == freed[1]
    assert stores[0].pruned(ada.public) == stores[1].pruned(ada.public)
    for held in stores:
        # Set aside and fetched again from the author, it is whole.
        seq = dice.randrange(1, fed)
        run = whole.run(ada.public, seq, seq, CREDIT_MAX)
        held.cut(ada.public, run[-1].entry.seq, "a test")
        head = held.head(ada.public)
        for frame in frames(ada.records[head.seq if head else 0 :], dice, garbage=False):
            take(held, frame)
        agree(held, whole, market)
        held.close()


def agree(held: Store, whole: Store, market: Market) -> None:
    ada = market.ada.public
    head = whole.head(ada)
    assert head is not None
    assert held.head(ada) == head
    assert ids(list(held.open_requests(NOW_MS))) == ids(list(whole.open_requests(NOW_MS)))
    found = sorted(held.open_lots(NOW_MS), key=lambda lot: lot.stock.lot_seq)
    assert [lot.stock for lot in found] == sorted(
        (lot.stock for lot in whole.open_lots(NOW_MS)), key=lambda stock: stock.lot_seq
    )
    for lot in market.lots:
        seq = lot.entry.seq
        assert held.view([]).lot_at(ada, seq) == whole.view([]).lot_at(ada, seq)
    for lot in found:
        # What is open can be shown from its offer on.
        gather(held, About.LOT, lot.record.entry.id)
    report = look(held)
    assert report.missing == report.unverified == report.on_word == 0
    bob = held.head(market.bob.public)
    assert bob is not None
    assert total(report) == head.seq + bob.seq
    pruned = held.pruned(ada)
    assert report.trusted == BLOCK * len(pruned.blocks)
    bad = {Severity.PROVEN, Severity.CORRUPT}
    assert not [one for one in report.findings if one.severity in bad]
    assert sound_to(held, ada) == head.seq
    seq = 1
    while seq <= head.seq:
        run = held.run(ada, seq, SEQ_MAX, CREDIT_MAX)
        assert len(run) <= RUN_MAX
        if not run:
            assert seq + BLOCK - 1 in pruned.blocks
            seq += BLOCK
            continue
        assert verify(ada, run[-1].entry.raw)
        seq += len(run)
