"""The meaning of a distance: thresholds at a stated false-accept rate, and probabilities.

How near a stranger comes to its nearest class depends on how many classes a gallery holds and how alike they are.
Both show in the gallery itself: its classes are strangers to each other. So distances are judged against the
gallery's *spacing*, the mean distance from a class to its nearest other class over those classes that have the
nearest, and one calibration fits a gallery of 20 unlike classes as well as one of 900 letters. Classes that all but
coincide are left out of it.

The trainer fits both on classes that it held out, or, for a network from elsewhere, on the user's; `fitted_on` says
which. A threshold is the spacing times a factor: a quantile of
strangers' distances to their nearest class, in units of the spacing, in galleries of that size. A probability is that
of a softmax over the nearest classes and "none of them", whose weight depends on the spacing; half of the queries it
was fitted on were of no enrolled class. A class's weight falls with the square of its distance, as that of a normal
distribution does: by the distance itself, look-alikes among many classes were named with far too much confidence.

Two classes are too close to call when the second is less than a margin behind the first. It is wider the nearer to
each other a gallery's classes are: one margin for all called far too much ambiguous among few unlike classes, and far
too little among a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from exemplar_encoder.arrays import Floats, Floats64

METHOD: Literal["spacing/1"] = "spacing/1"
"""The model behind the numbers, and its version."""

# How many of the nearest classes are weighed one by one, however many a caller asks to see: a probability must not
# change with the number of matches shown.
NEAREST_CONSIDERED = 16

# A gallery of few classes shows little of its spacing: what is typical counts as much as this many classes.
_PRIOR_CLASSES = 1

_FARTHEST = 2.0  # apart, that unit vectors can be

# Classes nearer to each other than this share of the third quartile of all gaps are one thing taught twice.
_TWICE = 0.2

# A difference below this share of the spacing is none, however rare errors are: one thing with two names has none.
_TIE = 0.05


class CalibrationError(ValueError):
    """Numbers that no fit produces; `field` names those at fault."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True)
