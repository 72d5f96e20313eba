"""The queue: proposes that are accepted by themselves once what they ask for is free again.

A lister accepts one taker and queues others; when the first lapses, cancels or does not come,
the node sets the goods aside for the next. Whoever waits decides for how long, by respond_by.
"""

from __future__ import annotations

import logging
from pathlib import Path

from passby.node.chains import Chains
from passby.node.clock import Clock
from passby.node.private import PrivateFile
from passby.node.trades import fold_of
from passby.protocol.errors import LocalError, RefusedError
from passby.protocol.limits import BACKUPS_MAX
from passby.protocol.trade import State, Trade

log = logging.getLogger(__name__)


class Backups:
    """The own queue, first come first served among those that fit.

    Args:
        path: the private file that keeps it; None keeps it in memory.
        chains: what is held.
        clock: for what is over.
    """

    def __init__(self, path: Path | None, chains: Chains, clock: Clock) -> None:
        self._file = PrivateFile[tuple[bytes, ...]](path, tuple[bytes, ...], ())
        self._chains = chains
        self._clock = clock
        self._file.read()  # a file that cannot be read is told of before anything starts

    def add(self, trade: Trade) -> None:
        """Queue a propose for own lots.

        Raises:
            RefusedError: it is answered or over, not this device's to answer, or too many wait.
            LocalError: the disk.
        """
        me = self._chains.author
        if trade.state is not State.PROPOSED or not any(leg.lister == me for leg in trade.legs):
            raise RefusedError("This does not wait for your answer.", "`passby trade list`")
        queued = self._file.read()
        if trade.id in queued:
            return
        if len(queued) >= BACKUPS_MAX:
            raise RefusedError("Too many wait already.", "Decline some with `passby cancel`.")
        self._file.write((*queued, trade.id))

    def has(self, trade_id: bytes) -> bool:
        """Tell whether a trade waits in the queue."""
        return trade_id in self._file.read()

    def accepts(self, trade: Trade) -> bool:
        """Tell whether it is this trade's turn: queued, in time, enough free, and none before."""
        if not self.has(trade.id) or not self._fits(trade):
            return False
        lots = {leg.lot for leg in trade.legs}
        for earlier in self._file.read():
            if earlier == trade.id:
                return True
            try:
                other = fold_of(self._chains, earlier, self._clock())
            except RefusedError:
                continue
            if lots & {leg.lot for leg in other.legs} and self._fits(other):
                return False
        return False

    def _fits(self, trade: Trade) -> bool:
        now_ms = self._clock()
        if trade.state is not State.PROPOSED:
            return False
        for leg in trade.legs:
            if leg.handover_until_ms <= now_ms:
                return False
            stock = self._chains.reader.lot(leg.lot) if leg.lister == self._chains.author else None
            if stock is not None and stock.remaining < leg.amount:
                return False
        return True

    def see_trade(self, trade: Trade) -> None:
        """Take out of the queue what is answered or over."""
        queued = self._file.read()
        if trade.state is State.PROPOSED or trade.id not in queued:
            return
        try:
            self._file.write(tuple(found for found in queued if found != trade.id))
        except LocalError as error:
            log.warning("the queue cannot be written: %s", error)
