"""What was set aside with a damaged stretch of its chain, and links on again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from passby.ledger.schema import SEQ_BITS, SEQ_MASK, Connection
from passby.ledger.store import ABANDONED
from passby.protocol.entry import SALT_BYTES, Record, parse_entry, payload_hash
from passby.protocol.errors import RemoteError


def record_in(place: int, raw: Any, carried: Any, forgotten: Collection[bytes]) -> Record | None:
    """Return a row as the record it is, or None where it is not what was written.

    Args:
        place: where the row lies.
        raw: its entry, if it is one.
        carried: salt and payload; None or empty where they are not held.
        forgotten: ids of entries whose payloads were erased.
    """
    try:
        entry = parse_entry(raw)
    except (RemoteError, TypeError):
        return None
    if entry.seq != place & SEQ_MASK:
        return None
    if not carried or entry.id in forgotten:
        return Record(entry)
    if not isinstance(carried, bytes):
        return None
    salt, payload = carried[:SALT_BYTES], carried[SALT_BYTES:]
    # Without its payload the entry would be held, and nobody be asked for it again.
    if payload_hash(salt, payload) != entry.body.payload_hash:
        return None
    return Record(entry, salt, payload)


def linking_on(db: Connection, forgotten: Collection[bytes], most: int) -> list[Record]:
    """Return entries of the quarantine that go on where chains end now, at most so many.

    Only links are looked at: whoever takes them verifies them as it would a peer's. What a heal
    gave up is not among them.
    """
    # Numbers alone, since sorting whole rows would take as much room as they do.
    rows = db.execute(
        "SELECT q.number, q.place, a.seq, a.head_id, a.key FROM quarantine q"
        " JOIN authors a ON a.number = q.place >> ?1"
        " WHERE q.place > (a.number << ?1 | a.seq) AND q.why != ?2 ORDER BY q.place, q.number",
        (SEQ_BITS, ABANDONED),
    ).fetchall()
    found: list[Record] = []
    chain, seq, last_id = -1, 0, None
    for number, place, head_seq, head_id, key in rows:
        if place >> SEQ_BITS != chain:
            chain, seq, last_id = place >> SEQ_BITS, head_seq, head_id
        if place & SEQ_MASK != seq + 1:
            continue
        raw, carried = db.execute(
            "SELECT raw, carried FROM quarantine WHERE number = ?", (number,)
        ).fetchone()
        record = record_in(place, raw, carried, forgotten)
        if record is None or (record.entry.author, record.entry.body.prev) != (key, last_id):
            continue
        found.append(record)
        seq, last_id = seq + 1, record.entry.id
        if len(found) == most:
            break
    return found
