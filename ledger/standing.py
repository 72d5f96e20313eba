"""What a root's statements make of a device's chain: sealed, healed, or as it was.

A root has a say over a device when the device's genesis commits to its certificate. Statements
of others about it are kept, since the genesis may come later, but mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from passby.ledger.chain import Evidence, Proof
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import RemoteError
from passby.protocol.keys import Certificate, certificate_commitment
from passby.protocol.limits import TRADE_STEPS_MAX
from passby.protocol.payloads import Genesis, Stated, decode_payload
from passby.protocol.statements import (
    Heal,
    Seal,
    Statement,
    counted_heal,
    counted_seal,
    may_be_abandoned,
    parse_statement,
)
from passby.protocol.types import FINISHING_TYPES, TRADE_TYPES, EntryType


class Standing(msgspec.Struct, frozen=True, gc=False):
    """A chain's seal and heal, as far as they count.

    Entries up to `obliged_to` are appended though they lie above the seal: one of them binds
    the chain's person to somebody else, and the others lead to it.
    """

    seal: Seal | None = None
    heal: Heal | None = None
    obliged_to: int = 0


_FORKS: Final = (Proof.FORK, Proof.CHECKPOINT)
FREE: Final = Standing()
"""The standing of nearly every chain; compare by identity."""


class Device(msgspec.Struct, frozen=True):
    """A device of a person: its key, the date of its certificate, and what became of it."""

    key: bytes
    certified_at_ms: int
    begun: bool
    seal: Seal | None


def statement_in(record: Record) -> Statement | None:
    """Return the root statement that an entry carries, if it carries a true one."""
    if record.entry.body.type != EntryType.STATEMENT or record.payload is None:
        return None
    try:
        return parse_statement(decode_payload(record.payload, Stated).statement)
    except RemoteError:
        return None


def certificate_in(genesis: Record | None) -> Certificate | None:
    """Return the certificate that a genesis commits to and shows, None for a private one."""
    if genesis is None or genesis.payload is None:
        return None
    try:
        shown = decode_payload(genesis.payload, Genesis)
        if shown.certificate is None or shown.certificate_salt is None:
            return None
        certificate = Certificate.parse(shown.certificate)
    except RemoteError:
        return None
    commitment = certificate_commitment(shown.certificate_salt, shown.certificate)
    entry = genesis.entry
    if certificate.device != entry.author or entry.body.facts != (commitment,):
        return None
    return certificate


def certificate_of(
    genesis: Record | None, statements: Callable[[], Iterable[Statement]]
) -> Certificate | None:
    """Return the certificate that a genesis commits to, shown by itself or opened by a seal.

    Args:
        genesis: the author's first record.
        statements: gives what is said of the author; asked only where the genesis shows nothing.
    """
    shown = certificate_in(genesis)
    if shown is not None or genesis is None:
        return shown
    for said in statements():
        if isinstance(said, Seal) and said.opening and said.opening.opens(genesis.entry):
            return said.opening.certificate
    return None


def has_say(statement: Statement, genesis: Record | None, person: bytes) -> bool:
    """Tell whether the statement's root has a say over the device, by its word or before.

    Args:
        statement: what the root says.
        genesis: the device's first record.
        person: whose the device is as far as known without it; the device's key for nobody.
    """
    if person == statement.root:
        return True
    opened = certificate_of(genesis, lambda: [statement])
    return opened is not None and opened.root == statement.root


def is_above(seal: Seal, entry: Entry) -> bool:
    """Tell whether `entry`, of the sealed chain, is none of those that its owner answers for."""
    return entry.seq > seal.seq or (entry.seq == seal.seq and entry.id != seal.id)


def stands(entry: Entry, trade: Iterable[Entry], person_of: Callable[[bytes], bytes]) -> bool:
    """Tell whether an entry above its chain's seal binds all the same.

    It does when an entry of another person names it in the same trade: who relied on it must
    not lose it to a seal, whenever that was and however it is dated. Only dates could tell
    "before the seal" from "after", and the root dates the seal itself. A thief gains nothing
    but obligations to whoever helped.

    Args:
        entry: what lies above the seal.
        trade: entries of its trade, from anybody.
        person_of: gives an author's person, the author itself where that is not known.
    """
    if entry.body.type not in TRADE_TYPES:
        return False
    person = person_of(entry.author)
    return any(
        entry.id in other.body.refs
        and other.author != entry.author
        and person_of(other.author) != person
        for other in trade
    )


def finishes(entry: Entry, trade: Iterable[Entry]) -> bool:
    """Tell whether `entry`, above its author's freeze, ends what was open when it froze.

    The author must not lose what it had agreed to before, nor the other side its handover or
    release: of a trade in which the author has reserved or proposed and somebody else has written
    it may still hand over, receipt, release and cancel, as often as anybody looks at.

    Args:
        entry: what lies above the freeze, linked to the branch that is held.
        trade: entries of its trade that are held, from anybody.
    """
    if entry.body.type not in FINISHING_TYPES:
        return False
    held = list(trade)
    own = [other for other in held if other.author == entry.author]
    opened = any(other.body.type in (EntryType.PROPOSE, EntryType.RESERVE) for other in own)
    return opened and len(own) < min(len(held), TRADE_STEPS_MAX)


def finishes_among(entry: Entry, trade: Callable[[bytes], Iterable[Record]]) -> bool:
    """Tell whether `entry` finishes a trade, among what `trade` gives of its trade's id."""
    if entry.body.type not in FINISHING_TYPES:
        return False
    return finishes(entry, (record.entry for record in trade(entry.body.refs[0])))


