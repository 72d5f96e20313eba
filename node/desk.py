"""The trading desk: the person's steps in a trade, and those the node takes by itself.

Each step is an own entry, drafted from the fold of what is held. A step that is not this
node's turn is refused in words that say whose it is. Confirm, commit, and whatever clears an
ended trade follow from what the person agreed to, so the desk writes them unasked, whenever
an entry of one of its trades arrives or a deadline passes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio

from passby.ledger.draft import Change, Draft, Reserve, Resolve
from passby.ledger.frames import Places
from passby.ledger.store import HELD_ASKED_MAX
from passby.node.agreement import binds_too_long, check_stranger, check_terms, in_time
from passby.node.chains import Chains
from passby.node.clock import Clock
from passby.node.custody import carried, may_hold_goods
from passby.node.delivery import Carriers, parts_of
from passby.node.fairness import check_shares
from passby.node.sealing import Sealing
from passby.node.trades import fold_of, is_lent, owed_minor, parties_of, terms_in
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import LocalError, RefusedError, UsageError
from passby.protocol.limits import (
    AMOUNT_MAX,
    BULK_SLICE,
    CONFIRM_WITHIN_S,
    DESK_CHECK_S,
    RESPOND_WITHIN_S,
    TRADES_ASKED_MAX,
    TRADES_WATCHED_MAX,
)
from passby.protocol.payloads import (
    Note,
    Propose,
    encode_payload,
)
from passby.protocol.secret import code_from, secret_hash, stretch
from passby.protocol.terms import at_quoted, terms_hash, terms_of
from passby.protocol.trade import OPEN_STATES, TAKER, Leg, State, Trade
from passby.protocol.turns import Step, cancel_names, release_causes, turns, why_not
from passby.protocol.types import TRADE_TYPES, EntryType, Receipted

REASON_CHANGED_MIND: Final = 1
REASON_LAPSED: Final = 2
_AGREEING: Final = (EntryType.CONFIRM, EntryType.COMMIT)
Salt = Callable[[int], bytes]
log = logging.getLogger(__name__)


class Desk:
    """Trades of this device.

    Args:
        chains: reads what is held and appends own entries.
        clock: for deadlines.
        code_key: 32 secret bytes; the hand-over codes are derived from them, so that none
            needs to be stored and a restart forgets none.
        salt: gives so many random bytes.
        sealing: seals the words that go with a step to the parties.
        may_confirm: whether enough vouches for what the listers of a trade have reserved; asked
            again whenever `look` is called.
        is_vouched: whether somebody answers for an author; a stranger has one reserve at a time.
    """

    def __init__(
        self,
        chains: Chains,
        clock: Clock,
        code_key: bytes,
        salt: Salt,
        sealing: Sealing,
        may_confirm: Callable[[Trade], bool] = lambda _trade: True,
        is_vouched: Callable[[bytes], bool] = lambda _author: True,
    ) -> None:
        self._chains = chains
        self._clock = clock
        self._code_key = code_key
        self._salt = salt
        self._sealing = sealing
        self._may_confirm = may_confirm
        self._is_vouched = is_vouched
        self._bell = trio.Event()
        self._open: dict[bytes, None] = {}
        """Trades in which this device has written something that may bind it."""
        self._asked: dict[bytes, None] = {}
        """Others' proposes that it has not answered."""
        self._writing = trio.Lock()
        self._on_trade: list[Callable[[Trade], None]] = []
        self._quoted: Callable[[Trade], Mapping[bytes, int]] = lambda _trade: {}
        self._accepting: list[Callable[[Trade], bool]] = []
        chains.on_records(self._heard)
        chains.on_bulk(self._see_to_bulk)

    @property
    def me(self) -> bytes:
        """This device's key."""
        return self._chains.author

    def on_trade(self, tell: Callable[[Trade], None]) -> None:
        """Call `tell` with each trade of this device as it stands, at the start and as it moves."""
        self._on_trade.append(tell)

    def on_terms(self, quoted: Callable[[Trade], Mapping[bytes, int]]) -> None:
        """Let `quoted` say which own lots of a trade have another total than their offers say."""
        self._quoted = quoted

    def on_asked(self, accepts: Callable[[Trade], bool]) -> None:
        """Accept by itself what `accepts` says the person has agreed to beforehand."""
        self._accepting.append(accepts)

    def _tell(self, trade: Trade) -> None:
        for tell in self._on_trade:
            tell(trade)

    # --- reading -----------------------------------------------------------------------

    def trade(self, trade_id: bytes) -> Trade:
        """Return the fold of a trade, now.

        Raises:
            RefusedError: no propose with this id is held.
        """
        return fold_of(self._chains, trade_id, self._clock())

    def trades(self) -> list[Trade]:
        """Return the trades that this device is a party of, newest first."""
        found = self._chains.reader.trades(0)
        return [self.trade(trade_id) for trade_id in found if self._concerns_me(trade_id)]

    def open_trades(self) -> list[Trade]:
        """Return the trades of this device that still wait for something, newest last."""
        trades = [self.trade(trade_id) for trade_id in (*self._asked, *self._open)]
        trades.sort(key=lambda trade: (trade.propose.at_ms, trade.id))
        return [trade for trade in trades if trade.state in OPEN_STATES]

    def is_open_with(self, author: bytes) -> bool:
        """Tell whether this device has bound itself in a trade with `author` that is not over."""
        return any(author in parties_of(self._chains, trade_id) for trade_id in self._open)

    def code(self, trade: Trade) -> str | None:
        """Return the words to tell a giver once the goods are here; None before CONFIRMED.

        Where several givers bring goods, each has a code; this is the next one's.
        """
        if trade.state not in (State.CONFIRMED, State.IN_CUSTODY, State.NO_SHOW):
            return None
        for leg in trade.legs:
            if leg.handover is None and leg.lister and trade.party(leg.to) == self.me:
                onward = None if leg.to == TAKER else trade.legs[leg.to - 1]
                # Goods taken after the own part is over would be goods kept.
                if onward is None or not (onward.releases or onward.handovers):
                    return self._words(trade.id, leg.lister)
        return None

    def return_code(self, trade: Trade) -> str | None:
        """Return the words to tell whoever brings the own goods back; None while nobody can.

        A taker who could keep them is told none unless they are lent or there is a dispute.
        """
        for step in turns(trade, self._clock()):
            leg = trade.legs[step.number - 1]
            if not step.back or leg.lister != self.me:
                continue
            if leg.to != TAKER or trade.state is State.DISPUTED or is_lent(self._chains, leg):
                return self._words(trade.id, step.party)
        return None

    def words(self, record: Record) -> str | None:
        """Return what an entry of a trade says in words, as far as they are for this device."""
        return self._sealing.words(record)

    # --- the person's steps ------------------------------------------------------------

    async def propose(
        self,
        lot_id: bytes,
        amount: int | None,
        *,
        handover_until_ms: int | None = None,
        respond_within_s: int = RESPOND_WITHIN_S,
        text: str | None = None,
        carriers: Carriers = (),
        quoted_minor: int | None = None,
        backup: bool = False,
    ) -> Trade:
        """Propose to take `amount` (all that is left by default) of a lot, at its price now.

        With `carriers`, the goods come through their hands: one propose, all of it or nothing.
        `quoted_minor` is the total that the lister has promised instead; a `backup` may ask for
        what is set aside for somebody else.

        Raises:
            RefusedError: an own lot, one that is gone, or an amount its offer does not allow.
        """
        parts = parts_of(
            self._chains,
            lot_id,
            amount,
            carriers,
            handover_until_ms,
            self._clock(),
            backup=backup,
        )

        def draft(at_ms: int) -> list[Draft]:
            terms = terms_of([(part.lot, part.offer, part.amount) for part in parts], at_ms, None)
            if quoted_minor is not None:
                terms = at_quoted(terms, {lot_id: quoted_minor})
            salt = self._salt(16)
            agreed = terms_hash(salt, terms)
            listers = [part.lister for part in parts]
            words = self._sealing.seal(text, listers, agreed) if text else None
            legs = ((part.amount, part.to, part.handover_until_ms) for part in parts)
            return [
                Draft(
                    EntryType.PROPOSE,
                    tuple(part.lot for part in parts),
                    (
                        agreed,
                        at_ms + respond_within_s * 1000,
                        *(fact for leg in legs for fact in leg),
                    ),
                    encode_payload(Propose(terms, salt, words)),
                )
            ]

        records = await self._chains.say(draft)
        return self.trade(records[0].entry.id)

    async def accept(self, trade_id: bytes) -> Trade:
        """Reserve every lot of this device in the trade.

        Raises:
            RefusedError: out of turn, terms that are not the offer's, or too little left.
        """
        async with self._writing:
            await self._reserve(self.trade(trade_id))
        return self.trade(trade_id)

    async def _reserve(self, trade: Trade) -> None:
        numbers = [s.number for s in self._mine(trade, EntryType.RESERVE)]
        if not numbers:
            raise self._out_of_turn(trade, EntryType.RESERVE)
        check_terms(self._chains, trade, self._clock(), self._quoted(trade))
        check_shares(self._chains, trade, self._clock())
        legs = [trade.legs[number - 1] for number in numbers]
        if not self._is_vouched(trade.taker):
            check_stranger(trade, self._open_with(trade.taker), self.me)
        hashes = {leg.number: await self._hashes(trade, leg.number) for leg in legs}

        def draft(at_ms: int) -> list[Draft]:
            in_time(at_ms, trade.respond_by_ms)
            return [
                Draft(
                    EntryType.RESERVE,
                    (trade.id, leg.lot),
                    (self._confirm_by(leg, at_ms), *hashes[leg.number]),
                    move=Reserve(_seq(leg.offer), leg.amount),
                )
                for leg in legs
            ]

        await self._chains.say(draft)

    async def handover(self, trade_id: bytes, code: str, amount: int | None) -> Trade:
        """Hand goods over to whoever says `code`; `amount` where it is less than agreed.

        Raises:
            RefusedError: out of turn, a code that is not the receiver's, or more than agreed.
        """
        async with self._writing:
            trade = self.trade(trade_id)
            numbers = [s.number for s in self._mine(trade, EntryType.HANDOVER) if not s.back]
            if not numbers:
                raise self._out_of_turn(trade, EntryType.HANDOVER)
            leg = trade.legs[numbers[0] - 1]
            brought, most = carried(trade, leg)
            most = most or leg.amount
            goods = most if amount is None else amount
            if not 1 <= goods <= most:
                raise RefusedError(f"The trade is about {most}, not {goods}.")
            # A carrier's room was used, however much of the goods it was used for.
            handed = leg.amount if brought else goods
            holding = trade.confirm if leg.to == TAKER else trade.legs[leg.to - 1].reserve
            holder = trade.party(leg.to)
            if holding is None or holder is None or leg.commit is None or leg.reserve is None:
                raise self._out_of_turn(trade, EntryType.HANDOVER)
            secret = await trio.to_thread.run_sync(stretch, code, trade.id, self.me, holder)
            place = 1 + trade.givers_to(leg.to).index(leg.number)
            if secret_hash(trade.id, self.me, holder, secret) != holding.body.facts[place]:
                raise RefusedError(
                    "That is not the receiver's code.",
                    "Ask for the four words again; keep the goods until they fit.",
                )
            commit, reserve = leg.commit, leg.reserve
            # Who hands on what came says with it that it came.
            taken = [
                Draft(
                    EntryType.RECEIPT,
                    (trade.id, up.handover.id),
                    (int(Receipted.GOODS), _uint(up.handover, 1)),
                )
                for up in trade.bringing_to(leg)
                if up.handover is not None and up.goods_receipt is None
            ]

            def draft(_at_ms: int) -> list[Draft]:
                return [
                    *taken,
                    Draft(
                        EntryType.HANDOVER,
                        (trade.id, commit.id, holding.id, *(entry.id for entry in brought)),
                        (secret, goods),
                        move=Resolve(_seq(leg.offer), reserve.seq, leg.amount, handed),
                    ),
                ]

            await self._chains.say(draft)
        return self.trade(trade_id)

    async def give_back(self, trade_id: bytes, code: str) -> Trade:
        """Return goods that cannot be handed on to who gave them, and now says `code`.

        Raises:
            RefusedError: nothing of others is here, or a code that is not the giver's.
        """
        async with self._writing:
            trade = self.trade(trade_id)
            numbers = [s.number for s in self._mine(trade, EntryType.HANDOVER) if s.back]
            if not numbers:
                raise RefusedError(
                    "Nothing of this trade is in your hands that could go back.",
                    f"`passby trade show {trade_id.hex()[:8]}` tells who has the goods.",
                )
            leg = trade.legs[numbers[0] - 1]
            own = trade.confirm if leg.to == TAKER else trade.legs[leg.to - 1].commit
            giver, brought, kept = leg.lister, leg.handover, leg.reserve
            if own is None or giver is None or brought is None or kept is None:
                raise self._out_of_turn(trade, EntryType.HANDOVER)
            secret = await trio.to_thread.run_sync(stretch, code, trade.id, self.me, giver)
            place = 1 + trade.givers_to(leg.number).index(leg.to)
            if secret_hash(trade.id, self.me, giver, secret) != kept.body.facts[place]:
                raise RefusedError(
                    "That is not the giver's code.",
                    "Ask for the four words of the return; keep the goods until they fit.",
                )
            refs = (trade.id, own.id, kept.id, brought.id)
            facts = (secret, _uint(brought, 1))
            draft = Draft(EntryType.HANDOVER, refs, facts)
            await self._chains.say(lambda _at_ms: [draft])
        return self.trade(trade_id)

    async def put_back(self, trade_id: bytes, amount: int | None) -> Trade:
        """Put returned goods, or `amount` of them, back into the lot they came from.

        Raises:
            RefusedError: nothing came back, or less than `amount`; or the lot is closed.
        """
        async with self._writing:
            trade = self.trade(trade_id)
            steps = self._mine(trade, EntryType.ADJUST)
            if not steps:
                raise RefusedError("Nothing of this trade has come back to you.")
            leg = trade.legs[steps[0].number - 1]
            stock = self._chains.reader.lot(leg.lot)
            assert leg.returned is not None
            assert leg.handover is not None
            assert stock is not None
            most = leg.handover.body.stock[3]
            if not trade.bringing_to(leg):
                most = min(most, _uint(leg.returned, 1))
            back = most if amount is None else amount
            if not 1 <= back <= most:
                raise RefusedError(f"{most} came back, not {back}.")
            refs = (leg.lot, leg.returned.id)
            move = Change(_seq(leg.offer), stock.remaining + back)
            draft = Draft(EntryType.ADJUST, refs, move=move)
            await self._chains.say(lambda _at_ms: [draft])
        return self.trade(trade_id)

    async def receive(self, trade_id: bytes, amount: int | None) -> Trade:
        """Say that goods were received: all that was handed over, or `amount`.

        Raises:
            RefusedError: out of turn.
        """
        async with self._writing:
            trade = self.trade(trade_id)
            for leg in self._my_receipts(trade):
                about = leg.handover or leg.commit
                if trade.party(leg.to) != self.me or about is None:
                    continue
                if leg.handover is None and amount is None:
                    raise UsageError(
                        "The giver has not said how much was handed over.",
                        "Say with --amount how much you received; 0 if nothing came.",
                    )
                got = _uint(leg.handover, 1) if amount is None and leg.handover else amount or 0
                await self._say_receipt(trade, about, Receipted.GOODS, got)
                return self.trade(trade_id)
            raise self._out_of_turn(trade, EntryType.RECEIPT)

    async def paid(self, trade_id: bytes, amount_minor: int | None) -> Trade:
        """Say that the money was received: all of it, or `amount_minor`.

        Raises:
            RefusedError: out of turn.
        """
        async with self._writing:
            trade = self.trade(trade_id)
            for leg in self._my_receipts(trade):
                # An answer to a complaint names it, and so ends the dispute.
                about = leg.goods_receipt if leg.disputed else leg.handover or leg.goods_receipt
                if leg.lister != self.me or about is None:
                    continue
                owed = (
                    owed_minor(self._chains, trade, leg) if amount_minor is None else amount_minor
                )
                await self._say_receipt(trade, about, Receipted.MONEY, owed)
                return self.trade(trade_id)
            raise self._out_of_turn(trade, EntryType.RECEIPT)

    async def cancel(self, trade_id: bytes, text: str | None = None) -> Trade:
        """End the trade as far as this party may: decline, release or cancel.

        Raises:
            RefusedError: it binds this party by now.
        """
        async with self._writing:
            trade = self.trade(trade_id)
            steps = self._mine(trade, EntryType.CANCEL) or self._mine(trade, EntryType.RELEASE)
            if not steps:
                raise self._out_of_turn(trade, EntryType.CANCEL)
            for step in steps:
                if step.type == EntryType.RELEASE and may_hold_goods(
                    trade, trade.legs[step.number - 1], self._clock()
                ):
                    raise RefusedError(
                        "The giver may have handed over to you, and its word be under way.",
                        "Your room is free again once the giver lets go, or 72 h after its time.",
                    )
            await self._end(trade, steps, REASON_CHANGED_MIND, text)
        return self.trade(trade_id)

    # --- the node's own steps ----------------------------------------------------------

    async def run(self) -> None:
        """Take automatic steps until cancelled."""
        for trade in reversed(self.trades()):
            self._tell(trade)
            if self._is_watched(trade):
                self._watch(trade.id, answered=self._has_written(trade))
        while True:
            self._bell = trio.Event()
            for trade_id in (*self._open, *self._asked):
                await self._advance(trade_id)
            with trio.move_on_after(DESK_CHECK_S if self._open or self._asked else float("inf")):
                await self._bell.wait()

    def look(self) -> None:
        """Look at the trades at once, and not only when the next deadline is looked at."""
        self._bell.set()

    def _heard(self, records: Sequence[Record]) -> None:
        # One look at each trade, however many entries of it a frame brings.
        heard: dict[bytes, bool] = {}
        for record in records:
            body = record.entry.body
            if body.type in TRADE_TYPES:
                trade_id = record.entry.id if body.type == EntryType.PROPOSE else body.refs[0]
                heard[trade_id] = heard.get(trade_id, False) or body.author == self.me
        for trade_id, answered in heard.items():
            if trade_id in self._open or self._concerns_me(trade_id):
                self._watch(trade_id, answered=answered)
                self._bell.set()

    async def _see_to_bulk(self, places: Places) -> None:
        """Look at each trade that much at once spoke of."""
        for start in range(0, len(places.trades), HELD_ASKED_MAX):
            # Most of what strangers write is of trades whose propose is not kept here.
            asked = places.trades[start : start + HELD_ASKED_MAX]
            held = self._chains.reader.may_hold(asked)
            for count, trade_id in enumerate(one for one in asked if one in held):
                if trade_id in self._open or self._concerns_me(trade_id):
                    self._watch(trade_id, answered=self._has_written(self.trade(trade_id)))
                    self._bell.set()
                if count % BULK_SLICE == 0:
                    await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()

    def _watch(self, trade_id: bytes, *, answered: bool) -> None:
        """Look after a trade. Those that only ask never drive out one that binds this device."""
        if answered or trade_id in self._open:
            self._asked.pop(trade_id, None)
            self._open[trade_id] = None
        else:
            self._asked[trade_id] = None
        for watched, most in ((self._asked, TRADES_ASKED_MAX), (self._open, TRADES_WATCHED_MAX)):
            while len(watched) > most:
                watched.pop(next(iter(watched)))

    def _unwatch(self, trade_id: bytes) -> None:
        self._asked.pop(trade_id, None)
        self._open.pop(trade_id, None)

    def _has_written(self, trade: Trade) -> bool:
        return trade.taker == self.me or any(
            leg.reserves or leg.refusals for leg in trade.legs if leg.lister == self.me
        )

    def _concerns_me(self, trade_id: bytes) -> bool:
        try:
            return self.me in parties_of(self._chains, trade_id)
        except RefusedError:
            return False

    def _is_watched(self, trade: Trade) -> bool:
        return trade.state in OPEN_STATES or any(
            step.automatic for step in turns(trade, self._clock()) if step.party == self.me
        )

    async def _advance(self, trade_id: bytes) -> None:
        async with self._writing:
            try:
                trade = self.trade(trade_id)
                while await self._take_a_step(trade):
                    trade = self.trade(trade_id)
            except LocalError as error:
                log.warning("trade %s: %s", trade_id.hex()[:12], error)
                return
            except Exception:  # logged whole
                # A trade is made of what strangers wrote: one must not hold up the others.
                log.exception("a bug in trade %s", trade_id.hex())
                self._unwatch(trade_id)
                return
        self._tell(trade)
        if not self._is_watched(trade):
            self._unwatch(trade_id)

    async def _take_a_step(self, trade: Trade) -> bool:
        for step in turns(trade, self._clock()):
            if step.party != self.me or binds_too_long(trade, step):
                continue
            if step.type == EntryType.CONFIRM and not self._may_confirm(trade):
                continue
            if step.type == EntryType.RELEASE and may_hold_goods(
                trade, trade.legs[step.number - 1], self._clock()
            ):
                continue
            if step.type in _AGREEING and any(map(self._chains.is_frozen, trade.parties())):
                continue
            if step.automatic:
                await self._take(trade, step)
                return True
            if step.type == EntryType.RESERVE and any(ask(trade) for ask in self._accepting):
                try:
                    await self._reserve(trade)
                except RefusedError as error:
                    log.info("trade %s waits: %s", trade.id.hex()[:12], error)
                    continue
                return True
            if step.type == EntryType.RECEIPT and self._is_gift(trade, step):
                leg = trade.legs[step.number - 1]
                if leg.handover is not None:
                    await self._say_receipt(trade, leg.handover, Receipted.MONEY, 0)
                    return True
        return False

    def _is_gift(self, trade: Trade, step: Step) -> bool:
        leg = trade.legs[step.number - 1]
        return (
            leg.lister == self.me
            and leg.money_receipt is None
            and terms_in(self._chains, trade) is not None
            and owed_minor(self._chains, trade, leg) == 0
        )

    async def _take(self, trade: Trade, step: Step) -> None:
        match step.type:
            case EntryType.CONFIRM:
                await self._confirm(trade)
            case EntryType.COMMIT:
                await self._commit(trade, trade.legs[step.number - 1])
            case EntryType.RELEASE | EntryType.CANCEL:
                await self._end(trade, [step], REASON_LAPSED, None)
            case _:
                raise AssertionError(f"an automatic {step.type.name} that no desk takes")

    async def _confirm(self, trade: Trade) -> None:
        hashes = await self._hashes(trade, TAKER)
        reserves = tuple(leg.reserve.id for leg in trade.legs if leg.reserve)
        commit_by_ms = trade.commit_by_ms or 0

        def draft(at_ms: int) -> list[Draft]:
            in_time(at_ms, commit_by_ms)
            return [Draft(EntryType.CONFIRM, (trade.id, *reserves), (commit_by_ms, *hashes))]

        await self._chains.say(draft)

    async def _commit(self, trade: Trade, leg: Leg) -> None:
        assert trade.confirm is not None
        assert leg.reserve is not None
        refs = (trade.id, trade.confirm.id, leg.reserve.id)
        commit_by_ms = trade.commit_by_ms or 0

        def draft(at_ms: int) -> list[Draft]:
            in_time(at_ms, commit_by_ms)
            return [Draft(EntryType.COMMIT, refs)]

        await self._chains.say(draft)

    async def _end(
        self, trade: Trade, steps: Sequence[Step], reason: int, text: str | None
    ) -> None:
        payload = None
        if text:
            words = self._sealing.seal(text, trade.parties(), trade.id)
            payload = encode_payload(Note(sealed=words))
        drafts: list[Draft] = []
        for step in steps:
            if step.type == EntryType.CANCEL:
                seen = cancel_names(trade) if step.number == TAKER else ()
                drafts = [Draft(EntryType.CANCEL, (trade.id, *seen), (reason,), payload)]
                break
            leg = trade.legs[step.number - 1]
            # One that came too late to count holds the goods all the same.
            reserve = leg.reserve or leg.reserves[0]
            refs = (trade.id, reserve.id, *release_causes(trade, leg))
            move = Resolve(_seq(leg.offer), reserve.seq, reserve.body.stock[3], 0)
            drafts.append(Draft(EntryType.RELEASE, refs, (reason,), payload, move))
        await self._chains.say(lambda _at_ms: drafts)

    # --- parts -------------------------------------------------------------------------

    async def _say_receipt(self, trade: Trade, about: Entry, kind: Receipted, amount: int) -> None:
        if not 0 <= amount <= AMOUNT_MAX:
            raise UsageError("An amount received is 0 or more.")
        draft = Draft(EntryType.RECEIPT, (trade.id, about.id), (int(kind), amount))
        await self._chains.say(lambda _at_ms: [draft])

    def _mine(self, trade: Trade, kind: EntryType) -> list[Step]:
        return [
            step
            for step in turns(trade, self._clock())
            if step.party == self.me and step.type == kind
        ]

    def _open_with(self, taker: bytes) -> list[Trade]:
        """Return the trades that bind this device and that `taker` has proposed."""
        held = ((trade_id, self._chains.reader.record(trade_id)) for trade_id in self._open)
        return [self.trade(i) for i, record in held if record and record.entry.author == taker]

    def _my_receipts(self, trade: Trade) -> list[Leg]:
        return [trade.legs[step.number - 1] for step in self._mine(trade, EntryType.RECEIPT)]

    def _out_of_turn(self, trade: Trade, kind: EntryType) -> RefusedError:
        return RefusedError(why_not(trade, self.me, kind, self._clock()))

    def _confirm_by(self, leg: Leg, at_ms: int) -> int:
        return min(at_ms + CONFIRM_WITHIN_S * 1000, leg.handover_until_ms)

    async def _hashes(self, trade: Trade, number: int) -> tuple[bytes, ...]:
        """Return a hash for each party that may hand goods to party `number`, in order."""
        hashes: list[bytes] = []
        for giver in trade.givers_to(number):
            key = trade.party(giver)
            if key is None:
                raise RefusedError("An offer of this trade has not arrived yet.", "Try again.")
            words = self._words(trade.id, key)
            secret = await trio.to_thread.run_sync(stretch, words, trade.id, key, self.me)
            hashes.append(secret_hash(trade.id, key, self.me, secret))
        return tuple(hashes)

    def _words(self, trade_id: bytes, giver: bytes) -> str:
        entropy = hashlib.blake2b(
            trade_id + giver, key=self._code_key, digest_size=8, person=b"passby code"
        ).digest()
        return code_from(entropy)


def _seq(offer: Entry | None) -> int:
    if offer is None:
        raise AssertionError("a step on an own lot without its offer")
    return offer.seq


def _uint(entry: Entry, place: int) -> int:
    value = entry.body.facts[place]
    return value if isinstance(value, int) else 0
