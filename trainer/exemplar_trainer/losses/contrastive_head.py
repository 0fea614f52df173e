"""Contrastive loss on a learned distance: a sigmoid of the weighted |a - b|.

The siamese head of the first sketch, after Koch, Zemel & Salakhutdinov, "Siamese Neural Networks for One-shot Image
Recognition", 2015. Prediction uses the Euclidean distance all the same; this head is here to show what that costs.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from exemplar_trainer.losses.contrastive import as_pairs, contrastive


class ContrastiveHead(keras.layers.Layer):
    """Contrastive loss with d = sigmoid(w . |a - b| + c), in (0, 1)."""

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__(name="contrastive_head", dtype="float32")
        self.margin = margin
        self.head = layers.Dense(1, activation="sigmoid", name="distance", dtype="float32")

    def build(self, embeddings_shape: tuple[int | None, ...]) -> None:
        """Draw one weight for each of the embedding's values, and a bias."""
        self.head.build(embeddings_shape)

    def call(self, embeddings: Any, labels: Any) -> Any:
        """Return the loss, a scalar, of embeddings `[2n, dimension]` with labels `[2n]`."""
        left, right, different = as_pairs(embeddings, labels)
        distance = ops.squeeze(self.head(ops.abs(left - right)), axis=1)
        return contrastive(distance, different, self.margin)
