"""Random histories, honest and not: replay, local proofs and audit must say the same of each.

    python -m tests.ledger.proof_model 60000

Three listers and a taker list, change, reserve, confirm, commit, hand over, release and cancel
as the rules allow. In two histories of three, one of them then cheats once: with stock, with a
fork, with its clock, or in a trade. Four judges look at the result, and none knows the others:

- the replay, written another way than the code: it sums whole lots up, and reads each trade
  line by line;
- the local search, which tries every pair and triple of entries of an author as a proof;
- the proofs as bytes, made from what a store kept and from the fold's faults;
- the audit of that store.

Chains are signed at the ends of runs only, so every proof leans on its run.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations

import msgspec
from tests.ledger.authors import named
from tests.protocol.test_stock_replay import book_keeping

from passby.ledger.audit import Severity, audit
from passby.ledger.ingest import Check, admit
from passby.ledger.proof import NO_SIGNATURE, Proof, ProofKind, verify_proof
from passby.ledger.proof_bytes import decode_proof, encode_proof
from passby.ledger.prove import prove_evidence, prove_fault
from passby.ledger.stock_proof import breaks
from passby.ledger.store_memory import MemoryStore
from passby.protocol.entry import PREFIX, Body, Entry, Record, entry_id
from passby.protocol.errors import RemoteError
from passby.protocol.keys import SIGNATURE_BYTES, SigningKey
from passby.protocol.limits import AMOUNT_MAX
from passby.protocol.secret import secret_hash
from passby.protocol.stock import Rule, carries_stock
from passby.protocol.trade import fold
from passby.protocol.types import TRADE_TYPES, EntryType, check_shape

T0 = 1_700_000_000_000
MINUTE = 60_000
CELL = 0x85196953FFFFFFF
MOVES_MAX = 40
CHEATS = ("stock", "fork", "time", "trade")
NOTE = 200

_encode = msgspec.msgpack.Encoder().encode


@dataclass
class Lot:
    """An own lot by its lister's reckoning, with its reserves by what has become of them."""

    offer: Entry
    last_seq: int
    remaining: int
    reserved: int = 0
    closed: bool = False
    resolved: list[Entry] = field(default_factory=list)


class Writer:
    """A key and its chain; entries are signed when they are sent, at the ends of runs."""

    def __init__(self, name: str) -> None:
        self.key = SigningKey(named(name))
        self.chain: list[Entry] = []
        self.lots: list[Lot] = []
        self.write(EntryType.GENESIS, T0, facts=(named("certificate"),))

    def write(
        self,
        kind: int,
        at_ms: int,
        refs: tuple[bytes, ...] = (),
        stock: tuple[int, ...] = (),
        facts: tuple[int | bytes, ...] = (),
    ) -> Entry:
        last = self.chain[-1] if self.chain else None
        seq, prev = (last.seq + 1, last.id) if last else (1, None)
        body = Body(self.key.public, seq, prev, at_ms, kind, refs, stock, facts)
        check_shape(body)
        signed = PREFIX + _encode(body)
        entry = Entry(NO_SIGNATURE + signed, entry_id(signed), body)
        self.chain.append(entry)
        return entry

    def signed(self, entry: Entry) -> Entry:
        body = entry.raw[SIGNATURE_BYTES:]
        return Entry(self.key.sign(body) + body, entry.id, entry.body)

    def move(
        self, lot: Lot, reserve: Entry | None, amount: int, left: int, held: int
    ) -> tuple[int, ...]:
        previous, lot.last_seq = lot.last_seq, len(self.chain) + 1
        lot.remaining += left
        lot.reserved += held
        if reserve is not None:
            lot.resolved.append(reserve)
        seq = reserve.seq if reserve is not None else 0
        return (lot.offer.seq, previous, seq, amount, lot.remaining, lot.reserved)


