"""The cost of a call beside a call that does nothing: an empty handler and the real server, same callers.

The empty handler is gRPC's own asyncio server on uvloop, as the real one is, and answers a message of a classify's
size. The callers are a process of their own, so both servers have the same company on the same cores.
"""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import grpc
import numpy as np
import typer
from PIL import Image

from benchmarks.results import record
from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as pb
from exemplar.v1 import classification_service_pb2_grpc as pb_grpc
from exemplar.v1 import gallery_service_pb2, gallery_service_pb2_grpc, resources_pb2

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
BATCH = 32
CLASSES = 100

Call = Callable[[], Awaitable[Any]]


def picture(seed: int = 0) -> resources_pb2.Image:
    """Return a drawing-like gray picture of 105 x 105 pixels."""
    pixels = np.full((105, 105), 255, np.uint8)
    rng = np.random.default_rng(seed)
    for _ in range(6):
        row, column, length = rng.integers(10, 70, 3)
        pixels[row : row + 3, column : column + length // 2] = 0
        pixels[column : column + length // 2, row : row + 3] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return resources_pb2.Image(content=buffer.getvalue())


def main(
    bundle: Annotated[Path, typer.Option(help="The bundle to serve.")],
    seconds: Annotated[float, typer.Option(help="How long to measure each.")] = 5.0,
    callers: Annotated[int, typer.Option(help="Calls in flight.")] = 32,
) -> None:
    """Measure."""
    asyncio.run(_measure_all(bundle, seconds, callers))


async def _measure_all(bundle: Path, seconds: float, callers: int) -> None:
    figures: dict[str, dict[str, float]] = {}
    empty = subprocess.Popen([sys.executable, "-c", EMPTY], stdout=subprocess.PIPE, text=True)
    assert empty.stdout is not None
    async with grpc.aio.insecure_channel(empty.stdout.readline().strip()) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/empty.Empty/Call")
        request = picture().content
        figures["empty handler"] = await _measure(lambda: method(request), seconds, callers, 1)
    empty.kill()
    empty.communicate()
    with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle, Path(folder)) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            await _stock(channel)
            stub = pb_grpc.ClassificationServiceStub(channel)
            image, query = picture(), resources_pb2.Query(image=picture())
            model = await stub.Embed(pb.EmbedRequest(image=image))
            given = resources_pb2.Query(embedding=model.embedding)
            one = pb.ClassifyRequest(gallery="galleries/g", query=query)
            by_embedding = pb.ClassifyRequest(gallery="galleries/g", query=given)
            many = pb.BatchClassifyRequest(gallery="galleries/g", queries=[query] * BATCH)
            calls: dict[str, tuple[Call, int, int]] = {
                "Classify, an embedding": (lambda: stub.Classify(by_embedding), callers, 1),
                "Embed": (lambda: stub.Embed(pb.EmbedRequest(image=image)), callers, 1),
                "Classify": (lambda: stub.Classify(one), callers, 1),
                "Classify, one caller": (lambda: stub.Classify(one), 1, 1),
                f"BatchClassify of {BATCH}": (lambda: stub.BatchClassify(many), 4, BATCH),
                f"BatchEmbed of {BATCH}": (
                    lambda: stub.BatchEmbed(pb.BatchEmbedRequest(images=[image] * BATCH)),
                    4,
                    BATCH,
                ),
            }
            for name, (call, in_flight, items) in calls.items():
                figures[name] = await _measure(call, seconds, in_flight, items)
    base = figures["empty handler"]["calls_per_second"]
    rows = [
        [
            name,
            f"{found['calls_per_second']:,.0f}",
            f"{found['images_per_second']:,.0f}",
            f"{found['calls_per_second'] / base:.2f}",
            f"{found['median_ms']:.2f}",
            f"{found['p99_ms']:.2f}",
        ]
        for name, found in figures.items()
    ]
    title = f"Calls answered; {callers} in flight unless said, gallery of {CLASSES} classes"
    columns = ["", "calls/s", "images/s", "calls to empty", "median ms", "p99 ms"]
    record("server_throughput", title, columns, rows, figures)


async def _stock(channel: grpc.aio.Channel) -> None:
    stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
    await stub.CreateGallery(gallery_service_pb2.CreateGalleryRequest(gallery_id="g"))
    enrollments = [
        gallery_service_pb2.Enrollment(class_id=f"c{number}", images=[picture(number)]) for number in range(CLASSES)
    ]
    await stub.BatchEnrollClasses(
        gallery_service_pb2.BatchEnrollClassesRequest(gallery="galleries/g", enrollments=enrollments)
    )


async def _measure(call: Call, seconds: float, callers: int, items: int) -> dict[str, float]:
    times: list[float] = []
    start = perf_counter()
    warm, end = start + 0.2 * seconds, start + 1.2 * seconds

    async def caller() -> None:
        while (begun := perf_counter()) < end:
            await call()
            if begun >= warm:
                times.append(perf_counter() - begun)

    await asyncio.gather(*(caller() for _ in range(callers)))
    rate = len(times) / (perf_counter() - warm)
    return {
        "calls_per_second": rate,
        "images_per_second": rate * items,
        "median_ms": 1000 * float(np.median(times)),
        "p99_ms": 1000 * float(np.percentile(times, 99)),
    }


if __name__ == "__main__":
    typer.run(main)
