"""Authors whose chains show the person they belong to, and what their root says of them."""

from __future__ import annotations

from tests.ledger.authors import NOW_MS, SALT, Author, named

from passby.protocol.entry import Record
from passby.protocol.keys import Certificate, SigningKey, certificate_commitment
from passby.protocol.payloads import Genesis, Stated, encode_payload
from passby.protocol.statements import Heal, Opening, Seal, Statement
from passby.protocol.types import EntryType


class Person:
    """A root key and the devices it certifies."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = SigningKey(named(f"root of {name}"))

    def device(self, name: str, *, private: bool = False) -> Author:
        """Return a device whose chain has begun; a private one does not show its certificate."""
        author = Author(f"{self.name}'s {name}")
        certificate = self.certify(author).raw
        shown = Genesis() if private else Genesis(self.name, certificate, SALT)
        fact = certificate_commitment(SALT, certificate)
        author.say(EntryType.GENESIS, encode_payload(shown), facts=(fact,))
        return author

    def certify(self, author: Author) -> Certificate:
        return Certificate.issue(self.root, author.public, NOW_MS)

    def seal(self, last: Record, opening: Opening | None = None) -> Seal:
        """Seal a device behind an entry of its chain."""
        entry = last.entry
        return Seal.issue(self.root, entry.author, entry.seq, entry.id, NOW_MS, opening)

    def opening(self, private: Author) -> Opening:
        """Return what a private device's genesis commits to."""
        return Opening(SALT, self.certify(private))

    def heal(self, kept: Record) -> Heal:
        """Keep the branch that begins with `kept`."""
        entry = kept.entry
        return Heal.issue(self.root, entry.author, entry.seq, entry.id, NOW_MS)


def state(author: Author, statement: Statement) -> Record:
    """Let `author` carry a statement in its chain."""
    return author.say(EntryType.STATEMENT, encode_payload(Stated(statement.raw)))