@dataclass
class Leg:
    """One lot of a deal, and what its lister has written."""

    lister: Writer
    lot: Lot
    amount: int
    reserve: Entry | None = None
    declined: Entry | None = None
    commit: Entry | None = None
    release: Entry | None = None
    handover: Entry | None = None
    received: bool = False


@dataclass
class Deal:
    """A propose and what has come of it."""

    propose: Entry
    legs: list[Leg]
    commit_by: int
    until: int
    confirm: Entry | None = None
    cancel: Entry | None = None

    @property
    def reserves(self) -> list[Entry]:
        return [leg.reserve for leg in self.legs if leg.reserve]


Move = Callable[[], None]


class History:
    """Four writers, what they did, and where the cheat stands if there is one."""

    def __init__(self, number: int) -> None:
        self.dice = random.Random(number)
        self.now_ms = T0
        self.taker = Writer(f"taker {number % 7}")
        self.listers = [Writer(f"lister {number % 7} {at}") for at in range(3)]
        self.deals: list[Deal] = []
        self.branch: list[Entry] = []
        """The second branch of a fork, from the forked seq on."""
        self.kind = "honest"
        self.cheater: Writer | None = None
        cheat = self.dice.choice(CHEATS) if self.dice.random() < 2 / 3 else ""
        for _ in range(self.dice.randint(4, MOVES_MAX)):
            self.step()
        for _ in range(MOVES_MAX):
            if not cheat or self.cheat(cheat):
                break
            self.step()

    @property
    def writers(self) -> list[Writer]:
        return [self.taker, *self.listers]

    # --- honest moves -------------------------------------------------------------------

    def step(self) -> None:
        dice = self.dice
        slow = dice.random() < 0.1
        self.now_ms += dice.randint(0, 20 * MINUTE if slow else MINUTE)
        moves = [move for deal in self.deals for move in self.turns(deal)]
        if moves and dice.random() < 0.75:
            dice.choice(moves)()
        elif dice.random() < 0.5:
            self.list_something(dice.choice(self.listers))
        else:
            self.propose()

    def list_something(self, lister: Writer) -> None:
        dice, at_ms = self.dice, self.now_ms
        lots = [lot for lot in lister.lots if not lot.closed]
        what = dice.random()
        if not lots or what < 0.25:
            seq, amount = len(lister.chain) + 1, dice.randint(1, 30)
            stock = (seq, 0, 0, amount, amount, 0)
            facts = (CELL, at_ms + 10**9)
            offer = lister.write(EntryType.OFFER, at_ms, stock=stock, facts=facts)
            lister.lots.append(Lot(offer, seq, amount))
            return
        lot = dice.choice(lots)
        if what < 0.4:
            lister.write(NOTE, at_ms, facts=(dice.randrange(9),))
        elif what < 0.5 and not lot.reserved:
            stock = lister.move(lot, None, lot.remaining, -lot.remaining, 0)
            lot.closed = True
            lister.write(EntryType.CLOSE, at_ms, (lot.offer.id,), stock)
        else:
            up = dice.random() < 0.5 or not lot.remaining
            change = dice.randint(1, 20) if up else -dice.randint(1, lot.remaining)
            stock = lister.move(lot, None, abs(change), change, 0)
            lister.write(EntryType.ADJUST, at_ms, (lot.offer.id,), stock)

    def propose(self) -> None:
        dice, legs = self.dice, []
        for lister in dice.sample(self.listers, dice.choice((1, 1, 2))):
            lots = [lot for lot in lister.lots if lot.remaining]
            if not lots:
                return
            lot = dice.choice(lots)
            legs.append(Leg(lister, lot, dice.randint(1, lot.remaining)))
        commit_by, until = self.now_ms + 15 * MINUTE, self.now_ms + 60 * MINUTE
        facts: list[int | bytes] = [named("terms"), self.now_ms + 2 * MINUTE]
        for leg in legs:
            facts += [leg.amount, 0, until]
        refs = tuple(leg.lot.offer.id for leg in legs)
        propose = self.taker.write(EntryType.PROPOSE, self.now_ms, refs, facts=tuple(facts))
        self.deals.append(Deal(propose, legs, commit_by, until))

    def turns(  # noqa: PLR0912  # who may write what, case by case
        self, deal: Deal
    ) -> Iterator[Move]:
        """Yield what somebody may honestly write in this trade now."""
        confirm = deal.confirm
        for leg in deal.legs:
            if leg.reserve is None:
                if leg.declined is None and deal.cancel is None:
                    if leg.lot.remaining >= leg.amount and not leg.lot.closed:
                        yield lambda leg=leg: self.reserve(deal, leg)
                    yield lambda leg=leg: self.decline(deal, leg)
            elif leg.release is None and leg.handover is None:
                others = [at.release for at in deal.legs if at.release]
                if leg.commit is None:
                    if confirm is not None and self.now_ms <= deal.commit_by:
                        yield lambda leg=leg: self.commit(deal, leg)
                    if self.dice.random() < 0.2:
                        yield lambda leg=leg: self.release(deal, leg)
                elif self.now_ms > deal.until:
                    yield lambda leg=leg: self.release(deal, leg)
                elif others:
                    yield lambda leg=leg, other=others[0]: self.release(deal, leg, other)
                elif deal.cancel is not None:
                    yield lambda leg=leg, other=deal.cancel: self.release(deal, leg, other)
                if leg.commit is not None:
                    yield lambda leg=leg: self.hand_over(deal, leg)
            elif leg.handover is not None and not leg.received:
                yield lambda leg=leg: self.receive(deal, leg)
        if deal.cancel is not None:
            return
        if confirm is None:
            if len(deal.reserves) == len(deal.legs) and self.now_ms <= deal.commit_by:
                yield lambda: self.confirm(deal)
            if self.dice.random() < 0.2:
                yield lambda: self.cancel(deal)
            return
        released = [leg.release for leg in deal.legs if leg.release]
        if released:
            yield lambda: self.cancel(deal, released[0])
        elif self.now_ms > deal.commit_by and not all(leg.commit for leg in deal.legs):
            yield lambda: self.cancel(deal)

    def reserve(self, deal: Deal, leg: Leg) -> None:
        secret = self.hash_of(deal, self.taker, leg.lister)
        stock = leg.lister.move(leg.lot, None, leg.amount, -leg.amount, leg.amount)
        refs = (deal.propose.id, leg.lot.offer.id)
        facts = (deal.commit_by, secret)
        entry = leg.lister.write(EntryType.RESERVE, self.now_ms, refs, stock, facts)
        leg.reserve = leg.reserve or entry

    def hash_of(self, deal: Deal, giver: Writer, holder: Writer) -> bytes:
        return secret_hash(deal.propose.id, giver.key.public, holder.key.public, b"s" * 16)

    def decline(self, deal: Deal, leg: Leg) -> None:
        leg.declined = leg.lister.write(
            EntryType.CANCEL, self.now_ms, (deal.propose.id,), facts=(0,)
        )

    def confirm(self, deal: Deal) -> None:
        refs = (deal.propose.id, *(reserve.id for reserve in deal.reserves))
        hashes = (self.hash_of(deal, leg.lister, self.taker) for leg in deal.legs)
        facts = (deal.commit_by, *hashes)
        deal.confirm = self.taker.write(EntryType.CONFIRM, self.now_ms, refs, facts=facts)

    def cancel(self, deal: Deal, *named_too: Entry) -> None:
        refs = (deal.propose.id, *(entry.id for entry in named_too))
        deal.cancel = self.taker.write(EntryType.CANCEL, self.now_ms, refs, facts=(0,))

    def commit(self, deal: Deal, leg: Leg) -> None:
        assert deal.confirm is not None
        assert leg.reserve is not None
        refs = (deal.propose.id, deal.confirm.id, leg.reserve.id)
        leg.commit = leg.lister.write(EntryType.COMMIT, self.now_ms, refs)

    def release(self, deal: Deal, leg: Leg, *causes: Entry) -> None:
        reserve = leg.reserve
        assert reserve is not None
        amount = reserve.body.stock[3]
        stock = leg.lister.move(leg.lot, reserve, amount, amount, -amount)
        refs = (deal.propose.id, reserve.id, *(cause.id for cause in causes))
        leg.release = leg.lister.write(EntryType.RELEASE, self.now_ms, refs, stock, (0,))

    def hand_over(self, deal: Deal, leg: Leg) -> None:
        assert deal.confirm is not None
        assert leg.reserve is not None
        assert leg.commit is not None
        whole = leg.reserve.body.stock[3]
        amount = self.dice.randint(1, whole)
        stock = leg.lister.move(leg.lot, leg.reserve, amount, whole - amount, -whole)
        refs = (deal.propose.id, leg.commit.id, deal.confirm.id)
        facts = (b"s" * 16, amount)
        leg.handover = leg.lister.write(EntryType.HANDOVER, self.now_ms, refs, stock, facts)

    def receive(self, deal: Deal, leg: Leg) -> None:
        assert leg.handover is not None
        amount = leg.handover.body.stock[3]
        refs, facts = (deal.propose.id, leg.handover.id), (1, amount)
        self.taker.write(EntryType.RECEIPT, self.now_ms, refs, facts=facts)
        leg.lister.write(EntryType.RECEIPT, self.now_ms, refs, facts=(2, 200))
        leg.received = True

    # --- cheats -------------------------------------------------------------------------

    def cheat(self, kind: str) -> bool:
        """Cheat once; tell whether there was a way."""
        match kind:
            case "stock":
                cheater = self.with_stock()
            case "fork":
                cheater = self.with_a_fork()
            case "time":
                cheater = self.dice.choice(self.writers)
                cheater.write(NOTE, cheater.chain[-1].at_ms - 1)
            case _:
                cheater = self.in_a_trade()
        if cheater is None:
            return False
        self.kind, self.cheater = kind, cheater
        return True

    def with_a_fork(self) -> Writer | None:
        cheater = self.dice.choice(self.writers)
        seq = self.dice.randint(1, len(cheater.chain))
        kept = cheater.chain
        cheater.chain = kept[: seq - 1]
        if seq == 1:
            cheater.write(EntryType.GENESIS, T0, facts=(named("another"),))
        for _ in range(self.dice.randint(seq > 1, 3)):
            last = cheater.chain[-1].at_ms
            cheater.write(NOTE, last + self.dice.randint(1, 9), facts=(77,))
        self.branch, cheater.chain = cheater.chain[seq - 1 :], kept
        return cheater

    def with_stock(self) -> Writer | None:
        """Append a move with other numbers or refs than it should have, right or not."""
        dice = self.dice
        cheater = dice.choice(self.listers)
        if dice.random() < 0.3:
            again = [(lot, entry) for lot in cheater.lots for entry in lot.resolved]
            if not again:
                return None
            lot, reserve = dice.choice(again)
            amount = reserve.body.stock[3]
            held = -min(amount, lot.reserved)
            stock = cheater.move(lot, reserve, amount, amount, held)
            refs = (reserve.body.refs[0], reserve.id)
            cheater.write(EntryType.RELEASE, self.now_ms, refs, stock, (0,))
            return cheater
        moves = [entry for entry in cheater.chain if carries_stock(entry)]
        # An offer of a lot that was opened before is out of range, whatever else is wrong.
        bent = [at for at in moves if at.body.type != EntryType.OFFER or dice.random() < 0.1]
        lots = [lot for lot in cheater.lots if dice.random() < 0.9 or lot.closed]
        if not bent or not lots:
            return None
        lot = dice.choice(lots)
        like = dice.choice(bent).body
        reserves = [entry for entry in moves if entry.body.type == EntryType.RESERVE]
        resolving = like.type in (EntryType.RELEASE, EntryType.HANDOVER)
        reserve = dice.choice(reserves) if resolving and reserves else None
        amount = reserve.body.stock[3] if reserve else dice.randint(1, 9)
        left, held = {
            EntryType.RESERVE: (-amount, amount),
            EntryType.RELEASE: (amount, -amount),
            EntryType.HANDOVER: (0, -amount),
            EntryType.ADJUST: (amount, 0),
        }.get(EntryType(like.type), (0, 0))
        seq = len(cheater.chain) + 1
        stock = [
            lot.offer.seq, lot.last_seq, reserve.seq if reserve else 0,
            amount, max(0, lot.remaining + left), max(0, lot.reserved + held),
        ]  # fmt: skip
        known = [0, seq, AMOUNT_MAX, *(entry.seq for entry in moves)]
        for place in dice.sample(range(6), dice.choice((0, 1, 1, 2))):
            near = max(0, stock[place] + dice.randint(-2, 2))
            stock[place] = dice.choice((near, near, dice.choice(known)))
        refs = like.refs
        if like.type in (EntryType.ADJUST, EntryType.CLOSE):
            refs = (lot.offer.id,)
        elif reserve is not None:
            refs = (reserve.body.refs[0], reserve.id, *refs[2:])
        if refs and dice.random() < 0.3:
            place = dice.randrange(len(refs))
            refs = (*refs[:place], dice.choice(moves).id, *refs[place + 1 :])
        try:
            cheater.write(like.type, self.now_ms, refs, tuple(stock), like.facts)
        except RemoteError:
            return None
        return cheater

    def in_a_trade(self) -> Writer | None:
        ways = [way for deal in self.deals for way in self.trade_cheats(deal)]
        if not ways:
            return None
        cheater, move = self.dice.choice(ways)
        move()
        return cheater

    def trade_cheats(self, deal: Deal) -> Iterator[tuple[Writer, Move]]:
        timely = self.now_ms <= deal.until
        for leg in deal.legs:
            free = leg.lot.remaining if not leg.lot.closed else 0
            if (leg.reserve or leg.declined) and free >= leg.amount:
                yield leg.lister, lambda leg=leg: self.reserve(deal, leg)
            if leg.reserve and deal.confirm and (leg.commit or leg.release):
                yield leg.lister, lambda leg=leg: self.commit(deal, leg)
            if leg.commit and not leg.release and not leg.handover and timely:
                yield leg.lister, lambda leg=leg: self.release(deal, leg)
        if len(deal.reserves) == len(deal.legs) and (deal.confirm or deal.cancel):
            yield self.taker, lambda: self.confirm(deal)
        if deal.confirm and not deal.cancel:
            commits = [leg.commit for leg in deal.legs if leg.commit]
            if self.now_ms <= deal.commit_by or len(commits) == len(deal.legs):
                yield self.taker, lambda: self.cancel(deal, *commits)