def stands_among(
    entry: Entry,
    trade: Callable[[bytes], Iterable[Record]],
    person_of: Callable[[bytes], bytes],
) -> bool:
    """Tell whether `entry` stands, among what `trade` gives of its trade's id."""
    body = entry.body
    if body.type not in TRADE_TYPES:
        return False
    propose = entry.id if body.type == EntryType.PROPOSE else body.refs[0]
    return stands(entry, (record.entry for record in trade(propose)), person_of)


def heals(heal: Heal, evidence: Evidence | None, held: Iterable[Entry]) -> bool:
    """Tell whether `heal` lifts what `evidence` proves.

    Args:
        heal: the one that counts for the chain.
        evidence: what its author is proven false by.
        held: the chain's entries at and above the heal's seq, as far as they are held.
    """
    branch = list(held)
    holds_kept = bool(branch) and branch[0].id == heal.id
    if evidence is None:
        return holds_kept
    if evidence.proof not in _FORKS or evidence.seq < heal.seq:
        return False
    abandoned = [] if holds_kept else branch
    if evidence.proof is Proof.CHECKPOINT:
        # It says that there were two branches, and shows nothing of the one given up.
        pass
    elif evidence.seq == heal.seq:
        sides = [element for element in evidence.elements if element]
        if not any(side[0].id == heal.id for side in sides):
            return False
        abandoned += [entry for side in sides if side[0].id != heal.id for entry in side]
    elif not abandoned:
        # The kept branch forked again, or what turned up of the other one binds somebody.
        return False
    return may_be_abandoned(entry.body.type for entry in abandoned)


class Roots:
    """Statements by device, and the standing that they give it.

    Args:
        statements: what is held already.
        genesis: gives an author's first record.
        evidence: gives what an author is proven false by.
        held_from: gives an author's entries from a seq on.
    """

    def __init__(
        self,
        statements: Iterable[Statement],
        genesis: Callable[[bytes], Record | None],
        evidence: Callable[[bytes], Evidence | None],
        held_from: Callable[[bytes, int], Iterator[Entry]],
    ) -> None:
        self._genesis = genesis
        self._evidence = evidence
        self._held_from = held_from
        self._said: dict[bytes, dict[bytes, Statement]] = {}
        self._standing: dict[bytes, Standing] = {}
        for statement in statements:
            self.add(statement)

    def add(self, statement: Statement) -> bool:
        """Take a statement; False if it was held."""
        said = self._said.setdefault(statement.device, {})
        if statement.raw in said:
            return False
        said[statement.raw] = statement
        self.look_again(statement.device)
        return True

    def remove(self, statements: Iterable[Statement]) -> None:
        """Let go of statements."""
        for statement in statements:
            said = self._said.get(statement.device, {})
            said.pop(statement.raw, None)
            if not said:
                self._said.pop(statement.device, None)
            self.look_again(statement.device)

    def __len__(self) -> int:
        """Return how many statements are held."""
        return sum(map(len, self._said.values()))

    def about(self, device: bytes | None) -> list[Statement]:
        """Return the statements about a device, or all, in the order of their bytes."""
        found = self._said.values() if device is None else [self._said.get(device, {})]
        return sorted((one for said in found for one in said.values()), key=lambda one: one.raw)

    def concerns(self, author: bytes) -> bool:
        """Tell whether anything is said of the author at all."""
        return author in self._said

    def look_again(self, author: bytes) -> None:
        """Forget what was worked out: the author's genesis, evidence or statements changed."""
        self._standing.pop(author, None)

    def standing(self, author: bytes) -> Standing:
        """Return what the statements of the author's own root make of its chain."""
        if author not in self._said:
            return FREE
        found = self._standing.get(author)
        if found is None:
            found = self._standing[author] = self._judge(author)
        return found

    def root_of(self, author: bytes) -> bytes | None:
        """Return the author's person, where the author shows it or a seal has opened it."""
        certificate = self.certificate_of(author)
        return None if certificate is None else certificate.root

    def certificate_of(self, author: bytes) -> Certificate | None:
        """Return the certificate that makes the author a device, as far as it is known."""
        said = self._said.get(author, {})
        return certificate_of(self._genesis(author), said.values)

    def person_of(self, author: bytes) -> bytes:
        """Return the author's person; the author itself where it keeps that private."""
        return self.root_of(author) or author

    def _judge(self, author: bytes) -> Standing:
        root = self.root_of(author)
        if root is None:
            return FREE
        said = self._said[author].values()
        seal, heal = counted_seal(said, root, author), counted_heal(said, root, author)
        if heal is not None and not heals(
            heal, self._evidence(author), self._held_from(author, heal.seq)
        ):
            heal = None
        return FREE if seal is None and heal is None else Standing(seal, heal)


def devices_of(
    root: bytes, authors: Iterable[bytes], genesis: Callable[[bytes], Record | None], roots: Roots
) -> list[Device]:
    """Return the devices of a person: those whose chains show it, and those only certified.

    A device that was certified and has not begun counts on its root's word alone: nothing of
    it is held, so nobody else can have been meant by it.
    """
    shown: dict[bytes, Device] = {}
    for author in authors:
        certificate = roots.certificate_of(author)
        if certificate is not None and certificate.root == root:
            seal = roots.standing(author).seal
            shown[author] = Device(author, certificate.at_ms, begun=True, seal=seal)
    for statement in roots.about(None):
        if isinstance(statement, Certificate) and statement.root == root:
            key = statement.device
            if key not in shown and genesis(key) is None:
                shown[key] = Device(key, statement.at_ms, begun=False, seal=None)
    return sorted(shown.values(), key=lambda device: (device.certified_at_ms, device.key))
