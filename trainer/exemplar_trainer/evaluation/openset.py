"""Does a bundle know when it does not know? Queries of enrolled and of other classes, told apart by distance.

Figures of open-set recognition: area under the ROC curve and false-positive rate at 95 % true positives of "is this
query of an enrolled class"; OSCR, the area under correct classification against false positives (Dhamija, Günther &
Boult, "Reducing Network Agnostophobia", NeurIPS 2018); and what became of the rates and probabilities the bundle
itself promises.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exemplar_encoder import Calibration
from exemplar_encoder.bundle import Floats
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.episodes import class_embeddings
from exemplar_trainer.evaluation.judge import answer
from exemplar_trainer.evaluation.questions import NOBODY, Questions

ASKED = (0.01, 0.05, 0.1)

_BINS = 10

Floats64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class OpenSet:
    """What was found.

    Attributes:
        auroc: probability that a known query is nearer its nearest class than an unknown one is.
        false_positives: share of unknown queries accepted where 95 % of known ones are.
        oscr: area under the share of known queries accepted and named rightly, by the share of unknown accepted.
        asked: false-accept rates asked for.
        realised: the share of unknown queries accepted at each.
        accepted: the share of known queries accepted at each.
        calibration_error: expected calibration error of the top match's probability, in ten bins of equal width.
        bins: for each occupied bin: mean probability, share right, share of all queries.
        roc: points (false positives, true positives) for a curve, at most 201.
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
    roc: tuple[tuple[float, float], ...]
    known: int
    unknown: int


def judge_open_set(embeddings: Floats, questions: Questions, calibration: Calibration) -> OpenSet:
    """Answer every task and look at how far the answers were.

    Args:
        embeddings: float32 `[images, dimension]` of unit length, of the questions' images.
        questions: tasks with known and unknown queries.
        calibration: the bundle's own.
    """
    nearest: list[Floats64] = []
    knowns: list[Bools] = []
    rights: list[Bools] = []
    stated: list[float] = []
    accepted: list[list[Bools]] = [[] for _ in ASKED]
    for task in questions.tasks:
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
    curve = roc(distance, known)
    return OpenSet(
        auroc=_area(curve),
        false_positives=float(np.interp(0.95, curve[:, 1], curve[:, 0])),
        oscr=_area(_correct_curve(distance, known, right)),
        asked=ASKED,
        realised=tuple(float(np.concatenate(each)[~known].mean()) for each in accepted),
        accepted=tuple(float(np.concatenate(each)[known].mean()) for each in accepted),
        calibration_error=error,
        bins=bins,
        roc=tuple((float(x), float(y)) for x, y in curve[np.linspace(0, len(curve) - 1, 201).astype(int)]),
        known=int(known.sum()),
        unknown=int((~known).sum()),
    )


def roc(distance: Floats64, known: Bools) -> Floats64:
    """Points (false positives, true positives) `[k, 2]`, one for each distinct distance, from (0, 0) to (1, 1)."""
    return _curve(distance, ~known, known)


def _correct_curve(distance: Floats64, known: Bools, right: Bools) -> Floats64:
    """As `roc`, but a true positive is a known query that is also named rightly."""
    return _curve(distance, ~known, known & right, int(known.sum()))


def _curve(distance: Floats64, negative: Bools, positive: Bools, of: int | None = None) -> Floats64:
    order = np.argsort(distance, kind="stable")
    last = np.append(np.diff(distance[order]) > 0, True)  # ties are accepted together
    x = np.cumsum(negative[order])[last] / max(1, int(negative.sum()))
    y = np.cumsum(positive[order])[last] / max(1, int(positive.sum()) if of is None else of)
    return np.concatenate([[[0.0, 0.0]], np.stack([x, y], axis=1)])


def _area(curve: Floats64) -> float:
    return float(np.trapezoid(curve[:, 1], curve[:, 0]))


def reliability(p: Floats64, right: Bools) -> tuple[float, tuple[tuple[float, float, float], ...]]:
    """Expected calibration error (Naeini, Cooper & Hauskrecht, AAAI 2015), and its bins; see `OpenSet`."""
    places = np.minimum((p * _BINS).astype(int), _BINS - 1)
    bins = tuple(
        (float(p[places == place].mean()), float(right[places == place].mean()), float((places == place).mean()))
        for place in range(_BINS)
        if (places == place).any()
    )
    return sum(abs(mean - share) * weight for mean, share, weight in bins), bins
