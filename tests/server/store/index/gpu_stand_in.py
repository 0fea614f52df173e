"""What stands in for a GPU on machines without one: it refuses what FAISS on a GPU refuses, in the same words.

It cannot remove, takes one call at a time, fetches no more than 2,048 at once, and has so much memory and no more. As
on a GPU, distances come from a product of matrices in float32, so they are rounded, and equals come in no good order.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from exemplar_encoder.arrays import Floats, Ints


class StandInDevice:
    """A device with `memory` bytes, of which `used` hold vectors; `opened` are its indexes."""

    def __init__(self, memory: int = 2**30) -> None:
        self.memory = memory
        self.opened: list[StandInIndex] = []
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        return sum(index.held.nbytes for index in self.opened)

    def open(self, dimension: int) -> StandInIndex:
        with self.call():
            index = StandInIndex(self, dimension)
            self.opened.append(index)
            return index

    @contextmanager
    def call(self) -> Iterator[None]:
        """Refuse to be entered twice at once. A GPU would answer with nonsense or end the process."""
        assert self._lock.acquire(blocking=False), "two calls of one GPU at once"
        try:
            self.threads.add(threading.current_thread().name)
            yield
        finally:
            self._lock.release()

    def allocate(self, size: int) -> None:
        if self.used + size > self.memory:
            raise RuntimeError(
                "Error: 'err == cudaSuccess' failed: StandardGpuResources: alloc fail type FlatData dev 0 "
                f"space Device stream 0 size {size} bytes (cudaMalloc error out of memory [2])"
            )


class StandInIndex:
    """A `DeviceIndex`; `searched` says how many each search fetched."""

    def __init__(self, device: StandInDevice, dimension: int) -> None:
        self.d = dimension
        self.held: Floats = np.empty((0, dimension), np.float32)
        self.searched: list[int] = []
        self._device = device

    @property
    def ntotal(self) -> int:
        return len(self.held)

    def add(self, vectors: Floats) -> None:
        with self._device.call():
            self._device.allocate(self.held.nbytes + vectors.nbytes)  # it grows by a copy
            self.held = np.concatenate([self.held, vectors])

    def search(self, queries: Floats, count: int) -> tuple[Floats, Ints]:
        with self._device.call():
            self.searched.append(count)
            if not 0 < count <= 2048:
                raise RuntimeError(f"GPU index only supports min/max-K selection up to 2048 (requested {count})")
            self._device.allocate(queries.nbytes + len(queries) * count * 12)
            norms = np.square(self.held).sum(axis=1) + np.square(queries).sum(axis=1)[:, None]
            squared = np.maximum(norms - 2 * (queries @ self.held.T), 0)
            backwards = squared[:, ::-1]
            order = self.ntotal - 1 - np.argsort(backwards, axis=1, kind="stable")[:, :count]
            return np.take_along_axis(squared, order, axis=1), order

    def reset(self) -> None:
        with self._device.call():
            self.held = self.held[:0]

    def remove_ids(self, ids: Ints) -> int:
        raise RuntimeError("remove_ids not implemented for this type of index")
