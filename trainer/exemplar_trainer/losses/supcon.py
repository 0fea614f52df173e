"""Supervised contrastive loss.

Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, the form with the sum outside the logarithm. Where a
class has two images in a batch it is NCA; with more, NCA is content with one near positive, and this wants all near.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from exemplar_trainer.losses.pairwise import FAR, same_class


class SupervisedContrastive(keras.layers.Layer):
    """The mean over positives of -log of exp(scale * cosine) over its sum for all other rows."""

    def __init__(self, scale: float = 15.0) -> None:
        super().__init__(name="supcon", dtype="float32")
        self.scale = scale

    def call(self, embeddings: Any, labels: Any) -> Any:
        """Return the mean over rows that have a positive; embeddings `[n, dimension]`, labels `[n]`, scalar out."""
        positive, negative = same_class(labels)
        logits = self.scale * ops.matmul(embeddings, ops.transpose(embeddings))
        everyone = ops.logsumexp(logits - FAR * (1.0 - positive - negative), axis=1)
        count = ops.sum(positive, axis=1)
        mean = ops.sum(logits * positive, axis=1) / ops.maximum(count, 1.0)
        has_positive = ops.cast(count > 0, "float32")
        return ops.sum((everyone - mean) * has_positive) / ops.maximum(ops.sum(has_positive), 1.0)
