"""How fast are images embedded? Each engine at each compiled batch size, and decode + preprocess beside them.

An engine's images a second at batch size n come from the median of many runs of that one size.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import record
from exemplar_encoder import EncodedImage, load_encoder
from exemplar_encoder.encoder import EngineName
from exemplar_encoder.engines import BATCH_SIZES

_SECONDS = 3.0


def main(bundle: Annotated[Path, typer.Option(help="The bundle.")] = Path("models/omniglot")) -> None:
    """Measure."""
    engines: list[EngineName] = ["litert"]
    if importlib.util.find_spec("tensorflow"):
        engines.append("tensorflow")
    figures: dict[str, float] = {}
    for name in engines:
        encoder = load_encoder(bundle, engine=name)
        image = EncodedImage(encoder.bundle.golden()[0][0])
        pixels = encoder.prepare(image).pixels
        if not figures:
            figures["decode and preprocess, one thread"] = 1 / _median_seconds(lambda: encoder.prepare(image))  # noqa: B023
        for size in BATCH_SIZES:
            batch = np.repeat(pixels[None], size, axis=0)
            figures[f"{name}, batch {size}"] = size / _median_seconds(lambda: encoder.embed(batch))  # noqa: B023
    rows = [[name, f"{rate:,.0f}"] for name, rate in figures.items()]
    record("encoder_throughput", f"Images a second ({bundle})", ["what", "images/s"], rows, figures)


def _median_seconds(call: Callable[[], object]) -> float:
    for _ in range(3):
        call()
    seconds = []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    typer.run(main)
