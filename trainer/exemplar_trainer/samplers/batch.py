"""What a sampler hands to the training loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Batch:
    """Positions of images in the set, labels for the loss, and orientations to give them; each int64 `[n]`.

    An orientation is the number of quarter turns, plus 4 where the image is mirrored before it is turned.
    """

    images: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    orientations: npt.NDArray[np.int64]


def draw(rng: np.random.Generator, count: int, size: int) -> npt.NDArray[np.int64]:
    """`size` of `count` things, each at most once while there are enough."""
    if size <= count:
        return rng.choice(count, size, replace=False)
    return np.concatenate([rng.permutation(count), rng.choice(count, size - count)])
