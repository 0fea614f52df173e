"""Sets of images and embeddings made of numbers, for what depends on classes, groups and sources alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from exemplar_encoder.arrays import Floats, Floats64
from exemplar_trainer.data.image_set import ImageSet


def synthetic_set(
    classes_by_group: Mapping[str, int], images_per_class: int = 6, shared_sources: bool = True
) -> ImageSet:
    """Return a set with as many classes in each group as named.

    Image i of every class is of source i where sources are shared.
    """
    names = sorted(
        (f"{group}/c{index:03d}" if group else f"c{index:03d}", group)
        for group, count in classes_by_group.items()
        for index in range(count)
    )
    labels = np.repeat(np.arange(len(names)), images_per_class)
    sources = np.tile(np.arange(images_per_class), len(names))
    if not shared_sources:
        sources = np.arange(len(labels))
    return ImageSet(
        pixels=np.zeros((len(labels), 8, 8, 1), dtype=np.uint8),
        labels=labels.astype(np.int64),
        class_names=tuple(name for name, _ in names),
        groups=tuple(group for _, group in names),
        sources=tuple(f"{source:03d}" for source in sources),
        paths=tuple(f"{names[label][0]}/x_{source:03d}.png" for label, source in zip(labels, sources, strict=True)),
    )


def gaussian_embeddings(
    images: ImageSet, spread: float, dimension: int = 16, seed: int = 0, likeness: float = 0.0
) -> Floats:
    """Return unit vectors around a random center for each class.

    `spread` is noise against a center of length 1; `likeness`, 0 to 1, is how much the centers of a group share.
    """
    rng = np.random.default_rng(seed)
    groups = np.unique(images.groups, return_inverse=True)[1]
    shared = rng.normal(size=(groups.max() + 1, dimension))[groups]
    centers = _unit(likeness * _unit(shared) + (1 - likeness) * _unit(rng.normal(size=shared.shape)))
    noise = rng.normal(size=(len(images.labels), dimension)) * spread / np.sqrt(dimension)
    return _unit(centers[images.labels] + noise).astype(np.float32)


def _unit(vectors: Floats64) -> Floats64:
    unit: Floats64 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
