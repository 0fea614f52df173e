"""How long does one query take in vector databases that run in one's own process, and in our whole store?

`python -m benchmarks.vector_databases --python ENVIRONMENT/bin/python`, where that environment has
`requirements-vector-databases.txt`. All hold the same 100,000 vectors that lie as trained embeddings do, and each
searches as little as gives a recall@1 of 0.99. They return ids and distances; our own search call also looks which
state the gallery is in, and returns names and attributes of five classes. Target: none ahead of it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import faiss
import numpy as np
import typer
from rich.console import Console

from benchmarks.large_gallery import ASKED, GALLERY, fill
from benchmarks.results import record
from benchmarks.vector_database_worker import DATABASES, asked, measure
from benchmarks.vector_index import prepare
from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.logs import configure_logs
from exemplar_server.store import open_store
from exemplar_server.store.indexed_store import IndexedStore

OURS = "our store, whole search call"
INDEX = "our index alone"
COLUMNS = {"recall_1": "recall@1", "p50": "p50 (ms)", "p99": "p99 (ms)", "times": "times ours", "setting": "set to"}

console = Console(stderr=True)


def main(
    python: Annotated[Path, typer.Option(help="Interpreter that has the databases.")] = Path(sys.executable),
    classes: Annotated[int, typer.Option(min=10_000, help="Vectors.")] = 100_000,
    queries: Annotated[int, typer.Option(min=200, help="Half to set by, half to measure with.")] = 2000,
    only: Annotated[list[str] | None, typer.Option(help="Measure these beside ours; repeat it.")] = None,
    ours: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure each in a process of its own; ours first and last, since the machine may change meanwhile."""
    configure_logs("console", "warning")
    if ours is not None:
        print(json.dumps(measure_ours(ours)))
        return
    folder = Path(tempfile.mkdtemp(prefix="vector_databases_"))
    try:
        prepare(folder, classes, "trained_like", queries)
        fill(folder / "data", classes)
        runs = [own(folder)]
        figures: dict[str, Any] = {}
        for name in only or DATABASES:
            console.print(f"{name} ...")
            worker = Path(__file__).with_name("vector_database_worker.py")
            command = [str(python), str(worker), name, str(folder)]
            answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if answer.returncode:
                raise SystemExit(f"{name} cannot be measured: {answer.stderr.strip()[-2000:]}")
            figures[name] = json.loads(answer.stdout.splitlines()[-1])
            console.print(figures[name])
        runs.append(own(folder))
    finally:
        shutil.rmtree(folder)
    for name in (OURS, INDEX):
        figures[name] = {
            key: float(np.mean([run[name][key] for run in runs])) for key in ("recall_1", "p50", "p99")
        } | {"setting": "as shipped", "runs": [run[name] for run in runs]}
    for found in figures.values():
        found["times"] = found["p50"] / figures[OURS]["p50"]
    rows = [[name, *(_shown(found[key]) for key in COLUMNS)] for name, found in figures.items()]
    title = f"One query among {classes:,} vectors, one thread; target: none ahead of our whole search call"
    record("vector_databases", title, ["", *COLUMNS.values()], rows, {"classes": classes, "databases": figures})


def own(folder: Path) -> dict[str, Any]:
    """Measure ours in a process of its own."""
    console.print("ours ...")
    command = [sys.executable, "-m", "benchmarks.vector_databases", "--ours", str(folder)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    console.print(found)
    return found


def measure_ours(folder: Path) -> dict[str, Any]:
    """Measure the search call and the index in it, once its approximate index is there."""
    queries: Floats = np.load(folder / "queries.npy")
    nearest: Ints = np.load(folder / "nearest.npy")[:, 0]
    store = open_store(f"sqlite:{folder / 'data'}")
    assert isinstance(store, IndexedStore)
    held = store._indexes.get(GALLERY)
    if held._builder is not None:
        held._builder.join()
    faiss.omp_set_num_threads(1)

    def whole(query: Floats) -> list[int]:
        found = store.search(GALLERY, query[None], *ASKED)
        return [int(near.class_id[1:]) for near in found.results[0]]

    def alone(query: Floats) -> Ints:
        rows, distances = held._index.nearest(query[None], ASKED[1])
        return rows[0][np.argsort(distances[0])[:1]] - 1

    half = len(queries) // 2
    asked(whole, queries[:half], nearest[:half])
    figures = {
        OURS: measure(whole, None, (0,), queries, nearest),
        INDEX: measure(alone, None, (0,), queries, nearest),
    }
    store.close()
    return figures


def _shown(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    typer.run(main)
