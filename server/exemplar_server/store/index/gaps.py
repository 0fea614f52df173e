"""A gallery's gaps: the distance from each class to its nearest other class, kept up as classes come and go.

They are measured on at most 256 classes, chosen by a hash of their row numbers: a function of the rows alone, the
same whatever order they came in and after every start. A new class is compared with those 256 only; the index is
searched for a class that enters the sample, or that lost its nearest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.faiss_index import FlatIndex

_SAMPLE = 256


class Gaps:
    """See the module. Every change of the index must be told; for one thread at a time."""

    def __init__(self, index: FlatIndex) -> None:
        self._index = index
        self._rows: Ints = np.empty(0, np.int64)
        self._vectors: Floats = np.empty((0, index.dimension), np.float32)
        self._nearest: Floats = np.empty(0, np.float32)
        self._neighbor: Ints = np.empty(0, np.int64)
        self._stale = False
        self._value: Floats | None = None
        self._changed = False

    def added(self, rows: Ints, vectors: Floats) -> None:
        """Take in new `rows` int64 `[n]` with `vectors` float32 `[n, dimension]`, which are in the index by now."""
        if self._stale or not len(rows):
            return
        self._changed = True
        if len(self._rows):
            distances = np.sqrt(np.square(vectors[None, :, :] - self._vectors[:, None, :]).sum(axis=-1))
            closest = distances.argmin(axis=1)
            found = distances[np.arange(len(closest)), closest]
            nearer = found < self._nearest  # and not where the nearest is yet to be looked up, NaN
            self._nearest[nearer], self._neighbor[nearer] = found[nearer], rows[closest[nearer]]
        self._choose(rows, vectors)

    def removed(self, rows: Ints) -> None:
        """Take out `rows` int64 `[n]`, which are in the index no longer."""
        if self._stale or not len(rows):
            return
        self._changed = True
        if np.isin(self._rows, rows).any():
            self._stale = True  # a class outside the sample takes the place; which one, only all rows can tell
        else:
            self._nearest[np.isin(self._neighbor, rows)] = np.nan

    def value(self) -> Floats | None:
        """Return the gaps, ascending; None while there are fewer than two classes."""
        if self._stale:
            self._rows, self._vectors = self._rows[:0], self._vectors[:0]
            self._nearest, self._neighbor = self._nearest[:0], self._neighbor[:0]
            self._choose(*self._index.contents())
            self._stale = False
        if self._changed:
            self._changed = False
            self._look_up()
            self._value = np.sort(self._nearest) if len(self._index) > 1 else None
        return self._value

    def _choose(self, rows: Ints, vectors: Floats) -> None:
        """Let classes into the sample, or leave them out."""
        held = len(self._rows)
        kept = np.argsort(_keys(np.concatenate([self._rows, rows])), kind="stable")[:_SAMPLE]
        old, new = kept[kept < held], kept[kept >= held] - held
        self._rows = np.concatenate([self._rows[old], rows[new]])
        self._vectors = np.concatenate([self._vectors[old], vectors[new]])
        self._nearest = np.concatenate([self._nearest[old], np.full(len(new), np.nan, np.float32)])
        self._neighbor = np.concatenate([self._neighbor[old], np.full(len(new), -1, np.int64)])

    def _look_up(self) -> None:
        unknown = np.flatnonzero(np.isnan(self._nearest))
        if not len(unknown) or len(self._index) < 2:
            return
        rows, distances = self._index.nearest(self._vectors[unknown], 2)
        distances = np.where(rows == self._rows[unknown, None], np.inf, distances)
        closest = distances.argmin(axis=1)
        places = np.arange(len(unknown))
        self._nearest[unknown], self._neighbor[unknown] = distances[places, closest], rows[places, closest]


def _keys(rows: Ints) -> npt.NDArray[np.uint64]:
    """Return a hash of each row (SplitMix64's finalizer: Steele, Lea & Flood, OOPSLA 2014)."""
    z = rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
