"""From distances to a verdict.

UNKNOWN when even the nearest class is farther than the threshold; AMBIGUOUS when the second is too close behind the
first to call; else MATCH. Threshold, margin and probabilities are those of a calibration for a gallery of as many
classes, as far apart, at the false-accept rate asked for. The server answers by this rule, and the trainer judges by
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from exemplar_encoder.arrays import Bools, Floats, Floats64
from exemplar_encoder.calibration import Calibration


class Verdict(StrEnum):
    """The conclusion about a query."""

    MATCH = "MATCH"
    AMBIGUOUS = "AMBIGUOUS"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and the probability of each of the classes looked at, nearest first."""

    verdict: Verdict
    probabilities: list[float]


class DecisionRule:
    """The meaning of distances in one state of a gallery, at one false-accept rate. Made once, it decides any query.

    Distances are compared in double precision, of one query as of many: NumPy would round the threshold to that of an
    array of float32, and take some queries that alone are UNKNOWN.

    Attributes:
        calibration: whose numbers these are.
        false_accept_rate: the rate that the threshold keeps: the one asked for, or the least that was measured.
        spacing: how far apart the gallery's classes are, see `Calibration.spacing`.
        threshold: the Euclidean distance beyond which a query is UNKNOWN.
        margin: by how much the second class must be farther than the first, or the query is AMBIGUOUS.
    """

    def __init__(
        self,
        calibration: Calibration,
        class_count: int,
        gaps: Floats | None,
        false_accept_rate: float | None = None,
    ) -> None:
        """Apply a calibration to a gallery.

        Args:
            calibration: the gallery's own or the bundle's.
            class_count: how many classes the gallery holds.
            gaps: see `gaps_of`; None where there is nothing to measure.
            false_accept_rate: in (0, 1); None for the calibration's default.
        """
        asked = calibration.default_false_accept_rate if false_accept_rate is None else false_accept_rate
        self.calibration = calibration
        self.false_accept_rate = calibration.effective_rate(asked)
        self.spacing = calibration.spacing(class_count, gaps)
        self.threshold = calibration.threshold(asked, class_count, self.spacing)
        self.margin = calibration.margin(self.spacing)

    def decide(self, distances: Sequence[float]) -> Decision:
        """Conclude about one query.

        Args:
            distances: to the nearest classes, ascending: `NEAREST_CONSIDERED` or more, or all of the gallery's.
        """
        probabilities: list[float] = self.calibration.probabilities(distances, self.spacing).tolist()
        if distances[0] > self.threshold:
            verdict = Verdict.UNKNOWN
        elif len(distances) > 1 and distances[1] - distances[0] < self.margin:
            verdict = Verdict.AMBIGUOUS
        else:
            verdict = Verdict.MATCH
        return Decision(verdict, probabilities)

    def accepts(self, distances: Floats | Floats64) -> Bools:
        """Tell which of many queries are near enough to be given a name: those that are not UNKNOWN.

        Args:
            distances: of each query to its nearest classes, ascending, `[queries, nearest]`.

        Returns:
            bool `[queries]`.
        """
        return np.asarray(distances[:, 0].astype(np.float64) <= self.threshold)

    def tells_apart(self, distances: Floats | Floats64) -> Bools:
        """Tell of which of many queries the second class is not too close behind the first; arguments as above."""
        if distances.shape[1] < 2:
            return np.ones(len(distances), dtype=np.bool_)
        nearest, second = distances[:, :2].T.astype(np.float64)
        return np.asarray(second - nearest >= self.margin)
