"""Which index finds the nearest of many vectors best? FAISS's choices and ours, with recall, time and memory.

`python -m benchmarks.vector_index --count 1000000` measures on vectors that lie as trained embeddings do, with second
pictures of classes as queries, and with strangers; `--uniform` on vectors without structure, with near duplicates of
them as queries (see `benchmarks.vectors`). A choice that has a knob is given the least effort at which it reaches the
recall that is wanted. `--ours-only` leaves FAISS's choices out, which take hours to build for ten millions.

One query is searched at a time on one thread; of 32 at once FAISS may use all. Memory is what the process holds more
than before. Nothing else should run on the machine.
"""

from __future__ import annotations

import ctypes
import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import faiss
import numpy as np
import typer

from benchmarks.results import record
from benchmarks.vectors import DIMENSION, near_duplicates, second_pictures, trained_like, uniform
from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.index.approximate import ApproximateIndex, sample_size

# Recall, p50 and p99 in ms, queries a second of 32 at once, memory over raw vectors.
TARGETS: dict[int, tuple[float, float, float, float | None, float]] = {
    100_000: (1.0, 1, 3, None, 2),
    1_000_000: (0.99, 1, 3, 5000, 1.6),
    10_000_000: (0.97, 3, 10, None, 2.5),
}
_CHUNK = 10_000
_CONSIDERED = 16  # of the nearest, by a classification
_SECONDS = 3.0
_THREADS = faiss.omp_get_max_threads()

Search = Callable[[Floats, int], Ints]

# FAISS's choices as `index_factory` names them, what sets their effort, and its values from least to most.
CHOICES: dict[str, tuple[str, Sequence[int]]] = {
    "Flat": ("", [0]),
    "HNSW32": ("efSearch", [16, 32, 64, 128, 256, 512]),
    "HNSW32_SQ8": ("efSearch", [16, 32, 64, 128, 256, 512]),
    "IVF{lists},Flat": ("nprobe", [8, 16, 32, 64, 128, 256, 512]),
    "IVF{lists},SQ8,RFlat": ("nprobe", [8, 16, 32, 64, 128, 256, 512]),
    "IVF{lists},PQ64x4fs,RFlat": ("nprobe", [8, 16, 32, 64, 128, 256, 512]),
    "IVF{lists},RaBitQfs,RFlat": ("nprobe", [8, 16, 32, 64, 128, 256, 512]),
}


def main(
    count: Annotated[int, typer.Option(min=1000, help="Vectors.")] = 100_000,
    without_structure: Annotated[bool, typer.Option("--uniform", help="Vectors spread evenly.")] = False,
    ours_only: Annotated[bool, typer.Option(help="Leave FAISS's choices out.")] = False,
    queries: Annotated[int, typer.Option(min=100, help="Queries of each kind.")] = 1000,
    skip: Annotated[list[str] | None, typer.Option(help="Leave out choices that begin so; repeat it.")] = None,
) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as scratch:
        vectors = _on_disk(uniform(count) if without_structure else trained_like(count), Path(scratch) / "vectors")
        asked = {"queries": (near_duplicates if without_structure else second_pictures)(vectors, queries)}
        asked["strangers"] = (uniform if without_structure else trained_like)(queries, seed=99)
        truths = {name: _nearest(vectors, each) for name, each in asked.items()}
        target = TARGETS.get(count, TARGETS[100_000])
        figures = {"ours": _ours(vectors, asked, truths)}
        for name, (knob, values) in CHOICES.items():
            if not ours_only and not any(name.startswith(each) for each in skip or []):
                figures[name] = _faiss(name, knob, values, vectors, asked["queries"], truths["queries"], target[0])
    columns = ["index", "recall@1", "@16", "p50 ms", "p99 ms", "32 at once, q/s", "memory / raw", "build s", "effort"]
    keys = ["recall_1", "recall_16", "p50_ms", "p99_ms", "rate", "memory", "build_s", "effort"]
    rows = [["target", f"{target[0]}", "", *(f"{each or ''}" for each in target[1:]), "", ""]]
    rows += [[name, *(f"{found.get(key, '')}" for key in keys)] for name, found in figures.items()]
    kind = "uniform" if without_structure else "trained-like"
    record(f"vector_index_{count}_{kind}", f"{count:,} vectors of {DIMENSION}, {kind}", columns, rows, figures)


