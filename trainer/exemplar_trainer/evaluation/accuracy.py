"""Answers tasks by nearest class and counts what was right: overall, by group, and which classes are confused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder import class_embedding
from exemplar_encoder.arrays import Bools, Floats, Ints
from exemplar_trainer.evaluation.distances import pairwise_distances
from exemplar_trainer.evaluation.intervals import share_interval
from exemplar_trainer.evaluation.tasks import NO_CLASS, Questions, Task

_HARDEST = 24


@dataclass(frozen=True)
class Answers:
    """A task's answers.

    Attributes:
        classes: what each class was searched by, float32 `[way, dimension]`.
        chosen: the row of the class chosen for each query, int64 `[queries]`.
        distances: Euclidean, float32 `[queries, way]`.
    """

    classes: Floats
    chosen: Ints
    distances: Floats


@dataclass(frozen=True)
class Accuracy:
    """The share that was named rightly: a mean over tasks with its 95 % interval, see `share_interval`."""

    value: float
    low: float
    high: float
    tasks: int
    queries: int


@dataclass(frozen=True)
class Confusion:
    """Queries of a class that were taken for another, and one of them: positions of images."""

    right: str
    chosen: str
    count: int
    query: int
    right_exemplar: int
    chosen_exemplar: int


@dataclass(frozen=True)
class Assessment:
    """How a bundle answered questions; queries of unknown classes are left out, see `open_set`.

    Attributes:
        accuracy: over all tasks.
        by_group: over the tasks of each group, by name; empty where tasks have none.
        hardest: the pairs of classes that were confused most often, those first.
    """

    accuracy: Accuracy
    by_group: tuple[tuple[str, Accuracy], ...]
    hardest: tuple[Confusion, ...]


def answer(embeddings: Floats, task: Task) -> Answers:
    """Name each query of a task by its nearest class, one query at a time.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        task: positions in it.
    """
    classes = class_embedding(embeddings[task.exemplars])
    distances = pairwise_distances(embeddings[task.queries], classes)
    return Answers(classes, distances.argmin(axis=1), distances)


def measure(embeddings: Floats, tasks: Sequence[Task]) -> Accuracy:
    """Answer tasks and return how many queries of known classes were named rightly.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        tasks: at least one with a query whose class is there.
    """
    return _accuracy(_right(task, answer(embeddings, task)) for task in tasks)


def assess(embeddings: Floats, questions: Questions) -> Assessment:
    """Answer every task and count.

    Args:
        embeddings: float32 `[images, dimension]` of unit length, of the questions' images.
        questions: at least one task with a query whose class is there.
    """
    found: list[tuple[str, Bools]] = []
    confused: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], tuple[float, int, int, int]] = {}
    for task in questions.tasks:
        answers = answer(embeddings, task)
        found.append((task.group, _right(task, answers)))
        for row in np.flatnonzero((answers.chosen != task.truth) & (task.truth != NO_CLASS)):
            own, other = int(task.truth[row]), int(answers.chosen[row])
            query, mine, its = int(task.queries[row]), int(task.exemplars[own, 0]), int(task.exemplars[other, 0])
            pair = (questions.classes[mine], questions.classes[its])
            confused[pair] += 1
            margin = float(answers.distances[row, other] - answers.distances[row, own])
            example[pair] = min(example.get(pair, (0.0, 0, 0, 0)), (margin, query, mine, its))
    groups = sorted({group for group, right in found if group and len(right)})
    return Assessment(
        accuracy=_accuracy(right for _, right in found),
        by_group=tuple((name, _accuracy(right for group, right in found if group == name)) for name in groups),
        hardest=tuple(
            Confusion(right, chosen, count, *example[right, chosen][1:])
            for (right, chosen), count in sorted(confused.items(), key=lambda item: (-item[1], item[0]))[:_HARDEST]
        ),
    )


def _right(task: Task, answers: Answers) -> Bools:
    """Return whether each query whose class is there was named rightly."""
    return (answers.chosen == task.truth)[task.truth != NO_CLASS]


def _accuracy(right: Iterable[Bools]) -> Accuracy:
    tasks = [each for each in right if len(each)]
    values, queries = np.array([each.mean() for each in tasks]), sum(map(len, tasks))
    return Accuracy(float(values.mean()), *share_interval(values, queries), len(tasks), queries)
