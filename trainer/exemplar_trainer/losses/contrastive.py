"""Contrastive loss on pairs, by Euclidean distance.

Hadsell, Chopra & LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006. With y = 0 for a pair
of one class and 1 for a pair of two: mean of (1 - y) d^2 + y max(margin - d, 0)^2.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from exemplar_trainer.losses.pairwise import euclidean


class Contrastive(keras.layers.Layer):
    """Contrastive loss on the distance that prediction uses; rows 2i and 2i + 1 of a batch are a pair."""

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__(name="contrastive", dtype="float32")
        self.margin = margin

    def call(self, embeddings: Any, labels: Any) -> Any:
        """Embeddings `[2n, dimension]`, labels `[2n]`, scalar out."""
        different = ops.cast(labels[0::2] != labels[1::2], "float32")
        distance = euclidean(ops.sum(ops.square(embeddings[0::2] - embeddings[1::2]), axis=1))
        near = ops.square(distance)
        far = ops.square(ops.maximum(self.margin - distance, 0.0))
        return ops.mean((1.0 - different) * near + different * far)
