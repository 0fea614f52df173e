"""Exemplars and queries drawn as people have them: all exemplars from one source (such as a drawer), or from any.

Who teaches a gallery in one sitting draws every exemplar alike; the queries come from others.
"""

from __future__ import annotations

import numpy as np

from exemplar_encoder.arrays import Ints
from exemplar_trainer.data.image_set import ImageSet


def draw_pairs(
    images: ImageSet, classes: Ints, rng: np.random.Generator, one_source: bool
) -> tuple[Ints, str | None]:
    """Draw an exemplar and a query of each class.

    Args:
        images: the set; each of the classes has two images or more.
        classes: int64 `[n]`.
        rng: the draw.
        one_source: take all exemplars from one source, where these classes share some.

    Returns:
        Positions of images int64 `[n, 2]`, exemplar and query, and the exemplars' one source; None for any.
    """
    shared = (
        sorted(set[str].intersection(*(set(images.sources_of[label]) for label in classes))) if one_source else []
    )
    if len(shared) < 2:  # the one they share is a mark that every file has, and no source
        return np.array([rng.choice(images.members[label], 2, replace=False) for label in classes]), None
    source = shared[rng.integers(len(shared))]
    exemplars = [images.sources_of[label][source] for label in classes]
    queries = [_by_others(images, label, rng, source) for label in classes]
    return np.stack([exemplars, queries], axis=1), source


def draw_strangers(images: ImageSet, classes: Ints, rng: np.random.Generator, source: str | None) -> Ints:
    """Draw an image of each of `classes` int64 `[n]`, none from the exemplars' one source; positions int64 `[n]`."""
    return np.array([_by_others(images, label, rng, source) for label in classes], dtype=np.int64)


def _by_others(images: ImageSet, label: np.int64, rng: np.random.Generator, source: str | None) -> np.int64:
    members = images.members[label]
    own = images.sources_of[label].get(source) if source is not None else None
    left = members if own is None else members[members != own]
    return left[rng.integers(len(left))]
