"""Queries meeting galleries: the observations that a calibration is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_encoder.calibration import NEAREST_CONSIDERED, gaps_of
from exemplar_trainer.evaluation.distances import pairwise_distances

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Classes of the galleries to observe."""

GALLERIES = 150
"""How many of each size, at most."""

QUERIES = 20
"""Queries of a small gallery; of a large one as many as it has classes, up to `MOST_QUERIES`."""

MOST_QUERIES = 100


@dataclass(frozen=True)
class Observation:
    """A gallery, and how far from its classes some queries were.

    Attributes:
        way: how many classes it has.
        gaps: see `gaps_of`.
        strangers: distances of queries of other classes to their nearest classes, float32 `[queries, nearest]`,
            ascending.
        groups: the group of each of `strangers`, int64 `[queries]`; all 0 where none is known.
        known: the same distances of queries of its classes.
        ranks: for each of `known`, which of its nearest classes is the right one, `NEAREST_CONSIDERED` where none
            is; int64 `[queries]`.
    """

    way: int
    gaps: Floats | None
    strangers: Floats
    groups: Ints
    known: Floats
    ranks: Ints


def observe(classes: Floats, known: Floats, own: Ints, strangers: Floats, groups: Ints | None = None) -> Observation:
    """Show queries to a gallery.

    Args:
        classes: what the classes are searched by, float32 `[way, dimension]`.
        known: queries of some of them, float32 `[n, dimension]`.
        own: the class of each, int64 `[n]`.
        strangers: queries of none of them, float32 `[m, dimension]`.
        groups: the group of each of `strangers`, int64 `[m]`, where it is known.
    """
    distances = pairwise_distances(known, classes)
    nearest = distances.argsort(axis=1, kind="stable")[:, :NEAREST_CONSIDERED]
    right = nearest == own[:, None]
    return Observation(
        way=len(classes),
        gaps=gaps_of(classes),
        strangers=np.sort(pairwise_distances(strangers, classes), axis=1)[:, :NEAREST_CONSIDERED],
        groups=np.zeros(len(strangers), dtype=np.int64) if groups is None else groups,
        known=np.take_along_axis(distances, nearest, axis=1),
        ranks=np.where(right.any(axis=1), right.argmax(axis=1), NEAREST_CONSIDERED),
    )
