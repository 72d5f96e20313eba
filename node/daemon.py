"""The daemon: what starts, in which order, and how it stops.

Start: lock the home, open the ledger, take part in the network, then answer on the socket, so
that whoever can ask gets whole answers. Stop (SIGTERM, SIGINT, or the API): answer no more,
leave the network, write what waits, let go of the lock.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing

import structlog
import trio

from passby.geo.cells import parse_cell, topic_cell
from passby.ledger.schema import LedgerDamagedError
from passby.node import shelf
from passby.node.api.app import make_app
from passby.node.api.service import Service
from passby.node.api.serving import serve_on
from passby.node.clock import machine_clock
from passby.node.following import Following
from passby.node.garage import Garage
from passby.node.home import Home
from passby.node.iban import parse_iban
from passby.node.joining import Answer
from passby.node.mending import mend
from passby.node.net_libp2p import Libp2pNetwork
from passby.node.participant import Identity, Participant, Private
from passby.node.policy_file import PolicyFile
from passby.node.pruning import DAY_MS
from passby.node.rides import Rides
from passby.node.stock import Stock
from passby.node.storage import SWITCH_INTERVAL_S, Storage, open_storage
from passby.node.watching import Watch
from passby.node.wishes import Wishes
from passby.node.witness_key import WitnessGuard
from passby.protocol.errors import LocalError
from passby.protocol.limits import BOOTSTRAP_RETRY_MAX_S, REDIAL_FIRST_S
from passby.protocol.talk import Payment
from passby.protocol.topics import topic_for

log = logging.getLogger(__name__)


def serve(home: Home, *, join: Sequence[str] = (), listen: Sequence[str] = ()) -> None:
    """Run the node of `home` until it is told to stop.

    Args:
        home: an opened home; locked while this runs.
        join: addresses or invites to connect to, besides the configured ones.
        listen: multiaddrs to listen on instead of the configured ones.

    Raises:
        LocalError: another daemon has the home, a port is taken, the ledger is damaged ...
    """
    with home.lock():
        _log_to_stderr(home.config().log_level)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            _run(home, join, listen)
        except LedgerDamagedError as error:
            log.warning("%s", error)
            mended = mend(home.database_path)
            log.warning(
                "the damaged ledger is kept as %s; %s entries were taken over, the neighbours"
                " give back the rest",
                mended.kept,
                mended.salvaged.entries,
            )
            _run(home, join, listen)


def _run(home: Home, join: Sequence[str], listen: Sequence[str]) -> None:
    try:
        trio.run(_serve, home, tuple(join), tuple(listen))
    except BaseExceptionGroup as group:
        # An except* would wrap what it raises in a group again.
        ours, others = group.split(LocalError)
        if ours is None or others is not None:
            raise
        raise _first(ours) from None


def _first(group: BaseExceptionGroup[LocalError]) -> LocalError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _serve(home: Home, join: tuple[str, ...], listen: tuple[str, ...]) -> None:
    config = home.config()
    key = home.ledger_key()
    policy = PolicyFile(home.policy_path)
    # What is wrong in it is said now, and not when a trade waits.
    policy()
    network = Libp2pNetwork(home.transport_seed, list(listen or config.listen))
    stop = trio.Event()
    # Before the ledger is opened, which may write.
    seal = shelf.seal(home.database_path)
    async with (
        open_storage(home.database_path, key.public) as storage,
        _witness_guard(home, storage) as guard,
    ):
        identity = Identity(
            key,
            config.name,
            home.certificate,
            home.certificate_salt,
            hashlib.blake2b(home.ledger_seed, person=b"passby codes").digest()[:32],
            home.is_trip,
            home.box_seed,
            guard.seed,
            home.former_box_seeds,
        )
        participant = Participant(
            identity,
            parse_cell(config.cell),
            storage,
            network,
            machine_clock,
            os.urandom,
            policy=policy,
            note_cosigned=guard.note,
            keep_ms=config.retention_days * DAY_MS,
            following=Following(home.followed_path),
            private=Private(
                home.talk_path,
                home.queue_path,
                home.rules_path,
                config.place,
                Payment(config.name[:70], parse_iban(config.pay_to)) if config.pay_to else None,
            ),
        )
        participant.rules.all()  # what is wrong in them is said now
        participant.witnessing.is_on = config.witness
        market, heads = participant.market, participant.chains.heads
        books = shelf.take_out(home.books_path, seal, heads)
        if books is not None:
            market.adopt(*books)
        rides = Rides(home.rides_path, participant.market, key.public, machine_clock)
        rides.on_stop(participant.tell_of_stop)
        rides.on_topics(participant.interest.travel)
        rides.planned()  # a file that cannot be read is told of before anything starts
        stock = Stock(home.stock_path, participant)
        wishes = Wishes(home.wishes_path, participant.market, key.public, machine_clock)
        wishes.on_fulfilled(participant.tell_of_wish)
        garage = Garage(home.garage_path)
        for kept in (wishes, garage):
            kept.held()  # as of rides
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, stop)
            nursery.start_soon(rides.run)
            nursery.start_soon(Watch(home.config, stock, machine_clock).run)
            await nursery.start(participant.run)
            for address in (*config.bootstrap, *join):
                nursery.start_soon(_join, participant, address)
            if config.mdns:
                nursery.start_soon(_find_neighbours, participant)
            log.info("up: %s", ", ".join(network.addresses()))
            # Until told to stop; whoever told it over the socket still gets an answer.
            await _answer(
                home, config.radius_m, participant, storage, rides, stock, wishes, garage, stop
            )
            log.info("stopping")
            nursery.cancel_scope.cancel()
    if market.is_whole:
        shelf.put_away(
            home.books_path,
            shelf.seal(home.database_path),
            heads,
            (market.offers, market.requests),
        )


@asynccontextmanager
async def _witness_guard(home: Home, storage: Storage) -> AsyncIterator[WitnessGuard]:
    with closing(WitnessGuard(home, (held for _, held in storage.reader.all_witnessed()))) as guard:
        yield guard


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop.set()


async def _answer(
    home: Home,
    radius_m: int,
    participant: Participant,
    storage: Storage,
    rides: Rides,
    stock: Stock,
    wishes: Wishes,
    garage: Garage,
    stop: trio.Event,
) -> None:
    """Serve the local API on the home's socket until `stop` is set."""
    path = home.prepare_socket()
    service = Service(
        participant,
        home.path,
        radius_m,
        stop.set,
        lambda: storage.refusal,
        rides,
        stock,
        wishes,
        garage,
    )
    await serve_on(path, make_app(service), stop.wait)


