"""What the local API can do about people: inviting, joining, vouching."""

from __future__ import annotations

from passby.ledger.reputation import WHOLE
from passby.node.api.shown import Json
from passby.node.joining import Answer
from passby.node.participant import Participant
from passby.protocol.errors import RefusedError, UsageError
from passby.protocol.keys import KEY_BYTES, is_point
from passby.protocol.limits import API_LIST_MAX, SEQ_MAX
from passby.protocol.types import PLACED_TYPES

_NOTES = {
    Answer.WELCOME: "You vouch for each other now.",
    Answer.OVER: "The invite is too old to be vouched for: ask for a new one.",
    Answer.SPENT: "Somebody else has used this invite: ask for one of your own.",
    Answer.NOT_NOW: "The neighbour could not vouch for you just now: join again later.",
    None: "",
}


class People:
    """Who is let in, and by whom.

    Args:
        participant: the running node.
    """

    def __init__(self, participant: Participant) -> None:
        self._node = participant

    async def join(self, address: str) -> Json:
        """Connect to an address or an invite's addresses, and keep the connection.

        Raises:
            UsageError: neither an address nor an invite.
            LocalError: nobody answers there.
        """
        peer, answer = await self._node.joining.join(address)
        return {"peer_id": peer, "vouched": answer is Answer.WELCOME, "note": _NOTES[answer]}

    def invite(self) -> Json:
        """Return a link by which one neighbour joins."""
        node = self._node
        made = node.joining.invite(node.market.home, node.identity.name)
        return {
            "link": made.link(),
            "addresses": list(made.addresses),
            "cell": made.cell,
            "name": made.name,
        }

    async def vouch(self, text: str, *, stands: bool) -> Json:
        """Vouch for an author, or take that back.

        Args:
            text: a key, whole or shortened, or a name; a whole key may be a stranger's.
            stands: whether the vouch is to stand.

        Raises:
            RefusedError: nobody or several are called so.
            UsageError: the own device, or no key.
            LocalError: nothing can be appended now.
        """
        author = self._author(text)
        if author == self._node.chains.author:
            raise UsageError("Nobody vouches for themselves.")
        await self._node.circle.vouch(author, stands=stands)
        return {**self._shown(author), "stands": stands}

    def _author(self, text: str) -> bytes:
        known = (*self._node.chains.heads, *self._node.following.authors())
        if len(text.strip()) == 2 * KEY_BYTES:
            try:
                key = bytes.fromhex(text.strip())
            except ValueError:
                pass
            else:
                if not is_point(key):
                    raise UsageError("This is nobody's key.", "`passby id` shows one's own.")
                return key
        return self._node.names.find(text, (*known, *self._node.circle.vouched_for()))

    def follow(self, text: str) -> Json:
        """Keep an author's chain from now on, wherever it speaks.

        Args:
            text: as for `vouch`; or the id of a lot, for whoever lists it.

        Raises:
            RefusedError: nobody or several are called so, or too many are followed.
            UsageError: the own device, or no key.
            LocalError: the disk is full or failing.
        """
        author = self._author_or_lister(text)
        if author == self._node.chains.author:
            raise UsageError("Your own chain is always kept.")
        return self._tell_of_following(
            author, fresh=self._node.following.add(author, self._node.clock()), stands=True
        )

    def unfollow(self, text: str) -> Json:
        """Follow an author no longer; what is held stays.

        Raises:
            RefusedError: nobody or several are called so, or the author is not followed.
            UsageError: no key.
            LocalError: the disk is full or failing.
        """
        author = self._author_or_lister(text)
        if not self._node.following.remove(author):
            raise RefusedError(
                f"{self._node.names.of(author) or author.hex()[:12]} is not followed.",
                "`passby follow --list` shows who is.",
            )
        return self._tell_of_following(author, fresh=True, stands=False)

    def followed(self) -> Json:
        """Return whom the person follows, in the order in which that began."""
        chains = self._node.chains
        return {
            "followed": [
                {
                    "author": one.author,
                    "name": self._node.names.of(one.key),
                    "since_ms": one.since_ms,
                    "entries": chains.head_seq(one.key),
                    "behind": self._node.replication.is_behind(one.key),
                }
                for one in self._node.following.all()
            ]
        }

    def _tell_of_following(self, author: bytes, *, fresh: bool, stands: bool) -> Json:
        if fresh:
            self._node.events.tell(
                {"kind": "follow" if stands else "unfollow", "author": author.hex()}
            )
        name = self._node.names.of(author)
        return {"author": author.hex(), "name": name, "follows": stands, "changed": fresh}

    def _author_or_lister(self, text: str) -> bytes:
        try:
            return self._author(text)
        except RefusedError:
            try:
                lot = self._node.chains.reader.find(text.strip())
            except UsageError:
                lot = None
            if lot is None or lot.entry.body.type not in PLACED_TYPES:
                raise
            return lot.entry.author

    def vouches(self) -> Json:
        """Return for whom this device vouches, who is vouched for otherwise, and the crowd."""
        circle = self._node.circle
        mine = circle.vouched_for()
        others = sorted(set(circle.shares).difference(mine))
        strangers, size = self._node.quotas.crowd
        return {
            "given": [self._shown(author) for author in mine],
            "by_others": [self._shown(author) for author in others[:API_LIST_MAX]],
            "strangers": {"authors": strangers, "bytes": size},
        }

    def reputation(self, text: str) -> Json:
        """Return how far an author is trusted, and the trades that this rests on.

        Raises:
            RefusedError: nobody or several are called so.
        """
        node = self._node
        found = node.reputations.of(node.names.find(text, node.chains.heads))
        return {
            "author": found.author.hex(),
            "name": node.names.of(found.author),
            "trust": found.trust / WHOLE,
            "steps": found.steps,
            "through": [self._named(author) for author in found.through],
            "counterparties": len(found.partners),
            "trades": sum(partner.trades for partner in found.partners),
            "since_ms": min((partner.first_ms for partner in found.partners), default=None),
            "partners": [
                {
                    **self._named(partner.author),
                    "you": partner.author in node.circle.own,
                    "trades": partner.trades,
                    "first_ms": partner.first_ms,
                    "last_ms": partner.last_ms,
                    "trust": partner.trust / WHOLE,
                }
                for partner in found.partners[:API_LIST_MAX]
            ],
            "frozen": node.chains.is_frozen(found.author),
        }

    def _named(self, author: bytes) -> Json:
        return {"author": author.hex(), "name": self._node.names.of(author)}

    def _shown(self, author: bytes) -> Json:
        share = self._node.circle.share(author)
        return {
            "author": author.hex(),
            "name": self._node.names.of(author),
            "entries_taken": None if share == SEQ_MAX else share,
        }
