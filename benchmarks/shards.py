"""How fast are shards made, read and imported?

`python -m benchmarks.shards --bundle models/omniglot` draws pictures and has both engines make shards of them.
Reading and importing are measured on shards of random vectors and bytes, as large as the pictures of a real gallery:
reading checks each shard and makes of each row what a store is given.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.index_kill import draw
from benchmarks.results import record
from demo.server_process import EXEMPLAR
from exemplar_indexer.gallery_import import class_copy
from exemplar_indexer.shard_folder import ShardFolder
from exemplar_indexer.shard_writer import writing_shard
from exemplar_indexer.shards import Header, Row, read_header, read_shard, rows_of, write_header

TARGET = 20_000
SHARD_SIZE = 2048
DIMENSION = 128


def main(
    bundle: Annotated[Path, typer.Option(help="Bundle that embeds.")] = Path("models/omniglot"),
    count: Annotated[int, typer.Option(min=100, help="Pictures to embed.")] = 10_000,
    rows: Annotated[int, typer.Option(min=1, help="Rows to read and import.")] = 100_000,
    image_bytes: Annotated[int, typer.Option(min=1, help="Bytes of an image in them.")] = 1000,
) -> None:
    """Measure."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw(folder / "images", count)
        for engine, more in (("local", ()), ("ray", ("--workers", "2"))):
            figures[f"embed, {engine}, images/s"] = embed(folder, bundle, engine, more)
        made = folder / "made"
        figures["write, rows/s"] = rows / write(made, rows, image_bytes)
        figures["read, rows/s"] = rows / read(made)
        command: list[str | Path] = [EXEMPLAR, "import", made, "-g", "g", "--create", "--data-dir", folder / "data"]
        figures["import into SQLite, rows/s"] = run(command)["classes_per_second"]
    targets = {"import into SQLite, rows/s": f"{TARGET:,}"}
    table = [[name, f"{value:,.0f}", targets.get(name, "")] for name, value in figures.items()]
    record("shards", f"Shards ({image_bytes:,} bytes an image)", ["what", "figure", "target"], table, figures)


def embed(folder: Path, bundle: Path, engine: str, more: Sequence[str]) -> float:
    """Make shards of the pictures, and return images a second."""
    command: list[str | Path] = [
        EXEMPLAR,
        "index",
        folder / "images",
        "--shards",
        folder / engine,
        "--bundle",
        bundle,
    ]
    return float(run([*command, "--engine", engine, *more])["images_per_second"])


def run(command: Sequence[str | Path]) -> dict[str, Any]:
    """Run a command and return its summary."""
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    if not done.stdout:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def write(folder: Path, count: int, image_bytes: int) -> float:
    """Write shards of random rows, and return the seconds that it took."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((count, DIMENSION)).astype(np.float32)
    shards = ShardFolder(str(folder))
    shards.prepare()
    started = time.perf_counter()
    starts = range(0, count, SHARD_SIZE)
    for number, start in enumerate(starts):
        with writing_shard(shards, number, "", DIMENSION) as shard:
            for index in range(start, min(start + SHARD_SIZE, count)):
                image = rng.bytes(image_bytes)
                name = hashlib.sha256(image).hexdigest()
                row = Row(
                    id=f"c{index:08}",
                    display_name="",
                    attributes={},
                    sha256=name,
                    region=None,
                    width=105,
                    height=105,
                    format="PNG",
                    size_bytes=image_bytes,
                    vector=vectors[index],
                    model="model",
                    image=image,
                    image_url=None,
                )
                shard.add(row)
    write_header(shards, Header("random", "model", DIMENSION, SHARD_SIZE, False, len(starts), complete=True))
    return time.perf_counter() - started


def read(folder: Path) -> float:
    """Read and check all shards, and return the seconds that it took."""
    shards = ShardFolder(str(folder))
    header = read_header(shards)
    assert header is not None
    now = datetime.now(UTC)
    started = time.perf_counter()
    for number in range(header.shards):
        for table in read_shard(shards, number, header):
            for row in rows_of(table):
                class_copy(row, row.image or b"", now)
    return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
