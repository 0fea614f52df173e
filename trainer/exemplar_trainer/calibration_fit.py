"""From what queries met in galleries to a `Calibration`; which galleries and queries, others decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exemplar_encoder import Calibration
from exemplar_encoder.bundle import Floats
from exemplar_encoder.calibration import NEAREST_CONSIDERED, gaps_of, mean_gap
from exemplar_trainer.episodes import pairwise_distances

DEFAULT_FALSE_ACCEPT_RATE = 0.05
AMBIGUITY_ERROR_RATE = 0.02

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
GALLERIES = 60
QUERIES = 20

_LEAST_RATE = 0.001
_RATES = 31

# How near strangers come in a large gallery is a matter of its look-alikes, which the mean over all classes hides.
_NEAREST_SHARE = 0.1
_DISTANCE_POWER = 2

Floats64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Met:
    """A gallery, and what queries met in it.

    Attributes:
        way: how many classes it has.
        gaps: see `gaps_of`.
        strangers: distances of queries of other classes to their nearest classes, float32 `[queries, nearest]`,
            ascending.
        known: the same of queries of its classes.
        ranks: for each of `known`, which of its nearest classes is the right one; int64 `[queries]`.
    """

    way: int
    gaps: Floats | None
    strangers: Floats
    known: Floats
    ranks: Ints


def meet(classes: Floats, known: Floats, own: Ints, strangers: Floats) -> Met:
    """Show queries to a gallery.

    Args:
        classes: what the classes are searched by, float32 `[way, dimension]`.
        known: queries of some of them, float32 `[n, dimension]`.
        own: the class of each, int64 `[n]`.
        strangers: queries of none of them, float32 `[m, dimension]`.
    """
    distances = pairwise_distances(known, classes)
    nearest = distances.argsort(axis=1, kind="stable")[:, :NEAREST_CONSIDERED]
    row, rank = np.nonzero(nearest == own[:, None])  # a class that is not even among these is left out
    return Met(
        way=len(classes),
        gaps=gaps_of(classes),
        strangers=np.sort(pairwise_distances(strangers, classes), axis=1)[:, :NEAREST_CONSIDERED],
        known=np.take_along_axis(distances, nearest, axis=1)[row],
        ranks=rank,
    )


def fit_met(
    galleries: Sequence[Met],
    class_count: int,
    default_false_accept_rate: float = DEFAULT_FALSE_ACCEPT_RATE,
    least_rate: float = _LEAST_RATE,
) -> Calibration:
    """Fit all but the margin, which is 0; see `with_margin`.

    Args:
        galleries: of one size or several, each with some strangers.
        class_count: how many classes the queries are of.
        default_false_accept_rate: the rate to use where nobody names one.
        least_rate: the least rate to give a threshold for; so few strangers say nothing of smaller ones.
    """
    rates = np.geomspace(max(_LEAST_RATE, least_rate), 1.0, _RATES)
    sizes = tuple(sorted({gallery.way for gallery in galleries}))
    blank = Calibration(
        default_false_accept_rate=default_false_accept_rate,
        ambiguity_margin=0.0,
        ambiguity_error_rate=AMBIGUITY_ERROR_RATE,
        class_count=class_count,
        gallery_sizes=sizes,
        typical_spacings=tuple(_typical_spacing(galleries, size) for size in sizes),
        false_accept_rates=tuple(rates.tolist()),
        factors=((0.0,) * len(rates),) * len(sizes),
        distance_weight=0.0,
        unknown_intercept=0.0,
        unknown_spacing=0.0,
        nearest_share=_NEAREST_SHARE,
        distance_power=_DISTANCE_POWER,
    )
    apart = np.array([blank.spacing(gallery.way, gallery.gaps) for gallery in galleries])
    weight, intercept, slope = fit_softmax(galleries, apart)
    return dataclasses.replace(
        blank,
        factors=tuple(_factors(galleries, apart, size, rates) for size in sizes),
        distance_weight=weight,
        unknown_intercept=intercept,
        unknown_spacing=slope,
    )


def with_margin(calibration: Calibration, margin: Floats, wrong: Bools) -> Calibration:
    """Set the least margin that keeps wrong names among accepted queries rare enough.

    Args:
        calibration: all but the margin.
        margin: by how much the second class was farther than the first, of accepted queries; float32 `[n]`.
        wrong: whether the first was the wrong one, bool `[n]`.
    """
    order = np.argsort(-margin)
    margin, share = margin[order], np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= calibration.ambiguity_error_rate)
    if len(good) == 0:
        least = float(margin.max(initial=0.0))
    else:
        least = float(margin[good[-1]]) if good[-1] < len(order) - 1 else 0.0
    return dataclasses.replace(calibration, ambiguity_margin=least)


def accepted_margins(calibration: Calibration, classes: Floats, queries: Floats, own: Ints) -> tuple[Floats, Bools]:
    """What `with_margin` takes, of queries in one gallery of two classes or more.

    Args:
        calibration: whose default rate decides what is accepted.
        classes: what the classes are searched by, float32 `[way, dimension]`.
        queries: of some of them, float32 `[n, dimension]`.
        own: the class of each, int64 `[n]`.
    """
    distances = pairwise_distances(queries, classes)
    spacing = calibration.spacing(len(classes), gaps_of(classes))
    threshold = calibration.threshold(calibration.default_false_accept_rate, len(classes), spacing)
    two = np.sort(np.partition(distances, 1, axis=1)[:, :2], axis=1)
    accepted = two[:, 0] <= threshold
    return (two[:, 1] - two[:, 0])[accepted], (distances.argmin(axis=1) != own)[accepted]


def _typical_spacing(galleries: Sequence[Met], way: int) -> float:
    """The mean spacing at a size; of a lone class, a stranger's distance."""
    same = [gallery for gallery in galleries if gallery.way == way]
    return float(
        np.mean([g.strangers[:, 0].mean() if g.gaps is None else mean_gap(g.gaps, _NEAREST_SHARE) for g in same])
    )


def _factors(galleries: Sequence[Met], apart: Floats64, way: int, rates: Floats64) -> tuple[float, ...]:
    """Quantiles of strangers' nearest distances in units of the spacing, in all galleries of a size."""
    ratios = []
    for gallery, spacing in zip(galleries, apart, strict=True):
        if gallery.way == way:
            nearest = gallery.strangers[:, 0].astype(np.float64)
            ratios.append(nearest / spacing if spacing > 0 else np.ones_like(nearest))
    return tuple(np.quantile(np.concatenate(ratios), rates).tolist())


def fit_softmax(galleries: Sequence[Met], apart: Floats64) -> tuple[float, float, float]:
    """Multinomial logistic regression of the right class, or none, on squared distances and the spacing.

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
