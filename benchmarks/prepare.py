"""Where the time of preparing one small drawing goes, on one thread, beside Pillow's decoding alone.

`python -m benchmarks.prepare`; medians of a few hundred runs.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from PIL import Image

from benchmarks.drawn import picture
from benchmarks.results import record
from exemplar_encoder import Bundle, EncodedImage, ImageLimits, decode, preprocess
from exemplar_encoder.ink.framing import ink_box
from exemplar_encoder.ink.levels import stretched

RUNS = 500


def main(bundle: Annotated[Path, typer.Option(help="The bundle.")] = Path("models/omniglot")) -> None:
    """Measure."""
    spec = Bundle.load(bundle).manifest.preprocessing
    content = picture().content
    gray = decode(content, ImageLimits(), spec.background).pixels.convert("L")
    leveled = stretched(gray, spec.gray_background)
    steps: dict[str, Callable[[], object]] = {
        "Pillow: open and decode": lambda: Image.open(io.BytesIO(content)).load(),
        "decode, with all checks": lambda: decode(content, ImageLimits(), spec.background),
        "name by SHA-256": EncodedImage(content).sha256,
        "stretch levels": lambda: stretched(gray, spec.gray_background),
        "find the ink": lambda: ink_box(leveled, spec.background),
        "all of preprocessing": lambda: preprocess(gray, spec),
    }
    figures = {name: _median_us(step) for name, step in steps.items()}
    figures["in all"] = sum(figures[name] for name in ("decode, with all checks", "all of preprocessing"))
    rows = [[name, f"{value:,.0f} us"] for name, value in figures.items()]
    record("prepare", "Preparing a drawing of 105 x 105 pixels, a PNG", ["", "median"], rows, figures)


def _median_us(step: Callable[[], object]) -> float:
    taken = []
    for _ in range(RUNS):
        start = perf_counter()
        step()
        taken.append(perf_counter() - start)
    return 1e6 * statistics.median(taken)


if __name__ == "__main__":
    typer.run(main)
