"""Answers tasks by nearest class and counts what was right: overall, by group, and which classes are confused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_trainer.evaluation.episodes import class_embeddings, pairwise_distances
from exemplar_trainer.evaluation.intervals import share_interval
from exemplar_trainer.evaluation.tasks import NOBODY, Questions, Task

_HARDEST = 24


@dataclass(frozen=True)
class Answers:
    """A task's answers: the row of the class chosen for each query, int64 `[queries]`, and Euclidean distances
    float32 `[queries, way]`."""

    chosen: Ints
    distances: Floats


@dataclass(frozen=True)
class Share:
    """A mean over tasks with its 95 % interval, see `share_interval`."""

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
class Verdict:
    """What a bundle did with a protocol's questions; unknown queries are left out, see `openset`."""

    accuracy: Share
    by_group: tuple[tuple[str, Share], ...]
    hardest: tuple[Confusion, ...]


def answer(embeddings: Floats, task: Task) -> Answers:
    """Name each query of a task by its nearest class, one query at a time.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        task: positions in it. A class of several exemplars is their mean, renormalized.
    """
    distances = pairwise_distances(embeddings[task.queries], class_embeddings(embeddings, task.exemplars))
    return Answers(distances.argmin(axis=1), distances)


def judge(embeddings: Floats, questions: Questions) -> Verdict:
    """Answer every task and count.

    Args:
        embeddings: float32 `[images, dimension]` of unit length, of the questions' images.
        questions: at least one task with a query whose class is there.
    """
    shares: list[tuple[str, float, int]] = []
    confused: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], tuple[float, int, int, int]] = {}
    for task in questions.tasks:
        known = np.flatnonzero(task.truth != NOBODY)
        if len(known) == 0:
            continue
        answers = answer(embeddings, task)
        right = answers.chosen[known] == task.truth[known]
        shares.append((task.group, float(right.mean()), len(known)))
        for row in known[~right]:
            own, other = int(task.truth[row]), int(answers.chosen[row])
            query, mine, its = int(task.queries[row]), int(task.exemplars[own, 0]), int(task.exemplars[other, 0])
            pair = (questions.classes[mine], questions.classes[its])
            confused[pair] += 1
            margin = float(answers.distances[row, other] - answers.distances[row, own])
            example[pair] = min(example.get(pair, (0.0, 0, 0, 0)), (margin, query, mine, its))
    groups: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for group, value, queries in shares:
        groups[group].append((value, queries))
    return Verdict(
        accuracy=_share([(value, queries) for _, value, queries in shares]),
        by_group=tuple((group, _share(rows)) for group, rows in sorted(groups.items()) if group),
        hardest=tuple(
            Confusion(right, chosen, count, *example[right, chosen][1:])
            for (right, chosen), count in sorted(confused.items(), key=lambda item: (-item[1], item[0]))[:_HARDEST]
        ),
    )


def _share(rows: Sequence[tuple[float, int]]) -> Share:
    values = np.array([value for value, _ in rows], dtype=np.float64)
    queries = sum(count for _, count in rows)
    return Share(float(values.mean()), *share_interval(values, queries), len(rows), queries)
