"""The one embedding that a class is searched by: the mean of its exemplars', of unit length again."""

from __future__ import annotations

import numpy as np

from exemplar_encoder.arrays import Floats


def class_embedding(exemplars: Floats) -> Floats:
    """Average the exemplars of a class, or of many classes at once.

    A lone exemplar's embedding is taken as it is, so that models which do not normalize keep their lengths; so is a
    mean of length zero, which has no direction.

    Args:
        exemplars: embeddings, float32 `[..., shot, dimension]`, with one shot or more.

    Returns:
        float32 `[..., dimension]`.
    """
    if exemplars.shape[-2] == 1:
        lone: Floats = exemplars[..., 0, :]
        return lone
    mean = exemplars.mean(axis=-2, dtype=np.float64)
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    return np.asarray(mean / np.where(length > 0, length, 1.0), dtype=np.float32)
