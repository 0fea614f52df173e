"""Neighbourhood components analysis on a batch, by cosine.

Goldberger et al., "Neighbourhood Components Analysis", NIPS 2004; on normalised embeddings with a fixed scale as in
Laenen & Bertinetto, "On Episodes, Prototypical Networks, and Few-Shot Learning", NeurIPS 2021.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from exemplar_trainer.losses.pairwise import same_class


class NCA(keras.layers.Layer):
    """-log of the probability that a row's random neighbour is of its class; neighbours weigh exp(scale * cosine)."""

    def __init__(self, scale: float = 15.0) -> None:
        super().__init__(name="nca", dtype="float32")
        self.scale = scale

    def call(self, embeddings: Any, labels: Any) -> Any:
        """The mean over rows that have a positive; embeddings `[n, dimension]`, labels `[n]`, scalar out."""
        positive, negative = same_class(labels)
        logits = self.scale * ops.matmul(embeddings, ops.transpose(embeddings))
        logits = logits - ops.stop_gradient(ops.max(logits, axis=1, keepdims=True))
        weights = ops.exp(logits)
        right = ops.sum(weights * positive, axis=1)
        everyone = right + ops.sum(weights * negative, axis=1)
        has_positive = ops.cast(ops.sum(positive, axis=1) > 0, "float32")
        losses = ops.log(everyone + 1e-12) - ops.log(right + 1e-12)
        return ops.sum(losses * has_positive) / ops.maximum(ops.sum(has_positive), 1.0)
