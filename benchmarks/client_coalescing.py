"""Single calls of many callers at once, each a request of its own or together with others.

`python -m benchmarks.client_coalescing` starts a real server on an idle machine and calls it from this process, on
the same processors: from as many asyncio tasks and as many threads as `--callers`, with images and with embeddings,
and by one caller. Ways take turns, and each figure is the median of the rounds.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Annotated

import typer

from benchmarks.drawn import picture
from benchmarks.load import processor_seconds
from benchmarks.results import record
from benchmarks.serving import stock
from demo.server_process import ServerProcess
from exemplar import AsyncClient, Client, Embedding

GOAL = 2.0
Query = bytes | Embedding


async def tasks(address: str, queries: list[Query], seconds: float, coalesce: float | None) -> list[float]:
    """Have a task ask each query over and over; return the times of the calls in seconds."""
    times: list[float] = []
    end = perf_counter() + seconds

    async def ask(client: AsyncClient, query: Query) -> None:
        while (start := perf_counter()) < end:
            await client.classify("g", query)
            times.append(perf_counter() - start)

    async with AsyncClient(address, coalesce=coalesce) as client:
        await asyncio.gather(*(ask(client, query) for query in queries))
    return times


def threads(address: str, queries: list[Query], seconds: float, coalesce: float | None) -> list[float]:
    """Do as `tasks` with threads."""
    times: list[float] = []
    end = perf_counter() + seconds

    def ask(client: Client, query: Query) -> None:
        while (start := perf_counter()) < end:
            client.classify("g", query)
            times.append(perf_counter() - start)

    with Client(address, coalesce=coalesce) as client:
        running = [threading.Thread(target=ask, args=(client, query)) for query in queries]
        for each in running:
            each.start()
        for each in running:
            each.join()
    return times


def measure(
    server: ServerProcess, queries: list[Query], seconds: float, by: str, coalesce: float | None
) -> tuple[float, float, float, float]:
    """Return calls a second; in ms the p50 and p99 of a call, and the processor time that both sides take for it."""
    before, start = processor_seconds(server.pid) + process_time(), perf_counter()
    if by == "tasks":
        times = asyncio.run(tasks(server.address, queries, seconds, coalesce))
    else:
        times = threads(server.address, queries, seconds, coalesce)
    took = perf_counter() - start
    spent = processor_seconds(server.pid) + process_time() - before
    times.sort()
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    return len(times) / took, 1000 * p50, 1000 * p99, 1000 * spent / len(times)


def main(
    bundle: Annotated[Path, typer.Option(help="The bundle to serve.")] = Path("models/omniglot"),
    callers: Annotated[int, typer.Option(help="How many call at once.")] = 32,
    coalesce: Annotated[float, typer.Option(help="How long a call may wait for others, in seconds.")] = 0.02,
    seconds: Annotated[float, typer.Option(help="How long to measure each.")] = 2.0,
    rounds: Annotated[int, typer.Option(help="How often.")] = 5,
) -> None:
    """Measure."""
    images: list[Query] = [picture(number).content for number in range(callers)]
    found: dict[tuple[str, str, int, bool], list[tuple[float, float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle, Path(folder)) as server:
        stock(server.address)
        with Client(server.address) as client:
            embeddings: list[Query] = [client.embed(image) for image in images if isinstance(image, bytes)]
        for _ in range(rounds):
            for what, queries in (("images", images), ("embeddings", embeddings)):
                for by in ("tasks", "threads"):
                    for count in (callers, 1):
                        for shared in (False, True):
                            figures = measure(server, queries[:count], seconds, by, coalesce if shared else None)
                            found.setdefault((what, by, count, shared), []).append(figures)
    rows, recorded = [], {}
    for (what, by, count, shared), each in found.items():
        if shared:
            continue
        plain = [median(values) for values in zip(*each, strict=True)]
        together = [median(values) for values in zip(*found[what, by, count, True], strict=True)]
        name = f"{what}, {count} {by if count > 1 else by[:-1]}"
        times = together[0] / plain[0]
        goal = f">= {GOAL:g}" if count > 1 else ">= 0.95"
        rows.append([name, *map(_written, (plain, together)), f"{times:.2f}", goal])
        recorded[name] = {"plain": plain, "coalesced": together, "times": times}
    columns = ["", "a request each: calls/s, p50, p99, CPU", "coalesced", "times", "goal"]
    title = f"Single calls together ({bundle}, coalesce={coalesce:g}, {os.cpu_count()} cores; times and CPU in ms)"
    record("client_coalescing", title, columns, rows, recorded)


def _written(figures: list[float]) -> str:
    rate, p50, p99, spent = figures
    return f"{rate:,.0f}  {p50:.1f}  {p99:.1f}  {spent:.2f}"


if __name__ == "__main__":
    typer.run(main)
