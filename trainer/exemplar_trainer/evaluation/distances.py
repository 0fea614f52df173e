"""Distances between embeddings, as every judgment here takes them."""

from __future__ import annotations

import numpy as np

from exemplar_encoder.arrays import Floats


def pairwise_distances(a: Floats, b: Floats) -> Floats:
    """Return Euclidean distances float32 `[len(a), len(b)]` between unit vectors."""
    squared: Floats = np.maximum(2.0 - 2.0 * (a @ b.T), 0.0)
    return np.sqrt(squared)