class Calibration:
    """Fitted numbers; see the module for the model behind them.

    Attributes:
        default_false_accept_rate: the rate to use where nobody names one.
        ambiguity_margin: sets the distance that the top two matches must differ by, see `margin`.
        ambiguity_error_rate: the share of wrong names, among accepted ones, that the margin was set for.
        fitted_on: the classes and queries it was fitted on, in words.
        gallery_sizes: ascending numbers of classes, at which the typical spacing was measured.
        typical_spacings: that spacing at each size.
        false_accept_rates: ascending rates in (0, 1], at which factors were measured.
        factors: for each gallery size and each rate, the distance in units of the spacing within which that share of
            queries of no enrolled class had a class; ascending with the rate.
        distance_weight: how fast a class's weight falls; natural logarithm, a unit of distance to `distance_power`.
        unknown_intercept: how small the weight of "none of them" is, natural logarithm, at spacing 0.
        unknown_spacing: by how much that grows with each unit of spacing.
        nearest_share: the share of a gallery's classes, those with the nearest others, that its spacing is the mean
            of; in (0, 1].
        distance_power: 1 or 2.
        ambiguity_spacing: the spacing from which on only ties are ambiguous; 0 for one margin in galleries of any
            spacing.
        method: the model behind the numbers.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    default_false_accept_rate: float
    ambiguity_margin: float
    ambiguity_error_rate: float
    fitted_on: str
    gallery_sizes: tuple[int, ...]
    typical_spacings: tuple[float, ...]
    false_accept_rates: tuple[float, ...]
    factors: tuple[tuple[float, ...], ...]
    distance_weight: float
    unknown_intercept: float
    unknown_spacing: float
    nearest_share: float
    distance_power: int
    ambiguity_spacing: float
    method: Literal["spacing/1"] = METHOD

    def __post_init__(self) -> None:
        """Refuse numbers that no fit produces, with a `CalibrationError`."""
        if not 0 < self.default_false_accept_rate < 1:
            raise CalibrationError("default_false_accept_rate", "must lie between 0 and 1")
        sizes, rates = np.array(self.gallery_sizes), np.array(self.false_accept_rates)
        if not (sizes.size >= 1 and sizes[0] >= 1 and (np.diff(sizes) > 0).all()):
            raise CalibrationError("gallery_sizes", "must ascend from 1 or more")
        if not (rates.size >= 2 and (np.diff(rates) > 0).all() and rates[0] > 0 and rates[-1] <= 1):
            raise CalibrationError("false_accept_rates", "must ascend within (0, 1]")
        spacings = np.array(self.typical_spacings)
        if spacings.shape != sizes.shape or not (np.isfinite(spacings) & (spacings >= 0)).all():
            raise CalibrationError("typical_spacings", "must hold a distance for each gallery size")
        if [len(row) for row in self.factors] != [rates.size] * sizes.size:
            raise CalibrationError("factors", "must hold a number for each gallery size and rate")
        factors = np.array(self.factors)
        if not (np.isfinite(factors) & (factors >= 0)).all():
            raise CalibrationError("factors", "must be 0 or more")
        if (np.diff(factors, axis=1) < 0).any():
            raise CalibrationError("factors", "must ascend with the rate")
        for name in ("ambiguity_margin", "ambiguity_spacing", "ambiguity_error_rate", "distance_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise CalibrationError(name, "must be finite, and 0 or more")
        for name in ("unknown_intercept", "unknown_spacing"):
            if not math.isfinite(getattr(self, name)):
                raise CalibrationError(name, "must be finite")
        if not 0 < self.nearest_share <= 1:
            raise CalibrationError("nearest_share", "must lie above 0 and be at most 1")
        if self.distance_power not in (1, 2):
            raise CalibrationError("distance_power", "must be 1 or 2")

    def spacing(self, class_count: int, gaps: Floats | None) -> float:
        """Return the spacing to judge a gallery by: as measured in it, and in a small one also what is typical.

        Args:
            class_count: how many classes the gallery holds.
            gaps: see `gaps_of`; None where there is nothing to measure.
        """
        typical = self._at_size(class_count, self.typical_spacings)
        if gaps is None:
            return typical
        measured = mean_gap(gaps, self.nearest_share)
        return (class_count * measured + _PRIOR_CLASSES * typical) / (class_count + _PRIOR_CLASSES)

    def threshold(self, false_accept_rate: float, class_count: int, spacing: float) -> float:
        """Return the distance beyond which a query is UNKNOWN.

        Between measured rates and sizes it is interpolated on logarithmic scales.

        Args:
            false_accept_rate: the share of queries of no enrolled class that may be given a name; in (0, 1).
            class_count: how many classes the gallery holds.
            spacing: of the gallery, see the method of that name.

        Returns:
            A Euclidean distance, 0 or more. A rate below the least that was measured gets that one's distance:
            nothing smaller was observed, so nothing smaller can be promised.
        """
        if not 0 < false_accept_rate < 1:
            raise ValueError(f"the false-accept rate must lie between 0 and 1, not {false_accept_rate}")
        at_rate = [np.interp(np.log(false_accept_rate), np.log(self.false_accept_rates), row) for row in self.factors]
        return spacing * self._at_size(class_count, at_rate)

    def effective_rate(self, false_accept_rate: float) -> float:
        """Return the rate that a threshold keeps: the one asked for, or the least measured where that is larger."""
        return max(false_accept_rate, self.false_accept_rates[0])

    def margin(self, spacing: float) -> float:
        """Return by how much the second nearest class must be farther than the nearest; else a query is AMBIGUOUS.

        Args:
            spacing: of the gallery, see the method of that name.
        """
        crowding = self.ambiguity_spacing / max(spacing, 1e-6) - 1.0 if self.ambiguity_spacing else 1.0
        return min(_FARTHEST, max(_TIE * spacing, self.ambiguity_margin * crowding))

    def _at_size(self, class_count: int, values: Sequence[float]) -> float:
        return float(np.interp(np.log(max(1, class_count)), np.log(self.gallery_sizes), values))

    def probabilities(self, distances: npt.ArrayLike, spacing: float) -> Floats64:
        """Return the probability of each of the nearest classes, of one query or of many at once.

        Args:
            distances: float `[..., k]`, ascending: the nearest classes of the gallery, at least `NEAREST_CONSIDERED`
                or all of them. Classes beyond that number do not count.
            spacing: of the gallery, see the method of that name.

        Returns:
            float64 `[..., k]` in [0, 1], descending; what is missing to 1 is the probability of no enrolled class.
        """
        weights = -self.distance_weight * np.asarray(distances, dtype=np.float64) ** self.distance_power
        unknown = -(self.unknown_intercept + self.unknown_spacing * spacing)
        named = np.logaddexp.reduce(weights[..., :NEAREST_CONSIDERED], axis=-1, keepdims=True)
        probabilities: Floats64 = np.exp(weights - np.logaddexp(named, unknown))
        return probabilities

    def to_json(self) -> str:
        """Return it as text, for a bundle, a store and the contract."""
        return _CODEC.dump_json(self, indent=1).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Calibration:
        """Read what `to_json` wrote.

        Raises:
            CalibrationError: it is something else, or numbers that no fit produces.
        """
        try:
            return _CODEC.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            cause = first.get("ctx", {}).get("error")
            if isinstance(cause, CalibrationError):
                raise cause from error
            field = ".".join(str(part) for part in first["loc"]) or "it"
            raise CalibrationError(field, f"cannot be read: {first['msg']}") from error

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read a bundle's calibration file."""
        return cls.from_json(path.read_bytes())


_CODEC = TypeAdapter(Calibration)


def mean_gap(gaps: Floats, share: float) -> float:
    """Return the mean of the least of `gaps` float32 `[n]`, ascending: of that share of them, and of one at least.

    Gaps that are far smaller than most are of one thing taught twice. They tell nothing of how near others come, and
    are left out: else one picture with two names would make strangers of all queries.
    """
    apart = gaps[gaps >= _TWICE * np.quantile(gaps, 0.75)]
    return float(apart[: math.ceil(share * len(apart))].mean(dtype=np.float64))


def gaps_of(vectors: Floats) -> Floats | None:
    """Return the distance from each of `vectors` float32 `[n, dimension]` to its nearest other, ascending.

    Below two vectors there is none, and None is returned.
    """
    if len(vectors) < 2:
        return None
    squares = np.square(vectors).sum(axis=1)
    squared = np.maximum(squares[:, None] + squares[None, :] - 2.0 * (vectors @ vectors.T), 0.0)
    np.fill_diagonal(squared, np.inf)
    # The product tells which is nearest, but not, of two that nearly coincide, how near.
    gaps: Floats = np.sort(np.linalg.norm(vectors - vectors[squared.argmin(axis=1)], axis=1))
    return gaps
