"""Full load for as long as you like, reads and writes mixed: does memory grow, do answers get slower?

`python -m benchmarks.soak --minutes 30`, or `make soak MINUTES=30`. Sixteen callers name pictures one by one and in
batches, enroll, replace and delete classes, list and diagnose them. The first fifth of the time is for warming up;
then the medians of the first and of the last quarter are compared.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter
from typing import Annotated

import typer
from rich.progress import Progress

from benchmarks.drawn import picture
from benchmarks.load import resident_mib
from benchmarks.results import record
from benchmarks.serving import stock
from demo.server_process import ServerProcess
from exemplar import AsyncClient, Enrollment, ExemplarError

CALLERS = 16
CLASSES = 1000
SAMPLE_SECONDS = 5.0
# Names of what is called, and how often of a hundred times.
MIX = {"classify": 60, "classify_many": 10, "enroll": 15, "delete": 8, "list": 5, "diagnose": 2}


@dataclass
class Seen:
    """A sample: memory of the server and its processes in MiB, and how long single pictures took, in ms."""

    memory: float
    times: list[float] = field(default_factory=list)


@dataclass
class Soak:
    """What has been seen so far."""

    samples: list[Seen]
    calls: int = 0
    failed: dict[str, int] = field(default_factory=dict)

    async def caller(self, address: str, number: int, end: float) -> None:
        """Make calls, one after the other, until the end."""
        chance = random.Random(number)
        async with AsyncClient(address) as client:
            while monotonic() < end:
                (name,) = chance.choices(list(MIX), list(MIX.values()))
                start = perf_counter()
                try:
                    await self._call(client, name, chance)
                except ExemplarError as error:
                    self.failed[error.reason] = self.failed.get(error.reason, 0) + 1
                self.calls += 1
                if name == "classify":
                    self.samples[-1].times.append(1000 * (perf_counter() - start))

    async def _call(self, client: AsyncClient, name: str, chance: random.Random) -> None:
        class_id, content = f"c{chance.randrange(CLASSES)}", picture(chance.randrange(200)).content
        if name == "classify":
            await client.classify("g", content)
        elif name == "classify_many":
            await client.classify_many("g", [content] * 32)
        elif name == "enroll":
            await client.enroll_many("g", [Enrollment(class_id, content, attributes={"note": "x" * 200})])
        elif name == "delete":
            await client.delete_class("g", class_id, allow_missing=True)
        elif name == "list":
            [each async for each in client.classes("g")]
        else:
            await client.diagnose("g")


def main(
    minutes: Annotated[float, typer.Option(min=1, help="How long.")] = 30.0,
    bundle: Annotated[Path, typer.Option(help="The bundle to serve.")] = Path("models/omniglot"),
) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle, Path(folder)) as server:
        stock(server.address, 200)
        soak = asyncio.run(_soak(server, 60 * minutes))
    _report(soak, minutes, bundle)


async def _soak(server: ServerProcess, seconds: float) -> Soak:
    soak = Soak([Seen(sum(resident_mib(server.pid)))])
    start = monotonic()
    callers = [asyncio.create_task(soak.caller(server.address, n, start + seconds)) for n in range(CALLERS)]
    with Progress(transient=True) as progress:
        bar = progress.add_task("Under load", total=seconds)
        while not all(caller.done() for caller in callers):
            await asyncio.wait(callers, timeout=SAMPLE_SECONDS)
            progress.update(bar, completed=monotonic() - start)
            soak.samples.append(Seen(sum(resident_mib(server.pid))))
    await asyncio.gather(*callers)
    return soak


def _report(soak: Soak, minutes: float, bundle: Path) -> None:
    warm = soak.samples[len(soak.samples) // 5 : -1]  # the last one was begun at the end
    quarter = max(1, len(warm) // 4)
    first, last = warm[:quarter], warm[-quarter:]
    memory = [median(seen.memory for seen in part) for part in (first, last)]
    times = [median(time for seen in part for time in seen.times) for part in (first, last)]
    figures = {
        "minutes": minutes,
        "calls": soak.calls,
        "refused": sum(soak.failed.values()),
        "memory, first quarter, MiB": memory[0],
        "memory, last quarter, MiB": memory[1],
        "memory, times": memory[1] / memory[0],
        "classify p50, first quarter, ms": times[0],
        "classify p50, last quarter, ms": times[1],
        "classify p50, times": times[1] / times[0],
    }
    rows = [
        ["memory, MiB", f"{memory[0]:,.0f}", f"{memory[1]:,.0f}", f"{memory[1] / memory[0]:.3f}", "<= 1.05"],
        ["classify p50, ms", f"{times[0]:,.1f}", f"{times[1]:,.1f}", f"{times[1] / times[0]:.3f}", ""],
        ["calls", f"{soak.calls:,}", "", "", ""],
        ["refused", ", ".join(f"{count:,} {reason}" for reason, count in soak.failed.items()) or "0", "", "", ""],
    ]
    title = f"{minutes:g} minutes of full load, {CALLERS} callers ({bundle})"
    record("soak", title, ["", "first quarter", "last quarter", "times", "goal"], rows, figures)


if __name__ == "__main__":
    typer.run(main)
