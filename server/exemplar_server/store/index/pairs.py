"""The nearest pairs among many vectors, exactly and within bounded memory.

All pairs are looked at, a block of rows at a time; a block keeps only what can still count. For n vectors that is
n^2/2 distances: about a second for 10,000 vectors, and minutes beyond 100,000.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exemplar_encoder.arrays import Floats, Ints

_BLOCK_CELLS = 1_000_000


def nearest_pairs(
    vectors: Floats, count: int, threshold: float, go_on: Callable[[], None] = lambda: None
) -> tuple[Ints, Floats, int]:
    """Find the nearest pairs.

    Args:
        vectors: float32 `[n, dimension]`; of two pairs equally far apart the one with the earlier rows comes first.
        count: how many pairs to return at most.
        threshold: Euclidean distance below which a pair is counted.
        go_on: called before each block; what it raises ends the search.

    Returns:
        Index pairs int64 `[m, 2]` with the lesser index first, their Euclidean distances float32 `[m]` ascending, and
        how many pairs are nearer than `threshold`.
    """
    n = len(vectors)
    close = 0
    best = np.empty((0, 2), np.int64)
    best_distances = np.empty(0, np.float32)
    cutoff = np.inf
    squares = np.square(vectors).sum(axis=1)
    slack = 1e-5 * float(squares.max(initial=0.0)) * 2
    step = max(1, _BLOCK_CELLS // max(1, n))
    for start in range(0, n, step):
        go_on()
        stop = min(n, start + step)
        squared = squares[start:stop, None] + squares[None, start:] - 2 * (vectors[start:stop] @ vectors[start:].T)
        reach = max(cutoff, threshold) ** 2 + slack
        first, second = np.nonzero(squared <= reach)
        later = first < second  # each pair once; the block's columns begin at `start` too
        first, second = first[later] + start, second[later] + start
        distances = _distances(vectors, first, second)
        close += int((distances.astype(np.float64) < threshold).sum())  # as a distance is compared that is shown
        near = distances <= cutoff
        best = np.concatenate([best, np.stack([first[near], second[near]], axis=1)])
        best_distances = np.concatenate([best_distances, distances[near]])
        order = np.lexsort((best[:, 1], best[:, 0], best_distances))[:count]
        best, best_distances = best[order], best_distances[order]
        if len(best) == count:
            cutoff = float(best_distances[-1]) if count else -1.0
    return best, best_distances, close


def _distances(vectors: Floats, first: Ints, second: Ints) -> Floats:
    """Exact distances of some pairs, a slice at a time since all may be asked for."""
    distances = np.empty(len(first), np.float32)
    step = max(1, _BLOCK_CELLS // max(1, vectors.shape[1]))
    for start in range(0, len(first), step):
        part = slice(start, start + step)
        distances[part] = np.sqrt(np.square(vectors[first[part]] - vectors[second[part]]).sum(axis=1))
    return distances
