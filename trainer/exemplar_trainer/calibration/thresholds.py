"""From what queries met in galleries to a `Calibration`; which galleries and queries, others decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Bools, Floats, Floats64, Ints
from exemplar_encoder.calibration import NEAREST_CONSIDERED, gaps_of, mean_gap
from exemplar_trainer.evaluation.episodes import pairwise_distances

DEFAULT_FALSE_ACCEPT_RATE = 0.05
AMBIGUITY_ERROR_RATE = 0.02

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
GALLERIES = 150
QUERIES = 20  # of a small gallery; of a large one as many as it has classes, up to this:
MOST_QUERIES = 100

_LEAST_RATE = 0.001
_RATES = 31

# How near strangers come in a large gallery is a matter of its look-alikes, which the mean over all classes hides.
_NEAREST_SHARE = 0.1
_DISTANCE_POWER = 2

# A threshold is corrected for groups that it was not set by where there are as many groups as this.
_LEAST_GROUPS = 3
_LEVELS = 200

# Lots of galleries, by their spacing, that a margin is found for.
_LOTS = 8


@dataclass(frozen=True)
class Met:
    """A gallery, and what queries met in it.

    Attributes:
        way: how many classes it has.
        gaps: see `gaps_of`.
        strangers: distances of queries of other classes to their nearest classes, float32 `[queries, nearest]`,
            ascending.
        groups: the group of each of `strangers`, int64 `[queries]`; all 0 where none is known.
        known: the same of queries of its classes.
        ranks: for each of `known`, which of its nearest classes is the right one, `NEAREST_CONSIDERED` where none
            is; int64 `[queries]`.
    """

    way: int
    gaps: Floats | None
    strangers: Floats
    groups: Ints
    known: Floats
    ranks: Ints


def meet(classes: Floats, known: Floats, own: Ints, strangers: Floats, groups: Ints | None = None) -> Met:
    """Show queries to a gallery.

    Args:
        classes: what the classes are searched by, float32 `[way, dimension]`.
        known: queries of some of them, float32 `[n, dimension]`.
        own: the class of each, int64 `[n]`.
        strangers: queries of none of them, float32 `[m, dimension]`.
        groups: the group of each of `strangers`, int64 `[m]`, where it is known.
    """
    distances = pairwise_distances(known, classes)
    nearest = distances.argsort(axis=1, kind="stable")[:, :NEAREST_CONSIDERED]
    right = nearest == own[:, None]
    return Met(
        way=len(classes),
        gaps=gaps_of(classes),
        strangers=np.sort(pairwise_distances(strangers, classes), axis=1)[:, :NEAREST_CONSIDERED],
        groups=np.zeros(len(strangers), dtype=np.int64) if groups is None else groups,
        known=np.take_along_axis(distances, nearest, axis=1),
        ranks=np.where(right.any(axis=1), right.argmax(axis=1), NEAREST_CONSIDERED),
    )


def fit_met(
    galleries: Sequence[Met],
    fitted_on: str,
    default_false_accept_rate: float = DEFAULT_FALSE_ACCEPT_RATE,
    least_rate: float = _LEAST_RATE,
    larger: Sequence[Met] = (),
) -> Calibration:
    """Fit all of it.

    Args:
        galleries: of one size or several, each with some strangers.
        fitted_on: the classes and queries, in words.
        default_false_accept_rate: the rate to use where nobody names one.
        least_rate: the least rate to give a threshold for; so few strangers say nothing of smaller ones.
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
        typical_spacings=tuple(_typical_spacing(galleries, size) for size in sizes),
        false_accept_rates=tuple(rates.tolist()),
        factors=((0.0,) * len(rates),) * len(sizes),
        distance_weight=0.0,
        unknown_intercept=0.0,
        unknown_spacing=0.0,
        nearest_share=_NEAREST_SHARE,
        distance_power=_DISTANCE_POWER,
        ambiguity_spacing=0.0,
    )
    apart = np.array([blank.spacing(gallery.way, gallery.gaps) for gallery in galleries])
    weight, intercept, slope = fit_softmax(galleries, apart)
    fitted = dataclasses.replace(
        blank,
        factors=tuple(_factors(galleries, apart, size, rates) for size in sizes),
        distance_weight=weight,
        unknown_intercept=intercept,
        unknown_spacing=slope,
    )
    margin, shrinking = _margin([*galleries, *larger], fitted)
    return dataclasses.replace(fitted, ambiguity_margin=margin, ambiguity_spacing=shrinking)


def margins(distances: Floats, calibration: Calibration, way: int, spacing: float) -> tuple[Floats, Bools]:
    """By how much the second class is farther than the first, and whether the first is near enough; `[queries]` each.

    Args:
        distances: of queries to their nearest classes, two or more, ascending; float32 `[queries, nearest]`.
        calibration: whose default rate decides what is near enough.
        way: how many classes there are.
        spacing: of the gallery.
    """
    threshold = calibration.threshold(calibration.default_false_accept_rate, way, spacing)
    return distances[:, 1] - distances[:, 0], distances[:, 0] <= threshold


