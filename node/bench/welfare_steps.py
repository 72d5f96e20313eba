"""The steps of a trade of two, as entries."""

from __future__ import annotations

from typing import Final

import msgspec

from passby.ledger.draft import Draft, Reserve, Resolve
from passby.protocol.payloads import Terms
from passby.protocol.trade import Leg, Trade
from passby.protocol.turns import Step, cancel_names, release_causes
from passby.protocol.types import EntryType

CONFIRMS_MS: Final = 2 * 60_000
"""What a lister whose goods are wanted by others allows for the confirm, which nodes do alone."""
_SECRET: Final = bytes(32)


def draft_of(trade: Trade, step: Step, now_ms: int) -> Draft:
    """Return the entry that a step of a trade of two writes, as `node.desk` would."""
    leg = trade.legs[0]
    match step.type:
        case EntryType.RESERVE:
            confirm_by_ms = min(now_ms + CONFIRMS_MS, leg.handover_until_ms)
            facts = (confirm_by_ms, _SECRET)
            move = Reserve(_seq(leg), leg.amount)
            return Draft(EntryType.RESERVE, (trade.id, leg.lot), facts, move=move)
        case EntryType.CONFIRM:
            assert leg.reserve is not None
            promised = (trade.id, leg.reserve.id)
            return Draft(EntryType.CONFIRM, promised, (trade.commit_by_ms or 0, _SECRET))
        case EntryType.COMMIT:
            assert trade.confirm is not None
            assert leg.reserve is not None
            return Draft(EntryType.COMMIT, (trade.id, trade.confirm.id, leg.reserve.id))
        case EntryType.CANCEL:
            return Draft(EntryType.CANCEL, (trade.id, *cancel_names(trade)), (1,))
        case EntryType.RELEASE:
            reserve = leg.reserve or leg.reserves[0]
            refs = (trade.id, reserve.id, *release_causes(trade, leg))
            undone = Resolve(_seq(leg), reserve.seq, leg.amount, 0)
            return Draft(EntryType.RELEASE, refs, (2,), move=undone)
        case _:
            raise AssertionError(f"an automatic {step.type.name} that no node takes")


def let_down(trade: Trade, party: bytes) -> bool:
    """Tell whether it was the other's turn when a trade of two came to nothing."""
    leg = trade.legs[0]
    if leg.commit is not None:
        return True
    return (trade.confirm is None and leg.reserve is not None) is (party != trade.taker)


def with_bid(terms: Terms, bid_minor: int) -> Terms:
    """Return terms that pay so much more than the offer asks."""
    (lot,) = terms.lots
    paid = msgspec.structs.replace(lot, total_minor=lot.total_minor + bid_minor)
    return msgspec.structs.replace(terms, lots=(paid,))


def _seq(leg: Leg) -> int:
    assert leg.offer is not None
    return leg.offer.seq
