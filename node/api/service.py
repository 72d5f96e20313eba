"""What the local API can do, in plain values; routes and HTTP are `app`'s."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import trio

from passby.geo.categories import parse_category
from passby.geo.cells import cell_text
from passby.geo.corridor import Fix
from passby.geo.lots import Side
from passby.ledger.draft import Draft
from passby.node.api.people import People
from passby.node.api.shown import Json, Shown, shown_commute
from passby.node.api.talking import Talking
from passby.node.api.wants import Wants
from passby.node.api.witnesses import Witnesses
from passby.node.closing import close
from passby.node.events import Event
from passby.node.garage import Garage
from passby.node.listing import draft_of, read_listed
from passby.node.participant import Participant
from passby.node.pruning import DAY_MS, checked_keep_ms, plain_freed
from passby.node.rating import rate, ratings_of
from passby.node.rides import Ride, Rides
from passby.node.stock import Stock
from passby.node.swaps import swaps
from passby.node.trades import offer_of
from passby.node.wishes import Wishes
from passby.protocol.entry import Record, encode_record
from passby.protocol.errors import LocalError, RefusedError, RemoteError, UsageError
from passby.protocol.keys import Certificate
from passby.protocol.limits import (
    API_LIST_MAX,
    API_LOTS_MAX,
    AT_MS_MAX,
    DISK_LOW_BYTES,
    RESPOND_WITHIN_S,
    STREAM_WRITE_MAX,
)
from passby.protocol.payloads import Stated, encode_payload
from passby.protocol.statements import Heal, parse_statement
from passby.protocol.talk import Quote
from passby.protocol.turns import turns
from passby.protocol.types import EntryType
from passby.protocol.units import SYMBOL, Unit


class Service:
    """The node's doings for a local program.

    Args:
        participant: the running node.
        home: its folder, for what doctor looks at.
        radius_m: how far around the home `book` looks unless told.
        stop: ends the daemon.
        refusal: why own entries cannot be appended, or None.
        rides: own ways, and the stops beside them.
        stock: lots that follow files.
        wishes: requests that nobody hears of.
        garage: own things, for what fits them.
    """

    def __init__(
        self,
        participant: Participant,
        home: Path,
        radius_m: int,
        stop: Callable[[], None],
        refusal: Callable[[], LocalError | None],
        rides: Rides,
        stock: Stock,
        wishes: Wishes,
        garage: Garage,
    ) -> None:
        self._node = participant
        self._home = home
        self._radius_m = radius_m
        self._stop = stop
        self._refusal = refusal
        self._rides = rides
        self._stock = stock
        self.people = People(participant)
        self.talking = Talking(participant)
        self._started_s = trio.current_time()
        self._shown = Shown(
            participant.chains,
            participant.market,
            participant.desk,
            participant.names,
            participant.clock,
            participant.quorum.cover,
            garage.fitted,
        )
        self.wants = Wants(wishes, garage, self._shown)
        self.witnesses = Witnesses(participant)

    # --- the node ----------------------------------------------------------------------

    def status(self) -> Json:
        """Return how the node is."""
        node = self._node
        reader, me = node.chains.reader, node.chains.author
        counts = reader.counts()
        trades = node.desk.open_trades()
        now_ms = node.clock()
        mine = sum(
            any(
                step.party == me and not step.automatic and not step.back
                for step in turns(trade, now_ms)
            )
            for trade in trades
        )
        head = node.chains.heads.get(me)
        refusal = self._refusal()
        return {
            "name": node.identity.name,
            "author": me.hex(),
            "peer_id": node.network.peer_id,
            "version": version("passby"),
            "cell": cell_text(node.market.home),
            "uptime_s": round(trio.current_time() - self._started_s),
            "peers": len(node.network.peers()),
            "chains": counts.authors,
            "entries": counts.entries,
            "lots_open": len(node.market.offers),
            "requests_open": len(node.market.requests),
            "trades_open": len(trades),
            "your_turn": mine,
            "head": {"seq": head.seq, "id": head.id.hex()} if head else None,
            "addresses": node.network.addresses(),
            "clock": self._clock(),
            "sync": {
                "entries_received": node.replication.counts.received,
                "entries_repeated": node.replication.counts.repeated,
            },
            "read_only": refusal.message if refusal else None,
            "sealed_at": node.chains.sealed.get(me),
            "frozen_from": node.chains.frozen_from(me),
            "head_confirmed": node.replication.own_head.is_confirmed,
            "notes": self._notes(refusal),
        }

    def _notes(self, refusal: LocalError | None) -> list[str]:
        notes = [refusal.hint] if refusal else []
        chains = self._node.chains
        if (sealed_at := chains.sealed.get(chains.author)) is not None:
            notes.append(
                f"This device is sealed behind entry {sealed_at}: it says nothing more. Go on with"
                " another device, as `passby device list` shows."
            )
        if (frozen_from := chains.frozen_from(chains.author)) is not None:
            notes.append(
                f"This chain forked at entry {frozen_from}. If a copy of this home did that,"
                " `passby device heal` mends it once."
            )
        if not self._node.replication.own_head.is_confirmed:
            notes.append("No neighbour has said yet whether it holds newer entries of this device.")
        return notes

    def _clock(self) -> Json:
        chains = self._node.chains
        head = chains.heads.get(chains.author)
        doubt = chains.clock_guard.doubt(head.at_ms if head else None)
        return {"ok": doubt is None, "note": doubt or ""}

    def accept_clock(self) -> Json:
        """Take the person's word that the clock is right."""
        self._node.chains.clock_guard.accept()
        return self._clock()

    def identity(self) -> Json:
        """Return who this node is."""
        node = self._node
        return {
            "name": node.identity.name,
            "author": node.chains.author.hex(),
            "root": Certificate.parse(node.identity.certificate).root.hex(),
            "peer_id": node.network.peer_id,
            "cell": cell_text(node.market.home),
            "addresses": node.network.addresses(),
        }

    def peers(self) -> Json:
        """Return who is connected, and how far sync with them is."""
        node = self._node
        now_s, now_ms = trio.current_time(), node.clock()
        synced = node.replication.synced_peers
        return {
            "peers": [
                {
                    "peer_id": peer,
                    "addresses": list(found.addresses),
                    "direction": "out" if found.outbound else "in",
                    "since_ms": now_ms - round((now_s - found.since_s) * 1000),
                    "rtt_ms": found.rtt_ms,
                    "score": found.score,
                    "synced": synced.get(peer, False),
                    "chains_behind": node.replication.behind(peer),
                }
                for peer, found in sorted(node.network.peers().items())
            ],
        }

    def doctor(self) -> Json:
        """Return the daemon's part of the check-up."""
        node = self._node
        clock = self._clock()
        free = shutil.disk_usage(self._home).free
        wrong = node.chains.reader.integrity()
        refusal = self._refusal()
        peers = len(node.network.peers())
        sealed_at = node.chains.sealed.get(node.chains.author)
        ended = None if sealed_at is None else f"sealed behind entry {sealed_at}"

        def check(name: str, detail: str, mend: str, *, ok: bool) -> Json:
            return {"name": name, "ok": ok, "detail": detail, "mend": "" if ok else mend}

        return {
            "checks": [
                check(
                    "clock",
                    clock["note"] or "in step with the own chain",
                    "Set the clock, best by NTP.",
                    ok=clock["ok"],
                ),
                check(
                    "disk",
                    f"{free / 1e9:.1f} GB free",
                    "Make room: the ledger needs some to grow.",
                    ok=free > DISK_LOW_BYTES,
                ),
                check(
                    "ledger",
                    wrong[0] if wrong else f"{node.chains.reader.counts().entries:,} entries",
                    "Run `passby audit`.",
                    ok=not wrong,
                ),
                check(
                    "own chain",
                    ended or (refusal.message if refusal else "may be continued"),
                    "Go on with another device: `passby device list` shows them."
                    if ended
                    else (refusal.hint if refusal else ""),
                    ok=ended is None and refusal is None,
                ),
                check(
                    "peers",
                    f"{peers} connected",
                    "Join a neighbour: `passby join ADDRESS`, or ask for an invite.",
                    ok=peers > 0,
                ),
                check(
                    "forks",
                    f"{len(node.chains.reader.frozen()) or 'no'} chains with two histories",
                    "",
                    ok=True,
                ),
            ]
        }

    def shut_down(self) -> None:
        """End the daemon once this answer is on its way."""
        self._stop()

    def events(self) -> trio.MemoryReceiveChannel[Event]:
        """Listen to what happens, until the channel is closed.

        Raises:
            RefusedError: too many listen already.
        """
        return self._node.events.listen()

    async def state(self, statement: str) -> Json:
        """Carry a root statement, about any device, in the own chain.

        A heal is told to every neighbour alone, too: the own chain may be what it heals.

        Raises:
            UsageError: it is none.
            LocalError: nothing can be appended now.
        """
        try:
            stated = parse_statement(bytes.fromhex(statement))
        except (ValueError, RemoteError) as error:
            raise UsageError(f"This is no root statement: {error}.") from None
        if isinstance(stated, Heal):
            await self._node.replication.heals.heal(stated)
        draft = Draft(EntryType.STATEMENT, payload=encode_payload(Stated(stated.raw)))
        (record,) = await self._node.say([draft])
        return {"entry": record.entry.id.hex(), "seq": record.entry.seq}

    # --- lots --------------------------------------------------------------------------

    async def list_lots(self, lots: list[dict[str, Any]]) -> list[Json]:
        """List lots, each for itself: what cannot be read does not hold up the others.

        Raises:
            UsageError: too many at once.
            LocalError: nothing can be appended now; nothing was.
        """
        if len(lots) > API_LOTS_MAX:
            raise UsageError(f"At most {API_LOTS_MAX} lots at once.")
        now_ms, home = self._node.clock(), self._node.market.home
        results: list[Json] = []
        drafts: list[Draft] = []
        places: list[int] = []
        for place, lot in enumerate(lots):
            try:
                drafts.append(draft_of(read_listed(lot), home, now_ms))
                places.append(place)
                results.append({})
            except UsageError as error:
                results.append({"error": {"message": error.message, "hint": error.hint}})
        if drafts:
            records = await self._node.say(drafts)
            for place, record in zip(places, records, strict=True):
                results[place] = {"id": record.entry.id.hex(), "seq": record.entry.seq}
        return results

    async def keep_lots(
        self, source: str, keys: list[str], lots: list[dict[str, Any]]
    ) -> list[Json]:
        """List lots that follow the rows of a file; what is listed already is not listed twice.

        Raises:
            UsageError: too many at once, or not a key for each.
            LocalError: more than can be remembered, or nothing can be appended now.
        """
        if len(lots) > API_LOTS_MAX or len(keys) != len(lots):
            raise UsageError(f"At most {API_LOTS_MAX} lots at once, with a key each.")
        return await self._stock.take(source, list(zip(keys, lots, strict=True)))

    def book(self, side: Side, *, radius_m: int | None, **filters: Any) -> list[Json]:
        """Return the nearest open lots."""
        radius = self._radius_m if radius_m is None else radius_m
        found = self._node.market.near(side, radius_m=radius, **filters)
        return [self._shown.lot(lot) for lot, _distance_m in found]

    def swaps(self, limit: int) -> list[Json]:
        """Return own offers and others' that may be given for each other."""
        return [
            {
                "own": self._shown.lot(swap.own),
                "other": self._shown.lot(swap.other),
                "gives": swap.gives,
                "gets": swap.gets,
                "distance_m": swap.distance_m,
            }
            for swap in swaps(self._node.chains, self._node.market, limit)
        ]

    def matches(self, lot: str | None, limit: int) -> list[Json]:
        """Return the best matches of a lot, or of all own ones.

        Those of one lot say how much is suggested, where all who want the same are to have most.
        """
        market = self._node.market
        if lot is None:
            return [self._shown.match(match) for match in market.matches(None, limit)]
        lot_id = self._id(lot)
        suggested = market.suggested(lot_id)
        return [
            {
                **self._shown.match(match),
                "suggested": suggested.get((match.offer.id, match.request.id), 0),
            }
            for match in market.matches(lot_id, limit)
        ]

    # --- trades ------------------------------------------------------------------------

    # --- passing by ----------------------------------------------------------------------

    def rides(self, limit: int) -> list[Json]:
        """Return the rides that are not over, each with the stops beside it."""
        return [self._shown.ride(ride, self._rides, limit) for ride in self._rides.planned()]

    def add_ride(self, ride: Ride) -> Json:
        """Keep a ride and return it with the stops beside it.

        Raises:
            LocalError: no way, over, too many, or the disk.
        """
        if ride.category is not None:
            ride = msgspec.structs.replace(ride, category=parse_category(ride.category))
        return self._shown.ride(self._rides.add(ride), self._rides, API_LIST_MAX)

    def commutes(self) -> list[Json]:
        """Return the habits learnt from own tracks."""
        return [shown_commute(commute) for commute in self._rides.commutes()]

    def learn(self, trips: Sequence[Sequence[Fix]]) -> list[Json]:
        """Learn habits from recorded trips, instead of those learnt before.

        Raises:
            LocalError: the disk.
        """
        return [shown_commute(commute) for commute in self._rides.learn(trips)]

    def stop_ride(self, ride_id: str) -> Json:
        """Forget a ride.

        Raises:
            LocalError: there is none, or several; or the disk.
        """
        return {"id": self._rides.stop(ride_id).id}

    async def propose(
        self,
        lot: str,
        amount: int | None,
        *,
        unit: Unit | None,
        request: str | None,
        handover_until_ms: int | None,
        respond_within_s: int | None,
        text: str | None,
        carriers: Sequence[tuple[str, int | None, Unit | None]] = (),
        quote: str | None = None,
        backup: bool = False,
    ) -> Json:
        """Propose for a lot; for a request, the amount is what matches it; or as quoted.

        `carriers` are capacity lots on the way from the giver, and how much room of each.
        """
        quoted_minor = None
        if quote is not None:
            if carriers:
                # A carrier sees that the price is not the offer's, and cannot know of the quote.
                raise UsageError("What was quoted is fetched, not carried.", "Leave one out.")
            said = self._node.talk.find(quote).body
            if not isinstance(said, Quote):
                raise UsageError("This is no quote.", "`passby quotes` lists them.")
            if said.valid_until_ms < self._node.clock():
                raise RefusedError("This quote is over.", "`passby bid` asks for another.")
            lot, amount, quoted_minor = said.lot.hex(), said.amount, said.total_minor
        lot_id = self._id(lot)
        self._check_unit(lot, unit)
        for capacity, _, measured in carriers:
            self._check_unit(capacity, measured)
        if handover_until_ms is not None and not 0 <= handover_until_ms <= AT_MS_MAX:
            raise UsageError("The hand-over's end is no time.")
        if request is not None and amount is None:
            wanted = self._id(request)
            amount = next(
                (
                    match.amount
                    for match in self._node.market.matches(wanted, API_LIST_MAX)
                    if match.offer.id == lot_id
                ),
                None,
            )
            if amount is None:
                raise RefusedError(
                    "This lot does not match that request.", "`passby matches` lists what does."
                )
        within_s = RESPOND_WITHIN_S if respond_within_s is None else respond_within_s
        if not 1 <= within_s <= 30 * 24 * 3600:
            raise UsageError("An answer can be awaited for 1 second to 30 days.")
        trade = await self._node.desk.propose(
            lot_id,
            amount,
            handover_until_ms=handover_until_ms,
            respond_within_s=within_s,
            text=text,
            carriers=[(self._id(capacity), room) for capacity, room, _ in carriers],
            quoted_minor=quoted_minor,
            backup=backup,
        )
        return self._shown.trade(trade)

    def _check_unit(self, lot: str, unit: Unit | None) -> None:
        if unit is not None and (listed := offer_of(self._record(lot)).unit) is not unit:
            raise UsageError(
                f"This lot is counted in {SYMBOL[listed]}, not in {SYMBOL[unit]}.",
                f"Give the amount in {SYMBOL[listed]}.",
            )

    def trades(self, *, only_open: bool) -> list[Json]:
        """Return the own trades, newest first."""
        desk = self._node.desk
        trades = desk.open_trades()[::-1] if only_open else desk.trades()
        return [self._shown.trade(trade) for trade in trades[:API_LIST_MAX]]

    def trade(self, trade: str) -> Json:
        """Return one trade with its entries, and what was said about it."""
        trade_id = self._id(trade)
        return {
            **self._shown.trade(self._node.desk.trade(trade_id), entries=True),
            "talk": self.talking.about(trade_id),
            "payments": self.talking.payments(trade_id),
            "queued": self._node.backups.has(trade_id),
            "ratings": [
                {
                    "author": rating.author.hex(),
                    "author_name": self._node.names.of(rating.author),
                    "at_ms": rating.at_ms,
                    "stars": rating.stars,
                    "text": rating.text,
                }
                for rating in ratings_of(self._node.chains, self._node.desk.trade(trade_id))
            ],
        }

    def quote(
        self,
        about: str,
        lot: str,
        amount: int | None,
        total_minor: int,
        valid_within_s: int,
        text: str | None,
    ) -> Json:
        """Answer a request or a bid with a price."""
        if not 1 <= valid_within_s <= 30 * 24 * 3600:
            raise UsageError("A quote stands for 1 second to 30 days.")
        until_ms = self._node.clock() + valid_within_s * 1000
        return self.talking.quote(
            self._record(about), self._record(lot), amount, total_minor, until_ms, text
        )

    def bid(
        self, lot: str, amount: int | None, total_minor: int, currency: str, text: str | None
    ) -> Json:
        """Bid for a lot."""
        return self.talking.bid(self._record(lot), amount, total_minor, currency, text)

    def say(self, trade: str, text: str) -> Json:
        """Say something to the other parties of a trade."""
        self.talking.say(self._id(trade), text)
        return self.trade(trade)

    async def accept(self, trade: str) -> Json:
        """Accept a propose."""
        return self._shown.trade(await self._node.desk.accept(self._id(trade)))

    async def rate(self, trade: str, stars: int, text: str | None) -> Json:
        """Rate a settled trade."""
        await rate(self._node.chains, self._node.desk.trade(self._id(trade)), stars, text)
        return self.trade(trade)

    async def close(self, lot: str) -> Json:
        """Take an own offer or request off the market."""
        record = self._record(lot)
        said = await close(self._node.chains, record)
        return {"id": record.entry.id.hex(), "closed": True, "entry": said.entry.id.hex()}

    def queue(self, trade: str) -> Json:
        """Accept a propose by itself as soon as what it asks for is free."""
        self._node.backups.add(self._node.desk.trade(self._id(trade)))
        self._node.desk.look()
        return self.trade(trade)

    async def handover(self, trade: str, code: str, amount: int | None) -> Json:
        """Hand the goods over."""
        return self._shown.trade(await self._node.desk.handover(self._id(trade), code, amount))

    async def give_back(self, trade: str, code: str) -> Json:
        """Return the goods to who gave them."""
        return self._shown.trade(await self._node.desk.give_back(self._id(trade), code))

    async def put_back(self, trade: str, amount: int | None) -> Json:
        """Put what came back on offer again."""
        return self._shown.trade(await self._node.desk.put_back(self._id(trade), amount))

    async def receive(self, trade: str, amount: int | None) -> Json:
        """Confirm the goods."""
        return self._shown.trade(await self._node.desk.receive(self._id(trade), amount))

    async def paid(self, trade: str, amount_minor: int | None) -> Json:
        """Confirm the money."""
        return self._shown.trade(await self._node.desk.paid(self._id(trade), amount_minor))

    async def cancel(self, trade: str, reason: str | None) -> Json:
        """Leave a trade."""
        return self._shown.trade(await self._node.desk.cancel(self._id(trade), reason))

    async def check(self, trade: str) -> Json:
        """Ask the witnesses before something is paid in advance."""
        return self._shown.trade(await self.witnesses.check(self._id(trade)))

    # --- ledger ------------------------------------------------------------------------

    def heads(self) -> list[Json]:
        """Return the head of every chain."""
        frozen = self._node.chains.reader.frozen()
        return [
            {
                "author": author.hex(),
                "name": self._node.names.of(author),
                "seq": head.seq,
                "id": head.id.hex(),
                "at_ms": head.at_ms,
                "frozen_from": frozen.get(author),
            }
            for author, head in sorted(self._node.chains.heads.items())
        ]

    def log(self, author: str | None, before: int | None, limit: int) -> list[Json]:
        """Return entries of a chain, newest first."""
        key = self._node.chains.author if author is None else self._author(author)
        records = self._node.chains.reader.log(key, before, limit)
        return [self._shown.entry(record) for record in records]

    def entry(self, entry: str) -> Json:
        """Return one entry with its bytes."""
        return self._shown.entry(self._record(entry), raw=True)

    async def prune(self, keep_days: int | None, *, dry: bool) -> Json:
        """Let go of others' old history, or tell what would go.

        Raises:
            UsageError: all of it is kept, and no other number of days was told.
            RefusedError: the policy names no witnesses.
            LocalError: the policy cannot be read, or the disk is failing.
        """
        pruning = self._node.pruning
        keep_ms = pruning.keep_ms if keep_days is None else keep_days * DAY_MS
        freed = await pruning.prune(checked_keep_ms(keep_ms), dry=dry)
        return plain_freed(freed, self._node.names.of, dry=dry)

    async def erase(self, entry: str) -> Json:
        """Forget what an entry says, for good.

        Raises:
            RefusedError: it says nothing, belongs to a trade that is not over, or shows whose
                this device is.
            LocalError: the disk is failing.
        """
        node = self._node
        record = self._record(entry)
        body = record.entry.body
        if body.payload_hash is None:
            raise RefusedError("This entry says nothing that could be erased.")
        if body.type == EntryType.GENESIS and body.author == node.chains.author:
            raise RefusedError(
                "This is what shows whose this device is.",
                "Without it you could never seal the device, should you lose it.",
            )
        trade = record.entry.id if body.type == EntryType.PROPOSE else next(iter(body.refs), None)
        if any(trade == one.id for one in node.desk.open_trades()):
            raise RefusedError(
                "This belongs to a trade of yours that is not over.",
                "Finish or cancel the trade first: its terms are what both sides agreed to.",
            )
        await node.chains.erase(record.entry.id)
        return {
            "id": record.entry.id.hex(),
            "erased": True,
            "own": body.author == node.chains.author,
        }

    def export(self, author: str | None) -> AsyncIterator[bytes]:
        """Return every record of one chain, or of all, in chain order.

        Raises:
            RefusedError: no such author, or several.
        """
        known = sorted(self._node.chains.heads)
        return self._export(known if author is None else [self._author(author)])

    async def _export(self, authors: Sequence[bytes]) -> AsyncIterator[bytes]:
        chains = self._node.chains
        for key in authors:
            seq = 1
            while seq <= chains.head_seq(key):
                records = chains.reader.run(key, seq, chains.head_seq(key), STREAM_WRITE_MAX)
                if not records:
                    break
                for record in records:
                    yield encode_record(record)
                seq = records[-1].entry.seq + 1
                await trio.lowlevel.checkpoint()

    # --- ids ---------------------------------------------------------------------------

    def _record(self, text: str) -> Record:
        record = self._node.chains.reader.find(text.strip().lower())
        if record is None:
            raise RefusedError(
                f"No entry with the id {text[:20]} is known here.",
                "`passby book` lists what is on offer, `passby trade list` your trades.",
            )
        return record

    def _id(self, text: str) -> bytes:
        return self._record(text).entry.id

    def _author(self, text: str) -> bytes:
        return self._node.names.find(text, self._node.chains.heads)