# --- the judges --------------------------------------------------------------------------


def replayed(history: History) -> set[bytes]:
    """Return who is dishonest, by the rules as they are told and not as they are coded."""
    guilty = {history.cheater.key.public} if history.branch and history.cheater else set()
    for writer in history.writers:
        last_ms = 0
        for at, entry in enumerate(writer.chain):
            fair = entry.at_ms >= last_ms
            last_ms = entry.at_ms
            if carries_stock(entry):
                fair = fair and book_keeping(writer.chain[:at], entry)
            if not fair:
                guilty.add(entry.author)
                break
    for deal in history.deals:
        guilty |= replayed_trade(history, deal.propose)
    return guilty


def replayed_trade(  # noqa: PLR0912  # the rules, one after the other
    history: History, propose: Entry
) -> set[bytes]:
    every = [entry for writer in history.writers for entry in writer.chain]
    offers = {entry.id: entry for entry in every if entry.body.type == EntryType.OFFER}
    said = [
        entry
        for entry in every
        if entry.body.type in TRADE_TYPES and propose.id in entry.body.refs[:1]
    ]
    known = {entry.id for entry in said} | {*propose.body.refs}
    listers = {offers[lot].author for lot in propose.body.refs}
    releases = {
        entry.id: entry.author
        for entry in said
        if entry.body.type == EntryType.RELEASE and entry.author in listers
    }
    guilty: set[bytes] = set()

    def of(author: bytes, kind: EntryType) -> list[Entry]:
        return [entry for entry in said if entry.author == author and entry.body.type == kind]

    taker = propose.author
    cancels, confirms = of(taker, EntryType.CANCEL), of(taker, EntryType.CONFIRM)
    commits_of: list[list[Entry]] = []
    for number, lot in enumerate(propose.body.refs):
        lister, until = offers[lot].author, propose.body.facts[4 + 3 * number]
        assert isinstance(until, int)
        reserves = [at for at in of(lister, EntryType.RESERVE) if at.body.refs[1] == lot]
        ids = {at.id for at in reserves}
        commits = [at for at in of(lister, EntryType.COMMIT) if at.body.refs[2] in ids]
        commits_of.append(commits)
        if len(reserves) > 1 or len(commits) > 1:
            guilty.add(lister)
        for no in of(lister, EntryType.CANCEL):
            if any(no.seq < at.seq for at in reserves):
                guilty.add(lister)
        for release in of(lister, EntryType.RELEASE):
            excuses = {at.id for at in cancels}
            excuses |= {at for at, author in releases.items() if author != lister}
            causes = set(release.body.refs[2:])
            for commit in commits:
                if commit.body.refs[2] != release.body.refs[1]:
                    continue
                early = release.at_ms <= until and not causes & excuses
                if release.seq < commit.seq or (early and causes <= known):
                    guilty.add(lister)
    if len(confirms) > 1 or any(no.seq < yes.seq for no in cancels for yes in confirms):
        guilty.add(taker)
    for yes in confirms:
        for no in cancels:
            causes, by = set(no.body.refs[1:]), yes.body.facts[0]
            assert isinstance(by, int)
            excused = any(releases.get(at, taker) != taker for at in causes)
            if no.seq < yes.seq or excused or not causes <= known:
                continue
            seen = all(
                any(at.id in causes and at.body.refs[1] == yes.id and at.at_ms <= by for at in made)
                for made in commits_of
            )
            if no.at_ms <= by or seen:
                guilty.add(taker)
    return guilty


