"""Real signed chains for tests: parties that write entries, and deals between them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from passby.protocol.entry import Body, Entry, parse_entry, sign
from passby.protocol.keys import SigningKey
from passby.protocol.secret import secret_hash
from passby.protocol.trade import TAKER, Trade, fold
from passby.protocol.types import EntryType, Receipted, check_shape

T0 = 1_700_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
CELL = 0x85196953FFFFFFF
RESPOND_BY = T0 + 2 * MINUTE
CONFIRM_BY = T0 + 15 * MINUTE
HANDOVER_UNTIL = T0 + 2 * HOUR


def digest(*parts: object) -> bytes:
    """Return 32 bytes that depend on the parts alone."""
    return hashlib.sha256(repr(parts).encode()).digest()


@dataclass
class Lot:
    """What an author knows of an own lot."""

    offer: Entry
    last_seq: int
    remaining: int
    reserved: int


class Party:
    """A key, its chain and its lots; `at_ms` is its clock."""

    def __init__(self, name: str, at_ms: int = T0) -> None:
        self.name = name
        self.key = SigningKey(digest("party", name))
        self.at_ms = at_ms
        self.chain: list[Entry] = []
        self.lots: dict[bytes, Lot] = {}
        self.write(EntryType.GENESIS, facts=(digest("genesis", name),), at_ms=T0 - DAY)

    @property
    def public(self) -> bytes:
        return self.key.public

    def body(
        self,
        kind: int,
        refs: Iterable[bytes] = (),
        stock: tuple[int, ...] = (),
        facts: tuple[int | bytes, ...] = (),
        at_ms: int | None = None,
    ) -> Body:
        return Body(
            author=self.public,
            seq=len(self.chain) + 1,
            prev=self.chain[-1].id if self.chain else None,
            at_ms=self.at_ms if at_ms is None else at_ms,
            type=kind,
            refs=tuple(refs),
            stock=stock,
            facts=facts,
        )

    def write(
        self,
        kind: int,
        refs: Iterable[bytes] = (),
        stock: tuple[int, ...] = (),
        facts: tuple[int | bytes, ...] = (),
        at_ms: int | None = None,
    ) -> Entry:
        """Append an entry that has passed its shape and a trip over the wire."""
        body = self.body(kind, refs, stock, facts, at_ms)
        check_shape(body)
        entry = parse_entry(sign(self.key, body).raw)
        self.chain.append(entry)
        return entry

    def offer(self, amount: int) -> Entry:
        seq = len(self.chain) + 1
        stock = (seq, 0, 0, amount, amount, 0)
        entry = self.write(EntryType.OFFER, stock=stock, facts=(CELL, T0 + 30 * DAY))
        self.lots[entry.id] = Lot(entry, seq, amount, 0)
        return entry

    def change(
        self, lot: Lot, reserve_seq: int, amount: int, back: int, held: int
    ) -> tuple[int, ...]:
        """Return the stock of the next entry of `lot`, and keep it."""
        previous, lot.last_seq = lot.last_seq, len(self.chain) + 1
        lot.remaining += back
        # Below 0 only where a test breaches on purpose; the fold does not look at these two.
        lot.reserved = max(0, lot.reserved + held)
        return (lot.offer.seq, previous, reserve_seq, amount, lot.remaining, lot.reserved)


@dataclass
class Deal:
    """One propose and whatever its parties write about it, each step with honest defaults."""

    taker: Party
    listers: list[Party]
    amounts: list[int]
    to: list[int]
    until: list[int]
    offers: list[Entry]
    propose: Entry
    entries: list[Entry] = field(default_factory=list)
    secrets: dict[tuple[int, int], bytes] = field(default_factory=dict)
    reserves: dict[int, Entry] = field(default_factory=dict)
    commits: dict[int, Entry] = field(default_factory=dict)
    handovers: dict[int, Entry] = field(default_factory=dict)
    confirmed: Entry | None = None

    @classmethod
    def between(
        cls,
        taker: Party,
        listers: list[Party],
        to: list[int] | None = None,
        until: list[int] | None = None,
        respond_by: int = RESPOND_BY,
    ) -> Deal:
        """Propose 473 of each lister's fresh lot of 946."""
        offers = [lister.offer(946) for lister in listers]
        to = to or [TAKER] * len(listers)
        until = until or [HANDOVER_UNTIL] * len(listers)
        amounts = [473] * len(listers)
        legs = zip(amounts, to, until, strict=True)
        propose = taker.write(
            EntryType.PROPOSE,
            [offer.id for offer in offers],
            facts=(digest("terms"), respond_by, *(number for leg in legs for number in leg)),
        )
        return cls(taker, listers, amounts, to, until, offers, propose, [*offers])

    def party(self, number: int) -> Party:
        return self.taker if number == TAKER else self.listers[number - 1]

    def add(self, entry: Entry) -> Entry:
        self.entries.append(entry)
        return entry

    def copy(self) -> Deal:
        """Return a deal that knows the same entries and may go another way."""
        return replace(self, entries=[*self.entries])

    def fold(self, now_ms: int, entries: Iterable[Entry] | None = None) -> Trade:
        return fold(self.propose, self.entries if entries is None else entries, now_ms)

    def givers_to(self, number: int) -> tuple[int, ...]:
        return self.fold(T0, self.offers).givers_to(number)

    def hashes(self, holder: int) -> tuple[bytes, ...]:
        """Return the secret hashes that party `holder` publishes."""
        hashes = []
        for giver in self.givers_to(holder):
            secret = digest("secret", self.propose.id, giver, holder)[:16]
            self.secrets[giver, holder] = secret
            keys = self.party(giver).public, self.party(holder).public
            hashes.append(secret_hash(self.propose.id, *keys, secret))
        return tuple(hashes)

    def reserve(
        self,
        number: int,
        confirm_by: int = CONFIRM_BY,
        at_ms: int | None = None,
        amount: int | None = None,
        by: Party | None = None,
        hashes: tuple[bytes, ...] | None = None,
    ) -> Entry:
        lister, offer = self.party(number), self.offers[number - 1]
        amount = self.amounts[number - 1] if amount is None else amount
        stock = lister.change(lister.lots[offer.id], 0, amount, -amount, amount)
        facts: tuple[int | bytes, ...] = (
            confirm_by,
            *(self.hashes(number) if hashes is None else hashes),
        )
        refs = (self.propose.id, offer.id)
        entry = (by or lister).write(EntryType.RESERVE, refs, stock, facts, at_ms)
        self.reserves.setdefault(number, entry)
        return self.add(entry)

    def confirm(self, commit_by: int = CONFIRM_BY, at_ms: int | None = None) -> Entry:
        refs = (self.propose.id, *(self.reserves[n].id for n in sorted(self.reserves)))
        facts: tuple[int | bytes, ...] = (commit_by, *self.hashes(TAKER))
        self.confirmed = self.taker.write(EntryType.CONFIRM, refs, facts=facts, at_ms=at_ms)
        return self.add(self.confirmed)

    def commit(self, number: int, at_ms: int | None = None, confirm: Entry | None = None) -> Entry:
        confirm = confirm or self.confirmed
        assert confirm is not None
        refs = (self.propose.id, confirm.id, self.reserves[number].id)
        entry = self.party(number).write(EntryType.COMMIT, refs, at_ms=at_ms)
        self.commits[number] = entry
        return self.add(entry)

    def agree(self) -> Deal:
        """Go on to CONFIRMED."""
        numbers = range(1, len(self.listers) + 1)
        for number in numbers:
            self.reserve(number)
        self.confirm()
        for number in numbers:
            self.commit(number)
        return self

    def handover(
        self,
        number: int,
        amount: int = 473,
        secret: bytes | None = None,
        at_ms: int | None = None,
        by: Party | None = None,
    ) -> Entry:
        """Hand this lot's goods on, resolving its reserve."""
        to = self.to[number - 1]
        lister = self.party(number)
        lot, reserve = lister.lots[self.offers[number - 1].id], self.reserves[number]
        held = reserve.body.stock[3]
        taken = min(amount, held)
        stock = lister.change(lot, reserve.seq, taken, held - taken, -held)
        holding = self.confirmed if to == TAKER else self.reserves[to]
        assert holding is not None
        commit = self.commits.get(number, self.propose)
        named = commit.id if commit is not self.propose else digest("no commit")
        brought = [self.handovers[n].id for n, at in enumerate(self.to, 1) if at == number
                   and n in self.handovers]  # fmt: skip
        secret = self.secrets[number, to] if secret is None else secret
        entry = (by or lister).write(
            EntryType.HANDOVER,
            (self.propose.id, named, holding.id, *brought),
            stock,
            (secret, amount),
            at_ms,
        )
        self.handovers.setdefault(number, entry)
        return self.add(entry)

    def give_back(self, number: int, amount: int = 473, at_ms: int | None = None,
                  secret: bytes | None = None, by: Party | None = None) -> Entry:  # fmt: skip
        """Let the receiver of this lot's goods return them to its lister."""
        to = self.to[number - 1]
        own = self.confirmed if to == TAKER else self.commits.get(to, self.confirmed)
        assert own is not None
        refs = (self.propose.id, own.id, self.reserves[number].id, self.handovers[number].id)
        secret = self.secrets[to, number] if secret is None else secret
        party = by or self.party(to)
        return self.add(party.write(EntryType.HANDOVER, refs, (), (secret, amount), at_ms))

    def goods(self, number: int, amount: int = 473, about: Entry | None = None,
              by: Party | None = None, at_ms: int | None = None) -> Entry:  # fmt: skip
        about = about or self.handovers[number]
        receiver = by or self.party(self.to[number - 1])
        refs = (self.propose.id, about.id)
        facts = (int(Receipted.GOODS), amount)
        return self.add(receiver.write(EntryType.RECEIPT, refs, facts=facts, at_ms=at_ms))

    def money(self, number: int, minor: int = 200, about: Entry | None = None,
              by: Party | None = None, at_ms: int | None = None) -> Entry:  # fmt: skip
        about = about or self.handovers[number]
        facts = (int(Receipted.MONEY), minor)
        lister = by or self.party(number)
        refs = (self.propose.id, about.id)
        return self.add(lister.write(EntryType.RECEIPT, refs, facts=facts, at_ms=at_ms))

    def release(self, number: int, *causes: bytes, at_ms: int | None = None,
                by: Party | None = None) -> Entry:  # fmt: skip
        lister, reserve = self.party(number), self.reserves[number]
        held = reserve.body.stock[3]
        lot = lister.lots[self.offers[number - 1].id]
        stock = lister.change(lot, reserve.seq, held, held, -held)
        refs = (self.propose.id, reserve.id, *causes)
        return self.add((by or lister).write(EntryType.RELEASE, refs, stock, (0,), at_ms))

    def cancel(self, *named: bytes, by: Party | None = None, at_ms: int | None = None) -> Entry:
        refs = (self.propose.id, *named)
        return self.add((by or self.taker).write(EntryType.CANCEL, refs, facts=(0,), at_ms=at_ms))

    def adjust(self, number: int, amount: int, *named: bytes, at_ms: int | None = None) -> Entry:
        lister, offer = self.party(number), self.offers[number - 1]
        stock = lister.change(lister.lots[offer.id], 0, amount, amount, 0)
        refs = (offer.id, *named)
        return self.add(lister.write(EntryType.ADJUST, refs, stock, at_ms=at_ms))
