"""Shared by the batch-wise losses: distances, and which rows are of one class."""

from __future__ import annotations

from typing import Any

from keras import ops

# Takes a row out of a sum of exponentials; small enough to leave its neighbors' float32 values as they are.
FAR = 1e4

# Keeps the square root's gradient finite where two embeddings coincide.
_TINY = 1e-12


def euclidean(squared: Any) -> Any:
    """Return a distance from its square, with a finite gradient at 0."""
    return ops.sqrt(ops.maximum(squared, 0.0) + _TINY)


def distances(embeddings: Any) -> Any:
    """Return Euclidean distances `[n, n]` between unit vectors `[n, dimension]`."""
    return euclidean(2.0 - 2.0 * ops.matmul(embeddings, ops.transpose(embeddings)))


def same_class(labels: Any) -> tuple[Any, Any]:
    """Return two float masks `[n, n]`: positives (same class, not the row itself) and negatives (another class)."""
    equal = ops.cast(ops.expand_dims(labels, 0) == ops.expand_dims(labels, 1), "float32")
    return equal - ops.eye(ops.shape(labels)[0], dtype="float32"), 1.0 - equal
