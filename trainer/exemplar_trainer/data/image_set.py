"""A set of images by class, in memory: pixels, classes, groups and sources, and what can be asked of them.

A class belongs to a group (such as an alphabet), and an image has a source (such as a drawer or a design).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from exemplar_encoder.arrays import Ints, Pixels


class DatasetError(Exception):
    """A data set that cannot be used as asked; the message names the paths."""


@dataclass(frozen=True)
class ImageSet:
    """Images with their classes, groups and sources.

    Attributes:
        pixels: uint8 `[n, height, width, channels]`, preprocessed.
        labels: int64 `[n]`, positions in `class_names`.
        class_names: path of each class below the set's root, sorted.
        groups: group of each class; empty where a class lies directly below the root.
        sources: source of each image.
        paths: path of each image below the set's root.
        skipped: images that could not be read, with the reason.
    """

    pixels: Pixels
    labels: Ints
    class_names: tuple[str, ...]
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    paths: tuple[str, ...]
    skipped: tuple[str, ...] = field(default=())

    @cached_property
    def members(self) -> list[Ints]:
        """Positions of the images of each class."""
        order = np.argsort(self.labels, kind="stable")
        bounds = np.cumsum(np.bincount(self.labels, minlength=len(self.class_names)))[:-1]
        return np.split(order, bounds)

    @cached_property
    def sources_of(self) -> list[dict[str, int]]:
        """Position of the image of each class by each source; where there are several, the last."""
        return [{self.sources[image]: int(image) for image in members} for members in self.members]

    @cached_property
    def classes_by_group(self) -> dict[str, Ints]:
        """Classes of each group, in the order of the groups' names."""
        found: dict[str, list[int]] = defaultdict(list)
        for index, group in enumerate(self.groups):
            found[group].append(index)
        return {group: np.array(classes) for group, classes in sorted(found.items())}

    def only(self, classes: Sequence[int]) -> ImageSet:
        """Return the set of these classes alone, relabeled in the order of their names."""
        kept = sorted(classes)
        position = {label: index for index, label in enumerate(kept)}
        images = np.flatnonzero(np.isin(self.labels, kept))
        return ImageSet(
            pixels=self.pixels[images],
            labels=np.array([position[int(label)] for label in self.labels[images]], dtype=np.int64),
            class_names=tuple(self.class_names[label] for label in kept),
            groups=tuple(self.groups[label] for label in kept),
            sources=tuple(self.sources[image] for image in images),
            paths=tuple(self.paths[image] for image in images),
        )
