"""Many participants in one process: the node's own code over the memory network and store."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from hashlib import sha256

import trio

from passby.geo.cells import cell_at, topic_cell
from passby.ledger.draft import Draft, OpenLot
from passby.ledger.store_memory import MemoryStore
from passby.node.clock import virtual_clock
from passby.node.following import Following
from passby.node.net_memory import MemoryNetwork, MemoryWorld
from passby.node.participant import Identity, Participant
from passby.node.storage import InlineStorage
from passby.protocol.keys import Certificate, SigningKey
from passby.protocol.payloads import Offer, encode_payload
from passby.protocol.price import Price
from passby.protocol.types import EntryType
from passby.protocol.units import Unit

EPOCH_MS = 1_800_000_000_000
HOME = cell_at(52.375, 4.884)


@dataclass(eq=False)
class Villager:
    """One household: what survives a crash, and the participant that runs now."""

    village: Village
    name: str
    skew_ms: int = 0
    key: SigningKey = field(init=False)
    store: MemoryStore = field(init=False)
    following: Following = field(init=False)
    participant: Participant = field(init=False)
    network: MemoryNetwork = field(init=False)
    scope: trio.CancelScope = field(init=False)

    def __post_init__(self) -> None:
        self.key = SigningKey(sha256(self.name.encode()).digest())
        self.store = MemoryStore()
        self.following = Following()

    async def start(self, nursery: trio.Nursery) -> None:
        """Take part, with whatever the store holds."""
        root = SigningKey(sha256(b"root" + self.name.encode()).digest())
        certificate = Certificate.issue(root, self.key.public, EPOCH_MS)
        identity = Identity(self.key, self.name, certificate.raw, bytes(16), bytes(32))
        self.network = self.village.world.node(self.name)
        self.participant = Participant(
            identity,
            HOME,
            InlineStorage(self.store, self.key.public),
            self.network,
            virtual_clock(EPOCH_MS, self.skew_ms),
            self.village.dice.randbytes,
            following=self.following,
        )
        self.scope = trio.CancelScope()
        await nursery.start(self._run)

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await self.participant.run(task_status=task_status)

    def crash(self) -> None:
        """Stop without a goodbye; the store keeps what was committed."""
        self.village.world.crash(self.name)
        self.scope.cancel()

    async def join(self, *others: Villager) -> None:
        """Connect to others."""
        for other in others:
            await self.network.connect(other.network.addresses()[0])

    async def offer(self, name: str) -> bytes:
        """List a small offer; return its id, which is acknowledged."""
        offer = Offer(
            name=name,
            category="things",
            unit=Unit.PIECE,
            price=Price(100, 1, "EUR"),
            cell=HOME,
        )
        until_ms = self.participant.clock() + 7 * 24 * 3600 * 1000
        draft = Draft(
            EntryType.OFFER,
            facts=(topic_cell(HOME), until_ms),
            payload=encode_payload(offer),
            move=OpenLot(3),
        )
        (record,) = await self.participant.say([draft])
        return record.entry.id

    def heads(self) -> dict[bytes, bytes]:
        """Return author -> id of the head, as stored."""
        return {author: head.id for author, head in self.store.heads()}


class Village:
    """Villagers and the weather between them."""

    def __init__(self, world: MemoryWorld, dice: random.Random, size: int) -> None:
        self.world = world
        self.dice = dice
        self.villagers = [Villager(self, f"v{number:02}") for number in range(size)]

    async def settle(self, nursery: trio.Nursery, degree: int) -> None:
        """Start everybody, and join each to its predecessor and to some others by chance."""
        for villager in self.villagers:
            await villager.start(nursery)
        for number, villager in enumerate(self.villagers[1:], 1):
            others = self.dice.sample(self.villagers[:number], min(degree - 1, number))
            await villager.join(self.villagers[number - 1], *others)

    def converged(self) -> bool:
        """Tell whether all hold the same heads of all who have listed something."""
        listers = {v.key.public for v in self.villagers if v.store.spoken(v.key.public)}
        first = self._heads_of(self.villagers[0], listers)
        return len(first) == len(listers) and all(
            self._heads_of(villager, listers) == first for villager in self.villagers
        )

    def _heads_of(self, villager: Villager, authors: set[bytes]) -> dict[bytes, bytes]:
        return {author: head for author, head in villager.heads().items() if author in authors}

    async def until_converged(self, within_s: float) -> None:
        """Wait, on virtual time, until `converged`; TooSlowError if that takes too long."""
        with trio.fail_after(within_s):
            while not self.converged():  # noqa: ASYNC110  # nobody can tell of this; time is virtual
                await trio.sleep(0.25)
