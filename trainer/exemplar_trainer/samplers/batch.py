"""A batch: which images are trained on next, and as which labels; and what draws one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from exemplar_encoder.arrays import Ints


@dataclass(frozen=True)
class Batch:
    """Positions of images in the set, labels for the loss, and orientations to give them; each int64 `[n]`.

    An orientation is the number of quarter turns, plus 4 where the image is mirrored before it is turned.
    """

    images: Ints
    labels: Ints
    orientations: Ints


class Sampler(Protocol):
    """Draws batches; `class_count` is how many labels it can give."""

    class_count: int

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step, from 0."""
        ...


def draw(rng: np.random.Generator, count: int, size: int) -> Ints:
    """Draw `size` of `count` things, each at most once while there are enough."""
    if size <= count:
        return rng.choice(count, size, replace=False)
    return np.concatenate([rng.permutation(count), rng.choice(count, size - count)])