def _margin(galleries: Sequence[Met], calibration: Calibration) -> tuple[float, float]:
    """The margin that keeps wrong names among accepted queries rare enough, and the spacing from which on none does.

    Galleries are taken together by their spacing, and a line over the inverse of it is drawn through what each lot
    needs, then raised to the one that needs most. Lots in which errors are rare without a margin say only that.
    """
    found: list[tuple[Floats64, Floats, Bools]] = []
    for gallery in galleries:
        if gallery.way >= 2:
            spacing = calibration.spacing(gallery.way, gallery.gaps)
            margin, accepted = margins(gallery.known, calibration, gallery.way, spacing)
            wrong = gallery.ranks != 0
            found.append((np.full(int(accepted.sum()), max(spacing, 1e-6)), margin[accepted], wrong[accepted]))
    if not found:
        return 0.0, 0.0
    spacings, margin, wrong = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.argsort(spacings, kind="stable")
    lots = [lot for lot in np.array_split(order, _LOTS) if len(lot)]
    needed = [(float(spacings[lot].mean()), _least_margin(margin[lot], wrong[lot])) for lot in lots]
    x, y = np.array([(1 / spacing, least) for spacing, least in needed if least > 0]).reshape(-1, 2).T
    slope, start = np.polyfit(x, y, 1) if len(x) >= 2 else (0.0, 0.0)
    start += (y - start - slope * x).max(initial=0.0)
    if slope > 0 > start:
        return float(-start), float(-slope / start)
    return float(y.max(initial=0.0)), 0.0


def _least_margin(margin: Floats, wrong: Bools) -> float:
    """The least margin beyond which at most `AMBIGUITY_ERROR_RATE` of names are wrong."""
    order = np.argsort(-margin)
    margin, share = margin[order], np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= AMBIGUITY_ERROR_RATE)
    if len(good) == 0:
        return float(margin.max(initial=0.0))
    return float(margin[good[-1]]) if good[-1] < len(order) - 1 else 0.0


def _typical_spacing(galleries: Sequence[Met], way: int) -> float:
    """The mean spacing at a size; of a lone class, a stranger's distance."""
    same = [gallery for gallery in galleries if gallery.way == way]
    return float(
        np.mean([g.strangers[:, 0].mean() if g.gaps is None else mean_gap(g.gaps, _NEAREST_SHARE) for g in same])
    )


def _factors(galleries: Sequence[Met], apart: Floats64, way: int, rates: Floats64) -> tuple[float, ...]:
    """Quantiles of strangers' nearest distances in units of the spacing, in all galleries of a size."""
    ratios, groups = [], []
    for gallery, spacing in zip(galleries, apart, strict=True):
        if gallery.way == way:
            nearest = gallery.strangers[:, 0].astype(np.float64)
            ratios.append(nearest / spacing if spacing > 0 else np.ones_like(nearest))
            groups.append(gallery.groups)
    found = np.concatenate(ratios)
    return tuple(np.quantile(found, kept_levels(found, np.concatenate(groups), rates)).tolist())


def kept_levels(ratios: Floats64, groups: Ints, rates: Floats64) -> Floats64:
    """At which quantiles to set thresholds, so that strangers of a group that did not set them keep the rates.

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


def fit_softmax(galleries: Sequence[Met], apart: Floats64) -> tuple[float, float, float]:
    """Multinomial logistic regression of the right class, or none near, on squared distances and the spacing.

    Each gallery counts its known and its unknown queries alike. Newton's method on a convex loss.

    Returns:
        The weight of distance, and intercept and slope of "none of them", as `Calibration` has them.
    """
    features, truths, weights = [], [], []
    for gallery, spacing in zip(galleries, apart, strict=True):
        for distances, ranks in ((gallery.known, gallery.ranks), (gallery.strangers, None)):
            if not len(distances):
                continue
            x = np.zeros((len(distances), NEAREST_CONSIDERED + 1, 3))
            x[:, :-1, 0] = -np.inf
            x[:, : distances.shape[1], 0] = -(distances.astype(np.float64) ** _DISTANCE_POWER)
            x[:, -1, 1:] = -1.0, -spacing
            features.append(x)
            truths.append(np.full(len(distances), NEAREST_CONSIDERED) if ranks is None else ranks)
            weights.append(np.full(len(distances), 0.5 / len(distances) / len(galleries)))
    x, truth, weight = np.concatenate(features), np.concatenate(truths), np.concatenate(weights)
    there = np.isfinite(x[:, :, 0])
    x[~there] = 0.0
    right = x[np.arange(len(x)), truth]
    theta = np.array([1.0, 0.0, 0.0])
    ridge = 1e-6 * np.eye(3)  # keeps the fit finite where everything can be told apart
    for _ in range(100):
        z = np.where(there, x @ theta, -np.inf)
        p = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        mean = np.einsum("qk,qkf->qf", p, x)
        gradient = weight @ (right - mean) - ridge @ theta
        second = np.einsum("q,qk,qkf,qkg->fg", weight, p, x, x, optimize=True)
        curvature = second - np.einsum("q,qf,qg->fg", weight, mean, mean) + ridge
        step = np.linalg.solve(curvature, gradient)
        theta += step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return max(0.0, float(theta[0])), float(theta[1]), float(theta[2])
