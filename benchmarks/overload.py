"""Far more calls than the server can answer: what becomes of the callers, and of everybody else?

`python -m benchmarks.overload --seconds 120` first measures what the server does for 32 callers, and then has ten
times as many call it for as long, who come back as soon as they are answered or refused. They are in a process of
their own, on the same cores, so that they slow the server down by what they take themselves. Meanwhile its health is
asked for ten times a second and its memory is read. At last a caller with batches of 256 is set beside ten single
ones.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep
from typing import Annotated

import grpc
import numpy as np
import typer
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.drawn import picture
from benchmarks.load import resident_mib
from benchmarks.results import record
from benchmarks.serving import GALLERY, stock
from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as pb
from exemplar.v1 import classification_service_pb2_grpc as pb_grpc
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import gallery_service_pb2_grpc as gallery_grpc
from exemplar.v1 import resources_pb2

CAPACITY_CALLERS = 32
TIMES = 10
CONNECTIONS = 16
SINGLE_CALLERS = 10
BATCH = 256
DEADLINE = 10.0

_TOLD = "UNAVAILABLE with a time"

# A call of the n-th caller on one of the channels.
Call = Callable[[grpc.aio.Channel, int], Awaitable[object]]


@dataclass
class Outcome:
    """How calls ended: seconds of those that were answered and of those that were refused, and how many ended how."""

    seconds: float
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.answered) / self.seconds


@dataclass
class Watched:
    """What an onlooker saw: how long health took to answer, in seconds, and the memory of all processes in MiB."""

    health: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def main(
    bundle: Annotated[Path, typer.Option(help="The bundle to serve.")] = Path("models/omniglot"),
    seconds: Annotated[float, typer.Option(help="How long to overload it with each kind of call.")] = 120.0,
) -> None:
    """Measure."""
    figures: dict[str, float] = {}
    rows: list[list[str]] = []
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for kind in ("classify", "enroll"):
            with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle, Path(folder)) as server:
                stock(server.address)
                _overload(pool, kind, server, seconds, figures, rows)
        with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle, Path(folder)) as server:
            stock(server.address)
            _beside_batches(pool, server.address, min(seconds, 15.0), figures, rows)
    title = f"{TIMES} times as many callers as at capacity, for {seconds:.0f} s"
    record("overload", title, ["", "measured", "goal"], rows, figures)


def _overload(
    pool: ProcessPoolExecutor,
    kind: str,
    server: ServerProcess,
    seconds: float,
    figures: dict[str, float],
    rows: list[list[str]],
) -> None:
    alone = pool.submit(run, kind, server.address, 1, min(seconds, 5.0)).result()
    before = pool.submit(run, kind, server.address, CAPACITY_CALLERS, min(seconds, 15.0)).result()
    running = pool.submit(run, kind, server.address, TIMES * CAPACITY_CALLERS, seconds)
    seen = _watch(server, running)
    during = running.result()

    def row(what: str, value: float, shown: str, goal: str) -> None:
        figures[f"{kind}: {what}"] = value
        rows.append([f"{kind}: {what}", shown, goal])

    def slow(what: str, times: list[float], quantile: float, goal: str = "") -> None:
        value = 1000 * float(np.quantile(times, quantile)) if times else 0.0
        row(what, value, f"{value:,.0f} ms", goal)

    calls = during.endings.total()
    right = (during.endings["OK"] + during.endings[_TOLD]) / calls
    row("answered, or told when to come back", right, f"{right:.2%} of {calls:,}", ">= 95 %")
    share = during.rate / before.rate
    row("answers a second, of those at capacity", share, f"{share:.2f} of {before.rate:,.0f}", ">= 0.90")
    slow("refused, p99", during.refused, 0.99, "< 100 ms")
    slow("answered with one caller, p99", alone.answered, 0.99)
    slow("answered at capacity, p99", before.answered, 0.99)
    slow("answered, p99", during.answered, 0.99, "2 x unloaded + the stated wait")
    slow("health, slowest", seen.health, 1.0, "< 250 ms")
    row("memory, most", max(seen.memory), f"{max(seen.memory):,.0f} MiB", "<= 600 MiB")
    rows.append([f"{kind}: endings", ", ".join(f"{name} {n:,}" for name, n in during.endings.most_common()), ""])


def _beside_batches(
    pool: ProcessPoolExecutor, address: str, seconds: float, figures: dict[str, float], rows: list[list[str]]
) -> None:
    alone = pool.submit(run, "classify", address, SINGLE_CALLERS, seconds).result()
    batches = pool.submit(run, "batch", address, 1, seconds + 2)
    sleep(1.0)
    beside = pool.submit(run, "classify", address, SINGLE_CALLERS, seconds).result()
    many = batches.result()
    share = figures["single callers beside batches, of their rate alone"] = beside.rate / alone.rate
    shown = f"{share:.2f} of {alone.rate:,.0f}/s; {BATCH * many.rate:,.0f} images/s in batches"
    rows.append([f"{SINGLE_CALLERS} single callers beside batches of {BATCH}, of their rate alone", shown, ">= 0.50"])


def _watch(server: ServerProcess, running: Future[Outcome]) -> Watched:
    seen = Watched()
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while not running.done():
            start = perf_counter()
            stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
            seen.health.append(perf_counter() - start)
            seen.memory.append(sum(resident_mib(server.pid)))
            sleep(max(0.0, 0.1 - seen.health[-1]))
    return seen


def run(kind: str, address: str, callers: int, seconds: float) -> Outcome:
    """Call over and over, in a process of its own."""
    return asyncio.run(_run(_calls()[kind], address, callers, seconds))


async def _run(call: Call, address: str, callers: int, seconds: float) -> Outcome:
    outcome = Outcome(seconds)
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection to each channel
    channels = [grpc.aio.insecure_channel(address, options) for _ in range(min(callers, CONNECTIONS))]
    end = perf_counter() + seconds

    async def caller(number: int) -> None:
        channel = channels[number % len(channels)]
        while (start := perf_counter()) < end:
            try:
                await call(channel, number)
            except grpc.aio.AioRpcError as error:
                outcome.endings[_ending(error)] += 1
                outcome.refused.append(perf_counter() - start)
            else:
                outcome.endings["OK"] += 1
                outcome.answered.append(perf_counter() - start)

    await asyncio.gather(*(caller(number) for number in range(callers)))
    for channel in channels:
        await channel.close()
    return outcome


def _ending(error: grpc.aio.AioRpcError) -> str:
    name = error.code().name
    content = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    details = status_pb2.Status.FromString(content if isinstance(content, bytes) else content.encode()).details
    told = any(each.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for each in details)
    return f"{name} with a time" if told else name


def _calls() -> dict[str, Call]:
    query = resources_pb2.Query(image=picture())
    one = pb.ClassifyRequest(gallery=GALLERY, query=query)
    many = pb.BatchClassifyRequest(gallery=GALLERY, queries=[query] * BATCH)
    images = [picture(number) for number in range(50)]

    def classify(channel: grpc.aio.Channel, number: int) -> Awaitable[object]:
        return pb_grpc.ClassificationServiceStub(channel).Classify(one, timeout=DEADLINE)

    def batch(channel: grpc.aio.Channel, number: int) -> Awaitable[object]:
        return pb_grpc.ClassificationServiceStub(channel).BatchClassify(many, timeout=60)

    def enroll(channel: grpc.aio.Channel, number: int) -> Awaitable[object]:
        enrollment = gallery_pb.Enrollment(class_id=f"caller-{number}", images=[images[number % len(images)]])
        request = gallery_pb.EnrollClassRequest(gallery=GALLERY, enrollment=enrollment)
        return gallery_grpc.GalleryServiceStub(channel).EnrollClass(request, timeout=DEADLINE)

    return {"classify": classify, "batch": batch, "enroll": enroll}


if __name__ == "__main__":
    typer.run(main)
