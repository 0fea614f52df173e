"""How far a calibration holds in episodes of classes that it was not fitted on.

Cross-fitted: groups (or classes) are dealt into folds, and each fold is judged by a calibration fitted on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats, Ints
from exemplar_trainer.calibration.from_held_out import fit_spaces
from exemplar_trainer.calibration.observations import GALLERIES
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.open_set import OpenSet, judge_tasks
from exemplar_trainer.evaluation.spaces import Space, gather
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
    spaces: Sequence[Space], seed: int = 0, background: Floats | None = None, number: int = GALLERIES
) -> CalibrationCheck:
    """Cross-fit and judge within each space; arguments as for `fit_spaces`, with four classes or more in each."""
    rng = np.random.default_rng([seed, 2])
    dealt = [_folds(space.images) for space in spaces]
    largest = min(_WAY, max(len(fold) for folds in dealt for fold in folds) // 2)
    tasks: list[list[Task]] = []
    calibrations: list[Calibration] = []
    for space, folds in zip(spaces, dealt, strict=True):
        tasks.append([])
        for fold in folds:
            others = sorted(label for other in folds if other is not fold for label in other)
            calibration = fit_spaces([space.only(others)], "", seed, background, number)
            way = min(largest, len(fold) // 2)
            for _ in range(max(1, _EPISODES // len(folds) // len(spaces))):
                tasks[-1].append(_task(space.images, rng.permutation(fold)[: 2 * way], way, rng))
                calibrations.append(calibration)
    return CalibrationCheck(largest, judge_tasks(*gather(spaces, tasks), calibrations))


def _task(images: ImageSet, classes: Ints, way: int, rng: np.random.Generator) -> Task:
    """Enroll the first `way` of some classes, and ask about all of them."""
    pairs = np.array([rng.choice(images.members[label], 2, replace=False) for label in classes])
    truth = np.where(np.arange(len(classes)) < way, np.arange(len(classes)), NO_CLASS)
    return Task(pairs[:way, :1], pairs[:, 1], truth)


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
