"""Fits what a distance means, on classes the network never saw; see `Calibration` for the model behind it.

Galleries of many sizes are put together from the set, of one group and of all, half of them with exemplars from one
source (such as a drawer) where classes share some; queries of enrolled and of other classes meet them. How well a fit
holds on classes it was not fitted on, `calibration_check` says, and by gallery size `calibration_sizes`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exemplar_encoder import Calibration
from exemplar_encoder.bundle import Floats
from exemplar_trainer.calibration_fit import (
    GALLERIES,
    QUERIES,
    SIZES,
    Bools,
    Met,
    accepted_margins,
    fit_met,
    meet,
    with_margin,
)
from exemplar_trainer.dataset import ImageSet
from exemplar_trainer.episodes import pairwise_distances
from exemplar_trainer.sources import draw_pairs, draw_strangers

_MAX_IMAGES = 4000
_MAX_CLASSES = 2000
_DRAWS = 10

Ints = npt.NDArray[np.int64]


def fit_calibration(embeddings: Floats, images: ImageSet, seed: int = 0) -> Calibration:
    """Fit on all classes of a set.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        images: the set they came from: at least two classes of at least two images (four, to cross-fit).
        seed: which images are left out of a very large set.
    """
    fitted = fit_met(_galleries(embeddings, images, seed), len(images.class_names))
    return with_margin(fitted, *_margins(fitted, embeddings, images, seed))


def pair_distances(embeddings: Floats, images: ImageSet, seed: int = 0) -> tuple[Floats, Floats]:
    """Distances of pairs of one class, and of pairs of two classes of one group: the ones hard to tell apart.

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


def _galleries(embeddings: Floats, images: ImageSet, seed: int) -> list[Met]:
    """Galleries of many sizes, of one group and of all: services know things of one kind, or of many."""
    rng = np.random.default_rng([seed, 6])
    everything = _at_most(len(images.class_names), _MAX_CLASSES, seed)
    groups = [group for group in images.classes_by_group.values() if len(group) >= 2]
    found: list[Met] = []
    for pools in (groups, [everything]):
        largest = max((len(pool) for pool in pools), default=0)
        for way in (size for size in SIZES if size < largest):
            if way == 1 and found and pools is not groups:
                continue  # a lone class shows nothing of its kind, and strangers of its own group come nearest
            able = [pool for pool in pools if len(pool) > way]
            for _ in range(max(4, min(GALLERIES, 2 * _MAX_CLASSES // way))):
                classes = rng.permutation(able[rng.integers(len(able))])
                found.append(_gallery(embeddings, images, rng, classes[:way], classes[way:]))
    return found


def _gallery(
    embeddings: Floats,
    images: ImageSet,
    rng: np.random.Generator,
    enrolled: Ints,
    others: Ints,
) -> Met:
    pairs, source = draw_pairs(images, enrolled, rng, one_source=bool(rng.random() < 0.5))
    asked = rng.permutation(len(enrolled))[:QUERIES]
    strangers = draw_strangers(images, rng.choice(others, QUERIES), rng, source)
    return meet(embeddings[pairs[:, 0]], embeddings[pairs[asked, 1]], asked, embeddings[strangers])


def _margins(calibration: Calibration, embeddings: Floats, images: ImageSet, seed: int) -> tuple[Floats, Bools]:
    """What `with_margin` takes, of all classes in one gallery."""
    rng = np.random.default_rng([seed, 3])
    chosen = _whole_classes(images, seed)
    classes = np.unique(images.labels[chosen])
    margins: list[Floats] = []
    wrongs: list[Bools] = []
    for _ in range(_DRAWS):  # which image stands for a class decides much; one draw would be fitted too closely
        exemplars = np.array([rng.choice(images.members[label]) for label in classes])
        queries = chosen[~np.isin(chosen, exemplars)]
        own = np.searchsorted(classes, images.labels[queries])
        margin, wrong = accepted_margins(calibration, embeddings[exemplars], embeddings[queries], own)
        margins.append(margin)
        wrongs.append(wrong)
    return np.concatenate(margins), np.concatenate(wrongs)


def _whole_classes(images: ImageSet, seed: int) -> Ints:
    """Positions of at most `_MAX_IMAGES` images: every class of a set that large gives a few, or some classes do."""
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
