"""The exact index alone: what holds of it beyond the promises that all indexes share."""

from __future__ import annotations

import tracemalloc

import numpy as np

from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.vector_index import exact_distances


def test_however_many_vectors_tie_a_batch_takes_bounded_memory() -> None:
    index = FlatIndex(32)
    vectors = np.tile(np.eye(32, dtype=np.float32)[0], (5000, 1))
    index.put(np.arange(1, 5001, dtype=np.int64), vectors)
    queries = np.tile(np.eye(32, dtype=np.float32)[1], (200, 1))
    tracemalloc.start()
    rows, distances = index.nearest(queries, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.shape == (200, 5000)
    assert (distances == exact_distances(vectors[None], queries)).all()
    assert peak < 60_000_000  # at once they would be 128 MB, and as much again for their differences
