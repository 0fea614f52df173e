"""Where the time of preparing a picture goes, on one thread, beside Pillow's decoding alone.

`python -m benchmarks.prepare`; medians, of a small drawing and of photographs of twelve megapixels (read reduced).
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from benchmarks.drawn import picture
from benchmarks.results import record
from benchmarks.shrinking import photographs
from exemplar_encoder import (
    Bundle,
    EncodedImage,
    Encoder,
    ImageLimits,
    Preprocessing,
    decode,
    load_encoder,
    preprocess,
)
from exemplar_encoder.ink.framing import ink_box
from exemplar_encoder.ink.levels import stretched

RUNS = 500
PHOTOGRAPHS = 8


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
    taken = photographed(load_encoder(bundle), spec)
    rows += [[f"a photograph: {name}", f"{value:,.3g}"] for name, value in taken.items()]
    record("prepare", "Preparing a PNG of 105 x 105 pixels", ["", "median"], rows, figures | taken)


def photographed(encoder: Encoder, spec: Preprocessing) -> dict[str, float]:
    """Return how long photographs take when all of their pixels are decoded and when enough are, in ms."""
    whole, reduced, apart = [], [], []
    for content in photographs(PHOTOGRAPHS):
        start = perf_counter()
        pixels = preprocess(decode(content, ImageLimits(), spec.background).pixels, spec)
        between = perf_counter()
        enough = encoder.prepare(EncodedImage(content)).pixels
        reduced.append(1000 * (perf_counter() - between))
        whole.append(1000 * (between - start))
        first, second = encoder.embed(np.stack([pixels, enough]))
        apart.append(float(np.linalg.norm(first - second)))
    return {
        "all pixels, ms": statistics.median(whole),
        "reduced, ms": statistics.median(reduced),
        "times as fast": statistics.median(whole) / statistics.median(reduced),
        "distance between their embeddings": statistics.median(apart),
    }


def _median_us(step: Callable[[], object]) -> float:
    taken = []
    for _ in range(RUNS):
        start = perf_counter()
        step()
        taken.append(perf_counter() - start)
    return 1e6 * statistics.median(taken)


if __name__ == "__main__":
    typer.run(main)
