"""Witnesses as the local API shows them: the own one, the neighbours', and what they vouch for."""

from __future__ import annotations

from passby.ledger.checkpoint import author_of
from passby.ledger.policy import NONE, readable
from passby.node.api.shown import Json
from passby.node.participant import Participant
from passby.node.quorum import NoQuorumError
from passby.protocol.errors import RefusedError
from passby.protocol.limits import API_LIST_MAX, FRESH_WITHIN_S
from passby.protocol.trade import State, Trade


class Witnesses:
    """The witness in this node, and those that its policy names.

    Args:
        participant: the running node.
    """

    def __init__(self, participant: Participant) -> None:
        self._node = participant

    async def show(self) -> Json:
        """Return what this node cosigned, and who of the neighbours is a witness.

        Raises:
            LocalError: the policy file is not in order, or the ledger damaged.
        """
        node = self._node
        names = {str(key): readable(name) for name, key in node.quorum.policy.witnesses.items()}
        known = await node.quorum.known()
        cosigned = node.chains.reader.all_witnessed()
        cosigned.sort(key=lambda found: (-found[1].at_s, found[0]))
        return {
            "on": node.witnessing.is_on,
            "vkey": str(node.witnessing.verifier),
            "cosigned": [
                {
                    "author": (author := author_of(origin)).hex(),
                    "name": node.names.of(author),
                    "size": held.size,
                    "root": held.root.hex(),
                    "at_ms": held.at_s * 1000,
                }
                for origin, held in cosigned[:API_LIST_MAX]
            ],
            "witnesses": [
                {"peer": peer, "vkey": str(key), "policy_name": names.get(str(key))}
                for peer, key in known.items()
            ],
        }

    def turn(self, *, on: bool) -> Json:
        """Begin or cease to cosign for neighbours."""
        self._node.witnessing.is_on = on
        return {"on": on, "vkey": str(self._node.witnessing.verifier)}

    async def check(self, trade_id: bytes) -> Trade:
        """Ask the witnesses once more before something is paid in advance.

        The newest promise of each lister must be under a tree that a quorum has cosigned within
        FRESH_WITHIN_S, and that shows nothing which took the promise back.

        Raises:
            RefusedError: not a trade that is waiting for goods, or no policy to ask by.
            NoQuorumError: too few witnesses vouch for it now.
            LocalError: the policy file is not in order, or the ledger damaged.
        """
        node = self._node
        if node.quorum.policy.quorum == NONE:
            raise RefusedError(
                "This node has no policy: it does not know whom to ask.",
                "Name witnesses that you trust in policy.txt; `passby policy show` tells where.",
            )
        since_s = node.clock() // 1000 - FRESH_WITHIN_S
        cover = await node.quorum.renew(node.desk.trade(trade_id), since_s)
        trade = node.desk.trade(trade_id)
        if trade.state is not State.CONFIRMED:
            raise RefusedError(
                f"This trade is {trade.state.value}: nothing is to be paid in advance.",
                "`passby trade show` tells how on.",
            )
        if cover is not None and not cover.reached:
            raise NoQuorumError(cover)
        return trade
