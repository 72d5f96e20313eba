"""What a store holds less of than there is: payloads that were left out, garbled signatures.

Neither changes what an entry is: its id covers the body alone, so a relay can leave out what
the body only commits to, and swap the signatures within a run that nobody checks. Payloads
that are lacking, and signatures that turn out to be no good, are asked for again, by id.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from passby.ledger.store import checked_payload
from passby.protocol.entry import SALT_BYTES, Entry, Record, parse_entry
from passby.protocol.errors import DamagedError
from passby.protocol.keys import SIGNATURE_BYTES, verify


class Rechecking(Protocol):
    """What `recheck` asks of a store."""

    def unchecked(self) -> tuple[bytes, int] | None:
        """Return (author, seq) from where signatures were not looked at, of any chain."""

    def stretch(self, author: bytes, from_seq: int, most: int) -> list[tuple[Entry, bool]]:
        """Return entries from `from_seq` on, and whether their own signature was checked."""

    def mark_checked(
        self, author: bytes, to_seq: int | None, good: list[int], garbled: list[int]
    ) -> None:
        """Note what came of looking at a stretch; `to_seq` None for the whole chain."""


class Rechecked(msgspec.Struct, frozen=True):
    """Whether all own signatures are looked at now, and how many just now were no good."""

    done: bool
    garbled: int


def recheck(store: Rechecking, most: int) -> Rechecked:
    """Verify the own signatures of at most so many entries.

    Raises:
        LocalError: the store cannot be written.
    """
    count = 0
    while most > 0:
        found = store.unchecked()
        if found is None:
            return Rechecked(done=True, garbled=count)
        author, from_seq = found
        try:
            stretch = store.stretch(author, from_seq, most)
        except DamagedError:
            # Whoever reads the chain next sets it aside, and what comes again is looked at.
            stretch = []
        good: list[int] = []
        garbled: list[int] = []
        for entry, checked in stretch:
            if not checked:
                (good if verify(author, entry.raw) else garbled).append(entry.seq)
        # Nothing is left to look at where entries are pruned.
        store.mark_checked(author, stretch[-1][0].seq if stretch else None, good, garbled)
        most -= max(len(stretch), 1)
        count += len(garbled)
    return Rechecked(done=False, garbled=count)


def completed(held: Record, signature: bytes, carried: bytes) -> tuple[Entry | None, Record | None]:
    """Return what a neighbour's copy adds to ours: an entry that verifies, and one with payload.

    Args:
        held: as it is here.
        signature: of the copy.
        carried: salt and payload of the copy, empty for none.

    Raises:
        RemoteError: the payload is not the one that the entry names.
    """
    entry: Entry | None = None
    body = held.entry.raw[SIGNATURE_BYTES:]
    if held.entry.raw[:SIGNATURE_BYTES] != signature and verify(
        held.entry.author, signature + body
    ):
        entry = parse_entry(signature + body)
    if not carried:
        return entry, None
    return entry, checked_payload(held, carried[:SALT_BYTES], carried[SALT_BYTES:])
