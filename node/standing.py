"""How peers stand with us: faults lower a score, time heals it, a disconnect does not."""

from __future__ import annotations

from dataclasses import dataclass, field

from passby.protocol import limits


@dataclass(slots=True)
class _Fault:
    score: float
    at_s: float


@dataclass(slots=True)
class Standing:
    """Peers' scores: lowered by faults, halved towards 0 every SCORE_HALF_LIFE_S.

    Kept across disconnects, or a cut peer would be back with a clean sheet. `now_s` is any
    clock that does not run backwards.
    """

    _faults: dict[str, _Fault] = field(default_factory=dict)

    def score(self, peer: str, now_s: float) -> float:
        """Return the peer's score, 0 at best."""
        fault = self._faults.get(peer)
        if fault is None:
            return 0.0
        elapsed_s = max(0.0, now_s - fault.at_s)
        return float(fault.score * 0.5 ** (elapsed_s / limits.SCORE_HALF_LIFE_S))

    def penalise(self, peer: str, amount: float, now_s: float) -> float:
        """Take `amount` off the peer's score and return what is left."""
        score = self.score(peer, now_s) - amount
        self._faults.pop(peer, None)
        if len(self._faults) >= limits.SCORES_MAX:
            self._forget(now_s)
        self._faults[peer] = _Fault(score, now_s)
        return score

    def is_muted(self, peer: str, now_s: float) -> bool:
        """Whether the peer's gossip is ignored and its connections are refused."""
        return self.score(peer, now_s) <= limits.SCORE_MUTE

    def _forget(self, now_s: float) -> None:
        old = [p for p, fault in self._faults.items() if now_s - fault.at_s > limits.SCORE_KEPT_S]
        # The dict is in order of the last fault: without old ones the oldest goes.
        for peer in old or [next(iter(self._faults))]:
            del self._faults[peer]
