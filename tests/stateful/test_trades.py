"""Trades of two and three parties as a state machine, over real desks, chains and ledgers.

Whatever is lost, late, cancelled, kept or lied about: when all deadlines are past and what can
arrive has arrived, no trade is open, every unit of every lot is accounted for, all who are left
see the same, and the audit is clean or accuses the one who cheated.

Many more histories than by default: HYPOTHESIS_PROFILE=long make test T=tests/stateful
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from passby.geo.cells import cell_at, cell_text
from passby.ledger.audit import audit
from passby.ledger.draft import Draft, Reserve, Resolve
from passby.ledger.findings import Severity
from passby.ledger.ingest import Check
from passby.ledger.store_memory import MemoryStore
from passby.node import desk as desk_module
from passby.node.chains import Chains
from passby.node.custody import custody_of
from passby.node.desk import Desk
from passby.node.listing import draft_of, read_listed
from passby.node.participant import Identity
from passby.node.sealing import Sealing
from passby.node.storage import InlineStorage
from passby.protocol.errors import LocalError, RefusedError
from passby.protocol.keys import Certificate, SigningKey
from passby.protocol.trade import TAKER, State, Trade
from passby.protocol.turns import Step, turns
from passby.protocol.types import EntryType

T = TypeVar("T")
T0 = 1_700_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
HOME = cell_at(52.375, 4.884)
STOCK = 900
GIVER, TAKES, CARRIES = 0, 1, 2
OPEN = {State.PROPOSED, State.RESERVED, State.CONFIRMED, State.IN_CUSTODY}
CHEATS = (
    EntryType.RESERVE,
    EntryType.CONFIRM,
    EntryType.COMMIT,
    EntryType.HANDOVER,
    EntryType.RECEIPT,
    EntryType.RELEASE,
    EntryType.CANCEL,
)
ONWARD = (EntryType.RESERVE, EntryType.HANDOVER, EntryType.RECEIPT)
PERSONS_STEPS = (*ONWARD, EntryType.CANCEL, EntryType.RELEASE, EntryType.ADJUST)
logging.getLogger("passby.node.desk").setLevel(logging.CRITICAL)


def quick(code: str, propose: bytes, giver: bytes, holder: bytes) -> bytes:
    """Stand in for argon2id, of whose 60 ms a history would take hundreds; it has its own tests."""
    return sha256(b"\x00".join((code.encode(), propose, giver, holder))).digest()[:16]


def wait_for(work: Callable[[], Awaitable[T]]) -> T:
    return trio.run(work)


class Person:
    """A key, a ledger and a desk, with nobody's network."""

    def __init__(self, name: str, world: Trades, skew_ms: int) -> None:
        self.name = name
        self.world = world
        self.skew_ms = skew_ms
        self.here = True
        key = SigningKey(sha256(name.encode()).digest())
        root = SigningKey(sha256(b"root" + name.encode()).digest())
        certificate = Certificate.issue(root, key.public, T0)
        self.identity = Identity(key, name, certificate.raw, bytes(16), sha256(key.public).digest())
        self.store = MemoryStore()
        storage = InlineStorage(self.store, key.public)
        salt = world.dice.randbytes
        self.chains = Chains(storage, key, self.clock, salt)
        self.chains.clock_guard.accept()
        sealing = Sealing(self.chains, self.identity.box, salt)
        self.desk = Desk(self.chains, self.clock, self.identity.code_key, salt, sealing)
        wait_for(lambda: self.chains.say(lambda _: [self.identity.genesis()]))

    @property
    def key(self) -> bytes:
        return self.chains.author

    def clock(self) -> int:
        return self.world.now_ms + self.skew_ms

    def list(self, **changes: Any) -> bytes:
        lot = {
            "side": "offer",
            "name": "Brake fluid",
            "category": "fluids",
            "unit": "MLT",
            "amount": STOCK,
            "price": {"minor": 400, "per_amount": STOCK, "currency": "EUR"},
            "until_ms": T0 + 300 * DAY,
        }
        draft = draft_of(read_listed(lot | changes), HOME, self.clock())
        (record,) = wait_for(lambda: self.chains.say(lambda _: [draft]))
        return record.entry.id

    def trade(self, trade_id: bytes) -> Trade | None:
        try:
            return self.desk.trade(trade_id)
        except RefusedError:
            return None

    def steps(self, trade: Trade) -> list[Step]:
        return [step for step in turns(trade, self.clock()) if step.party == self.key]

    def work(self) -> None:
        """Let the node take the steps that are its own."""
        if self.here:
            for trade_id in self.world.proposed:
                if self.trade(trade_id) is not None:
                    wait_for(lambda trade_id=trade_id: self.desk._advance(trade_id))

    def hear(self, author: Person, most: int) -> bool:
        """Take in at most so many further entries of another's chain."""
        have = self.chains.head_seq(author.key)
        records = author.store.run(author.key, have + 1, have + most, 10**7)
        if records:
            wait_for(lambda: self.chains.admit(records, Check.RUNS))
        return bool(records)


