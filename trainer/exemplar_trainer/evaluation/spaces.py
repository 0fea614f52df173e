"""Embeddings that can be compared: those of one map. Of several maps, each judges within itself, and all are counted.

A network's own embeddings are one space. Where an adaptation is judged by classes that it was not fitted to, each
fold of the classes has another adaptation and so a space of its own; no gallery and no episode reaches across.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from exemplar_encoder.arrays import Floats
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.episodes import EpisodeError, Protocol, draw_episodes
from exemplar_trainer.evaluation.tasks import Task


@dataclass(frozen=True)
class Space:
    """Images and their embeddings by one map.

    Attributes:
        embeddings: float32 `[images, dimension]` of unit length.
        images: the set they came from; its pixels may be left out.
    """

    embeddings: Floats
    images: ImageSet

    def only(self, classes: Sequence[int]) -> Space:
        """Return the space of these classes alone, relabeled as `ImageSet.only` does."""
        return Space(self.embeddings[np.isin(self.images.labels, classes)], self.images.only(classes))


def draw_in(spaces: Sequence[Space], protocol: Protocol, count: int, seed: int) -> tuple[Floats, list[Task]]:
    """Draw as many episodes in each space, `count` in all or a few more; a space that cannot supply them draws none.

    Returns:
        The embeddings of all spaces, one after the other, and the tasks, whose positions are in them.

    Raises:
        EpisodeError: no space can supply such episodes.
    """
    drawn: list[list[Task]] = []
    refused: list[EpisodeError] = []
    for space in spaces:
        try:
            drawn.append(draw_episodes(space.images, protocol, -(-count // len(spaces)), seed))
        except EpisodeError as error:
            drawn.append([])
            refused.append(error)
    if not any(drawn):
        raise refused[0]
    return gather(spaces, drawn)


def gather(spaces: Sequence[Space], tasks: Sequence[Sequence[Task]]) -> tuple[Floats, list[Task]]:
    """Put embeddings of spaces behind each other, and move the positions of each one's tasks with them."""
    starts = np.cumsum([0, *(len(space.embeddings) for space in spaces)])
    moved = [
        replace(task, exemplars=task.exemplars + start, queries=task.queries + start)
        for start, own in zip(starts, tasks, strict=False)
        for task in own
    ]
    return np.concatenate([space.embeddings for space in spaces]), moved