def searched(history: History) -> set[bytes]:
    """Return against whom two or three of its entries, whichever, prove anything."""
    guilty: set[bytes] = set()
    for writer in history.writers:
        chain = writer.chain
        forked = [
            entry
            for entry in history.branch
            if entry.author == writer.key.public
            and entry.seq <= len(chain)
            and chain[entry.seq - 1].id != entry.id
        ]
        stocked = [entry for entry in chain if carries_stock(entry)]
        if (
            forked
            or any(breaks(Rule.RANGE, (entry,)) for entry in stocked)
            or any(
                (other.id == entry.body.prev and other.at_ms > entry.at_ms)
                or (carries_stock(entry) and any(breaks(rule, (other, entry)) for rule in Rule))
                for other, entry in combinations(chain, 2)
            )
            or any(breaks(Rule.ARITHMETIC, accused) for accused in combinations(stocked, 3))
        ):
            guilty.add(writer.key.public)
    for propose, entries in trades(history):
        guilty |= {fault.accused for fault in fold(propose, entries, 0).faults}
    return guilty


def trades(history: History) -> Iterator[tuple[Entry, list[Entry]]]:
    every = [entry for writer in history.writers for entry in writer.chain]
    for deal in history.deals:
        propose = deal.propose
        yield (
            propose,
            [
                entry
                for entry in every
                if entry.id in propose.body.refs or propose.id in entry.body.refs[:1]
            ],
        )


