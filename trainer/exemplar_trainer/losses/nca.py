"""Neighborhood components analysis on a batch, by cosine.

Goldberger et al., "Neighborhood Components Analysis", NIPS 2004; on normalized embeddings with a fixed scale as in
Laenen & Bertinetto, "On Episodes, Prototypical Networks, and Few-Shot Learning", NeurIPS 2021.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from exemplar_trainer.losses.pairwise import FAR, same_class


class NCA(keras.layers.Layer):
    """-log of the probability that a row's random neighbor is of its class; neighbors weigh exp(scale * cosine)."""

    def __init__(self, scale: float = 15.0) -> None:
        super().__init__(name="nca", dtype="float32")
        self.scale = scale

    def call(self, embeddings: Any, labels: Any) -> Any:
        """Return the mean over rows that have a positive; embeddings `[n, dimension]`, labels `[n]`, scalar out."""
        positive, negative = same_class(labels)
        logits = self.scale * ops.matmul(embeddings, ops.transpose(embeddings))
        # Sums stay logarithms throughout: a positive at the far end of the sphere weighs e^-30 of the nearest row.
        everyone = ops.logsumexp(logits - FAR * (1.0 - positive - negative), axis=1)
        right = ops.logsumexp(logits - FAR * (1.0 - positive), axis=1)
        has_positive = ops.cast(ops.sum(positive, axis=1) > 0, "float32")
        return ops.sum((everyone - right) * has_positive) / ops.maximum(ops.sum(has_positive), 1.0)
