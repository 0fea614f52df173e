"""The server beside the limits of its parts: every figure as a share of what the parts allow, in one run.

`python -m benchmarks.serving` measures `benchmarks.limits` first, then the real server on an idle machine, called by
h2load, and by Python's own client where h2load is not installed or two kinds of calls are needed. Both take their own
part of the processors; what they take is counted in what the parts allow.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Annotated

import grpc
import typer

from benchmarks import limits
from benchmarks.drawn import picture
from benchmarks.load import Load, available, call, processor_seconds, resident_mib
from benchmarks.results import record
from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as pb
from exemplar.v1 import classification_service_pb2_grpc as pb_grpc
from exemplar.v1 import gallery_service_pb2, gallery_service_pb2_grpc, resources_pb2

GALLERY = "galleries/g"
BATCH = limits.BATCH
IN_FLIGHT = 32
STEADY = 0.7
_SERVICE = "/exemplar.v1.ClassificationService/"


def main(
    bundle: Annotated[Path, typer.Option(help="The bundle to serve.")] = Path("models/omniglot"),
    seconds: Annotated[float, typer.Option(help="How long to measure each.")] = 6.0,
) -> None:
    """Measure."""
    if not available():
        raise SystemExit("benchmarks.serving needs h2load: install Debian's nghttp2-client")
    cores = os.cpu_count() or 1
    figures = limits.measure(bundle, seconds)
    with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle, Path(folder)) as server:
        stock(server.address)
        calls = requests(server.address)
        measured: dict[str, tuple[Load, float]] = {}
        for name, (method, message, in_flight) in calls.items():
            before, start = processor_seconds(server.pid), perf_counter()
            counted = server.metric(_answered(method))
            load = call(server.address, _SERVICE + method, message, in_flight, seconds)
            spent, took = processor_seconds(server.pid) - before, perf_counter() - start
            answered = server.metric(_answered(method)) - counted
            if answered < 0.9 * load.rate * seconds:
                raise SystemExit(f"{name}: of {load.rate * seconds:,.0f} calls {answered:,.0f} were answered with OK")
            measured[name] = load, 1000 * spent / (load.rate * took)
        memory = resident_mib(server.pid)
        _, message, in_flight = calls["Classify"]
        steady = measured["Classify"][0].rate * STEADY
        at_steady = call(server.address, _SERVICE + "Classify", message, in_flight, seconds, steady)
    on_one = _on_one_core(bundle, *calls["BatchClassify"], seconds)
    by_batch = figures[f"bare loop, {cores} processes, by {BATCH}, images/s"]
    image, empty = (
        figures[f"bare loop, {cores} processes, by 1, processor ms an image"],
        figures["empty handler, processor ms a call"],
    )
    allowed = 1000 * cores / (image + empty + figures["h2load, processor ms a call"])
    single = figures["single image, ms"]
    batches, many, alone = (measured[name][0] for name in ("BatchClassify", "Classify", "Classify, one caller"))
    rows = [
        _row(f"BatchClassify of {BATCH}, images/s", BATCH * batches.rate, by_batch, 0.90, "bare loop"),
        _row(f"Classify, {IN_FLIGHT} in flight, calls/s", many.rate, allowed, 0.80, "what its parts allow"),
        _at_most("Classify, one caller, p50 ms", alone.p50, single + 1.5, "single image + 1.5"),
        _at_most(f"Classify at {STEADY} of that rate, p99 ms", at_steady.p99, 4 * alone.p50, "four times one caller"),
        _row(f"BatchClassify, {cores} cores", batches.rate, on_one.rate, 1.85 * cores / 2, "on one core"),
    ]
    figures[f"Classify at {STEADY} of its rate, p99 ms"] = at_steady.p99
    figures["BatchClassify on one core, calls/s"] = on_one.rate
    for name, (found, spent) in measured.items():
        figures[f"{name}, calls/s"], figures[f"{name}, p50 ms"] = found.rate, found.p50
        figures[f"{name}, p99 ms"], figures[f"{name}, processor ms a call"] = found.p99, spent
        rows.append([name, f"{found.rate:,.0f} calls/s", f"p50 {found.p50:.2f} ms", f"p99 {found.p99:.2f} ms", ""])
    rows.append(["memory of the server and of each process it starts", *_memory(memory), "", ""])
    figures["memory, MiB"] = sum(memory)
    columns = ["", "measured", "limit", "share", "goal"]
    record("serving", f"The server beside its limits ({bundle}, {cores} cores)", columns, rows, figures)


def _on_one_core(bundle: Path, method: str, message: bytes, in_flight: int, seconds: float) -> Load:
    """Have a server and its callers on one core; what is started from here is bound as this process is."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle, Path(folder)) as server:
            stock(server.address)
            return call(server.address, _SERVICE + method, message, in_flight, seconds)
    finally:
        os.sched_setaffinity(0, cores)


def _row(name: str, value: float, limit: float, goal: float, of: str) -> list[str]:
    return [name, f"{value:,.0f}", f"{limit:,.0f} ({of})", f"{value / limit:.2f}", f">= {goal:.2f}"]


def _at_most(name: str, value: float, most: float, of: str) -> list[str]:
    return [name, f"{value:.2f}", f"{most:.2f} ({of})", f"{value / most:.2f}", "<= 1"]


def _memory(mib: list[float]) -> list[str]:
    return [f"{sum(mib):,.0f} MiB", " + ".join(f"{each:,.0f}" for each in mib)]


def _answered(method: str) -> str:
    return f'exemplar_requests_total{{code="OK",method="{method}"}}'


def requests(address: str) -> dict[str, tuple[str, bytes, int]]:
    """Return what is called, by name: the method, its message, and how many calls are in flight."""
    query = resources_pb2.Query(image=picture())
    with grpc.insecure_channel(address) as channel:
        embedded = pb_grpc.ClassificationServiceStub(channel).Embed(pb.EmbedRequest(image=picture()))
    given = resources_pb2.Query(embedding=embedded.embedding)
    one = pb.ClassifyRequest(gallery=GALLERY, query=query).SerializeToString()
    many = pb.BatchClassifyRequest(gallery=GALLERY, queries=[query] * BATCH).SerializeToString()
    by_embedding = pb.ClassifyRequest(gallery=GALLERY, query=given).SerializeToString()
    return {
        "BatchClassify": ("BatchClassify", many, 4),
        "Classify": ("Classify", one, IN_FLIGHT),
        "Classify, one caller": ("Classify", one, 1),
        "Classify, an embedding": ("Classify", by_embedding, IN_FLIGHT),
    }


def stock(address: str, classes: int = limits.CLASSES) -> None:
    """Create the gallery and enroll a picture for each class."""
    with grpc.insecure_channel(address) as channel:
        stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        stub.CreateGallery(gallery_service_pb2.CreateGalleryRequest(gallery_id="g"))
        enrollments = [
            gallery_service_pb2.Enrollment(class_id=f"c{number}", images=[picture(number)])
            for number in range(classes)
        ]
        stub.BatchEnrollClasses(
            gallery_service_pb2.BatchEnrollClassesRequest(gallery=GALLERY, enrollments=enrollments)
        )


if __name__ == "__main__":
    typer.run(main)
