"""Exact nearest neighbors of float32 vectors in memory, by FAISS.

FAISS works with squared distances; they become Euclidean here and nowhere else. It also rounds differently for one
query and for many, so the distances of the nearest rows are computed again from the vectors: an answer does not
depend on what it was batched with.
"""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.index.vector_index import Fingerprints, exact_distances_of, fingerprint

# FAISS's batch search computes |x|^2 + |y|^2 - 2xy in float32, on a CPU and on a GPU; this bounds its error, relative
# to the squared norms.
_ROUNDING = 1e-5
_SPARE = 8

# Up to this many multiplications a search takes about a millisecond or less on one thread. More threads would have to
# meet at a barrier, where they wait for each other to be scheduled beside the encoder's: on a busy machine that made
# naming an image five times slower.
ONE_THREAD_PRODUCTS = 4_000_000
_THREADS = faiss.omp_get_max_threads()


class FlatIndex:
    """The exact `VectorIndex`."""

    def __init__(self, dimension: int, enough: int | None = None) -> None:
        """Make an empty index.

        Args:
            dimension: of the vectors.
            enough: how many vectors it serves as well as another would; None for any number.
        """
        self.dimension = dimension
        self._enough = enough
        self._index = faiss.IndexIDMap2(faiss.IndexFlatL2(dimension))
        self._norm = 0.0

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def put(self, rows: Ints, vectors: Floats) -> None:
        """See `VectorIndex`. FAISS would keep two vectors under one identifier in silence, so the old go first."""
        if len(rows):
            self.remove(rows)
            self._norm = max(self._norm, float(np.square(vectors, dtype=np.float64).sum(axis=1).max()))
            self._index.add_with_ids(vectors, rows)

    def remove(self, rows: Ints) -> None:
        """See `VectorIndex`."""
        if len(rows) and len(self):
            self._index.remove_ids(faiss.IDSelectorBatch(rows))

    def nearest(self, queries: Floats, count: int) -> tuple[Ints, Floats]:
        """See `VectorIndex`."""
        total = len(self)
        if total == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        # OpenMP keeps this setting for each calling thread, so one search does not set another's.
        faiss.omp_set_num_threads(1 if queries.size * total <= ONE_THREAD_PRODUCTS else _THREADS)
        rows = fetch(
            lambda fetched: self._index.search(queries, fetched), min(count, total), total, self.slack(queries), total
        )
        assert rows is not None, "all of them may be fetched"
        return rows, exact_distances_of(rows, queries, self._index.reconstruct_batch)

    def slack(self, queries: Floats) -> float:
        """Return by how much FAISS's rounding may change one squared distance from `queries` against another."""
        return _ROUNDING * (self._norm + float(np.square(queries, dtype=np.float64).sum(axis=1).max()))

    def rows(self) -> Ints:
        """See `VectorIndex`."""
        return np.array(faiss.vector_to_array(self._index.id_map), np.int64)

    def vectors(self, rows: Ints) -> Floats:
        """See `VectorIndex`."""
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        return np.asarray(self._index.reconstruct_batch(rows))

    def fingerprints(self) -> tuple[Ints, Fingerprints]:
        """See `VectorIndex`."""
        rows = self.rows()
        return rows, fingerprint(rows, self.vectors(rows))

    def doubtful(self, count: int) -> bool:
        """See `VectorIndex`."""
        return len(self) != count

    def mended(self) -> None:
        """Do nothing: it is doubtful only while it holds another number."""

    def outgrown(self) -> bool:
        """See `VectorIndex`."""
        return self._enough is not None and len(self) > self._enough

    def clear(self) -> None:
        """See `VectorIndex`."""
        self.close()

    def close(self) -> None:
        """Let go of the vectors."""
        self._index.reset()


def fetch(
    search: Callable[[int], tuple[Floats, Ints]], wanted: int, total: int, slack: float, largest: int
) -> Ints | None:
    """Search for more and more until no row that is left out can be among the `wanted` nearest.

    Rounding may swap neighbors, and equals may lie beyond the last one fetched: both are ruled out when enough rows
    are nearer than the last by more than rounding.

    Args:
        search: returns so many of the nearest for each query: squared distances float32 `[n, m]`, ascending, and rows
            int64 `[n, m]`, -1 for one that does not count.
        wanted: how many that count are wanted for each query; there are as many.
        total: how many there are, with those that do not count.
        slack: the rounding of a squared distance.
        largest: how many can be fetched at once.

    Returns:
        Rows int64 `[n, m]`, as `search` returns them; None if `largest` is too few.
    """
    fetched = min(total, wanted + _SPARE)
    while fetched <= largest:
        squared, rows = search(fetched)
        nearer = (squared[:, -1:] > squared + slack) & (rows >= 0)
        if fetched == total or bool((nearer.sum(axis=1) >= wanted).all()):
            return rows
        fetched = min(total, fetched * 4)
    return None
