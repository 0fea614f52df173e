"""Refits a calibration on a gallery's own classes and labeled queries, and judges such a fit by others.

The exemplars are the gallery's and stay as they are. Galleries of several sizes are put together from its classes;
the queries of the classes left out are strangers there, beside those that are strangers anyway, every picture alike.
A fit is judged by cross-fitting over folds of classes: half of a fold's classes are enrolled beside all classes of
the other folds, its other half and its share of the strangers are unknown, and the fit saw nothing of that fold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats, Ints
from exemplar_encoder.kinds_of_picture import Cloud, shift
from exemplar_trainer.calibration.fit import fit_observations
from exemplar_trainer.calibration.observations import GALLERIES, QUERIES, SIZES, Observation, observe
from exemplar_trainer.data.reading import OnCount, uncounted
from exemplar_trainer.evaluation.open_set import OpenSet, judge_tasks
from exemplar_trainer.evaluation.tasks import NO_CLASS, Task

# Of a hundred strangers, five decide where one in twenty is accepted; of fewer, chance does. A fold needs two
# classes, one to know and one not to.
LEAST_QUERIES = 100
LEAST_CLASSES = 8

_FOLDS = 10
_DRAWS = 20
_ASKED = 100

# Galleries of a size together, so that large ones are few.
_MAX_ENROLLED = 4000


@dataclass(frozen=True)
class LabeledGallery:
    """A gallery's classes, and queries with the class that each shows.

    Attributes:
        classes: what each class is searched by, float32 `[classes, dimension]` of unit length.
        queries: float32 `[queries, dimension]` of unit length.
        labels: the class of each query, or `NO_CLASS` for a stranger; int64 `[queries]`.
    """

    classes: Floats
    queries: Floats
    labels: Ints

    @property
    def asked(self) -> Ints:
        """The classes that have queries, int64 `[classes]`."""
        return np.unique(self.labels[self.labels != NO_CLASS])

    @property
    def shift(self) -> float:
        """How far the queries of enrolled classes lie from those classes as a whole, see `kinds_of_picture`."""
        known = self.queries[self.labels != NO_CLASS]
        return shift(Cloud.of(known), Cloud.of(self.classes[self.asked]))

    def draw_strangers(self, rng: np.random.Generator, left_out: Ints, strangers: Ints, most: int) -> Ints:
        """Draw queries that a gallery does not know, of both kinds in the proportion that they have in all.

        Args:
            rng: the draw.
            left_out: queries of classes that were left out of the gallery, int64 `[n]`.
            strangers: queries of no class at all, int64 `[m]`.
            most: how many at most.
        """
        share = float((self.labels != NO_CLASS).mean())
        first = rng.permutation(left_out)[: max(1, round(most * share))]
        second = rng.permutation(strangers)[: round(len(first) * (1 - share) / share)]
        return np.concatenate([first, second])

    def without(self, classes: Ints, queries: Ints) -> LabeledGallery:
        """Return all but these classes with their queries, and but these queries."""
        kept = np.setdiff1d(np.arange(len(self.classes)), classes)
        left = np.setdiff1d(np.flatnonzero(~np.isin(self.labels, classes)), queries)
        labels = self.labels[left]
        places = np.where(labels == NO_CLASS, NO_CLASS, np.searchsorted(kept, labels))
        return LabeledGallery(self.classes[kept], self.queries[left], places)


@dataclass(frozen=True)
class CrossFit:
    """Two calibrations judged by the same galleries, none of which the refitted one was fitted on.

    Attributes:
        before: the model's.
        after: the refitted one; by each fold that of the others.
        gallery_size: how many classes those galleries held, on average.
    """

    before: OpenSet
    after: OpenSet
    gallery_size: int


def refit(labeled: LabeledGallery, default_false_accept_rate: float, seed: int = 0) -> Calibration:
    """Fit on all of it.

    Args:
        labeled: two classes with queries or more.
        default_false_accept_rate: the rate to use where nobody names one.
        seed: of the galleries drawn.
    """
    rng = np.random.default_rng([seed, 8])
    count = len(labeled.classes)
    galleries: list[Observation] = []
    for way in (size for size in SIZES if size < count - 1):
        for _ in range(max(4, min(GALLERIES, _MAX_ENROLLED // way))):
            galleries += _gallery(labeled, rng, rng.permutation(count)[:way])
    # The gallery as it is, but for one class: whose queries are strangers to it.
    for left in rng.permutation(labeled.asked)[: max(20, _MAX_ENROLLED // count)]:
        galleries += _gallery(labeled, rng, np.delete(np.arange(count), left))
    return fit_observations(
        galleries,
        f"{len(labeled.labels):,} labeled pictures of {len(labeled.asked):,} classes of a gallery, and of strangers",
        default_false_accept_rate,
        1 / len(labeled.labels),
    )


def cross_fit(
    labeled: LabeledGallery,
    model: Calibration,
    seed: int = 0,
    on_count: OnCount = uncounted,
) -> CrossFit:
    """Judge a refit, and the model's own calibration, by queries of classes that the refit was not fitted on.

    Args:
        labeled: at least `LEAST_CLASSES` classes with queries.
        model: the model's calibration.
        seed: of the draw.
        on_count: told of folds done and folds in all.
    """
    rng = np.random.default_rng([seed, 9])
    asked, strangers = rng.permutation(labeled.asked), rng.permutation(np.flatnonzero(labeled.labels == NO_CLASS))
    folds = min(_FOLDS, len(asked) // 2)
    tasks: list[Task] = []
    refitted: list[Calibration] = []
    for fold in range(folds):
        classes, unknown = asked[fold::folds], strangers[fold::folds]
        calibration = refit(labeled.without(classes, unknown), model.default_false_accept_rate, seed)
        for _ in range(_DRAWS):
            tasks.append(_task(labeled, rng, classes, unknown))
            refitted.append(calibration)
        on_count(fold + 1, folds)
    embeddings = np.concatenate([labeled.classes, labeled.queries])
    return CrossFit(
        before=judge_tasks(embeddings, tasks, [model] * len(tasks)),
        after=judge_tasks(embeddings, tasks, refitted),
        gallery_size=round(float(np.mean([len(task.exemplars) for task in tasks]))),
    )


def _gallery(labeled: LabeledGallery, rng: np.random.Generator, enrolled: Ints) -> list[Observation]:
    """Observe a gallery of these classes; there is nothing to observe where it has no strangers."""
    place = np.full(len(labeled.classes), NO_CLASS)
    place[enrolled] = np.arange(len(enrolled))
    own = np.where(labeled.labels == NO_CLASS, NO_CLASS, place[labeled.labels])
    known = rng.permutation(np.flatnonzero(own != NO_CLASS))[:QUERIES]
    left_out = np.flatnonzero((own == NO_CLASS) & (labeled.labels != NO_CLASS))
    strangers = labeled.draw_strangers(rng, left_out, np.flatnonzero(labeled.labels == NO_CLASS), QUERIES)
    if not len(strangers):
        return []
    classes, queries = labeled.classes[enrolled], labeled.queries
    return [observe(classes, queries[known], own[known], queries[strangers])]


def _task(labeled: LabeledGallery, rng: np.random.Generator, fold: Ints, strangers: Ints) -> Task:
    """Enroll half of a fold's classes beside those of other folds, and ask as many known queries as unknown ones."""
    own = rng.permutation(fold)
    half = len(own) // 2
    enrolled = np.setdiff1d(np.arange(len(labeled.classes)), own[half:])
    known = np.flatnonzero(np.isin(labeled.labels, own[:half]))
    left_out = np.flatnonzero(np.isin(labeled.labels, own[half:]))
    unknown = labeled.draw_strangers(rng, left_out, strangers, _ASKED)
    alike = min(len(known), len(unknown))
    known, unknown = rng.permutation(known)[:alike], rng.permutation(unknown)[:alike]
    return Task(
        exemplars=enrolled[:, None],
        queries=len(labeled.classes) + np.concatenate([known, unknown]),
        truth=np.concatenate([np.searchsorted(enrolled, labeled.labels[known]), np.full(alike, NO_CLASS)]),
    )
