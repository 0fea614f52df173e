"""How long does one query take in other vector databases, at our recall? Each in this process or in its local mode.

`pip install -r benchmarks/requirements-vector-databases.txt`, then `python -m benchmarks.vector_databases`. Vectors
lie as trained embeddings do and queries are second pictures of classes (see `benchmarks.vectors`). Each is given
the least effort of its knob that finds the nearest as often as ours does, or the most there is; `hnswlib` and
`usearch` are libraries and promise nothing of durability. The order is drawn anew in each round, and medians over
all are shown.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.results import record
from benchmarks.vectors import DIMENSION, second_pictures, trained_like
from exemplar_encoder.arrays import Floats
from exemplar_server.store.index.approximate import ApproximateIndex, sample_size
from exemplar_server.store.index.flat import FlatIndex

# Returns the place of the nearest of one query [1, dimension].
Ask = Callable[[Floats], int]
# Takes vectors and a folder; returns what asks with an effort, and efforts from least to most.
Open = Callable[[Floats, Path], tuple[Callable[[int], Ask], Sequence[int]]]

_K = 5  # nearest asked for
_ROUNDS = 3
_EFFORTS = 16, 32, 64, 128, 256, 512


def main(
    count: Annotated[int, typer.Option(min=1000, help="Vectors.")] = 100_000,
    queries: Annotated[int, typer.Option(min=100, help="Queries.")] = 500,
    only: Annotated[list[str] | None, typer.Option(help="These alone; repeat it.")] = None,
) -> None:
    """Measure."""
    vectors = trained_like(count)
    asked = second_pictures(vectors, queries)
    flat = FlatIndex(DIMENSION)
    flat.put(np.arange(1, count + 1, dtype=np.int64), vectors)
    truth = [_best(*flat.nearest(query[None], 1)) for query in asked]
    flat.close()
    asks: dict[str, Ask] = {}
    figures: dict[str, dict[str, Any]] = {}
    wanted = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for name, opened in DATABASES.items():
            if only and name not in ("ours", *only):
                continue
            folder = Path(scratch) / name.replace(" ", "_")
            folder.mkdir()
            started = time.monotonic()
            at, efforts = opened(vectors, folder)
            built = time.monotonic() - started
            for effort in efforts:
                ask = at(effort)
                recall = float(np.mean([ask(query[None]) == true for query, true in zip(asked, truth, strict=True)]))
                if recall >= wanted:
                    break
            wanted = recall if name == "ours" else wanted
            asks[name] = ask
            figures[name] = {"recall": round(recall, 4), "effort": effort, "build_s": round(built, 1)}
            print(name, figures[name], flush=True)
        seconds: dict[str, list[float]] = {name: [] for name in asks}
        for turn in range(_ROUNDS):
            for name in np.random.default_rng(turn).permutation(list(asks)).tolist():
                for query in asked[:200]:
                    started = time.perf_counter()
                    asks[name](query[None])
                    seconds[name].append(time.perf_counter() - started)
    for name, taken in seconds.items():
        figures[name] |= {
            "p50_ms": round(1e3 * float(np.quantile(taken, 0.5)), 3),
            "p99_ms": round(1e3 * float(np.quantile(taken, 0.99)), 3),
        }
    columns = ["database", "recall@1", "p50 ms", "p99 ms", "times ours", "effort", "build s"]
    ours = figures["ours"]["p50_ms"]
    rows = [
        [name, f"{each['recall']}", f"{each['p50_ms']}", f"{each['p99_ms']}", f"{each['p50_ms'] / ours:.1f}",
         f"{each['effort'] or ''}", f"{each['build_s']}"]
        for name, each in figures.items()
    ]  # fmt: skip
    record("vector_databases", f"One query among {count:,} vectors of {DIMENSION}", columns, rows, figures)


def _best(rows: Any, distances: Any) -> int:
    return int(rows[0, distances[0].argmin()]) - 1


def ours(vectors: Floats, _: Path) -> tuple[Callable[[int], Ask], Sequence[int]]:
    """Open our index, by the call that the server makes."""
    index = ApproximateIndex.trained(DIMENSION, len(vectors), vectors[: sample_size(len(vectors))])
    index.put(np.arange(1, len(vectors) + 1, dtype=np.int64), vectors)
    return lambda _: lambda query: _best(*index.nearest(query, _K)), [0]


def hnswlib(vectors: Floats, _: Path) -> tuple[Callable[[int], Ask], Sequence[int]]:
    """Open the library of the graph's authors."""
    import hnswlib

    index = hnswlib.Index("l2", DIMENSION)
    index.init_index(len(vectors), M=32, ef_construction=128)
    index.add_items(vectors)
    index.set_num_threads(1)

    def at(effort: int) -> Ask:
        def ask(query: Floats) -> int:
            index.set_ef(effort)
            return int(index.knn_query(query, _K)[0][0, 0])

        return ask

    return at, _EFFORTS


