"""The story: a quart of brake fluid, half of it wanted two cells on, and one node that dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from passby.geo.cells import cell_at, cell_text
from passby.geo.rings import ring
from passby.node.clock import machine_clock
from passby.node.config import with_value
from passby.node.demo.delivery import deliver
from passby.node.demo.guard import Guard
from passby.node.demo.no_show import NoShow
from passby.node.demo.street import Neighbour, free_ports, wait_for
from passby.node.imports import BadRow, Reading, read_file
from passby.node.imports.listed import lot_of
from passby.protocol.errors import LocalError

AMSTERDAM: Final = (52.375, 4.884)
"""The Jordaan; the households live in cells around it."""
NAMES: Final = ("Noor", "Milan", "Sanne", "Youssef", "Famke")
WEEK_MS: Final = 7 * 24 * 3600 * 1000
QUART_ML: Final = 946
HALF_ML: Final = 473

Tell = Callable[[str], None]


class Story:
    """Five nodes and what happens between them. `result` is what `demo --json` prints.

    Args:
        folder: where the homes are made.
        tell: is told each step as it happens, in words.
        guard: takes care of the nodes if nobody else can.
        data: a file of further lots, or None.
    """

    def __init__(self, folder: Path, tell: Tell, guard: Guard, data: Path | None) -> None:
        self._tell = tell
        self._guard = guard
        self._data = data
        around = ring(cell_at(*AMSTERDAM), 1)
        ports = free_ports(len(NAMES))
        # Six cells surround one; in order, each is the neighbour of the next.
        cells = _in_a_circle(around)[: len(NAMES)]
        self.nodes = [
            Neighbour(folder / name.lower(), name, cell_text(cell), port, machine_clock())
            for name, cell, port in zip(NAMES, cells, ports, strict=True)
        ]
        self._posted: dict[str, float] = {}
        self.result: dict[str, Any] = {"nodes": len(self.nodes)}

    def play(self) -> None:
        """Play it from the first start to the last audit.

        Raises:
            LocalError: something did not happen in time, or went wrong.
        """
        self._gather()
        self._fill_the_shelves()
        offer, wish = self._list_the_fluid()
        trade = self._agree(offer, wish)
        acknowledged = self._pull_the_plug()
        self._hand_over(trade)
        noor, milan, sanne, youssef = self.nodes[:4]
        no_show = NoShow(milan, noor, sanne, self._list, self._tell)
        no_show.begin()
        self.result["delivery"] = deliver(milan, youssef, noor, self._list, self._tell)
        self._plug_in_again(acknowledged)
        self.result["no_show"] = no_show.finish()
        self._look_back(offer, trade)
        self._audit()

    def stop(self) -> list[int | None]:
        """Stop every node at once; return their exit codes."""
        codes: list[int | None] = [None] * len(self.nodes)

        def stop(place: int) -> None:
            codes[place] = self.nodes[place].stop()

        threads = [threading.Thread(target=stop, args=(n,)) for n in range(len(self.nodes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return codes

    def _start(self, node: Neighbour) -> None:
        node.start()
        self._guard.watch(pid for each in self.nodes if (pid := each.pid) is not None)

    # --- the parts ---------------------------------------------------------------------

    def _gather(self) -> None:
        for node in self.nodes:
            self._start(node)
        for node in self.nodes:
            node.wait_until_up()
            self._tell(f"{node.name}'s node is up in cell {node.cell}")
        for node, following in zip(self.nodes, (*self.nodes[1:], self.nodes[0]), strict=True):
            node.post("/v1/join", {"address": following.get("/v1/invite")["link"]})
            # For the day that this node has to start again.
            config = node.home.config_path.read_text()
            node.home.write_config(with_value(config, "bootstrap", following.address))
        for node in self.nodes:
            wait_for(
                f"{node.name} in step with two neighbours",
                partial(_is_in_step, node, 2),
            )
        self._tell("five nodes in a ring, each invited by the next over libp2p")

    def _fill_the_shelves(self) -> None:
        reading = Reading(now_ms=machine_clock(), tz=UTC, measure=None, currency="EUR")
        with as_file(files("passby.node.data") / "neighbourhood.jsonld") as shipped:
            drafts = list(read_file(shipped, reading))
        if self._data is not None:
            drafts += read_file(self._data, reading)
        by_name = {node.name: node for node in self.nodes}
        for place, draft in enumerate(drafts):
            if isinstance(draft, BadRow):
                self._tell(f"line {draft.line} left out: {draft.reason}")
                continue
            node = by_name.get(draft.who or "", self.nodes[place % len(self.nodes)])
            self._list(node, lot_of(draft))
        self._tell(f"{len(self._posted)} lots and wishes listed by five households")
        self._see_everywhere()

    def _see_everywhere(self) -> None:
        """Wait until every node has heard of every lot, and keep how long each took."""
        wait_for(
            "every lot at every node",
            lambda: all(node.heard.keys() >= self._posted.keys() for node in self.nodes),
        )
        delays_ms = sorted(
            (node.heard[lot] - at_s) * 1000
            for lot, at_s in self._posted.items()
            for node in self.nodes
        )
        self.result["lots_posted"] = len(self._posted)
        self.result["lots_seen_everywhere"] = True
        self.result["propagation_ms"] = {
            "p50": round(delays_ms[len(delays_ms) // 2], 1),
            "p99": round(delays_ms[len(delays_ms) * 99 // 100], 1),
        }
        p50, p99 = self.result["propagation_ms"].values()
        self._tell(f"all seen at all five nodes, half within {p50:.0f} ms, 99 % within {p99:.0f}")

    def _list(self, node: Neighbour, lot: dict[str, Any]) -> str:
        """List one lot; from the moment this asks, the clock runs."""
        asked_s = time.monotonic()
        (answer,) = node.post("/v1/lots", {"lots": [lot]})["results"]
        if "error" in answer:
            raise LocalError(answer["error"]["message"], answer["error"]["hint"])
        lot_id = str(answer["id"])
        node.acknowledged.append(lot_id)
        self._posted[lot_id] = asked_s
        return lot_id

    def _list_the_fluid(self) -> tuple[str, str]:
        giver, taker = self.nodes[0], self.nodes[2]
        now_ms = machine_clock()
        fluid = {"category": "fluids/brake-fluid", "unit": "MLT", "cell": giver.cell}
        offer = self._list(
            giver,
            {
                **fluid,
                "side": "offer",
                "name": "Brake fluid DOT 4, one quart, opened in spring",
                "amount": QUART_ML,
                "price": {"minor": 800, "per_amount": QUART_ML, "currency": "EUR"},
                "best_before_ms": now_ms + 5 * WEEK_MS,
                "pay": ["cash"],
            },
        )
        self._tell(f"{giver.name} offers a quart ({QUART_ML} ml) of DOT 4, good for five weeks")
        wish = self._list(
            taker,
            {
                **fluid,
                "side": "request",
                "cell": taker.cell,
                "name": "Brake fluid DOT 4, half a quart",
                "amount": HALF_ML,
                "price": {"minor": 500, "per_amount": HALF_ML, "currency": "EUR"},
            },
        )
        self._tell(f"{taker.name}, two cells on, asks for half of that ({HALF_ML} ml)")
        for node in (giver, taker):
            found = wait_for(
                f"the match at {node.name}'s node",
                partial(_find_match, node, offer, wish),
            )
            self._tell(
                f"{node.name}'s node finds the match: {found['amount']} ml for "
                f"{found['total_minor'] / 100:.2f} {found['currency']}, {found['distance_m']} m"
            )
        return offer, wish

    def _agree(self, offer: str, wish: str) -> str:
        giver, taker = self.nodes[0], self.nodes[2]
        trade = str(taker.post("/v1/trades", {"lot": offer, "request": wish})["id"])
        self._tell(f"{taker.name} proposes")
        wait_for(
            f"the propose at {giver.name}'s node",
            lambda: any(t["id"] == trade for t in giver.get("/v1/trades")["trades"]),
        )
        giver.post(f"/v1/trades/{trade}/accept")
        self._tell(f"{giver.name} accepts: {HALF_ML} ml are set aside")
        for node in (giver, taker):
            self._wait_for_state(node, trade, {"CONFIRMED"})
        self._tell("both nodes confirm and commit by themselves")
        return trade

    def _pull_the_plug(self) -> list[str]:
        """Kill a node right after it has acknowledged an entry; return all it acknowledged."""
        victim = self.nodes[4]
        self._list(
            victim,
            {
                "side": "offer",
                "name": "Bicycle pump, hardly used",
                "category": "tools/bicycle",
                "unit": "H87",
                "amount": 1,
                "price": {"minor": 0, "per_amount": 1, "currency": "EUR"},
                "cell": victim.cell,
            },
        )
        victim.kill()
        self._tell(f"{victim.name}'s node is killed in the middle (SIGKILL), a lot just listed")
        return victim.acknowledged

    def _hand_over(self, trade: str) -> None:
        giver, taker = self.nodes[0], self.nodes[2]
        code = taker.get(f"/v1/trades/{trade}")["code"]
        self._tell(f"at {giver.name}'s door {taker.name} says the four words: {code}")
        giver.post(f"/v1/trades/{trade}/handover", {"code": code})
        self._wait_for_state(taker, trade, {"IN_CUSTODY"})
        taker.post(f"/v1/trades/{trade}/receive")
        self._wait_for_state(giver, trade, {"DELIVERED"})
        giver.post(f"/v1/trades/{trade}/paid")
        for node in (giver, taker):
            self._wait_for_state(node, trade, {"SETTLED"})
        self._tell("handed over, received, paid: settled on both nodes")

    def _wait_for_state(self, node: Neighbour, trade: str, states: set[str]) -> None:
        wait_for(
            f"{' or '.join(states)} at {node.name}'s node",
            lambda: node.get(f"/v1/trades/{trade}")["state"] in states,
        )

    def _plug_in_again(self, acknowledged: list[str]) -> None:
        victim = self.nodes[4]
        self._start(victim)
        victim.wait_until_up()
        own = victim.get("/v1/ledger/log", limit=1000)["entries"]
        lost = set(acknowledged) - {entry["id"] for entry in own}
        wait_for("the same heads at every node", self._heads_agree)
        self.result["restart"] = {"caught_up": True, "acknowledged_lost": len(lost)}
        self._tell(
            f"{victim.name}'s node starts again and catches up; of {len(acknowledged)} lots "
            f"it had acknowledged it has lost {len(lost)}"
        )

    def _heads_agree(self) -> bool:
        heads = [
            {head["author"]: head["id"] for head in node.get("/v1/ledger/heads")["heads"]}
            for node in self.nodes
        ]
        return all(len(held) == len(self.nodes) and held == heads[0] for held in heads)

    def _look_back(self, offer: str, trade: str) -> None:
        remaining: set[int] = set()
        for node in self.nodes:
            entry = next(
                lot
                for lot in node.get("/v1/book", category="fluids", limit=1000)["lots"]
                if lot["id"] == offer
            )
            remaining.add(entry["remaining"])
        if len(remaining) != 1:
            raise LocalError(f"The nodes differ about what is left: {sorted(remaining)} ml.")
        shown = self.nodes[2].get(f"/v1/trades/{trade}")
        left_ml = remaining.pop()
        self.result["trade"] = {
            "id": trade,
            "state": shown["state"],
            "lot_ml": QUART_ML,
            "taken_ml": shown["legs"][0]["amount"],
            "remaining_ml": left_ml,
        }
        self._tell(f"{left_ml} ml stay on offer, as all five nodes see it")

    def _audit(self) -> None:
        reports = [node.audit() for node in self.nodes]
        self.result["audit"] = {
            "exit": max(report["exit"] for report in reports),
            "chains": sum(report["chains"] for report in reports),
            "entries": sum(report["entries"] for report in reports),
        }
        audited = self.result["audit"]
        verdict = "clean" if audited["exit"] == 0 else f"exit {audited['exit']}"
        self._tell(
            f"every node audits every chain: {audited['chains']} chains, "
            f"{audited['entries']} entries, {verdict}"
        )


def _is_in_step(node: Neighbour, peers: int) -> bool:
    return sum(bool(peer["synced"]) for peer in node.get("/v1/peers")["peers"]) >= peers


def _find_match(node: Neighbour, offer: str, wish: str) -> dict[str, Any] | None:
    for match in node.get("/v1/matches", limit=100)["matches"]:
        if match["offer"]["id"] == offer and match["request"]["id"] == wish:
            found: dict[str, Any] = match
            return found
    return None


def _in_a_circle(cells: tuple[int, ...]) -> list[int]:
    """Return the cells of a ring in the order in which they touch."""
    left = list(cells)
    circle = [left.pop(0)]
    while left:
        following = next(cell for cell in left if cell in ring(circle[-1], 1))
        left.remove(following)
        circle.append(following)
    return circle