class Ledger:
    """A store that was brought every chain in runs of a few entries, each signed at its end."""

    def __init__(self, history: History) -> None:
        self.store = MemoryStore()
        self.runs: dict[bytes, tuple[Entry, ...]] = {}
        """Entry id -> it and what follows up to a valid signature."""
        for writer in history.writers:
            ends = {len(writer.chain), len(writer.chain) - 1}
            ends |= {at for at in range(1, len(writer.chain)) if history.dice.random() < 0.15}
            self.bring(writer, writer.chain, ends)
        if history.branch and history.cheater:
            self.bring(history.cheater, history.branch, {len(history.branch)})

    def bring(self, writer: Writer, chain: list[Entry], ends: set[int]) -> None:
        start = 0
        for end in sorted(ends - {0}):
            run = (*chain[start : end - 1], writer.signed(chain[end - 1]))
            for at, entry in enumerate(run):
                self.runs.setdefault(entry.id, run[at:])
            records = [Record(entry) for entry in run]
            batch = admit(self.store.view(records), records, Check.RUNS)
            self.store.commit([batch], durable=False)
            start = end

    def proofs(self, history: History) -> list[Proof]:
        """Return what can be proven, each through its bytes."""
        made = [prove_evidence(evidence) for evidence in self.store.evidence()]
        for propose, entries in trades(history):
            made += [
                prove_fault(fault, propose, entries, lambda entry: self.runs[entry.id])
                for fault in fold(propose, entries, 0).faults
            ]
        assert None not in made
        return [decode_proof(encode_proof(proof)) for proof in made if proof is not None]


