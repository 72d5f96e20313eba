"""What a store keeps of a lie: the accused entries, each with what vouches for it.

Relays can swap the signatures inside a run for garbage, which nobody has checked; such an entry
proves something only with the run that leads to a signature that holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, assert_never

from passby.ledger.chain import Breach, ChainRule, Evidence, Fork
from passby.ledger.chain import Proof as EvidenceKind
from passby.ledger.proof import FORK_RULE, Element
from passby.protocol.entry import Entry, Record
from passby.protocol.keys import verify
from passby.protocol.limits import RUN_MAX


class Held(Protocol):
    """What is held, as far as evidence is made of it."""

    def record_at(self, author: bytes, seq: int) -> Record | None:
        """Return the record held there."""


def evidence_of_lie(held: Held, accused: Element, verdict: Fork | Breach) -> Evidence:
    """Return what shows the lie that a verdict found.

    Args:
        held: the chain up to the lie.
        accused: the lie, and what follows it up to a valid signature.
        verdict: the one on the lie.
    """
    author, seq = accused[0].author, accused[0].seq
    match verdict:
        case Fork():
            elements = [_held_element(held, author, seq)]
            kind, rule = EvidenceKind.FORK, FORK_RULE
        case Breach(rule=rule, accused=seqs):
            elements = [_up_to(held, one, accused) for one in seqs if one != seq]
            kind = EvidenceKind.TIME if isinstance(rule, ChainRule) else EvidenceKind.STOCK
        case _:
            assert_never(verdict)
    # A seq that is no entry's, or a pruned one's, has nothing to show.
    shown = tuple(element for element in elements if element)
    return Evidence(author, seq, kind, str(rule), (*shown, accused))


def first_valid(run: Iterable[Record | None]) -> Element:
    """Return the entries of `run` up to the first whose own signature is valid."""
    element: list[Entry] = []
    for record in run:
        if record is None:
            break
        element.append(record.entry)
        if is_signed(record):
            break
    return tuple(element)


def is_signed(record: Record) -> bool:
    """Tell whether a record's own signature is its author's."""
    return verify(record.entry.author, record.entry.raw)


def _up_to(held: Held, seq: int, accused: Element) -> Element:
    """Return the entry at `seq` of the chain that `accused` goes on, with what vouches for it."""
    element = _held_element(held, accused[0].author, seq)
    last = element[-1] if element else None
    if last is None or last.id != accused[0].body.prev or verify(last.author, last.raw):
        return element
    # Up to the lie itself there is no valid signature: the one behind it vouches for all.
    return (*element, *accused)


def _held_element(held: Held, author: bytes, seq: int) -> Element:
    return first_valid(held.record_at(author, at) for at in range(seq, seq + RUN_MAX))
