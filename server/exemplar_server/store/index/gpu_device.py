"""One GPU: the thread that alone calls it, and the part of its memory that may be used.

A FAISS index on a GPU takes one call at a time, and so do all indexes that share the GPU's scratch memory. So every
call of every gallery goes through one owner thread.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import faiss

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import StartError

# The k of a search on a GPU: FAISS's GPU_MAX_SELECTION_K.
LARGEST_COUNT = 2048

_SCRATCH_BYTES = 256 * 2**20

# A GPU that FAISS holds no code for, or whose driver is too old, ends the process that calls it: another tries it.
_TRIAL = """
import numpy
from exemplar_server.store.index.gpu_device import FaissDevice
index = FaissDevice().open(4)
index.add(numpy.eye(4, dtype=numpy.float32))
index.search(numpy.eye(4, dtype=numpy.float32), 2)
"""
_TRIAL_SECONDS = 60.0

_T = TypeVar("_T")


class DeviceIndex(Protocol):
    """What of a flat FAISS index on a GPU is called. Vectors are numbered from 0 on, in the order they came."""

    @property
    def d(self) -> int:
        """Return the dimension."""
        ...

    @property
    def ntotal(self) -> int:
        """Return how many vectors were added."""
        ...

    def add(self, vectors: Floats) -> None:
        """Add `vectors` float32 `[n, d]`; FAISS raises a `RuntimeError` when memory runs out."""
        ...

    def search(self, queries: Floats, count: int) -> tuple[Floats, Ints]:
        """Return squared distances float32 `[n, count]`, ascending, and numbers int64 `[n, count]`.

        It raises a `RuntimeError` for a count beyond `LARGEST_COUNT`, and when memory runs out.
        """
        ...

    def reset(self) -> None:
        """Free its memory."""
        ...


class Device(Protocol):
    """A GPU, or what stands in for it in tests."""

    def open(self, dimension: int) -> DeviceIndex:
        """Return an empty index of squared Euclidean distances."""
        ...


class FaissDevice:
    """The first GPU that FAISS reports."""

    def __init__(self) -> None:
        self._resources = faiss.StandardGpuResources()
        self._resources.setTempMemory(_SCRATCH_BYTES)
        # Pinned memory of the host serves queries of 256 MiB and more; there are none.
        self._resources.setPinnedMemory(0)
        self._config = faiss.GpuIndexFlatConfig()
        self._config.use_cuvs = False  # cuVS has other limits

    def open(self, dimension: int) -> DeviceIndex:
        """See `Device`."""
        index: DeviceIndex = faiss.GpuIndexFlatL2(self._resources, dimension, self._config)
        return index


class Gpu:
    """See the module. Whatever takes a `DeviceIndex` is for its thread alone: hand it to `call`."""

    def __init__(self, device: Device, memory: int | None = None) -> None:
        """Start no thread yet, and take no memory.

        Args:
            device: the GPU.
            memory: how many bytes the vectors of all its indexes may take; scratch memory comes on top. None for as
                many as there are.
        """
        self._device = device
        self._memory = memory
        self._held = 0
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="exemplar-gpu")

    def call(self, function: Callable[[], _T]) -> _T:
        """Call a function in the owner thread, and wait for it."""
        return self._owner.submit(function).result()

    def open(self, dimension: int) -> DeviceIndex:
        """Return an empty index."""
        return self._device.open(dimension)

    def add(self, index: DeviceIndex, vectors: Floats) -> None:
        """Add `vectors` float32 `[n, dimension]` to an index.

        Raises:
            RuntimeError: its memory, or that of the GPU, is not enough; see `out_of_memory`.
        """
        # FAISS copies an index that grows into a larger buffer: for a moment both are there.
        needed = self._held + _bytes(index) + vectors.nbytes
        if self._memory is not None and needed > self._memory:
            raise RuntimeError(f"out of memory: {needed:,} bytes are needed, and {self._memory:,} may be used")
        index.add(vectors)
        self._held += vectors.nbytes

    def reset(self, index: DeviceIndex) -> None:
        """Free the memory of an index."""
        self._held -= _bytes(index)
        index.reset()

    def close(self) -> None:
        """End the owner thread, after its last call."""
        self._owner.shutdown()


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of FAISS says that a GPU's memory was not enough; it has no type of its own."""
    return "out of memory" in str(error)  # CUDA's name of the error, cudaErrorMemoryAllocation


def gpu_count() -> int:
    """Return how many GPUs FAISS reports; 0 with `faiss-cpu`."""
    return int(faiss.get_num_gpus())


def find_gpu(memory: int | None = None) -> Gpu:
    """Return the first GPU, after another process has searched on it.

    Raises:
        StartError: FAISS reports none, or cannot use it.
    """
    if not gpu_count():
        raise StartError(
            "FAISS reports no GPU; install exemplar[server-gpu] in place of exemplar[server] on a machine with an "
            "NVIDIA GPU and its driver, or choose another --index"
        )
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL], capture_output=True, text=True, errors="replace", timeout=_TRIAL_SECONDS
        )
        said = (trial.stderr.strip().splitlines() or ["it ended without a word"])[-1] if trial.returncode else ""
    except subprocess.TimeoutExpired:
        said = f"it did not answer within {_TRIAL_SECONDS:.0f} s"
    if said:
        raise StartError(
            f"FAISS cannot search on {card()}: {said}; install a driver and a faiss-gpu that go with the card, or "
            "choose another --index"
        )
    return Gpu(FaissDevice(), memory)


def card() -> str:
    """Return the name of the GPU that `FaissDevice` uses, as its driver gives it."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no card"
    name = ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetName(name, len(name), 0):
        return "a card without a name"
    return name.value.decode()


def _bytes(index: DeviceIndex) -> int:
    return index.ntotal * index.d * 4
