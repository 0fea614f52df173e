"""From distances to a verdict.

UNKNOWN when even the nearest class is farther than the threshold; AMBIGUOUS when the second is too close behind the
first to call; else MATCH. The threshold and the probabilities are the bundle's calibration, at the false-accept rate
asked for and for as many classes as the gallery holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from exemplar_encoder import Calibration

# Thresholds are kept by (rate, class count); callers choose rates freely, so the memory for them is bounded.
_REMEMBERED = 1024


class Verdict(StrEnum):
    """What the server concludes about a query."""

    MATCH = "MATCH"
    AMBIGUOUS = "AMBIGUOUS"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, the distance that set it, and the probability of each of the classes looked at."""

    verdict: Verdict
    threshold: float
    probabilities: list[float]


class Decisions:
    """Applies one calibration."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self._thresholds: dict[tuple[float, int], float] = {}

    def threshold(self, false_accept_rate: float, class_count: int) -> float:
        """The Euclidean distance beyond which a query is UNKNOWN."""
        key = (false_accept_rate, class_count)
        found = self._thresholds.get(key)
        if found is None:
            if len(self._thresholds) >= _REMEMBERED:
                self._thresholds.clear()
            found = self._thresholds[key] = self.calibration.threshold(false_accept_rate, class_count)
        return found

    def decide(self, distances: Sequence[float], false_accept_rate: float, class_count: int) -> Decision:
        """Judge a query.

        Args:
            distances: to the nearest classes, ascending: at least one, and at least two where the gallery has two.
            false_accept_rate: between 0 and 1.
            class_count: how many classes the gallery holds.
        """
        threshold = self.threshold(false_accept_rate, class_count)
        probabilities = self.calibration.probabilities(distances, class_count).tolist()
        if distances[0] > threshold:
            verdict = Verdict.UNKNOWN
        elif len(distances) > 1 and distances[1] - distances[0] < self.calibration.ambiguity_margin:
            verdict = Verdict.AMBIGUOUS
        else:
            verdict = Verdict.MATCH
        return Decision(verdict, threshold, probabilities)
