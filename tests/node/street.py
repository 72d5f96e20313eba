"""Households in one process: the node's own code, over either network and either store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import trio
from tests.node.networks import Maker, eventually

from passby.geo.cells import cell_at
from passby.ledger.policy import NO_POLICY
from passby.ledger.store_memory import MemoryStore
from passby.node.clock import machine_clock
from passby.node.head_guard import begin
from passby.node.listing import draft_of, read_listed
from passby.node.net import Network
from passby.node.participant import NETWORK_ID, Identity, Participant, Private
from passby.node.storage import InlineStorage, open_storage
from passby.protocol.errors import RefusedError
from passby.protocol.keys import Certificate, SigningKey
from passby.protocol.trade import State, Trade

HOME = cell_at(52.375, 4.884)
AWAY = cell_at(-33.87, 151.21)
MINUTE_MS = 60_000
BRAKE_FLUID: dict[str, Any] = {
    "side": "offer",
    "name": "Brake fluid DOT 4",
    "category": "fluids/brake-fluid",
    "unit": "MLT",
    "amount": 946,
    "price": {"minor": 400, "per_amount": 946, "currency": "EUR"},
}


class TurnedClock:
    """The machine's clock, until somebody turns it."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return machine_clock() + self.ahead_ms


class Household:
    """One participant, and what outlives it: its key, its store, its name on the network."""

    participant: Participant
    network: Network
    scope: trio.CancelScope
    certificate: Certificate
    gone: trio.Event

    def __init__(self, street: Street, name: str, home: int, network_id: bytes) -> None:
        self.street = street
        self.name = name
        self.home = home
        self.network_id = network_id
        self.key = SigningKey(sha256(name.encode()).digest())
        self.root = SigningKey(sha256(b"root" + name.encode()).digest())
        self.store = MemoryStore()
        self.clock = street.clock
        self.address = ""
        self.policy = NO_POLICY
        self.private = Private()
        self.trip = False

    async def start(self) -> None:
        """Take part, with whatever the store holds."""
        maker = self.street.maker
        self.network = maker.again(self.address) if self.address else maker.node(self.name)
        self.scope, self.gone = trio.CancelScope(), trio.Event()
        await self.street.nursery.start(self._live)
        self.address = self.network.addresses()[0]

    async def _live(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.certificate = Certificate.issue(self.root, self.key.public, machine_clock())
        identity = Identity(
            self.key,
            self.name,
            self.certificate.raw,
            bytes(16),
            sha256(self.key.public).digest(),
            trip=self.trip,
        )
        async with AsyncExitStack() as stack:
            stack.callback(self.gone.set)
            stack.enter_context(self.scope)
            folder = self.street.folder
            if folder is not None and not self.address:
                begin(folder / f"{self.name}.guard")
            storage = (
                InlineStorage(self.store, self.key.public)
                if folder is None
                else await stack.enter_async_context(
                    open_storage(
                        folder / f"{self.name}.db",
                        self.key.public,
                        guard_path=folder / f"{self.name}.guard",
                    )
                )
            )
            self.participant = Participant(
                identity,
                self.home,
                storage,
                self.network,
                self.clock,
                os.urandom,
                self.network_id,
                lambda: self.policy,
                private=self.private,
            )
            await self.participant.run(task_status=task_status)

    async def stop(self) -> None:
        """Leave; the store keeps what was committed."""
        self.scope.cancel()
        await self.gone.wait()

    async def restart(self, *neighbours: Household) -> None:
        """Leave and come back as a new participant over the same store."""
        await self.stop()
        await self.start()
        await self.join(*neighbours)

    async def join(self, *others: Household) -> None:
        """Connect to others."""
        for other in others:
            await self.network.connect(other.network.addresses()[0])

    async def vouch(self, *others: Household) -> None:
        """Vouch for others, as who has invited them does."""
        for other in others:
            await self.participant.circle.vouch(other.author, stands=True)

    @property
    def author(self) -> bytes:
        return self.key.public

    async def list(self, **changes: Any) -> bytes:
        """List the brake fluid, or something else; return the lot's id."""
        draft = draft_of(read_listed(BRAKE_FLUID | changes), self.home, self.clock())
        (record,) = await self.participant.say([draft])
        return record.entry.id

    def has_lot(self, lot: bytes) -> bool:
        return lot in self.participant.market.offers

    def remaining(self, lot: bytes) -> int | None:
        """Return what the book says is left, which must be what the ledger says."""
        found = self.participant.market.offers.get(lot)
        stock = self.participant.chains.reader.lot(lot)
        if found is None or stock is None:
            return None
        assert found.remaining == stock.remaining
        return found.remaining

    def trade(self, trade: bytes) -> Trade | None:
        try:
            return self.participant.desk.trade(trade)
        except RefusedError:
            return None

    async def sees(self, trade: bytes, state: State) -> Trade:
        """Wait until this household sees the trade in `state`."""

        def look() -> bool:
            found = self.trade(trade)
            return found is not None and found.state is state

        await eventually(look)
        return self.participant.desk.trade(trade)

    def code(self, trade: bytes) -> str:
        code = self.participant.desk.code(self.participant.desk.trade(trade))
        assert code is not None
        return code

    def look_at_the_clock(self) -> None:
        """Let the desk see at once that time has passed."""
        self.participant.desk._bell.set()


class Street:
    """Households and what they share."""

    def __init__(self, maker: Maker, folder: Path | None, nursery: trio.Nursery) -> None:
        self.maker = maker
        self.folder = folder
        self.nursery = nursery
        self.clock = TurnedClock()

    async def settle(self, *names: str, home: int = HOME) -> list[Household]:
        """Open households that all know each other."""
        found = [await self.open(name, home=home) for name in names]
        for at, household in enumerate(found):
            await household.join(*found[:at])
        return found

    async def open(
        self,
        name: str,
        *,
        home: int = HOME,
        network_id: bytes = NETWORK_ID,
        of: Household | None = None,
        trip: bool = False,
    ) -> Household:
        """Open one that knows nobody yet, or a further device `of` a person."""
        household = Household(self, name, home, network_id)
        household.trip = trip
        if of is not None:
            household.root = of.root
        await household.start()
        return household

    def pass_time(self, ms: int, *households: Household) -> None:
        """Turn the clock on, and let the households notice."""
        self.clock.ahead_ms += ms
        for household in households:
            household.look_at_the_clock()


@asynccontextmanager
async def street(maker: Maker, folder: Path | None = None) -> AsyncIterator[Street]:
    """A street that ends with the block."""
    async with trio.open_nursery() as nursery:
        yield Street(maker, folder, nursery)
        nursery.cancel_scope.cancel()
