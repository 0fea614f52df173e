"""Fits what a distance means, on classes the network never saw, and checks the fit on classes it was not fitted on.

The shipped calibration uses all held-out classes. What the report says of it is cross-fitted: groups (or classes) are
dealt into folds, and each fold is judged by a calibration fitted on the others.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exemplar_encoder import Calibration
from exemplar_encoder.bundle import Floats
from exemplar_trainer.dataset import ImageSet
from exemplar_trainer.episodes import pairwise_distances
from exemplar_trainer.evaluation.openset import reliability

DEFAULT_FALSE_ACCEPT_RATE = 0.05
AMBIGUITY_ERROR_RATE = 0.02

_MAX_IMAGES = 4000
_MAX_CLASSES = 2000
_MAX_STRANGERS = 2000
_DRAWS = 10
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_RATES = np.geomspace(0.001, 1.0, 31)
_FOLDS = 6
_CHECKED_WAY = 20
_CHECKED_EPISODES = 300

Floats64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationCheck:
    """How cross-fitted calibrations did on classes they had not seen, in open-set episodes.

    Half of each episode's classes are enrolled (at most `way` of them), and as many queries are of no enrolled class.

    Attributes:
        way: classes enrolled in an episode, at most.
        false_accept_rates: the rates asked for.
        realised_rates: the share of unknown queries that were given a name, at each.
        known_accepted: the share of known queries that were accepted, at each.
        expected_calibration_error: of the top match's probability, in ten bins of equal width.
        bins: for each occupied bin: mean probability, share right, share of all queries.
    """

    way: int
    false_accept_rates: tuple[float, ...]
    realised_rates: tuple[float, ...]
    known_accepted: tuple[float, ...]
    expected_calibration_error: float
    bins: tuple[tuple[float, float, float], ...]


def fit_calibration(embeddings: Floats, images: ImageSet, seed: int = 0) -> Calibration:
    """Fit on all classes of a set.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        images: the set they came from: at least two classes of at least two images (four, to cross-fit).
        seed: which images are left out of a very large set.
    """
    genuine, impostor = pair_distances(embeddings, images, seed)
    intercept, slope = _fit_log_ratio(genuine, impostor)
    sizes, thresholds = _measure_thresholds(embeddings, images, seed)
    without_margin = Calibration(
        default_false_accept_rate=DEFAULT_FALSE_ACCEPT_RATE,
        ambiguity_margin=0.0,
        ambiguity_error_rate=AMBIGUITY_ERROR_RATE,
        class_count=len(images.class_names),
        gallery_sizes=sizes,
        false_accept_rates=tuple(_RATES.tolist()),
        thresholds=thresholds,
        log_ratio_intercept=intercept,
        log_ratio_slope=slope,
    )
    return dataclasses.replace(without_margin, ambiguity_margin=_margin(without_margin, embeddings, images, seed))


def check_calibration(embeddings: Floats, images: ImageSet, seed: int = 0) -> CalibrationCheck:
    """Cross-fit and judge; arguments as for `fit_calibration`."""
    rng = np.random.default_rng([seed, 2])
    asked = (0.01, 0.05, 0.1)
    accepted_unknown: list[list[bool]] = [[] for _ in asked]
    accepted_known: list[list[bool]] = [[] for _ in asked]
    probabilities: list[float] = []
    rights: list[bool] = []
    folds = _folds(images)
    largest = min(_CHECKED_WAY, max(len(fold) for fold in folds) // 2)
    for index, fold in enumerate(folds):
        others = [label for other in folds[:index] + folds[index + 1 :] for label in other]
        inside = np.flatnonzero(np.isin(images.labels, others))
        way = min(largest, len(fold) // 2)
        calibration = fit_calibration(embeddings[inside], images.only(others), seed)
        for _ in range(max(1, _CHECKED_EPISODES // len(folds))):
            classes = rng.permutation(fold)[: 2 * way]
            pairs = np.array([rng.choice(images.members[label], 2, replace=False) for label in classes])
            distances = pairwise_distances(embeddings[pairs[:, 1]], embeddings[pairs[:way, 0]])
            nearest = distances.argmin(axis=1)
            best = distances.min(axis=1)
            known = np.arange(len(classes)) < way
            for position, rate in enumerate(asked):
                accepted = best <= calibration.threshold(rate, way)
                accepted_unknown[position].extend(accepted[~known])
                accepted_known[position].extend(accepted[known])
            for row in range(len(classes)):
                ordered = np.sort(distances[row])
                probabilities.append(float(calibration.probabilities(ordered, way)[0]))
                rights.append(bool(known[row] and nearest[row] == row))
    error, bins = reliability(np.array(probabilities), np.array(rights))
    return CalibrationCheck(
        way=largest,
        false_accept_rates=asked,
        realised_rates=tuple(float(np.mean(values)) for values in accepted_unknown),
        known_accepted=tuple(float(np.mean(values)) for values in accepted_known),
        expected_calibration_error=error,
        bins=bins,
    )


def pair_distances(embeddings: Floats, images: ImageSet, seed: int = 0) -> tuple[Floats, Floats]:
    """Distances of pairs of one class, and of pairs of two classes of one group: the ones hard to tell apart.

    Where no group has two classes, all pairs of two classes count. Of a very large set, a sample is compared.
    """
    chosen = _whole_classes(images, seed)
    first, second = np.triu_indices(len(chosen), 1)
    distances = pairwise_distances(embeddings[chosen], embeddings[chosen])[first, second]
    labels = images.labels[chosen]
    group = np.unique(images.groups, return_inverse=True)[1][labels]
    same = labels[first] == labels[second]
    near = ~same & (group[first] == group[second])
    return distances[same], distances[near if near.any() else ~same]


def _measure_thresholds(
    embeddings: Floats, images: ImageSet, seed: int
) -> tuple[tuple[int, ...], tuple[tuple[float, ...], ...]]:
    """Gallery sizes, and for each the quantiles of a stranger's distance to its nearest class.

    A gallery of N classes that a stranger meets holds classes of the stranger's own group first: services are asked
    about things of the kind that they know.
    """
    rng = np.random.default_rng([seed, 6])
    classes = _at_most(len(images.class_names), _MAX_CLASSES, seed)
    sizes = (*(size for size in _SIZES if size < len(classes) - 1), len(classes) - 1)
    group = np.unique(images.groups, return_inverse=True)[1]
    nearest: list[Floats] = []
    for _ in range(_DRAWS):
        exemplars = np.array([rng.choice(images.members[label]) for label in classes])
        strangers = rng.permutation(np.flatnonzero(np.isin(images.labels, classes)))[:_MAX_STRANGERS]
        labels = images.labels[strangers]
        distances = pairwise_distances(embeddings[strangers], embeddings[exemplars])
        # Own group first, then the others, each in random order; the stranger's own class last, and so never.
        order = rng.random(distances.shape) + (group[labels][:, None] != group[classes][None, :])
        order[labels[:, None] == classes[None, :]] = np.inf
        ordered = np.take_along_axis(distances, order.argsort(axis=1), axis=1)
        nearest.append(np.minimum.accumulate(ordered, axis=1)[:, np.array(sizes) - 1])
    table = np.quantile(np.concatenate(nearest), _RATES, axis=0).T
    return sizes, tuple(tuple(float(value) for value in row) for row in table)


def _fit_log_ratio(genuine: Floats, impostor: Floats) -> tuple[float, float]:
    """Logistic regression of same class against different class on distance, both sides weighing the same."""
    d = np.concatenate([genuine, impostor]).astype(np.float64)
    y = np.concatenate([np.ones(len(genuine)), np.zeros(len(impostor))])
    weight = np.concatenate([np.full(len(genuine), 0.5 / len(genuine)), np.full(len(impostor), 0.5 / len(impostor))])
    x = np.stack([np.ones_like(d), -d], axis=1)
    theta = np.zeros(2)
    ridge = 1e-6 * np.eye(2)  # keeps the fit finite where the two sides do not overlap
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ theta, -500, 500)))
        gradient = x.T @ (weight * (y - p)) - ridge @ theta
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + ridge
        step = np.linalg.solve(curvature, gradient)
        theta += step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return float(theta[0]), float(theta[1])


def _margin(calibration: Calibration, embeddings: Floats, images: ImageSet, seed: int) -> float:
    """The least difference of the top two distances that keeps wrong names among accepted queries rare enough."""
    rng = np.random.default_rng([seed, 3])
    chosen = _whole_classes(images, seed)
    classes = np.unique(images.labels[chosen])
    threshold = calibration.threshold(calibration.default_false_accept_rate, len(classes))
    margins: list[Floats] = []
    wrongs: list[npt.NDArray[np.bool_]] = []
    for _ in range(_DRAWS):  # which image stands for a class decides much; one draw would be fitted too closely
        exemplars = np.array([rng.choice(images.members[label]) for label in classes])
        queries = chosen[~np.isin(chosen, exemplars)]
        distances = pairwise_distances(embeddings[queries], embeddings[exemplars])
        two = np.sort(np.partition(distances, 1, axis=1)[:, :2], axis=1)
        accepted = two[:, 0] <= threshold
        margins.append((two[:, 1] - two[:, 0])[accepted])
        wrongs.append((classes[distances.argmin(axis=1)] != images.labels[queries])[accepted])
    margin, wrong = np.concatenate(margins), np.concatenate(wrongs)
    order = np.argsort(-margin)
    margin, share = margin[order], np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= calibration.ambiguity_error_rate)
    if len(good) == 0:
        return float(margin.max(initial=0.0))
    return float(margin[good[-1]]) if good[-1] < len(order) - 1 else 0.0


def _folds(images: ImageSet) -> list[list[int]]:
    """Classes in folds of two or more: a group stays together where there are enough groups."""
    groups = [group.tolist() for group in images.classes_by_group.values()]
    if len(groups) >= 3:
        count = min(_FOLDS, len(groups))
        folds = [[label for group in groups[start::count] for label in group] for start in range(count)]
        if min(len(fold) for fold in folds) >= 2:
            return folds
    classes = list(range(len(images.class_names)))
    count = max(2, min(_FOLDS, len(classes) // 4))
    return [classes[start::count] for start in range(count)]


def _whole_classes(images: ImageSet, seed: int) -> npt.NDArray[np.int64]:
    """Positions of at most `_MAX_IMAGES` images: every class of a set that large gives a few, or some classes do."""
    if len(images.labels) <= _MAX_IMAGES:
        return np.arange(len(images.labels))
    classes = _at_most(len(images.class_names), _MAX_CLASSES, seed)
    each = max(2, _MAX_IMAGES // len(classes))
    rng = np.random.default_rng([seed, 7])
    return np.sort(np.concatenate([rng.permutation(images.members[label])[:each] for label in classes]))


def _at_most(count: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 4]).choice(count, most, replace=False))
