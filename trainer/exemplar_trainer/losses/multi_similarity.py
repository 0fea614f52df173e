"""Multi-similarity loss with its pair mining.

Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", CVPR 2019: pairs are kept
that come near the hardest of the other kind, and weighed by how hard they are, alone and among their like.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from exemplar_trainer.losses.pairwise import FAR, same_class


class MultiSimilarity(keras.layers.Layer):
    """Mean of log(1 + sum e^{-alpha (S_p - base)}) / alpha + log(1 + sum e^{beta (S_n - base)}) / beta."""

    def __init__(self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, epsilon: float = 0.1) -> None:
        super().__init__(name="multi_similarity", dtype="float32")
        self.alpha, self.beta, self.base, self.epsilon = alpha, beta, base, epsilon

    def call(self, embeddings: Any, labels: Any) -> Any:
        """Return the mean over rows; embeddings `[n, dimension]`, labels `[n]`, scalar out."""
        positive, negative = same_class(labels)
        cosine = ops.matmul(embeddings, ops.transpose(embeddings))
        hardest_positive = ops.min(cosine + FAR * (1.0 - positive), axis=1, keepdims=True)
        hardest_negative = ops.max(cosine - FAR * (1.0 - negative), axis=1, keepdims=True)
        near = negative * ops.cast(cosine > hardest_positive - self.epsilon, "float32")
        far = positive * ops.cast(cosine < hardest_negative + self.epsilon, "float32")
        pull = ops.sum(ops.exp(-self.alpha * (cosine - self.base)) * far, axis=1)
        push = ops.sum(ops.exp(self.beta * (cosine - self.base)) * near, axis=1)
        return ops.mean(ops.log1p(pull) / self.alpha + ops.log1p(push) / self.beta)
