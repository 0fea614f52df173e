"""Triplet loss with the hardest positive and negative of the batch.

Hermans, Beyer & Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, with the soft margin
log(1 + exp(x)) of that paper, which keeps pulling where a hard margin would stop.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from exemplar_trainer.losses.pairwise import distances, same_class


class BatchHardTriplet(keras.layers.Layer):
    """softplus((farthest positive - nearest negative) * sharpness) over the rows that have both."""

    def __init__(self, sharpness: float = 10.0) -> None:
        super().__init__(name="triplet", dtype="float32")
        self.sharpness = sharpness

    def call(self, embeddings: Any, labels: Any) -> Any:
        """Return the loss, a scalar, of embeddings `[n, dimension]` with labels `[n]`."""
        positive, negative = same_class(labels)
        distance = distances(embeddings)
        farthest_positive = ops.max(distance * positive, axis=1)
        # Unit vectors are at most 2 apart, so adding 4 takes a row's own class out of the running.
        nearest_negative = ops.min(distance + 4.0 * (1.0 - negative), axis=1)
        has_both = ops.cast((ops.sum(positive, axis=1) > 0) & (ops.sum(negative, axis=1) > 0), "float32")
        losses = ops.softplus(self.sharpness * (farthest_positive - nearest_negative))
        return ops.sum(losses * has_both) / ops.maximum(ops.sum(has_both), 1.0)