def compare(number: int) -> Counter[str]:
    """Make one history, and hold the judges against each other; return what was counted."""
    history = History(number)
    counts: Counter[str] = Counter(histories=1)
    counts["entries"] += sum(len(writer.chain) for writer in history.writers) + len(history.branch)
    truth = replayed(history)
    honest = history.cheater is None
    assert truth <= ({history.cheater.key.public} if history.cheater else set()), number
    assert searched(history) == truth, number
    ledger = Ledger(history)
    proofs = ledger.proofs(history)
    assert {verify_proof(proof).author for proof in proofs} == truth, number
    report = audit(ledger.store, history.now_ms)
    found = {at.author for at in report.findings if at.severity is Severity.PROVEN}
    assert found == truth, number
    # Whoever broke the rule stands still, so that a trade may lack what it would have said.
    damaged = {at.text for at in report.findings if at.severity is Severity.CORRUPT}
    assert not damaged, (number, damaged)
    counts["dishonest" if truth else "honest"] += 1
    if not truth and not honest:
        counts["bent, and still right"] += 1
    if truth:
        counts[f"dishonest by {history.kind}"] += 1
    for proof in proofs:
        counts["proofs"] += 1
        counts[f"proofs of {len(proof.elements)} signed entries"] += 1
        if any(len(element) > 1 for element in proof.elements):
            counts["proofs that lean on a run"] += 1
        if proof.kind is ProofKind.TRADE:
            counts["proofs of a trade"] += 1
        counts[f"rule: {proof.rule}"] += 1
    return counts


def compare_all(numbers: range) -> Counter[str]:
    """Compare many; a disagreement is an AssertionError with the history's number."""
    counts: Counter[str] = Counter()
    for number in numbers:
        counts.update(compare(number))
    return counts


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    begun = time.monotonic()
    counts: Counter[str] = Counter()
    slices = [range(at, min(at + 500, wanted)) for at in range(0, wanted, 500)]
    with ProcessPoolExecutor() as pool:
        for done in pool.map(compare_all, slices):
            counts.update(done)
    for name in sorted(counts):
        print(f"{counts[name]:>10,}  {name}")
    print(f"all four judges agree; {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
