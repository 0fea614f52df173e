"""Within-class whitening: directions in which pictures of one class differ come to count less than others.

The loss leaves some uneven; training ends by scaling them by the spread of the training pictures around their
classes' means. That is a linear map, so the last layer takes it in, and the network that is served is as large as
before. Hatch, Kajarekar & Stolcke, "Within-Class Covariance Normalization for SVM-based Speaker Recognition",
Interspeech 2006.
"""

from __future__ import annotations

import keras
import numpy as np

from exemplar_encoder.arrays import Floats, Floats64, Ints
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.training.embed import embed

_EMBEDDING = "embedding"


def whiten(network: keras.Model, images: ImageSet) -> None:
    """Fold the whitening into a base network, in place.

    Args:
        network: ends in a dense layer named "embedding" and one that scales its output to unit length.
        images: what it was trained on.
    """
    layer = network.get_layer(_EMBEDDING)
    before_scaling = keras.Model(network.input, layer.output)
    transform = whitening(embed(before_scaling, images.pixels), images.labels)
    kernel, bias = (weights.astype(np.float64) for weights in layer.get_weights())
    turned = kernel @ transform
    scale = np.linalg.norm(kernel) / np.linalg.norm(turned)  # no direction depends on it, and weights keep their size
    layer.set_weights([turned * scale, bias @ transform * scale])


def whitening(vectors: Floats, labels: Ints) -> Floats64:
    """Return the inverse square root of the covariance within classes, its mean added in every direction.

    The addition keeps directions in which a small set hardly varies from being blown up.

    Args:
        vectors: float32 `[n, dimension]`.
        labels: the class of each, from 0, int64 `[n]`.

    Returns:
        float64 `[dimension, dimension]`, symmetric, to multiply vectors by from the right.
    """
    values = vectors.astype(np.float64)
    counts = np.bincount(labels)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, labels, values)
    apart = values - (sums / np.maximum(counts, 1)[:, None])[labels]
    spread, directions = np.linalg.eigh(apart.T @ apart / len(values))
    widened = np.maximum(spread, 0.0) + max(float(spread.mean()), np.finfo(np.float32).tiny)
    inverse_root: Floats64 = (directions / np.sqrt(widened)) @ directions.T
    return inverse_root
