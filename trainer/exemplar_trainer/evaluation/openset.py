"""Does a bundle know when it does not know? Queries of enrolled and of other classes, told apart by distance.

How well distances separate them (`separation`), and what became of the rates and probabilities that the bundle itself
promises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.bundle import Floats
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.episodes import class_embeddings
from exemplar_trainer.evaluation.judge import answer
from exemplar_trainer.evaluation.questions import NOBODY, Questions, Task
from exemplar_trainer.evaluation.separation import Bools, Floats64, Points, separate

ASKED = (0.01, 0.05, 0.1)

_BINS = 10


@dataclass(frozen=True)
class OpenSet:
    """What was found.

    Attributes:
        auroc: probability that a known query is nearer its nearest class than an unknown one is.
        false_positives: share of unknown queries accepted where 95 % of known ones are.
        oscr: area under `oscr_curve`.
        asked: false-accept rates asked for.
        realised: the share of unknown queries accepted at each.
        accepted: the share of known queries accepted at each.
        calibration_error: expected calibration error of the top match's probability, in ten bins of equal width.
        bins: for each occupied bin: mean probability, share right, share of all queries.
        roc: points (share of unknown queries accepted, share of known ones accepted) of a curve, at most 201.
        oscr_curve: the same where a known query counts when it is also named rightly.
        known: how many queries were of enrolled classes.
        unknown: how many were not.
    """

    auroc: float
    false_positives: float
    oscr: float
    asked: tuple[float, ...]
    realised: tuple[float, ...]
    accepted: tuple[float, ...]
    calibration_error: float
    bins: tuple[tuple[float, float, float], ...]
    roc: Points
    oscr_curve: Points
    known: int
    unknown: int


def judge_open_set(embeddings: Floats, questions: Questions, calibration: Calibration) -> OpenSet:
    """Answer every task and look at how far the answers were.

    Args:
        embeddings: float32 `[images, dimension]` of unit length, of the questions' images.
        questions: tasks with known and unknown queries.
        calibration: the bundle's own.
    """
    return judge_tasks(embeddings, questions.tasks, [calibration] * len(questions.tasks))


def judge_tasks(embeddings: Floats, tasks: Sequence[Task], calibrations: Sequence[Calibration]) -> OpenSet:
    """The same of tasks that each have a calibration of their own, such as those of a cross-fit."""
    nearest: list[Floats64] = []
    knowns: list[Bools] = []
    rights: list[Bools] = []
    stated: list[float] = []
    accepted: list[list[Bools]] = [[] for _ in ASKED]
    for task, calibration in zip(tasks, calibrations, strict=True):
        answers = answer(embeddings, task)
        way = len(task.exemplars)
        spacing = calibration.spacing(way, gaps_of(class_embeddings(embeddings, task.exemplars)))
        best = answers.distances.min(axis=1).astype(np.float64)
        nearest.append(best)
        knowns.append(task.truth != NOBODY)
        rights.append(answers.chosen == task.truth)
        stated += [float(calibration.probabilities(np.sort(row), spacing)[0]) for row in answers.distances]
        for position, rate in enumerate(ASKED):
            accepted[position].append(best <= calibration.threshold(rate, way, spacing))
    distance, known, right = np.concatenate(nearest), np.concatenate(knowns), np.concatenate(rights)
    error, bins = reliability(np.array(stated), right)
    separation = separate(distance, known, right)
    return OpenSet(
        auroc=separation.auroc,
        false_positives=separation.false_positives,
        oscr=separation.oscr,
        asked=ASKED,
        realised=tuple(float(np.concatenate(each)[~known].mean()) for each in accepted),
        accepted=tuple(float(np.concatenate(each)[known].mean()) for each in accepted),
        calibration_error=error,
        bins=bins,
        roc=separation.roc,
        oscr_curve=separation.oscr_curve,
        known=int(known.sum()),
        unknown=int((~known).sum()),
    )


def reliability(p: Floats64, right: Bools) -> tuple[float, tuple[tuple[float, float, float], ...]]:
    """Expected calibration error (Naeini, Cooper & Hauskrecht, AAAI 2015), and its bins; see `OpenSet`."""
    places = np.minimum((p * _BINS).astype(int), _BINS - 1)
    bins = tuple(
        (float(p[places == place].mean()), float(right[places == place].mean()), float((places == place).mean()))
        for place in range(_BINS)
        if (places == place).any()
    )
    return sum(abs(mean - share) * weight for mean, share, weight in bins), bins
