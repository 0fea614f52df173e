"""What does a GPU gain? Searches of one gallery by FAISS on the CPU and on a GPU, in turn, and what a change costs.

The figures are of the card that the table names. Where FAISS reports no GPU, it says so and measures nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import record
from exemplar_encoder.arrays import Floats
from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.gpu import GpuIndex
from exemplar_server.store.index.gpu_device import Gpu, card, find_gpu, gpu_count

_NEAREST = 16
_TARGET = "more than 1"

Figures = dict[str, float | int]


def main(
    vectors: Annotated[list[int] | None, typer.Option(help="Sizes of the gallery; repeat it.")] = None,
    dimension: Annotated[int, typer.Option(help="Of the vectors.")] = 128,
    runs: Annotated[int, typer.Option(help="Runs of each search, of which the median counts.")] = 50,
) -> None:
    """Measure."""
    if not gpu_count():
        print("FAISS reports no GPU: there is no card to measure, so nothing was measured.")
        return
    gpu = find_gpu()
    figures = [measure(gpu, size, dimension, runs) for size in vectors or [10_000, 100_000, 1_000_000]]
    gpu.close()
    report(card(), dimension, figures)


def measure(gpu: Gpu, size: int, dimension: int, runs: int) -> Figures:
    """Time one size of gallery; seconds, medians of `runs`, the CPU's and the GPU's in turn."""
    rng = np.random.default_rng(0)
    rows, held = np.arange(1, size + 1), _drawn(rng, size, dimension)
    flat, on_gpu = FlatIndex(dimension), GpuIndex(dimension, gpu)
    flat.put(rows, held)
    figures: Figures = {"vectors": size, "build": _seconds(lambda: on_gpu.put(rows, held))}
    for count in 1, 64:
        queries = _drawn(rng, count, dimension)
        seconds: dict[str, list[float]] = {"cpu": [], "gpu": []}
        for run in range(runs + 3):
            for name, index in (("cpu", flat), ("gpu", on_gpu)):
                taken = _seconds(lambda index=index, queries=queries: index.nearest(queries, _NEAREST))  # type: ignore[misc]
                if run >= 3:
                    seconds[name].append(taken)
        for name, taken_each in seconds.items():
            figures[f"{name}, {count} queries"] = statistics.median(taken_each)
    one = _drawn(rng, 1, dimension)
    puts = [_seconds(lambda row=row: on_gpu.put(np.array([row]), one)) for row in range(size + 1, size + 11)]  # type: ignore[misc]
    figures["put one"] = statistics.median(puts)
    if not on_gpu.on_gpu:
        raise SystemExit(f"The memory of the GPU ran out at {size:,} vectors; measure fewer with --vectors.")
    on_gpu.close()
    return figures


def report(name: str, dimension: int, figures: list[Figures]) -> None:
    """Print the table and write the figures."""
    rows = [
        [
            f"{row['vectors']:,}",
            *(f"{row[f'{where}, {count} queries'] * 1e3:.2f}" for count in (1, 64) for where in ("cpu", "gpu")),
            *(f"{row[f'cpu, {count} queries'] / row[f'gpu, {count} queries']:.1f}" for count in (1, 64)),
            _TARGET,
            f"{row['put one'] * 1e3:.2f}",
            f"{row['build']:.2f}",
        ]
        for row in figures
    ]
    columns = ["vectors", "CPU, 1 (ms)", "GPU, 1 (ms)", "CPU, 64 (ms)", "GPU, 64 (ms)", "gain, 1", "gain, 64"]
    columns += ["target", "put one (ms)", "build (s)"]
    title = f"The {_NEAREST} nearest of vectors of {dimension} values, for 1 and for 64 queries, on {name}"
    record("gpu_index", title, columns, rows, {"card": name, "dimension": dimension, "seconds": figures})


def _drawn(rng: np.random.Generator, count: int, dimension: int) -> Floats:
    vectors = rng.standard_normal((count, dimension), np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