def _ours(vectors: Floats, asked: dict[str, Floats], truths: dict[str, Ints]) -> dict[str, Any]:
    before = _held()
    started = time.monotonic()
    random = np.random.default_rng(0)
    places = np.sort(random.choice(len(vectors), min(len(vectors), sample_size(len(vectors))), replace=False))
    index = ApproximateIndex.trained(DIMENSION, len(vectors), np.array(vectors[places]))
    for first in range(0, len(vectors), _CHUNK):
        chunk = np.array(vectors[first : first + _CHUNK])
        index.put(np.arange(first + 1, first + 1 + len(chunk), dtype=np.int64), chunk)
    built = time.monotonic() - started
    memory = (_held() - before) / vectors.nbytes

    def search(queries: Floats, wanted: int) -> Ints:
        rows, distances = index.nearest(queries, wanted)
        return np.take_along_axis(rows, np.argsort(distances, axis=1), axis=1) - 1

    figures: dict[str, Any] = {"build_s": round(built, 1), "memory": round(memory, 2)}
    figures |= _speed(search, asked["queries"]) | _recall(search, asked["queries"], truths["queries"])
    strangers = _speed(search, asked["strangers"]) | _recall(search, asked["strangers"], truths["strangers"])
    figures["strangers"] = strangers
    figures["changes_p99_ms"] = _changes(index, asked["strangers"], len(vectors) + 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        started = time.monotonic()
        index.save(path, b"benchmark")
        saved = time.monotonic()
        figures["file_bytes"] = path.stat().st_size
        index.close()
        loading = time.monotonic()
        ApproximateIndex.load(path)
        figures |= {"save_s": round(saved - started, 1), "load_s": round(time.monotonic() - loading, 1)}
    print(figures, flush=True)
    return figures


def _changes(index: ApproximateIndex, vectors: Floats, first: int) -> dict[str, float]:
    """Return the p99 in ms of putting one more vector, of replacing it and of removing it."""
    seconds: dict[str, list[float]] = {"put": [], "replace": [], "remove": []}
    for kind in seconds:
        for place, vector in enumerate(vectors[::-1] if kind == "replace" else vectors):
            row = np.array([first + place], np.int64)
            started = time.perf_counter()
            if kind == "remove":
                index.remove(row)
            else:
                index.put(row, vector[None])
            seconds[kind].append(time.perf_counter() - started)
    return {kind: round(1e3 * float(np.quantile(each, 0.99)), 3) for kind, each in seconds.items()}


def _faiss(
    name: str, knob: str, values: Sequence[int], vectors: Floats, queries: Floats, truth: Ints, wanted: float
) -> dict[str, Any]:
    before = _held()
    started = time.monotonic()
    lists = 1 << round(np.log2(len(vectors)) / 2)
    index: Any = faiss.index_factory(DIMENSION, name.format(lists=lists))
    faiss.omp_set_num_threads(_THREADS)
    if not index.is_trained:
        inner: Any = faiss.downcast_index(index.base_index) if "RFlat" in name else index
        if name.startswith("IVF"):
            inner.cp.niter = 6
        index.train(np.array(vectors[: 64 * lists]))
    for part in _chunks(vectors):
        index.add(part)
    if "RFlat" in name:
        index.k_factor_search = index.k_factor = 4
    figures: dict[str, Any] = {"build_s": round(time.monotonic() - started, 1)}
    figures["memory"] = round((_held() - before) / vectors.nbytes, 2)
    space = faiss.ParameterSpace()

    def search(queries: Floats, count: int) -> Ints:
        return np.asarray(index.search(queries, count)[1])

    for value in values:
        if knob:
            space.set_index_parameter(index, knob, value)
            figures["effort"] = f"{knob}={value}"
        found = _recall(search, queries, truth)
        if found["recall_1"] >= min(wanted, 0.9999):
            break
    figures |= found | _speed(search, queries)
    print(name, figures, flush=True)
    return figures


def _recall(search: Search, queries: Floats, truth: Ints) -> dict[str, float]:
    faiss.omp_set_num_threads(_THREADS)
    found = np.concatenate(
        [search(queries[first : first + 32], _CONSIDERED)[:, :_CONSIDERED] for first in range(0, len(queries), 32)]
    )
    among = [len(set(one.tolist()) & set(true.tolist())) for one, true in zip(found, truth, strict=True)]
    return {
        "recall_1": round(float((found[:, 0] == truth[:, 0]).mean()), 4),
        "recall_16": round(float(np.sum(among)) / truth.size, 4),
    }


def _speed(search: Search, queries: Floats) -> dict[str, float]:
    seconds: dict[int, list[float]] = {1: [], 32: []}
    for size, taken in seconds.items():
        faiss.omp_set_num_threads(1 if size == 1 else _THREADS)
        search(queries[:size], _CONSIDERED)
        end = time.perf_counter() + _SECONDS
        first = 0
        while time.perf_counter() < end:
            part = queries[first : first + size]
            first = (first + size) % (len(queries) - size)
            started = time.perf_counter()
            search(part, _CONSIDERED)
            taken.append(time.perf_counter() - started)
    p50, p99 = (round(1e3 * float(np.quantile(seconds[1], share)), 3) for share in (0.5, 0.99))
    return {"p50_ms": p50, "p99_ms": p99, "rate": round(32 / float(np.median(seconds[32])))}


def _nearest(vectors: Floats, queries: Floats) -> Ints:
    """Return the places int64 `[n, 16]` of the nearest vectors, nearest first."""
    heap = faiss.ResultHeap(len(queries), _CONSIDERED)
    first = 0
    for part in _chunks(vectors):
        far, places = faiss.knn(queries, part, _CONSIDERED)
        heap.add_result(far, places + first)
        first += len(part)
    heap.finalize()
    return np.asarray(heap.I)


def _chunks(vectors: Floats) -> Iterator[Floats]:
    for first in range(0, len(vectors), 500_000):
        yield np.array(vectors[first : first + 500_000])


def _on_disk(vectors: Floats, path: Path) -> Floats:
    """Return the same from a file, so that it does not count as memory."""
    vectors.tofile(path)
    return np.memmap(path, np.float32, "r", shape=vectors.shape)


def _held() -> int:
    """Return how many bytes of memory the process holds, files apart, and what was freed given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


if __name__ == "__main__":
    typer.run(main)
