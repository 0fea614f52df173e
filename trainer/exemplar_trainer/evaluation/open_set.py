"""Does a calibration keep its word? Queries of enrolled and of other classes meet it, and what it says is counted.

How well distances tell the two apart (`roc`), which share of each is accepted at a rate asked for, how often a name
is wrong or two are too close to call, and whether stated probabilities come true. Everything that is said of a
calibration anywhere in the trainer is counted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from exemplar_encoder import Calibration, DecisionRule
from exemplar_encoder.arrays import Bools, Floats, Floats64, Ints
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.evaluation.accuracy import answer
from exemplar_trainer.evaluation.intervals import Interval, bootstrap, wilson
from exemplar_trainer.evaluation.roc import Points, separate
from exemplar_trainer.evaluation.tasks import NO_CLASS, Questions, Task

RATES = (0.01, 0.05, 0.1)

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
    """How queries of known and of unknown classes were judged.

    Attributes:
        auroc: probability that a known query is nearer its nearest class than an unknown one is.
        false_positives: share of unknown queries accepted where 95 % of known ones are.
        oscr: area under `oscr_curve`.
        asked: false-accept rates asked for.
        realized: the share of unknown queries accepted at each.
        accepted: the share of known queries accepted at each.
        ambiguous: of the known queries accepted at the calibration's default rate, the share whose two nearest
            classes are too close to call; None where none was accepted.
        misnamed: of the others of them, the verdicts MATCH, the share of wrong names; None where there were none.
        calibration_error: expected calibration error of the top match's probability, in ten bins of equal width, over
            as many known as unknown queries of each task.
        bins: for each occupied bin: mean probability, share right, share of those queries.
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
    ambiguous: float | None
    misnamed: float | None
    calibration_error: float
    bins: tuple[tuple[float, float, float], ...]
    roc: Points
    oscr_curve: Points
    known: int
    unknown: int
    intervals: Intervals | None = None


@dataclass(frozen=True)
class _Queries:
    """The queries of one task or of several in a row, and what was said of each; `[n]` unless noted.

    Attributes:
        distance: to the nearest class.
        known: whether its class was enrolled.
        right: whether the nearest class is its class.
        accepted: at each rate asked for, `[n, rates]`.
        named: accepted at the default rate.
        clear: whether the two nearest classes are not too close to call.
        probability: of the nearest class.
        counted: whether the probability counts. It assumes that half of all queries show no enrolled class.
    """

    distance: Floats64
    known: Bools
    right: Bools
    accepted: Bools
    named: Bools
    clear: Bools
    probability: Floats64
    counted: Bools


def judge_open_set(
    embeddings: Floats, questions: Questions, calibration: Calibration, seed: int | None = None
) -> OpenSet:
    """Judge one calibration by the tasks of an open set.

    Args:
        embeddings: float32 `[images, dimension]` of unit length, of the questions' images.
        questions: tasks with known and unknown queries.
        calibration: the bundle's own.
        seed: of the draws for the intervals; None for no intervals.
    """
    by_task = [_queries(embeddings, task, calibration, RATES) for task in questions.tasks]
    found = _count(_joined(by_task), RATES)
    return found if seed is None else replace(found, intervals=_intervals(by_task, found, seed))


def judge_tasks(
    embeddings: Floats, tasks: Sequence[Task], calibrations: Sequence[Calibration], rates: Sequence[float] = RATES
) -> OpenSet:
    """Judge calibrations by a task each, all counted together.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        tasks: positions in it; known and unknown queries.
        calibrations: of each task the one that judges it, such as those of a cross-fit.
        rates: false-accept rates to ask for.
    """
    pairs = zip(tasks, calibrations, strict=True)
    return _count(_joined([_queries(embeddings, *pair, rates) for pair in pairs]), rates)