class Trades(RuleBasedStateMachine):
    """Ann gives, Ben takes, Cyd carries and takes; one of them may cheat, any may vanish."""

    people: tuple[Person, ...] = ()
    now_ms = T0

    def __init__(self) -> None:
        super().__init__()
        self.dice = random.Random(0)
        self.proposed: list[bytes] = []
        self.told: set[tuple[bytes, int, bytes]] = set()
        self.cheater: Person | None = None
        self.patched = patch.object(desk_module, "stretch", quick)
        self.patched.start()

    @initialize(
        skews_s=st.tuples(*[st.integers(-45, 45)] * 3),
        cheater=st.sampled_from([None, GIVER, TAKES, CARRIES]),
        seed=st.integers(0, 2**16),
    )
    def begin(self, skews_s: tuple[int, ...], cheater: int | None, seed: int) -> None:
        self.dice.seed(seed)
        self.people = tuple(
            Person(name, self, skew_s * 1000)
            for name, skew_s in zip(("ann", "ben", "cyd"), skews_s, strict=True)
        )
        self.cheater = None if cheater is None else self.people[cheater]
        ann, _, cyd = self.people
        self.goods = ann.list()
        self.room = cyd.list(category="carriage", carry_to=cell_text(HOME))
        self.everybody_hears()

    # --- what people and nodes do ------------------------------------------------------

    @precondition(lambda self: len(self.proposed) < 2)
    @rule(
        shape=st.sampled_from(["carried", "carried", "fetched", "by cyd"]),
        amount=st.integers(1, 600),
        rounds=st.integers(0, 4),
    )
    def propose(self, shape: str, amount: int, rounds: int) -> None:
        taker = self.people[CARRIES if shape == "by cyd" else TAKES]
        carriers = [(self.room, None)] if shape == "carried" else []
        if not taker.here:
            return
        until_ms = self.now_ms + 2 * HOUR
        try:
            trade = wait_for(
                lambda: taker.desk.propose(
                    self.goods,
                    amount,
                    handover_until_ms=until_ms,
                    respond_within_s=600,
                    carriers=carriers,
                )
            )
        except RefusedError:
            return  # too little is left
        self.proposed.append(trade.id)
        self.everybody_hears(most=3)
        if rounds:
            self.all_is_well_for_a_while(len(self.proposed) - 1, rounds, 1, 0)

    @precondition(lambda self: self.proposed)
    @rule(
        which=st.integers(0, 2), at=st.integers(0, 1), choice=st.integers(0, 20), odd=st.booleans()
    )
    def act(self, which: int, at: int, choice: int, odd: bool) -> None:
        person, trade_id = self.people[which], self.proposed[at % len(self.proposed)]
        trade = person.trade(trade_id)
        if not person.here or trade is None:
            return
        steps = [step for step in person.steps(trade) if step.type in PERSONS_STEPS]
        if steps:
            step = steps[choice % len(steps)]
            if step.type not in (EntryType.CANCEL, EntryType.RELEASE) or choice > 10:
                self.take(person, trade, step, odd=odd)

    @rule(which=st.integers(0, 2))
    def node_works(self, which: int) -> None:
        self.people[which].work()

    @precondition(lambda self: self.proposed)
    @rule(
        at=st.integers(0, 1),
        rounds=st.integers(1, 5),
        odd=st.integers(0, 5),
        then_ms=st.sampled_from([0, 3 * HOUR, 30 * MINUTE, 4 * DAY]),
    )
    def all_is_well_for_a_while(self, at: int, rounds: int, odd: int, then_ms: int) -> None:
        """Everybody hears of everything and does the next thing that the trade waits for.

        After that nobody hears anything: what was written last is not known yet when the nodes
        notice that so much time has passed.
        """
        trade_id = self.proposed[at % len(self.proposed)]
        for number in range(rounds):
            self.now_ms += 5000
            for person in self.people:
                person.work()
                self.everybody_hears()
            for person in self.people:
                trade = person.trade(trade_id) if person.here else None
                steps = person.steps(trade) if trade is not None else []
                steps = [step for step in steps if step.type in ONWARD and not step.back]
                if trade is not None and steps:
                    self.take(person, trade, steps[0], odd=odd == 0)
                    if number < rounds - 1 or not then_ms:
                        self.everybody_hears()
        if then_ms:
            self.now_ms += then_ms
            for person in self.people:
                person.work()

    @rule(hearer=st.integers(0, 2), author=st.integers(0, 2), most=st.sampled_from([1, 2, 100]))
    def hear(self, hearer: int, author: int, most: int) -> None:
        if hearer != author and self.people[hearer].here:
            self.people[hearer].hear(self.people[author], most)

    @rule(ms=st.sampled_from([1000, MINUTE, 12 * MINUTE, 20 * MINUTE, 2 * HOUR, DAY, 4 * DAY]))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(which=st.integers(0, 2), sure=st.integers(0, 3))
    def vanish(self, which: int, sure: int) -> None:
        if sure == 0 and sum(person.here for person in self.people) > 2:
            self.people[which].here = False

    @precondition(lambda self: self.cheater is not None and self.proposed)
    @rule(kind=st.sampled_from(CHEATS), at=st.integers(0, 1), seed=st.integers(0, 2**16))
    def cheat(self, kind: EntryType, at: int, seed: int) -> None:
        """Write what its key can sign and its own ledger lets pass, whoever's turn it is."""
        cheater, dice = self.cheater, random.Random(seed)
        assert cheater is not None
        trade = cheater.trade(self.proposed[at % len(self.proposed)])
        if trade is None or not cheater.here:
            return
        draft = self.lie(cheater, trade, kind, dice)
        if draft is not None:
            # It may have no shape, or no stock, that its own ledger would take.
            with suppress(LocalError):
                wait_for(lambda: cheater.chains.say(lambda _: [draft]))

    # --- in detail ---------------------------------------------------------------------

    def take(self, person: Person, trade: Trade, step: Step, *, odd: bool) -> None:
        """Take a person's step, by the desk's own ways."""
        desk, leg = person.desk, trade.legs[step.number - 1]
        try:
            match step.type:
                case EntryType.RESERVE:
                    wait_for(lambda: desk.accept(trade.id))
                case EntryType.CANCEL | EntryType.RELEASE:
                    wait_for(lambda: desk.cancel(trade.id))
                case EntryType.ADJUST:
                    wait_for(lambda: desk.put_back(trade.id, None))
                case EntryType.RECEIPT if step.party == leg.lister and step.party != trade.party(
                    leg.to
                ):
                    wait_for(lambda: desk.paid(trade.id, None))
                case EntryType.RECEIPT:
                    wait_for(lambda: desk.receive(trade.id, 0 if odd or not leg.handover else None))
                case EntryType.HANDOVER:
                    self.meet(person, trade, step, odd=odd)
                case _:
                    raise AssertionError(step)
        except RefusedError:
            pass  # the step of another lot came first, or the terms are not here yet

    def meet(self, giver: Person, trade: Trade, step: Step, *, odd: bool) -> None:
        """Bring goods, or bring them back, to a party that tells its words if it should."""
        leg = trade.legs[step.number - 1]
        number = leg.number if step.back else leg.to
        holder = next(each for each in self.people if each.key == trade.party(number))
        seen = holder.trade(trade.id)
        place = (trade.id, step.number + 100 * step.back, holder.key)
        if not holder.here or seen is None or place in self.told:
            return
        theirs = turns(seen, holder.clock())
        if holder is not self.cheater and not any(
            (turn.party, turn.type, turn.number, turn.back)
            == (giver.key, EntryType.HANDOVER, step.number, step.back)
            for turn in theirs
        ):
            return
        words = holder.desk._words(trade.id, giver.key)
        if step.back:
            wait_for(lambda: giver.desk.give_back(trade.id, words))
        else:
            some = 1 if odd else None
            wait_for(lambda: giver.desk.handover(trade.id, words, some))
        self.told.add(place)

    def lie(
        self, cheater: Person, trade: Trade, kind: EntryType, dice: random.Random
    ) -> Draft | None:
        mine = [leg for leg in trade.legs if leg.lister == cheater.key]
        leg = dice.choice(mine) if mine else trade.legs[0]
        held = [record.entry.id for record in cheater.store.trade(trade.id)]
        some = tuple(dice.sample(held, min(len(held), dice.randrange(3))))
        name = (trade.id,)
        reserve = leg.reserves[0] if leg.reserves else None
        hashes = tuple(dice.randbytes(32) for _ in trade.givers_to(leg.number))
        match kind:
            case EntryType.RESERVE if leg.offer is not None and mine:
                move = Reserve(leg.offer.seq, dice.choice([leg.amount, 1]))
                facts = (cheater.clock() + MINUTE, *hashes)
                return Draft(kind, (*name, leg.lot), facts, move=move)
            case EntryType.CONFIRM:
                reserves = tuple(each.reserve.id for each in trade.legs if each.reserve)
                facts = (trade.commit_by_ms or T0, *(dice.randbytes(32) for _ in hashes))
                return Draft(kind, (*name, *(reserves or some)), facts)
            case EntryType.COMMIT if trade.confirms and reserve:
                return Draft(kind, (*name, trade.confirms[0].id, reserve.id))
            case EntryType.HANDOVER if reserve and leg.offer is not None and mine:
                move = Resolve(leg.offer.seq, reserve.seq, leg.amount, leg.amount)
                facts = (dice.randbytes(16), leg.amount)
                return Draft(kind, (*name, dice.choice(held), reserve.id), facts, move=move)
            case EntryType.RECEIPT:
                facts = (dice.choice([1, 2]), dice.choice([0, 1, leg.amount]))
                return Draft(kind, (*name, dice.choice(held)), facts)
            case EntryType.RELEASE if reserve and leg.offer is not None and mine:
                move = Resolve(leg.offer.seq, reserve.seq, reserve.body.stock[3], 0)
                return Draft(kind, (*name, reserve.id, *some), (0,), move=move)
            case EntryType.CANCEL:
                return Draft(kind, (*name, *some), (0,))
            case _:
                return None

    def everybody_hears(self, most: int = 1000) -> None:
        for hearer in self.people:
            for author in self.people:
                if hearer is not author and hearer.here:
                    hearer.hear(author, most)

    # --- the end -----------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.people:
                self.end()
        finally:
            self.patched.stop()

    def end(self) -> None:
        """Let all deadlines pass and everything arrive; hold the end against the promises."""
        for _ in range(2):
            self.now_ms += 40 * DAY
            for _ in range(4):
                self.everybody_hears()
                for person in self.people:
                    person.work()
        left = [person for person in self.people if person.here]
        for trade_id in self.proposed:
            self.check_trade(trade_id, left)
        for lot in (self.goods, self.room):
            self.check_stock(lot, left)
        for person in left:
            self.check_audit(person)

    def check_trade(self, trade_id: bytes, left: list[Person]) -> None:
        trades = [person.desk.trade(trade_id) for person in left]
        first = trades[0]
        assert first.state not in OPEN, first.state
        for person, trade in zip(left, trades, strict=True):
            assert trade.state is first.state
            assert trade.legs == first.legs
            assert custody_of(trade) == custody_of(first)
            if person is not self.cheater:
                assert person.key not in {fault.accused for fault in trade.faults}, trade.faults
                for leg in trade.legs:
                    if leg.lister == person.key and leg.reserves:
                        assert len([*leg.releases, *leg.handovers]) == 1, trade.state
        if first.state is State.SETTLED:
            for leg in first.legs:
                assert leg.returned or leg.to != TAKER or leg.handover or leg.received

    def check_stock(self, lot: bytes, left: list[Person]) -> None:
        """Goods = what remains + what is reserved + what was handed over, less what came back."""
        for person in left:
            offer, stock = person.store.record(lot), person.store.lot(lot)
            assert offer is not None
            assert stock is not None
            gone = back = 0
            for record in person.store.log(offer.entry.author, None, 10**4):
                body = record.entry.body
                if not body.stock or body.stock[0] != offer.entry.seq:
                    continue
                if body.type == EntryType.HANDOVER:
                    gone += body.stock[3]
                elif body.type == EntryType.ADJUST:
                    back += body.stock[3]
            assert stock.remaining + stock.reserved + gone - back == STOCK
            lister = next(each for each in self.people if each.key == offer.entry.author)
            if lister.here and lister is not self.cheater:
                assert stock.reserved == 0
            elsewhere = left[0].store.lot(lot)
            assert elsewhere is not None
            assert (stock.remaining, stock.reserved) == (elsewhere.remaining, elsewhere.reserved)

    def check_audit(self, person: Person) -> None:
        report = audit(person.store, person.clock(), signatures=True)
        guilty = {found.author for found in report.findings if found.severity is Severity.PROVEN}
        assert guilty <= {self.cheater.key if self.cheater else None}, report.findings
        assert not [f for f in report.findings if f.severity is Severity.CORRUPT]


def test_every_way_a_trade_can_go_ends_and_adds_up() -> None:
    by_default = settings.default
    assert by_default is not None
    count = max(40, by_default.max_examples) if by_default.max_examples > 100 else 40
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # Hypothesis gives it no types
        Trades, settings=settings(max_examples=count, stateful_step_count=20)
    )


@pytest.mark.parametrize("then_ms", [20 * MINUTE, 3 * HOUR, 4 * DAY])
@pytest.mark.parametrize("rounds", range(1, 7))
@pytest.mark.parametrize("shape", ["carried", "fetched"])
def test_a_trade_can_be_cut_off_at_every_step(shape: str, rounds: int, then_ms: int) -> None:
    # At the third round of a delivery the giver's hand-over is under way: a carrier that let go
    # of its room then, would be proven to keep the goods.
    trades = Trades()
    trades.begin((0, 20, -20), None, rounds)
    trades.propose(shape, 100, 0)
    trades.all_is_well_for_a_while(0, rounds, 1, then_ms)
    trades.teardown()
