"""Lifted structured loss, in the smooth form.

Oh Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016: each positive pair of the
batch is set against all negatives of both its ends.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from exemplar_trainer.losses.pairwise import distances, same_class


class LiftedStructured(keras.layers.Layer):
    """Mean over positive pairs of max(0, J)^2 / 2, J = log sum exp(margin - d(negatives)) + d(pair)."""

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__(name="lifted", dtype="float32")
        self.margin = margin

    def call(self, embeddings: Any, labels: Any) -> Any:
        """Return the loss, a scalar, of embeddings `[n, dimension]` with labels `[n]`."""
        positive, negative = same_class(labels)
        distance = distances(embeddings)
        pushes = ops.sum(ops.exp(self.margin - distance) * negative, axis=1)
        both_ends = ops.expand_dims(pushes, 0) + ops.expand_dims(pushes, 1)
        violation = ops.maximum(ops.log(both_ends + 1e-12) + distance, 0.0)
        pairs = ops.maximum(ops.sum(positive), 1.0)
        return ops.sum(ops.square(violation) * positive) / (2.0 * pairs)
