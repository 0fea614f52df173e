"""How far a calibration holds in episodes of classes that it was not fitted on.

Cross-fitted: groups (or classes) are dealt into folds, and each fold is judged by a calibration fitted on the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_trainer.calibration.from_held_out import fit_calibration
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.open_set import OpenSet, judge_tasks
from exemplar_trainer.evaluation.tasks import NO_CLASS, Task

_FOLDS = 6
_WAY = 20
_EPISODES = 300


@dataclass(frozen=True)
class CalibrationCheck:
    """How cross-fitted calibrations did in open-set episodes of classes that they were not fitted on.

    Half of each episode's classes are enrolled (at most `way` of them), and as many queries are of no enrolled class.
    """

    way: int
    open_set: OpenSet


def check_calibration(
    embeddings: Floats, images: ImageSet, seed: int = 0, background: Floats | None = None
) -> CalibrationCheck:
    """Cross-fit and judge; arguments as for `fit_calibration`, with four classes or more."""
    rng = np.random.default_rng([seed, 2])
    folds = _folds(images)
    largest = min(_WAY, max(len(fold) for fold in folds) // 2)
    tasks: list[Task] = []
    calibrations: list[Calibration] = []
    for fold in folds:
        others = sorted(label for other in folds if other is not fold for label in other)
        inside = np.flatnonzero(np.isin(images.labels, others))
        calibration = fit_calibration(embeddings[inside], images.only(others), seed, background)
        way = min(largest, len(fold) // 2)
        for _ in range(max(1, _EPISODES // len(folds))):
            classes = rng.permutation(fold)[: 2 * way]
            pairs = np.array([rng.choice(images.members[label], 2, replace=False) for label in classes])
            truth = np.where(np.arange(len(classes)) < way, np.arange(len(classes)), NO_CLASS)
            tasks.append(Task(pairs[:way, :1], pairs[:, 1], truth))
            calibrations.append(calibration)
    return CalibrationCheck(largest, judge_tasks(embeddings, tasks, calibrations))


def _folds(images: ImageSet) -> list[list[int]]:
    """Deal classes into folds of two or more; a group stays together where there are enough groups."""
    groups = [group.tolist() for group in images.classes_by_group.values()]
    if len(groups) >= 3:
        count = min(_FOLDS, len(groups))
        folds = [[label for group in groups[start::count] for label in group] for start in range(count)]
        if min(len(fold) for fold in folds) >= 2:
            return folds
    classes = list(range(len(images.class_names)))
    count = max(2, min(_FOLDS, len(classes) // 4))
    return [classes[start::count] for start in range(count)]
