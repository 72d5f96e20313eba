"""The demo's delivery: a giver, somebody on the way, and a taker who stays at home."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from passby.node.demo.street import Neighbour, wait_for

PAINT_ML: Final = 750
Post = Callable[[Neighbour, dict[str, Any]], str]


def deliver(
    giver: Neighbour, carrier: Neighbour, taker: Neighbour, post: Post, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Bring paint by way of a carrier, from the offer to both receipts; return what is to tell.

    Args:
        giver: lists the paint.
        carrier: lists room on its way to the taker.
        taker: proposes both at once.
        post: lists a lot and returns its id.
        tell: is told each step in words.

    Raises:
        LocalError: something did not happen in time, or was refused.
    """
    here = (giver, carrier, taker)
    paint = post(
        giver,
        {
            "side": "offer",
            "name": "Wall paint, white, one tin",
            "category": "home/paint",
            "unit": "MLT",
            "amount": PAINT_ML,
            "price": {"minor": 600, "per_amount": PAINT_ML, "currency": "EUR"},
            "cell": giver.cell,
        },
    )
    room = post(
        carrier,
        {
            "side": "offer",
            "name": "A crate on the cargo bike",
            "category": "carriage",
            "unit": "H87",
            "amount": 2,
            "price": {"minor": 150, "per_amount": 1, "currency": "EUR"},
            "cell": carrier.cell,
            "carry_to": taker.cell,
        },
    )
    wait_for(
        "the paint and the room at all three nodes",
        lambda: all({paint, room} <= node.heard.keys() for node in here),
    )
    asked = {"lot": paint, "carriers": [{"lot": room}]}
    trade = str(taker.post("/v1/trades", asked)["id"])
    path = f"/v1/trades/{trade}"
    tell(f"{taker.name} proposes {giver.name}'s paint and {carrier.name}'s crate in one trade")
    for node in (giver, carrier):
        wait_for(f"the propose at {node.name}'s node", partial(_knows, node, trade))
        node.post(f"{path}/accept")
    for node in here:
        _wait(node, path, "CONFIRMED")
    custody: list[str] = []
    for hand, to in ((giver, carrier), (carrier, taker)):
        code = to.get(path)["code"]
        hand.post(f"{path}/handover", {"code": code})
        for node in here:
            wait_for(
                f"the hand-over to {to.name} at {node.name}'s node",
                partial(_sees_with, node, path, to),
            )
        custody.append(to.name)
        tell(f"{hand.name} hands over to {to.name}, who signs with four words: {code}")
    taker.post(f"{path}/receive")
    for node in (giver, carrier):
        _wait(node, path, "DELIVERED")
        node.post(f"{path}/paid")
    for node in here:
        _wait(node, path, "SETTLED")
    tell("received, both paid: settled on all three nodes")
    shown = taker.get(path)
    return {
        "id": trade,
        "state": shown["state"],
        "parties": len(here),
        "custody": custody,
        "paid_minor": [leg["total_minor"] for leg in shown["legs"]],
        "faults": len(shown["faults"]),
    }


def _knows(node: Neighbour, trade: str) -> bool:
    return any(found["id"] == trade for found in node.get("/v1/trades")["trades"])


def _sees_with(node: Neighbour, path: str, holder: Neighbour) -> bool:
    return bool(node.get(path)["custody"][0]["holder_name"] == holder.name)


def _wait(node: Neighbour, path: str, state: str) -> None:
    wait_for(f"{state} at {node.name}'s node", lambda: node.get(path)["state"] == state)
