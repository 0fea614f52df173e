"""Resizing as Pillow does it, in the graph: a product with two fixed matrices, so it runs wherever a network does."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops
from PIL import Image

from exemplar_encoder.arrays import Floats


def resized(images: Any, size: tuple[int, int], kind: Image.Resampling = Image.Resampling.BILINEAR) -> Any:
    """Resize images float32 `[n, h, w, c]` to `[n, *size, c]`."""
    height, width = size
    if tuple(images.shape[1:3]) == size:
        return images
    down, across = _matrix(images.shape[1], height, kind), _matrix(images.shape[2], width, kind)
    return ops.einsum("yi,nijc,xj->nyxc", down, images, across)


def _matrix(length: int, target: int, kind: Image.Resampling) -> Floats:
    """Return the matrix float32 `[target, length]` that resizes columns of a length to another."""
    return np.asarray(Image.fromarray(np.eye(length, dtype=np.float32)).resize((length, target), kind))
