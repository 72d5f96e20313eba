"""The market as this node sees it: the two books, kept in step with the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import trio

from passby.geo.assign import around, suggest
from passby.geo.book import EVERYTHING, Book, subtree_label
from passby.geo.categories import takes_in
from passby.geo.cells import distance_m, unit_vector
from passby.geo.lots import BookLot, Side, gtin14, offered, wanted
from passby.geo.match import NO_TRUST, Match, Trust, matches_for_offer, matches_for_request
from passby.ledger.frames import Places
from passby.ledger.views import (
    OpenLot,
    OpenRequest,
    Skipped,
    open_lot,
    open_lots,
    open_request,
    open_requests,
)
from passby.node.chains import Chains, Forgotten
from passby.node.clock import Clock
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import RefusedError, RemoteError
from passby.protocol.limits import (
    BULK_PAUSE_S,
    BULK_SLICE,
    EXPIRE_EVERY_S,
    LOAD_SLICE,
    SHOWN_SCAN_MAX,
    STALE_MAX,
)
from passby.protocol.stock import STOCK_TYPES
from passby.protocol.types import EntryType

log = logging.getLogger(__name__)


class Market:
    """Open offers and requests, found by place and product.

    Args:
        chains: tells of new entries; is read for what is shown.
        clock: for expiry and prices.
        home: the cell from which this node looks.
    """

    def __init__(self, chains: Chains, clock: Clock, home: int) -> None:
        self._chains = chains
        self._clock = clock
        self.home = home
        self.offers = Book(Side.OFFER)
        self.requests = Book(Side.REQUEST)
        self.skipped = Skipped()
        self.trust: Callable[[], Trust] = lambda: NO_TRUST
        self._stale_lots: dict[tuple[bytes, int], None] = {}
        self._stale_requests: dict[tuple[bytes, int], None] = {}
        self._stale = trio.Event()
        self._fewer_stale = trio.Event()
        self._loaded = False
        self._on_lot: list[Callable[[BookLot], None]] = []
        chains.on_records(self._heard)
        chains.on_bulk(self._see_to_bulk)
        chains.on_frozen(self._frozen)
        chains.on_freed(self._freed)
        chains.on_erased(self._erased)
        chains.on_forgotten(self._forgotten)

    def on_lot(self, tell: Callable[[BookLot], None]) -> None:
        """Call `tell` with each lot that is new in a book."""
        self._on_lot.append(tell)

    async def run(self) -> None:
        """Fill the books from the ledger, then let go of what expires, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_bulk)
            if not self._loaded:
                await self._load()
            while True:
                now_ms = self._clock()
                self.offers.expire(now_ms)
                self.requests.expire(now_ms)
                await trio.sleep(EXPIRE_EVERY_S)

    def adopt(self, offers: Book, requests: Book) -> None:
        """Begin with books that were in step with the ledger as it is, instead of reading it."""
        self.offers, self.requests, self._loaded = offers, requests, True

    @property
    def is_whole(self) -> bool:
        """Whether the books are in step with the ledger, up to what its records say."""
        stale = self._stale_lots or self._stale_requests
        return self._loaded and not stale and self._chains.has_told_all

    async def _load(self) -> None:
        reader, now_ms = self._chains.reader, self._clock()
        for count, lot in enumerate(open_lots(reader.open_lots(now_ms), self.skipped)):
            if lot.id not in self.offers:
                self._insert_offer(lot)
            if count % LOAD_SLICE == 0:
                await trio.lowlevel.checkpoint()
        for count, request in enumerate(open_requests(reader.open_requests(now_ms), self.skipped)):
            if request.id not in self.requests and not self._is_withdrawn(request):
                self._insert_request(request)
            if count % LOAD_SLICE == 0:
                await trio.lowlevel.checkpoint()
        self._loaded = True

    # --- keeping up --------------------------------------------------------------------

    def _heard(self, records: Sequence[Record]) -> None:
        now_ms = self._clock()
        for record in records:
            body = record.entry.body
            if self._chains.is_closed(body.author):
                continue
            try:
                if body.type == EntryType.OFFER:
                    self._heard_offer(record, now_ms)
                elif body.type == EntryType.REQUEST:
                    found = open_request(record)
                    # Entries may be told of out of order, the withdrawal first.
                    if found and found.until_ms >= now_ms and not self._is_withdrawn(found):
                        self._insert_request(found)
                elif body.type == EntryType.WITHDRAW and isinstance(body.facts[0], int):
                    self._refresh_request(body.author, body.facts[0])
                elif body.stock and body.type in STOCK_TYPES:
                    self._heard_stock(body.author, body.stock[0])
            except RemoteError:
                self.skipped.unreadable += 1

    async def _see_to_bulk(self, places: Places) -> None:
        """Note what much at once spoke of; nobody is told of each lot."""
        self._stale_lots.update(dict.fromkeys(places.lots))
        self._stale_requests.update(dict.fromkeys(places.requests))
        self._stale.set()
        while len(self._stale_lots) + len(self._stale_requests) > STALE_MAX:
            self._fewer_stale = trio.Event()
            await self._fewer_stale.wait()

    async def _follow_bulk(self) -> None:
        """Bring the books up to date after bulk, in small slices: the ledger goes first."""
        while True:
            await self._stale.wait()
            for _ in range(BULK_SLICE):
                if self._stale_lots:
                    self._refresh_lot(*self._stale_lots.popitem()[0])
                elif self._stale_requests:
                    self._refresh_request(*self._stale_requests.popitem()[0])
                else:
                    self._stale = trio.Event()
                    break
            self._fewer_stale.set()
            await trio.sleep(BULK_PAUSE_S)

    def _refresh_lot(self, author: bytes, seq: int) -> None:
        record = self._chains.reader.record_at(author, seq)
        stock = self._chains.reader.lot(record.entry.id) if record is not None else None
        if record is None or stock is None or self._chains.is_closed(author):
            return
        if stock.closed:
            self.offers.remove(stock.lot_id)
        elif stock.lot_id in self.offers:
            self.offers.set_remaining(stock.lot_id, stock.remaining)
        elif stock.remaining > 0:
            try:
                lot = open_lot(record, stock)
            except RemoteError:
                self.skipped.unreadable += 1
                return
            if lot is not None and lot.until_ms >= self._clock():
                self._insert_offer(lot, tell=False)

    def _refresh_request(self, author: bytes, seq: int) -> None:
        record = self._chains.reader.record_at(author, seq)
        if record is None or self._chains.is_closed(author):
            return
        try:
            found = open_request(record)
        except RemoteError:
            self.skipped.unreadable += 1
            return
        if found is None:
            return
        if self._is_withdrawn(found):
            self.requests.remove(found.id)
        elif found.until_ms >= self._clock():
            self._insert_request(found, tell=False)

    def _is_withdrawn(self, found: OpenRequest) -> bool:
        return bool(self._chains.reader.noted(EntryType.WITHDRAW, found.id, found.author))

    def _heard_offer(self, record: Record, now_ms: int) -> None:
        stock = self._chains.reader.lot(record.entry.id)
        lot = open_lot(record, stock) if stock is not None and not stock.closed else None
        if lot is not None and lot.until_ms >= now_ms:
            self._insert_offer(lot)

    def _heard_stock(self, author: bytes, lot_seq: int) -> None:
        offer = self._chains.reader.record_at(author, lot_seq)
        # What is left now, not what the entry says: commits may be told of out of order.
        stock = self._chains.reader.lot(offer.entry.id) if offer is not None else None
        if stock is None:
            return
        if stock.closed:
            self.offers.remove(stock.lot_id)
        else:
            self.offers.set_remaining(stock.lot_id, stock.remaining)

    def _insert_offer(self, lot: OpenLot, *, tell: bool = True) -> None:
        self._insert(
            self.offers,
            lambda: offered(lot.id, lot.author, lot.at_ms, lot.until_ms, lot.remaining, lot.offer),
            tell=tell,
        )

    def _insert_request(self, found: OpenRequest, *, tell: bool = True) -> None:
        request = found.request
        self._insert(
            self.requests,
            lambda: wanted(
                found.id, found.author, found.at_ms, found.until_ms, request.amount, request
            ),
            tell=tell,
        )

    def _insert(self, book: Book, make: Callable[[], BookLot], *, tell: bool) -> None:
        try:
            lot = make()
        except RemoteError:
            self.skipped.unreadable += 1
            return
        book.insert(lot)
        for hear in self._on_lot if tell else ():
            hear(lot)

    def _freed(self, author: bytes) -> None:
        head = self._chains.reader.head(author)
        now_ms = self._clock()
        if head is not None:
            for record in self._chains.reader.log(author, None, head.seq):
                if record.entry.body.type == EntryType.OFFER:
                    self._heard_offer(record, now_ms)

    def _frozen(self, author: bytes) -> None:
        for book in (self.offers, self.requests):
            for lot in [lot for lot in book if lot.author == author]:
                book.remove(lot.id)

    def _forgotten(self, gone: Forgotten) -> None:
        for book in (self.offers, self.requests):
            for lot in gone.placed:
                if lot in book:
                    book.remove(lot)

    def _erased(self, entry: Entry) -> None:
        for book in (self.offers, self.requests):
            if entry.id in book:
                book.remove(entry.id)

    # --- asking ------------------------------------------------------------------------

    def near(
        self,
        side: Side,
        *,
        category: str | None = None,
        gtin: str | None = None,
        text: str | None = None,
        own: bool | None = None,
        radius_m: int,
        limit: int,
    ) -> list[tuple[BookLot, int]]:
        """Return (lot, distance in metres from home) of lots within `radius_m`, nearest first.

        At most the SHOWN_SCAN_MAX nearest are looked at.
        """
        book = self.offers if side is Side.OFFER else self.requests
        now_ms, folded = self._clock(), text.casefold() if text else ""
        found: list[tuple[BookLot, int]] = []
        # Requests stand under their own category alone: what takes them in is looked at here.
        label = category if side is Side.OFFER else None
        for lot in islice(self._by_distance(book, label, radius_m), SHOWN_SCAN_MAX):
            if (
                (category is None or takes_in(category, lot.category))
                and (gtin is None or lot.gtin == gtin14(gtin))
                and (own is None or (lot.author == self._chains.author) is own)
                and lot.remaining > 0
                and lot.until_ms >= now_ms
                and folded in (self._name(lot).casefold() if folded else "")
            ):
                found.append((lot, distance_m(self.home, lot.cell)))
                if len(found) == limit:
                    break
        return found

    def _by_distance(self, book: Book, category: str | None, radius_m: int) -> Iterator[BookLot]:
        label = EVERYTHING if category is None else subtree_label(category)
        slots = book.near([label], self.home, radius_m)
        rows, (x, y, z) = book.rows(slots), unit_vector(self.home)
        nearness = rows["x"] * x + rows["y"] * y + rows["z"] * z
        order = np.argsort(-nearness, kind="stable")
        return (book.lot_at(slot) for slot in slots[order].tolist())

    def _name(self, lot: BookLot) -> str:
        record = self._chains.reader.record(lot.id)
        if record is None:
            return ""
        try:
            if lot.side is Side.OFFER:
                stock = self._chains.reader.lot(lot.id)
                opened = open_lot(record, stock) if stock else None
                return opened.offer.name if opened else ""
            asked = open_request(record)
        except RemoteError:
            return ""
        return asked.request.name if asked else ""

    def matches(self, lot_id: bytes | None, limit: int) -> list[Match]:
        """Return matches of one lot, or of every own one, the best first.

        Raises:
            RefusedError: the lot is not open here.
        """
        now_ms = self._clock()
        if lot_id is not None:
            return self._matches_of(self._find(lot_id), now_ms, limit)
        found: dict[tuple[bytes, bytes], Match] = {}
        for book in (self.requests, self.offers):
            for lot in book:
                if lot.author == self._chains.author:
                    for match in self._matches_of(lot, now_ms, limit):
                        found.setdefault((match.offer.id, match.request.id), match)
        ranked = sorted(found.values(), key=lambda m: (-m.points, m.offer.id, m.request.id))
        return ranked[:limit]

    def suggested(self, lot_id: bytes) -> dict[tuple[bytes, bytes], int]:
        """Return by (offer, request) who should take how much, where several want the same.

        Raises:
            RefusedError: the lot is not open here.
        """
        found = around(self.offers, self.requests, self._find(lot_id), self._clock())
        return {(m.offer.id, m.request.id): amount for m, amount in suggest(found)}

    def _find(self, lot_id: bytes) -> BookLot:
        lot = self.offers.get(lot_id) or self.requests.get(lot_id)
        if lot is None:
            raise RefusedError(
                "This lot is not open, or not known here.", "`passby book` lists what is."
            )
        return lot

    def _matches_of(self, lot: BookLot, now_ms: int, limit: int) -> list[Match]:
        if lot.side is Side.REQUEST:
            return matches_for_request(self.offers, lot, now_ms, limit, trust=self.trust())
        return matches_for_offer(self.requests, lot, now_ms, limit, trust=self.trust())
