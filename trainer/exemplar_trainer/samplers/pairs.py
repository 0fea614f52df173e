"""Balanced pairs for the siamese losses: half of one class, half of two.

Rows 2i and 2i + 1 of a batch are a pair. A share of the pairs of two classes can be hard ones: both classes from the
same group.
"""

from __future__ import annotations

import numpy as np

from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.samplers.batch import Batch, draw


class PairSampler:
    """Draws `pairs` pairs a batch; see the module."""

    def __init__(self, images: ImageSet, pairs: int, hard_share: float, seed: int) -> None:
        """Have `hard_share`, 0 to 1, of the pairs of two classes stay within one group."""
        self.images = images
        self.pairs = pairs
        self.hard_share = hard_share
        self.seed = seed
        self.class_count = len(images.class_names)

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step, from 0."""
        rng = np.random.default_rng([self.seed, step])
        rows: list[int] = []
        for index in range(self.pairs):
            left = int(rng.integers(self.class_count))
            members = self.images.members[left]
            if index % 2 == 0:
                rows.extend(members[draw(rng, len(members), 2)].tolist())
            else:
                other = self.images.members[self._another(rng, left)]
                rows.extend((int(rng.choice(members)), int(rng.choice(other))))
        images = np.array(rows, dtype=np.int64)
        return Batch(images, self.images.labels[images], np.zeros(len(images), dtype=np.int64))

    def _another(self, rng: np.random.Generator, label: int) -> int:
        """Draw a class other than `label`; from its group for a hard pair, where the group has one."""
        group = self.images.classes_by_group[self.images.groups[label]]
        if len(group) > 1 and rng.random() < self.hard_share:
            return int(rng.choice(group[group != label]))
        other = int(rng.integers(self.class_count - 1))
        return other + (other >= label)
