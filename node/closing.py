"""Taking off the market what one has listed, before its last day."""

from __future__ import annotations

from passby.ledger.draft import Close, Draft
from passby.node.chains import Chains
from passby.protocol.entry import Record
from passby.protocol.errors import RefusedError
from passby.protocol.types import EntryType


async def close(chains: Chains, record: Record) -> Record:
    """Close an own offer, or withdraw an own request, for good; return the entry that says so.

    Raises:
        RefusedError: not an own offer or request, over already, or partly reserved.
        LocalError: nothing can be appended now.
    """
    entry = record.entry
    kind = entry.body.type
    if entry.author != chains.author or kind not in (EntryType.OFFER, EntryType.REQUEST):
        raise RefusedError(
            "This is neither an offer nor a request of yours.",
            "`passby book --own` lists your offers.",
        )
    if kind == EntryType.OFFER:
        draft = Draft(EntryType.CLOSE, (entry.id,), move=Close(entry.seq))
    elif chains.reader.noted(EntryType.WITHDRAW, entry.id, entry.author):
        raise RefusedError("This request is withdrawn already.")
    else:
        draft = Draft(EntryType.WITHDRAW, (entry.id,), (entry.seq,))
    (said,) = await chains.say(lambda _at_ms: [draft])
    return said
