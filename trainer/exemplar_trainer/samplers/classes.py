"""P classes x K images a batch, part of the classes from one group.

P x K batches: Hermans, Beyer & Leibe, 2017. Classes of one group (letters of one alphabet) are the ones hard to tell
apart, so a share of each batch comes from a single group. With `orientations` = 4, a class turned by a quarter is a
class of its own (Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", ICML 2016), with 8 its mirror
images are too. One batch holds each class in one orientation only: two of a round letter must not be pushed apart.
"""

from __future__ import annotations

import numpy as np

from exemplar_encoder.arrays import Ints
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.samplers.batch import Batch, draw


class ClassSampler:
    """Draws `classes_per_batch` x `images_per_class` images; see the module."""

    def __init__(
        self,
        images: ImageSet,
        classes_per_batch: int,
        images_per_class: int,
        group_share: float,
        orientations: int,
        seed: int,
    ) -> None:
        """Have `group_share` of the classes, 0 to 1, come from one group; `orientations` is 1, 4 or 8."""
        self.images = images
        self.classes_per_batch = min(classes_per_batch, len(images.class_names))
        self.images_per_class = images_per_class
        self.group_share = group_share
        self.orientations = orientations
        self.seed = seed
        self.class_count = len(images.class_names) * orientations
        self._groups = list(images.classes_by_group.values())

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step, from 0."""
        rng = np.random.default_rng([self.seed, step])
        together, apart = self._classes(rng)
        classes = np.concatenate([together, apart])
        # The group turns as one: two letters are told apart by turning only one of them, and nothing would be learnt.
        chosen = np.concatenate(
            [
                np.full(len(together), rng.integers(self.orientations)),
                rng.integers(self.orientations, size=len(apart)),
            ]
        )
        images = [self._images_of(rng, int(label)) for label in classes]
        k = self.images_per_class
        labels = classes * self.orientations + chosen
        return Batch(np.concatenate(images), np.repeat(labels, k), np.repeat(chosen, k))

    def _classes(self, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Draw classes of one group, and classes from anywhere else."""
        group = self._groups[rng.integers(len(self._groups))]
        wanted = min(round(self.classes_per_batch * self.group_share), len(group))
        together = rng.choice(group, wanted, replace=False)
        others = np.setdiff1d(np.arange(len(self.images.class_names)), together)
        apart = rng.choice(others, self.classes_per_batch - wanted, replace=False)
        return together.astype(np.int64), apart.astype(np.int64)

    def _images_of(self, rng: np.random.Generator, label: int) -> Ints:
        members = self.images.members[label]
        return members[draw(rng, len(members), self.images_per_class)]
