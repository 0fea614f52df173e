"""NCA on the batch plus a large-margin cosine classifier over all training classes.

The classifier: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018. The batch term
shapes the neighborhoods that one-shot prediction uses; the classifier sees every class at every step. A class's own
other orientations are left out of its denominator: a round or symmetric letter looks the same in several.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from exemplar_trainer.losses.nca import NCA
from exemplar_trainer.losses.pairwise import FAR


class NCACosFace(keras.layers.Layer):
    """`NCA + weight * CosFace`; the class directions are weights of this layer and stay out of the bundle."""

    def __init__(
        self, classes: int, orientations: int = 1, weight: float = 0.5, margin: float = 0.2, scale: float = 25.0
    ) -> None:
        """Take `classes` labels, of which each run of `orientations` is one class turned and mirrored."""
        super().__init__(name="nca_cosface", dtype="float32")
        self.orientations = orientations
        self.classes, self.weight, self.margin, self.scale = classes, weight, margin, scale
        self.nca = NCA()

    def build(self, embeddings_shape: tuple[int | None, ...]) -> None:
        """Draw one direction `[dimension]` a class."""
        self.directions = self.add_weight(
            shape=(self.classes, embeddings_shape[-1]), initializer="random_normal", name="directions"
        )

    def call(self, embeddings: Any, labels: Any) -> Any:
        """Return the loss, a scalar, of embeddings `[n, dimension]` with labels `[n]` below `classes`."""
        directions = ops.normalize(self.directions, axis=-1)
        cosine = ops.matmul(embeddings, ops.transpose(directions))
        own = ops.one_hot(labels, self.classes, dtype="float32")
        symbols = ops.arange(self.classes, dtype="int32") // self.orientations
        alike = (
            ops.cast(ops.expand_dims(ops.cast(labels, "int32"), 1) // self.orientations == symbols, "float32") - own
        )
        logits = self.scale * (cosine - self.margin * own) - FAR * alike
        cosface = ops.mean(ops.logsumexp(logits, axis=1) - ops.sum(logits * own, axis=1))
        return self.nca(embeddings, labels) + self.weight * cosface