def usearch(vectors: Floats, _: Path) -> tuple[Callable[[int], Ask], Sequence[int]]:
    """Open a library."""
    from usearch.index import Index

    index = Index(ndim=DIMENSION, metric="l2sq", dtype="f32", connectivity=32, expansion_add=128)
    index.add(np.arange(len(vectors)), vectors)

    def at(effort: int) -> Ask:
        def ask(query: Floats) -> int:
            index.expansion_search = effort
            return int(index.search(query[0], _K, threads=1).keys[0])

        return ask

    return at, _EFFORTS


def chroma(vectors: Floats, folder: Path) -> tuple[Callable[[int], Ask], Sequence[int]]:
    """Open it on disk, in this process."""
    import chromadb

    client = chromadb.PersistentClient(str(folder))
    settings: Any = {"hnsw": {"space": "l2", "max_neighbors": 32, "ef_construction": 128, "ef_search": 128}}
    collection = client.create_collection("vectors", configuration=settings)
    for first in range(0, len(vectors), 5_000):
        part = vectors[first : first + 5_000]
        collection.add(ids=[str(first + at) for at in range(len(part))], embeddings=part)

    def at(effort: int) -> Ask:
        changed: Any = {"hnsw": {"ef_search": effort}}
        collection.modify(configuration=changed)
        return lambda query: int(collection.query(query_embeddings=query, n_results=_K, include=[])["ids"][0][0])

    return at, _EFFORTS


def lancedb(vectors: Floats, folder: Path) -> tuple[Callable[[int], Ask], Sequence[int]]:
    """Open it in this process, with its default kind of lists and the float32 vectors looked at again."""
    import lancedb
    import pyarrow

    values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), DIMENSION)
    content = pyarrow.table({"place": np.arange(len(vectors)), "vector": values})
    table = lancedb.connect(folder).create_table("vectors", content)
    table.create_index(metric="l2", num_partitions=256, num_sub_vectors=32, vector_column_name="vector")

    def at(effort: int) -> Ask:
        def ask(query: Floats) -> int:
            search = table.search(query[0]).limit(_K).nprobes(effort).refine_factor(20).select(["place"])
            return int(search.to_arrow()["place"][0].as_py())

        return ask

    return at, [8, 16, 32, 64, 128, 256]


def qdrant(vectors: Floats, folder: Path) -> tuple[Callable[[int], Ask], Sequence[int]]:
    """Open its local mode, which looks at every vector."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    parameters = models.VectorParams(size=DIMENSION, distance=models.Distance.EUCLID)
    client.create_collection("vectors", vectors_config=parameters)
    client.upload_collection("vectors", vectors, ids=range(len(vectors)))
    return lambda _: lambda query: int(client.query_points("vectors", query[0], limit=_K).points[0].id), [0]


def milvus_lite(vectors: Floats, folder: Path) -> tuple[Callable[[int], Ask], Sequence[int]]:
    """Open Milvus in one file, with the index that it chooses."""
    from pymilvus import MilvusClient

    client = MilvusClient(str(folder / "milvus.db"))
    client.create_collection("vectors", dimension=DIMENSION, metric_type="L2")
    for first in range(0, len(vectors), 5_000):
        part = vectors[first : first + 5_000]
        client.insert("vectors", [{"id": first + at, "vector": vector} for at, vector in enumerate(part)])
    return lambda _: lambda query: int(client.search("vectors", query, limit=_K)[0][0]["id"]), [0]


DATABASES: dict[str, Open] = {
    "ours": ours,
    "hnswlib": hnswlib,
    "usearch": usearch,
    "chroma": chroma,
    "lancedb": lancedb,
    "qdrant local": qdrant,
    "milvus lite": milvus_lite,
}


if __name__ == "__main__":
    typer.run(main)
