"""Which index finds the nearest of many vectors best? FAISS's kinds and ours, at equal recall, ours with its targets.

`python -m benchmarks.vector_index --classes 1000000 --data trained_like` measures each index in a process of its own,
on the same vectors and queries (`benchmarks.vectors`). FAISS's kinds search as little as gives a recall@1 of 0.99 on
half of the queries (their `efSearch` or `nprobe`, from few to many); figures are of the other half. Ours is as it is
shipped. Recall is against a search of all vectors, and memory is what the process has more of, files aside.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import faiss
import numpy as np
import typer
from rich.console import Console

from benchmarks import vectors as drawn
from benchmarks.results import record
from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.index.approximate import ApproximateIndex, sample_size

NEAREST = 16
BLOCK = 100_000
RECALL = 0.99
SECONDS = 15.0  # of searching one by one, at most

# recall@1, p50 and p99 of one query in ms, queries/s in calls of 32, memory over raw vectors; of ours.
TARGETS: dict[int, dict[str, float]] = {
    100_000: {"recall_1": 1.0, "p50": 1 / 3, "memory": 2.0},
    1_000_000: {"recall_1": 0.99, "p50": 1.0, "p99": 3.0, "rate": 5_000, "memory": 1.6},
    10_000_000: {
        "recall_1": 0.97,
        "p50": 3.0,
        "p99": 10.0,
        "memory": 12 * 2**30 / (10_000_000 * drawn.DIMENSION * 4),
    },
}
COLUMNS = {
    "recall_1": "recall@1",
    "recall_16": "recall@16",
    "p50": "p50 (ms)",
    "p99": "p99 (ms)",
    "rate": "32 at once (1/s)",
    "memory": "memory / raw",
    "build": "build (s)",
    "setting": "setting",
}
DATA: dict[str, tuple[Callable[[int], Floats], Callable[[Floats, int], Floats]]] = {
    "trained_like": (drawn.trained_like, drawn.second_pictures),
    "uniform": (drawn.uniform, drawn.near_duplicates),
}
PROBES = 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048
BEAMS = 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024

console = Console(stderr=True)


@dataclass(frozen=True)
class Contender:
    """A kind of FAISS index: its factory's text, with the number of lists left open, and what it may be set to."""

    factory: str
    settings: Sequence[int] = (0,)
    refined: int = 1  # how many times as many are compared exactly


OURS = "ours"
CONTENDERS = {
    "flat": Contender("Flat"),
    "HNSW": Contender("HNSW32,Flat", BEAMS),
    "HNSW SQ8": Contender("HNSW32_SQ8", BEAMS),
    "IVF flat": Contender("IVF{lists},Flat", PROBES),
    "IVF SQ8, refined": Contender("IVF{lists},SQ8,RFlat", PROBES, 2),
    "IVF PQ, refined": Contender("IVF{lists},PQ32x8,RFlat", PROBES, 8),
    "IVF RaBitQ, refined": Contender("RR128,IVF{lists},RaBitQfs,RFlat", PROBES, 8),
}


