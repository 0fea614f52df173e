"""The picture that is served in benchmarks of speed."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from exemplar.v1 import resources_pb2


def picture(seed: int = 0) -> resources_pb2.Image:
    """Return a drawing-like gray picture of 105 x 105 pixels, a PNG."""
    pixels = np.full((105, 105), 255, np.uint8)
    rng = np.random.default_rng(seed)
    for _ in range(6):
        row, column, length = rng.integers(10, 70, 3)
        pixels[row : row + 3, column : column + length // 2] = 0
        pixels[column : column + length // 2, row : row + 3] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return resources_pb2.Image(content=buffer.getvalue())
