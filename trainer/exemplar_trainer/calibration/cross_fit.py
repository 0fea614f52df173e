"""How far a calibration holds on classes it was not fitted on.

Cross-fitted: groups (or classes) are dealt into folds, and each fold is judged by a calibration fitted on the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Bools, Floats
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.calibration.from_held_out import fit_calibration
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.episodes import pairwise_distances
from exemplar_trainer.evaluation.open_set import reliability
from exemplar_trainer.evaluation.roc import Separation, separate

_FOLDS = 6
_CHECKED_WAY = 20
_CHECKED_EPISODES = 300


@dataclass(frozen=True)
class CalibrationCheck:
    """How cross-fitted calibrations did on classes they had not seen, in open-set episodes.

    Half of each episode's classes are enrolled (at most `way` of them), and as many queries are of no enrolled class.

    Attributes:
        way: classes enrolled in an episode, at most.
        false_accept_rates: the rates asked for.
        realized_rates: the share of unknown queries that were given a name, at each.
        known_accepted: the share of known queries that were accepted, at each.
        expected_calibration_error: of the top match's probability, in ten bins of equal width.
        bins: for each occupied bin: mean probability, share right, share of all queries.
        separation: of known and unknown queries by their distances.
    """

    way: int
    false_accept_rates: tuple[float, ...]
    realized_rates: tuple[float, ...]
    known_accepted: tuple[float, ...]
    expected_calibration_error: float
    bins: tuple[tuple[float, float, float], ...]
    separation: Separation


def check_calibration(
    embeddings: Floats, images: ImageSet, seed: int = 0, background: Floats | None = None
) -> CalibrationCheck:
    """Cross-fit and judge; arguments as for `fit_calibration`."""
    rng = np.random.default_rng([seed, 2])
    asked = (0.01, 0.05, 0.1)
    accepted_unknown: list[list[bool]] = [[] for _ in asked]
    accepted_known: list[list[bool]] = [[] for _ in asked]
    probabilities: list[float] = []
    rights: list[bool] = []
    distances_met: list[Floats] = []
    knowns: list[Bools] = []
    folds = _folds(images)
    largest = min(_CHECKED_WAY, max(len(fold) for fold in folds) // 2)
    for index, fold in enumerate(folds):
        others = [label for other in folds[:index] + folds[index + 1 :] for label in other]
        inside = np.flatnonzero(np.isin(images.labels, others))
        way = min(largest, len(fold) // 2)
        calibration = fit_calibration(embeddings[inside], images.only(others), seed, background)
        for _ in range(max(1, _CHECKED_EPISODES // len(folds))):
            classes = rng.permutation(fold)[: 2 * way]
            pairs = np.array([rng.choice(images.members[label], 2, replace=False) for label in classes])
            exemplars = embeddings[pairs[:way, 0]]
            distances = pairwise_distances(embeddings[pairs[:, 1]], exemplars)
            spacing = calibration.spacing(way, gaps_of(exemplars))
            nearest = distances.argmin(axis=1)
            best = distances.min(axis=1)
            known = np.arange(len(classes)) < way
            distances_met.append(best)
            knowns.append(known)
            for position, rate in enumerate(asked):
                accepted = best <= calibration.threshold(rate, way, spacing)
                accepted_unknown[position].extend(accepted[~known])
                accepted_known[position].extend(accepted[known])
            for row in range(len(classes)):
                ordered = np.sort(distances[row])
                probabilities.append(float(calibration.probabilities(ordered, spacing)[0]))
                rights.append(bool(known[row] and nearest[row] == row))
    right = np.array(rights)
    error, bins = reliability(np.array(probabilities), right)
    return CalibrationCheck(
        way=largest,
        false_accept_rates=asked,
        realized_rates=tuple(float(np.mean(values)) for values in accepted_unknown),
        known_accepted=tuple(float(np.mean(values)) for values in accepted_known),
        expected_calibration_error=error,
        bins=bins,
        separation=separate(np.concatenate(distances_met).astype(np.float64), np.concatenate(knowns), right),
    )


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
