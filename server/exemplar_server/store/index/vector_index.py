"""The vectors of one gallery by row number, to be searched: the promises of every index, as one interface.

An index is derived. It holds copies of vectors that the truth has, can be built from them anew, and no promise of the
service rests on it: what it is not sure to hold it says by `doubtful`, and it is mended from the truth.

Searches may run beside each other. The caller sees to it that nothing else runs beside `put`, `remove` and `close`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from exemplar_encoder.arrays import Floats, Ints

# So many values of vectors are gathered at once.
_CELLS = 1 << 20

Fingerprints = npt.NDArray[np.uint64]


class IndexBehind(Exception):  # noqa: N818 - to be caught, followed, and asked again
    """The truth has moved on: the index is to follow first."""


class VectorIndex(Protocol):
    """See the module. Rows are int64 numbers from 1 on, vectors float32; distances are Euclidean.

    A method that needs another machine raises `UnavailableError` when that does not answer; one that needs the truth
    may raise `IndexBehind`.
    """

    dimension: int

    def __len__(self) -> int:
        """Return how many vectors it was given and is to hold."""
        ...

    def put(self, rows: Ints, vectors: Floats) -> None:
        """Hold `rows` int64 `[n]`, none of them twice, with `vectors` float32 `[n, dimension]`.

        A row that is held already is replaced. Putting the same again changes nothing.
        """
        ...

    def remove(self, rows: Ints) -> None:
        """Hold `rows` int64 `[n]` no longer, those of them that are held."""
        ...

    def nearest(self, queries: Floats, count: int) -> tuple[Ints, Floats]:
        """Return rows that may be among the `count` nearest, with a few to spare.

        An exact index returns every such row, ties included.

        Args:
            queries: finite float32 `[n, dimension]`, C-contiguous.
            count: at least 1.

        Returns:
            Rows int64 `[n, m]` and distances float32 `[n, m]`, in no particular order; m is at least
            `min(count, len(self))` for an exact index. Where there is no further row: -1 and infinity. Distances are
            those of `exact_distances`, computed in float32, and do not depend on what else is asked.
        """
        ...

    def rows(self) -> Ints:
        """Return all rows int64 `[n]`, in any order, as a copy."""
        ...

    def vectors(self, rows: Ints) -> Floats:
        """Return the vectors of `rows` int64 `[n]`, all of them held, as a copy float32 `[n, dimension]`."""
        ...

    def fingerprints(self) -> tuple[Ints, Fingerprints]:
        """Return all rows int64 `[n]` with the `fingerprint` of each as it is held; a row may be there twice."""
        ...

    def doubtful(self, count: int) -> bool:
        """Return whether it may hold something else than the `count` vectors that it was given."""
        ...

    def mended(self) -> None:
        """Take note that what `fingerprints` told was compared with the truth, and put right."""
        ...

    def outgrown(self) -> bool:
        """Return whether an index built anew would serve better; building is the caller's, in the background."""
        ...

    def clear(self) -> None:
        """Hold nothing any more: the gallery is gone."""
        ...

    def close(self) -> None:
        """Let go of what it holds in this process; it is used no more."""
        ...


def exact_distances(vectors: Floats, queries: Floats) -> Floats:
    """Return the distances float32 `[n, m]` of `queries` `[n, dimension]` to `vectors` `[n, m, dimension]`."""
    return np.asarray(np.sqrt(np.square(vectors - queries[:, None, :]).sum(axis=-1)), np.float32)


def exact_distances_of(rows: Ints, queries: Floats, vectors: Callable[[Ints], Floats]) -> Floats:
    """Return the distances float32 `[n, m]` of `queries` `[n, dimension]` to some rows each, in bounded memory.

    Args:
        rows: int64 `[n, m]`; there may be as many as the gallery has, where all of them tie.
        queries: float32 `[n, dimension]`.
        vectors: returns the vectors of rows int64 `[k]`.
    """
    distances = np.empty(rows.shape, np.float32)
    step = max(1, _CELLS // max(1, rows.shape[1] * queries.shape[1]))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        found = vectors(part.ravel()).reshape(*part.shape, queries.shape[1])
        distances[start : start + step] = exact_distances(found, queries[start : start + step])
    return distances


def fingerprint(rows: Ints, vectors: Floats) -> Fingerprints:
    """Return 64 bits over each row's number and vector, uint64 `[n]`, the same on every machine.

    Each 32-bit word of a vector is multiplied by an odd number of its place, and sum and row are mixed by
    SplitMix64's finalizer (Steele, Lea & Flood, OOPSLA 2014): a changed word always changes the sum.
    """
    words = np.ascontiguousarray(vectors, "<f4").view("<u4")
    places = mixed(np.arange(1, words.shape[1] + 1, dtype=np.uint64)) | np.uint64(1)
    total = np.zeros(len(words), np.uint64)
    for place in range(words.shape[1]):
        total += words[:, place].astype(np.uint64) * places[place]
    return mixed(total ^ mixed(np.asarray(rows).astype(np.uint64)))


def mixed(values: Fingerprints) -> Fingerprints:
    """Return a hash of each uint64 (SplitMix64's finalizer)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
