"""Warnings to whoever has a trade open with somebody that is proven false meanwhile.

The trade can still be finished: hand-over, receipt, release and cancel of the other side are
taken as before (`ledger.standing.finishes`). But nothing more is agreed to.
"""

from __future__ import annotations

from typing import Any

from passby.node.chains import Chains
from passby.node.desk import Desk
from passby.node.events import Events
from passby.protocol.trade import Trade


def warnings_of(chains: Chains, trade: Trade) -> list[dict[str, Any]]:
    """Return which of a trade's parties is proven false, from which entry on, and of what."""
    found: list[dict[str, Any]] = []
    for party in sorted(trade.parties()):
        false_from = chains.false_from(party)
        if false_from is not None:
            rules = [evidence.rule for evidence in chains.reader.evidence(party)]
            found.append({"author": party.hex(), "false_from": false_from, "rule": rules[0]})
    return found


class Warnings:
    """Tells of them on the event stream.

    Args:
        chains: tells who is proven false.
        desk: knows the trades of this device.
        events: the event stream.
    """

    def __init__(self, chains: Chains, desk: Desk, events: Events) -> None:
        self._chains = chains
        self._desk = desk
        self._events = events
        chains.on_proven(self._proven_false)

    def _proven_false(self, author: bytes) -> None:
        for trade in self._desk.open_trades():
            for warning in warnings_of(self._chains, trade):
                if warning["author"] == author.hex():
                    self._events.tell({"kind": "warning", "trade": trade.id.hex(), **warning})
