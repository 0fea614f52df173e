"""Exact nearest neighbors of float32 vectors, by FAISS.

The index is a pure function of its rows: identifiers and vectors in, distances out. FAISS works with squared
distances; they become Euclidean here and nowhere else. FAISS also rounds differently for one query and for many, so
the distances of the nearest rows are computed again from the vectors: an answer does not depend on what it was
batched with.
"""

from __future__ import annotations

import faiss
import numpy as np

from exemplar_encoder.arrays import Floats, Ints

# FAISS's batch search computes |x|^2 + |y|^2 - 2xy in float32; this bounds its error, relative to the squared norms.
_ROUNDING = 1e-5
_SPARE = 8

# Up to this many multiplications a search takes about a millisecond or less on one thread. More threads would have to
# meet at a barrier, where they wait for each other to be scheduled beside the encoder's: on a busy machine that made
# naming an image five times slower.
_ONE_THREAD_PRODUCTS = 4_000_000
_THREADS = faiss.omp_get_max_threads()


class FlatIndex:
    """Vectors by row number; the caller sees to it that nothing searches during `add` or `remove`."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        # GPU indexes cannot remove, so there they are built anew; see `remove`.
        self._gpu = faiss.StandardGpuResources() if faiss.get_num_gpus() > 0 else None
        self._index = self._empty()
        self._norm = 0.0

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, rows: Ints, vectors: Floats) -> None:
        """Add `rows` int64 `[n]`, none of them held yet, with their `vectors` float32 `[n, dimension]`.

        FAISS would keep two vectors under one identifier in silence, so a row to be replaced is removed first.
        """
        if len(rows):
            self._norm = max(self._norm, float(np.square(vectors, dtype=np.float64).sum(axis=1).max()))
            self._index.add_with_ids(vectors, rows)

    def remove(self, rows: Ints) -> None:
        """Remove those of `rows` that are held."""
        if not len(rows):
            return
        if self._gpu is None:
            self._index.remove_ids(faiss.IDSelectorBatch(rows))
            return
        held, vectors = self.contents()
        keep = ~np.isin(held, rows)
        self._index = self._empty()
        self._index.add_with_ids(vectors[keep], held[keep])

    def contents(self) -> tuple[Ints, Floats]:
        """Return all rows int64 `[n]` and their vectors float32 `[n, dimension]`, as copies."""
        rows = faiss.vector_to_array(self._index.id_map).astype(np.int64)
        return rows, self._index.index.reconstruct_n(0, len(rows)) if len(rows) else self._no_vectors()

    def nearest(self, queries: Floats, count: int) -> tuple[Ints, Floats]:
        """Return every row that may be among the `count` nearest, ties included.

        Args:
            queries: finite float32 `[n, dimension]`.
            count: at least 1.

        Returns:
            Rows int64 `[n, m]` and Euclidean distances float32 `[n, m]`, in no particular order; m is at least
            `min(count, len(self))`.
        """
        total = len(self)
        if total == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        # OpenMP keeps this setting for each calling thread, so one search does not set another's.
        faiss.omp_set_num_threads(1 if queries.size * total <= _ONE_THREAD_PRODUCTS else _THREADS)
        wanted = min(count, total)
        fetched = min(total, wanted + _SPARE)
        while True:
            squared, rows = self._index.search(queries, fetched)
            if fetched == total:
                break
            # Rounding may swap neighbors, and equals may lie beyond the last: both are ruled out when the last
            # row fetched is farther than the last one wanted by more than rounding.
            largest = float(np.square(queries, dtype=np.float64).sum(axis=1).max())
            slack = _ROUNDING * (self._norm + largest)
            if bool((squared[:, -1] > squared[:, wanted - 1] + slack).all()):
                break
            fetched = min(total, fetched * 4)
        vectors = self._index.reconstruct_batch(rows.ravel()).reshape(*rows.shape, self.dimension)
        return rows, np.sqrt(np.square(vectors - queries[:, None, :]).sum(axis=-1))

    def _empty(self) -> faiss.IndexIDMap2:
        if self._gpu is None:
            return faiss.IndexIDMap2(faiss.IndexFlatL2(self.dimension))
        return faiss.IndexIDMap2(faiss.GpuIndexFlatL2(self._gpu, self.dimension))

    def _no_vectors(self) -> Floats:
        return np.empty((0, self.dimension), np.float32)
