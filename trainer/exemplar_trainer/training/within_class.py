"""The spread of vectors within classes, and the linear map that evens it out.

Hatch, Kajarekar & Stolcke, "Within-Class Covariance Normalization for SVM-based Speaker Recognition", Interspeech
2006.
"""

from __future__ import annotations

import numpy as np

from exemplar_encoder.arrays import Floats, Floats64, Ints


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
