"""Fits what a distance means, on classes the network never saw, and checks the fit on classes it was not fitted on.

The shipped calibration uses all held-out classes. What the report says of it is cross-fitted: groups (or classes) are
dealt into folds, and each fold is judged by a calibration fitted on the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from exemplar_encoder import Calibration
from exemplar_encoder.bundle import Floats

from exemplar_trainer.dataset import ImageSet
from exemplar_trainer.episodes import pairwise_distances

DEFAULT_FALSE_ACCEPT_RATE = 0.05
AMBIGUITY_ERROR_RATE = 0.02

_MAX_IMAGES = 4000
_FOLDS = 6
_RATES = 80
_LEAST_PAIRS = 10
_CHECKED_WAY = 20
_CHECKED_EPISODES = 300

Floats64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationCheck:
    """How cross-fitted calibrations did on classes they had not seen, in open-set episodes.

    Half of each episode's classes are enrolled (`way` of them), and as many queries are of no enrolled class.

    Attributes:
        way: classes enrolled in an episode.
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
        images: the set they came from: at least two classes of at least two images.
        seed: which images are left out of a very large set.
    """
    chosen = _at_most(len(embeddings), _MAX_IMAGES, seed)
    genuine, impostor = pair_distances(embeddings[chosen], images.labels[chosen])
    intercept, slope = _fit_log_ratio(genuine, impostor)
    least = min(0.1, _LEAST_PAIRS / len(impostor))
    rates = np.geomspace(least, 1.0, _RATES)
    without_margin = Calibration(
        default_false_accept_rate=DEFAULT_FALSE_ACCEPT_RATE,
        ambiguity_margin=0.0,
        ambiguity_error_rate=AMBIGUITY_ERROR_RATE,
        class_count=len(images.class_names),
        impostor_rates=tuple(float(rate) for rate in rates),
        impostor_distances=tuple(float(d) for d in np.quantile(impostor, rates)),
        log_ratio_intercept=intercept,
        log_ratio_slope=slope,
    )
    fields = {**without_margin.__dict__, "ambiguity_margin": _margin(without_margin, embeddings, images, seed)}
    return Calibration(**fields)


def check_calibration(embeddings: Floats, images: ImageSet, seed: int = 0) -> CalibrationCheck:
    """Cross-fit and judge; arguments as for `fit_calibration`."""
    rng = np.random.default_rng([seed, 2])
    asked = (0.01, 0.05, 0.1)
    accepted_unknown: list[list[bool]] = [[] for _ in asked]
    accepted_known: list[list[bool]] = [[] for _ in asked]
    probabilities: list[float] = []
    rights: list[bool] = []
    folds = _folds(images)
    way = min(_CHECKED_WAY, min(len(fold) for fold in folds) // 2)
    for index, fold in enumerate(folds):
        others = [label for other in folds[:index] + folds[index + 1 :] for label in other]
        inside = np.flatnonzero(np.isin(images.labels, others))
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
    error, bins = _reliability(np.array(probabilities), np.array(rights))
    return CalibrationCheck(
        way=way,
        false_accept_rates=asked,
        realised_rates=tuple(float(np.mean(values)) for values in accepted_unknown),
        known_accepted=tuple(float(np.mean(values)) for values in accepted_known),
        expected_calibration_error=error,
        bins=bins,
    )


def pair_distances(embeddings: Floats, labels: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Distances of all pairs of one class, and of all pairs of two."""
    above = np.triu_indices(len(embeddings), 1)
    distances = pairwise_distances(embeddings, embeddings)[above]
    same = labels[above[0]] == labels[above[1]]
    return distances[same], distances[~same]


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
    exemplars = np.array([rng.choice(members) for members in images.members])
    queries = _at_most(len(embeddings), _MAX_IMAGES, seed)
    queries = queries[~np.isin(queries, exemplars)]
    distances = pairwise_distances(embeddings[queries], embeddings[exemplars])
    two = np.sort(np.partition(distances, 1, axis=1)[:, :2], axis=1)
    wrong = distances.argmin(axis=1) != images.labels[queries]
    accepted = two[:, 0] <= calibration.threshold(calibration.default_false_accept_rate, len(exemplars))
    margins, wrong = (two[:, 1] - two[:, 0])[accepted], wrong[accepted]
    if not len(margins):
        return 0.0
    order = np.argsort(-margins)
    share = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= calibration.ambiguity_error_rate)
    return float(margins[order][good[-1]]) if len(good) else float(margins.max())


def _folds(images: ImageSet) -> list[list[int]]:
    """Classes in folds: a group stays together where there are enough groups."""
    groups = [group.tolist() for group in images.classes_by_group.values()]
    if len(groups) >= 3:
        count = min(_FOLDS, len(groups))
        return [[label for group in groups[start::count] for label in group] for start in range(count)]
    classes = list(range(len(images.class_names)))
    count = max(2, min(_FOLDS, len(classes) // 4))
    return [classes[start::count] for start in range(count)]


def _reliability(p: Floats64, right: npt.NDArray[np.bool_]) -> tuple[float, tuple[tuple[float, float, float], ...]]:
    places = np.minimum((p * 10).astype(int), 9)
    bins = tuple(
        (float(p[places == place].mean()), float(right[places == place].mean()), float((places == place).mean()))
        for place in range(10)
        if (places == place).any()
    )
    return sum(abs(mean - share) * weight for mean, share, weight in bins), bins


def _at_most(count: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 4]).choice(count, most, replace=False))
