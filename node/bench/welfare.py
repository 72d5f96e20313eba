"""How much of what a market could be worth its nodes come to among themselves.

A town of two hundred people on three days (`welfare_town`), its nodes trading (`welfare_nodes`),
and a solver that sees everything at once: every lot, wish, worth and exact place, with no time
passing. The solver's bound is the reference, so no plan whatever is worth more. `welfare_ratio` is
what the nodes come to by it, `welfare_ratio_fcfs` what they come to if each lister takes whoever
asks first.

With `welfare_ratio_liars` a quarter of the people lie or vanish, the same ones on all three days;
on the first nobody is known. What counts is what the honest have: of a trade between two all
that it is worth; of one with a liar the honest side's part, bids being paid, but never more than
the trade is truly worth; ways gone for nothing are taken off. The reference is the solver over the
honest alone. `welfare_ratio_liars_strict` counts trades between two honest people alone: who bids
too much, pays it and comes takes goods away there as well.

Taken for granted: listers ask just what they would not go below, and all but the liars bid no more
than a thing is worth to them.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from passby.geo.lots import offered, wanted
from passby.geo.match import same_product
from passby.node.bench import welfare_town
from passby.node.bench.welfare_people import Kind, Memory
from passby.node.bench.welfare_run import trade_all
from passby.node.bench.welfare_town import Town, true_trip, welfare_minor
from passby.protocol.errors import LocalError

SEEDS: Final = (1, 2, 3)
"""One for each day."""
PEOPLE_SEED: Final = 1
LIARS: Final = 0.25
FCFS_MOST: Final = 0.85
"""Where whoever comes first does better than that, there is nothing to arrange."""
GAP: Final = 1e-3
"""How far the solver's plan may be from its bound; the bound is what counts."""
SOLVE_MAX_S: Final = 60


def figures(data: Path) -> dict[str, Any]:
    """Return the ratios over all days, and what they are made of.

    Raises:
        UsageError: the data are not there.
        LocalError: first come first served does too well for the workload to say anything.
    """
    kinds = kinds_with_liars(PEOPLE_SEED, welfare_town.PEOPLE)
    memory = Memory()
    days = [_of_day(seed, data, kinds, memory) for seed in SEEDS]
    found = {
        name: round(sum(day[part] for day in days) / sum(day[against] for day in days), 3)
        for name, part, against in (
            ("welfare_ratio", "nodes_minor", "solver_minor"),
            ("welfare_ratio_fcfs", "fcfs_minor", "solver_minor"),
            ("welfare_ratio_liars", "liars_minor", "solver_honest_minor"),
            ("welfare_ratio_liars_strict", "liars_strict_minor", "solver_honest_minor"),
        )
    }
    refuse_the_easy(found["welfare_ratio_fcfs"])
    return {**found, "welfare_days": days}


def refuse_the_easy(fcfs: float) -> None:
    """Refuse a workload at which whoever comes first does nearly as well as anybody.

    Raises:
        LocalError: it is one.
    """
    if fcfs > FCFS_MOST:
        raise LocalError(
            "This market is too easy to measure anything by:"
            f" first come first served makes {fcfs} of the best.",
            "Make its people differ more.",
        )


def _of_day(seed: int, data: Path, kinds: list[Kind], memory: Memory) -> dict[str, int]:
    town = welfare_town.build(seed, data)
    honest = [Kind.HONEST for _ in kinds]
    truthful = {number for number, kind in enumerate(kinds) if kind is Kind.HONEST}
    nodes = trade_all(town, seed, honest)
    first_come = trade_all(town, seed, honest, first_come=True)
    lied_to = trade_all(town, seed, kinds, memory=memory)
    return {
        "lots": len(town.lots),
        "wishes": len(town.wishes),
        "trades": nodes.trades,
        "bids": nodes.bids,
        "entries": nodes.entries,
        "nodes_minor": nodes.welfare_minor,
        "fcfs_minor": first_come.welfare_minor,
        "liars_minor": lied_to.welfare_minor,
        "liars_strict_minor": lied_to.between_honest_minor,
        "solver_minor": best_minor(town, range(len(kinds))),
        "solver_honest_minor": best_minor(town, truthful),
    }


def kinds_with_liars(seed: int, count: int) -> list[Kind]:
    """Return how each behaves where LIARS of all lie, by all ways of lying alike."""
    liars: list[Kind] = [kind for kind in Kind if kind is not Kind.HONEST]
    many = round(count * LIARS)
    kinds: list[Kind] = [liars[number % len(liars)] for number in range(many)]
    kinds += [Kind.HONEST] * (count - many)
    random.Random(seed).shuffle(kinds)  # noqa: S311  # a workload, not a secret
    return kinds


def best_minor(town: Town, among: Collection[int]) -> int:
    """Return a bound on the welfare of every possible plan of trades among some of the people.

    One variable for each wish, lot and amount; a wish takes one amount of a lot at most. Solved
    by HiGHS, whose bound on the best is returned.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    plans = _plans(town, among)
    pairs = {pair: number for number, pair in enumerate(sorted({plan[:2] for plan in plans}))}
    lots = len(town.wishes)
    first_pair = lots + len(town.lots)
    rows: list[int] = []
    factors: list[int] = []
    for wish, lot, amount, _ in plans:
        rows += [wish, lots + lot, first_pair + pairs[wish, lot]]
        factors += [amount, amount, 1]
    columns = np.repeat(np.arange(len(plans)), 3)
    bounds = [wish.request.amount for wish in town.wishes]
    bounds += [lot.pieces for lot in town.lots] + [1] * len(pairs)
    if not plans:
        return 0
    matrix = coo_array((factors, (rows, columns)), shape=(len(bounds), len(plans)))
    with _quiet():
        solved = milp(
            [-gain for *_, gain in plans],
            constraints=LinearConstraint(matrix.tocsr(), ub=bounds),
            integrality=np.ones(len(plans)),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": GAP, "time_limit": SOLVE_MAX_S},
        )
    return round(-float(solved.mip_dual_bound))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what HiGHS prints past Python to itself out of `--json`."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _plans(town: Town, among: Collection[int]) -> list[tuple[int, int, int, int]]:
    """Return (wish, lot, amount, welfare) of every trade that is worth something."""
    found = []
    for at, wish in enumerate(town.wishes):
        request = wanted(
            bytes(32), bytes([1]), wish.entered_ms, wish.until_ms, wish.request.amount, wish.request
        )
        for number, lot in enumerate(town.lots):
            offer = offered(
                bytes(32), bytes([2]), lot.entered_ms, lot.until_ms, lot.pieces, lot.offer
            )
            apart = wish.taker != lot.lister and wish.taker in among and lot.lister in among
            if not apart or same_product(offer, request, {}) is None:
                continue
            trip = true_trip(town, wish, lot)
            if trip is None:
                continue
            for amount in range(1, min(wish.request.amount, lot.pieces) + 1):
                gain = welfare_minor(wish, lot.offer.price.minor, trip, amount)
                if gain > 0:
                    found.append((at, number, amount, gain))
    return found
