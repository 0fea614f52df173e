"""The indexes that keep the whole promise of `VectorIndex` in memory, each as what makes one.

`@pytest.mark.parametrize("make", MAKERS)` gives each of them; one whose part this machine lacks is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.gpu import GpuIndex
from exemplar_server.store.index.gpu_device import Gpu, find_gpu, gpu_count
from exemplar_server.store.index.vector_index import VectorIndex
from tests.server.store.index.gpu_stand_in import StandInDevice

Maker = Callable[[int], VectorIndex]

needs_gpu = pytest.mark.skipif(not gpu_count(), reason="FAISS reports no GPU")


@cache
def stand_in() -> Gpu:
    """Return one GPU for all indexes of a test process, as in a server."""
    return Gpu(StandInDevice())


@cache
def real_gpu() -> Gpu:
    return find_gpu()


def flat(dimension: int) -> VectorIndex:
    return FlatIndex(dimension)


def on_stand_in(dimension: int) -> VectorIndex:
    return GpuIndex(dimension, stand_in(), unexpected_fallback)


def on_gpu(dimension: int) -> VectorIndex:
    return GpuIndex(dimension, real_gpu(), unexpected_fallback)


def unexpected_fallback() -> None:
    raise AssertionError("the GPU has memory enough")


MAKERS = [
    pytest.param(flat, id="flat"),
    pytest.param(on_stand_in, id="gpu-stand-in"),
    pytest.param(on_gpu, id="gpu", marks=needs_gpu),
]
