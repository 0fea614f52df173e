"""Fits a calibration on classes that a network is judged by; see `Calibration` for the model behind it.

Galleries of many sizes are put together from the set, of one group and of all, half of them with exemplars from one
source (such as a drawer) where classes share some; queries of enrolled and of other classes meet them. The margin
among more classes than the set has is found in galleries that are filled up with classes training saw. Thresholds are
in units of a gallery's spacing, so galleries of several spaces are fitted together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats, Ints
from exemplar_trainer.calibration.fit import fit_observations
from exemplar_trainer.calibration.observations import (
    GALLERIES,
    MOST_QUERIES,
    QUERIES,
    SIZES,
    Observation,
    observe,
)
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.pairs import draw_pairs, draw_strangers
from exemplar_trainer.evaluation.distances import pairwise_distances
from exemplar_trainer.evaluation.spaces import Space

_MAX_IMAGES = 4000
_MAX_CLASSES = 2000
_LEAST_GALLERIES = 20
_MAX_ENROLLED = 40_000  # of a size, in all galleries


def fit_calibration(
    embeddings: Floats, images: ImageSet, seed: int = 0, background: Floats | None = None
) -> Calibration:
    """Fit on all classes of a set that training never saw.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        images: the set they came from: at least two classes of at least two images (four, to cross-fit).
        seed: which images are left out of a very large set.
        background: an embedding of each of some classes that training saw, float32 `[n, dimension]`.
    """
    fitted_on = f"{len(images.class_names):,} classes that training never saw"
    return fit_spaces([Space(embeddings, images)], fitted_on, seed, background)


def fit_spaces(
    spaces: Sequence[Space], fitted_on: str, seed: int = 0, background: Floats | None = None, number: int = GALLERIES
) -> Calibration:
    """Fit on the classes of several spaces together.

    Args:
        spaces: at least two classes of at least two images in each.
        fitted_on: the classes, in words.
        seed: which images are left out of a very large set.
        background: an embedding of each of some classes that training saw, float32 `[n, dimension]`; of one space.
        number: galleries of a size to observe in each space, at most.
    """
    names = np.unique([group for space in spaces for group in space.images.groups])
    taken = [_at_most(len(space.images.class_names), _MAX_CLASSES, seed) for space in spaces]
    most = min(_nearly(classes) for classes in taken)  # one size for all spaces, so that each says something of it
    galleries: list[Observation] = []
    larger: list[Observation] = []
    for space, classes in zip(spaces, taken, strict=True):
        groups = np.searchsorted(names, np.array(space.images.groups))
        observed = _Observed(space.embeddings, space.images, groups, np.random.default_rng([seed, 6]))
        galleries += _galleries(observed, classes, most, number)
        if background is not None:
            larger += _larger_galleries(observed, classes, background)
    return fit_observations(galleries, fitted_on, larger=larger)


def pair_distances(embeddings: Floats, images: ImageSet, seed: int = 0) -> tuple[Floats, Floats]:
    """Return distances of pairs of one class, and of pairs of two classes of one group: the ones hard to tell apart.

    Where no group has two classes, all pairs of two classes count. Of a very large set, a sample is compared.
    """
    chosen = _whole_classes(images, seed)
    first, second = np.triu_indices(len(chosen), 1)
    distances = pairwise_distances(embeddings[chosen], embeddings[chosen])[first, second]
    labels = images.labels[chosen]
    group = np.unique(images.groups, return_inverse=True)[1][labels]
    same = labels[first] == labels[second]
    near = ~same & (group[first] == group[second])
    return distances[same], distances[near if near.any() else ~same]


@dataclass(frozen=True)
class _Observed:
    """A space, the group of each of its classes as a number that all spaces share, and the draw of its galleries."""

    embeddings: Floats
    images: ImageSet
    groups: Ints
    rng: np.random.Generator


def _galleries(observed: _Observed, everything: Ints, most: int, number: int) -> list[Observation]:
    """Observe galleries of many sizes, of one group and of all: services know things of one kind, or of many."""
    rng = observed.rng
    groups = [group for group in observed.images.classes_by_group.values() if len(group) >= 2]
    found: list[Observation] = []
    for pools in (groups, [everything]):
        largest = max((len(pool) for pool in pools), default=0)
        sizes = [size for size in SIZES if size < largest]
        if pools is not groups:
            sizes.append(most)
        for way in sorted(set(sizes)):
            if way == 1 and found and pools is not groups:
                continue  # a lone class shows nothing of its kind, and strangers of its own group come nearest
            able = [pool for pool in pools if len(pool) > way]
            for _ in range(_number(way, number)):
                classes = rng.permutation(able[rng.integers(len(able))])
                found.append(_gallery(observed, classes[:way], classes[way:]))
    return found


def _larger_galleries(observed: _Observed, everything: Ints, background: Floats) -> list[Observation]:
    """Observe galleries of more classes than the set has: nearly all of its own, and some of the `background`."""
    way = _nearly(everything)
    found = []
    for size in (size for size in SIZES if way < size <= way + len(background)):
        for _ in range(_number(size)):
            classes = observed.rng.permutation(everything)
            filling = observed.rng.permutation(background)[: size - way]
            found.append(_gallery(observed, classes[:way], classes[way:], filling))
    return found


def _number(way: int, most: int = GALLERIES) -> int:
    """Return how many galleries of a size to observe: each has a few strangers in the tail that small rates mean."""
    return max(_LEAST_GALLERIES, min(most, _MAX_ENROLLED // way))


def _nearly(everything: Ints) -> int:
    """Return how many of all classes to enroll, so that a tenth is left to be strangers."""
    return len(everything) - max(1, len(everything) // 10)


def _gallery(observed: _Observed, enrolled: Ints, others: Ints, filling: Floats | None = None) -> Observation:
    embeddings, images, rng = observed.embeddings, observed.images, observed.rng
    count = min(MOST_QUERIES, max(QUERIES, len(enrolled)))
    pairs, source = draw_pairs(images, enrolled, rng, one_source=bool(rng.random() < 0.5))
    asked = rng.permutation(len(enrolled))[:count]
    unknown = rng.choice(others, count)
    strangers = draw_strangers(images, unknown, rng, source)
    exemplars = embeddings[pairs[:, 0]]
    classes = exemplars if filling is None else np.concatenate([exemplars, filling])
    return observe(classes, embeddings[pairs[asked, 1]], asked, embeddings[strangers], observed.groups[unknown])


def _whole_classes(images: ImageSet, seed: int) -> Ints:
    """Return positions of at most `_MAX_IMAGES` images: of a set that large, a few of every class or of some."""
    if len(images.labels) <= _MAX_IMAGES:
        return np.arange(len(images.labels))
    classes = _at_most(len(images.class_names), _MAX_CLASSES, seed)
    each = max(2, _MAX_IMAGES // len(classes))
    rng = np.random.default_rng([seed, 7])
    return np.sort(np.concatenate([rng.permutation(images.members[label])[:each] for label in classes]))


def _at_most(count: int, most: int, seed: int) -> Ints:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 4]).choice(count, most, replace=False))
