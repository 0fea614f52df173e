"""Exact nearest neighbors of float32 vectors on a GPU, by FAISS.

The host holds every vector too. It computes the distances of an answer, answers what the GPU cannot, and takes over
for good when the GPU's memory runs out or FAISS reports another error of it: a `FlatIndex` does all of that, and the
GPU only finds candidates.

FAISS cannot take a vector out of an index on a GPU. One that was replaced or removed stays there, stale, and is
masked in what a search finds; when more than a tenth are stale, the GPU's index is built anew from the host's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import structlog

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.index.flat import FlatIndex, fetch
from exemplar_server.store.index.gpu_device import LARGEST_COUNT, DeviceIndex, Gpu, out_of_memory
from exemplar_server.store.index.vector_index import Fingerprints, exact_distances_of

_STALE = -1

_T = TypeVar("_T")

_log = structlog.get_logger()


class GpuIndex:
    """The exact `VectorIndex` on a GPU. What begins with `_device` runs in the GPU's thread only.

    Attributes:
        on_gpu: whether the GPU searches; False from when the host took over.
    """

    def __init__(self, dimension: int, gpu: Gpu, on_fallback: Callable[[], None] = lambda: None) -> None:
        """Take no memory of the GPU before the first vector.

        Args:
            dimension: of the vectors.
            gpu: where to search. It outlives the index.
            on_fallback: called once, from the GPU's thread, when the host takes over.
        """
        self.dimension = dimension
        self.on_gpu = True
        self._gpu = gpu
        self._on_fallback = on_fallback
        self._host = FlatIndex(dimension)
        self._index: DeviceIndex | None = None
        self._slots: Ints = np.empty(0, np.int64)  # the row of each vector on the GPU, or _STALE
        self._stale = 0

    def __len__(self) -> int:
        return len(self._host)

    def put(self, rows: Ints, vectors: Floats) -> None:
        """See `VectorIndex`."""
        if len(rows):
            self._host.put(rows, vectors)
            self._on_gpu(lambda: self._device_change(rows, vectors))

    def remove(self, rows: Ints) -> None:
        """See `VectorIndex`."""
        if len(rows) and len(self):
            self._host.remove(rows)
            none = np.empty((0, self.dimension), np.float32)
            self._on_gpu(lambda: self._device_change(rows, none))

    def nearest(self, queries: Floats, count: int) -> tuple[Ints, Floats]:
        """See `VectorIndex`."""
        rows = self._on_gpu(lambda: self._device_fetch(queries, count)) if len(self) else None
        if rows is None:
            return self._host.nearest(queries, count)
        held = rows != _STALE
        some = rows[held][0]  # each query has found a row
        distances = exact_distances_of(np.where(held, rows, some), queries, self._host.vectors)
        return rows, np.where(held, distances, np.float32(np.inf))

    def rows(self) -> Ints:
        """See `VectorIndex`."""
        return self._host.rows()

    def vectors(self, rows: Ints) -> Floats:
        """See `VectorIndex`."""
        return self._host.vectors(rows)

    def fingerprints(self) -> tuple[Ints, Fingerprints]:
        """See `VectorIndex`; of the host's vectors."""
        return self._host.fingerprints()

    def doubtful(self, count: int) -> bool:
        """See `VectorIndex`."""
        return len(self) != count

    def mended(self) -> None:
        """Do nothing: it is doubtful only while it holds another number."""

    def outgrown(self) -> bool:
        """Return False: it serves any number as well as it can."""
        return False

    def clear(self) -> None:
        """See `VectorIndex`."""
        self.close()

    def close(self) -> None:
        """Let go of the vectors, here and on the GPU."""
        self._gpu.call(self._device_close)
        self._host.close()

    def _on_gpu(self, function: Callable[[], _T]) -> _T | None:
        """Call a function in the GPU's thread; return None where the host has to do."""
        return self._gpu.call(lambda: self._device_call(function)) if self.on_gpu else None

    def _device_call(self, function: Callable[[], _T]) -> _T | None:
        if not self.on_gpu:  # not any more, since a call before this one
            return None
        try:
            return function()
        except RuntimeError as error:  # FAISS has no other
            problem = "is out of memory" if out_of_memory(error) else "failed"
            _log.warning(
                f"gpu index {problem}; its gallery is searched on the CPU",
                vectors=len(self),
                dimension=self.dimension,
                error=str(error),
            )
        self._device_close()
        self._on_fallback()
        return None

    def _device_change(self, rows: Ints, vectors: Floats) -> None:
        """Follow a change of the host's vectors: `rows` have `vectors` now, or are gone if there are none."""
        before = np.isin(self._slots, rows)
        self._slots[before] = _STALE
        self._stale += int(before.sum())
        if self._index is None or self._stale * 10 > len(self._slots):
            self._device_build()
        elif len(vectors):
            self._gpu.add(self._index, vectors)
            self._slots = np.concatenate([self._slots, rows])

    def _device_build(self) -> None:
        rows = self._host.rows()
        if self._index is None:
            self._index = self._gpu.open(self.dimension)
        else:
            self._gpu.reset(self._index)
        if len(rows):
            self._gpu.add(self._index, self._host.vectors(rows))
        self._slots, self._stale = rows, 0

    def _device_fetch(self, queries: Floats, count: int) -> Ints | None:
        index, total = self._index, len(self._slots)
        assert index is not None, "it is opened with the first vector"

        def search(fetched: int) -> tuple[Floats, Ints]:
            squared, slots = index.search(queries, fetched)
            return squared, self._slots[slots]

        return fetch(search, min(count, len(self)), total, self._host.slack(queries), LARGEST_COUNT)

    def _device_close(self) -> None:
        # The last reference goes here, since FAISS frees an index in whichever thread that happens.
        if self._index is not None:
            self._gpu.reset(self._index)
            self._index = None
        self.on_gpu = False
