"""What tests of trades expect of a deal."""

from __future__ import annotations

from tests.protocol.chains import T0, Deal, Party

from passby.protocol.trade import State, Trade
from passby.protocol.turns import Step, turns
from passby.protocol.types import EntryType


def rules(trade: Trade) -> set[str]:
    return {fault.rule for fault in trade.faults}


def expect(
    deal: Deal, state: State, now_ms: int = T0, faults: frozenset[str] | set[str] = frozenset()
) -> Trade:
    trade = deal.fold(now_ms)
    assert (trade.state, rules(trade)) == (state, set(faults))
    return trade


def may(trade: Trade, party: Party, kind: EntryType, now_ms: int = T0) -> list[Step]:
    steps = turns(trade, now_ms)
    return [step for step in steps if step.party == party.public and step.type == kind]
