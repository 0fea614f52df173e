"""The limits of this machine: what the parts do with no service around them, all in one run.

`python -m benchmarks.limits` prints them. `measure` gives them to `benchmarks.serving`, which states everything that
the server does as a share of them.

| limit | is |
|---|---|
| bare loop | decode, prepare, embed, search: as many independent processes as cores, each on one thread |
| single image | the same once, the engine on all cores: the least that one caller can wait |
| empty handler | gRPC's asyncio server on uvloop, answering 400 bytes to a picture |
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated

import numpy as np
import typer

from benchmarks.drawn import picture
from benchmarks.load import Load, call, processor_seconds
from benchmarks.results import record
from exemplar_encoder import EncodedImage, Encoder, load_encoder
from exemplar_server.store.index.flat import FlatIndex

BATCH = 32
CLASSES = 100
CONSIDERED = 16

EMPTY = """
import asyncio
import grpc, uvloop

async def main():
    server = grpc.aio.server()
    async def answer(request, context):
        return bytes(400)
    handlers = {"Call": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("empty.Empty", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()

uvloop.run(main())
"""


def main(
    bundle: Annotated[Path, typer.Option(help="The bundle.")] = Path("models/omniglot"),
    seconds: Annotated[float, typer.Option(help="How long to measure each.")] = 4.0,
) -> None:
    """Measure."""
    figures = measure(bundle, seconds)
    rows = [[name, f"{value:,.2f}"] for name, value in figures.items()]
    record("limits", f"Limits of this machine ({bundle})", ["", "figure"], rows, figures)


def measure(bundle: Path, seconds: float) -> dict[str, float]:
    """Return the limits by name; the unit is part of it."""
    cores = os.cpu_count() or 1
    figures: dict[str, float] = {}
    for processes in dict.fromkeys((1, cores)):
        for batch in (1, BATCH):
            rate, spent = _bare_loops(bundle, seconds, processes, batch)
            name = f"bare loop, {processes} processes, by {batch}"
            figures[f"{name}, images/s"] = rate
            figures[f"{name}, processor ms an image"] = spent
    image = EncodedImage(picture().content)
    encoder = load_encoder(bundle, threads=1)
    pixels = encoder.prepare(image).pixels[None]
    figures["prepare, one thread, ms"] = _median_ms(lambda: encoder.prepare(image), seconds / 4)
    figures["embed, one thread, ms"] = _median_ms(lambda: encoder.embed(pixels), seconds / 4)
    index = _index(encoder.dimension)
    query = encoder.embed(pixels)
    figures[f"search of {CLASSES} classes, ms"] = _median_ms(lambda: index.nearest(query, CONSIDERED), seconds / 4)
    whole = load_encoder(bundle)
    figures["single image, ms"] = _median_ms(lambda: _name(whole, index, [image]), seconds / 2)
    load, spent = _empty_handler(image.content, seconds)
    figures["empty handler, calls/s"] = load.rate
    figures["empty handler, processor ms a call"] = spent
    figures["h2load, processor ms a call"] = load.generator
    return figures


def _name(encoder: Encoder, index: FlatIndex, images: list[EncodedImage]) -> None:
    pixels = np.stack([encoder.prepare(image).pixels for image in images])
    index.nearest(encoder.embed(pixels), CONSIDERED)


def _index(dimension: int) -> FlatIndex:
    vectors = np.random.default_rng(0).normal(size=(CLASSES, dimension)).astype(np.float32)
    index = FlatIndex(dimension)
    index.put(np.arange(1, CLASSES + 1, dtype=np.int64), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return index


def _bare_loops(bundle: Path, seconds: float, processes: int, batch: int) -> tuple[float, float]:
    """Return images a second of all processes together, and processor time of one image in ms."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool, context.Manager() as manager:
        ready = manager.Barrier(processes)
        jobs = [pool.submit(_bare_loop, bundle, seconds, batch, ready) for _ in range(processes)]
        found = [job.result() for job in jobs]
    images = sum(count for count, _ in found)
    return images / seconds, 1000 * sum(spent for _, spent in found) / images


def _bare_loop(bundle: Path, seconds: float, batch: int, ready: object) -> tuple[int, float]:
    encoder = load_encoder(bundle, threads=1)
    index = _index(encoder.dimension)
    images = [EncodedImage(picture().content)] * batch
    _name(encoder, index, images)
    ready.wait()  # type: ignore[attr-defined]  # a barrier's proxy
    count, spent, end = 0, process_time(), perf_counter() + seconds
    while perf_counter() < end:
        _name(encoder, index, images)
        count += batch
    return count, process_time() - spent


def _empty_handler(message: bytes, seconds: float) -> tuple[Load, float]:
    empty = subprocess.Popen([sys.executable, "-c", EMPTY], stdout=subprocess.PIPE, text=True)
    assert empty.stdout is not None
    address = empty.stdout.readline().strip()
    before, start = processor_seconds(empty.pid), perf_counter()
    load = call(address, "/empty.Empty/Call", message, BATCH, seconds)
    spent, took = processor_seconds(empty.pid) - before, perf_counter() - start
    empty.kill()
    empty.communicate()
    return load, 1000 * spent / (load.rate * took)


def _median_ms(work: Callable[[], object], seconds: float) -> float:
    for _ in range(3):
        work()
    found, end = [], perf_counter() + seconds
    while perf_counter() < end:
        start = perf_counter()
        work()
        found.append(perf_counter() - start)
    return 1000 * statistics.median(found)


if __name__ == "__main__":
    typer.run(main)