def reliability(p: Floats64, right: Bools) -> tuple[float, tuple[tuple[float, float, float], ...]]:
    """Return the expected calibration error (Naeini, Cooper & Hauskrecht, AAAI 2015) and its bins; see `OpenSet`."""
    places = np.minimum((p * _BINS).astype(int), _BINS - 1)
    bins = tuple(
        (float(p[places == place].mean()), float(right[places == place].mean()), float((places == place).mean()))
        for place in range(_BINS)
        if (places == place).any()
    )
    return sum(abs(mean - share) * weight for mean, share, weight in bins), bins


def _queries(embeddings: Floats, task: Task, calibration: Calibration, rates: Sequence[float]) -> _Queries:
    answers = answer(embeddings, task)
    way, gaps = len(answers.classes), gaps_of(answers.classes)
    rule = DecisionRule(calibration, way, gaps)
    nearest = np.sort(answers.distances, axis=1).astype(np.float64)
    known = task.truth != NO_CLASS
    alike = min(int(known.sum()), int((~known).sum()))
    counted = np.zeros(len(known), dtype=np.bool_)
    counted[np.flatnonzero(known)[:alike]] = counted[np.flatnonzero(~known)[:alike]] = True
    return _Queries(
        distance=nearest[:, 0],
        known=known,
        right=answers.chosen == task.truth,
        accepted=np.stack([DecisionRule(calibration, way, gaps, rate).accepts(nearest) for rate in rates], axis=1),
        named=rule.accepts(nearest),
        clear=rule.tells_apart(nearest),
        probability=calibration.probabilities(nearest, rule.spacing)[:, 0],
        counted=counted,
    )


def _joined(queries: Sequence[_Queries]) -> _Queries:
    return _Queries(**{name: np.concatenate([getattr(each, name) for each in queries]) for name in vars(queries[0])})


def _count(met: _Queries, rates: Sequence[float]) -> OpenSet:
    error, bins = reliability(met.probability[met.counted], met.right[met.counted])
    separation = separate(met.distance, met.known, met.right)
    named = met.known & met.named
    return OpenSet(
        auroc=separation.auroc,
        false_positives=separation.false_positives,
        oscr=separation.oscr,
        asked=tuple(rates),
        realized=tuple(met.accepted[~met.known].mean(axis=0).tolist()),
        accepted=tuple(met.accepted[met.known].mean(axis=0).tolist()),
        ambiguous=_share(~met.clear[named]),
        misnamed=_share(~met.right[named & met.clear]),
        calibration_error=error,
        bins=bins,
        roc=separation.roc,
        oscr_curve=separation.oscr_curve,
        known=int(met.known.sum()),
        unknown=int((~met.known).sum()),
    )


def _share(flags: Bools) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _intervals(by_task: Sequence[_Queries], found: OpenSet, seed: int) -> Intervals:
    met = _joined(by_task)

    def figures(rows: Ints) -> Floats64:
        known, right, accepted, counted = met.known[rows], met.right[rows], met.accepted[rows], met.counted[rows]
        separation = separate(met.distance[rows], known, right)
        single = [separation.auroc, separation.false_positives, separation.oscr]
        error = reliability(met.probability[rows][counted], right[counted])[0]
        return np.concatenate([[*single, error], accepted[~known].mean(axis=0), accepted[known].mean(axis=0)])

    def of_share(interval: Interval | None, share: float, count: int) -> Interval | None:
        return interval if interval or count < 2 else wilson(share, count)  # none or all, however often drawn again

    ends = np.cumsum([len(each.known) for each in by_task])
    tasks = np.split(np.arange(ends[-1]), ends[:-1])
    auroc, positives, oscr, error, *rest = bootstrap(figures, tasks, seed)
    realized, accepted = rest[: len(found.asked)], rest[len(found.asked) :]
    return Intervals(
        auroc,
        of_share(positives, found.false_positives, found.unknown),
        oscr,
        tuple(of_share(*each, found.unknown) for each in zip(realized, found.realized, strict=True)),
        tuple(of_share(*each, found.known) for each in zip(accepted, found.accepted, strict=True)),
        error,
    )
