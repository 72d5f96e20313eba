"""Random histories of a trade: loss, delay, skewed clocks, one cheater; the honest keep turns."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.chains import (
    DAY,
    HANDOVER_UNTIL,
    HOUR,
    MINUTE,
    RESPOND_BY,
    T0,
    Deal,
    Party,
)

from passby.protocol.entry import Entry
from passby.protocol.errors import RemoteError
from passby.protocol.secret import secret_hash
from passby.protocol.trade import TAKER, State, Trade, fold
from passby.protocol.turns import Step, cancel_names, release_causes, turns
from passby.protocol.types import EntryType, Receipted

# Where each lot's goods go: one giver, two givers, a carrier, two givers with one carrier,
# two carriers in a row.
TOPOLOGIES = ([0], [0, 0], [2, 0], [3, 3, 0], [2, 3, 0])
SKEW_MS = 45_000
LONG_AFTER = T0 + 30 * DAY
STEPS_MS = (500, 1000, 5000, 20_000)
LONG_STEPS_MS = (MINUTE, 10 * MINUTE, HOUR, 10 * HOUR)


class Node:
    """A party with its own view, clock and memory of the secrets it has told."""

    def __init__(self, world: World, party: Party, *, honest: bool, skew_ms: int) -> None:
        self.world = world
        self.party = party
        self.honest = honest
        self.skew_ms = skew_ms
        self.view: dict[bytes, Entry] = {}
        self.places: dict[tuple[bytes, int], bytes] = {}
        self.told: set[tuple[int, int]] = set()
        self.proven: set[tuple[bytes, str]] = set()

    def date(self) -> int:
        """Return the date that an entry written now would bear."""
        return max(self.world.now_ms + self.skew_ms, self.party.chain[-1].at_ms)

    def trade(self) -> Trade:
        """Fold the view, and hold it against what must always be so."""
        trade = fold(self.world.deal.propose, self.view.values(), self.date())
        faults = {(fault.accused, fault.rule) for fault in trade.faults}
        honest = {node.party.public for node in self.world.nodes if node.honest}
        assert not {accused for accused, _ in faults} & honest, trade.faults
        assert self.proven <= faults
        self.world.states.add(trade.state)
        self.proven = faults
        return trade

    def act(self, eagerness: float) -> bool:
        """Take one of the own turns, and tell whether there was one."""
        trade, dice = self.trade(), self.world.dice
        steps = [s for s in turns(trade, self.date()) if s.party == self.party.public]
        dice.shuffle(steps)
        for step in steps:
            likely = 1.0 if step.automatic else WILL.get(step.type, 0.5)
            if step.back:
                likely = 0.1
            if dice.random() < likely * eagerness and self.write(trade, step):
                return True
        return False

    def write(self, trade: Trade, step: Step) -> bool:  # a branch for each type
        deal, at_ms, party = self.world.deal, self.date(), self.party
        leg = trade.legs[step.number - 1] if step.number else None
        name = (trade.id,)
        facts: tuple[int | bytes, ...]
        match step.type:
            case EntryType.RESERVE:
                assert leg is not None
                stock = self.stock(step.number, 0, leg.amount, -leg.amount, leg.amount)
                facts = (at_ms + 15 * MINUTE, *deal.hashes(step.number))
                self.send(party.write(step.type, (*name, leg.lot), stock, facts, at_ms))
            case EntryType.CONFIRM:
                refs = (*name, *(leg.reserve.id for leg in trade.legs if leg.reserve))
                assert trade.commit_by_ms is not None
                facts = (trade.commit_by_ms, *deal.hashes(TAKER))
                self.send(party.write(step.type, refs, facts=facts, at_ms=at_ms))
            case EntryType.COMMIT:
                assert leg is not None
                assert leg.reserve is not None
                assert trade.confirm is not None
                refs = (*name, trade.confirm.id, leg.reserve.id)
                self.send(party.write(step.type, refs, at_ms=at_ms))
            case EntryType.HANDOVER:
                return self.hand(trade, step, at_ms)
            case EntryType.RECEIPT:
                assert leg is not None
                about = leg.handover or leg.commits[0]
                if party.public == leg.lister:
                    answer = leg.disputed and leg.goods_receipt
                    about = answer or about
                    facts = (int(Receipted.MONEY), 200)
                else:
                    wrong = self.world.dice.random() < 0.1
                    amount = leg.amount if leg.handover is None else leg.handover.body.facts[1]
                    assert isinstance(amount, int)
                    facts = (int(Receipted.GOODS), 0 if wrong else amount)
                self.send(party.write(step.type, (*name, about.id), facts=facts, at_ms=at_ms))
            case EntryType.RELEASE:
                assert leg is not None
                in_hand = any((up.number, leg.number) in self.told for up in trade.bringing_to(leg))
                seen = all(up.handover for up in trade.bringing_to(leg))
                if in_hand and not seen and at_ms < leg.kept_until_ms:
                    return False
                reserve = leg.reserves[0]
                held = reserve.body.stock[3]
                stock = self.stock(step.number, reserve.seq, held, held, -held)
                refs = (*name, reserve.id, *release_causes(trade, leg))
                self.send(party.write(step.type, refs, stock, (0,), at_ms))
            case EntryType.CANCEL:
                names = cancel_names(trade) if party.public == trade.taker else ()
                self.send(party.write(step.type, (*name, *names), facts=(0,), at_ms=at_ms))
            case EntryType.ADJUST:
                assert leg is not None
                assert leg.returned is not None
                stock = self.stock(step.number, 0, 1, 1, 0)
                refs = (leg.lot, leg.returned.id)
                self.send(party.write(step.type, refs, stock, at_ms=at_ms))
            case _:
                raise AssertionError(step)
        return True

    def stock(self, number: int, reserve: int, *change: int) -> tuple[int, ...]:
        lot = self.party.lots[self.world.deal.offers[number - 1].id]
        return self.party.change(lot, reserve, *change)

    def hand(self, trade: Trade, step: Step, at_ms: int) -> bool:
        """Meet the receiver, take the goods' secret, and write the handover."""
        leg = trade.legs[step.number - 1]
        giver, holder = (leg.to, leg.number) if step.back else (leg.number, leg.to)
        other = self.world.node(holder)
        if not other.tells(step, giver, holder):
            return False
        document = trade.confirm if holder == TAKER else trade.legs[holder - 1].reserve
        secret = self.world.deal.secrets.get((giver, holder))
        if document is None or secret is None:
            return False
        hashed = secret_hash(trade.id, self.party.public, other.party.public, secret)
        if hashed not in document.body.facts:
            return False
        other.told.add((giver, holder))
        if step.back:
            assert leg.handover is not None
            commits = trade.legs[leg.to - 1].commits if leg.to != TAKER else trade.confirms
            refs = (trade.id, commits[0].id, document.id, leg.handover.id)
            self.send(self.party.write(step.type, refs, (), (secret, leg.amount), at_ms))
        else:
            brought = [up.handover.id for up in trade.bringing_to(leg) if up.handover]
            named = (trade.id, leg.commits[0].id, document.id, *brought)
            stock = self.stock(leg.number, leg.reserves[0].seq, leg.amount, 0, -leg.amount)
            facts = (secret, leg.amount)
            self.send(self.party.write(step.type, named, stock, facts, at_ms))
        return True

    def tells(self, step: Step, giver: int, holder: int) -> bool:
        """Tell the secret only where the own view, too, says that it is the giver's turn."""
        if not self.honest:
            return True
        key = self.world.node(giver).party.public
        seen = turns(self.trade(), self.date())
        return (
            any(
                (turn.party, turn.type, turn.number, turn.back)
                == (key, EntryType.HANDOVER, step.number, step.back)
                for turn in seen
            )
            and (giver, holder) not in self.told
        )

    def take(self, entry: Entry) -> None:
        """Hold an entry, but of a forked chain no other branch than the one that came first."""
        place = (entry.author, entry.seq)
        if self.places.setdefault(place, entry.id) == entry.id:
            self.view[entry.id] = entry

    def send(self, entry: Entry) -> None:
        self.view[entry.id] = entry
        self.world.send(self, entry)

    def fork(self) -> None:
        """Go back in the own chain, behind what opened the trade, and say other things there."""
        begun = {self.world.deal.propose.id, *(offer.id for offer in self.world.deal.offers)}
        chain = self.party.chain
        opened = max((at for at, entry in enumerate(chain) if entry.id in begun), default=0) + 1
        if opened < len(chain):
            del chain[self.world.dice.randint(opened, len(chain) - 1) :]

    def cheat(self) -> None:
        """Write whatever its keys can sign, with refs and dates as it likes."""
        dice, deal, trade = self.world.dice, self.world.deal, self.trade()
        kind = EntryType(dice.randrange(EntryType.RESERVE, EntryType.CANCEL + 1))
        mine = [n for n in range(1, len(deal.to) + 1) if deal.party(n) is self.party]
        number = dice.choice(mine) if mine else 1
        leg = trade.legs[number - 1]
        seen = [*self.view]
        at_ms = self.date() + dice.choice([0, 0, MINUTE, HOUR, 3 * DAY]) * dice.choice([0, 1])
        stock: tuple[int, ...] = ()
        facts: tuple[int | bytes, ...] = ()
        own = [entry.id for entry in leg.reserves] or seen
        some = dice.sample(seen, min(len(seen), dice.randrange(3)))
        reserve_seq = leg.reserves[0].seq if leg.reserves else 0
        lot = leg.offer.seq if leg.offer else 1
        with_stock = (lot, lot, reserve_seq, leg.amount, 473, 0)
        match kind:
            case EntryType.RESERVE:
                refs = [leg.lot]
                stock, facts = with_stock, (at_ms + MINUTE, *deal.hashes(number))
            case EntryType.CONFIRM:
                refs = [leg.reserve.id for leg in trade.legs if leg.reserve] or some
                facts = (trade.commit_by_ms or at_ms, *deal.hashes(TAKER))
            case EntryType.COMMIT:
                confirm = trade.confirms[0].id if trade.confirms else dice.choice(seen)
                refs = [confirm, dice.choice(own)]
            case EntryType.HANDOVER:
                holders = [leg.to, *(up.number for up in trade.bringing_to(leg))]
                holder = dice.choice(holders)
                taken = self.world.node(holder).told
                secret = bytes(16)
                if (number, holder) in taken:
                    secret = deal.secrets.get((number, holder), secret)
                documents = trade.confirms if holder == TAKER else trade.legs[holder - 1].reserves
                document = documents[0].id if documents else dice.choice(seen)
                refs = [dice.choice(seen), document, *some]
                stock = with_stock if holder == leg.to else ()
                facts = (secret, dice.choice([1, 473]))
            case EntryType.RECEIPT:
                refs = [dice.choice(seen)]
                facts = (dice.choice([1, 2]), dice.choice([0, 1, 473]))
            case EntryType.RELEASE:
                refs = [dice.choice(own), *some]
                stock, facts = with_stock, (0,)
            case _:
                refs, facts = some, (0,)
        try:
            entry = self.party.write(kind, (deal.propose.id, *refs), stock, facts, at_ms)
        except RemoteError:
            return  # Such bytes would not get past any honest door.
        self.view[entry.id] = entry
        if dice.random() < 0.6:
            self.world.send(self, entry)


