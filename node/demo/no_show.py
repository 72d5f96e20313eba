"""The demo's no-show: whoever was first does not come, and the next in the queue gets it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from passby.node.clock import machine_clock
from passby.node.demo.delivery import Post
from passby.node.demo.street import Neighbour, wait_for

WITHIN_S: Final = 12
"""How long the first has to come. Long enough to agree on a slow machine, and to wait out."""
WAITS_S: Final = 3600


class NoShow:
    """Bread for two who want it, one of whom forgets to come.

    Args:
        giver: lists it, accepts the first and queues the second.
        first: is to come within seconds, and does not.
        second: asks for the same as a backup.
        post: lists a lot and returns its id.
        tell: is told each step in words.
    """

    def __init__(
        self,
        giver: Neighbour,
        first: Neighbour,
        second: Neighbour,
        post: Post,
        tell: Callable[[str], None],
    ) -> None:
        self._giver, self._first, self._second = giver, first, second
        self._post = post
        self._tell = tell
        self._late = ""
        self._next = ""

    def begin(self) -> None:
        """Agree with the first, and queue the second; the deadline runs from here.

        Raises:
            LocalError: something did not happen in time, or was refused.
        """
        bread = self._post(
            self._giver,
            {
                "side": "offer",
                "name": "Sourdough, baked this morning",
                "category": "food/bread",
                "unit": "H87",
                "amount": 1,
                "price": {"minor": 0, "per_amount": 1, "currency": "EUR"},
                "cell": self._giver.cell,
            },
        )
        for taker in (self._first, self._second):
            wait_for(f"the bread at {taker.name}'s node", partial(_has_heard, taker, bread))
        until_ms = machine_clock() + WITHIN_S * 1000
        self._late = self._propose(self._first, {"lot": bread, "handover_until_ms": until_ms})
        self._giver.post(f"/v1/trades/{self._late}/accept")
        asked = {"lot": bread, "backup": True, "respond_within_s": WAITS_S}
        self._next = self._propose(self._second, asked)
        self._giver.post(f"/v1/trades/{self._next}/queue")
        self._tell(
            f"{self._first.name} is to fetch {self._giver.name}'s bread within {WITHIN_S} s; "
            f"{self._second.name} waits in the queue for it"
        )

    def finish(self) -> dict[str, Any]:
        """Wait the deadline out, and hand the bread to the second; return what is to tell.

        Raises:
            LocalError: something did not happen in time, or was refused.
        """
        giver, second, path = self._giver, self._second, f"/v1/trades/{self._next}"
        for node in (giver, second):
            wait_for(
                f"the queue's turn at {node.name}'s node",
                partial(_is, node, path, "CONFIRMED"),
            )
        gone = giver.get(f"/v1/trades/{self._late}")
        self._tell(
            f"{self._first.name} has not come ({gone['state']}): {giver.name}'s node sets the "
            f"bread aside for {second.name} by itself"
        )
        giver.post(f"{path}/handover", {"code": second.get(path)["code"]})
        wait_for("the hand-over", partial(_is, second, path, "IN_CUSTODY"))
        second.post(f"{path}/receive")
        for node in (giver, second):
            wait_for(f"the gift at {node.name}'s node", partial(_is, node, path, "SETTLED"))
        self._tell(f"{second.name} has the bread: settled, and nobody is at fault")
        return {
            "first": gone["state"],
            "backup": second.get(path)["state"],
            "faults": len(gone["faults"]) + len(second.get(path)["faults"]),
        }

    def _propose(self, taker: Neighbour, asked: dict[str, Any]) -> str:
        trade = str(taker.post("/v1/trades", asked)["id"])
        wait_for(
            f"{taker.name}'s propose at {self._giver.name}'s node",
            lambda: any(t["id"] == trade for t in self._giver.get("/v1/trades")["trades"]),
        )
        return trade


def _has_heard(node: Neighbour, lot: str) -> bool:
    return lot in node.heard


def _is(node: Neighbour, path: str, state: str) -> bool:
    return bool(node.get(path)["state"] == state)
