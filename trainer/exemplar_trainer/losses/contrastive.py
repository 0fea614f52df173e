"""Contrastive loss on pairs, by Euclidean distance.

Hadsell, Chopra & LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006. With y = 0 for a pair
of one class and 1 for a pair of two: mean of (1 - y) d^2 + y max(margin - d, 0)^2.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from exemplar_trainer.losses.pairwise import euclidean


def contrastive(distance: Any, different: Any, margin: float) -> Any:
    """Return the loss from distances `[n]` and labels `[n]` (1.0 where the two classes differ)."""
    near = ops.square(distance)
    far = ops.square(ops.maximum(margin - distance, 0.0))
    return ops.mean((1.0 - different) * near + different * far)


def as_pairs(embeddings: Any, labels: Any) -> tuple[Any, Any, Any]:
    """Return rows 2i and 2i + 1 as pairs: left `[n, dimension]`, right `[n, dimension]`, different `[n]`."""
    different = ops.cast(labels[0::2] != labels[1::2], "float32")
    return embeddings[0::2], embeddings[1::2], different


class Contrastive(keras.layers.Layer):
    """Contrastive loss on the distance that prediction uses."""

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__(name="contrastive", dtype="float32")
        self.margin = margin

    def call(self, embeddings: Any, labels: Any) -> Any:
        """Return the loss, a scalar, of embeddings `[2n, dimension]` with labels `[2n]`."""
        left, right, different = as_pairs(embeddings, labels)
        distance = euclidean(ops.sum(ops.square(left - right), axis=1))
        return contrastive(distance, different, self.margin)
