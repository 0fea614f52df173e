"""The picture in `docs/performance.md`: what the server does, as shares of what its parts allow, beside the goals.

`python -m benchmarks.performance_plot`, after `benchmarks.serving`, `.overload` and `.peers`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import typer

from benchmarks.limits import BATCH
from benchmarks.results import FOLDER

mpl.use("svg")

from matplotlib import pyplot as plt

OUTPUT = Path("docs/performance.svg")


def main() -> None:
    """Draw."""
    serving, overload, peers = (_figures(name) for name in ("serving", "overload", "peers"))
    cores = max(int(name.split(", ")[1].split()[0]) for name in serving if name.startswith("bare loop"))
    image = serving[f"bare loop, {cores} processes, by 1, processor ms an image"]
    call = serving["empty handler, processor ms a call"] + serving["h2load, processor ms a call"]
    bars = {
        "batches of 32, of the bare loop": (
            BATCH
            * serving["BatchClassify, calls/s"]
            / serving[f"bare loop, {cores} processes, by {BATCH}, images/s"],
            0.9,
        ),
        "32 single calls, of what the parts allow": (
            serving["Classify, calls/s"] * (image + call) / 1000 / cores,
            0.8,
        ),
        "32 single calls, of mosec": (_rate(peers, "ours, gRPC") / _rate(peers, "mosec"), 1.0),
        "single callers beside batches, of their rate alone": (
            overload["single callers beside batches, of their rate alone"],
            0.5,
        ),
        "classified under ten times the load, of capacity": (
            overload["classify: answers a second, of those at capacity"],
            0.9,
        ),
        "enrolled under ten times the load, of capacity": (
            overload["enroll: answers a second, of those at capacity"],
            0.9,
        ),
    }
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for place, (name, (share, goal)) in enumerate(reversed(bars.items())):
        axes.barh(place, share, color="#15803d" if share >= goal else "#b45309", height=0.6)
        axes.plot([goal, goal], [place - 0.4, place + 0.4], color="black", linewidth=2)
        axes.text(share + 0.01, place, f"{share:.2f}", va="center", fontsize=9)
        axes.text(-0.01, place, name, va="center", ha="right", fontsize=9)
    axes.set_yticks([])
    axes.set_xlim(0, max(1.2, *(share for share, _ in bars.values())) + 0.1)
    axes.set_xlabel("share; black: the goal")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(OUTPUT, metadata={"Date": None})
    print(OUTPUT)


def _figures(name: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())["figures"]
    return figures


def _rate(peers: dict[str, Any], name: str) -> float:
    return float(peers[name]["calls_per_second"])


if __name__ == "__main__":
    typer.run(main)
