"""Sixteen small pictures that prove an engine right: drawn here, so that a bundle carries nobody's data.

Between them they go through what decode and preprocess can do: gray, color, transparency, palette, wide and tall.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from exemplar_encoder.bundle import GOLDEN_SAMPLES

_SIZES = ((105, 105), (72, 72), (160, 90), (60, 120))
_MODES = ("L", "RGB", "RGBA", "P")


def draw_golden_images() -> list[bytes]:
    """Return the same 16 PNG images every time."""
    rng = np.random.default_rng(16)
    return [_draw(rng, _SIZES[index % 4], _MODES[index // 4]) for index in range(GOLDEN_SAMPLES)]


def _draw(rng: np.random.Generator, size: tuple[int, int], mode: str) -> bytes:
    canvas = Image.new("RGBA", size, (255, 255, 255, 0 if mode == "RGBA" else 255))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(2, 5))):
        points = [(int(x), int(y)) for x, y in rng.uniform(0.1, 0.9, (int(rng.integers(3, 6)), 2)) * size]
        color = (0, 0, 0) if mode == "L" else tuple(int(value) for value in rng.integers(0, 160, 3))
        draw.line(points, fill=(*color, 255), width=int(rng.integers(2, 6)), joint="curve")
    stream = io.BytesIO()
    (canvas if mode == "RGBA" else canvas.convert("RGB").convert(mode)).save(stream, "PNG")
    return stream.getvalue()
