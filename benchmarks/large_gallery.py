"""A large gallery through the whole store: search, restart, enroll while an index is built; figures beside targets.

`python -m benchmarks.large_gallery --classes 1000000 --folder FOLDER` fills a store with embeddings that lie as
trained ones do (`benchmarks.vectors`), each class with one exemplar of a kilobyte, and measures each thing in a
process of its own. A folder that is filled already is used again.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import faiss
import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from benchmarks.results import record
from benchmarks.vectors import second_pictures, trained_like
from exemplar_encoder.arrays import Floats
from exemplar_server.logs import configure_logs
from exemplar_server.store import Exemplar, NewClass, NewExemplar, open_store, open_truth
from exemplar_server.store.index.gallery_index import GalleryIndex
from exemplar_server.store.indexed_store import IndexedStore
from exemplar_server.store.records import ClassCopy, Gallery

DIMENSION = 128
GALLERY = "large"
CHUNK = 10_000
ASKED = 5, 16  # what a classification asks for
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)

# Recall, p50, p99 in ms, queries/s, memory over raw vectors, seconds to be ready, p99 of enrolling in ms.
TARGETS: dict[int, dict[str, float]] = {
    100_000: {"recall": 1.0, "p50": 1, "p99": 3, "memory": 2, "ready": 2, "enroll_p99": 25},
    1_000_000: {"recall": 0.99, "p50": 1, "p99": 3, "rate": 5000, "memory": 1.6, "ready": 12, "enroll_p99": 25},
    10_000_000: {"recall": 0.97, "p50": 3, "p99": 10, "ready": 120},
}

console = Console(stderr=True)


def measure(
    classes: Annotated[int, typer.Option(min=1000, help="Classes in the gallery.")] = 100_000,
    folder: Annotated[Path, typer.Option(help="Where the store is; filled where it is missing.")] = Path(
        "runs/large"
    ),
    index: Annotated[str, typer.Option(help="As of `exemplar serve`.")] = "auto",
    queries: Annotated[int, typer.Option(min=100, help="Queries to ask.")] = 2000,
    phase: Annotated[str, typer.Option(hidden=True)] = "",
    began: Annotated[float, typer.Option(hidden=True)] = 0.0,
) -> None:
    """Fill, and measure in processes of their own: the first start, a restart, searches, enrolling beside a build."""
    configure_logs("console", "warning")
    data = folder / "data"
    if phase:
        print(json.dumps(PHASES[phase](data, index, classes, queries, began)))
        return
    fill(data, classes)
    figures: dict[str, Any] = {"classes": classes, "index": index}
    for name in PHASES:
        console.print(f"{name} ...")
        command = [sys.executable, "-m", "benchmarks.large_gallery", "--phase", name, "--folder", str(folder)]
        command += [
            "--classes",
            str(classes),
            "--index",
            index,
            "--queries",
            str(queries),
            "--began",
            str(time.time()),
        ]
        figures |= json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    raw = classes * DIMENSION * 4 / 2**20
    figures["memory"] = (figures["memory_mib"] - figures["empty_mib"]) / raw
    targets = TARGETS.get(classes, {})
    rows = [
        [title, f"{figures[key]:,.3f}", f"{targets[key]:,g}" if key in targets else ""]
        for key, title in TITLES.items()
        if key in figures
    ]
    record(f"large_gallery_{classes}", f"A gallery of {classes:,} classes", ["", "measured", "target"], rows, figures)


TITLES = {
    "first_ready": "ready, without a saved index (s)",
    "build": "then an index is built in the background (s)",
    "ready": "ready after a restart (s)",
    "recall": "recall@1 against exact",
    "p50": "one query, p50 (ms)",
    "p99": "one query, p99 (ms)",
    "rate": "32 queries in a call (queries/s)",
    "threads_rate": "32 callers at once (queries/s)",
    "memory": "resident memory beyond an empty store's / raw vectors",
    "memory_mib": "resident memory (MiB)",
    "enroll_p99": "enroll while an index is built, p99 (ms)",
    "enroll_max": "enroll while an index is built, slowest (ms)",
    "search_p99_building": "search while an index is built, p99 (ms)",
    "data_gib": "database (GiB)",
}


def fill(data: Path, classes: int) -> None:
    """Fill a store, in bulk and as an import would; one that is filled already stays."""
    truth = open_truth(f"sqlite:{data}")
    try:
        if any(gallery.id == GALLERY and gallery.class_count == classes for gallery in truth.list_galleries()):
            return
        truth.delete_gallery(GALLERY, force=True, allow_missing=True)
        gallery = Gallery(GALLERY, "", "m" * 64, DIMENSION, 1, classes, None, None, MOMENT, MOMENT)
        truth.load_gallery(gallery)
        vectors = trained_like(classes)
        start = time.perf_counter()
        for first in track(range(0, classes, CHUNK), "Filling", console=console):
            part = range(first, min(first + CHUNK, classes))
            truth.load_classes(GALLERY, [copied(number, vectors[number]) for number in part])
        console.print(f"Filled at {classes / (time.perf_counter() - start):,.0f} classes/s.")
    finally:
        truth.close()


def copied(number: int, vector: Floats) -> ClassCopy:
    image = number.to_bytes(8, "big") * 128
    about = Exemplar(hashlib.sha256(image).hexdigest(), 32, 32, "PNG", len(image))
    exemplar = NewExemplar(about, image, vector)
    return ClassCopy(
        f"c{number:08}", f"Class {number}", {"shelf": str(number % 97)}, MOMENT, MOMENT, vector, [exemplar]
    )


def opened(data: Path, index: str, began: float) -> tuple[IndexedStore, GalleryIndex, float]:
    """Open the store and search once; return it, the gallery's index, and the seconds since the process began."""
    store = open_store(f"sqlite:{data}", index)
    assert isinstance(store, IndexedStore)
    store.search(GALLERY, np.zeros((1, DIMENSION), np.float32), 1)
    return store, store._indexes.get(GALLERY), time.time() - began