def measure(
    classes: Annotated[int, typer.Option(min=10_000, help="Vectors.")] = 100_000,
    data: Annotated[str, typer.Option(help="How they lie: trained_like or uniform.")] = "trained_like",
    only: Annotated[list[str] | None, typer.Option(help="Measure these alone; repeat it.")] = None,
    queries: Annotated[int, typer.Option(min=200, help="Half to set by, half to measure with.")] = 2000,
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure. Beyond a million vectors, ours alone unless told otherwise: others take hours to build."""
    if folder is not None:
        assert only
        print(json.dumps(worker(only[0], Given.load(folder))))
        return
    names = only or ([*CONTENDERS, OURS] if classes <= 1_000_000 else [OURS])
    folder = Path(tempfile.mkdtemp(prefix="vector_index_"))
    try:
        prepare(folder, classes, data, queries)
        figures: dict[str, Any] = {}
        for name in names:
            console.print(f"{name} ...")
            command = [sys.executable, "-m", "benchmarks.vector_index", "--folder", str(folder), "--only", name]
            figures[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            console.print({key: figures[name][key] for key in COLUMNS})
    finally:
        shutil.rmtree(folder)
    rows = [[name, *(shown(found[key]) for key in COLUMNS)] for name, found in figures.items()]
    targets = TARGETS.get(classes, {})
    rows.append(["target for ours", *(shown(targets.get(key, "")) for key in COLUMNS)])
    title = f"The nearest of {classes:,} vectors of {drawn.DIMENSION} values, {data}"
    content = {"classes": classes, "data": data, "indexes": figures}
    record(f"vector_index_{classes}_{data}", title, ["index", *COLUMNS.values()], rows, content)


@dataclass(frozen=True)
class Given:
    """Vectors float32 `[n, 128]` in a file, queries, and the true nearest places of each, int64 `[queries, 16]`."""

    vectors: Floats
    queries: Floats
    nearest: Ints

    @classmethod
    def load(cls, folder: Path) -> Given:
        """Return what `prepare` wrote."""
        return cls(
            np.load(folder / "vectors.npy", mmap_mode="r"),
            np.load(folder / "queries.npy"),
            np.load(folder / "nearest.npy"),
        )

    def recall(self, found: Ints, part: slice) -> tuple[float, float]:
        """Return recall@1 and recall@16 of the places found for some of the queries, in order."""
        nearest = self.nearest[part]
        shared = (found[:, :, None] == nearest[:, None, :]).any(axis=2)
        return float((found[:, 0] == nearest[:, 0]).mean()), float(shared.sum() / nearest.size)


def prepare(folder: Path, classes: int, data: str, queries: int) -> None:
    """Write vectors, queries and the truth."""
    draw, ask = DATA[data]
    vectors = draw(classes)
    asked = ask(vectors, queries)
    best = np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64)
    for first in range(0, classes, 5 * BLOCK):
        squared, places = faiss.knn(asked, vectors[first : first + 5 * BLOCK], NEAREST)
        squared, places = np.hstack([best[0], squared]), np.hstack([best[1], places + first])
        order = np.argsort(squared, axis=1, kind="stable")[:, :NEAREST]
        best = np.take_along_axis(squared, order, axis=1), np.take_along_axis(places, order, axis=1)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "queries.npy", asked)
    np.save(folder / "nearest.npy", best[1])


def worker(name: str, given: Given) -> dict[str, Any]:
    """Build one index, set it, and measure it."""
    before = anonymous()
    begun = time.perf_counter()
    search, choose, settings = (ours if name == OURS else other)(name, given)
    build = time.perf_counter() - begun
    memory = anonymous() - before
    setting, tried = chosen(given, search, choose, settings, every=name == OURS)
    choose(setting)
    half = len(given.queries) // 2
    asked = given.queries[half:]
    places = np.concatenate([search(batch, 2) for batch in np.array_split(asked, max(1, len(asked) // 32))])
    recalls = given.recall(places, slice(half, None))
    seconds = timed(lambda query: search(query, 1), [query[None] for query in asked])
    batches = timed(lambda batch: search(batch, 2), [asked[at : at + 32] for at in range(0, len(asked) - 31, 32)])
    return {
        "recall_1": recalls[0],
        "recall_16": recalls[1],
        "p50": 1000 * float(np.percentile(seconds, 50)),
        "p99": 1000 * float(np.percentile(seconds, 99)),
        "rate": 32 / float(np.median(batches)),
        "memory": memory / (given.vectors.size * 4),
        "build": build,
        "setting": setting,
        "tried": tried,
    }


Searcher = Callable[[Floats, int], Ints]
Made = tuple[Searcher, Callable[[int], None], Sequence[int]]


def other(name: str, given: Given) -> Made:
    """Build one of FAISS's, on all cores; return what searches it with so many threads, what sets it, and to what."""
    kind = CONTENDERS[name]
    count = len(given.vectors)
    lists = 1024 if count < 500_000 else 4096
    index: Any = faiss.index_factory(given.vectors.shape[1], kind.factory.format(lists=lists))
    sample = given.vectors[:: max(1, count // (64 * lists))]
    if not index.is_trained:
        index.train(np.ascontiguousarray(sample))
    for first in range(0, count, BLOCK):
        index.add(np.ascontiguousarray(given.vectors[first : first + BLOCK]))
    within = index
    if isinstance(index, faiss.IndexRefine):
        index.k_factor = kind.refined
        within = faiss.downcast_index(index.base_index)
    if isinstance(within, faiss.IndexPreTransform):
        within = faiss.downcast_index(within.index)

    def choose(setting: int) -> None:
        if hasattr(within, "hnsw"):
            within.hnsw.efSearch = setting
        elif hasattr(within, "nprobe"):
            within.nprobe = setting

    def search(queries: Floats, threads: int) -> Ints:
        faiss.omp_set_num_threads(threads)
        return np.asarray(index.search(queries, NEAREST)[1])

    return search, choose, kind.settings


def ours(name: str, given: Given) -> Made:
    """Build ours as the server does, on one thread; what it is shipped with is tried last, and stays."""
    count, dimension = given.vectors.shape
    sample = np.ascontiguousarray(given.vectors[:: max(1, count // sample_size(count))])
    index = ApproximateIndex.trained(dimension, count, sample[: sample_size(count)])
    for first in range(0, count, 10_000):
        part = given.vectors[first : first + 10_000]
        index.put(np.arange(first, first + len(part), dtype=np.int64), np.ascontiguousarray(part))
    lists: Any = faiss.downcast_index(index._codes.index)
    shipped = int(lists.nprobe)

    def choose(setting: int) -> None:
        lists.nprobe = setting

    def search(queries: Floats, threads: int) -> Ints:
        rows, distances = index.nearest(queries, NEAREST)
        order = np.argsort(distances, axis=1, kind="stable")[:, :NEAREST]
        return np.take_along_axis(rows, order, axis=1)

    parts = (1 / 4, 1 / 2, 3 / 4, 3 / 2, 2)
    return search, choose, [*(max(1, min(lists.nlist, round(shipped * part))) for part in parts), shipped]


def chosen(
    given: Given, search: Searcher, choose: Callable[[int], None], settings: Sequence[int], every: bool
) -> tuple[int, list[tuple[int, float]]]:
    """Return the first setting that reaches the recall, else or with `every` the last; and what was tried."""
    tried: list[tuple[int, float]] = []
    half = slice(0, len(given.queries) // 2)
    for setting in settings:
        choose(setting)
        batches = np.array_split(given.queries[half], 32)
        tried.append((setting, given.recall(np.concatenate([search(each, 2) for each in batches]), half)[0]))
        if not every and tried[-1][1] >= RECALL:
            break
    return tried[-1][0], tried


def timed(call: Callable[[Floats], object], arguments: Sequence[Floats]) -> list[float]:
    """Return the seconds of each call; of fewer than all where they take long."""
    for argument in arguments[:5]:
        call(argument)
    seconds: list[float] = []
    for argument in arguments:
        begun = time.perf_counter()
        call(argument)
        seconds.append(time.perf_counter() - begun)
        if sum(seconds) > SECONDS and len(seconds) >= 20:
            break
    return seconds


def anonymous() -> int:
    """Return how much memory this process has that is no file, in bytes."""
    ctypes.CDLL(None).malloc_trim(0)
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}" if value < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    typer.run(measure)
