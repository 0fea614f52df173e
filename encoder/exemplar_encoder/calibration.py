"""What a distance means: thresholds at a stated false-accept rate, and probabilities.

Both are fitted by the trainer on classes the network never saw. The threshold comes from the measured distances
between images of different classes. The probability is Bayes' rule over a gallery: each class's distance gives a
likelihood ratio (same class against different class), every class is as likely beforehand as any other, and half
of all queries are taken to be of no enrolled class.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_PRIOR_ENROLLED = 0.5


@dataclass(frozen=True)
class Calibration:
    """Fitted numbers; see the module for the model behind them.

    Attributes:
        default_false_accept_rate: the rate to use where nobody names one.
        ambiguity_margin: the top two matches must differ by this distance, or the verdict is AMBIGUOUS.
        ambiguity_error_rate: the share of wrong names, among accepted ones, that the margin was set for.
        class_count: how many unseen classes it was fitted on.
        impostor_rates: ascending rates, each the share of pairs of different classes that are closer than
        impostor_distances: the distance at the same position; ascending.
        log_ratio_intercept: log likelihood ratio of same class against different class at distance 0.
        log_ratio_slope: by how much that falls with each unit of distance.
    """

    default_false_accept_rate: float
    ambiguity_margin: float
    ambiguity_error_rate: float
    class_count: int
    impostor_rates: tuple[float, ...]
    impostor_distances: tuple[float, ...]
    log_ratio_intercept: float
    log_ratio_slope: float

    def __post_init__(self) -> None:
        """Refuse numbers that no fit produces."""
        if not 0 < self.default_false_accept_rate < 1:
            raise ValueError("default_false_accept_rate must lie between 0 and 1")
        if len(self.impostor_rates) != len(self.impostor_distances) or len(self.impostor_rates) < 2:
            raise ValueError("impostor_rates and impostor_distances must be of one length, at least 2")
        rates, distances = np.array(self.impostor_rates), np.array(self.impostor_distances)
        if not (np.isfinite(distances).all() and (np.diff(rates) > 0).all() and rates[0] > 0 and rates[-1] <= 1):
            raise ValueError("impostor_rates must ascend within (0, 1] and impostor_distances be finite")
        if (np.diff(distances) < 0).any():
            raise ValueError("impostor_distances must ascend")
        if not all(np.isfinite([self.ambiguity_margin, self.log_ratio_intercept, self.log_ratio_slope])):
            raise ValueError("ambiguity_margin and the log ratio must be finite")

    def threshold(self, false_accept_rate: float, class_count: int) -> float:
        """The distance beyond which a query is UNKNOWN.

        With N classes a per-class rate p gives a gallery-wide rate 1 - (1 - p)^N, solved here for p.

        Args:
            false_accept_rate: the share of queries of no enrolled class that may be given a name; in (0, 1).
            class_count: how many classes the gallery holds; at least 1.

        Returns:
            A Euclidean distance. A per-class rate below the least that was measured gets that one's distance:
            nothing smaller was observed, so nothing smaller can be promised.
        """
        if not 0 < false_accept_rate < 1:
            raise ValueError(f"the false-accept rate must lie between 0 and 1, not {false_accept_rate}")
        per_class = -np.expm1(np.log1p(-false_accept_rate) / max(1, class_count))
        return float(np.interp(np.log(per_class), np.log(self.impostor_rates), self.impostor_distances))

    def probabilities(self, distances: npt.ArrayLike, class_count: int) -> npt.NDArray[np.float64]:
        """The probability of each of the nearest classes.

        Args:
            distances: float `[k]`, ascending: the nearest classes of the gallery, k <= class_count. Classes
                farther away than these are taken to be at the last of them, so the answer errs low.
            class_count: how many classes the gallery holds.

        Returns:
            float64 `[k]` in [0, 1], descending; what is missing to 1 is the probability of the other classes and
            of no enrolled class.
        """
        d = np.asarray(distances, dtype=np.float64)
        log_ratio = self.log_ratio_intercept - self.log_ratio_slope * d
        log_weight = log_ratio + np.log(_PRIOR_ENROLLED / max(1, class_count))
        rest = max(0, class_count - d.size)
        terms = np.append(log_weight, np.log1p(-_PRIOR_ENROLLED))
        if rest and d.size:
            terms = np.append(terms, log_weight[-1] + np.log(rest))
        total = np.logaddexp.reduce(terms)
        result: npt.NDArray[np.float64] = np.exp(log_weight - total)
        return result

    def to_json(self) -> str:
        """As text for a bundle."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `to_json` wrote; ValueError, TypeError or KeyError when it is something else."""
        fields: dict[str, Any] = json.loads(text)
        for name in ("impostor_rates", "impostor_distances"):
            fields[name] = tuple(float(value) for value in fields[name])
        return cls(**fields)

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read a bundle's calibration file."""
        return cls.from_json(path.read_text(encoding="utf-8"))
