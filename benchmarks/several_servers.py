"""Is anything lost when servers on one database are killed? Eight writers, two servers, PostgreSQL, kills, counts.

`python -m benchmarks.several_servers --rounds 20` kills each server and the database once a round, at random moments,
and ends with 1 unless nothing acknowledged was lost, nothing was stored that nobody asked for, and each change was
seen at both servers by the next query.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.results import record
from tests.e2e.several_servers import WRITERS, cluster

console = Console(highlight=False)


def measure(
    bundle: Annotated[Path, typer.Option(help="Bundle to serve.")] = Path("tests/bundles/tiny"),
    rounds: Annotated[int, typer.Option(min=1, help="How often each of the three is killed.")] = 20,
    writes: Annotated[int, typer.Option(min=10, help="Changes acknowledged in a round.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the moments of the kills, and of the changes.")] = 0,
) -> None:
    """Write, kill, look, count."""
    reports = []
    with tempfile.TemporaryDirectory() as folder, cluster(bundle, Path(folder)) as both:
        for number in range(rounds):
            reports.append(both.run_round(writes, seed + number))
            console.print(f"Round {number + 1}: {reports[-1]}")
    figures = {
        "rounds": rounds,
        "writers": WRITERS,
        "kills": sum(len(report.kills) for report in reports),
        "acknowledged": sum(report.acknowledged for report in reports),
        "acknowledged_at_a_repetition": sum(report.repeated for report in reports),
        "lost": sum(len(report.lost) for report in reports),
        "phantoms": sum(len(report.phantoms) for report in reports),
        "unseen_by_the_next_query": sum(len(report.unseen) for report in reports),
        "median_seconds_a_round": round(statistics.median(report.seconds for report in reports), 1),
    }
    targets = {"lost": 0, "phantoms": 0, "unseen_by_the_next_query": 0}
    rows = [[name.replace("_", " "), str(value), str(targets.get(name, ""))] for name, value in figures.items()]
    record("several_servers", "Servers on one database, killed on the way", ["", "figure", "target"], rows, figures)
    if not all(report.clean for report in reports):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(measure)
