"""From distances to a verdict.

UNKNOWN when even the nearest class is farther than the threshold; AMBIGUOUS when the second is too close behind the
first to call; else MATCH. The threshold and the probabilities are those of a calibration, the gallery's own or the
bundle's, at the false-accept rate asked for and for a gallery of as many classes, as far apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats


class Verdict(StrEnum):
    """What the server concludes about a query."""

    MATCH = "MATCH"
    AMBIGUOUS = "AMBIGUOUS"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, the distances that set it, and the probability of each of the classes looked at."""

    verdict: Verdict
    threshold: float
    margin: float
    probabilities: list[float]


class Decisions:
    """Applies one calibration."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    def threshold(self, false_accept_rate: float, class_count: int, gaps: Floats | None) -> float:
        """The Euclidean distance beyond which a query is UNKNOWN; `gaps` as `Search` has them."""
        apart = self.calibration.spacing(class_count, gaps)
        return self.calibration.threshold(false_accept_rate, class_count, apart)

    def decide(
        self, distances: Sequence[float], false_accept_rate: float, class_count: int, gaps: Floats | None
    ) -> Decision:
        """Judge a query.

        Args:
            distances: to the nearest classes, ascending: at least one, and at least two where the gallery has two.
            false_accept_rate: between 0 and 1.
            class_count: how many classes the gallery holds.
            gaps: as `Search` has them.
        """
        apart = self.calibration.spacing(class_count, gaps)
        threshold = self.calibration.threshold(false_accept_rate, class_count, apart)
        margin = self.calibration.margin(apart)
        probabilities = self.calibration.probabilities(distances, apart).tolist()
        if distances[0] > threshold:
            verdict = Verdict.UNKNOWN
        elif len(distances) > 1 and distances[1] - distances[0] < margin:
            verdict = Verdict.AMBIGUOUS
        else:
            verdict = Verdict.MATCH
        return Decision(verdict, threshold, margin, probabilities)