def empty(data: Path, index: str, classes: int, queries: int, began: float) -> dict[str, float]:
    """Return what a process takes that has opened an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:{folder}", index)
        store.create_gallery(GALLERY, "m" * 64, DIMENSION)
        store.search(GALLERY, np.zeros((1, DIMENSION), np.float32), 1)
        memory = resident()
        store.close()
    return {"empty_mib": memory / 2**20}


def first_start(data: Path, index: str, classes: int, queries: int, began: float) -> dict[str, float]:
    """Start without a saved index, and wait for the one that is built."""
    for path in (data / "indexes").glob("*"):
        path.unlink()
    store, held, ready = opened(data, index, began)
    begun = time.perf_counter()
    if held._builder is not None:
        held._builder.join()
    built = time.perf_counter() - begun
    store.close()
    return {"first_ready": ready, "build": built, "data_gib": size(data) / 2**30}


def searches(data: Path, index: str, classes: int, queries: int, began: float) -> dict[str, float]:
    """Search after a restart."""
    store, _, ready = opened(data, index, began)
    memory = resident()
    asked = second_pictures(trained_like(classes), queries)
    seconds = [timed(lambda query=query[None]: store.search(GALLERY, query, *ASKED)) for query in asked]  # type: ignore[misc]
    batches = [asked[first : first + 32] for first in range(0, len(asked) - 31, 32)]
    rate = 32 / np.median([timed(lambda batch=batch: store.search(GALLERY, batch, *ASKED)) for batch in batches])  # type: ignore[misc]
    with ThreadPoolExecutor(32) as pool:
        begun = time.perf_counter()
        answers = list(pool.map(lambda query: store.search(GALLERY, query[None], *ASKED), asked))
        threads = len(asked) / (time.perf_counter() - begun)
    found = [answer.results[0][0].class_id for answer in answers]
    exact = nearest(trained_like(classes), asked)
    store.close()
    return {
        "ready": ready,
        "recall": float(np.mean([name == f"c{number:08}" for name, number in zip(found, exact, strict=True)])),
        "p50": 1000 * float(np.percentile(seconds, 50)),
        "p99": 1000 * float(np.percentile(seconds, 99)),
        "rate": float(rate),
        "threads_rate": threads,
        "memory_mib": memory / 2**20,
    }


def enrolling(data: Path, index: str, classes: int, queries: int, began: float) -> dict[str, float]:
    """Enroll and search while another index is built and taken into use."""
    store, held, _ = opened(data, index, began)
    held._builder = threading.Thread(target=held._build)
    held._builder.start()
    enrolls: list[float] = []
    seconds: list[float] = []
    vectors = second_pictures(trained_like(classes), 1000)
    number = 0
    while held._builder.is_alive() or number < 200:
        vector = vectors[number % len(vectors)]
        image = f"new {number}".encode() * 100
        about = Exemplar(hashlib.sha256(image).hexdigest(), 32, 32, "PNG", len(image))
        new = NewClass(f"new{number % 500}", [NewExemplar(about, image, vector)])
        enrolls.append(timed(lambda new=new: store.put_classes(GALLERY, [new])))  # type: ignore[misc]
        seconds.append(timed(lambda query=vector[None]: store.search(GALLERY, query, *ASKED)))  # type: ignore[misc]
        number += 1
        time.sleep(0.01)  # a busy gallery, not one that does nothing else
    for left in range(min(number, 500)):
        store.delete_class(GALLERY, f"new{left}")
    store.close()
    return {
        "enroll_p99": 1000 * float(np.percentile(enrolls, 99)),
        "enroll_max": 1000 * max(enrolls),
        "search_p99_building": 1000 * float(np.percentile(seconds, 99)),
        "enrolled": len(enrolls),
    }


PHASES: dict[str, Callable[[Path, str, int, int, float], dict[str, float]]] = {
    "empty": empty,
    "first_start": first_start,
    "searches": searches,
    "enrolling": enrolling,
}


def nearest(vectors: Floats, queries: Floats) -> list[int]:
    """Return the exact nearest of each query."""
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    return [int(row) for row in index.search(queries, 1)[1][:, 0]]


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def resident() -> int:
    """Return this process's resident memory in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    typer.run(measure)
