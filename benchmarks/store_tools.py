"""How many classes a second `exemplar store` carries, each with one image of about a kilobyte.

    python -m benchmarks.store_tools [--classes 100000] [--postgres postgresql://...]

Every figure is of a command as it is called, start included. Loading is what `restore` and bulk jobs write with.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import typer

from benchmarks.results import record
from demo.server_process import EXEMPLAR, clean_environment
from exemplar_server.store.opening import open_truth
from exemplar_server.store.records import ClassCopy, Exemplar, Gallery, NewExemplar

DIMENSION = 128
IMAGE_BYTES = 1000
BATCH = 1000
TARGET_LOADED = 20_000  # classes a second
MODEL = "m" * 64


def made_up(count: int) -> Iterator[list[ClassCopy]]:
    """Yield batches of classes with random vectors and images."""
    random = np.random.default_rng(0)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for start in range(0, count, BATCH):
        vectors = random.normal(size=(min(BATCH, count - start), DIMENSION)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        batch = []
        for number, vector in enumerate(vectors, start):
            image = random.bytes(IMAGE_BYTES)
            described = Exemplar(hashlib.sha256(image).hexdigest(), 105, 105, "PNG", len(image))
            exemplar = NewExemplar(described, image, vector)
            batch.append(ClassCopy(f"class-{number:08}", f"Class {number}", {}, moment, moment, vector, [exemplar]))
        yield batch


def load(store: str, count: int) -> float:
    """Fill a gallery of a new store and return the seconds that loading alone took."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    gallery = Gallery("g", "", MODEL, DIMENSION, 7, count, None, None, moment, moment)
    seconds = 0.0
    with closing(open_truth(store)) as truth:
        truth.load_gallery(gallery)
        for batch in made_up(count):
            start = time.perf_counter()
            truth.load_classes("g", batch)
            seconds += time.perf_counter() - start
        truth.finish_load(gallery)
    return seconds


def run(*words: str) -> float:
    """Run a command and return its seconds."""
    start = time.perf_counter()
    subprocess.run([EXEMPLAR, "store", *words, "--json"], check=True, capture_output=True, env=clean_environment())
    return time.perf_counter() - start


def size(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder."""
    return (
        sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
        if path.is_dir()
        else path.stat().st_size
    )


def main(classes: int = 100_000, postgres: str = "") -> None:
    """Measure and record; with the URL of an empty PostgreSQL database, there too."""
    count = classes
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source, file = root / "source", root / "galleries.tar"
        seconds: dict[str, float] = {"load into SQLite": load(f"sqlite:{source}", count)}
        seconds["verify"] = run("verify", "--store", str(source))
        seconds["backup"] = run("backup", str(file), "--store", str(source))
        seconds["restore"] = run("restore", str(file), "--store", str(root / "restored"))
        seconds["migrate, SQLite to SQLite"] = run("migrate", str(source), str(root / "migrated"))
        if postgres:
            seconds["migrate, SQLite to PostgreSQL"] = run("migrate", str(source), postgres)
            seconds["verify PostgreSQL"] = run("verify", "--store", postgres)
            seconds["backup of PostgreSQL"] = run("backup", str(root / "again.tar"), "--store", postgres)
            seconds["migrate, PostgreSQL to SQLite"] = run("migrate", postgres, str(root / "back"))
            run("backup", str(root / "back.tar"), "--store", str(root / "back"))
            assert (root / "back.tar").read_bytes() == (root / "again.tar").read_bytes() == file.read_bytes()
        sizes = {"database": size(source), "archive": size(file)}
    rows = [[what, f"{taken:.1f} s", f"{count / taken:,.0f} classes/s"] for what, taken in seconds.items()]
    rows += [[what, f"{of / 1e6:,.0f} MB", f"{of / count:,.0f} bytes a class"] for what, of in sizes.items()]
    figures: dict[str, Any] = {
        "classes": count,
        "image_bytes": IMAGE_BYTES,
        "dimension": DIMENSION,
        "seconds": seconds,
        "classes_per_second": {what: count / taken for what, taken in seconds.items()},
        "target_loaded_per_second": TARGET_LOADED,
        "bytes": sizes,
    }
    title = f"{count:,} classes (to be loaded: {TARGET_LOADED:,} classes/s)"
    record("store_tools", title, ["", "", "a class"], rows, figures)


if __name__ == "__main__":
    typer.run(main)
