"""How long does an index on a Milvus server take, beside one in memory? On Milvus Lite, which is not made for speed.

`python -m benchmarks.milvus_index` starts a Milvus Lite server on this machine. There is no target: what is measured
is what the service adds to Milvus, and how much of a search is the count that shows if the index can be trusted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import record
from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.milvus import MilvusIndex
from exemplar_server.store.index.milvus_collection import MilvusCollection, MilvusServer
from tests.milvus_server import MilvusProcess

_BATCH = 1000


def measure(
    counts: Annotated[list[int] | None, typer.Option(help="Vectors in the gallery; repeat it.")] = None,
    dimension: Annotated[int, typer.Option(help="Of the vectors.")] = 64,
    searches: Annotated[int, typer.Option(min=1, help="Of one query each, for 16 neighbors.")] = 20,
) -> None:
    """Put, search, count, read back."""
    figures = []
    for count in counts or [1_000, 10_000]:
        rng = np.random.default_rng(count)
        vectors = rng.normal(size=(count, dimension)).astype(np.float32)
        queries = rng.normal(size=(searches, 1, dimension)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder, MilvusProcess(Path(folder)) as server:
            collection = MilvusCollection(MilvusServer(server.address), "benchmark", dimension)
            figures.append(_figures(collection, vectors, queries))
            collection.close()
    names = list(figures[0])
    rows = [[name, *(f"{each[name]:,.4g}" for each in figures)] for name in names]
    record("milvus_index", "An index on Milvus Lite; target: none", ["", *(["figure"] * len(figures))], rows, figures)


def _figures(collection: MilvusCollection, vectors: Floats, queries: Floats) -> dict[str, float]:
    count = len(vectors)
    rows = np.arange(1, count + 1)

    def stored(some: Ints) -> tuple[Ints, Floats]:
        some = some[(some >= 1) & (some <= count)]
        return some, vectors[some - 1]

    def put(at: int, size: int, sign: int = 1) -> None:
        index.put(rows[at : at + size], sign * vectors[at : at + size])

    index, flat = MilvusIndex(collection, "gallery", stored), FlatIndex(vectors.shape[1])
    flat.put(rows, vectors)
    assert len(index) == 0  # and the collection is made
    putting = [_ms(put, at, _BATCH) for at in range(0, count, _BATCH)]
    again = _ms(put, 0, _BATCH)
    replacing = [_ms(put, at, 1, -1) for at in range(5)]
    put(0, 5)
    return {
        "vectors": count,
        "put, vectors a second": count / sum(putting) * 1e3,
        f"put {_BATCH:,} that are there, ms": again,
        "replace one, ms": median(replacing),
        "search, ms": median(_ms(index.nearest, query, 16) for query in queries),
        "of it Milvus, ms": median(_ms(collection.search, index.gallery, query, 24) for query in queries),
        "count that goes with it, ms": median(_ms(index.doubtful, count) for _ in queries),
        "search in memory (FAISS), ms": median(_ms(flat.nearest, query, 16) for query in queries),
        "read all fingerprints, ms": _ms(index.fingerprints),
    }


def _ms(call: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    call(*arguments)
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    typer.run(measure)
