"""From observations of galleries to a `Calibration`; which galleries and queries, others decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from exemplar_encoder import Calibration
from exemplar_trainer.calibration.ambiguity import AMBIGUITY_ERROR_RATE, fit_margin
from exemplar_trainer.calibration.observations import Observation
from exemplar_trainer.calibration.probability import DISTANCE_POWER, fit_softmax
from exemplar_trainer.calibration.thresholds import NEAREST_SHARE, fit_factors, typical_spacing

DEFAULT_FALSE_ACCEPT_RATE = 0.05

_LEAST_RATE = 0.001
_RATES = 31


def fit_observations(
    galleries: Sequence[Observation],
    fitted_on: str,
    default_false_accept_rate: float = DEFAULT_FALSE_ACCEPT_RATE,
    least_rate: float = _LEAST_RATE,
    larger: Sequence[Observation] = (),
) -> Calibration:
    """Fit thresholds, probabilities and the margin.

    Args:
        galleries: of one size or several, each with some strangers.
        fitted_on: the classes and queries, in words.
        default_false_accept_rate: the rate to use where nobody names one.
        least_rate: the least rate to give a threshold for; few strangers say nothing of smaller ones.
        larger: galleries that tell what is too close to call, and nothing else.
    """
    rates = np.geomspace(max(_LEAST_RATE, least_rate), 1.0, _RATES)
    sizes = tuple(sorted({gallery.way for gallery in galleries}))
    blank = Calibration(
        default_false_accept_rate=default_false_accept_rate,
        ambiguity_margin=0.0,
        ambiguity_error_rate=AMBIGUITY_ERROR_RATE,
        fitted_on=fitted_on,
        gallery_sizes=sizes,
        typical_spacings=tuple(typical_spacing(galleries, size) for size in sizes),
        false_accept_rates=tuple(rates.tolist()),
        factors=((0.0,) * len(rates),) * len(sizes),
        distance_weight=0.0,
        unknown_intercept=0.0,
        unknown_spacing=0.0,
        nearest_share=NEAREST_SHARE,
        distance_power=DISTANCE_POWER,
        ambiguity_spacing=0.0,
    )
    spacings = np.array([blank.spacing(gallery.way, gallery.gaps) for gallery in galleries])
    weight, intercept, slope = fit_softmax(galleries, spacings)
    fitted = dataclasses.replace(
        blank,
        factors=tuple(fit_factors(galleries, spacings, size, rates) for size in sizes),
        distance_weight=weight,
        unknown_intercept=intercept,
        unknown_spacing=slope,
    )
    margin, spacing = fit_margin([*galleries, *larger], fitted)
    return dataclasses.replace(fitted, ambiguity_margin=margin, ambiguity_spacing=spacing)
