"""Deliveries: one propose of a giver's lot and the room of those who carry it to the taker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from passby.node.agreement import check_amount, handover_until, latest_ms
from passby.node.chains import Chains
from passby.node.trades import offer_of
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.legs import TAKER
from passby.protocol.limits import AMOUNT_MAX, LOTS_PER_PROPOSE_MAX
from passby.protocol.payloads import Offer
from passby.protocol.units import SYMBOL, Unit

Carriers = Sequence[tuple[bytes, int | None]]
"""Capacity lots in the order in which the goods go through them, and how much room of each."""


class Part(NamedTuple):
    """One lot of a propose to be: what is taken of it, for whom and by when.

    `to` is the number of the party that gets the goods, as in the propose's facts.
    """

    lot: bytes
    lister: bytes
    offer: Offer
    amount: int
    to: int
    handover_until_ms: int


def parts_of(
    chains: Chains,
    lot: bytes,
    amount: int | None,
    carriers: Carriers,
    handover_until_ms: int | None,
    now_ms: int,
    *,
    backup: bool = False,
) -> list[Part]:
    """Return what to propose: the goods, and each carrier's room on their way to the taker.

    Args:
        chains: what is held.
        lot: the goods.
        amount: how much of them; all that is left where it is None.
        carriers: who brings them, nobody where the taker fetches them.
        handover_until_ms: when the taker has them at the latest; the last lister's own time
            where it is None. Whoever hands on earlier keeps to its own window as well.
        now_ms: the time.
        backup: whether to count in what is set aside for others, should they not come.

    Raises:
        RefusedError: a lot that cannot be had, is no room, or not in time for the next.
        UsageError: a time that cannot be, or room in another unit that nobody has measured.
    """
    if len(carriers) >= LOTS_PER_PROPOSE_MAX:
        raise UsageError(f"At most {LOTS_PER_PROPOSE_MAX - 1} carriers take part in one delivery.")
    lots = (lot, *(each for each, _ in carriers))
    found = [_to_be_had(chains, each, now_ms, backup=backup) for each in lots]
    listers = [lister for lister, _, _ in found]
    if len({*listers}) != len(listers):
        raise RefusedError(
            "One of them would carry to itself.", "Each who takes part has one lot in a delivery."
        )
    _, goods, left = found[0]
    amounts = [left if amount is None else amount]
    for (_, offer, _), (_, room) in zip(found[1:], carriers, strict=True):
        if offer.carriage is None:
            raise RefusedError(
                f"“{offer.name}” is goods, and no room on somebody's way.",
                "`passby book --category carriage` lists who carries.",
            )
        amounts.append(_room(goods, amounts[0], offer) if room is None else room)
    untils_ms = _untils_ms([offer for _, offer, _ in found], handover_until_ms, now_ms)
    parts: list[Part] = []
    for number, ((lister, offer, remaining), taken, until_ms) in enumerate(
        zip(found, amounts, untils_ms, strict=True), 1
    ):
        check_amount(offer, taken, remaining)
        if offer.price.total_minor(taken, now_ms) > AMOUNT_MAX:
            raise RefusedError("This costs more than can be counted.", "Propose less of it.")
        to = TAKER if number == len(found) else number + 1
        lot_id = lot if number == 1 else carriers[number - 2][0]
        parts.append(Part(lot_id, lister, offer, taken, to, until_ms))
    return parts


def _to_be_had(
    chains: Chains, lot_id: bytes, now_ms: int, *, backup: bool
) -> tuple[bytes, Offer, int]:
    """Return a lot's lister, what it says and what is left of it."""
    record, lot = chains.reader.record(lot_id), chains.reader.lot(lot_id)
    if record is None or lot is None:
        raise RefusedError("This lot is not known here.", "`passby book` lists what is.")
    lister = record.entry.author
    if lister == chains.author:
        raise RefusedError("This is your own lot.")
    if chains.is_frozen(lister):
        raise RefusedError("Whoever lists this was caught forking its chain.")
    if chains.is_closed(lister):
        raise RefusedError("Whoever lists this has lost that device, and sealed its chain.")
    until_ms = record.entry.body.facts[1]
    if isinstance(until_ms, int) and until_ms < now_ms:
        raise RefusedError("This offer has ended.", "`passby book` lists what is still there.")
    return lister, offer_of(record), lot.remaining + (lot.reserved if backup else 0)


def _room(goods: Offer, amount: int, carriage: Offer) -> int:
    """Return how much room the goods take: as much as they are, or one piece."""
    if carriage.unit is goods.unit:
        above = max(amount - carriage.minimum, 0)
        return carriage.minimum + -(-above // carriage.step) * carriage.step
    if carriage.unit is Unit.PIECE:
        return carriage.minimum
    symbol = SYMBOL[carriage.unit]
    raise UsageError(
        f"The goods are counted in {SYMBOL[goods.unit]}, the room in {symbol}.",
        f"Say with --room how many {symbol} they take.",
    )


def _untils_ms(offers: Sequence[Offer], last_ms: int | None, now_ms: int) -> list[int]:
    """Return by when each lot is handed over, none later than the one after it."""
    found: list[int] = []
    for offer in reversed(offers):
        own_ms = handover_until(offer, now_ms)
        if not found:
            found.append(own_ms if last_ms is None else last_ms)
        else:
            found.append(min(own_ms, found[-1]))
            if offer.window is not None and offer.window.from_ms > found[-1]:
                raise RefusedError(
                    f"“{offer.name}” can be fetched only after its carrier is on the way.",
                    "Look for one who goes later: `passby book --category carriage`.",
                )
    if min(found) <= now_ms:
        raise UsageError("The hand-over would have to be in the past.")
    if max(found) > latest_ms(now_ms):
        raise UsageError("A hand-over is at most a year ahead.", "Give an earlier --by.")
    return found[::-1]