WILL = {
    EntryType.RESERVE: 0.9,
    EntryType.HANDOVER: 0.8,
    EntryType.RECEIPT: 0.8,
    EntryType.CANCEL: 0.04,
    EntryType.RELEASE: 0.04,
}


class World:
    """All parties of one propose, and the messages between them."""

    def __init__(self, seed: int, *, forks: bool = False) -> None:
        self.forks = forks
        self.dice = dice = random.Random(seed)
        self.now_ms = T0
        to = dice.choice(TOPOLOGIES)
        parties = [Party(f"party {number}") for number in range(len(to) + 1)]
        until = [HANDOVER_UNTIL + dice.choice([0, HOUR, DAY]) for _ in to]
        self.deal = Deal.between(parties[0], parties[1:], to, until, RESPOND_BY)
        cheater = dice.choice([None, *parties])
        self.loss = dice.choice([0.0, 0.05, 0.3])
        self.states: set[State] = set()
        self.nodes = [
            Node(self, party, honest=party is not cheater, skew_ms=dice.randint(-SKEW_MS, SKEW_MS))
            for party in parties
        ]
        self.mail: list[tuple[int, Node, Entry]] = []
        self.written: dict[bytes, Entry] = {}
        for entry in (*self.deal.offers, self.deal.propose):
            self.written[entry.id] = entry
            for node in self.nodes:
                node.view[entry.id] = entry

    def node(self, number: int) -> Node:
        return next(node for node in self.nodes if node.party is self.deal.party(number))

    def send(self, sender: Node, entry: Entry) -> None:
        """Post an entry to everybody, with the entries it names; some of it is lost or late."""
        self.written[entry.id] = entry
        for node in self.nodes:
            if node is sender or self.dice.random() < self.loss:
                continue
            delay = self.dice.choice([1000, 1000, 1000, 1000, 10_000, MINUTE, HOUR, DAY])
            for named in (*self.named_by(entry, sender.view), entry):
                self.mail.append((self.now_ms + self.dice.randint(0, delay), node, named))

    def named_by(self, entry: Entry, known: dict[bytes, Entry]) -> Iterator[Entry]:
        for ref in entry.body.refs:
            if ref in known:
                yield from self.named_by(known[ref], known)
                yield known[ref]

    def deliver(self) -> None:
        due = [letter for letter in self.mail if letter[0] <= self.now_ms]
        self.mail = [letter for letter in self.mail if letter[0] > self.now_ms]
        for _, node, entry in due:
            node.take(entry)

    def run(self) -> None:
        """Play the days of the trade, then let everything arrive and everybody tidy up."""
        dice = self.dice
        hurried = dice.randint(4, 12)
        for tick in range(dice.randint(15, 40)):
            short = tick < hurried or dice.random() < 0.3
            self.now_ms += dice.choice(STEPS_MS if short else LONG_STEPS_MS)
            self.deliver()
            for node in dice.sample(self.nodes, dice.randint(1, len(self.nodes))):
                if self.forks and not node.honest and dice.random() < 0.3:
                    node.fork()
                if node.honest or dice.random() < 0.7:
                    node.act(eagerness=0.9)
                else:
                    node.cheat()
        self.now_ms = LONG_AFTER
        every = {entry.id: entry for node in self.nodes for entry in node.view.values()}
        for _ in range(8):
            for node in self.nodes:
                for entry in every.values():
                    node.take(entry)
                while node.honest and self.tidy(node):
                    every.update(node.view)

    def tidy(self, node: Node) -> bool:
        trade = node.trade()
        for step in turns(trade, node.date()):
            if step.party == node.party.public and step.type == EntryType.RELEASE:
                return node.write(trade, step)
        return False


seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=200)
def test_whoever_keeps_to_the_turns_is_never_at_fault_and_never_stuck(seed: int) -> None:
    world = World(seed)
    world.run()
    for number in range(1, len(world.deal.to) + 1):
        node = world.node(number)
        leg = node.trade().legs[number - 1]
        if node.honest and leg.reserves:
            resolved = [*leg.releases, *leg.handovers]
            assert len(resolved) == 1, (seed, number, resolved)


@given(seeds)
@settings(max_examples=40)
def test_no_part_of_a_history_frames_the_honest_or_takes_a_fault_back(seed: int) -> None:
    world = World(seed)
    world.run()
    honest = {node.party.public for node in world.nodes if node.honest}
    every = {entry.id: entry for node in world.nodes for entry in node.view.values()}
    order = sorted(every.values(), key=lambda entry: entry.id)
    world.dice.shuffle(order)
    proven: set[tuple[bytes, str]] = set()
    for count in range(len(order) + 1):
        trade = fold(world.deal.propose, order[:count], LONG_AFTER)
        found = {(fault.accused, fault.rule) for fault in trade.faults}
        assert proven <= found
        assert not {accused for accused, _ in found} & honest, trade.faults
        proven = found


@given(seeds)
@settings(max_examples=150)
def test_who_trades_with_a_forker_is_judged_by_the_branch_that_its_own_entries_name(
    seed: int,
) -> None:
    world = World(seed, forks=True)
    world.run()
    honest = {node.party.public for node in world.nodes if node.honest}
    every = {**world.written, **{e.id: e for node in world.nodes for e in node.view.values()}}
    # Whatever of both branches is shown to a judge, in whatever order, no honest party is blamed
    # and no fault is taken back.
    order = sorted(every.values(), key=lambda entry: entry.id)
    world.dice.shuffle(order)
    proven: set[tuple[bytes, str]] = set()
    for count in range(len(order) + 1):
        trade = fold(world.deal.propose, order[:count], LONG_AFTER)
        found = {(fault.accused, fault.rule) for fault in trade.faults}
        assert proven <= found
        assert not {accused for accused, _ in found} & honest, trade.faults
        proven = found
    for number in range(1, len(world.deal.to) + 1):
        node = world.node(number)
        leg = node.trade().legs[number - 1]
        if node.honest and leg.reserves:
            assert len([*leg.releases, *leg.handovers]) == 1, (seed, number)


@given(seeds)
@settings(max_examples=50)
def test_parties_that_hold_the_same_entries_agree(seed: int) -> None:
    world = World(seed)
    world.run()
    entries = [*world.nodes[0].view.values()]
    world.dice.shuffle(entries)
    trades = [
        fold(world.deal.propose, order, LONG_AFTER)
        for order in (entries, entries[::-1], sorted(entries, key=lambda entry: entry.id))
    ]
    assert trades[0] == trades[1] == trades[2]


def test_the_histories_reach_every_state_and_prove_every_kind_of_fault() -> None:
    states: set[State] = set()
    rules: set[str] = set()
    for seed in range(150):
        world = World(seed)
        world.run()
        states |= world.states
        for node in world.nodes:
            rules |= {fault.rule for fault in node.trade().faults}
    assert states == set(State)
    assert rules >= {
        "reserved twice",
        "confirmed twice",
        "committed twice",
        "released after commit",
        "cancelled after confirming",
        "confirmed after cancelling",
    }
