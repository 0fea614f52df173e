"""What a distance means: thresholds at a stated false-accept rate, and probabilities.

Both are fitted by the trainer on classes the network never saw. The thresholds were measured on galleries of several
sizes asked about classes that were not in them. The probability is Bayes' rule over a gallery: each class's distance
gives a likelihood ratio (same class against different class), every class is as likely beforehand as any other, and
half of all queries are taken to be of no enrolled class.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# So many of the nearest classes are weighed one by one, however many a caller asks to see: a probability must not
# change with the number of matches shown.
NEAREST_CONSIDERED = 16

_PRIOR_ENROLLED = 0.5


@dataclass(frozen=True)
class Calibration:
    """Fitted numbers; see the module for the model behind them.

    Attributes:
        default_false_accept_rate: the rate to use where nobody names one.
        ambiguity_margin: the top two matches must differ by this distance, or the verdict is AMBIGUOUS.
        ambiguity_error_rate: the share of wrong names, among accepted ones, that the margin was set for.
        class_count: how many unseen classes it was fitted on.
        gallery_sizes: ascending numbers of classes, at which thresholds were measured.
        false_accept_rates: ascending rates in (0, 1], at which thresholds were measured.
        thresholds: for each gallery size, for each rate: the distance below which that share of queries of no
            enrolled class finds some class; ascending with the rate, descending with the size.
        log_ratio_intercept: log likelihood ratio of same class against different class at distance 0.
        log_ratio_slope: by how much that falls with each unit of distance.
    """

    default_false_accept_rate: float
    ambiguity_margin: float
    ambiguity_error_rate: float
    class_count: int
    gallery_sizes: tuple[int, ...]
    false_accept_rates: tuple[float, ...]
    thresholds: tuple[tuple[float, ...], ...]
    log_ratio_intercept: float
    log_ratio_slope: float

    def __post_init__(self) -> None:
        """Refuse numbers that no fit produces."""
        if not 0 < self.default_false_accept_rate < 1:
            raise ValueError("default_false_accept_rate must lie between 0 and 1")
        sizes, rates = np.array(self.gallery_sizes), np.array(self.false_accept_rates)
        if not (sizes.size >= 1 and sizes[0] >= 1 and (np.diff(sizes) > 0).all()):
            raise ValueError("gallery_sizes must ascend from 1 or more")
        if not (rates.size >= 2 and (np.diff(rates) > 0).all() and rates[0] > 0 and rates[-1] <= 1):
            raise ValueError("false_accept_rates must ascend within (0, 1]")
        table = np.array(self.thresholds, dtype=np.float64)
        if table.shape != (sizes.size, rates.size) or not np.isfinite(table).all():
            raise ValueError("thresholds must hold a finite distance for each gallery size and rate")
        if (np.diff(table, axis=1) < 0).any() or (np.diff(table, axis=0) > 0).any():
            raise ValueError("thresholds must ascend with the rate and descend with the gallery size")
        if not all(np.isfinite([self.ambiguity_margin, self.log_ratio_intercept, self.log_ratio_slope])):
            raise ValueError("ambiguity_margin and the log ratio must be finite")
        if self.ambiguity_margin < 0:
            raise ValueError("ambiguity_margin must be 0 or more")

    def threshold(self, false_accept_rate: float, class_count: int) -> float:
        """The distance beyond which a query is UNKNOWN.

        Between the measured sizes and rates it is interpolated on logarithmic scales. In a gallery larger than the
        largest that was measured, classes beyond it are taken to add chances of a false accept at the same pace.

        Args:
            false_accept_rate: the share of queries of no enrolled class that may be given a name; in (0, 1).
            class_count: how many classes the gallery holds; at least 1.

        Returns:
            A Euclidean distance. A rate below the least that was measured gets that one's distance: nothing
            smaller was observed, so nothing smaller can be promised.
        """
        if not 0 < false_accept_rate < 1:
            raise ValueError(f"the false-accept rate must lie between 0 and 1, not {false_accept_rate}")
        largest = self.gallery_sizes[-1]
        rate = false_accept_rate
        if class_count > largest:
            rate = -np.expm1(np.log1p(-rate) * largest / class_count)
        at_rate = [np.interp(np.log(rate), np.log(self.false_accept_rates), row) for row in self.thresholds]
        return float(np.interp(np.log(max(1, class_count)), np.log(self.gallery_sizes), at_rate))

    def probabilities(self, distances: npt.ArrayLike, class_count: int) -> npt.NDArray[np.float64]:
        """The probability of each of the nearest classes.

        Args:
            distances: float `[k]`, ascending: the nearest classes of the gallery, at least `NEAREST_CONSIDERED` or
                all of them. Classes beyond that number are taken to be at the last of it, so the answer errs low.
            class_count: how many classes the gallery holds.

        Returns:
            float64 `[k]` in [0, 1], descending; what is missing to 1 is the probability of the other classes and
            of no enrolled class.
        """
        d = np.asarray(distances, dtype=np.float64)
        log_ratio = self.log_ratio_intercept - self.log_ratio_slope * d
        log_weight = log_ratio + np.log(_PRIOR_ENROLLED / max(1, class_count))
        considered = log_weight[:NEAREST_CONSIDERED]
        terms = np.append(considered, np.log1p(-_PRIOR_ENROLLED))
        rest = class_count - considered.size
        if rest > 0 and considered.size:
            terms = np.append(terms, considered[-1] + np.log(rest))
        probabilities: npt.NDArray[np.float64] = np.exp(log_weight - np.logaddexp.reduce(terms))
        return probabilities

    def to_json(self) -> str:
        """As text for a bundle."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `to_json` wrote; ValueError, TypeError or KeyError when it is something else."""
        fields: dict[str, Any] = json.loads(text)
        fields["gallery_sizes"] = tuple(int(size) for size in fields["gallery_sizes"])
        fields["false_accept_rates"] = tuple(float(rate) for rate in fields["false_accept_rates"])
        fields["thresholds"] = tuple(tuple(float(value) for value in row) for row in fields["thresholds"])
        return cls(**fields)

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read a bundle's calibration file."""
        return cls.from_json(path.read_text(encoding="utf-8"))