async def _join(participant: Participant, address: str) -> None:
    """Dial until it has answered once; from then on the network keeps the connection."""
    wait_s = REDIAL_FIRST_S
    while True:
        try:
            _peer, answer = await participant.joining.join(address)
        except LocalError as error:
            log.info("cannot join %s: %s", address, error)
        else:
            # A link that was given at an earlier start has expired by now; that is no trouble.
            if answer is not Answer.NOT_NOW:
                return
        await trio.sleep(wait_s)
        wait_s = min(2 * wait_s, BOOTSTRAP_RETRY_MAX_S)


async def _find_neighbours(participant: Participant) -> None:
    """Connect to neighbours on the home network as they are found."""
    from passby.node.discovery_mdns import MdnsDiscovery

    network, home = participant.network, participant.market.home
    discovery = MdnsDiscovery(network.peer_id, network.addresses(), topic_for(topic_cell(home)))
    async with discovery.run():
        async for neighbour in discovery.found:
            for address in neighbour.addresses:
                try:
                    await network.connect(address)
                except LocalError as error:
                    log.info("cannot join %s: %s", address, error)
                else:
                    break


def _log_to_stderr(level: str) -> None:
    """One line an event: for people on a terminal, JSON elsewhere."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.format_exc_info,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("hypercorn.error", "libp2p"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
