"""What this node agrees to: amounts, terms and times that no honest party asks otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from passby.node.chains import Chains
from passby.node.quantities import Amount, show_amount
from passby.node.trades import offer_of, terms_in
from passby.protocol.errors import RefusedError
from passby.protocol.limits import (
    HANDOVER_AHEAD_MAX_S,
    HANDOVER_GRACE_S,
    HANDOVER_WITHIN_S,
    PROPOSE_SKEW_MAX_S,
)
from passby.protocol.payloads import Offer
from passby.protocol.terms import at_quoted, terms_of
from passby.protocol.trade import Trade
from passby.protocol.turns import Step
from passby.protocol.types import EntryType


def check_terms(
    chains: Chains, trade: Trade, now_ms: int, quoted: Mapping[bytes, int] | None = None
) -> None:
    """Refuse terms that are not what the offers say at the propose's time, or what was quoted.

    Args:
        chains: what is held.
        trade: what is proposed.
        now_ms: the own clock.
        quoted: for own lots, the total that this taker was promised, instead of the offer's.

    Raises:
        RefusedError: they are not, or have not arrived; or the times are past all reason.
    """
    if trade.propose.at_ms > now_ms + PROPOSE_SKEW_MAX_S * 1000:
        raise RefusedError(
            "The propose is dated ahead of this clock.", "`passby doctor` checks the clock."
        )
    others = trade.parties() - {chains.author}
    if any(map(chains.is_frozen, others)):
        raise RefusedError(
            "Whoever takes part in this was caught with two histories, or with a broken rule.",
            "Decline with `passby cancel`.",
        )
    if any(leg.handover_until_ms > latest_ms(now_ms) for leg in trade.legs):
        raise RefusedError(
            "The hand-over is put off for more than a year: till then nothing would free what"
            " is set aside.",
            "Decline with `passby cancel`.",
        )
    terms = terms_in(chains, trade)
    if terms is None:
        raise RefusedError("The terms of this propose have not arrived, or are not its own.")
    offers: list[tuple[bytes, Offer, int]] = []
    for leg in trade.legs:
        record = chains.reader.record(leg.lot)
        if record is None:
            raise RefusedError("An offer of this trade has not arrived yet.", "Try again.")
        offer = offer_of(record)
        if leg.lister == chains.author:
            lot = chains.reader.lot(leg.lot)
            check_amount(offer, leg.amount, lot.remaining if lot else 0)
        if offer.carriage is None and trade.bringing_to(leg):
            raise RefusedError(
                f"This trade leads goods through the hands of who offers “{offer.name}”, and"
                " offers no carriage.",
                "Decline with `passby cancel`.",
            )
        offers.append((leg.lot, offer, leg.amount))
    asked = at_quoted(terms_of(offers, trade.propose.at_ms, None), quoted or {})
    if terms.lots != asked.lots:
        raise RefusedError(
            "The terms differ from what the offer says.",
            "Decline with `passby cancel`, and offer anew if the price has changed.",
        )


def check_stranger(trade: Trade, others: Iterable[Trade], lister: bytes) -> None:
    """Refuse a second open reserve for a taker nobody answers for: keys are free, goods are not.

    Args:
        trade: the one to reserve for.
        others: further trades of its taker with `lister`.
        lister: whose lots are set aside.

    Raises:
        RefusedError: goods are set aside for the taker already, or would be of several lots.
    """
    set_aside = [
        leg
        for each in others
        for leg in each.legs
        if leg.lister == lister and leg.reserves and not leg.releases and not leg.handovers
    ]
    asked = [leg for leg in trade.legs if leg.lister == lister]
    if len(set_aside) + len(asked) > 1:
        raise RefusedError(
            "Nobody you trust answers for this taker, who may have one lot set aside at a time.",
            f"If you know who it is: passby vouch {trade.taker.hex()[:12]}",
        )


def check_amount(offer: Offer, amount: int, remaining: int) -> None:
    """Refuse an amount that the offer does not hand out.

    Raises:
        RefusedError: more than is left, below the minimum, or between two steps.
    """
    if remaining < 1:
        raise RefusedError(
            "Nothing is left of this lot.", "`passby book` lists what is still there."
        )
    if amount > remaining:
        raise RefusedError(
            f"Only {_shown(remaining, offer)} is left of this lot, not {_shown(amount, offer)}.",
            "Take less, or all that is left.",
        )
    if amount < min(offer.minimum, remaining) or amount < 1:
        raise RefusedError(
            f"At least {_shown(offer.minimum, offer)} must be taken of this lot.", "Take more."
        )
    share = min(offer.per_person or amount, offer.per_day or amount)
    if amount > share:
        raise RefusedError(
            f"One person gets at most {_shown(share, offer)} of this lot.", "Take less."
        )
    if (amount - offer.minimum) % offer.step and amount != remaining:
        raise RefusedError(
            f"This lot is handed out from {_shown(offer.minimum, offer)} on in steps of "
            f"{_shown(offer.step, offer)}.",
            "Take an amount that fits, or all that is left.",
        )


def _shown(value: int, offer: Offer) -> str:
    return show_amount(Amount(value, offer.unit))


def handover_until(offer: Offer, now_ms: int) -> int:
    """Return by when goods change hands unless something else is agreed."""
    if offer.window is not None and offer.window.until_ms > now_ms:
        return offer.window.until_ms + HANDOVER_GRACE_S * 1000
    return now_ms + HANDOVER_WITHIN_S * 1000


def latest_ms(now_ms: int) -> int:
    """Return how late a hand-over may be agreed on."""
    return now_ms + HANDOVER_AHEAD_MAX_S * 1000


def binds_too_long(trade: Trade, step: Step) -> bool:
    """Tell whether a confirm would wait for commits until after the hand-over.

    No honest reserve asks for that: its lister could leave the taker bound for ever.
    """
    ends_ms = min(leg.handover_until_ms for leg in trade.legs)
    return step.type == EntryType.CONFIRM and (trade.commit_by_ms or 0) > ends_ms


def in_time(at_ms: int, by_ms: int) -> None:
    """Refuse what would be void: the clock has moved on since whose turn it is was asked.

    Raises:
        RefusedError: `at_ms` is past `by_ms`.
    """
    if at_ms > by_ms:
        raise RefusedError("The time for this step is over.", "`passby trade show` tells how on.")
