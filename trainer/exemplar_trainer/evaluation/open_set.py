"""Does a bundle know when it does not know? Queries of enrolled and of other classes, told apart by distance.

How well distances separate them (`separation`), and what became of the rates and probabilities that the bundle itself
promises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Bools, Floats, Floats64, Ints
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.evaluation.accuracy import answer
from exemplar_trainer.evaluation.episodes import class_embeddings
from exemplar_trainer.evaluation.intervals import Interval, bootstrap, wilson
from exemplar_trainer.evaluation.roc import Points, separate
from exemplar_trainer.evaluation.tasks import NOBODY, Questions, Task

ASKED = (0.01, 0.05, 0.1)

_BINS = 10


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of an open set's figures, by drawing tasks again; None where there is nothing to draw again."""

    auroc: Interval | None
    false_positives: Interval | None
    oscr: Interval | None
    realized: tuple[Interval | None, ...]
    accepted: tuple[Interval | None, ...]
    calibration_error: Interval | None


@dataclass(frozen=True)
class OpenSet:
    """What was found.

    Attributes:
        auroc: probability that a known query is nearer its nearest class than an unknown one is.
        false_positives: share of unknown queries accepted where 95 % of known ones are.
        oscr: area under `oscr_curve`.
        asked: false-accept rates asked for.
        realized: the share of unknown queries accepted at each.
        accepted: the share of known queries accepted at each.
        calibration_error: expected calibration error of the top match's probability, in ten bins of equal width.
        bins: for each occupied bin: mean probability, share right, share of all queries.
        roc: points (share of unknown queries accepted, share of known ones accepted) of a curve, at most 201.
        oscr_curve: the same where a known query counts when it is also named rightly.
        known: how many queries were of enrolled classes.
        unknown: how many were not.
        intervals: of the figures above, where asked for.
    """

    auroc: float
    false_positives: float
    oscr: float
    asked: tuple[float, ...]
    realized: tuple[float, ...]
    accepted: tuple[float, ...]
    calibration_error: float
    bins: tuple[tuple[float, float, float], ...]
    roc: Points
    oscr_curve: Points
    known: int
    unknown: int
    intervals: Intervals | None = None


@dataclass(frozen=True)
class _Met:
    """All queries of some tasks in a row: how far they were, and what was said of them; `accepted` `[rates, n]`."""

    tasks: list[Ints]
    distance: Floats64
    known: Bools
    right: Bools
    stated: Floats64
    accepted: Bools


def judge_open_set(
    embeddings: Floats, questions: Questions, calibration: Calibration, seed: int | None = None
) -> OpenSet:
    """Answer every task and look at how far the answers were.

    Args:
        embeddings: float32 `[images, dimension]` of unit length, of the questions' images.
        questions: tasks with known and unknown queries.
        calibration: the bundle's own.
        seed: of the draws for the intervals; None for no intervals.
    """
    met = _meet(embeddings, questions.tasks, [calibration] * len(questions.tasks))
    found = _judge(met)
    return found if seed is None else replace(found, intervals=_intervals(met, found, seed))


def judge_tasks(embeddings: Floats, tasks: Sequence[Task], calibrations: Sequence[Calibration]) -> OpenSet:
    """The same of tasks that each have a calibration of their own, such as those of a cross-fit."""
    return _judge(_meet(embeddings, tasks, calibrations))


def _meet(embeddings: Floats, tasks: Sequence[Task], calibrations: Sequence[Calibration]) -> _Met:
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
    ends = np.cumsum([len(task.queries) for task in tasks])
    return _Met(
        np.split(np.arange(ends[-1]), ends[:-1]),
        np.concatenate(nearest),
        np.concatenate(knowns),
        np.concatenate(rights),
        np.array(stated),
        np.array([np.concatenate(each) for each in accepted]),
    )


def _judge(met: _Met) -> OpenSet:
    error, bins = reliability(met.stated, met.right)
    separation = separate(met.distance, met.known, met.right)
    return OpenSet(
        auroc=separation.auroc,
        false_positives=separation.false_positives,
        oscr=separation.oscr,
        asked=ASKED,
        realized=tuple(float(each[~met.known].mean()) for each in met.accepted),
        accepted=tuple(float(each[met.known].mean()) for each in met.accepted),
        calibration_error=error,
        bins=bins,
        roc=separation.roc,
        oscr_curve=separation.oscr_curve,
        known=int(met.known.sum()),
        unknown=int((~met.known).sum()),
    )


def _intervals(met: _Met, found: OpenSet, seed: int) -> Intervals:
    def figures(rows: Ints) -> Floats64:
        known, right, accepted = met.known[rows], met.right[rows], met.accepted[:, rows]
        separation = separate(met.distance[rows], known, right)
        single = [separation.auroc, separation.false_positives, separation.oscr]
        error = reliability(met.stated[rows], right)[0]
        shares = [accepted[:, ~known].mean(axis=1), accepted[:, known].mean(axis=1)]
        return np.concatenate([[*single, error], *shares])

    def of_share(interval: Interval | None, share: float, count: int) -> Interval | None:
        return interval if interval or count < 2 else wilson(share, count)  # none or all, however often drawn again

    auroc, positives, oscr, error, *rest = bootstrap(figures, met.tasks, met.known, seed)
    realized, accepted = rest[: len(ASKED)], rest[len(ASKED) :]
    return Intervals(
        auroc,
        of_share(positives, found.false_positives, found.unknown),
        oscr,
        tuple(of_share(*each, found.unknown) for each in zip(realized, found.realized, strict=True)),
        tuple(of_share(*each, found.known) for each in zip(accepted, found.accepted, strict=True)),
        error,
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
