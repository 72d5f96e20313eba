"""Words between the parties of a trade: sealed before they are signed, opened to be shown."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from passby.node.chains import Chains
from passby.node.listing import plain_text
from passby.protocol.entry import Entry, Record
from passby.protocol.errors import RefusedError, RemoteError, UsageError
from passby.protocol.limits import PAYLOAD_MAX
from passby.protocol.payloads import Genesis, Note, Propose, decode_payload, encode_payload
from passby.protocol.sealed import BoxKey, Sealed, seal, unseal
from passby.protocol.types import TRADE_TYPES, EntryType

TERMS_ROOM: Final = 1024
"""What the terms of as many lots as a propose may have take of its payload."""


def derived_box_seed(secret: bytes) -> bytes:
    """Return the seed of a box key for whoever keeps no file of its own for it."""
    return hashlib.blake2b(secret, person=b"passby box", digest_size=32).digest()


class Sealing:
    """Seals what this device says to others, and opens what they sealed to it.

    Args:
        chains: where the others' box keys are, in the entries that open their chains.
        box: the own box key.
        entropy: gives so many secret random bytes.
        former: box keys of the person's devices before this one.
    """

    def __init__(
        self,
        chains: Chains,
        box: BoxKey,
        entropy: Callable[[int], bytes],
        former: Sequence[BoxKey] = (),
    ) -> None:
        self._boxes = (box, *former)
        self._chains = chains
        self._box = box
        self._entropy = entropy

    def seal(self, text: str, parties: Iterable[bytes], context: bytes) -> Sealed:
        """Seal `text` to the parties, this device always among them.

        Raises:
            RefusedError: one of them publishes no key to seal to.
            UsageError: the text is too long.
        """
        me = self._chains.author
        keys = [self._box.public]
        for party in parties:
            if party == me:
                continue
            key = self.key_of(party)
            if key is None:
                raise RefusedError(
                    f"{party.hex()[:12]} publishes no key to which words could be sealed.",
                    "Leave the text out; say it when you meet.",
                )
            keys.append(key)
        content = encode_payload(Note(plain_text(text)))
        # 90 bytes for each reader, and the keys of the map.
        if len(content) + 90 * len(keys) + 64 > PAYLOAD_MAX - TERMS_ROOM:
            raise UsageError("Sealed, this text is more than one entry can hold.", "Shorten it.")
        try:
            return seal(content, keys, me, context, self._entropy)
        except RemoteError as error:
            raise RefusedError(f"These words cannot be sealed: {error.detail}.") from None

    def key_of(self, party: bytes) -> bytes | None:
        """Return the key to which words for this device are sealed, None where it shows none."""
        record = self._chains.reader.record_at(party, 1)
        if record is None or record.payload is None:
            return None
        try:
            return decode_payload(record.payload, Genesis).box
        except RemoteError:
            return None

    def words(self, record: Record) -> str | None:
        """Return what a trade's entry says in words, as far as they are for this device."""
        entry = record.entry
        if record.payload is None or entry.body.type not in TRADE_TYPES:
            return None
        try:
            if entry.body.type == EntryType.PROPOSE:
                proposed = decode_payload(record.payload, Propose)
                shown, sealed = proposed.terms.text, proposed.sealed
            else:
                note = decode_payload(record.payload, Note)
                shown, sealed = note.text, note.sealed
            if sealed is None:
                return shown
            tried = (unseal(sealed, box, entry.author, context_of(entry)) for box in self._boxes)
            opened = next((found for found in tried if found is not None), None)
            return shown if opened is None else decode_payload(opened, Note).text
        except RemoteError:
            return None


def context_of(entry: Entry) -> bytes:
    """Return what words in an entry are bound to: a propose's terms hash, else its trade."""
    if entry.body.type != EntryType.PROPOSE:
        return entry.body.refs[0]
    fact = entry.body.facts[0]
    return fact if isinstance(fact, bytes) else b""
