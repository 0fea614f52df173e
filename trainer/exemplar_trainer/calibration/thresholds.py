"""How near is near enough: thresholds in units of a gallery's spacing, at stated false-accept rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exemplar_encoder.arrays import Floats64, Ints
from exemplar_encoder.calibration import mean_gap
from exemplar_trainer.calibration.observations import Observation

# How near strangers come in a large gallery is a matter of its look-alikes, which the mean over all classes hides.
NEAREST_SHARE = 0.1

# A threshold is corrected for groups that it was not set by where there are as many groups as this.
_LEAST_GROUPS = 3
_LEVELS = 200


def typical_spacing(galleries: Sequence[Observation], way: int) -> float:
    """Return the mean spacing of the galleries of a size; of a lone class, the mean distance of a stranger."""
    same = [gallery for gallery in galleries if gallery.way == way]
    return float(
        np.mean([g.strangers[:, 0].mean() if g.gaps is None else mean_gap(g.gaps, NEAREST_SHARE) for g in same])
    )


def fit_factors(galleries: Sequence[Observation], spacings: Floats64, way: int, rates: Floats64) -> tuple[float, ...]:
    """Return the factors of a size: quantiles of strangers' nearest distances in units of the spacing.

    Args:
        galleries: of any sizes.
        spacings: of each gallery, float64 `[galleries]`.
        way: the size.
        rates: false-accept rates, ascending, in (0, 1].
    """
    ratios, groups = [], []
    for gallery, spacing in zip(galleries, spacings, strict=True):
        if gallery.way == way:
            nearest = gallery.strangers[:, 0].astype(np.float64)
            ratios.append(nearest / spacing if spacing > 0 else np.ones_like(nearest))
            groups.append(gallery.groups)
    found = np.concatenate(ratios)
    return tuple(np.quantile(found, kept_levels(found, np.concatenate(groups), rates)).tolist())


def kept_levels(ratios: Floats64, groups: Ints, rates: Floats64) -> Floats64:
    """Return at which quantiles to set thresholds, so that strangers of a group that did not set them keep the rates.

    A quantile over a few groups lets in more of the next one: groups differ, and what comes of a threshold rises
    faster than the threshold. So each group is judged by a quantile over the others.

    Args:
        ratios: of strangers, float64 `[n]`.
        groups: the group of each, int64 `[n]`.
        rates: ascending, in (0, 1].

    Returns:
        A level in (0, 1] for each rate, none above it; the rates themselves where there are less than three groups.
    """
    names, counts = np.unique(groups, return_counts=True)
    if len(names) < _LEAST_GROUPS:
        return rates
    levels = np.geomspace(rates[0] / 10, 1.0, _LEVELS)
    let_in = np.zeros(_LEVELS)
    for name in names:
        own = groups == name
        thresholds = np.quantile(ratios[~own], levels)
        let_in += np.searchsorted(np.sort(ratios[own]), thresholds, side="right")
    realized = np.maximum(np.maximum.accumulate(let_in / counts.sum()), levels[0])
    return np.minimum(rates, np.exp(np.interp(np.log(rates), np.log(realized), np.log(levels))))
