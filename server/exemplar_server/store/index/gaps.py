"""A gallery's gaps: the distance from each class to its nearest other class, kept up as classes come and go.

They are measured on at most 256 classes, chosen by a hash of their row numbers: a function of the rows alone, the
same whatever order they came in and after every start. A new class is compared with those 256 only; the index is
searched for a class that enters the sample, or that lost its nearest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_encoder.calibration import gaps_of
from exemplar_encoder.kinds_of_picture import Cloud
from exemplar_server.store.index.vector_index import Fingerprints, VectorIndex, mixed

_SAMPLE = 256


class Gaps:
    """See the module. Every change of the index must be told; `value` may be asked for by many threads at once."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index
        self._stale = True
        self._forget()
        self._value: Floats | None = None
        self.classes = Cloud.of(self._vectors)
        """The classes measured, as they were when `value` was last asked for."""
        self._lock = threading.Lock()

    def added(self, rows: Ints, vectors: Floats) -> None:
        """Take in new `rows` int64 `[n]` with `vectors` float32 `[n, dimension]`, which are in the index by now."""
        if self._stale or not len(rows):
            return
        if len(rows) > _SAMPLE:
            self._forget()  # to choose and search anew costs less
            return
        self._changed = True
        if len(self._rows):
            distances = np.sqrt(np.square(vectors[None, :, :] - self._vectors[:, None, :]).sum(axis=-1))
            closest = distances.argmin(axis=1)
            found = distances[np.arange(len(closest)), closest]
            nearer = found < self._nearest  # and not where the nearest is yet to be looked up, NaN
            self._nearest[nearer], self._neighbor[nearer] = found[nearer], rows[closest[nearer]]
        self._choose(rows, lambda chosen: vectors[chosen])

    def removed(self, rows: Ints) -> None:
        """Take out `rows` int64 `[n]`, which are in the index no longer; rows that never were do no harm."""
        if self._stale or not len(rows):
            return
        self._changed = True
        if np.isin(self._rows, rows).any():
            self._forget()  # a class outside the sample takes the place; which one, only all rows can tell
        else:
            self._nearest[np.isin(self._neighbor, rows)] = np.nan

    def value(self) -> Floats | None:
        """Return the gaps, ascending; None while there are fewer than two classes."""
        with self._lock:
            if self._stale:
                rows = self._index.rows()
                self._choose(rows, lambda chosen: self._index.vectors(rows[chosen]))
                self._stale = False
            if self._changed:
                self._look_up()
                self._value = np.sort(self._nearest) if len(self._index) > 1 else None
                self.classes = Cloud.of(self._vectors)
                self._changed = False
            return self._value

    def value_with(self, joining: Floats) -> Floats | None:
        """Return the gaps as they would be with more classes, float32 `[m, dimension]`, in the index.

        Of a gallery that is measured by a sample, those of the sample's classes.
        """
        gaps = self.value()
        if len(self._rows) == len(self._index):
            return gaps_of(np.concatenate([self._vectors, joining]))
        if gaps is None or not len(joining):
            return gaps
        nearest: Floats = np.sort(np.minimum(self._nearest, _to_nearest(self._vectors, joining)))
        return nearest

    def _forget(self) -> None:
        self._rows: Ints = np.empty(0, np.int64)
        self._vectors: Floats = np.empty((0, self._index.dimension), np.float32)
        self._nearest: Floats = np.empty(0, np.float32)
        self._neighbor: Ints = np.empty(0, np.int64)
        self._stale = self._changed = True

    def _choose(self, rows: Ints, vectors: Callable[[Ints], Floats]) -> None:
        """Let classes into the sample, or leave them out; `vectors` gives those at some places of `rows`."""
        held = len(self._rows)
        kept = _least(mixed(np.concatenate([self._rows, rows]).astype(np.uint64)))
        old, new = kept[kept < held], kept[kept >= held] - held
        entering = vectors(new)  # first, since it may fail
        self._rows = np.concatenate([self._rows[old], rows[new]])
        self._vectors = np.concatenate([self._vectors[old], entering])
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


def _to_nearest(vectors: Floats, others: Floats) -> Floats:
    """Return how far each of `vectors` float32 `[n, dimension]` is from the nearest of `others`, float32 `[n]`."""
    closer = np.square(others).sum(axis=1) - 2.0 * (vectors @ others.T)
    distances: Floats = np.linalg.norm(vectors - others[closer.argmin(axis=1)], axis=1)
    return distances


def _least(keys: Fingerprints) -> Ints:
    """Return where the `_SAMPLE` least of distinct keys are, in their order."""
    if len(keys) <= _SAMPLE:
        return np.argsort(keys)
    least = np.argpartition(keys, _SAMPLE)[:_SAMPLE]
    return np.asarray(least[np.argsort(keys[least])], np.int64)
